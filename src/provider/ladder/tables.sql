-- The four levels of AI permissions as tables: permission -> action -> category -> role, and who holds what.
-- Plain SQL, safe to run again. The `sql` provider reads them with preset = "ai_permissions".

CREATE TABLE IF NOT EXISTS public.ai_permissions (
    api text PRIMARY KEY CHECK (api <> '' AND strpos(api, '*') = 0),
    title text NOT NULL DEFAULT '',
    description text NOT NULL DEFAULT ''
);
COMMENT ON TABLE public.ai_permissions IS 'one row per permission, such as fetch_loan: one call an agent may make';

CREATE TABLE IF NOT EXISTS public.ai_actions (
    name text PRIMARY KEY CHECK (name <> ''),
    description text NOT NULL DEFAULT ''
);
COMMENT ON TABLE public.ai_actions IS 'one row per action, such as Use Loan Analysis Tool: permissions that are needed together';

CREATE TABLE IF NOT EXISTS public.ai_action_permissions (
    action text REFERENCES public.ai_actions (name) ON UPDATE CASCADE ON DELETE CASCADE,
    permission text REFERENCES public.ai_permissions (api) ON UPDATE CASCADE ON DELETE CASCADE,
    PRIMARY KEY (action, permission)
);

CREATE TABLE IF NOT EXISTS public.ai_categories (
    name text PRIMARY KEY CHECK (name <> ''),
    description text NOT NULL DEFAULT ''
);
COMMENT ON TABLE public.ai_categories IS 'one row per category, such as Manage AI Assistant: actions that go together';

CREATE TABLE IF NOT EXISTS public.ai_category_actions (
    category text REFERENCES public.ai_categories (name) ON UPDATE CASCADE ON DELETE CASCADE,
    action text REFERENCES public.ai_actions (name) ON UPDATE CASCADE ON DELETE CASCADE,
    PRIMARY KEY (category, action)
);

CREATE TABLE IF NOT EXISTS public.ai_roles (
    name text PRIMARY KEY CHECK (name <> ''),
    description text NOT NULL DEFAULT ''
);
COMMENT ON TABLE public.ai_roles IS 'one row per role, such as Agent Supervisor: categories that a person needs';

CREATE TABLE IF NOT EXISTS public.ai_role_categories (
    role text REFERENCES public.ai_roles (name) ON UPDATE CASCADE ON DELETE CASCADE,
    category text REFERENCES public.ai_categories (name) ON UPDATE CASCADE ON DELETE CASCADE,
    PRIMARY KEY (role, category)
);

CREATE TABLE IF NOT EXISTS public.ai_user_roles (
    user_id text CHECK (user_id <> ''),
    role text REFERENCES public.ai_roles (name) ON UPDATE CASCADE ON DELETE CASCADE,
    expires_at timestamptz,
    PRIMARY KEY (user_id, role)
);
COMMENT ON TABLE public.ai_user_roles IS 'the roles a user holds; expires_at NULL = until taken away';

CREATE TABLE IF NOT EXISTS public.ai_user_categories (
    user_id text CHECK (user_id <> ''),
    category text REFERENCES public.ai_categories (name) ON UPDATE CASCADE ON DELETE CASCADE,
    expires_at timestamptz,
    PRIMARY KEY (user_id, category)
);
COMMENT ON TABLE public.ai_user_categories IS 'the categories an agent holds as if each were a role';

CREATE TABLE IF NOT EXISTS public.ai_user_permissions (
    user_id text CHECK (user_id <> ''),
    permission text REFERENCES public.ai_permissions (api) ON UPDATE CASCADE ON DELETE CASCADE,
    expires_at timestamptz,
    PRIMARY KEY (user_id, permission)
);
COMMENT ON TABLE public.ai_user_permissions IS 'the permissions a user or an agent holds directly';

CREATE TABLE IF NOT EXISTS public.ai_superusers (
    user_id text PRIMARY KEY CHECK (user_id <> '')
);
COMMENT ON TABLE public.ai_superusers IS 'users who bypass all of it';
