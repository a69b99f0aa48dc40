-- Hidden objects of every kind, in a database where every kind of catalogue relation has something to tell. Loaded
-- after the example's schema and data, as the superuser. Whatever must never be seen says canary.
CREATE SCHEMA canary_schema;
CREATE TABLE public.canary_table (canary_column text PRIMARY KEY DEFAULT 'canary_default', id bigserial);
COMMENT ON TABLE public.canary_table IS 'canary_comment';
COMMENT ON COLUMN public.customers.tax_number IS 'canary_remark';
COMMENT ON SCHEMA public IS 'canary_of_a_schema';
CREATE INDEX canary_index ON public.canary_table (id);
CREATE TABLE canary_schema.invoices (canary_number bigint);
CREATE VIEW public.canary_view AS SELECT canary_column AS canary_of_view FROM public.canary_table;
CREATE MATERIALIZED VIEW public.canary_matview AS SELECT 'canary_value' AS canary_of_matview;
CREATE SEQUENCE public.canary_sequence;
CREATE TYPE public.canary_mood AS ENUM ('canary_label');
CREATE DOMAIN public.canary_domain AS text DEFAULT 'canary_of_domain' CHECK (VALUE <> 'canary_checked');
CREATE TYPE public.canary_pair AS (canary_left text);
CREATE TYPE public.canary_range AS RANGE (subtype = float8);
CREATE FUNCTION canary_schema.canary_function() RETURNS text LANGUAGE sql AS $$SELECT 'canary_source'$$;
CREATE COLLATION public.canary_collation FROM "C";
CREATE AGGREGATE public.canary_aggregate (text) (sfunc = textcat, stype = text);
CREATE TEXT SEARCH CONFIGURATION public.canary_configuration (COPY = simple);
CREATE PUBLICATION canary_publication FOR TABLE public.canary_table;
CREATE STATISTICS public.canary_statistics ON name, country FROM public.customers;
-- On granted tables: a hidden column, and indexes, checks, defaults and keys that tell of it or of values.
ALTER TABLE public.customers ADD COLUMN canary_hidden public.canary_mood DEFAULT 'canary_label';
ALTER TABLE public.customers ALTER COLUMN country SET DEFAULT 'canary_country';
ALTER TABLE public.customers ADD CONSTRAINT canary_check CHECK (name <> 'canary_name');
ALTER TABLE public.customers ADD CONSTRAINT canary_unique UNIQUE (name, tax_number);
CREATE INDEX canary_mixed ON public.customers (name, canary_hidden);
CREATE INDEX canary_included ON public.customers (country) INCLUDE (canary_hidden);
CREATE INDEX canary_partial ON public.customers (since) WHERE name = 'canary_name';
CREATE INDEX canary_expression ON public.customers (lower(name || 'canary_name'));
ALTER TABLE public.invoices ADD COLUMN canary_key text CONSTRAINT canary_foreign REFERENCES public.canary_table (canary_column);
ALTER TABLE public.canary_table ADD COLUMN invoice bigint CONSTRAINT canary_to_invoice REFERENCES public.invoices (id);
CREATE FUNCTION public.canary_trigger_function() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TRIGGER canary_trigger BEFORE INSERT ON public.invoices FOR EACH ROW EXECUTE FUNCTION public.canary_trigger_function();
CREATE TABLE public.canary_child () INHERITS (public.invoices);
DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'canary_role') THEN CREATE ROLE canary_role; END IF; END$$;
GRANT SELECT ON public.invoices TO canary_role;
ANALYZE;
