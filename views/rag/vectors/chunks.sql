-- table: public.chunks
-- description: parts of the documents you may read, with their embeddings
SELECT id, document_id, text, embedding
FROM public.chunks
WHERE document_id = ANY (rowgate.objects('viewer', 'document'))
   OR document_id = ANY (ARRAY(SELECT resource_id FROM public.org_wide_viewers
                               WHERE resource_type = 'document' AND user_id = rowgate.user_id()))
