//! "Did you mean": the nearest of a few known words.

/// The candidate at most two edits from `word`, if one is nearer than all others; at most half of
/// the word may differ.
pub(crate) fn near<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::levenshtein(&word, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(edits, _)| *edits <= 2 && edits * 2 <= word.chars().count().max(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn nearest_word_within_two_edits() {
        let keys = ["table", "tags", "requires", "role_column"];
        assert_eq!(near("require", keys), Some("requires"));
        assert_eq!(near("Requires", keys), Some("requires"));
        assert_eq!(near("role_colum", keys), Some("role_column"));
        assert_eq!(near("tagd", keys), Some("tags"));
        assert_eq!(near("owner", keys), None);
        assert_eq!(near("x", keys), None);
    }
}
