//! A final query laid out over several lines, for people (`rowgate explain`). What is executed is never
//! this text.

use super::stack::with_stack;
use super::verify;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// `text` over several lines; `text` itself when laying it out would change what it says.
pub fn layout(text: &str) -> String {
    with_stack(|| laid_out(text))
        .flatten()
        .unwrap_or_else(|| text.to_owned())
}

fn laid_out(text: &str) -> Option<String> {
    let parsed = Parser::parse_sql(&PostgreSqlDialect {}, text).ok()?;
    let [statement] = parsed.as_slice() else {
        return None;
    };
    let pretty = format!("{statement:#}");
    verify::same_meaning(text, &pretty)
        .is_ok()
        .then_some(pretty)
}

#[cfg(test)]
mod tests {
    use super::layout;

    #[test]
    fn a_query_is_laid_out_over_lines() {
        let text = "WITH a AS (SELECT 1 AS x) SELECT x FROM a WHERE x = 1";
        let laid_out = layout(text);
        assert!(laid_out.lines().count() > 3, "{laid_out}");
        let words = |text: &str| -> Vec<String> {
            text.split_whitespace()
                .collect::<String>()
                .chars()
                .map(String::from)
                .collect()
        };
        assert_eq!(words(&laid_out), words(text));
    }

    #[test]
    fn what_cannot_be_read_stays_as_it_is() {
        assert_eq!(layout("this is not SQL"), "this is not SQL");
    }
}
