-- table: public.sales_targets
-- description: one row per quarter; for whoever sells
-- requires: read:sales_targets
SELECT quarter, quota FROM public.sales_targets
