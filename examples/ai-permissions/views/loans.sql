-- table: public.loans
-- description: one row per loan of a customer of your branches
-- requires: use_ai_loan_tool, fetch_loan
-- column risk_note requires read_risk_note
SELECT id, customer_id, product_id, amount, status, risk_note
FROM public.loans
WHERE customer_id IN (SELECT id FROM public.customers
                      WHERE branch = ANY (rowgate.attributes('branch')))
