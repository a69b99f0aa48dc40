//! Reading libpg_query's tree, as JSON: no node can be forgotten by a visitor.

use pg_query::protobuf::SetOperation;
use serde_json::Value;

pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(super) fn is_null(value: &Value, key: &str) -> bool {
    value.get(key).is_none_or(Value::is_null)
}

pub(super) fn int(value: &Value, key: &str) -> Option<usize> {
    value.get(key)?.as_u64()?.try_into().ok()
}

/// The strings of a list of String nodes; `None` if one is something else (such as `*`).
pub(super) fn strings(nodes: &[Value]) -> Option<Vec<&str>> {
    nodes
        .iter()
        .map(|node| node.pointer("/node/String/sval").and_then(Value::as_str))
        .collect()
}

/// Everything of a SELECT but FROM, WHERE and the output list is absent.
pub(super) fn is_plain(select: &Value) -> bool {
    const LISTS: [&str; 6] = [
        "distinct_clause",
        "group_clause",
        "window_clause",
        "values_lists",
        "sort_clause",
        "locking_clause",
    ];
    const NODES: [&str; 6] = [
        "into_clause",
        "having_clause",
        "limit_offset",
        "limit_count",
        "with_clause",
        "larg",
    ];
    LISTS.iter().all(|key| list(select, key).is_empty())
        && NODES.iter().all(|key| is_null(select, key))
        && int(select, "op") == usize::try_from(SetOperation::SetopNone as i32).ok()
}
