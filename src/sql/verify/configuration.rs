//! Text search configurations, which PostgreSQL looks up by name while it reads the statement.

use super::Refused;
use crate::error::{Reason, Refusal};
use pg_query::NodeEnum;
use pg_query::protobuf::{Node, a_const};

/// The functions whose first argument may be a configuration.
const FUNCTIONS: [&str; 8] = [
    "json_to_tsvector",
    "jsonb_to_tsvector",
    "phraseto_tsquery",
    "plainto_tsquery",
    "to_tsquery",
    "to_tsvector",
    "ts_headline",
    "websearch_to_tsquery",
];

/// A configuration is named plainly, so that it can only be one of PostgreSQL's own: the upstream search path is empty. A
/// name with a schema, or one that comes later as a parameter, would tell whether it exists.
///
/// Only a bare literal or parameter becomes a configuration: nothing else is cast to one on its own (`regconfig`
/// has no implicit cast from text).
pub(super) fn check(function: &str, args: &[Node]) -> Refused {
    // With two arguments these two have no configuration.
    let least = match function {
        "json_to_tsvector" | "jsonb_to_tsvector" | "ts_headline" => 3,
        _other => 2,
    };
    if !FUNCTIONS.contains(&function) || args.len() < least {
        return Ok(());
    }
    let named = match args.first().and_then(|first| first.node.as_ref()) {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(a_const::Val::Sval(text)) => plain(&text.sval),
            _number_or_null => true,
        },
        Some(NodeEnum::ParamRef(_)) => false,
        Some(NodeEnum::NamedArgExpr(_)) => false,
        _expression => true,
    };
    if named {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::ObjectUnknown,
        format!("the first argument of {function} names no text search configuration of PostgreSQL's own"),
    )
    .hint("Write the configuration itself, such as 'english', or cast a document to text."))
}

/// Whether it cannot be the name of anything in a schema but `pg_catalog`: it has no dot, or two words with no dot
/// between them, which no name has outside quotes.
fn plain(text: &str) -> bool {
    let text = text.trim_ascii();
    let own = text.strip_prefix("pg_catalog.").unwrap_or(text);
    if !own.contains(['.', '"']) {
        return true;
    }
    let words: Vec<&str> = own.split_ascii_whitespace().collect();
    !own.contains('"')
        && words.windows(2).any(|pair| match pair {
            [left, right] => !left.ends_with('.') && !right.starts_with('.'),
            _other => false,
        })
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn only_a_plain_name_or_a_document_passes() {
        for good in [
            "english",
            " simple ",
            "pg_catalog.german",
            "The cat. The dog.",
            "a document",
        ] {
            assert!(plain(good), "{good}");
        }
        for bad in [
            "public.mine",
            "\"public\".mine",
            "public . mine",
            "public. mine",
            " a.b ",
            "pg_catalog.a.b",
            "\"a b\".c",
            "a.\"b c\"",
            "\"x\"",
            "public\t.\nmine",
            "my\u{a0}schema.mine",
            "\u{a0}pg_catalog.mine.x",
        ] {
            assert!(!plain(bad), "{bad}");
        }
    }
}
