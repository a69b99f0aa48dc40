//! The four levels of AI permissions: permission -> action -> category -> role.
//!
//! An action is a set of permissions, a category a set of actions, a role a set of categories. Users hold roles; agents
//! hold a category as if it were a role, or permissions directly. From tables (`tables.sql`) they are read by the `sql`
//! provider with preset = "ai_permissions": [`crate::config::preset::AI_PERMISSIONS`].
