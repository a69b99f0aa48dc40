-- table: public.ledger_exists
-- description: for the attacks: the policy as EXISTS
SELECT id, amount, department, note, code, day, uid, flag, net, hexa, enc, arr, field, opt, fmt, zone, path
FROM public.ledger_exists l
WHERE EXISTS (SELECT 1 FROM public.permissions p
              WHERE p.department = l.department AND p.allowed_role = ANY (rowgate.roles()))
