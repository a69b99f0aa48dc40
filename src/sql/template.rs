//! One text for many: `WHERE id = 7` and `WHERE id = 8` differ in a number only, so they can share a rewrite and a
//! prepared statement, with the number as a parameter.
//!
//! Only whole numbers of at most nine digits are taken, only as the right operand of a comparison, and only where
//! the next token ends the comparison: such a number is an `integer` to PostgreSQL, and so is its parameter.
//! Equal numbers become the same parameter, so that `SELECT a = 5 ... GROUP BY a = 5` stays grouped; a number that is
//! compared in another place, too, where it cannot be taken out (`a = 5 AS x`), stays everywhere. So does one that is compared with
//! a literal: `1 = 0` is folded while the query is planned, and what depends on it never runs.
//! 0 stays where it is: it is a bound (`attnum > 0`) and hardly ever a key, and a statement without parameters is planned
//! once, not at each use.
//!
//! # Security
//! The template goes through `admit` like any text. That it means what the caller's text means is checked
//! on PostgreSQL's own tokens ([`Template::agrees`]) when it is first admitted; another text with the same template
//! differs from the first in nothing but digits where the first has a number token.

use super::scan::{self, Kind};
use super::verify;

/// A text with its numbers taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    values: Vec<u32>,
    /// The bytes of the caller's text that each number stands at, and which parameter it became.
    places: Vec<(std::ops::Range<usize>, usize)>,
}

/// `pg_type.oid` of `integer`.
pub const INTEGER_OID: u32 = 23;

/// Numbers that are taken out of one text at most; a text with more is left as it is.
pub(super) const PLACES_MAX: usize = 64;

/// Most digits: whatever they are, the number fits an `integer`.
const DIGITS_MAX: usize = 9;

const COMPARISONS: [&str; 7] = ["=", "<>", "!=", "<", "<=", ">", ">="];

/// Whether a word ends a comparison. Every one is reserved, so none can be part of its right operand.
fn ends(word: &str) -> bool {
    let words: &[&str] = match word.len() {
        2 => &["or"],
        3 => &["and", "end", "for"],
        4 => &["else", "full", "join", "left", "then", "when", "from"],
        5 => &[
            "cross", "fetch", "group", "inner", "limit", "order", "right", "union", "where",
        ],
        6 => &["except", "having", "offset", "window"],
        7 => &["natural"],
        9 => &["intersect"],
        _ => &[],
    };
    words.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// What the token before was, as far as it matters.
#[derive(Clone, Copy)]
enum Before {
    /// The end of what may be a column.
    Operand,
    /// A comparison, with such a left side or another.
    Comparison {
        column: bool,
    },
    /// A number behind it.
    Compared {
        column: bool,
        number: Number,
    },
    Anything,
}

/// A number of the text: its bytes, and what it is.
#[derive(Clone, Copy)]
struct Number {
    start: usize,
    end: usize,
    value: u32,
}

impl Template {
    /// The template of a text, if a number can be taken out.
    pub fn of(text: &str) -> Option<Self> {
        let (mut compared, mut fixed) = (Vec::new(), Vec::new());
        let mut keep = |column, number: Number, ended| match column && ended {
            true => compared.push(number),
            false => fixed.push(number.value),
        };
        let mut before = Before::Anything;
        for token in scan::tokens(text) {
            if matches!(token.kind, Kind::Space | Kind::Comment) {
                continue;
            }
            let bytes = text.get(token.start..token.end)?;
            if let Before::Compared { column, number } = before {
                let ended = match token.kind {
                    Kind::Other => matches!(bytes, ")" | ";" | ","),
                    Kind::Word => token.start > number.end && ends(bytes),
                    Kind::Space
                    | Kind::Comment
                    | Kind::Text
                    | Kind::Quoted
                    | Kind::Number
                    | Kind::Operator => false,
                };
                keep(column, number, ended);
            }
            before = match (token.kind, before) {
                (Kind::Operator, _) if COMPARISONS.contains(&bytes) => Before::Comparison {
                    column: matches!(before, Before::Operand),
                },
                (Kind::Number, Before::Comparison { column }) => match whole(bytes) {
                    true => Before::Compared {
                        column,
                        number: Number {
                            start: token.start,
                            end: token.end,
                            value: bytes.parse().ok()?,
                        },
                    },
                    false => Before::Anything,
                },
                (Kind::Word | Kind::Quoted, _) => Before::Operand,
                (Kind::Other, _) if bytes == ")" => Before::Operand,
                // It has parameters of its own.
                (Kind::Other, _) if bytes.starts_with('$') => return None,
                _ => Before::Anything,
            };
        }
        if let Before::Compared { column, number } = before {
            keep(column, number, true);
        }
        if compared.len() > PLACES_MAX {
            return None;
        }
        compared.retain(|number| number.value != 0 && !fixed.contains(&number.value));
        if compared.is_empty() {
            return None;
        }
        Self::without(text, &compared)
    }

    /// The text without these numbers.
    fn without(text: &str, numbers: &[Number]) -> Option<Self> {
        let mut template = Self {
            text: String::with_capacity(text.len() + 4 * numbers.len()),
            values: Vec::new(),
            places: Vec::with_capacity(numbers.len()),
        };
        let mut copied = 0;
        for Number { start, end, value } in numbers {
            let known = template.values.iter().position(|known| known == value);
            let parameter = known.unwrap_or_else(|| {
                template.values.push(*value);
                template.values.len() - 1
            });
            template.text.push_str(text.get(copied..*start)?);
            template.text.push_str(" $");
            template
                .text
                .push_str(itoa::Buffer::new().format(parameter + 1));
            template.places.push((*start..*end, parameter));
            copied = *end;
        }
        template.text.push_str(text.get(copied..)?);
        Some(template)
    }

    /// The text with parameters in place of the numbers.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The numbers, by parameter.
    pub fn values(&self) -> &[u32] {
        &self.values
    }

    /// See [`Template::values`].
    pub fn into_values(self) -> Vec<u32> {
        self.values
    }

    /// Whether PostgreSQL's scanner reads the caller's text and the template as the same tokens, a number of the one
    /// standing where the other has its parameter.
    pub fn agrees(&self, callers: &str) -> bool {
        let numbers: Vec<(&str, String)> = self
            .places
            .iter()
            .map(|(place, number)| {
                (
                    callers.get(place.clone()).unwrap_or_default(),
                    format!("${}", number + 1),
                )
            })
            .collect();
        verify::same_but_numbers(callers, &self.text, &numbers)
    }
}

/// Whether a number is a whole one that fits an `integer` whatever its digits are.
fn whole(number: &str) -> bool {
    number.len() <= DIGITS_MAX && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::Template;

    fn of(text: &str) -> Option<(String, Vec<u32>)> {
        let template = Template::of(text)?;
        assert!(template.agrees(text), "{text}");
        Some((template.text, template.values))
    }

    #[test]
    fn numbers_behind_comparisons_are_taken_out() {
        for (text, template, values) in [
            (
                "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;",
                "SELECT abalance FROM pgbench_accounts WHERE aid =  $1;",
                vec![4711],
            ),
            (
                "select 1 from t where a=5 and b<=05 or (c <> 7)",
                "select 1 from t where a= $1 and b<= $1 or (c <>  $2)",
                vec![5, 7],
            ),
            (
                "SELECT a FROM t WHERE a > 0 AND b = 10",
                "SELECT a FROM t WHERE a > 0 AND b =  $1",
                vec![10],
            ),
            (
                "SELECT a = 5 FROM t -- = 6\nGROUP BY a = 5",
                "SELECT a =  $1 FROM t -- = 6\nGROUP BY a =  $1",
                vec![5],
            ),
        ] {
            assert_eq!(of(text), Some((template.to_owned(), values)), "{text}");
        }
    }

    #[test]
    fn everything_else_is_left_alone() {
        for text in [
            "SELECT 5",
            "SELECT a FROM t LIMIT 5",
            "SELECT a FROM t ORDER BY 1",
            "SELECT a FROM t WHERE a = 5 + b",
            "SELECT a FROM t WHERE a = -5",
            "SELECT a FROM t WHERE a = 5::text",
            "SELECT a FROM t WHERE a = 5.0",
            "SELECT a FROM t WHERE a > 0 AND b <> 00",
            "SELECT a FROM t WHERE a = 1234567890",
            "SELECT a FROM t WHERE a = 5 AND b = $1",
            "SELECT a FROM t WHERE a = '= 5 '",
            "SELECT a FROM t WHERE a = $$x = 5 $$",
            "SELECT a FROM t WHERE a /* = 5 */ = b",
            "SELECT a FROM t WHERE a = 5abc",
            "SELECT a FROM t WHERE a = 5 IS NULL",
            "SELECT a FROM t WHERE a = 5and b",
            "SELECT \"a = 5 \" FROM t",
            "SELECT a FROM t WHERE a === 5",
            // Folded while it is planned, and so is what depends on it.
            "SELECT CASE WHEN 1 = 0 THEN 1/0 ELSE 5 END",
            "SELECT a FROM t WHERE '5' = 5 OR NOT 1 <> 1",
            // One of the two could not be taken out, and they have to stay equal.
            "SELECT a = 5 AS x, count(*) FROM t GROUP BY a = 5",
            "SELECT DISTINCT a < 05 FROM t ORDER BY a < 5 DESC",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn a_template_that_hides_a_string_does_not_agree() {
        let template = Template::of("SELECT a FROM t WHERE a = 5 AND b = 6").unwrap();
        assert!(!template.agrees("SELECT a FROM t WHERE a = 5 AND c = 6"));
        assert!(!template.agrees("SELECT a FROM t WHERE a = 5 AND b = 'x'"));
    }
}
