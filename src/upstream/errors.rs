//! What the caller is told of an error the database reported.
//!
//! The SQLSTATE stays. The message stays only where it cannot carry data or name what the caller may not
//! see; detail, where, schema, table, internal query, file, line and routine never do.

use crate::policy::TOO_MANY;
use std::sync::Arc;

/// An ErrorResponse of the database, ready for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamError {
    /// The SQLSTATE.
    pub sqlstate: String,
    /// The message.
    pub message: String,
    /// The hint, where it is safe.
    pub hint: Option<String>,
    /// Where in the final text, in characters, 1-based.
    pub position: Option<u32>,
    /// That text, where it is known which one of the pipeline's it is.
    pub text: Option<Arc<str>>,
    /// It is ours, not the caller's: a missing view, a role without rights, a bug.
    pub internal: bool,
    /// The connection is gone (FATAL or PANIC).
    pub fatal: bool,
    /// The whole message, for the log only.
    pub original: String,
}

impl UpstreamError {
    /// Reads the body of an ErrorResponse (PostgreSQL manual, section 55.8).
    pub(super) fn read(body: &[u8]) -> Self {
        let field = |code: u8| {
            body.split(|byte| *byte == 0)
                .find(|part| part.first() == Some(&code))
                .and_then(|part| part.get(1..))
                .map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let sqlstate = field(b'C').unwrap_or_else(|| "XX000".to_owned());
        let original = field(b'M').unwrap_or_default();
        let logged = format!("{sqlstate} {original}");
        // Where nothing is installed a walk can only end by a cast that fails; it is the same limit.
        let sqlstate = match original.contains(TOO_MANY) {
            true => "54000".to_owned(),
            false => sqlstate,
        };
        let severity = field(b'V').or_else(|| field(b'S')).unwrap_or_default();
        let told = tell(&sqlstate, &original);
        let hint = match sqlstate.as_str() {
            "42703" | "42883" | "42804" | "42725" | "42P18" | "55000" => {
                field(b'H').filter(|hint| !names_ours(hint))
            }
            _ => None,
        };
        let hint = hint.or_else(|| next_step(&sqlstate, &original).map(str::to_owned));
        Self {
            text: None,
            position: field(b'P').and_then(|position| position.parse().ok()),
            internal: told.is_none(),
            message: told.unwrap_or_default(),
            hint,
            fatal: severity == "FATAL" || severity == "PANIC",
            original: logged,
            sqlstate,
        }
    }
}

/// The message for the caller; `None` = it is our own failure.
fn tell(sqlstate: &str, message: &str) -> Option<String> {
    if message.contains(TOO_MANY) {
        return Some(TOO_MANY.to_owned());
    }
    if names_ours(message) {
        return None;
    }
    match sqlstate {
        // Our grants and our views: "permission denied for view ...", "relation ... does not exist".
        "42501" | "42P01" | "3F000" | "42P05" | "26000" => return None,
        "57014" => {
            return Some(if message.contains("timeout") {
                "canceling statement due to statement timeout".to_owned()
            } else {
                "canceling statement due to user request".to_owned()
            });
        }
        "08P01" | "22P03" => {
            return Some("a bound parameter does not have the announced format".to_owned());
        }
        _ => {}
    }
    match sqlstate.get(..2)? {
        // Decided when the query is analysed or planned, before any row is read.
        "0A" | "21" | "25" | "2D" | "34" | "3B" | "40" | "42" | "54" | "55" => {
            Some(message.to_owned())
        }
        "22" | "23" | "2B" | "38" | "39" | "P0" => Some(without_data(message)),
        "53" => Some("the database is short of resources".to_owned()),
        _ => None,
    }
}

/// What to send instead, where PostgreSQL itself has no hint: constant sentences, so that they carry nothing.
fn next_step(sqlstate: &str, message: &str) -> Option<&'static str> {
    let sentence = match sqlstate {
        "21000" => "Use IN instead of =, an aggregate, or LIMIT 1.",
        "22007" | "22008" => "Write a date as 'YYYY-MM-DD' and a time as 'YYYY-MM-DD HH:MM:SS'.",
        "22003" => "Cast to a wider type, such as bigint or numeric.",
        "22012" => "Divide by NULLIF(divisor, 0).",
        "22P02" => {
            "Write a value of that type; join text with ||, and cast numbers to text where text is meant."
        }
        "42601" if message.contains("same number of columns") => {
            "Give both queries the same columns, NULL where one has none."
        }
        "42702" => "Write the table's name or alias before the column: alias.column.",
        "42803" if message.contains("not allowed in WHERE") => {
            "Put conditions on aggregates into HAVING."
        }
        "42803" => "Add the column to GROUP BY, or put it into an aggregate such as max(column).",
        "42804" | "42846" => "Cast one side to the other's type, as in column::text.",
        "42P20" => "Compute the window function in a subquery and filter its result outside.",
        "57014" => "Ask for less: add a WHERE clause, a LIMIT or an aggregate.",
        _ => return None,
    };
    Some(sentence)
}

/// Whether a text names something of Rowgate's own in the database.
fn names_ours(text: &str) -> bool {
    text.to_ascii_lowercase().contains("rowgate")
}

/// Cuts what can hold a row's value: everything behind `: `, everything in quotes, and numbers that are
/// not part of a word or of a type such as `varchar(20)`.
fn without_data(message: &str) -> String {
    let head = message.split_once(": ").map_or(message, |(head, _)| head);
    let mut out = String::with_capacity(head.len());
    let mut quoted = false;
    let mut before = ' ';
    let mut in_number = false;
    for c in head.chars() {
        let was_number = std::mem::replace(&mut in_number, false);
        match c {
            '"' => {
                if !quoted {
                    out.push_str("\"...\"");
                }
                quoted = !quoted;
            }
            _ if quoted => {}
            c if c.is_ascii_digit()
                && (was_number || !(before.is_alphanumeric() || before == '(')) =>
            {
                in_number = true;
                if !was_number {
                    out.push('#');
                }
            }
            c => out.push(c),
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(fields: &[(u8, &str)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (code, value) in fields {
            body.push(*code);
            body.extend_from_slice(value.as_bytes());
            body.push(0);
        }
        body.push(0);
        body
    }

    #[test]
    fn values_do_not_pass() {
        for (message, told) in [
            (
                "invalid input syntax for type integer: \"secret note\"",
                "invalid input syntax for type integer",
            ),
            (
                "value \"99999999999\" is out of range for type integer",
                "value \"...\" is out of range for type integer",
            ),
            ("division by zero", "division by zero"),
            (
                "requested character too large for encoding: 1234567",
                "requested character too large for encoding",
            ),
            (
                "bit string length 17 does not match type bit(3)",
                "bit string length # does not match type bit(3)",
            ),
            (
                "value too long for type character varying(10)",
                "value too long for type character varying(10)",
            ),
            ("int4 overflow", "int4 overflow"),
        ] {
            assert_eq!(tell("22P02", message).as_deref(), Some(told));
        }
    }

    /// Installed, the walk raises it itself; inline, a cast fails. Both are the same to the caller.
    #[test]
    fn a_walk_that_is_too_long_is_a_limit_however_it_ended() {
        for (code, message) in [
            ("54000", TOO_MANY.to_owned()),
            (
                "22P02",
                format!("invalid input syntax for type integer: \"{TOO_MANY}: 51\""),
            ),
        ] {
            let error =
                UpstreamError::read(&body(&[(b'V', "ERROR"), (b'C', code), (b'M', &message)]));
            assert_eq!(
                (error.sqlstate.as_str(), error.message.as_str()),
                ("54000", TOO_MANY)
            );
            assert!(error.original.starts_with(code), "{}", error.original);
            assert!(!error.internal);
        }
    }

    #[test]
    fn detail_and_the_rest_never_pass() {
        let error = UpstreamError::read(&body(&[
            (b'S', "ERROR"),
            (b'V', "ERROR"),
            (b'C', "22012"),
            (b'M', "division by zero"),
            (b'D', "the row was (1, secret)"),
            (b'H', "hint with secret"),
            (b'W', "SQL function secret"),
        ]));
        assert_eq!(error.message, "division by zero");
        assert_eq!(error.hint.as_deref(), Some("Divide by NULLIF(divisor, 0)."));
        assert!(!error.internal && !error.fatal);
    }

    #[test]
    fn our_own_failures_are_not_told() {
        for (sqlstate, message) in [
            ("42501", "permission denied for view invoices"),
            ("42P01", "relation \"rowgate.invoices\" does not exist"),
            ("42883", "function rowgate.roles() does not exist"),
            ("XX000", "cache lookup failed for relation 1234"),
            ("58P01", "could not open file \"base/1/2\""),
        ] {
            assert_eq!(tell(sqlstate, message), None, "{message}");
        }
    }

    #[test]
    fn analysis_errors_pass_with_their_hint() {
        let error = UpstreamError::read(&body(&[
            (b'V', "ERROR"),
            (b'C', "42703"),
            (b'M', "column \"amout\" does not exist"),
            (
                b'H',
                "Perhaps you meant to reference the column \"invoices.amount\".",
            ),
        ]));
        assert_eq!(error.message, "column \"amout\" does not exist");
        assert!(error.hint.is_some());
    }
}
