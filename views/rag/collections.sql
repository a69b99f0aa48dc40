-- table: public.collections
-- description: one row per collection of documents
SELECT id, name
FROM public.collections
WHERE id = ANY (rowgate.objects('viewer', 'collection'))
   OR id = ANY (ARRAY(SELECT resource_id FROM public.org_wide_viewers
                      WHERE resource_type = 'collection' AND user_id = rowgate.user_id()))
