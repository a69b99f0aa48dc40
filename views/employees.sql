-- table: public.employees
-- description: one row per employee
-- column salary requires read:salaries
SELECT id, name, department, title, hired, salary
FROM public.employees
WHERE department IN (SELECT department FROM public.permissions
                     WHERE allowed_role = ANY (rowgate.roles()))
