-- table: public.documents
-- description: documents; who sees which is in Keto
SELECT id, title
FROM public.documents
WHERE id = ANY (rowgate.objects('viewer', 'document'))
