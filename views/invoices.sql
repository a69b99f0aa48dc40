-- table: public.invoices
-- description: one row per invoice sent to a customer
SELECT id, amount, date, department, customer_id, note
FROM public.invoices
WHERE department IN (SELECT department FROM public.permissions
                     WHERE allowed_role = ANY (rowgate.roles()))
