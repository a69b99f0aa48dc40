//! Relation tuples, `object#relation@subject`, as Zanzibar, Ory Keto and OpenFGA have them: which relations
//! there are and what follows from what. Pure; who walks them is SQL ([`crate::policy`]) or a provider.
//!
//! A walk starts at the user and follows [`Edge`]s upwards, from what is held to what that gives, until
//! nothing new is found. Everything the rules say is worked out beforehand into the edges, those that
//! cannot lead to what is asked for left out, so a step of a walk is one look-up in one index.

mod edges;

pub use edges::Edge;

use std::collections::BTreeMap;
use std::fmt;

/// Most edges for one pair; a rule set that makes more is a mistake.
pub const EDGES_MAX: usize = 2_000;
/// Longest name of a namespace or relation, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// A type and a relation: what `rowgate.objects('viewer', 'document')` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Namespace of the objects, such as `document`.
    pub namespace: String,
    /// Relation held on them, such as `viewer`.
    pub relation: String,
}

impl Pair {
    /// `namespace#relation`.
    pub fn new(namespace: impl Into<String>, relation: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            relation: relation.into(),
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.namespace, self.relation)
    }
}

/// What else makes somebody hold a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// `"editor"`: who holds that relation on the same object.
    Same(String),
    /// `"parent.viewer"`: who holds `viewer` on an object that stands as `parent` of this one.
    Through {
        /// The relation that leads to the other object.
        relation: String,
        /// What has to be held there.
        held: String,
    },
}

/// What may stand behind the `@` of a relation's tuples; others are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// `"folder"`: an object itself.
    Object(String),
    /// `"group#member"`: whoever holds that relation on an object.
    Set(Pair),
    /// `"user"`: a user.
    User,
}

/// One relation of a namespace. Tuples always count; `union` says what else does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relation {
    /// Any of these is enough.
    pub union: Vec<Member>,
    /// `None`: every user, object and declared set.
    pub subjects: Option<Vec<Subject>>,
}

/// All namespaces with their relations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// The namespace users are subjects of.
    pub user: String,
    /// Relations by name, by namespace.
    pub relations: BTreeMap<String, BTreeMap<String, Relation>>,
}

impl Namespaces {
    /// Whether both are declared.
    pub fn has(&self, pair: &Pair) -> bool {
        self.relation(pair).is_some()
    }

    fn relation(&self, pair: &Pair) -> Option<&Relation> {
        self.relations.get(&pair.namespace)?.get(&pair.relation)
    }

    /// Every declared pair, sorted.
    pub fn pairs(&self) -> impl Iterator<Item = Pair> {
        self.relations.iter().flat_map(|(namespace, relations)| {
            let names = relations.keys();
            names.map(move |relation| Pair::new(namespace, relation))
        })
    }
}

/// Where tuples lie in the customer's database. All columns but `expires_at` are text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TupleTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What its columns are called.
    pub columns: TupleColumns,
}

/// The columns of [`TupleTable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TupleColumns {
    /// Type of the object, such as `document`.
    pub namespace: String,
    /// Its id.
    pub object: String,
    /// What the subject is to it.
    pub relation: String,
    /// Type of the subject: that of users, or of the object a set is of.
    pub subject_namespace: String,
    /// The subject's id.
    pub subject_id: String,
    /// Empty for a user or an object; else the subject is whoever holds this relation on it.
    pub subject_relation: String,
    /// `timestamptz`; NULL = for ever. `None`: there is no such column.
    pub expires_at: Option<String>,
}

impl Default for TupleColumns {
    fn default() -> Self {
        Self {
            namespace: "namespace".to_owned(),
            object: "object".to_owned(),
            relation: "relation".to_owned(),
            subject_namespace: "subject_namespace".to_owned(),
            subject_id: "subject_id".to_owned(),
            subject_relation: "subject_relation".to_owned(),
            expires_at: Some("expires_at".to_owned()),
        }
    }
}

/// `[tuples]`: the rules, and where the tuples are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuples {
    /// The rules.
    pub namespaces: Namespaces,
    /// `None`: the tuples are a provider's alone.
    pub table: Option<TupleTable>,
    /// Most objects one walk may come by; more is an error, never a part of the answer.
    pub objects_max: u32,
}

/// Whether a text may name a namespace or relation: letters, digits, `_` and `-`, so that no way of
/// writing two names together can mean two other names.
pub fn valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
