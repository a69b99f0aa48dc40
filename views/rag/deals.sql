-- table: public.deals
-- description: one row per deal you take part in
SELECT id, name, amount
FROM public.deals
WHERE id = ANY (rowgate.objects('viewer', 'deal'))
   OR id = ANY (ARRAY(SELECT resource_id FROM public.org_wide_viewers
                      WHERE resource_type = 'deal' AND user_id = rowgate.user_id()))
