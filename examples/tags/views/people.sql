-- table: public.people
-- description: one row per colleague
-- column phone tags staff
SELECT id, name, phone FROM public.people
