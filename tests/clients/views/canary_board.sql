-- table: public.canary_board
-- description: for superusers only
-- requires: read:nobody-has-this
SELECT id, canary_minutes FROM public.canary_board
