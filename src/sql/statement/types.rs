//! The types a parameter of PREPARE may be declared with, by name.

use pg_query::NodeEnum;
use pg_query::protobuf::TypeName;

/// Name in `pg_catalog`, OID, and OID of its array (0 = not accepted). What protocol messages may declare by number is
/// on a list of the session's own; every type here is on it.
const TYPES: [(&str, u32, u32); 37] = [
    ("bit", 1560, 1561),
    ("bool", 16, 1000),
    ("bpchar", 1042, 1014),
    ("bytea", 17, 1001),
    ("cidr", 650, 651),
    ("date", 1082, 1182),
    ("daterange", 3912, 0),
    ("float4", 700, 1021),
    ("float8", 701, 1022),
    ("inet", 869, 1041),
    ("int2", 21, 1005),
    ("int4", 23, 1007),
    ("int4range", 3904, 0),
    ("int8", 20, 1016),
    ("int8range", 3926, 0),
    ("interval", 1186, 1187),
    ("json", 114, 199),
    ("jsonb", 3802, 3807),
    ("macaddr", 829, 1040),
    ("macaddr8", 774, 775),
    ("money", 790, 0),
    ("name", 19, 1003),
    ("numeric", 1700, 1231),
    ("numrange", 3906, 0),
    ("oid", 26, 1028),
    ("point", 600, 0),
    ("circle", 718, 0),
    ("text", 25, 1009),
    ("time", 1083, 1183),
    ("timestamp", 1114, 1115),
    ("timestamptz", 1184, 1185),
    ("timetz", 1266, 1270),
    ("tsrange", 3908, 0),
    ("tstzrange", 3910, 0),
    // Left open: the database finds it out.
    ("unknown", 0, 0),
    ("uuid", 2950, 2951),
    ("varchar", 1043, 1015),
];

/// The OID of a type as the grammar reads it; `None` if it is not on the list. A length or precision says nothing here,
/// as in PostgreSQL: parameters have none.
pub(super) fn oid(name: &TypeName) -> Option<u32> {
    let TypeName {
        names,
        type_oid: _,
        setof,
        pct_type,
        typmods: _,
        typemod: _,
        array_bounds,
        location: _,
    } = name;
    if *setof || *pct_type {
        return None;
    }
    let mut words = names.iter().map(|node| match node.node.as_ref() {
        Some(NodeEnum::String(word)) => Some(word.sval.as_str()),
        _ => None,
    });
    let word = match (words.next()??, words.next()) {
        (word, None) => word,
        ("pg_catalog", Some(Some(word))) if words.next().is_none() => word,
        _ => return None,
    };
    let (_, scalar, array) = TYPES.iter().find(|(known, _, _)| *known == word)?;
    match (array_bounds.is_empty(), *array) {
        (true, _) => Some(*scalar),
        (false, 0) => None,
        (false, array) => Some(array),
    }
}

/// The OIDs of the list.
#[cfg(test)]
pub(crate) fn oids() -> impl Iterator<Item = u32> {
    TYPES
        .iter()
        .flat_map(|(_, scalar, array)| [*scalar, *array])
}
