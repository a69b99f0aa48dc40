-- table: public.readings
-- description: one row per meter reading
SELECT id, department, value
FROM public.readings
WHERE department IN (SELECT department FROM public.permissions
                     WHERE allowed_role = ANY (rowgate.roles()))
