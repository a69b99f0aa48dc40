-- table: public.odd
SELECT id, mood, moods, narrow, narrows, pair, collated, span, "Odd ""name'", twice FROM public.odd
