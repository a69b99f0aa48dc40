//! Queries that clients' libraries send on their own, that read no table and would be refused by the list of
//! functions: answered here, by their exact words.

/// A query known word by word, and its one row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Courtesy {
    /// The query, in lower case with single spaces.
    text: &'static str,
    /// Column names.
    pub(super) columns: &'static [&'static str],
    /// The row's values.
    pub(super) values: &'static [&'static str],
}

static LIST: &[Courtesy] = &[
    // asyncpg's pool, whenever a connection is given back. There are no advisory locks to release.
    Courtesy {
        text: "select pg_advisory_unlock_all()",
        columns: &["pg_advisory_unlock_all"],
        values: &[""],
    },
    // asyncpg before it looks up types. jit is off on every connection (upstream::login).
    Courtesy {
        text: "select current_setting('jit') as cur, set_config('jit', 'off', false) as new",
        columns: &["cur", "new"],
        values: &["off", "off"],
    },
    Courtesy {
        text: "select set_config('jit', 'off', false)",
        columns: &["set_config"],
        values: &["off"],
    },
];

/// The courtesy for this text, if it is one.
pub(super) fn find(text: &str) -> Option<&'static Courtesy> {
    // Longer than any of them, so that a large query costs nothing here.
    if text.len() > 200 {
        return None;
    }
    // Each is a call, which most texts' second word is not.
    let second = text.split_ascii_whitespace().nth(1)?;
    if !second.contains('(') {
        return None;
    }
    LIST.iter().find(|courtesy| same_words(courtesy.text, text))
}

/// Whether a text has these words, however they are written and spaced.
fn same_words(words: &str, text: &str) -> bool {
    let mut rest = text.trim().trim_end_matches(';').split_whitespace();
    let same = |word: &str| {
        rest.next()
            .is_some_and(|other| other.eq_ignore_ascii_case(word))
    };
    words.split(' ').all(same) && rest.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_words_are_a_courtesy() {
        assert!(find("SELECT pg_advisory_unlock_all();").is_some());
        assert!(find(" select  pg_advisory_unlock_all() ").is_some());
        for text in [
            "SELECT pg_advisory_unlock_all(), 1",
            "SELECT set_config('jit', 'on', false)",
            "SELECT set_config('rowgate.user_id', 'off', false)",
            "SELECT current_setting('rowgate.user_id')",
            "SELECT 1",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
    }

    #[test]
    fn the_list_is_written_as_it_is_compared() {
        for courtesy in LIST {
            assert_eq!(courtesy.text, courtesy.text.to_ascii_lowercase());
            assert_eq!(find(courtesy.text), Some(courtesy));
            assert_eq!(courtesy.columns.len(), courtesy.values.len());
        }
    }
}
