-- table: public.board_minutes
-- description: what the board decided
-- tags: board
SELECT id, held_on, text FROM public.board_minutes
