//! Calls of functions that ask about the catalogue, about where names are looked up, or about the caller: something over
//! the catalogue's shadows takes their place, see `src/catalog/functions.toml`. To `verify` it is an ordinary expression.

use super::super::names;
use super::{Rewriter, numbers, unsupported};
use crate::catalog::{self, Replacement};
use crate::error::{Reason, Refusal};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Query, SelectItem, SetExpr, TableAlias, TableFactor, Value,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// Who the caller is, in its several spellings (manual, section 9.27.1); the grammar's own words, without parentheses.
const WHO: [&str; 4] = ["current_role", "current_user", "session_user", "user"];

impl Rewriter<'_> {
    /// Puts what stands for it in the place of an expression that asks about the catalogue; whether it was one. What
    /// took its place has been walked.
    pub(super) fn stands_in(&mut self, expr: &mut Expr) -> Result<bool, Refusal> {
        if let Some(arguments) = &self.template {
            if let Some(argument) = placeholder(expr).and_then(|index| arguments.get(index)) {
                *expr = Expr::Nested(Box::new(argument.clone()));
                return Ok(true);
            }
            return Ok(false);
        }
        let asked = match &*expr {
            Expr::Function(function) => match plain_call(function)? {
                Some((name, arguments)) => self.call_of(&name, arguments)?,
                None => None,
            },
            Expr::Identifier(ident) if ident.quote_style.is_none() => {
                self.word(&ident.value.to_ascii_lowercase())?
            }
            Expr::CompoundIdentifier(parts) => self.table_oid(parts)?,
            _other => {
                numbers::typed_string(expr);
                numbers::compare_numbers(expr);
                self.looked_up(expr)?
            }
        };
        let Some(instead) = asked else {
            return Ok(false);
        };
        self.stood_in += 1;
        *expr = instead;
        Ok(true)
    }

    /// `current_schema`, `current_user` and the like without parentheses.
    fn word(&mut self, word: &str) -> Result<Option<Expr>, Refusal> {
        match word {
            "current_schema" => self.call_of(word, Vec::new()),
            "current_catalog" => parsed("(pg_catalog.current_database())", |parser| {
                parser.parse_expr()
            })
            .map(Some),
            word if WHO.contains(&word) => {
                let text = format!(
                    "(SELECT w.name FROM {}.current_user AS w)",
                    catalog::ANSWERS
                );
                self.template_of(&text, Vec::new())
            }
            _other => Ok(None),
        }
    }

    /// `c.tableoid` of a catalogue relation: its number, which descriptions have as `classoid`.
    fn table_oid(&mut self, parts: &[Ident]) -> Result<Option<Expr>, Refusal> {
        let [alias, column] = parts else {
            return Ok(None);
        };
        if names::fold(column, None)? != "tableoid" {
            return Ok(None);
        }
        let found = self.scopes.item(&names::fold(alias, None)?);
        let relation = found
            .and_then(|(frame, item)| self.scopes.frames.get(frame)?.items.get(item))
            .filter(|item| item.table.is_none())
            .and_then(|item| item.relation)
            .filter(|relation| relation.schema == "pg_catalog");
        let Some(relation) = relation else {
            return Ok(None);
        };
        let text = format!(
            "(SELECT r.oid FROM {}.regclass AS r WHERE r.kind = 'c' AND r.name = '{}')",
            catalog::ANSWERS,
            relation.name
        );
        self.template_of(&text, Vec::new())
    }

    /// What stands for a call with these arguments, which have not been walked.
    fn call_of(&mut self, name: &str, mut arguments: Vec<Expr>) -> Result<Option<Expr>, Refusal> {
        if arguments.is_empty() && is_word(name) {
            return self.word(name);
        }
        if let (Some(type_), [_name]) = (catalog::lookup_function(name), arguments.as_slice()) {
            return self.template_of(&catalog::lookup_shown(type_), arguments);
        }
        if name == "current_setting" {
            self.known_setting(&arguments)?;
        }
        if name == "set_config" && !changes_nothing(&arguments) {
            return Ok(None);
        }
        let Some(replacement) = catalog::replacement(name, arguments.len(), self.grants) else {
            return Ok(None);
        };
        arguments.iter_mut().for_each(numbers::argument);
        match replacement {
            Replacement::Null(type_) => {
                parsed(&format!("(NULL::{type_})"), |parser| parser.parse_expr()).map(Some)
            }
            Replacement::Expression(text) => self.template_of(&text, arguments),
            Replacement::Among(text) => {
                let [argument] = arguments.as_mut_slice() else {
                    return Ok(None);
                };
                let mut subquery: Box<Query> = parsed(&text, |parser| parser.parse_query())?;
                self.expr(argument)?;
                self.query(&mut subquery)?;
                Ok(Some(Expr::Nested(Box::new(Expr::InSubquery {
                    expr: Box::new(Expr::Nested(Box::new(argument.clone()))),
                    subquery,
                    negated: false,
                }))))
            }
        }
    }

    /// A setting that is written out and is not answered is unknown, as PostgreSQL says of one that it does not have.
    fn known_setting(&self, arguments: &[Expr]) -> Result<(), Refusal> {
        let Some(Expr::Value(value)) = arguments.first() else {
            return Ok(());
        };
        let Value::SingleQuotedString(name) = &value.value else {
            return Ok(());
        };
        if arguments.len() > 1 || catalog::setting_is_known(name) {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::ObjectUnknown,
            format!(
                "unrecognized configuration parameter \"{}\"",
                names::shown(name)
            ),
        )
        .hint("Use SHOW for a setting of this session.")
        .at(self.position(value.span)))
    }

    /// An expression of the list with these arguments, all walked.
    pub(super) fn template_of(
        &mut self,
        text: &str,
        mut arguments: Vec<Expr>,
    ) -> Result<Option<Expr>, Refusal> {
        // What it does not need is dropped unread.
        for (index, argument) in arguments.iter_mut().enumerate() {
            if text.contains(&format!("${}", index + 1)) {
                self.expr(argument)?;
            }
        }
        let mut expr = parsed(text, |parser| parser.parse_expr())?;
        self.template = Some(arguments);
        let walked = self.expr(&mut expr);
        self.template = None;
        walked.map(|()| Some(expr))
    }

    /// One item of FROM: a call that something else stands in for, or what it says.
    pub(super) fn item_of_from(&mut self, factor: &mut TableFactor) -> Result<(), Refusal> {
        match self.stands_in_from(factor)? {
            Some((alias, name)) => self.push_unknown(alias.as_ref(), &name),
            None => self.table_factor(factor),
        }
    }

    /// As [`Rewriter::stands_in`], for a call in FROM: a subquery of one column takes its place, or a call that gives rows.
    /// The alias and the name it has then.
    fn stands_in_from(
        &mut self,
        factor: &mut TableFactor,
    ) -> Result<Option<(Option<TableAlias>, String)>, Refusal> {
        let Some((name, args, alias, numbered)) = call_in_from(factor) else {
            return Ok(None);
        };
        let Some(function) = builtin(name)? else {
            return Ok(None);
        };
        if !catalog::replaces(&function) && catalog::lookup_function(&function).is_none() {
            return Ok(None);
        }
        let mut call = called(name, args);
        if !self.stands_in(&mut call)? {
            return Ok(None);
        }
        let alias = alias.unwrap_or_else(|| TableAlias {
            explicit: true,
            name: names::ident(&function),
            columns: Vec::new(),
            at: None,
        });
        *factor = match call {
            Expr::Function(Function {
                name,
                args: FunctionArguments::List(list),
                ..
            }) => TableFactor::Function {
                lateral: false,
                name,
                args: list.args,
                with_ordinality: numbered,
                alias: Some(alias.clone()),
            },
            _numbered if numbered => return Ok(None),
            value => TableFactor::Derived {
                lateral: true,
                subquery: one_column(value, alias.name.clone())?,
                alias: Some(alias.clone()),
                sample: None,
            },
        };
        Ok(Some((Some(alias), function)))
    }
}

/// The name, the arguments, the alias and WITH ORDINALITY of a call in FROM.
fn call_in_from(
    factor: &TableFactor,
) -> Option<(&ObjectName, &[FunctionArg], Option<TableAlias>, bool)> {
    match factor {
        TableFactor::Table {
            name,
            args: Some(args),
            alias,
            with_ordinality,
            ..
        } if args.settings.is_none() => Some((name, &args.args, alias.clone(), *with_ordinality)),
        TableFactor::Function {
            name,
            args,
            alias,
            with_ordinality,
            ..
        } => Some((name, args, alias.clone(), *with_ordinality)),
        _other => None,
    }
}

/// `SELECT value AS column`.
fn one_column(value: Expr, column: Ident) -> Result<Box<Query>, Refusal> {
    let mut query: Box<Query> = parsed("SELECT NULL AS column", |parser| parser.parse_query())?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![SelectItem::ExprWithAlias {
            expr: value,
            alias: column,
        }];
    }
    Ok(query)
}

/// Whether it is a word of the grammar's that is a call without parentheses.
fn is_word(name: &str) -> bool {
    WHO.contains(&name) || name == "current_catalog"
}

/// Whether the first argument names a setting that has no effect in a session here, so that it may be said to be set.
/// asyncpg switches `jit` off before it looks types up; it is off on every connection (`upstream::login`).
fn changes_nothing(arguments: &[Expr]) -> bool {
    matches!(arguments.first(), Some(Expr::Value(value))
        if matches!(&value.value, Value::SingleQuotedString(name) if name == "jit"))
}

/// A call as an expression.
fn called(name: &ObjectName, args: &[FunctionArg]) -> Expr {
    Expr::Function(Function {
        name: name.clone(),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.to_vec(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The index of the argument that a placeholder stands for.
fn placeholder(expr: &Expr) -> Option<usize> {
    let Expr::Value(value) = expr else {
        return None;
    };
    let Value::Placeholder(name) = &value.value else {
        return None;
    };
    let number: usize = name.strip_prefix('$')?.parse().ok()?;
    number.checked_sub(1)
}

/// The folded name of one of PostgreSQL's own functions, however it is written.
fn builtin(name: &ObjectName) -> Result<Option<String>, Refusal> {
    let parts: Vec<&Ident> = names::parts(name, None)?;
    match parts.as_slice() {
        [name] => names::fold(name, None).map(Some),
        [schema, name] if names::fold(schema, None)? == "pg_catalog" => {
            names::fold(name, None).map(Some)
        }
        _other => Ok(None),
    }
}

/// The name and the arguments of a call that has nothing but arguments.
fn plain_call(function: &Function) -> Result<Option<(String, Vec<Expr>)>, Refusal> {
    let plain = function.over.is_none()
        && function.filter.is_none()
        && function.within_group.is_empty()
        && function.null_treatment.is_none()
        && !function.uses_odbc_syntax
        && matches!(function.parameters, FunctionArguments::None);
    let Some(name) = builtin(&function.name)?.filter(|_| plain) else {
        return Ok(None);
    };
    let list = match &function.args {
        // A word of the grammar's, if it is one at all.
        FunctionArguments::None if is_word(&name) => {
            return Ok(Some((name, Vec::new())));
        }
        FunctionArguments::None | FunctionArguments::Subquery(_) => return Ok(None),
        FunctionArguments::List(list) => list,
    };
    let bare = list.clauses.is_empty() && list.duplicate_treatment.is_none();
    if !bare || is_word(&name) {
        return Ok(None);
    }
    let arguments = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _other => None,
    });
    let arguments: Option<Vec<Expr>> = arguments.collect();
    Ok(arguments.map(|arguments| (name, arguments)))
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
