//! Agreement without trees: the grammar sees nothing but tokens, so two texts with the same tokens have the
//! same tree, or neither has one. sqlparser keeps nearly every text to the token (2,431 of the corpus' 2,441),
//! and PostgreSQL's scanner costs a fraction of a parse.

use pg_query::protobuf::{ScanToken, Token};

/// Whether PostgreSQL's scanner reads both texts as the same tokens, comments, white space and semicolons
/// at the end aside. `false` means only: not known.
pub(super) fn equal(callers: &str, printed: &str) -> bool {
    match (scanned(callers), scanned(printed)) {
        (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| same(a, b)),
        (None, _) | (_, None) => false,
    }
}

/// Whether both texts have the same tokens, except that for each of `numbers`, in order, the first has an integer
/// of these digits where the second has this parameter.
pub(super) fn equal_but_numbers(callers: &str, template: &str, numbers: &[(&str, String)]) -> bool {
    let (Some(callers), Some(template)) = (scanned(callers), scanned(template)) else {
        return false;
    };
    let mut numbers = numbers.iter();
    let alike = callers.len() == template.len()
        && callers.iter().zip(&template).all(|(a, b)| {
            if b.kind != Token::Param as i32 {
                return same(a, b);
            }
            numbers.next().is_some_and(|(digits, parameter)| {
                a.kind == Token::Iconst as i32 && a.bytes == *digits && b.bytes == parameter
            })
        });
    alike && numbers.next().is_none()
}

/// A token and its bytes.
struct Scanned<'a> {
    kind: i32,
    bytes: &'a str,
}

/// The tokens, if tokens and white space are all there is in the text.
fn scanned(text: &str) -> Option<Vec<Scanned<'_>>> {
    // pg_query 18.1.0 makes a slice from a null pointer when there is no token at all.
    if text.chars().all(crate::sql::scan::is_white) {
        return None;
    }
    let mut end = 0;
    let mut tokens = Vec::new();
    for ScanToken {
        start,
        end: stop,
        token,
        keyword_kind: _,
    } in pg_query::scan_tokens(text).ok()?
    {
        let start = usize::try_from(start).ok()?;
        let stop = usize::try_from(stop).ok()?;
        // What stands between two tokens must be white space, or the scanner left part of a token out.
        if !text
            .get(end..start)?
            .chars()
            .all(crate::sql::scan::is_white)
        {
            return None;
        }
        end = stop;
        if token != Token::SqlComment as i32 && token != Token::CComment as i32 {
            tokens.push(Scanned {
                kind: token,
                bytes: text.get(start..stop)?,
            });
        }
    }
    if !text.get(end..)?.chars().all(crate::sql::scan::is_white) {
        return None;
    }
    while tokens
        .last()
        .is_some_and(|token| token.kind == Token::Ascii59 as i32)
    {
        tokens.pop();
    }
    Some(tokens)
}

/// Tokens that carry a value are equal to the byte; of keywords and signs the kind is all there is.
fn same(a: &Scanned<'_>, b: &Scanned<'_>) -> bool {
    const CARRY_A_VALUE: [Token; 10] = [
        Token::Ident,
        Token::Uident,
        Token::Fconst,
        Token::Sconst,
        Token::Usconst,
        Token::Bconst,
        Token::Xconst,
        Token::Op,
        Token::Iconst,
        Token::Param,
    ];
    a.kind == b.kind
        && (a.bytes == b.bytes || !CARRY_A_VALUE.iter().any(|&kind| kind as i32 == a.kind))
}
