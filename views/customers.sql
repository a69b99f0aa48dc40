-- table: public.customers
-- description: one row per customer
-- mask email: regexp_replace(email, '^[^@]+', '***') unless read:pii
SELECT id, name, department, country, email, since
FROM public.customers
WHERE department IN (SELECT department FROM public.permissions
                     WHERE allowed_role = ANY (rowgate.roles()))
