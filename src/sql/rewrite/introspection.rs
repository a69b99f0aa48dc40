//! Calls of functions that ask about the catalogue: something over its shadows takes their place, see
//! `src/catalog/functions.toml`. To `verify` it is an ordinary expression.

use super::super::names;
use super::{Rewriter, unsupported};
use crate::catalog::{Replacement, replacement};
use crate::error::Refusal;
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Spanned,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

impl Rewriter<'_> {
    /// A call: of a function that is replaced, or of one that is listed.
    pub(super) fn call(&mut self, expr: &mut Expr) -> Result<(), Refusal> {
        if self.introspection(expr)? {
            return Ok(());
        }
        match expr {
            Expr::Function(function) => self.function(function),
            _other => Err(unsupported("a call here", "Leave it out.")),
        }
    }

    /// Replaces a plain call of such a function; whether `expr` was one, and is walked.
    fn introspection(&mut self, expr: &mut Expr) -> Result<bool, Refusal> {
        let Expr::Function(function) = expr else {
            return Ok(false);
        };
        let position = self.position(function.name.span());
        let parts = names::parts(&function.name, position)?;
        let name = match parts.as_slice() {
            [name] => names::fold(name, position)?,
            [schema, name] if names::fold(schema, position)? == "pg_catalog" => {
                names::fold(name, position)?
            }
            _other => return Ok(false),
        };
        let Some(replacement) = replacement(&name, self.grants) else {
            return Ok(false);
        };
        let Some(arguments) = plain_arguments(function) else {
            return Ok(false);
        };
        match (replacement, arguments.as_slice()) {
            (Replacement::Null(type_), [_one, ..]) => {
                *expr = parsed(&format!("(NULL::{type_})"), |parser| parser.parse_expr())?;
                Ok(true)
            }
            (Replacement::Among(query), [argument]) => {
                let mut argument = argument.clone();
                let mut subquery: Box<Query> = parsed(&query, |parser| parser.parse_query())?;
                self.expr(&mut argument)?;
                self.query(&mut subquery)?;
                *expr = Expr::Nested(Box::new(Expr::InSubquery {
                    expr: Box::new(Expr::Nested(Box::new(argument))),
                    subquery,
                    negated: false,
                }));
                Ok(true)
            }
            (Replacement::Null(_) | Replacement::Among(_), _other) => Ok(false),
        }
    }
}

/// The arguments of a call that has nothing but arguments.
fn plain_arguments(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let plain = function.over.is_none()
        && function.filter.is_none()
        && function.within_group.is_empty()
        && function.null_treatment.is_none()
        && !function.uses_odbc_syntax
        && matches!(function.parameters, FunctionArguments::None)
        && list.clauses.is_empty()
        && list.duplicate_treatment.is_none();
    let arguments = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _other => None,
    });
    plain.then(|| arguments.collect())?
}

/// A text of our own, parsed.
fn parsed<T>(
    text: &str,
    parse: impl FnOnce(&mut Parser<'_>) -> Result<T, sqlparser::parser::ParserError>,
) -> Result<T, Refusal> {
    Parser::new(&PostgreSqlDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parse(&mut parser))
        .map_err(|_error| unsupported("this function", "Leave it out."))
}
