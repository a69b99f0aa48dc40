//! [`Policy`]: all permission views with their column types, one immutable snapshot.

use super::compose::{self, BodyFacts};
use crate::identity::Principal;
use crate::policy::{
    ColumnNumber, ColumnType, Description, GrantedColumn, GrantedTable, Grants, InlineBody, Origin,
    PermissionView, RelationName, Server, ShadowSource, identifier,
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Sets of grants kept; more distinct combinations of permissions than this start afresh.
const GRANTS_MAX: usize = 4_096;

/// Identifies one state of the policy; changes when a view or a column type does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyVersion(pub [u8; 16]);

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take(6)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A column as the policy knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_: ColumnType,
    /// From the file, else the database's comment.
    pub description: Option<String>,
    /// Permissions needed to see it.
    pub requires: Vec<String>,
    /// Tags of which one has to be accessible to see it; none = everyone sees it.
    pub tags: Vec<String>,
    /// Whether it is an expression of the view's body.
    pub computed: bool,
    /// Whether it is shown masked (`None` = never masked), and who sees it whole.
    pub masked: Option<Option<String>>,
}

/// Where a view's rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ViewSource {
    Installed {
        sealed: RelationName,
        /// The same as `sealed` where no open form may be shown.
        open: RelationName,
        all: Option<RelationName>,
    },
    Inline(Box<BodyFacts>),
}

impl ViewSource {
    /// The installed views among what shadows may read.
    pub(crate) fn reads(&self) -> Vec<RelationName> {
        match self {
            ViewSource::Installed { sealed, open, all } => {
                let all = all.iter().cloned();
                [sealed.clone(), open.clone()]
                    .into_iter()
                    .chain(all)
                    .collect()
            }
            ViewSource::Inline(_) => Vec::new(),
        }
    }
}

/// What a superuser sees of a table: its own columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct WholeTable {
    pub(crate) columns: Vec<GrantedColumn>,
    pub(crate) primary_key: Vec<String>,
}

/// What a principal holds and may access.
struct Rights<'a> {
    holds: &'a dyn Fn(&str) -> bool,
    may_access: &'a dyn Fn(&str) -> bool,
}

impl Rights<'_> {
    /// Every permission is needed; of the tags, if there are any, one.
    fn open(&self, requires: &[String], tags: &[String]) -> bool {
        requires.iter().all(|needed| (self.holds)(needed))
            && (tags.is_empty() || tags.iter().any(|tag| (self.may_access)(tag)))
    }
}

/// A permission view with what the database says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyView {
    /// The view file.
    pub view: PermissionView,
    /// From the file, else the database's comment.
    pub description: Option<String>,
    /// The view's columns, in order.
    pub columns: Vec<PolicyColumn>,
    /// The table's primary key if the view shows all of it, else empty.
    pub primary_key: Vec<String>,
    pub(crate) source: ViewSource,
    /// Every column of every relation that its shadows may read.
    pub(crate) origins: Vec<Origin>,
    /// `None`: the superuser flag changes nothing, or the table does not exist as such.
    pub(crate) whole: Option<WholeTable>,
}

impl PolicyView {
    /// The table it stands for.
    pub fn relation(&self) -> &RelationName {
        self.view.relation()
    }

    fn granted(&self, rights: &Rights<'_>) -> Option<GrantedTable> {
        if !rights.open(&self.view.requires, &self.view.tags) {
            return None;
        }
        let columns: Vec<GrantedColumn> = self
            .columns
            .iter()
            .filter(|column| rights.open(&column.requires, &column.tags))
            .map(|column| GrantedColumn {
                name: column.name.clone(),
                type_: column.type_.clone(),
                plain: column.masked.is_none() && !column.computed,
            })
            .collect();
        let source = match &self.source {
            ViewSource::Installed { sealed, open, .. } => ShadowSource::Installed {
                sealed: sealed.clone(),
                open: open.clone(),
            },
            ViewSource::Inline(facts) => {
                let visible: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
                ShadowSource::Inline(compose::inline(&self.view, facts, &visible))
            }
        };
        self.table(columns, &self.primary_key, source)
    }

    /// For a superuser. `None` only where nothing is installed for superusers.
    fn granted_to_superuser(&self) -> Option<GrantedTable> {
        let Some(whole) = &self.whole else {
            let mut table = self.granted(&Rights {
                holds: &|_| true,
                may_access: &|_| true,
            })?;
            if let ViewSource::Installed { all, .. } = &self.source {
                let all = all.clone()?;
                table.source = ShadowSource::Installed {
                    sealed: all.clone(),
                    open: all,
                };
            }
            return Some(table);
        };
        let source = match &self.source {
            ViewSource::Installed { all, .. } => {
                let all = all.clone()?;
                ShadowSource::Installed {
                    sealed: all.clone(),
                    open: all,
                }
            }
            ViewSource::Inline(_) => ShadowSource::Inline(InlineBody {
                pieces: vec![whole_table(self.relation(), &whole.columns)],
                holes: Vec::new(),
            }),
        };
        self.table(whole.columns.clone(), &whole.primary_key, source)
    }

    /// Where the columns come from that `grants` has.
    fn origins_in(&self, grants: &Grants) -> impl Iterator<Item = (ColumnNumber, ColumnNumber)> {
        let RelationName { schema, name } = self.relation();
        let columns = grants
            .table(Some(schema), name)
            .map_or(&[][..], |table| table.columns.as_slice());
        let granted = |origin: &&Origin| columns.iter().any(|c| c.name == origin.name);
        self.origins
            .iter()
            .filter(granted)
            .map(|origin| (origin.read, origin.table))
    }

    /// Of the table and of every column, whoever may see it.
    fn descriptions(&self) -> impl Iterator<Item = Description> {
        let described = |column: Option<&String>, text: &Option<String>| {
            Some(Description {
                relation: self.relation().clone(),
                column: column.cloned(),
                text: text.clone()?,
            })
        };
        let columns = self
            .columns
            .iter()
            .filter_map(move |column| described(Some(&column.name), &column.description));
        described(None, &self.description)
            .into_iter()
            .chain(columns)
    }

    fn table(
        &self,
        columns: Vec<GrantedColumn>,
        primary_key: &[String],
        source: ShadowSource,
    ) -> Option<GrantedTable> {
        let shown = |name: &String| columns.iter().any(|column| column.name == *name);
        let primary_key = match primary_key.iter().all(shown) {
            true => primary_key.to_vec(),
            false => Vec::new(),
        };
        (!columns.is_empty()).then(|| GrantedTable {
            relation: self.relation().clone(),
            columns,
            primary_key,
            source,
        })
    }
}

/// Every row of a table, its columns by name.
pub(crate) fn whole_table(relation: &RelationName, columns: &[GrantedColumn]) -> String {
    let names: Vec<String> = columns.iter().map(|c| identifier(&c.name)).collect();
    format!(
        "SELECT {}\nFROM {}",
        names.join(", "),
        compose::qualified(relation)
    )
}

/// All permission views: what decides who may see what.
pub struct Policy {
    version: PolicyVersion,
    server: Server,
    views: Vec<PolicyView>,
    /// Every permission that any view or column requires, sorted.
    asked: Vec<String>,
    /// Every tag that any view or column carries, sorted.
    tagged: Vec<String>,
    superuser: Arc<Grants>,
    /// By which of `asked` a principal holds, then which of `tagged` they may access: nothing else of the
    /// principal changes the grants.
    grants: RwLock<HashMap<Vec<bool>, Arc<Grants>>>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, views, .. } = self;
        f.debug_struct("Policy")
            .field("version", version)
            .field("views", &views.len())
            .finish_non_exhaustive()
    }
}

impl Policy {
    /// Of these views, on this server.
    pub(crate) fn new(mut views: Vec<PolicyView>, server: Server) -> Self {
        views.sort_by(|a, b| a.relation().cmp(b.relation()));
        let digest = Sha256::digest(format!("{views:?}{server:?}"));
        let mut version = [0; 16];
        for (to, from) in version.iter_mut().zip(digest.iter()) {
            *to = *from;
        }
        let columns = || views.iter().flat_map(|view| &view.columns);
        let asked = views.iter().flat_map(|view| &view.view.requires);
        let asked = sorted(asked.chain(columns().flat_map(|column| &column.requires)));
        let tagged = views.iter().flat_map(|view| &view.view.tags);
        let tagged = sorted(tagged.chain(columns().flat_map(|column| &column.tags)));
        let tables = views.iter().filter_map(PolicyView::granted_to_superuser);
        let superuser = Arc::new(grants(tables.collect(), &views, &server));
        Self {
            version: PolicyVersion(version),
            server,
            views,
            asked,
            tagged,
            superuser,
            grants: RwLock::default(),
        }
    }

    /// Which state of the policy this is.
    pub fn version(&self) -> PolicyVersion {
        self.version
    }

    /// Every view, sorted by table; for `describe` and `explain`.
    pub fn views(&self) -> &[PolicyView] {
        &self.views
    }

    /// What `principal` may use now. Cheap: cached by which of the required permissions they hold and
    /// which of the tags they may access.
    pub fn grants(&self, principal: &Principal) -> Arc<Grants> {
        if principal.superuser() {
            return Arc::clone(&self.superuser);
        }
        let held: Vec<bool> = self
            .asked
            .iter()
            .map(|permission| principal.has_permission(permission))
            .chain(self.tagged.iter().map(|tag| principal.tags().contains(tag)))
            .collect();
        let known = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(grants) = known.get(&held) {
            return Arc::clone(grants);
        }
        drop(known);
        let found = |list: &[String], name: &str, offset: usize| {
            let index = list.binary_search_by(|known| known.as_str().cmp(name));
            index.is_ok_and(|index| held.get(offset + index) == Some(&true))
        };
        let rights = Rights {
            holds: &|permission| found(&self.asked, permission, 0),
            may_access: &|tag| found(&self.tagged, tag, self.asked.len()),
        };
        let tables = self.views.iter().filter_map(|view| view.granted(&rights));
        let made = Arc::new(grants(tables.collect(), &self.views, &self.server));
        let mut known = self.grants.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= GRANTS_MAX {
            known.clear();
        }
        known.insert(held, Arc::clone(&made));
        made
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let names: BTreeSet<&String> = names.collect();
    names.into_iter().cloned().collect()
}

fn grants(tables: Vec<GrantedTable>, views: &[PolicyView], server: &Server) -> Grants {
    let grants = Grants::new(tables, vec!["public".to_owned()], Vec::new());
    let descriptions = views.iter().flat_map(PolicyView::descriptions);
    let grants = grants.described(descriptions.collect());
    let origins = views.iter().flat_map(|view| view.origins_in(&grants));
    let origins = origins.collect();
    let grants = grants.from_origins(origins);
    let grants = grants
        .on_server(server.version)
        .in_database(server.database.as_deref());
    match &server.vectors {
        Some(schema) => grants.with_vectors(schema),
        None => grants,
    }
}
