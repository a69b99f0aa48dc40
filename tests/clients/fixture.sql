-- Loaded after the example and tests/catalog/hidden.sql.
-- Bob sees the 10,000 readings of HRM, Anne also the 2,000 of Sales; the last one is nobody's here.
CREATE TABLE public.readings (id bigint PRIMARY KEY, department text NOT NULL, value integer NOT NULL);
INSERT INTO public.readings
SELECT n, CASE WHEN n <= 10000 THEN 'HRM' WHEN n <= 12000 THEN 'Sales' ELSE 'Finance' END, n % 100
FROM generate_series(1, 12001) AS n;
-- Anne has the permission, Bob has not.
CREATE TABLE public.sales_targets (quarter text PRIMARY KEY, quota numeric(12,2) NOT NULL);
INSERT INTO public.sales_targets VALUES ('2025Q1', 1000.00);
-- Only superusers see this one.
CREATE TABLE public.canary_board (id bigint PRIMARY KEY, canary_minutes text NOT NULL);
INSERT INTO public.canary_board VALUES (1, 'CANARY-7f3a minutes');
ANALYZE;
