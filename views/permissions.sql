-- table: public.permissions
-- description: which departments your own roles may see
SELECT department, allowed_role
FROM public.permissions
WHERE allowed_role = ANY (rowgate.roles())
