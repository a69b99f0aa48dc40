//! What the database says about types, relations and bodies. Reads only.
//!
//! Everything here runs with an empty `search_path`, as the installed views are read, so that an
//! unqualified name means `pg_catalog` and nothing else.

use crate::policy::{ColumnType, GrantedColumn, Origin, RelationName, Server, TypeKind};
use std::collections::{HashMap, HashSet};
use tokio_postgres::{Client, Error};

/// A column of a relation.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) number: i16,
    pub(super) name: String,
    pub(super) type_: ColumnType,
    pub(super) comment: Option<String>,
    /// A virtual generated column (PostgreSQL 18 on): its expression runs when it is read.
    pub(super) generated: bool,
}

/// A relation of the database.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) name: RelationName,
    /// `pg_class.relkind`.
    pub(super) kind: String,
    pub(super) comment: Option<String>,
    pub(super) columns: Vec<Column>,
    pub(super) primary_key: Vec<String>,
    /// Columns that lead a btree or hash index over all rows.
    pub(super) indexed: Vec<String>,
    /// Row-level security applies to readers who are not the owner; its owner.
    pub(super) row_security: bool,
    pub(super) owner: String,
}

impl Relation {
    /// Reading a column of it runs no code: not a view, not a foreign table.
    pub(super) fn stored(&self) -> bool {
        matches!(self.kind.as_str(), "r" | "p" | "m")
    }

    /// Its columns that are columns of `table` too, of the same name and type.
    pub(super) fn origins(&self, table: &Relation) -> Vec<Origin> {
        let in_table = |column: &Column| {
            let same = |other: &&Column| other.name == column.name && other.type_ == column.type_;
            table.columns.iter().find(same).map(|other| other.number)
        };
        let columns = self.columns.iter();
        columns
            .filter_map(|column| {
                Some(Origin {
                    name: column.name.clone(),
                    read: (self.oid, column.number),
                    table: (table.oid, in_table(column)?),
                })
            })
            .collect()
    }

    /// For a superuser, from whom no row is hidden: nothing can be told of one.
    pub(super) fn granted_columns(&self) -> Vec<GrantedColumn> {
        let columns = self.columns.iter();
        columns
            .map(|column| GrantedColumn {
                name: column.name.clone(),
                type_: column.type_.clone(),
                plain: true,
            })
            .collect()
    }
}

/// Relations by object id and by name.
#[derive(Debug, Default)]
pub(super) struct Relations {
    by_oid: HashMap<u32, Relation>,
}

impl Relations {
    pub(super) fn by_oid(&self, oid: u32) -> Option<&Relation> {
        self.by_oid.get(&oid)
    }

    pub(super) fn by_name(&self, name: &RelationName) -> Option<&Relation> {
        self.by_oid.values().find(|relation| relation.name == *name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Relation> {
        self.by_oid.values()
    }

    /// Reads the relations with these ids and names; those that do not exist are left out.
    pub(super) async fn read(
        client: &Client,
        oids: &HashSet<u32>,
        names: &HashSet<RelationName>,
    ) -> Result<Self, Error> {
        let oids: Vec<u32> = oids.iter().copied().collect();
        let schemas: Vec<&str> = names.iter().map(|name| name.schema.as_str()).collect();
        let tables: Vec<&str> = names.iter().map(|name| name.name.as_str()).collect();
        let mut by_oid = HashMap::new();
        for row in client.query(RELATIONS, &[&oids, &schemas, &tables]).await? {
            let relation = Relation {
                oid: row.get(0),
                name: RelationName::new(row.get::<_, String>(1), row.get::<_, String>(2)),
                kind: row.get(3),
                comment: row.get(4),
                columns: Vec::new(),
                primary_key: row.get::<_, Option<Vec<String>>>(5).unwrap_or_default(),
                indexed: row.get::<_, Option<Vec<String>>>(6).unwrap_or_default(),
                row_security: row.get(7),
                owner: row.get(8),
            };
            by_oid.insert(relation.oid, relation);
        }
        let oids: Vec<u32> = by_oid.keys().copied().collect();
        for row in client.query(COLUMNS, &[&oids]).await? {
            if let Some(relation) = by_oid.get_mut(&row.get::<_, u32>(0)) {
                relation.columns.push(Column {
                    number: row.get(1),
                    name: row.get(2),
                    comment: row.get(3),
                    type_: type_from(&row, 4),
                    generated: row.get(9),
                });
            }
        }
        Ok(Self { by_oid })
    }
}

const RELATIONS: &str = "
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text,
       obj_description(c.oid, 'pg_class'),
       (SELECT array_agg(a.attname::text ORDER BY k.place)
        FROM pg_constraint AS p, unnest(p.conkey) WITH ORDINALITY AS k(number, place)
        JOIN pg_attribute AS a ON a.attnum = k.number
        WHERE p.conrelid = c.oid AND p.contype = 'p' AND a.attrelid = c.oid),
       (SELECT array_agg(a.attname::text)
        FROM pg_index AS i
        JOIN pg_class AS ic ON ic.oid = i.indexrelid
        JOIN pg_am AS m ON m.oid = ic.relam AND m.amname IN ('btree', 'hash')
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL),
       c.relrowsecurity, pg_get_userbyid(c.relowner)::text
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND (c.oid = ANY ($1::oid[])
       OR (n.nspname::text, c.relname::text) IN (SELECT * FROM unnest($2::text[], $3::text[])))";

const COLUMNS: &str = "
SELECT a.attrelid, a.attnum, a.attname::text, col_description(a.attrelid, a.attnum),
       t.typname::text, format_type(t.oid, a.atttypmod), t.typtype::text,
       t.typcategory = 'A' AND t.typelem <> 0,
       n.nspname = 'pg_catalog' AND a.attcollation IN (0, 100, 950), a.attgenerated = 'v'
FROM pg_attribute AS a
JOIN pg_type AS t ON t.oid = a.atttypid
JOIN pg_namespace AS n ON n.oid = t.typnamespace
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum";

// A collation that is neither the database's ("default", 100) nor "C" (950) makes of a built-in type one whose
// comparisons may fail at run time: two such collations meet, or LIKE meets a nondeterministic one.
const TYPES: &str = "
SELECT w.place, t.typname::text, format_type(t.oid, w.modifier), t.typtype::text,
       t.typcategory = 'A' AND t.typelem <> 0,
       n.nspname = 'pg_catalog' AND coalesce(a.attcollation IN (0, 100, 950), true)
FROM unnest($1::oid[], $2::int4[], $3::oid[], $4::int2[])
     WITH ORDINALITY AS w(type, modifier, relation, number, place)
JOIN pg_type AS t ON t.oid = w.type
JOIN pg_namespace AS n ON n.oid = t.typnamespace
LEFT JOIN pg_attribute AS a ON a.attrelid = w.relation AND a.attnum = w.number
ORDER BY w.place";

/// Five columns from `at`: typname, format_type, typtype, is an array, is in pg_catalog and usually collated.
fn type_from(row: &tokio_postgres::Row, at: usize) -> ColumnType {
    let typtype: String = row.get(at + 2);
    let (array, builtin): (bool, bool) = (row.get(at + 3), row.get(at + 4));
    let kind = match typtype.as_str() {
        "b" if array => TypeKind::Array,
        "b" if builtin => TypeKind::Builtin,
        "c" => TypeKind::Composite,
        "d" => TypeKind::Domain,
        "e" => TypeKind::Enum,
        _ => TypeKind::Other,
    };
    ColumnType {
        name: row.get(at),
        display: row.get(at + 1),
        kind,
    }
}

/// An output column of a query that was only prepared.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) type_: ColumnType,
    pub(super) table: Option<u32>,
    pub(super) column: Option<i16>,
}

/// Type-checks a query without running it. Inside a transaction: a failure is undone by a savepoint.
pub(super) async fn describe(
    client: &Client,
    sql: &str,
) -> Result<Result<Vec<Described>, Error>, Error> {
    client.batch_execute("SAVEPOINT rowgate_describe").await?;
    let statement = match client.prepare(sql).await {
        Ok(statement) => statement,
        Err(error) if error.as_db_error().is_some() => {
            client
                .batch_execute("ROLLBACK TO SAVEPOINT rowgate_describe")
                .await?;
            return Ok(Err(error));
        }
        Err(error) => return Err(error),
    };
    client
        .batch_execute("RELEASE SAVEPOINT rowgate_describe")
        .await?;
    let columns = statement.columns();
    let types: Vec<u32> = columns.iter().map(|column| column.type_().oid()).collect();
    let modifiers: Vec<i32> = columns.iter().map(|c| c.type_modifier()).collect();
    let tables: Vec<Option<u32>> = columns.iter().map(|column| column.table_oid()).collect();
    let numbers: Vec<Option<i16>> = columns.iter().map(|column| column.column_id()).collect();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&types, &modifiers, &tables, &numbers];
    let rows = client.query(TYPES, &parameters).await?;
    let described = columns.iter().zip(rows.iter());
    Ok(Ok(described
        .map(|(column, row)| Described {
            name: column.name().to_owned(),
            type_: type_from(row, 1),
            table: column.table_oid(),
            column: column.column_id(),
        })
        .collect()))
}

/// `server_version_num`, such as 150004; 0 where the engine says something else.
async fn server_version(client: &Client) -> Result<u32, Error> {
    let row = client
        .query_one(
            "SELECT pg_catalog.current_setting('server_version_num', true)",
            &[],
        )
        .await?;
    let text: Option<String> = row.get(0);
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Starts the read-only transaction everything here expects.
pub(super) async fn begin(client: &Client) -> Result<(), Error> {
    client
        .batch_execute(
            "BEGIN READ ONLY; SET LOCAL search_path = ''; SET LOCAL lock_timeout = '10s'",
        )
        .await
}

/// Ends it.
pub(super) async fn end(client: &Client) -> Result<(), Error> {
    client.batch_execute("ROLLBACK").await
}

/// The schema pgvector is installed in. What an extension's type is called says nothing; whose it is does.
async fn vectors(client: &Client) -> Result<Option<String>, Error> {
    let sql = "SELECT n.nspname::text FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace \
               WHERE e.extname = 'vector' AND EXISTS (SELECT FROM pg_type AS t JOIN pg_depend AS d \
               ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.refobjid = e.oid AND d.deptype = 'e' \
               WHERE t.typname = 'vector' AND t.typnamespace = e.extnamespace)";
    let row = client.query_opt(sql, &[]).await?;
    Ok(row.map(|row| row.get(0)))
}

async fn database(client: &Client) -> Result<String, Error> {
    let sql = "SELECT pg_catalog.current_database()::text";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

/// What a policy may count on in this database.
pub(super) async fn server(client: &Client) -> Result<Server, Error> {
    Ok(Server {
        version: server_version(client).await?,
        vectors: vectors(client).await?,
        database: Some(database(client).await?),
    })
}
