-- table: public.odd_view
SELECT id, mood, upper(mood::text) AS loud FROM public.odd_view
