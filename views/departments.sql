-- table: public.departments
-- description: one row per department you work for
SELECT name, city, budget
FROM public.departments
WHERE name IN (SELECT department FROM public.permissions
               WHERE allowed_role = ANY (rowgate.roles()))
