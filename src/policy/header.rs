//! The header of a view file: `-- key: value` lines above the SELECT.
//!
//! Every `--` line above the body must be a key (a misspelt `requires` must not pass as prose); prose
//! belongs in `/* ... */` or below the first line of SQL. A line that is indented by three blanks or
//! more continues the one above. `mask` and `column` name a column, quoted as in SQL where needed.

use super::near::near;
use super::tags::valid_tag;
use super::view::{Mask, PolicyError};
use crate::policy::RelationName;
use std::collections::BTreeMap;

/// PostgreSQL cuts longer names silently (NAMEDATALEN - 1).
pub(crate) const IDENTIFIER_BYTES_MAX: usize = 63;

const KEYS: [&str; 9] = [
    "table",
    "description",
    "requires",
    "tags",
    "key",
    "role_column",
    "superuser",
    "mask",
    "column",
];

/// The header, each key at most once.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) table: Option<RelationName>,
    pub(crate) description: Option<String>,
    pub(crate) requires: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) key: Vec<String>,
    pub(crate) role_column: Option<String>,
    pub(crate) superuser: Option<bool>,
    pub(crate) masks: BTreeMap<String, Mask>,
    pub(crate) column_requires: BTreeMap<String, Vec<String>>,
    pub(crate) column_tags: BTreeMap<String, Vec<String>>,
    pub(crate) column_descriptions: BTreeMap<String, String>,
    /// Line of each key, for errors found later; `mask`s and `column`s are `key column`.
    pub(crate) lines: BTreeMap<String, usize>,
}

impl Header {
    pub(crate) fn line(&self, key: &str) -> Option<usize> {
        self.lines.get(key).copied()
    }
}

/// What [`split`] finds: header lines with their 1-based line numbers, and where the body starts.
pub(crate) struct Split<'a> {
    pub(crate) header: Vec<(usize, String)>,
    pub(crate) body: &'a str,
    pub(crate) body_line: usize,
}

/// Parts a file at its first line that is neither blank, nor a `--` comment, nor in a `/* */` comment.
pub(crate) fn split(text: &str) -> Split<'_> {
    let mut header: Vec<(usize, String)> = Vec::new();
    let mut offset = 0;
    let mut block_start = None;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let line_number = index + 1;
        let trimmed = line.trim();
        if let Some(start) = block_start {
            if let Some(end) = line.find("*/") {
                block_start = None;
                if !line.get(end + 2..).unwrap_or("").trim().is_empty() {
                    // SQL on the line where the comment ends: the body starts with the comment.
                    offset = start;
                    break;
                }
            }
        } else if let Some(comment) = trimmed.strip_prefix("--") {
            let continues = comment.starts_with("   ") || comment.starts_with('\t');
            match header.last_mut() {
                Some((_, last)) if continues => {
                    last.push(' ');
                    last.push_str(comment.trim());
                }
                _ if comment.trim().is_empty() => {}
                _ => header.push((line_number, comment.trim().to_owned())),
            }
        } else if trimmed.starts_with("/*") {
            let closed = trimmed.find("*/");
            match closed {
                Some(end) if end + 2 == trimmed.len() => {}
                Some(_) => break,
                None => block_start = Some(offset),
            }
        } else if !trimmed.is_empty() {
            break;
        }
        offset += line.len();
    }
    let body = text.get(offset..).unwrap_or("");
    let line = 1 + text.get(..offset).unwrap_or("").matches('\n').count();
    Split {
        header,
        body,
        body_line: line,
    }
}

/// Collects errors of one file.
pub(crate) struct Errors<'a> {
    pub(crate) file: &'a str,
    pub(crate) list: Vec<PolicyError>,
}

impl Errors<'_> {
    pub(crate) fn add(&mut self, line: usize, message: impl Into<String>, hint: impl Into<String>) {
        let hint = hint.into();
        self.list.push(PolicyError {
            file: self.file.to_owned(),
            line: Some(line),
            message: message.into(),
            hint: (!hint.is_empty()).then_some(hint),
        });
    }
}

/// Reads the header lines.
pub(crate) fn parse(lines: &[(usize, String)], errors: &mut Errors<'_>) -> Header {
    let mut header = Header::default();
    for (line, text) in lines {
        if let Err((message, hint)) = parse_line(&mut header, *line, text) {
            errors.add(*line, message, hint);
        }
    }
    header
}

type Bad = (String, String);

fn bad(message: impl Into<String>, hint: impl Into<String>) -> Bad {
    (message.into(), hint.into())
}

fn parse_line(header: &mut Header, line: usize, text: &str) -> Result<(), Bad> {
    let end = text
        .find(|c: char| c == ':' || c.is_whitespace())
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    match word {
        "mask" => return parse_mask(header, line, rest.trim_start()),
        "column" => return parse_column(header, line, rest.trim_start()),
        _ => {}
    }
    let Some(value) = rest.trim_start().strip_prefix(':').map(str::trim) else {
        return Err(unknown(word, text));
    };
    if !KEYS.contains(&word) {
        return Err(unknown(word, text));
    }
    once(header, word.to_owned(), line)?;
    if value.is_empty() {
        return Err(bad(
            format!("{word}: has no value"),
            "Write the value after the colon, or leave the line out.",
        ));
    }
    match word {
        "table" => header.table = Some(relation(value)?),
        "description" => header.description = Some(value.to_owned()),
        "requires" => header.requires = permissions(value)?,
        "tags" => header.tags = tags(value)?,
        "key" => header.key = columns(value)?,
        "role_column" => header.role_column = Some(column_alone(value)?),
        "superuser" => {
            header.superuser = Some(match value {
                "yes" => true,
                "no" => false,
                _ => {
                    return Err(bad(
                        format!("superuser: {value} is neither yes nor no"),
                        "Write `-- superuser: yes` or `-- superuser: no`.",
                    ));
                }
            });
        }
        _ => return Err(unknown(word, text)),
    }
    Ok(())
}

fn once(header: &mut Header, key: String, line: usize) -> Result<(), Bad> {
    match header.lines.insert(key.clone(), line) {
        None => Ok(()),
        Some(first) => Err(bad(
            format!("{key} is given twice, first on line {first}"),
            "Join the two lines into one.",
        )),
    }
}

fn unknown(word: &str, text: &str) -> Bad {
    let hint = match near(word, KEYS) {
        Some(key) if key == word => format!("Put a colon after the key: `-- {word}: ...`."),
        Some(key) => format!("Did you mean `{key}`?"),
        None => format!(
            "The keys are {}; prose belongs in /* ... */ or below the first line of SQL.",
            KEYS.join(", ")
        ),
    };
    bad(format!("unknown header line `{text}`"), hint)
}

/// `COLUMN: EXPR [unless PERMISSION]`
fn parse_mask(header: &mut Header, line: usize, rest: &str) -> Result<(), Bad> {
    let form =
        "Write `-- mask COLUMN: EXPRESSION` or `-- mask COLUMN: EXPRESSION unless PERMISSION`.";
    let (column, rest) = identifier(rest)?;
    let Some(value) = rest.trim_start().strip_prefix(':').map(str::trim) else {
        return Err(bad("mask needs a colon after the column", form));
    };
    // A permission has no quote in it, so `... || ' unless x'` stays an expression.
    let (expression, unless) = match value.rsplit_once(" unless ") {
        Some((expression, permission)) if permission_ok(permission.trim()) => {
            (expression.trim(), Some(permission.trim().to_owned()))
        }
        _ => (value, None),
    };
    if expression.is_empty() {
        return Err(bad("mask has no expression", form));
    }
    once(header, format!("mask {column}"), line)?;
    let mask = Mask {
        expression: expression.to_owned(),
        unless,
        line,
    };
    header.masks.insert(column, mask);
    Ok(())
}

/// `COLUMN requires PERMISSION[, PERMISSION]`, `COLUMN tags TAG[, TAG]` or `COLUMN description: TEXT`
fn parse_column(header: &mut Header, line: usize, rest: &str) -> Result<(), Bad> {
    let form = "Write `-- column COLUMN requires PERMISSION`, `-- column COLUMN tags TAG` or `-- column COLUMN description: TEXT`.";
    let (column, rest) = identifier(rest)?;
    let rest = rest.trim();
    let end = rest
        .find(|c: char| c == ':' || c.is_whitespace())
        .unwrap_or(rest.len());
    let (word, value) = rest.split_at(end);
    let colon = value.trim_start().strip_prefix(':');
    let value = colon.unwrap_or(value).trim();
    match word {
        "requires" if !value.is_empty() => {
            let needed = permissions(value)?;
            once(header, format!("column {column} requires"), line)?;
            header.column_requires.insert(column, needed);
        }
        "tags" if !value.is_empty() => {
            let tags = tags(value)?;
            once(header, format!("column {column} tags"), line)?;
            header.column_tags.insert(column, tags);
        }
        "description" if colon.is_some() && !value.is_empty() => {
            once(header, format!("column {column} description"), line)?;
            header.column_descriptions.insert(column, value.to_owned());
        }
        _ => {
            let hint = match near(word, ["requires", "tags", "description"]) {
                Some(known) if known != word => format!("Did you mean `{known}`?"),
                _ => form.to_owned(),
            };
            return Err(bad(format!("unknown column rule `{rest}`"), hint));
        }
    }
    Ok(())
}

fn words(value: &str) -> Vec<String> {
    value
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn tags(value: &str) -> Result<Vec<String>, Bad> {
    let tags = words(value);
    match tags.iter().find(|tag| !valid_tag(tag)) {
        Some(tag) => Err(bad(
            format!("`{tag}` cannot be a tag"),
            "Name tags as they are defined, separated by commas; without quotes, parentheses or *.",
        )),
        // No tag would mean "for everyone".
        None if tags.is_empty() => Err(bad(
            "no tag is named",
            "Name one tag, or leave the line out: without tags it is for everyone.",
        )),
        None => Ok(tags),
    }
}

fn permission_ok(name: &str) -> bool {
    !name.is_empty()
        && !name.chars().any(|c| {
            c.is_whitespace() || c.is_control() || matches!(c, '\'' | '"' | ',' | '(' | ')')
        })
}

fn permissions(value: &str) -> Result<Vec<String>, Bad> {
    let names = words(value);
    match names
        .iter()
        .find(|name| !permission_ok(name) || name.contains('*'))
    {
        Some(name) => Err(bad(
            format!("`{name}` cannot be required"),
            "Name one permission, such as fetch_invoice or read:posts; wildcards are for those who hold them.",
        )),
        None if names.is_empty() => Err(bad(
            "no permission is named",
            "Name one permission, such as fetch_invoice.",
        )),
        None => Ok(names),
    }
}

fn columns(value: &str) -> Result<Vec<String>, Bad> {
    let mut names = Vec::new();
    let mut rest = value;
    loop {
        let (name, after) = identifier(rest)?;
        names.push(name);
        let after = after.trim_start();
        match after.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if after.is_empty() => return Ok(names),
            None => {
                return Err(bad(
                    format!("`{value}` is not a list of columns"),
                    "Separate columns by commas and quote names as in SQL.",
                ));
            }
        }
    }
}

fn column_alone(value: &str) -> Result<String, Bad> {
    match identifier(value)? {
        (name, rest) if rest.trim().is_empty() => Ok(name),
        _ => Err(bad(
            format!("`{value}` is not one column"),
            "Name one column, quoted as in SQL where needed.",
        )),
    }
}

/// `name` or `schema.name`, quoted as in SQL; a bare name is in `public`.
fn relation(value: &str) -> Result<RelationName, Bad> {
    let (first, rest) = identifier(value)?;
    let rest = rest.trim_start();
    let (name, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let (second, rest) = identifier(rest.trim_start())?;
            (RelationName::new(first, second), rest)
        }
        None => (RelationName::new("public", first), rest),
    };
    if rest.trim().is_empty() {
        Ok(name)
    } else {
        Err(bad(
            format!("`{value}` is not a table name"),
            "Write schema.table, quoted as in SQL where needed.",
        ))
    }
}

/// One SQL identifier at the start of `text`, folded unless quoted, and the rest.
fn identifier(text: &str) -> Result<(String, &str), Bad> {
    let (name, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted_identifier(quoted)?,
        None => {
            let end = text
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
                .unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            // PostgreSQL folds ASCII only in a multibyte encoding (manual, section 4.1.1).
            (name.to_ascii_lowercase(), rest)
        }
    };
    if name.is_empty() || name.contains('\0') {
        return Err(bad(
            format!("a name is missing in `{text}`"),
            "Write the name as in SQL, in double quotes where it holds anything but letters, digits and _.",
        ));
    }
    if name.len() > IDENTIFIER_BYTES_MAX {
        return Err(bad(
            format!("the name \"{name}\" is longer than {IDENTIFIER_BYTES_MAX} bytes"),
            "PostgreSQL cuts longer names silently; write the name as the database has it.",
        ));
    }
    Ok((name, rest))
}

fn quoted_identifier(text: &str) -> Result<(String, &str), Bad> {
    let mut name = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '"' {
            name.push(c);
        } else if chars.next_if(|(_, c)| *c == '"').is_some() {
            name.push('"');
        } else {
            return Ok((name, text.get(at + 1..).unwrap_or("")));
        }
    }
    Err(bad(
        format!("the quoted name \"{text} does not end"),
        "Close the double quote.",
    ))
}
