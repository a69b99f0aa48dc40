-- table: public.documents_any
SELECT id, title, created
FROM public.documents
WHERE id = ANY (rowgate.objects('viewer', 'document'))
