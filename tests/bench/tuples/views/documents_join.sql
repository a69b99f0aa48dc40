-- table: public.documents_join
SELECT d.id, d.title, d.created
FROM public.documents AS d
JOIN unnest(rowgate.objects('viewer', 'document')) AS o(id) ON o.id = d.id
