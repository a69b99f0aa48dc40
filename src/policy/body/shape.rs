//! What can be told of a body's outermost SELECT: one table or two, and which conditions it has.

use super::lexemes::{Lexeme, closing};
use super::tree::{int, is_null, is_plain, list, strings};
use super::{FromItem, InSelect, TwoTables};
use crate::policy::RelationName;
use pg_query::protobuf::{AExprKind, JoinType, SubLinkType, Token};
use serde_json::Value;
use std::ops::Range;

/// What can be told of the body's outermost SELECT.
#[derive(Default)]
pub(super) struct Shape {
    pub(super) joins: bool,
    pub(super) single: Option<FromItem>,
    pub(super) in_selects: Vec<InSelect>,
    pub(super) two_tables: Option<TwoTables>,
    /// A plain SELECT without a condition.
    pub(super) unconditional: bool,
}

impl Shape {
    pub(super) fn of(select: &Value, tokens: &[Lexeme], end: usize) -> Self {
        let from = list(select, "from_clause");
        // DISTINCT and GROUP BY only change what is output; where in doubt, the rows are counted.
        let one_table = matches!(from, [one] if one.pointer("/node/RangeVar").is_some());
        let mut shape = Self {
            joins: !one_table || !is_null(select, "larg"),
            ..Self::default()
        };
        if !is_plain(select) {
            return shape;
        }
        shape.unconditional = is_null(select, "where_clause");
        let filter = keyword(tokens, Token::Where).map(|(_, after)| after..end);
        match from {
            [one] if one_table => {
                shape.single = from_item(one);
                if let Some(single) = &shape.single {
                    let condition = select.get("where_clause").unwrap_or(&Value::Null);
                    conjuncts(condition, &mut |condition| {
                        shape
                            .in_selects
                            .extend(in_select(condition, single, tokens));
                    });
                }
            }
            [join] => {
                shape.two_tables = join
                    .pointer("/node/JoinExpr")
                    .and_then(|join| two_tables(join, tokens, filter, end));
            }
            [left, right] => {
                shape.two_tables =
                    from_item(left)
                        .zip(from_item(right))
                        .map(|(left, right)| TwoTables {
                            left,
                            right,
                            using: Vec::new(),
                            on: None,
                            equality: None,
                            filter,
                        });
            }
            _ => {}
        }
        shape
    }
}

/// Where the only such keyword outside parentheses starts and ends.
fn keyword(tokens: &[Lexeme], keyword: Token) -> Option<(usize, usize)> {
    let mut depth = 0_usize;
    for token in tokens {
        if token.token == Token::Ascii40 as i32 {
            depth += 1;
        } else if token.token == Token::Ascii41 as i32 {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.token == keyword as i32 {
            return Some((token.range.start, token.range.end));
        }
    }
    None
}

fn from_item(node: &Value) -> Option<FromItem> {
    let range = node.pointer("/node/RangeVar")?;
    let text = |key: &str| range.get(key).and_then(Value::as_str);
    let alias = range.get("alias").filter(|alias| !alias.is_null());
    let renamed = alias.is_some_and(|alias| !list(alias, "colnames").is_empty());
    // ONLY leaves out children; a CTE has no schema.
    if renamed || range.get("inh")?.as_bool() != Some(true) || text("schemaname")?.is_empty() {
        return None;
    }
    let name = text("relname")?;
    let alias = alias.and_then(|alias| alias.get("aliasname")?.as_str());
    Some(FromItem {
        relation: RelationName::new(text("schemaname")?, name),
        alias: alias.unwrap_or(name).to_owned(),
    })
}

fn two_tables(
    join: &Value,
    tokens: &[Lexeme],
    filter: Option<Range<usize>>,
    end: usize,
) -> Option<TwoTables> {
    let inner = int(join, "jointype") == usize::try_from(JoinType::JoinInner as i32).ok();
    let natural = join.get("is_natural")?.as_bool() == Some(true);
    if !inner || natural || !is_null(join, "alias") || !is_null(join, "join_using_alias") {
        return None;
    }
    let on = match keyword(tokens, Token::On) {
        Some((_, after)) if !is_null(join, "quals") => {
            let where_start = keyword(tokens, Token::Where).map_or(end, |(start, _)| start);
            Some(after..where_start)
        }
        _ if !is_null(join, "quals") => return None,
        _ => None,
    };
    Some(TwoTables {
        left: from_item(join.get("larg")?)?,
        right: from_item(join.get("rarg")?)?,
        using: strings(list(join, "using_clause"))?
            .into_iter()
            .map(str::to_owned)
            .collect(),
        on,
        equality: join.get("quals").and_then(equality),
        filter,
    })
}

fn equality(condition: &Value) -> Option<[(String, String); 2]> {
    let expr = condition.pointer("/node/AExpr")?;
    let plain = int(expr, "kind") == usize::try_from(AExprKind::AexprOp as i32).ok();
    if !plain || strings(list(expr, "name"))?.as_slice() != ["="] {
        return None;
    }
    let side = |key: &str| {
        let fields = expr
            .get(key)?
            .pointer("/node/ColumnRef/fields")?
            .as_array()?;
        match strings(fields)?.as_slice() {
            [table, column] => Some(((*table).to_owned(), (*column).to_owned())),
            _ => None,
        }
    };
    Some([side("lexpr")?, side("rexpr")?])
}

fn conjuncts(condition: &Value, each: &mut impl FnMut(&Value)) {
    let and = condition.pointer("/node/BoolExpr").filter(|expr| {
        int(expr, "boolop")
            == usize::try_from(pg_query::protobuf::BoolExprType::AndExpr as i32).ok()
    });
    match and {
        Some(expr) => list(expr, "args")
            .iter()
            .for_each(|arg| conjuncts(arg, each)),
        None => each(condition),
    }
}

fn in_select(condition: &Value, table: &FromItem, tokens: &[Lexeme]) -> Option<InSelect> {
    let link = condition.pointer("/node/SubLink")?;
    let any = int(link, "sub_link_type") == usize::try_from(SubLinkType::AnySublink as i32).ok();
    // `IN` has no operator of its own; `= ANY (SELECT ...)` has.
    if !any || !list(link, "oper_name").is_empty() {
        return None;
    }
    let fields = link
        .pointer("/testexpr/node/ColumnRef/fields")?
        .as_array()?;
    let column = match strings(fields)?.as_slice() {
        [column] => (*column).to_owned(),
        [qualifier, column] if *qualifier == table.alias => (*column).to_owned(),
        _ => return None,
    };
    let at = int(link, "location")?;
    let index = tokens.iter().position(|token| token.range.start == at)?;
    let in_token = tokens.get(index).filter(|t| t.token == Token::InP as i32)?;
    let close = closing(tokens, index + 1)?;
    let end = tokens.get(close)?.range.end;
    Some(InSelect {
        column,
        in_token: in_token.range.clone(),
        end,
        select: tokens.get(index + 1)?.range.start..end,
    })
}
