//! A connection with the queries prepared on it, and what is asked on it in one round trip.

use super::text::{
    after, cell, failure, flag, garbage, list, names, pairs, remaining, unavailable,
};
use crate::config::SqlQueries;
use crate::provider::answer::ANSWER_ITEMS_MAX;
use crate::provider::{Answer, Brings, Hierarchy, ProviderError};
use std::sync::Arc;
use std::time::Instant;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row, Statement};

/// The attribute that holds the groups a user is a member of.
const GROUPS: &str = "groups";

/// An open connection.
pub(super) struct Connection {
    pub(super) client: Client,
    roles: Option<Statement>,
    permissions: Option<Statement>,
    attributes: Option<Statement>,
    groups: Option<Statement>,
    superuser: Option<Statement>,
    denied_roles: Option<Statement>,
    denied_permissions: Option<Statement>,
    expires: Option<Statement>,
    role_permissions: Option<Statement>,
    inherited_roles: Option<Statement>,
    inherited_permissions: Option<Statement>,
}

impl Connection {
    /// Prepares every query, all in one round trip.
    pub(super) async fn prepare(
        client: Client,
        queries: &SqlQueries,
    ) -> Result<Self, ProviderError> {
        let prepare = |sql: Option<String>, parameters: &'static [Type]| {
            let client = &client;
            async move {
                match sql {
                    None => Ok(None),
                    Some(sql) => client
                        .prepare_typed(&sql, parameters)
                        .await
                        .map(Some)
                        .map_err(|error| failure(&error)),
                }
            }
        };
        const USER: &[Type] = &[Type::TEXT];
        const ROLES: &[Type] = &[Type::TEXT_ARRAY];
        let names = |query: &Option<String>| prepare(query.as_deref().map(list), USER);
        let (
            (roles, permissions, attributes, groups),
            (superuser, denied_roles, denied_permissions, expires),
            (role_permissions, inherited_roles, inherited_permissions),
        ) = tokio::try_join!(
            async {
                tokio::try_join!(
                    names(&queries.roles),
                    names(&queries.permissions),
                    prepare(queries.attributes.as_deref().map(pairs), USER),
                    names(&queries.groups),
                )
            },
            async {
                tokio::try_join!(
                    prepare(queries.superuser.as_deref().map(flag), USER),
                    names(&queries.denied_roles),
                    names(&queries.denied_permissions),
                    prepare(queries.expires.as_deref().map(remaining), USER),
                )
            },
            async {
                tokio::try_join!(
                    prepare(queries.role_permissions.as_deref().map(list), ROLES),
                    prepare(queries.inherited_roles.as_deref().map(pairs), &[]),
                    prepare(queries.inherited_permissions.as_deref().map(pairs), &[]),
                )
            },
        )?;
        Ok(Self {
            roles,
            permissions,
            attributes,
            groups,
            superuser,
            denied_roles,
            denied_permissions,
            expires,
            role_permissions,
            inherited_roles,
            inherited_permissions,
            client,
        })
    }
}

/// What is asked in one round trip.
#[derive(Clone, Copy)]
pub(super) enum Question<'a> {
    /// All about a user.
    User(&'a str),
    /// The permissions of these roles.
    Roles(&'a [&'a str]),
    /// What roles and permissions bring along.
    Hierarchy,
}

impl Connection {
    pub(super) async fn ask(&self, question: Question<'_>) -> Result<Answer, Failure> {
        let mut answer = Answer::default();
        let user_id = match question {
            Question::User(user_id) => user_id,
            Question::Roles(roles) => {
                answer.permissions =
                    names(&self.rows(self.role_permissions.as_ref(), &[&roles]).await?)?;
                return Ok(answer);
            }
            Question::Hierarchy => {
                answer.hierarchy = Some(Arc::new(self.hierarchy().await?));
                return Ok(answer);
            }
        };
        let user: &[&(dyn ToSql + Sync)] = &[&user_id];
        // Taken before asking: an end that is a moment early costs a question, one that is late a row.
        let asked = Instant::now();
        // Polled together, all of them travel in one round trip.
        let (names_of, attributes, superuser, expires) = tokio::try_join!(
            async {
                tokio::try_join!(
                    self.rows(self.roles.as_ref(), user),
                    self.rows(self.permissions.as_ref(), user),
                    self.rows(self.groups.as_ref(), user),
                    self.rows(self.denied_roles.as_ref(), user),
                    self.rows(self.denied_permissions.as_ref(), user),
                )
            },
            self.rows(self.attributes.as_ref(), user),
            self.rows(self.superuser.as_ref(), user),
            self.rows(self.expires.as_ref(), user),
        )?;
        let (roles, permissions, groups, denied_roles, denied_permissions) = names_of;
        answer.roles = names(&roles)?;
        answer.permissions = names(&permissions)?;
        answer.denied_roles = names(&denied_roles)?;
        answer.denied_permissions = names(&denied_permissions)?;
        for row in &attributes {
            let name: Option<String> = cell(row, 0)?;
            let name = name.ok_or_else(|| garbage("an attribute's name is NULL"))?;
            let value: Option<String> = cell(row, 1)?;
            answer.attributes.entry(name).or_default().extend(value);
        }
        if self.groups.is_some() {
            let groups = names(&groups)?;
            let known = answer.attributes.entry(GROUPS.to_owned()).or_default();
            known.extend(groups);
            known.sort_unstable();
            known.dedup();
            if known.is_empty() {
                answer.attributes.remove(GROUPS);
            }
        }
        if let Some(row) = superuser.first() {
            let superuser: Option<bool> = cell(row, 0)?;
            answer.superuser = (superuser == Some(true)).then_some(true);
        }
        if let Some(row) = expires.first() {
            let seconds: Option<f64> = cell(row, 0)?;
            answer.until = seconds.and_then(|seconds| after(asked, seconds));
        }
        Ok(answer)
    }

    async fn hierarchy(&self) -> Result<Hierarchy, Failure> {
        let (roles, permissions) = tokio::try_join!(
            self.rows(self.inherited_roles.as_ref(), &[]),
            self.rows(self.inherited_permissions.as_ref(), &[]),
        )?;
        let hierarchy = Hierarchy::new(brings(&roles)?, brings(&permissions)?);
        Ok(hierarchy.map_err(|error| garbage(&error.to_string()))?)
    }

    async fn rows(
        &self,
        statement: Option<&Statement>,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let Some(statement) = statement else {
            return Ok(Vec::new());
        };
        let rows = self
            .client
            .query(statement, parameters)
            .await
            .map_err(|error| {
                if error.is_closed() || self.client.is_closed() {
                    Failure::Lost
                } else {
                    Failure::Answer(failure(&error))
                }
            })?;
        if rows.len() > ANSWER_ITEMS_MAX {
            return Err(Failure::Answer(ProviderError::Oversize(
                "more than 10000 rows",
            )));
        }
        Ok(rows)
    }
}

/// A question that failed: on a connection that was already dead, or for good.
pub(super) enum Failure {
    Lost,
    Answer(ProviderError),
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        Self::Answer(error)
    }
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost => unavailable("the connection was lost"),
            Failure::Answer(error) => error,
        }
    }
}

/// Each name with what it brings along.
fn brings(rows: &[Row]) -> Result<Brings, ProviderError> {
    let mut brings = Brings::new();
    for row in rows {
        let (name, brought): (Option<String>, Option<String>) = (cell(row, 0)?, cell(row, 1)?);
        let (Some(name), Some(brought)) = (name, brought) else {
            return Err(garbage("a role or permission is NULL"));
        };
        brings.entry(name).or_default().insert(brought);
    }
    Ok(brings)
}
