//! Where a syntax error is, and what most likely went wrong.
//!
//! The crate passes on libpg_query's message without its cursor, so the place is found again: the
//! grammar reads from left to right and stops at the first token that cannot follow, so of all places
//! where the named token stands, it is the first one at which the text up to and including it already fails.

use super::error_of;
use crate::error::{Reason, Refusal};
use crate::sql::scan::{Kind, tokens};
use serde::Deserialize;
use std::sync::LazyLock;

/// The refusal for a text the grammar does not read.
pub(super) fn refusal(text: &str, message: &str) -> Refusal {
    if message.contains("stack depth limit") || message.contains("memory exhausted") {
        return Refusal::new(Reason::TooComplex, "the statement is nested too deeply")
            .hint("Send a simpler statement.");
    }
    let offset = offset(text, message);
    let position = offset
        .and_then(|at| text.get(..at))
        .and_then(|before| u32::try_from(before.chars().count()).ok());
    let refusal = Refusal::new(Reason::SyntaxError, shortened(message)).at(position.map(|n| n + 1));
    match hint(text, message) {
        Some(hint) => refusal.hint(hint),
        None => refusal.hint("Send one SELECT in PostgreSQL's dialect."),
    }
}

/// The message with a long token cut, on one line.
fn shortened(message: &str) -> String {
    const CHARACTERS_MAX: usize = 160;
    let mut line: String = message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(CHARACTERS_MAX)
        .collect();
    if message.chars().nth(CHARACTERS_MAX).is_some() {
        line.push_str("...");
    }
    line
}

/// The byte offset of the error.
fn offset(text: &str, message: &str) -> Option<usize> {
    if message.ends_with("at end of input") {
        return Some(text.len());
    }
    let token = message.split_once("at or near \"")?.1.strip_suffix('"')?;
    if token.is_empty() {
        return None;
    }
    let places: Vec<usize> = text.match_indices(token).map(|(at, _)| at).collect();
    // The text up to and including the right place fails with the same message; one that ends before
    // it fails at its end or not at all. So the places are ordered and can be halved.
    let (mut low, mut high) = (0, places.len().checked_sub(1)?);
    while low < high {
        let middle = low + (high - low) / 2;
        let at = *places.get(middle)?;
        let fails = error_of(text.get(..at + token.len())?)
            .is_some_and(|found| !found.ends_with("at end of input") && found == message);
        if fails {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    places.get(low).copied()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HintFile {
    hint: Vec<Hint>,
}

/// One habit of other dialects: when the text (and the message) looks so, this helps.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hint {
    /// One of these must stand in the text outside quotes, in upper case.
    #[serde(default)]
    any: Vec<String>,
    /// Or the error message must contain one of these.
    #[serde(default)]
    message: Vec<String>,
    /// Or the text must begin with one of these words, in upper case.
    #[serde(default)]
    first: Vec<String>,
    /// The sentence.
    say: String,
}

/// What a query can begin with.
const BEGINNINGS: &[&str] = &["SELECT", "WITH", "VALUES", "TABLE"];

static HINTS: LazyLock<Vec<Hint>> = LazyLock::new(|| {
    toml::from_str::<HintFile>(include_str!("hints.toml"))
        .map(|file| file.hint)
        .unwrap_or_default()
});

/// The sentence for a text that the grammar reads and that means something else than was meant.
pub(crate) fn habit(text: &str) -> Option<&'static str> {
    let bare = bare(text);
    let shows = |hint: &&Hint| hint.any.iter().any(|sign| bare.contains(sign.as_str()));
    HINTS.iter().find(shows).map(|hint| hint.say.as_str())
}

/// The sentence for the first habit that matches.
fn hint(text: &str, message: &str) -> Option<&'static str> {
    let bare = bare(text);
    let first = bare.split_whitespace().next().unwrap_or_default();
    let found = HINTS.iter().find(|hint| {
        let says = |sign: &String| message.contains(sign.as_str());
        hint.any.iter().any(|sign| bare.contains(sign.as_str()))
            || hint.message.iter().any(says)
            || hint.first.iter().any(|word| first == word)
    });
    if let Some(hint) = found {
        return Some(&hint.say);
    }
    let begins = first.trim_start_matches('(');
    if !BEGINNINGS.iter().any(|word| begins.starts_with(word)) {
        return Some(
            "Send the SQL alone, beginning with SELECT or WITH; words around it go into comments.",
        );
    }
    let (open, close) = (bare.matches('(').count(), bare.matches(')').count());
    match open.cmp(&close) {
        std::cmp::Ordering::Greater => Some("A closing parenthesis is missing."),
        std::cmp::Ordering::Less => Some("There is a closing parenthesis without an opening one."),
        std::cmp::Ordering::Equal if message.ends_with("at end of input") => {
            Some("The statement ends too early; send it whole.")
        }
        std::cmp::Ordering::Equal => None,
    }
}

/// The text in upper case, without what stands in quotes and comments, white space as single spaces,
/// and numbers after `LIMIT` as `0`. Only for guessing a hint.
fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(' ');
    for token in tokens(text) {
        let piece = text.get(token.start..token.end).unwrap_or_default();
        match token.kind {
            Kind::Space | Kind::Comment => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            Kind::Text => out.push_str("''"),
            Kind::Quoted => out.push_str("\"\""),
            Kind::Number => out.push('0'),
            Kind::Word | Kind::Operator | Kind::Other => out.push_str(&piece.to_uppercase()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::pg::statements;

    fn refused(text: &str) -> Refusal {
        statements(text).expect_err(text)
    }

    #[test]
    fn the_position_counts_characters_and_names_the_right_one_of_equal_tokens() {
        assert_eq!(refused("SELECT 1 FROM FROM t").position, Some(15));
        assert_eq!(refused("SELECT 'ä', x, x, x x x FROM t").position, Some(23));
        assert_eq!(refused("SELECT (1").position, Some(10));
        assert_eq!(refused("SELECT 'from' from from").position, Some(20));
        assert_eq!(refused("SELECT 'abc").position, Some(8));
    }

    #[test]
    fn habits_of_other_dialects_get_their_sentence() {
        for (text, words) in [
            ("SELECT `a` FROM t", "backticks"),
            ("SELECT a FROM t LIMIT 5, 10", "OFFSET"),
            ("SELECT TOP 5 a FROM t", "LIMIT n"),
            ("SELECT [Amount] FROM t", "square brackets"),
            ("SELECT a FROM t WHERE a == 1 AND", "not =="),
            (
                "SELECT DATE_SUB(a, INTERVAL 1 DAY) FROM t",
                "INTERVAL '1 day'",
            ),
            ("SELECT (a FROM t", "closing parenthesis is missing"),
            ("SELECT a) FROM t", "without an opening one"),
            ("SELECT a FROM t WHERE b = ‘x y’", "plain quotes"),
            ("```sql SELECT 1```", "Markdown"),
            ("SELECT ARRAY[a b] FROM t", "PostgreSQL's dialect"),
            ("SELECT a FROM t ORDER BY a WHERE b", "in this order"),
            ("SELECT a, FROM t", "comma before FROM"),
            ("SELECT 'it's' FROM t", "not closed"),
            ("SELEC 1", "beginning with SELECT"),
            ("DESCRIBE t", "information_schema.columns"),
            ("SELECT a FROM t WHERE b = ?", "$1"),
            ("SELECT a FROM", "ends too early"),
        ] {
            let refusal = refused(text);
            assert_eq!(refusal.reason, Reason::SyntaxError);
            assert!(
                refusal
                    .hint
                    .as_deref()
                    .is_some_and(|hint| hint.contains(words)),
                "{text}: {refusal:?}"
            );
        }
    }

    #[test]
    fn every_hint_is_one_sentence_within_200_characters() {
        assert!(HINTS.len() > 20);
        for hint in HINTS.iter() {
            assert!(
                hint.say.ends_with('.') && hint.say.len() <= 200,
                "{}",
                hint.say
            );
        }
    }
}
