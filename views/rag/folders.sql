-- table: public.folders
-- description: one row per folder you may open
SELECT id, name
FROM public.folders
WHERE id = ANY (rowgate.objects('viewer', 'folder'))
   OR id = ANY (ARRAY(SELECT resource_id FROM public.org_wide_viewers
                      WHERE resource_type = 'folder' AND user_id = rowgate.user_id()))
