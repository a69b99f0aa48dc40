-- table: public.loan_products
-- description: one row per kind of loan the bank offers
-- requires: fetch_loan_product
SELECT id, name, rate
FROM public.loan_products
