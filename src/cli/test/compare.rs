//! Whether what was seen is what was expected, and the difference in lines.

use super::file::Cell;

/// Most lines of a difference shown.
const LINES_MAX: usize = 20;

/// Equal as text, as decimal numbers (`1300` and `1300.00`), or as booleans (`true` and PostgreSQL's `t`).
pub(super) fn same(expected: &Cell, seen: &Cell) -> bool {
    match (expected, seen) {
        (None, None) => true,
        (Some(expected), Some(seen)) => {
            expected == seen
                || matches!(
                    (expected.as_str(), seen.as_str()),
                    ("true", "t") | ("false", "f")
                )
                || decimal(expected).is_some_and(|number| decimal(seen) == Some(number))
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// A number without what does not change it: sign, digits before and after the point.
fn decimal(text: &str) -> Option<(bool, &str, &str)> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let numeric = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !numeric(whole) || !numeric(part) {
        return None;
    }
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    let zero = whole.is_empty() && part.is_empty();
    Some((negative && !zero, whole, part))
}

/// `None` if the rows are the same, in this order or any; else the lines that differ, `-` expected and `+` seen.
pub(super) fn rows(expected: &[Vec<Cell>], seen: &[Vec<Cell>], ordered: bool) -> Option<String> {
    let equal = |a: &Vec<Cell>, b: &Vec<Cell>| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
    };
    if ordered {
        if expected.len() == seen.len() && expected.iter().zip(seen).all(|(a, b)| equal(a, b)) {
            return None;
        }
        let (missing, extra) = (expected.iter(), seen.iter());
        return Some(difference(missing.collect(), extra.collect()));
    }
    let mut extra: Vec<&Vec<Cell>> = seen.iter().collect();
    let mut missing = Vec::new();
    for row in expected {
        match extra.iter().position(|seen| equal(row, seen)) {
            Some(index) => drop(extra.remove(index)),
            None => missing.push(row),
        }
    }
    (!missing.is_empty() || !extra.is_empty()).then(|| difference(missing, extra))
}

fn difference(missing: Vec<&Vec<Cell>>, extra: Vec<&Vec<Cell>>) -> String {
    let lines = |sign: &str, rows: Vec<&Vec<Cell>>| -> Vec<String> {
        let hidden = rows.len().saturating_sub(LINES_MAX);
        let shown = rows.into_iter().take(LINES_MAX);
        let mut lines: Vec<String> = shown
            .map(|row| format!("{sign} {}", shown_row(row)))
            .collect();
        if hidden > 0 {
            lines.push(format!("{sign} ... and {hidden} more"));
        }
        lines
    };
    let mut all = lines("-", missing);
    all.extend(lines("+", extra));
    all.join("\n")
}

fn shown_row(row: &[Cell]) -> String {
    let cells: Vec<&str> = row
        .iter()
        .map(|cell| cell.as_deref().unwrap_or("NULL"))
        .collect();
    format!("[{}]", cells.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> Cell {
        (text != "NULL").then(|| text.to_owned())
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_nothing_else_is() {
        for (a, b, equal) in [
            ("1300", "1300.00", true),
            ("-0.50", "-0.5", true),
            ("0", "-0.0", true),
            ("007", "7", true),
            ("12345678901234567890.1", "12345678901234567890.10", true),
            ("true", "t", true),
            ("false", "f", true),
            ("Sales", "Sales", true),
            ("NULL", "NULL", true),
            ("1300", "1300.01", false),
            ("5", "-5", false),
            ("1e3", "1000", false),
            ("true", "f", false),
            ("t", "true", false),
            ("Sales", "sales", false),
            ("", "NULL", false),
            ("0", "NULL", false),
            ("", "0", false),
            (".", "0", false),
        ] {
            assert_eq!(same(&cell(a), &cell(b)), equal, "{a} {b}");
        }
    }

    #[test]
    fn rows_are_compared_as_a_bag_or_in_order() {
        let rows_of = |texts: &[&str]| -> Vec<Vec<Cell>> {
            texts.iter().map(|text| vec![cell(text)]).collect()
        };
        let difference = |a: &[&str], b: &[&str], ordered| rows(&rows_of(a), &rows_of(b), ordered);
        assert_eq!(difference(&["a", "b"], &["b", "a"], false), None);
        assert!(difference(&["a", "b"], &["b", "a"], true).is_some());
        assert_eq!(
            difference(&["a", "a", "b"], &["a", "b", "c"], false).as_deref(),
            Some("- [a]\n+ [c]")
        );
        assert_eq!(
            difference(&[], &["NULL"], false).as_deref(),
            Some("+ [NULL]")
        );
        let many: Vec<&str> = vec!["x"; 25];
        let told = difference(&[], &many, false).unwrap_or_default();
        assert!(told.ends_with("+ ... and 5 more"), "{told}");
    }
}
