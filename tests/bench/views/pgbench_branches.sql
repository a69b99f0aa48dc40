-- table: public.pgbench_branches
-- description: one row per branch
SELECT bid, bbalance, filler
FROM public.pgbench_branches
WHERE bid = ANY (rowgate.attributes('branch')::int[])
