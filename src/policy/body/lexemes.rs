//! PostgreSQL's tokens: where a body starts and ends, and which line an error is on.

use crate::policy::header::Errors;
use pg_query::protobuf::{ScanToken, Token};
use std::ops::Range;

/// The text from its first token to its last, without a closing `;` and the comments around.
pub(super) fn trim(raw: &str, line: usize, errors: &mut Errors<'_>) -> Option<(String, usize)> {
    if raw.contains('\0') {
        errors.add(line, "the file holds a NUL character", "Remove it.");
        return None;
    }
    let tokens = match scan(raw) {
        Ok(tokens) => tokens,
        Err(error) => {
            let hint = "A quote or a comment does not end.";
            errors.add(line, error.to_string(), hint);
            return None;
        }
    };
    let mut tokens: Vec<&ScanToken> = tokens.iter().filter(|t| !is_comment(t)).collect();
    while tokens.last().is_some_and(|t| is(t, Token::Ascii59)) {
        tokens.pop();
    }
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        errors.add(
            line,
            "the file has no SELECT",
            "Write the permission view below the header.",
        );
        return None;
    };
    let (start, end) = (offset(first.start), offset(last.end));
    let line = line + lines_before(raw, start);
    Some((raw.get(start..end)?.to_owned(), line))
}

/// How many lines into `text` PostgreSQL stopped: the shortest run of tokens it already objects to in
/// the same words.
pub(super) fn syntax_error_line(text: &str, message: &str) -> usize {
    let tokens = tokens(text);
    if message.ends_with("at end of input") {
        return lines_before(text, text.len());
    }
    let fails = |count: usize| {
        let end = tokens
            .get(count.saturating_sub(1))
            .map_or(0, |t| t.range.end);
        matches!(pg_query::parse(text.get(..end).unwrap_or(""), 0), Err(e) if e.to_string() == message)
    };
    let (mut low, mut high) = (0, tokens.len());
    while low + 1 < high {
        let middle = low.midpoint(high);
        if fails(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    let at = tokens
        .get(high.saturating_sub(1))
        .map_or(0, |t| t.range.start);
    lines_before(text, at)
}

/// PostgreSQL's tokens. `scan_tokens` of the same crate makes a slice of a null pointer where there are
/// none (pg_query 18.1.0, query.rs:383), so this takes the way through protobuf.
pub(crate) fn scan(text: &str) -> Result<Vec<ScanToken>, pg_query::Error> {
    pg_query::scan(text).map(|result| result.tokens)
}

/// A token that is not a comment.
pub(super) struct Lexeme {
    pub(super) range: Range<usize>,
    pub(super) token: i32,
}

pub(super) fn tokens(text: &str) -> Vec<Lexeme> {
    let tokens = scan(text).unwrap_or_default();
    tokens
        .iter()
        .filter(|token| !is_comment(token))
        .map(|token| Lexeme {
            range: offset(token.start)..offset(token.end),
            token: token.token,
        })
        .collect()
}

fn is(token: &ScanToken, kind: Token) -> bool {
    token.token == kind as i32
}

fn is_comment(token: &ScanToken) -> bool {
    is(token, Token::SqlComment) || is(token, Token::CComment)
}

fn offset(value: i32) -> usize {
    usize::try_from(value).unwrap_or(0)
}

pub(super) fn lines_before(text: &str, end: usize) -> usize {
    text.get(..end).unwrap_or(text).matches('\n').count()
}

/// Index of the token that closes the parenthesis opened at `open`.
pub(super) fn closing(tokens: &[Lexeme], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.token == Token::Ascii40 as i32 {
            depth += 1;
        } else if token.token == Token::Ascii41 as i32 {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(index);
            }
        }
    }
    None
}
