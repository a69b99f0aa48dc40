//! Function calls: by list, with every argument walked.

use super::super::lists::{self, FunctionClass};
use super::super::names;
use super::{PLAIN_SELECT, Rewriter, absent, off, other_dialect, unsupported};
use crate::error::{Reason, Refusal};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, ObjectName, Spanned, WindowFrame, WindowFrameBound,
    WindowSpec, WindowType,
};

/// Calls that the grammar itself defines (manual, sections 9.18, 9.9.5, 4.2.12-13); none reads anything but
/// its arguments.
const GRAMMAR_FUNCTIONS: [&str; 12] = [
    "array",
    "coalesce",
    "current_date",
    "current_time",
    "current_timestamp",
    "greatest",
    "grouping",
    "least",
    "localtime",
    "localtimestamp",
    "nullif",
    "row",
];

impl Rewriter<'_> {
    /// A call, with its arguments, FILTER, WITHIN GROUP and OVER.
    pub(crate) fn function(&mut self, function: &mut Function) -> Result<(), Refusal> {
        let Function {
            name,
            uses_odbc_syntax,
            parameters,
            args,
            within_group,
            filter,
            null_treatment,
            over,
        } = function;
        off(
            *uses_odbc_syntax,
            "{fn ...}",
            "Call the function without braces.",
        )?;
        absent(
            null_treatment,
            "IGNORE NULLS",
            "Filter the NULLs out in a subquery.",
        )?;
        match parameters {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(_) | FunctionArguments::List(_) => {
                return Err(other_dialect(
                    "a call with two argument lists",
                    PLAIN_SELECT,
                ));
            }
        }
        let (folded, class) = self.function_name(name)?;
        let aggregate = class == Some(FunctionClass::Aggregate) && over.is_none();
        let recording = aggregate && self.pause_recording();
        match args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(query) => {
                if folded != "array" {
                    return Err(unsupported(
                        "a subquery as argument without parentheses of its own",
                        "Write f((SELECT ...)).",
                    ));
                }
                self.query(query)?;
            }
            FunctionArguments::List(list) => self.argument_list(list)?,
        }
        self.order_by_list(within_group)?;
        if let Some(filter) = filter {
            self.expr(filter)?;
        }
        if recording {
            self.resume_recording();
        }
        match over {
            None => {}
            Some(WindowType::NamedWindow(_)) => {}
            Some(WindowType::WindowSpec(spec)) => self.window_spec(spec)?,
        }
        Ok(())
    }

    fn pause_recording(&mut self) -> bool {
        self.scopes
            .frames
            .last_mut()
            .is_some_and(|frame| std::mem::replace(&mut frame.recording, false))
    }

    fn resume_recording(&mut self) {
        if let Some(frame) = self.scopes.frames.last_mut() {
            frame.recording = true;
        }
    }

    /// A function's folded name and class, if it is on the list; the class is `None` for calls the grammar
    /// defines and for functions the policy allows.
    pub(crate) fn function_name(
        &self,
        name: &ObjectName,
    ) -> Result<(String, Option<FunctionClass>), Refusal> {
        let position = self.position(name.span());
        let folded: Vec<String> = names::parts(name, position)?
            .into_iter()
            .map(|ident| names::fold(ident, position))
            .collect::<Result<_, _>>()?;
        let plain = match folded.as_slice() {
            [function] if GRAMMAR_FUNCTIONS.contains(&function.as_str()) => {
                return Ok((function.clone(), None));
            }
            [function] => function,
            [schema, function] if schema == "pg_catalog" => function,
            [schema, function] if lists::of_information_schema(schema, function) => {
                return Ok((function.clone(), Some(FunctionClass::SetReturning)));
            }
            _qualified => {
                let full = folded.join(".");
                return if self.grants.extra_functions().contains(&full) {
                    Ok((full, None))
                } else {
                    Err(self.function_refused(&full, position))
                };
            }
        };
        if self.template.is_some() && plain == lists::TYPE_OF {
            return Ok((plain.clone(), None));
        }
        match lists::function(plain) {
            Some(class) => Ok((plain.clone(), Some(class))),
            None => Err(self.function_refused(plain, position)),
        }
    }

    fn function_refused(&self, name: &str, position: Option<u32>) -> Refusal {
        let hint = lists::function_hint(name).unwrap_or_else(|| {
            "Use PostgreSQL's built-in aggregates, text, number, date and JSON functions."
                .to_owned()
        });
        let name = names::shown(name);
        Refusal::new(
            Reason::FunctionNotAllowed,
            format!("function {name} is not available here"),
        )
        .hint(hint)
        .at(position)
    }

    fn argument_list(&mut self, list: &mut FunctionArgumentList) -> Result<(), Refusal> {
        let FunctionArgumentList {
            duplicate_treatment: _,
            args,
            clauses,
        } = list;
        self.function_args(args)?;
        for clause in clauses {
            match clause {
                FunctionArgumentClause::OrderBy(exprs) => self.order_by_list(exprs)?,
                FunctionArgumentClause::JsonNullClause(_) => {}
                FunctionArgumentClause::JsonReturningClause(clause) => {
                    let sqlparser::ast::JsonReturningClause { data_type } = clause;
                    self.data_type(data_type)?;
                }
                FunctionArgumentClause::Separator(_) => {
                    return Err(other_dialect("SEPARATOR", "Use string_agg(value, ', ')."));
                }
                FunctionArgumentClause::IgnoreOrRespectNulls(_)
                | FunctionArgumentClause::Where(_)
                | FunctionArgumentClause::Limit(_)
                | FunctionArgumentClause::OnOverflow(_)
                | FunctionArgumentClause::Having(_) => {
                    return Err(other_dialect(
                        "this clause inside a call",
                        "Use FILTER (WHERE ...) or a subquery.",
                    ));
                }
            }
        }
        Ok(())
    }

    /// The arguments of a call.
    pub(crate) fn function_args(&mut self, args: &mut [FunctionArg]) -> Result<(), Refusal> {
        for arg in args {
            let value = match arg {
                FunctionArg::Unnamed(value) => value,
                FunctionArg::Named {
                    name: _,
                    arg,
                    operator,
                }
                | FunctionArg::ExprNamed {
                    name: Expr::Identifier(_),
                    arg,
                    operator,
                } => {
                    named_with(operator)?;
                    arg
                }
                FunctionArg::ExprNamed {
                    name: _,
                    arg: _,
                    operator: _,
                } => {
                    return Err(unsupported(
                        "key: value arguments",
                        "Use json_build_object('key', value, ...).",
                    ));
                }
            };
            match value {
                FunctionArgExpr::Expr(expr) => self.expr(expr)?,
                FunctionArgExpr::QualifiedWildcard(name) => {
                    self.qualified_wildcard(name)?;
                }
                FunctionArgExpr::Wildcard => {}
                FunctionArgExpr::WildcardWithOptions(_) => {
                    return Err(other_dialect(
                        "* with options",
                        "List the columns you want.",
                    ));
                }
            }
        }
        Ok(())
    }

    /// An OVER or WINDOW specification.
    pub(crate) fn window_spec(&mut self, spec: &mut WindowSpec) -> Result<(), Refusal> {
        let WindowSpec {
            window_name: _,
            partition_by,
            order_by,
            window_frame,
        } = spec;
        self.exprs(partition_by)?;
        self.order_by_list(order_by)?;
        if let Some(WindowFrame {
            units: _,
            start_bound,
            end_bound,
        }) = window_frame
        {
            for bound in std::iter::once(start_bound).chain(end_bound) {
                match bound {
                    WindowFrameBound::CurrentRow => {}
                    WindowFrameBound::Preceding(expr) | WindowFrameBound::Following(expr) => {
                        if let Some(expr) = expr {
                            self.expr(expr)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// `name => value` and `name := value` (manual, section 4.3.2); other ways are other dialects'.
fn named_with(operator: &FunctionArgOperator) -> Result<(), Refusal> {
    match operator {
        FunctionArgOperator::RightArrow | FunctionArgOperator::Assignment => Ok(()),
        FunctionArgOperator::Equals
        | FunctionArgOperator::Colon
        | FunctionArgOperator::Value
        | FunctionArgOperator::Space => Err(other_dialect(
            "this way to name an argument",
            "Write name => value.",
        )),
    }
}
