-- table: public.ledger_exists
-- description: for the attacks: the policy as EXISTS
SELECT id, amount, department, note, code
FROM public.ledger_exists l
WHERE EXISTS (SELECT 1 FROM public.permissions p
              WHERE p.department = l.department AND p.allowed_role = ANY (rowgate.roles()))
