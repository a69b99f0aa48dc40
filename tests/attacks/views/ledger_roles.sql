-- table: public.ledger_roles
-- description: for the attacks: the policy as several roles, each with its own condition
SELECT id, amount, department, note, code, day, uid, flag, net, hexa, enc, arr, field, opt, fmt, zone, path
FROM public.ledger_roles
WHERE ('HR Manager' = ANY (rowgate.roles()) AND department IN ('HRM', 'Training'))
   OR ('Sales Manager' = ANY (rowgate.roles()) AND department IN ('Sales', 'Training'))
