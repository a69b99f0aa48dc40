//! `COPY ... TO STDOUT`: the query inside, and its options as values of our own types. Of the caller's text only the
//! strings of DELIMITER, NULL, QUOTE and ESCAPE and the names of columns remain, to be quoted anew.

use super::transaction::constant;
use super::wrapped::{Inner, inner};
use super::{StatementKind, not_a_read, not_supported, refuse};
use crate::error::Reason;
use crate::policy::quote_identifier;
use crate::sql::scan::{self, Kind};
use pg_query::NodeEnum;
use pg_query::protobuf::{CopyStmt, DefElem, Node, RangeVar};

/// The longest string an option may have, in bytes.
const OPTION_BYTES_MAX: usize = 100;
/// Most columns FORCE_QUOTE may name: no table has more.
const COLUMNS_MAX: usize = 1_600;

/// How rows are written (PostgreSQL manual, COPY, "File Formats").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CopyFormat {
    /// `text`.
    #[default]
    Text,
    /// `csv`.
    Csv,
    /// `binary`.
    Binary,
}

/// Which columns CSV always quotes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ForceQuote {
    /// None.
    #[default]
    No,
    /// `*`.
    All,
    /// These.
    Columns(Vec<String>),
}

/// An encoding rows can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `LATIN1`.
    Latin1,
    /// `LATIN9`.
    Latin9,
    /// `UTF8`.
    Utf8,
    /// `WIN1252`.
    Win1252,
}

/// The options of COPY TO.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// `FORMAT`.
    pub format: CopyFormat,
    /// `HEADER`.
    pub header: bool,
    /// `DELIMITER`.
    pub delimiter: Option<String>,
    /// `NULL`.
    pub null: Option<String>,
    /// `QUOTE`.
    pub quote: Option<String>,
    /// `ESCAPE`.
    pub escape: Option<String>,
    /// `FORCE_QUOTE`.
    pub force_quote: ForceQuote,
    /// `ENCODING`.
    pub encoding: Option<Encoding>,
}

pub(super) fn copy(statement: &CopyStmt, words: &str) -> StatementKind {
    let CopyStmt {
        relation,
        query,
        attlist,
        is_from,
        is_program,
        filename,
        options,
        where_clause,
    } = statement;
    if *is_from {
        return not_a_read(words);
    }
    if *is_program || !filename.is_empty() || where_clause.is_some() {
        return refuse(
            Reason::NotARead,
            "COPY to a file or a program is not allowed",
            "Send COPY (SELECT ...) TO STDOUT.",
        );
    }
    let options = match read_options(options) {
        Ok(options) => options,
        Err(hint) => return not_supported_options(hint),
    };
    let query = match (query.as_deref(), relation.as_ref()) {
        (Some(query), None) => match parenthesized(words) {
            Some((start, end)) => inner(Some(query), words, Some(start), end),
            None => inner(None, words, None, 0),
        },
        (None, Some(relation)) => match of_table(relation, attlist) {
            Some(text) => Ok(Inner {
                text,
                offset_chars: None,
            }),
            None => Err(not_supported(words, "Send COPY (SELECT ...) TO STDOUT.")),
        },
        _ => Err(not_supported(words, "Send COPY (SELECT ...) TO STDOUT.")),
    };
    match query {
        Ok(query) => StatementKind::Copy { options, query },
        Err(kind) => kind,
    }
}

/// The query that `COPY table (columns)` stands for, to be judged like any other.
fn of_table(relation: &RangeVar, columns: &[Node]) -> Option<String> {
    let RangeVar {
        catalogname,
        schemaname,
        relname,
        inh: _,
        relpersistence: _,
        alias,
        location: _,
    } = relation;
    if !catalogname.is_empty() || alias.is_some() {
        return None;
    }
    let columns = match columns {
        [] => "*".to_owned(),
        columns => names(columns)?
            .iter()
            .map(|name| quote_identifier(name))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let table = quote_identifier(relname);
    Some(match schemaname.as_str() {
        "" => format!("SELECT {columns} FROM {table}"),
        schema => format!("SELECT {columns} FROM {}.{table}", quote_identifier(schema)),
    })
}

/// The strings of a list, as far as it is one.
fn names(nodes: &[Node]) -> Option<Vec<String>> {
    let name = |node: &Node| match node.node.as_ref() {
        Some(NodeEnum::String(name)) => Some(name.sval.clone()),
        _ => None,
    };
    (nodes.len() <= COLUMNS_MAX).then(|| nodes.iter().map(name).collect())?
}

/// The bytes between the first parenthesis and the one that closes it.
fn parenthesized(words: &str) -> Option<(usize, usize)> {
    let (mut depth, mut start) = (0_usize, None);
    for token in scan::tokens(words).filter(|token| token.kind == Kind::Other) {
        match words.get(token.start..token.end) {
            Some("(") => {
                depth += 1;
                start = start.or(Some(token.end));
            }
            Some(")") if depth == 1 => return Some((start?, token.start)),
            Some(")") => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The options; else what to send instead.
fn read_options(nodes: &[Node]) -> Result<CopyOptions, &'static str> {
    let mut options = CopyOptions::default();
    let mut seen: Vec<&str> = Vec::new();
    for node in nodes {
        let Some(NodeEnum::DefElem(option)) = node.node.as_ref() else {
            return Err("Send the options as (FORMAT csv, HEADER).");
        };
        let name = option.defname.as_str();
        if seen.contains(&name) {
            return Err("Give each option once.");
        }
        seen.push(name);
        read_option(&mut options, name, option)?;
    }
    Ok(options)
}

fn read_option(
    options: &mut CopyOptions,
    name: &str,
    option: &DefElem,
) -> Result<(), &'static str> {
    let value = word(option);
    let string = |value: Option<String>| {
        let value = value.filter(|value| value.len() <= OPTION_BYTES_MAX);
        value.ok_or("Give DELIMITER, NULL, QUOTE and ESCAPE as short strings.")
    };
    match name {
        "format" => {
            options.format = match value.as_deref() {
                Some("text") => CopyFormat::Text,
                Some("csv") => CopyFormat::Csv,
                Some("binary") => CopyFormat::Binary,
                _ => return Err("The formats are text, csv and binary."),
            }
        }
        "header" => {
            options.header = match (option.arg.is_none(), value.as_deref()) {
                (true, _) | (false, Some("true" | "on" | "1")) => true,
                (false, Some("false" | "off" | "0")) => false,
                _ => return Err("Give HEADER alone, or as true or false."),
            }
        }
        "delimiter" => options.delimiter = Some(string(value)?),
        "null" => options.null = Some(string(value)?),
        "quote" => options.quote = Some(string(value)?),
        "escape" => options.escape = Some(string(value)?),
        "encoding" => {
            let name: String = value
                .unwrap_or_default()
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .map(|letter| letter.to_ascii_lowercase())
                .collect();
            options.encoding = Some(match name.as_str() {
                "utf8" | "unicode" => Encoding::Utf8,
                "latin1" | "iso88591" => Encoding::Latin1,
                "latin9" | "iso885915" => Encoding::Latin9,
                "win1252" | "windows1252" => Encoding::Win1252,
                _ => return Err("The encodings are UTF8, LATIN1, LATIN9 and WIN1252."),
            });
        }
        "force_quote" => {
            let nodes = option.arg.as_deref().and_then(|arg| arg.node.as_ref());
            options.force_quote = match nodes {
                Some(NodeEnum::AStar(_)) => ForceQuote::All,
                Some(NodeEnum::List(list)) => ForceQuote::Columns(
                    names(&list.items).ok_or("Give FORCE_QUOTE as a list of columns, or as *.")?,
                ),
                _ => return Err("Give FORCE_QUOTE as a list of columns, or as *."),
            };
        }
        _ => {
            return Err(
                "The options are FORMAT, HEADER, DELIMITER, NULL, QUOTE, ESCAPE, FORCE_QUOTE and ENCODING.",
            );
        }
    }
    Ok(())
}

/// An option's value as text: a word, a string, a number or a truth value.
fn word(option: &DefElem) -> Option<String> {
    let node = option.arg.as_deref()?;
    match node.node.as_ref()? {
        NodeEnum::String(value) => Some(value.sval.clone()),
        NodeEnum::Boolean(value) => Some(value.boolval.to_string()),
        NodeEnum::Integer(value) => Some(value.ival.to_string()),
        NodeEnum::AConst(_) => constant(node),
        _ => None,
    }
}

fn not_supported_options(hint: &str) -> StatementKind {
    refuse(
        Reason::FeatureNotSupported,
        "an option of COPY is not supported",
        hint,
    )
}
