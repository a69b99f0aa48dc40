-- table: public.customers
-- description: one row per customer of your branches
-- requires: use_ai_customer_insight_tool, fetch_customer
-- mask email: regexp_replace(email, '^[^@]+', '***') unless read_customer_contact
-- mask phone: '***'::text unless read_customer_contact
-- column credit_score requires use_ai_loan_tool
SELECT id, name, branch, email, phone, credit_score
FROM public.customers
WHERE branch = ANY (rowgate.attributes('branch'))
