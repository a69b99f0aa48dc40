//! Identifiers as PostgreSQL folds them, positions in the caller's text, and near names for hints.

use crate::error::{Reason, Refusal};
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use sqlparser::tokenizer::{Location, Span};
use std::collections::HashSet;
use std::sync::LazyLock;

/// PostgreSQL silently cuts longer identifiers (`NAMEDATALEN - 1`, manual section 4.1.1).
const IDENTIFIER_BYTES_MAX: usize = 63;

/// Longest list of names put into a hint, in characters.
const HINT_LIST_CHARS_MAX: usize = 160;

/// Keywords that are not "unreserved" (PostgreSQL manual, appendix C; version 18): quoted when printed,
/// as `quote_ident` does.
const KEYWORDS: &str = "all analyse analyze and any array as asc asymmetric both case cast check collate \
    column constraint create current_catalog current_date current_role current_time current_timestamp \
    current_user default deferrable desc distinct do else end except false fetch for foreign from grant \
    group having in initially intersect into lateral leading limit localtime localtimestamp not null \
    offset on only or order placing primary references returning select session_user some symmetric \
    system_user table then to trailing true union unique user using variadic when where window with \
    authorization binary collation concurrently cross current_schema freeze full ilike inner is isnull \
    join left like natural notnull outer overlaps right similar tablesample verbose \
    between bigint bit boolean char character coalesce dec decimal exists extract float greatest \
    grouping inout int integer interval json json_array json_arrayagg json_exists json_object \
    json_objectagg json_query json_scalar json_serialize json_table json_value least merge_action \
    national nchar none normalize nullif numeric out overlay position precision real row setof smallint \
    substring time timestamp treat trim values varchar xmlattributes xmlconcat xmlelement xmlexists \
    xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable";

/// [`KEYWORDS`] to look up: every name of every query is.
static RESERVED: LazyLock<HashSet<&str>> =
    LazyLock::new(|| KEYWORDS.split_ascii_whitespace().collect());

/// An identifier folded as PostgreSQL folds it: ASCII letters to lower case unless quoted.
///
/// # Errors
/// Refuses quotes other than `"` and names PostgreSQL would cut.
pub(super) fn fold(ident: &Ident, position: Option<u32>) -> Result<String, Refusal> {
    let name = match ident.quote_style {
        None => ident.value.to_ascii_lowercase(),
        Some('"') => ident.value.clone(),
        Some(_) => {
            return Err(Refusal::new(
                Reason::SyntaxError,
                "identifiers are quoted with double quotes",
            )
            .hint("Write \"name\" or plain name.")
            .at(position));
        }
    };
    if name.len() > IDENTIFIER_BYTES_MAX {
        return Err(
            Refusal::new(Reason::TooLarge, "identifier is longer than 63 bytes")
                .hint("Use the name exactly as the table or column has it.")
                .at(position),
        );
    }
    Ok(name)
}

/// The plain identifiers of a dotted name.
///
/// # Errors
/// Refuses names with function parts (other dialects).
pub(super) fn parts(name: &ObjectName, position: Option<u32>) -> Result<Vec<&Ident>, Refusal> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Ok(ident),
            ObjectNamePart::Function(_) => Err(Refusal::new(
                Reason::UnsupportedSyntax,
                "a name cannot be computed",
            )
            .hint("Write the table's name itself.")
            .at(position)),
        })
        .collect()
}

/// An identifier as Rowgate prints it: quoted unless plain.
pub(super) fn print(name: &str) -> String {
    if is_plain(name) {
        name.to_owned()
    } else {
        crate::policy::quote_identifier(name)
    }
}

/// An [`Ident`] that prints as [`print`] does.
pub(super) fn ident(name: &str) -> Ident {
    if is_plain(name) {
        Ident::new(name)
    } else {
        Ident::with_quote('"', name)
    }
}

fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !RESERVED.contains(name)
}

/// The caller's text, for positions.
pub(super) struct Source {
    line_starts: Vec<u64>,
}

impl Source {
    /// Notes where each line starts, in characters.
    pub(crate) fn new(text: &str) -> Self {
        let mut line_starts = vec![0];
        let mut count = 0;
        for character in text.chars() {
            count += 1;
            if character == '\n' {
                line_starts.push(count);
            }
        }
        Self { line_starts }
    }

    /// The 1-based character position of a span's start; `None` for made-up spans.
    pub(crate) fn position(&self, span: Span) -> Option<u32> {
        let Location { line, column } = span.start;
        let start = self
            .line_starts
            .get(usize::try_from(line.checked_sub(1)?).ok()?)?;
        u32::try_from(start + column).ok()
    }
}

/// The candidate nearest to `name`, if near enough that a typing mistake is likely.
pub(super) fn near<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let wanted = name.to_ascii_lowercase();
    let limit = (wanted.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_ascii_lowercase();
            let distance = if lower.trim_end_matches('s') == wanted.trim_end_matches('s') {
                0
            } else {
                strsim::damerau_levenshtein(&wanted, &lower)
            };
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// A name as a message shows it: one line, and no longer than an identifier can be.
pub(super) fn shown(name: &str) -> String {
    let mut shown: String = name
        .chars()
        .take(IDENTIFIER_BYTES_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if name.chars().count() > IDENTIFIER_BYTES_MAX {
        shown.push_str("...");
    }
    shown
}

/// `a, b, c`, cut with `...` at a length a hint can carry.
pub(super) fn list<'c>(names: impl IntoIterator<Item = &'c str>) -> String {
    let mut out = String::new();
    for name in names {
        if out.chars().count() + name.chars().count() > HINT_LIST_CHARS_MAX {
            out.push_str(", ...");
            break;
        }
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(name);
    }
    out
}
