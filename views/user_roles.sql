-- table: public.user_roles
-- description: the roles you have
SELECT "user", role
FROM public.user_roles
WHERE "user" = rowgate.user_id()
