-- table: public.customers
-- description: one row per customer; email is masked unless you hold read:pii, and the tax number is never shown
-- mask email: regexp_replace(email, '^[^@]+', '***') unless read:pii
SELECT id, name, department, country, email, since
FROM public.customers
WHERE department IN (SELECT department FROM public.permissions
                     WHERE allowed_role = ANY (rowgate.roles()))
