//! The only place where words are put around a [`VerifiedQuery`]: `DECLARE ... FOR` in front of it, `COPY (` and `) TO
//! STDOUT` on both sides. They are made from closed sets, numbers, and strings and names that are quoted here.

use super::VerifiedQuery;
use super::statement::{CopyFormat, CopyOptions, CursorOptions, Encoding, ForceQuote};
use crate::policy::quote_identifier;
use std::sync::Arc;

/// What stands around a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrapper {
    /// `DECLARE ... CURSOR FOR`.
    Cursor(CursorOptions),
    /// `COPY (...) TO STDOUT`.
    Copy(CopyOptions),
}

/// A verified query with words of Rowgate's own around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    text: String,
    query: Arc<str>,
    head_chars: u32,
}

impl Wrapped {
    /// Declares a cursor of this name over the query. The name is one of Rowgate's own making; it is quoted
    /// all the same.
    pub fn cursor(name: &str, options: CursorOptions, query: &VerifiedQuery) -> Self {
        let CursorOptions { binary, scroll } = options;
        let binary = if binary { " BINARY" } else { "" };
        let scroll = match scroll {
            None => "",
            Some(true) => " SCROLL",
            Some(false) => " NO SCROLL",
        };
        let name = quote_identifier(name);
        Self::around(
            &format!("DECLARE {name}{binary}{scroll} CURSOR WITHOUT HOLD FOR "),
            query,
            "",
        )
    }

    /// Copies the query's rows to the client.
    pub fn copy(options: &CopyOptions, query: &VerifiedQuery) -> Self {
        // The line break ends a comment, should one ever stand there.
        let tail = format!("\n) TO STDOUT ({})", copy_options(options));
        Self::around("COPY (", query, &tail)
    }

    fn around(head: &str, query: &VerifiedQuery, tail: &str) -> Self {
        Self {
            text: format!("{head}{}{tail}", query.text()),
            query: Arc::clone(query.text()),
            head_chars: u32::try_from(head.chars().count()).unwrap_or(u32::MAX),
        }
    }

    /// The text to send upstream.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The query inside.
    pub fn query(&self) -> &Arc<str> {
        &self.query
    }

    /// How many characters stand in front of the query.
    pub fn head_chars(&self) -> u32 {
        self.head_chars
    }
}

fn copy_options(options: &CopyOptions) -> String {
    let CopyOptions {
        format,
        header,
        delimiter,
        null,
        quote,
        escape,
        force_quote,
        encoding,
    } = options;
    let format = match format {
        CopyFormat::Text => "text",
        CopyFormat::Csv => "csv",
        CopyFormat::Binary => "binary",
    };
    let mut list = vec![format!("FORMAT {format}")];
    if *header {
        list.push("HEADER true".to_owned());
    }
    for (name, value) in [
        ("DELIMITER", delimiter),
        ("NULL", null),
        ("QUOTE", quote),
        ("ESCAPE", escape),
    ] {
        if let Some(value) = value {
            list.push(format!("{name} {}", quote_literal(value)));
        }
    }
    match force_quote {
        ForceQuote::No => {}
        ForceQuote::All => list.push("FORCE_QUOTE *".to_owned()),
        ForceQuote::Columns(columns) => {
            let columns: Vec<String> = columns.iter().map(|name| quote_identifier(name)).collect();
            list.push(format!("FORCE_QUOTE ({})", columns.join(", ")));
        }
    }
    if let Some(encoding) = encoding {
        let name = match encoding {
            Encoding::Latin1 => "LATIN1",
            Encoding::Latin9 => "LATIN9",
            Encoding::Utf8 => "UTF8",
            Encoding::Win1252 => "WIN1252",
        };
        list.push(format!("ENCODING '{name}'"));
    }
    list.join(", ")
}

/// A string in single quotes that reads the same whatever `standard_conforming_strings` is (PostgreSQL's own
/// `quote_literal` writes it so).
fn quote_literal(value: &str) -> String {
    let escape = if value.contains('\\') { " E" } else { "" };
    let value = value.replace('\\', "\\\\").replace('\'', "''");
    format!("{escape}'{value}'")
}

#[cfg(test)]
mod tests;
