-- table: public.notes
-- requires: read:notes
-- description: what the teams wrote down
SELECT id, team, text
FROM public.notes
WHERE team = ANY (rowgate.roles())
