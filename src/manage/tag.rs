//! Tags themselves: defining one, dropping one, listing them. Who is in a tag's list is also granted and revoked one by
//! one, as everything else is.

use super::store::{Prepared, Store, cell, failure, lock, notify, query, rows_of};
use super::{By, Kind, ManageError, Manager};
use crate::config::AdminTable;
use crate::policy::{TagDefinitions, quote_identifier, valid_tag};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Instant;
use tokio_postgres::{Client, Row};

/// Most names that one definition lists; more are granted one by one.
const ALLOWED_MAX: usize = 1_000;
/// Of them, most that a line of the audit names.
const SHOWN_MAX: usize = 100;
/// Most tags in a list.
const LIST_MAX: usize = 10_000;

/// What a tag is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagDefinition {
    /// Its name.
    pub tag: String,
    /// `public`, `private`, `domain`, `domains`, `specific` or `group`.
    pub access: String,
    /// Who may always access it.
    pub owner: Option<String>,
    /// The domains, users or groups that go with the access.
    pub allowed: Vec<String>,
}

impl TagDefinition {
    /// Whether it can be one, by the rules of [`TagDefinitions`].
    ///
    /// # Errors
    /// [`ManageError::Invalid`].
    pub fn check(&self) -> Result<(), ManageError> {
        const HINT: &str = "access is public, private (with an owner), domain, domains, specific (users) or group.";
        if self.allowed.len() > ALLOWED_MAX {
            let says = format!("more than {ALLOWED_MAX} names are allowed at once");
            return Err(ManageError::invalid(says, "Grant the others one by one."));
        }
        let mut alone = TagDefinitions::default();
        let owner = self.owner.as_deref();
        alone
            .define(&self.tag, &self.access, owner, &self.allowed)
            .map_err(|error| ManageError::invalid(error.to_string(), HINT))
    }

    /// Order and repetition mean nothing.
    fn normal(&self) -> Self {
        let mut normal = self.clone();
        normal.allowed.sort_unstable();
        normal.allowed.dedup();
        normal
    }

    /// As the audit keeps it: not a list of any length.
    fn json(&self) -> Value {
        let shown: Vec<&String> = self.allowed.iter().take(SHOWN_MAX).collect();
        let mut json = json!({
            "tag": self.tag, "access": self.access, "owner": self.owner, "allowed": shown,
        });
        if let (true, Value::Object(json)) = (shown.len() < self.allowed.len(), &mut json) {
            json.insert("allowed_total".to_owned(), json!(self.allowed.len()));
        }
        json
    }
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagChange {
    /// The tag is this, whatever it was.
    Define(TagDefinition),
    /// There is no such tag, so what carries only it is nobody's.
    Drop(String),
}

impl TagChange {
    /// The tag.
    pub fn tag(&self) -> &str {
        match self {
            Self::Define(definition) => &definition.tag,
            Self::Drop(tag) => tag,
        }
    }

    /// As the audit writes it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Define(_) => "define",
            Self::Drop(_) => "drop",
        }
    }

    /// What it is about, bounded.
    pub fn item(&self) -> Value {
        let tag: String = self.tag().chars().take(300).collect();
        json!({"tag_definition": tag})
    }

    /// That it can be made.
    ///
    /// # Errors
    /// [`ManageError::Invalid`].
    pub fn check(&self) -> Result<(), ManageError> {
        match self {
            Self::Define(definition) => definition.check(),
            Self::Drop(tag) if valid_tag(tag) => Ok(()),
            Self::Drop(_) => Err(ManageError::invalid(
                "this is not a tag",
                "A tag has 1 to 256 bytes, and no blanks, commas, quotes or parentheses.",
            )),
        }
    }
}

/// What a change of a tag came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagDone {
    /// Whether anything is different now.
    pub changed: bool,
    /// What it was.
    pub before: Option<TagDefinition>,
    /// What it is.
    pub after: Option<TagDefinition>,
}

/// Every definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagList {
    /// By name.
    pub tags: Vec<TagDefinition>,
    /// There are more.
    pub truncated: bool,
}

impl Manager {
    /// Defines or drops a tag, in one transaction; leaves exactly one line in the audit, and one on how it ended if it
    /// was let through.
    ///
    /// # Errors
    /// As [`Manager::change`].
    pub async fn change_tag(&self, by: &By, change: &TagChange) -> Result<TagDone, ManageError> {
        let started = Instant::now();
        let prepared = match change.check() {
            Ok(()) => self.store().prepare_tag(change).await,
            Err(error) => Err(error),
        };
        let shown = |definition: &Option<TagDefinition>| {
            json!(definition.as_ref().map(TagDefinition::json))
        };
        let told = |done: &TagDone| (done.changed, shown(&done.before), shown(&done.after));
        let what = (change.word(), change.item(), started);
        self.finish(by, what, prepared, told).await
    }

    /// Every tag's definition.
    ///
    /// # Errors
    /// [`ManageError`].
    pub async fn tags(&self) -> Result<TagList, ManageError> {
        self.store().tags().await
    }
}

impl Store {
    async fn prepare_tag(&self, change: &TagChange) -> Result<Prepared<'_, TagDone>, ManageError> {
        let table = self.table(Kind::Tag)?;
        self.bounded(async {
            let lease = self.lease().await?;
            rows_of(&lease.client, Kind::Tag, table).await?;
            let done = make(&lease.client, table, change).await?;
            Ok(Prepared { lease, done })
        })
        .await
    }

    async fn tags(&self) -> Result<TagList, ManageError> {
        let table = self.table(Kind::Tag)?;
        self.bounded(async {
            let lease = self.lease().await?;
            rows_of(&lease.client, Kind::Tag, table).await?;
            let columns = Columns::of(&lease.client, table).await?;
            let sql = format!("{} ORDER BY 1 LIMIT {}", columns.select(), LIST_MAX + 1);
            let mut found = query(&lease.client, &sql, &[], None).await?;
            let truncated = found.len() > LIST_MAX;
            found.truncate(LIST_MAX);
            let tags = found.iter().map(definition).collect::<Result<_, _>>()?;
            self.keep(lease);
            Ok(TagList { tags, truncated })
        })
        .await
    }
}

/// The table's columns, quoted.
struct Columns {
    relation: String,
    allowed: String,
    name: String,
    access: String,
    /// The table may lack it.
    owner: Option<String>,
}

impl Columns {
    async fn of(client: &Client, table: &AdminTable) -> Result<Self, ManageError> {
        const HAS: &str = "SELECT true FROM pg_catalog.pg_attribute a \
            JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
            WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3 AND a.attnum > 0 AND NOT a.attisdropped";
        let owner = table.owner.as_str();
        let has = query(client, HAS, &[&table.schema, &table.name, owner], None).await?;
        let column = |index: usize| {
            let name = table.keys.get(index).map(String::as_str);
            quote_identifier(name.unwrap_or_default())
        };
        Ok(Self {
            relation: format!(
                "{}.{}",
                quote_identifier(&table.schema),
                quote_identifier(&table.name)
            ),
            allowed: column(0),
            name: column(1),
            access: column(2),
            owner: (!has.is_empty()).then(|| quote_identifier(owner)),
        })
    }

    fn select(&self) -> String {
        let Self {
            relation,
            allowed,
            name,
            access,
            owner,
        } = self;
        let owner = owner.as_deref().unwrap_or("NULL");
        format!(
            "SELECT {name}::pg_catalog.text, {access}::pg_catalog.text, {owner}::pg_catalog.text, \
             {allowed}::pg_catalog.text[] FROM {relation}"
        )
    }

    /// `$1` is the tag.
    fn is_it(&self) -> String {
        format!("{} OPERATOR(pg_catalog.=) $1::pg_catalog.text", self.name)
    }
}

/// Begins, changes and notifies; does not commit.
async fn make(
    client: &Client,
    table: &AdminTable,
    change: &TagChange,
) -> Result<TagDone, ManageError> {
    let columns = Columns::of(client, table).await?;
    client
        .batch_execute("BEGIN")
        .await
        .map_err(|e| failure(&e))?;
    lock(client, table, &[change.tag()]).await?;
    let sql = format!("{} WHERE {} LIMIT 2", columns.select(), columns.is_it());
    // Nobody adds a name to its list meanwhile.
    let held = format!("{sql} FOR UPDATE");
    let found = query(client, &held, &[change.tag()], None).await?;
    if found.len() > 1 {
        return Err(ManageError::invalid(
            "the tag is defined more than once",
            "Remove all but one of its rows from the table, and give the name a unique index.",
        ));
    }
    let before = found.first().map(definition).transpose()?;
    let wanted = match change {
        TagChange::Define(definition) => Some(definition),
        TagChange::Drop(_) => None,
    };
    if wanted.map(TagDefinition::normal) == before.as_ref().map(TagDefinition::normal) {
        let after = before.clone();
        return Ok(TagDone {
            changed: false,
            before,
            after,
        });
    }
    write(client, &columns, change, before.is_some()).await?;
    // Whoever may access it is told by nothing but the definition: everybody.
    notify(client, "").await?;
    let found = query(client, &sql, &[change.tag()], None).await?;
    let after = found.first().map(definition).transpose()?;
    Ok(TagDone {
        changed: true,
        before,
        after,
    })
}

async fn write(
    client: &Client,
    columns: &Columns,
    change: &TagChange,
    known: bool,
) -> Result<(), ManageError> {
    let Columns {
        relation,
        allowed,
        name,
        access,
        owner,
    } = columns;
    let TagChange::Define(definition) = change else {
        let sql = format!("DELETE FROM {relation} WHERE {}", columns.is_it());
        return query(client, &sql, &[change.tag()], None).await.map(drop);
    };
    if definition.owner.is_some() && owner.is_none() {
        return Err(ManageError::invalid(
            "tags have no owner here: their table has no column for it",
            "Name it as owner_column in [admin.tags], or leave the owner out.",
        ));
    }
    // Where there is no such column, nothing but NULL goes to it.
    let owner_is = owner
        .as_deref()
        .map(|owner| format!(", {owner} = $4::pg_catalog.text"));
    let owner_in = owner.as_deref().map(|owner| format!(", {owner}"));
    let sql = match known {
        true => format!(
            "UPDATE {relation} SET {access} = $2::pg_catalog.text, {allowed} = $3::pg_catalog.text[]{} WHERE {}",
            owner_is.unwrap_or_default(),
            columns.is_it()
        ),
        false => format!(
            "INSERT INTO {relation} ({name}, {access}, {allowed}{}) \
             VALUES ($1::pg_catalog.text, $2::pg_catalog.text, $3::pg_catalog.text[]{})",
            owner_in.unwrap_or_default(),
            if owner.is_some() {
                ", $4::pg_catalog.text"
            } else {
                ""
            }
        ),
    };
    let TagDefinition {
        tag,
        access,
        owner: owned_by,
        allowed,
    } = definition;
    let made = match owner {
        Some(_) => {
            client
                .execute(&sql, &[tag, access, allowed, owned_by])
                .await
        }
        None => client.execute(&sql, &[tag, access, allowed]).await,
    };
    made.map(drop).map_err(|error| failure(&error))
}

fn definition(row: &Row) -> Result<TagDefinition, ManageError> {
    Ok(TagDefinition {
        tag: cell::<Option<String>>(row, 0)?.unwrap_or_default(),
        access: cell::<Option<String>>(row, 1)?.unwrap_or_default(),
        owner: cell(row, 2)?,
        allowed: {
            let allowed: Option<Vec<Option<String>>> = cell(row, 3)?;
            allowed.into_iter().flatten().flatten().collect()
        },
    })
}
