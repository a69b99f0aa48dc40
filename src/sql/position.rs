//! Where the database's word about the final text stands in the caller's own.

use super::scan::{self, Kind, Token};

/// The 1-based character position in `callers` of what stands at `position` (the same) in `final_text`; `None` when
/// that is not certain enough to point at.
pub fn position_in(callers: &str, final_text: &str, position: u32) -> Option<u32> {
    let start = byte_offset(final_text, position)?;
    let finals = significant(final_text);
    let index = finals.iter().position(|token| token.start == start)?;
    let wanted = final_text.get(start..finals.get(index)?.end)?;
    let callers_tokens = significant(callers);
    let same = |token: &&Token| {
        callers
            .get(token.start..token.end)
            .is_some_and(|bytes| bytes.eq_ignore_ascii_case(wanted))
    };
    let mut found = callers_tokens.iter().filter(same);
    let token = match (found.next(), found.next()) {
        (Some(only), None) => only,
        // Several: the texts agree from their ends, where nothing is put in front.
        (Some(_), Some(_)) => {
            let from_end = finals.len() - index;
            let aligned = callers_tokens.get(callers_tokens.len().checked_sub(from_end)?)?;
            Some(aligned).filter(same)?
        }
        (None, _) => return None,
    };
    u32::try_from(callers.get(..token.start)?.chars().count() + 1).ok()
}

fn byte_offset(text: &str, position: u32) -> Option<usize> {
    let before = usize::try_from(position.checked_sub(1)?).ok()?;
    text.char_indices().nth(before).map(|(offset, _)| offset)
}

/// The tokens but for white space, comments and a semicolon at the end.
fn significant(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = scan::tokens(text)
        .filter(|token| !matches!(token.kind, Kind::Space | Kind::Comment))
        .collect();
    while tokens
        .last()
        .is_some_and(|token| text.get(token.start..token.end) == Some(";"))
    {
        tokens.pop();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::position_in;

    #[test]
    fn what_the_database_points_at_is_found_in_the_callers_text() {
        let head = "WITH invoices AS (SELECT id, note FROM rowgate.invoices) ";
        // The caller's text, the rest of the final text, what the database points at and where the caller has it.
        for (callers, rest, word, expected) in [
            (
                "select sum(note) from invoices",
                "select sum(note) from invoices",
                "sum",
                Some(8),
            ),
            (
                "select  /* é */ sum(note)\nfrom public.invoices;",
                "select sum(note) from invoices",
                "sum",
                Some(17),
            ),
            (
                "select id from invoices where note = 7",
                "select id from invoices where note = $1",
                "=",
                Some(36),
            ),
            (
                "select id from invoices where id = 1 and note = 2",
                "select id from invoices where id = 1 and note = 2",
                "= 2",
                Some(47),
            ),
            (
                "select id from invoices",
                "select id from invoices group by id, extra",
                "extra",
                None,
            ),
        ] {
            let final_text = format!("{head}{rest}");
            let at = final_text.rfind(word).unwrap();
            let before = final_text
                .char_indices()
                .take_while(|(offset, _)| *offset < at);
            let position = u32::try_from(before.count() + 1).unwrap();
            assert_eq!(
                position_in(callers, &final_text, position),
                expected,
                "{callers}"
            );
        }
        assert_eq!(position_in("select 1", "select 1", 0), None);
        assert_eq!(position_in("select 1", "select 1", 99), None);
    }
}
