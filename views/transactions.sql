-- table: public.transactions
-- description: one row per payment received for an invoice
-- role_column: allowed_role
-- key: id
SELECT t.*, p.allowed_role
FROM public.transactions t
JOIN public.permissions p USING (department)
