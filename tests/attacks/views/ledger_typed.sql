-- table: public.ledger_typed
-- description: for the attacks: the policy as IN, over unusual types
SELECT id, department, amount, ratio, at, moment, day, ring, tags, numbers, other, same
FROM public.ledger_typed
WHERE department IN (SELECT department FROM public.permissions
                     WHERE allowed_role = ANY (rowgate.roles()))
