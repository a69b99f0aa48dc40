-- What Bob may see, as a database of its own: loaded after fixtures/schema.sql, which makes what is not Bob's as well. Run
-- as the twin's owner.
DROP TABLE public.payroll, public.api_keys;
ALTER TABLE public.customers DROP COLUMN tax_number;
ALTER TABLE public.user_roles DROP COLUMN expires_at;
ALTER TABLE public.employees DROP COLUMN salary;
-- The gate tells nothing of checks and defaults: they hold values.
ALTER TABLE public.transactions DROP CONSTRAINT transactions_method_check;
-- A mask may be NULL whatever the table says.
ALTER TABLE public.customers ALTER COLUMN email DROP NOT NULL;
-- The words of the views' headers.
COMMENT ON TABLE public.departments IS 'one row per department you work for';
COMMENT ON TABLE public.permissions IS 'which departments your own roles may see';
COMMENT ON TABLE public.user_roles IS 'the roles you have';
