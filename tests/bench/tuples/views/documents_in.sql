-- table: public.documents_in
SELECT id, title, created
FROM public.documents
WHERE id IN (SELECT unnest(rowgate.objects('viewer', 'document')))
