-- table: public.odd_part
SELECT id, odd_id FROM public.odd_part
