//! [`Grants`]: the permission views, and their columns, that one principal may use now.
//!
//! Grants hold no user id and no role: two principals with the same grants share every rewrite. What
//! differs between them travels beside the query as settings or parameters.

use super::origins::Origins;
use std::fmt;
use std::sync::Arc;

/// A schema-qualified relation name, already folded as PostgreSQL folds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelationName {
    /// Schema, such as `public`.
    pub schema: String,
    /// Relation, such as `invoices`.
    pub name: String,
}

impl RelationName {
    /// `schema.name` of two folded names.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// Both parts quoted, ready to be put into SQL.
    pub fn quoted(&self) -> String {
        format!(
            "{}.{}",
            quote_identifier(&self.schema),
            quote_identifier(&self.name)
        )
    }
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// An identifier in double quotes, inner quotes doubled (PostgreSQL manual, section 4.1.1).
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What kind of type a column has (`pg_type.typtype`, arrays told apart).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TypeKind {
    /// An array of anything.
    Array,
    /// A built-in base type of `pg_catalog`, collated as the database is or by "C" if it is collated.
    Builtin,
    /// A row type.
    Composite,
    /// A domain: its checks can run code.
    Domain,
    /// An enum.
    Enum,
    /// A base type of an extension or of the customer, ranges, another collation, and anything else.
    Other,
}

/// A column's type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ColumnType {
    /// `pg_type.typname`, such as `int4`, `numeric`, `_text`.
    pub name: String,
    /// As `format_type` shows it, such as `character varying(20)`; for people and agents.
    pub display: String,
    /// Its kind.
    pub kind: TypeKind,
}

impl ColumnType {
    /// A built-in base type by its `pg_type.typname`.
    pub fn builtin(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            display: name.to_owned(),
            kind: TypeKind::Builtin,
        }
    }
}

/// One column a principal may read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrantedColumn {
    /// Its name, exactly as in the view (case as stored).
    pub name: String,
    /// Its type.
    pub type_: ColumnType,
    /// Whether reading it cannot fail on any row: the table's own column, not an expression or a mask. The open form of
    /// the view has plain columns only.
    pub plain: bool,
}

/// Where a shadow gets its rows from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ShadowSource {
    /// `enforcement = "barrier"`: views that `rowgate apply` installed.
    Installed {
        /// The `security_barrier` view.
        sealed: RelationName,
        /// The same view without the barrier and without the columns that are not plain, for queries proved
        /// silent; the sealed one where there is none.
        open: RelationName,
    },
    /// `enforcement = "inline"`: the view's body itself, put into an `AS MATERIALIZED` CTE.
    Inline(InlineBody),
}

/// A view body with holes for the principal; the shadow fills them with parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct InlineBody {
    /// SQL text between the holes; one more piece than there are holes.
    pub pieces: Vec<String>,
    /// What each hole takes.
    pub holes: Vec<PrincipalField>,
}

/// A fact about the principal that a view body reads, passed as one bound parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrincipalField {
    /// `rowgate.attributes(name)`'s source: a JSON object of string lists, `$n::jsonb`.
    Attributes,
    /// Who opened the connection, as `current_user` would name them: the login, `$n::text`. No view body reads it.
    Login,
    /// What a provider found of `rowgate.objects()`: a JSON object by type, then relation, of lists of ids.
    Objects,
    /// `rowgate.permissions()`, `$n::text[]`.
    Permissions,
    /// `rowgate.roles()`, `$n::text[]`.
    Roles,
    /// `rowgate.tags()`, `$n::text[]`.
    Tags,
    /// `rowgate.user_id()`, `$n::text`; empty becomes NULL in the body.
    UserId,
}

impl PrincipalField {
    /// The cast its parameter carries in the final SQL.
    pub fn type_name(self) -> &'static str {
        match self {
            PrincipalField::Attributes | PrincipalField::Objects => "jsonb",
            PrincipalField::Permissions | PrincipalField::Roles | PrincipalField::Tags => "text[]",
            PrincipalField::Login | PrincipalField::UserId => "text",
        }
    }
}

/// One table a principal may read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrantedTable {
    /// The name the agent uses.
    pub relation: RelationName,
    /// The visible columns, in the view's order. The shadow selects exactly these.
    pub columns: Vec<GrantedColumn>,
    /// The table's primary key if all its columns are visible (for `GROUP BY id`), else empty.
    pub primary_key: Vec<String>,
    /// Where the rows come from.
    pub source: ShadowSource,
}

/// What a table or a column is for, in words, as `describe` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The table.
    pub relation: RelationName,
    /// The column; none for the table itself.
    pub column: Option<String>,
    /// The words.
    pub text: String,
}

fn is_vector(type_: &ColumnType) -> bool {
    type_.kind == TypeKind::Other
        && matches!(type_.name.as_str(), "vector" | "halfvec" | "sparsevec")
}

/// What a policy may count on in the database behind the gate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Server {
    /// `server_version_num`, such as 150004; 0 = not known, which proves least.
    pub version: u32,
    /// The schema of pgvector's types and distances, if it is installed.
    pub vectors: Option<String>,
    /// The database's name; none where it is not known.
    pub database: Option<String>,
}

/// Identifies a set of grants; part of the rewrite cache's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GrantsFingerprint(pub [u8; 16]);

/// The permission views, and their columns, that one principal may use now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants {
    tables: Vec<GrantedTable>,
    descriptions: Vec<Description>,
    origins: Arc<Origins>,
    search_path: Vec<String>,
    extra_functions: Vec<String>,
    vectors: Option<String>,
    server_version: u32,
    database: Option<String>,
    fingerprint: GrantsFingerprint,
}

impl Grants {
    /// Grants over `tables`; unqualified names are looked up along `search_path`, in order. `extra_functions`
    /// are `schema.name`s a policy allows beside the list.
    pub fn new(
        mut tables: Vec<GrantedTable>,
        search_path: Vec<String>,
        extra_functions: Vec<String>,
    ) -> Self {
        tables.sort_by(|a, b| a.relation.cmp(&b.relation));
        Self {
            tables,
            descriptions: Vec::new(),
            origins: Arc::default(),
            search_path,
            extra_functions,
            vectors: None,
            server_version: 0,
            database: None,
            fingerprint: GrantsFingerprint::default(),
        }
        .fingerprinted()
    }

    /// The same on a server of this version, as `server_version_num` has it (`150004`); 0 = not known, which
    /// proves least.
    #[must_use]
    pub fn on_server(mut self, version: u32) -> Self {
        self.server_version = version;
        self.fingerprinted()
    }

    fn fingerprinted(mut self) -> Self {
        use sha2::{Digest, Sha256};
        let Self {
            tables,
            descriptions,
            origins,
            search_path,
            extra_functions,
            server_version,
            database,
            vectors,
            fingerprint: _,
        } = &self;
        // `Debug` of plain data is a faithful, unambiguous rendering: strings are quoted and escaped.
        let digest = Sha256::digest(format!(
            "{tables:?}{descriptions:?}{origins:?}{search_path:?}{extra_functions:?}{server_version}{database:?}{vectors:?}"
        ));
        self.fingerprint = GrantsFingerprint(digest.first_chunk().copied().unwrap_or_default());
        self
    }

    /// The server's `server_version_num`; 0 = not known.
    pub fn server_version(&self) -> u32 {
        self.server_version
    }

    /// The same in the database of this name, which may stand before a schema's.
    #[must_use]
    pub fn in_database(mut self, database: Option<&str>) -> Self {
        self.database = database.map(str::to_owned);
        self.fingerprinted()
    }

    /// The database's name, where it is known.
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// The same where pgvector is installed in `schema`: its types and distances may be used, if any granted
    /// column is a vector. Only a plain lower-case name will do, so that nothing needs quoting.
    #[must_use]
    pub fn with_vectors(mut self, schema: &str) -> Self {
        let plain =
            !schema.is_empty() && schema.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let columns = self.tables.iter().flat_map(|table| &table.columns);
        if plain && columns.into_iter().any(|column| is_vector(&column.type_)) {
            self.vectors = Some(schema.to_owned());
        }
        self.fingerprinted()
    }

    /// The same with these descriptions; one of anything that is not granted is dropped.
    #[must_use]
    pub fn described(mut self, descriptions: Vec<Description>) -> Self {
        let granted = |description: &Description| {
            let Description {
                relation, column, ..
            } = description;
            let table = self.tables.iter().find(|table| table.relation == *relation);
            table.is_some_and(|table| {
                let named = |name: &String| table.columns.iter().any(|c| c.name == *name);
                column.as_ref().is_none_or(named)
            })
        };
        self.descriptions = descriptions.into_iter().filter(granted).collect();
        self.fingerprinted()
    }

    /// The same with what is told of where columns of answers come from.
    #[must_use]
    pub fn from_origins(mut self, origins: Origins) -> Self {
        self.origins = Arc::new(origins);
        self.fingerprinted()
    }

    /// Where columns of answers come from.
    pub fn origins(&self) -> &Arc<Origins> {
        &self.origins
    }

    /// What granted tables and their columns are for.
    pub fn descriptions(&self) -> &[Description] {
        &self.descriptions
    }

    /// The schema of pgvector's types and distances, where they may be used.
    pub fn vectors(&self) -> Option<&str> {
        self.vectors.as_deref()
    }

    /// Every granted table, sorted by name.
    pub fn tables(&self) -> &[GrantedTable] {
        &self.tables
    }

    /// The table a name means: `schema.name`, or `name` along the search path.
    pub fn table(&self, schema: Option<&str>, name: &str) -> Option<&GrantedTable> {
        let find = |schema: &str| {
            self.tables
                .iter()
                .find(|t| t.relation.schema == schema && t.relation.name == name)
        };
        match schema {
            Some(schema) => find(schema),
            None => self.search_path.iter().find_map(|schema| find(schema)),
        }
    }

    /// Where unqualified names are looked up, in order.
    pub fn search_path(&self) -> &[String] {
        &self.search_path
    }

    /// Functions the policy allows beside the built-in list.
    pub fn extra_functions(&self) -> &[String] {
        &self.extra_functions
    }

    /// The cache key part.
    pub fn fingerprint(&self) -> GrantsFingerprint {
        self.fingerprint
    }
}
