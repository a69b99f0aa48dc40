-- table: public.ledger_distinct
-- description: for the attacks: the policy as DISTINCT over a join
SELECT DISTINCT l.id, l.amount, l.department, l.note, l.code
FROM public.ledger_distinct l
JOIN public.permissions p ON p.department = l.department
WHERE p.allowed_role = ANY (rowgate.roles())
