//! A final query laid out over several lines, for people (`rowgate explain`). What is executed is never
//! this text.

use super::verify;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// `text` over several lines; `text` itself when laying it out would change what it says.
pub fn layout(text: &str) -> String {
    stacker::grow(super::STACK_BYTES, || {
        let parsed = Parser::parse_sql(&PostgreSqlDialect {}, text);
        let Ok([statement]) = parsed.as_deref() else {
            return text.to_owned();
        };
        let pretty = format!("{statement:#}");
        match verify::same_meaning(text, &pretty) {
            Ok(()) => pretty,
            Err(_) => text.to_owned(),
        }
    })
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
