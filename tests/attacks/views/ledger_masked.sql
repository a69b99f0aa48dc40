-- table: public.ledger_masked
-- description: for the attacks: a mask that fails on what the caller may not see
-- mask note: coalesce('n' || CAST(CAST(note AS integer) AS text), '')
SELECT id, amount, department, note, code, day, uid, flag, net, hexa, enc, arr, field, opt, fmt, zone, path
FROM public.ledger_masked
WHERE department IN (SELECT department FROM public.permissions
                     WHERE allowed_role = ANY (rowgate.roles()))
