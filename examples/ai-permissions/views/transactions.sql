-- table: public.transactions
-- description: one row per payment from or to an account of your branches
-- requires: fetch_transaction
-- column suspicious requires use_ai_fraud_tool
SELECT id, account_id, amount, booked, counterparty, suspicious
FROM public.transactions
WHERE account_id IN (SELECT a.id FROM public.accounts a
                     JOIN public.customers c ON c.id = a.customer_id
                     WHERE c.branch = ANY (rowgate.attributes('branch')))
