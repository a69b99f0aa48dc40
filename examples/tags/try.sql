SELECT string_agg(id::text, ' ' ORDER BY id) FROM documents
SELECT count(*) FROM board_minutes
SELECT count(phone) FROM people
SELECT title FROM documents WHERE title = 'Diary'
