SELECT string_agg(id, ' ' ORDER BY id) FROM documents
SELECT title FROM documents WHERE words @@ websearch_to_tsquery('english', 'contract') ORDER BY ts_rank(words, websearch_to_tsquery('english', 'contract')) DESC LIMIT 2
SELECT string_agg(name, ', ' ORDER BY name) FROM deals
