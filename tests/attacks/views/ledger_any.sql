-- table: public.ledger_any
-- description: for the attacks: the policy as = ANY (ARRAY())
SELECT id, amount, department, note, code, day, uid, flag, net, hexa, enc, arr, field, opt, fmt, zone, path
FROM public.ledger_any
WHERE department = ANY (ARRAY(SELECT department FROM public.permissions
                              WHERE allowed_role = ANY (rowgate.roles())))
