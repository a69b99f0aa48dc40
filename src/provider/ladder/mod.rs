//! The four levels of AI permissions: permission -> action -> category -> role.
//!
//! An action is a set of permissions, a category a set of actions, a role a set of categories. Users hold roles; agents
//! hold a category as if it were a role, or permissions directly. From tables they are read by the `sql` provider with
//! the queries here.

/// Creates the tables; safe to run again.
pub const TABLES: &str = include_str!("tables.sql");

/// The roles of a user, and the categories an agent holds as if each were a role; `$1` = user id.
pub const ROLES: &str = "\
SELECT role FROM public.ai_user_roles WHERE user_id = $1 AND (expires_at IS NULL OR expires_at > now())
UNION
SELECT category FROM public.ai_user_categories WHERE user_id = $1 AND (expires_at IS NULL OR expires_at > now())";

/// The permissions held directly; `$1` = user id.
pub const PERMISSIONS: &str = "\
SELECT permission FROM public.ai_user_permissions
WHERE user_id = $1 AND (expires_at IS NULL OR expires_at > now())";

/// What roles and categories carry; `$1` = their names, from whichever provider.
pub const ROLE_PERMISSIONS: &str = "\
SELECT ap.permission
FROM public.ai_role_categories rc
JOIN public.ai_category_actions ca USING (category)
JOIN public.ai_action_permissions ap USING (action)
WHERE rc.role = ANY ($1)
UNION
SELECT ap.permission
FROM public.ai_category_actions ca
JOIN public.ai_action_permissions ap USING (action)
WHERE ca.category = ANY ($1)";

/// Whether the user bypasses all of it; `$1` = user id.
pub const SUPERUSER: &str = "SELECT true FROM public.ai_superusers WHERE user_id = $1";
