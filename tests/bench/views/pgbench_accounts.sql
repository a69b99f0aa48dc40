-- table: public.pgbench_accounts
-- description: one row per account
SELECT aid, bid, abalance, filler
FROM public.pgbench_accounts
WHERE bid = ANY (rowgate.attributes('branch')::int[])
