//! Type families: as much of a type as the proof needs.

use crate::policy::{GrantedColumn, TypeKind};

/// A family of types whose members compare with each other silently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Family {
    Boolean,
    Bytea,
    /// An expression of the permission view, such as a mask: reading it may fail, whatever its type.
    Computed,
    Date,
    /// An enum of the customer's; compares with itself only.
    Enum(String),
    /// `float4`, `float8`.
    Float,
    /// `halfvec(N)` of pgvector's.
    HalfVector(usize),
    /// `int2`, `int4`, `int8`.
    Integer,
    Interval,
    Numeric,
    Oid,
    /// Anything whose comparisons are not known to be silent.
    Opaque,
    /// `text`, `varchar`, `bpchar`, `name`.
    Text,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    TsQuery,
    TsVector,
    /// A quoted literal, NULL, or a parameter of undeclared type: takes the type of what it meets, and is
    /// converted before any row is read.
    Unknown,
    Uuid,
    /// `vector(N)` of pgvector's.
    Vector(usize),
}

/// An expression's family and whether it is a constant folded before any row is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub family: Family,
    pub constant: bool,
}

impl Value {
    pub(crate) fn of(family: Family) -> Self {
        Self {
            family,
            constant: false,
        }
    }

    pub(crate) fn constant(family: Family) -> Self {
        Self {
            family,
            constant: true,
        }
    }
}

/// The family of a visible column.
pub(super) fn column_family(column: &GrantedColumn, vectors: Option<&str>) -> Family {
    let type_ = &column.type_;
    if !column.plain {
        return Family::Computed;
    }
    match type_.kind {
        TypeKind::Builtin => named(&type_.name),
        TypeKind::Enum => Family::Enum(type_.name.clone()),
        TypeKind::Other => super::vectors::column(&type_.display, vectors),
        TypeKind::Array | TypeKind::Composite | TypeKind::Domain => Family::Opaque,
    }
}

/// The family of a built-in type by its `pg_type.typname`.
pub(super) fn named(name: &str) -> Family {
    const NAMES: [(&str, Family); 23] = [
        ("bool", Family::Boolean),
        ("bpchar", Family::Text),
        ("bytea", Family::Bytea),
        ("date", Family::Date),
        ("float4", Family::Float),
        ("float8", Family::Float),
        ("int2", Family::Integer),
        ("int4", Family::Integer),
        ("int8", Family::Integer),
        ("interval", Family::Interval),
        ("name", Family::Text),
        ("numeric", Family::Numeric),
        ("oid", Family::Oid),
        ("text", Family::Text),
        ("time", Family::Time),
        ("timestamp", Family::Timestamp),
        ("timestamptz", Family::TimestampTz),
        ("timetz", Family::TimeTz),
        ("tsquery", Family::TsQuery),
        ("tsvector", Family::TsVector),
        ("unknown", Family::Unknown),
        ("uuid", Family::Uuid),
        ("varchar", Family::Text),
    ];
    NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(Family::Opaque, |(_, family)| family.clone())
}

/// The family of a declared parameter type, by OID (`pg_type.dat`); 0 is undeclared.
pub(super) fn parameter(oid: u32) -> Family {
    const OIDS: [(u32, &str); 20] = [
        (0, "unknown"),
        (16, "bool"),
        (17, "bytea"),
        (19, "name"),
        (20, "int8"),
        (21, "int2"),
        (23, "int4"),
        (25, "text"),
        (26, "oid"),
        (700, "float4"),
        (701, "float8"),
        (705, "unknown"),
        (1042, "bpchar"),
        (1043, "varchar"),
        (1082, "date"),
        (1083, "time"),
        (1114, "timestamp"),
        (1184, "timestamptz"),
        (1700, "numeric"),
        (2950, "uuid"),
    ];
    OIDS.iter()
        .find(|(known, _)| *known == oid)
        .map_or(Family::Opaque, |(_, name)| named(name))
}

/// Whether `=`, `<` and their like between these two can neither raise an error from row data nor act.
///
/// PostgreSQL marks most of them leakproof; `numeric`, `interval` and the mixed date and timestamp ones are not
/// marked, and were read (numeric.c `cmp_numerics`, timestamp.c `interval_cmp_internal`, date.c
/// `date_cmp_timestamp_internal`): none has an error path for stored values.
pub(super) fn comparable(left: &Value, right: &Value) -> bool {
    let (a, b) = (&left.family, &right.family);
    if [a, b].iter().any(|family| {
        matches!(
            family,
            Family::Computed | Family::Opaque | Family::HalfVector(_) | Family::Vector(_)
        )
    }) {
        return false;
    }
    if a == b || matches!(a, Family::Unknown) || matches!(b, Family::Unknown) {
        return true;
    }
    match (a, b) {
        (Family::Integer, Family::Numeric | Family::Float)
        | (Family::Numeric | Family::Float, Family::Integer) => true,
        // numeric to float8 raises on a number float8 cannot hold: only as a constant.
        (Family::Numeric, Family::Float) => left.constant,
        (Family::Float, Family::Numeric) => right.constant,
        (Family::Date, Family::Timestamp) | (Family::Timestamp, Family::Date) => true,
        // What is not listed is not proved, also for families to come.
        (_left, _right) => false,
    }
}

/// Whether a cast of a row's value is silent: it widens, or only renders.
pub(super) fn silent_cast(from: &Family, to: &Family) -> bool {
    matches!(
        (from, to),
        (Family::Integer, Family::Numeric | Family::Float)
            | (Family::Text, Family::Text)
            | (Family::Timestamp | Family::TimestampTz, Family::Date)
            | (
                Family::Boolean
                    | Family::Date
                    | Family::Float
                    | Family::Integer
                    | Family::Numeric
                    | Family::Timestamp
                    | Family::TimestampTz
                    | Family::Uuid,
                Family::Text,
            )
    )
}
