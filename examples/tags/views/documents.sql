-- table: public.documents
-- description: one row per document you may read
SELECT id, title, owner
FROM public.documents
WHERE tags = '{}' OR owner = rowgate.user_id() OR tags && rowgate.tags()
