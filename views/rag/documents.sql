-- table: public.documents
-- description: one row per document you may read
SELECT id, title, body, folder_id, words
FROM public.documents
WHERE id = ANY (rowgate.objects('viewer', 'document'))
   OR id = ANY (ARRAY(SELECT resource_id FROM public.org_wide_viewers
                      WHERE resource_type = 'document' AND user_id = rowgate.user_id()))
