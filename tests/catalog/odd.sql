-- A table of types of the customer's own, some of its columns hidden: what belongs to a hidden column says canary.
CREATE TYPE public.shown_mood AS ENUM ('glad', 'sad');
CREATE TYPE public.canary_mood AS ENUM ('canary_label');
CREATE DOMAIN public.shown_text AS text CHECK (VALUE <> 'canary_checked') DEFAULT 'canary_default';
CREATE DOMAIN public.shown_narrow AS public.shown_text;
CREATE DOMAIN public.canary_text AS text;
CREATE TYPE public.shown_pair AS (first public.shown_mood, second text);
CREATE COLLATION public.canary_collation (provider = libc, locale = 'C');
CREATE TABLE public.odd (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mood public.shown_mood NOT NULL DEFAULT 'glad',
    moods public.shown_mood[],
    narrow public.shown_narrow,
    narrows public.shown_narrow[],
    pair public.shown_pair,
    collated text COLLATE public.canary_collation,
    span int4range,
    "Odd ""name'" text,
    canary_hidden public.canary_mood,
    canary_narrow public.canary_text,
    canary_gone text,
    twice bigint GENERATED ALWAYS AS (id * 2) STORED
);
COMMENT ON TABLE public.odd IS E'it''s "odd"\\ \n$1 $$; --';
COMMENT ON COLUMN public.odd."Odd ""name'" IS E'\\'' OR true --';
COMMENT ON COLUMN public.odd.canary_hidden IS 'canary_comment';
ALTER TABLE public.odd DROP COLUMN canary_gone;
-- Over visible columns, but of what is hidden: an INCLUDE, a collation, a partial and an expression index.
ALTER TABLE public.odd ADD CONSTRAINT odd_span_key UNIQUE (span) INCLUDE (canary_hidden);
CREATE INDEX canary_collated ON public.odd (collated);
CREATE INDEX canary_pattern ON public.odd (id) WHERE mood <> 'sad';
CREATE INDEX canary_moods ON public.odd (lower(collated || 'canary'));
CREATE INDEX odd_mood ON public.odd (mood, id);
-- A granted view shows as a table.
CREATE VIEW public.odd_view AS SELECT id, mood, canary_hidden FROM public.odd;
CREATE TABLE public.canary_parted (id bigint, odd_id bigint REFERENCES public.odd (id)) PARTITION BY RANGE (id);
CREATE TABLE public.odd_part PARTITION OF public.canary_parted FOR VALUES FROM (1) TO (77777);
CREATE RULE canary_rule AS ON INSERT TO public.odd DO NOTHING;
CREATE STATISTICS public.canary_statistics ON mood, id FROM public.odd;
CREATE POLICY canary_policy ON public.odd USING (mood <> 'canary'::text::public.shown_mood);
INSERT INTO public.odd (mood) SELECT 'glad' FROM generate_series(1, 500);
ANALYZE;
