-- table: public.ledger_distinct
-- description: for the attacks: the policy as DISTINCT over a join
SELECT DISTINCT l.id, l.amount, l.department, l.note, l.code, l.day, l.uid, l.flag, l.net, l.hexa, l.enc, l.arr, l.field, l.opt, l.fmt, l.zone, l.path
FROM public.ledger_distinct l
JOIN public.permissions p ON p.department = l.department
WHERE p.allowed_role = ANY (rowgate.roles())
