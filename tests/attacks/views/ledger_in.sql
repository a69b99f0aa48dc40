-- table: public.ledger_in
-- description: for the attacks: the policy as IN
SELECT id, amount, department, note, code, day, uid, flag, net, hexa, enc, arr, field, opt, fmt, zone, path
FROM public.ledger_in
WHERE department IN (SELECT department FROM public.permissions
                     WHERE allowed_role = ANY (rowgate.roles()))
