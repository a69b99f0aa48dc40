-- table: public.accounts
-- description: one row per account of your branches
-- requires: fetch_account
-- mask iban: left(iban, 2) || '**'
-- column balance requires read_account_balance
SELECT id, customer_id, iban, balance
FROM public.accounts
WHERE customer_id IN (SELECT id FROM public.customers
                      WHERE branch = ANY (rowgate.attributes('branch')))
