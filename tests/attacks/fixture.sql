-- What the attacks need beside the running example: hidden relations of every kind, hostile functions,
-- operators and types in `public`, and tables with one policy said in several ways. Loaded after
-- fixtures/schema.sql and fixtures/data.sql, as the superuser. Whatever must never be seen says CANARY.

-- Hidden tables. No permission view names them.
CREATE TABLE public.salaries (id bigserial PRIMARY KEY, employee text, pay numeric, note text);
INSERT INTO public.salaries (employee, pay, note) VALUES
    ('Carol', 91123.45, 'CANARY-salaries-1'), ('Lars', 99123.45, 'CANARY-salaries-2');
COMMENT ON TABLE public.salaries IS 'CANARY-comment';
CREATE TABLE public.secret_roles (role text, secret text);
INSERT INTO public.secret_roles VALUES ('Board', 'CANARY-secret-role');
CREATE TABLE public."Invoices" (note text);
INSERT INTO public."Invoices" VALUES ('CANARY-case');
CREATE TABLE public."INVOICES" (note text);
INSERT INTO public."INVOICES" VALUES ('CANARY-upper-case');
CREATE TABLE public.hidden_table_whose_name_is_exactly_sixty_three_bytes_long_abcde (x text);
INSERT INTO public.hidden_table_whose_name_is_exactly_sixty_three_bytes_long_abcde VALUES ('CANARY-63');
CREATE SCHEMA archive;
CREATE TABLE archive.invoices (LIKE public.invoices);
INSERT INTO archive.invoices VALUES (1, 1, '2000-01-01', 'HRM', 3, 'CANARY-archive');

-- Relations of the other kinds.
CREATE VIEW public.salaries_view AS SELECT * FROM public.salaries;
CREATE VIEW public.invoices_unfiltered AS SELECT * FROM public.invoices;
CREATE MATERIALIZED VIEW public.invoice_totals AS SELECT department, sum(amount) AS total, 'CANARY-matview' AS note FROM public.invoices GROUP BY department;
CREATE TABLE public.measurements (at date NOT NULL, note text) PARTITION BY RANGE (at);
CREATE TABLE public.measurements_2025 PARTITION OF public.measurements FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO public.measurements VALUES ('2025-05-05', 'CANARY-partition');
CREATE TABLE public.invoices_archive (id bigint, note text);
CREATE TABLE public.invoices_archive_child (extra text) INHERITS (public.invoices_archive);
INSERT INTO public.invoices_archive_child VALUES (1, 'CANARY-child', 'x');
CREATE FOREIGN DATA WRAPPER nothing_fdw;
CREATE SERVER nothing FOREIGN DATA WRAPPER nothing_fdw OPTIONS (host 'CANARY-host');
CREATE FOREIGN TABLE public.remote_accounts (id bigint, note text) SERVER nothing;
CREATE TYPE public.money_pair AS (amount numeric, currency text);
CREATE TYPE public.mood AS ENUM ('happy', 'CANARY-label');

-- Functions that answer with a hidden value, under names of their own and of built-ins.
CREATE FUNCTION public.invoice_peek(bigint) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT note FROM public.invoices WHERE id = $1$$;
CREATE FUNCTION public.invoice_peek(public.invoices) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT string_agg(note, ',') FROM public.salaries$$;
CREATE FUNCTION public.row_peek(public.invoices) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT string_agg(note, ',') FROM public.salaries$$;
CREATE FUNCTION public.lower(bigint) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT string_agg(note, ',') FROM public.salaries$$;
CREATE FUNCTION public.abs(text) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT string_agg(note, ',') FROM public.salaries$$;
CREATE FUNCTION public."Lower"(text) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT string_agg(note, ',') FROM public.salaries$$;
CREATE FUNCTION public.int4(text) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT string_agg(note, ',') FROM public.salaries$$;
CREATE FUNCTION public."coalesce"(bigint, bigint) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT string_agg(note, ',') FROM public.salaries$$;
CREATE FUNCTION public.variadic_peek(VARIADIC bigint[]) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT string_agg(note, ',') FROM public.salaries$$;
CREATE FUNCTION public.all_invoices() RETURNS SETOF public.invoices LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT * FROM public.invoices$$;
CREATE FUNCTION public.true_peek(text, boolean) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT string_agg(note, ',') FROM public.salaries$$;
CREATE AGGREGATE public.max(boolean) (sfunc = public.true_peek, stype = text, initcond = '');
CREATE FUNCTION public.collect(text, bigint) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT string_agg(note, ',') FROM public.salaries$$;
CREATE AGGREGATE public.collect_notes(bigint) (sfunc = public.collect, stype = text, initcond = '');
CREATE AGGREGATE public.peek_window(bigint) (sfunc = public.collect, stype = text, initcond = '');
CREATE FUNCTION public.invoice_peek_trigger() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE PROCEDURE public.purge_invoices() LANGUAGE sql AS $$DELETE FROM public.transactions$$;

-- Operators that answer with a hidden value.
CREATE FUNCTION public.peek_plus(text, integer) RETURNS integer LANGUAGE plpgsql STABLE SECURITY DEFINER AS
    $$BEGIN RAISE EXCEPTION '%', (SELECT string_agg(note, ',') FROM public.salaries); END$$;
CREATE OPERATOR public.+ (leftarg = text, rightarg = integer, function = public.peek_plus);
CREATE FUNCTION public.peek_plus(integer, integer) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT string_agg(note, ',') FROM public.salaries$$;
CREATE OPERATOR public.+ (leftarg = integer, rightarg = integer, function = public.peek_plus);
CREATE FUNCTION public.peek_same(text, text) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT string_agg(note, ',') FROM public.salaries$$;
CREATE OPERATOR public.=== (leftarg = text, rightarg = text, function = public.peek_same);
CREATE OPERATOR public.@#@ (rightarg = bigint, function = public.lower);
CREATE FUNCTION public.peek_like(bigint, integer) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER AS
    $$BEGIN RAISE EXCEPTION '%', (SELECT string_agg(note, ',') FROM public.salaries); END$$;
CREATE OPERATOR public.~~ (leftarg = bigint, rightarg = integer, function = public.peek_like);

-- A domain whose check reads and prints, and a cast.
CREATE FUNCTION public.peek_check(text) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER AS
    $$BEGIN RAISE EXCEPTION '%', (SELECT string_agg(note, ',') FROM public.salaries); END$$;
CREATE DOMAIN public.peeking_domain AS text CHECK (public.peek_check(VALUE));
CREATE FUNCTION public.to_pair(integer) RETURNS public.money_pair LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT ROW($1, (SELECT string_agg(note, ',') FROM public.salaries))::public.money_pair$$;
CREATE CAST (integer AS public.money_pair) WITH FUNCTION public.to_pair(integer);

-- One policy in five ways, and once more with a mask: the same rows, the same canaries. Every text column can be read as what it is
-- named for where Anne may look (a number, a day, a pattern, an encoding ...), and nowhere else.
CREATE TABLE public.ledger_exists (id bigint PRIMARY KEY, amount numeric NOT NULL, department text NOT NULL,
    note text, code text, day text, uid text, flag text, net text, hexa text, enc text, arr text, field text,
    opt text, fmt text, zone text, path text);
INSERT INTO public.ledger_exists
    SELECT n, 10 + n % 90, (ARRAY['HRM', 'Sales', 'Training'])[1 + n % 3], (1 + n % 7)::text, 'a', '2025-01-01',
           'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'true', '10.0.0.1', '00', 'UTF8', '{1}', 'day', 'i', 'hex', 'UTC', '$.a'
    FROM generate_series(1, 300) n;
INSERT INTO public.ledger_exists
    SELECT id, 987654, department, 'CANARY-ledger', '%CANARY-code[', 'CANARY-day', 'CANARY-uid', 'CANARY-flag',
           'CANARY-net', 'CANARY-hexa', 'CANARY-enc', 'CANARY-arr', 'CANARY-field', 'CANARY-opt', 'CANARY-fmt',
           'CANARY-zone', 'CANARY-path['
    FROM (VALUES (9001, 'Finance'), (9002, 'Legal')) v(id, department);
-- Long enough that a pattern which goes along with it exhausts the stack.
UPDATE public.ledger_exists SET path = path || repeat('a', 100000) WHERE id = 9001;
CREATE INDEX ON public.ledger_exists (amount);
CREATE TABLE public.ledger_in (LIKE public.ledger_exists INCLUDING ALL);
CREATE TABLE public.ledger_any (LIKE public.ledger_exists INCLUDING ALL);
CREATE TABLE public.ledger_distinct (LIKE public.ledger_exists INCLUDING ALL);
CREATE TABLE public.ledger_roles (LIKE public.ledger_exists INCLUDING ALL);
CREATE TABLE public.ledger_masked (LIKE public.ledger_exists INCLUDING ALL);
INSERT INTO public.ledger_in SELECT * FROM public.ledger_exists;
INSERT INTO public.ledger_any SELECT * FROM public.ledger_exists;
INSERT INTO public.ledger_distinct SELECT * FROM public.ledger_exists;
INSERT INTO public.ledger_roles SELECT * FROM public.ledger_exists;
INSERT INTO public.ledger_masked SELECT * FROM public.ledger_exists;

-- The same policy over types that PostgreSQL converts, compares or collates in ways of their own.
CREATE COLLATION public.alike (provider = icu, locale = 'und', deterministic = false);
CREATE TABLE public.ledger_typed (id bigint PRIMARY KEY, department text NOT NULL, amount numeric, ratio float8, at timestamptz,
    moment timestamp, day date, ring circle, tags text[], numbers numeric[], other text COLLATE "de-x-icu", same text COLLATE public.alike);
INSERT INTO public.ledger_typed
    SELECT n, (ARRAY['HRM', 'Sales', 'Training'])[1 + n % 3], n, n, '2025-01-01', '2025-01-01', '2025-01-01', '<(0,0),1>', ARRAY[n::text], ARRAY[n], 'a', 'a'
    FROM generate_series(1, 300) n;
INSERT INTO public.ledger_typed
    VALUES (9001, 'Finance', '1e400', 'NaN', 'infinity', 'infinity', '5874897-12-31', '<(0,0),1e200>', '{CANARY-tags}', '{1e400}', 'CANARY-other', 'CANARY-same');

ANALYZE;
