//! The walk over a body's whole tree: what must be refused, what it reads, what it asks of the principal.

use super::lexemes::lines_before;
use super::tree::{int, is_null, list, strings};
use super::{PrincipalFunction, objects};
use crate::policy::RelationName;
use crate::policy::header::Errors;
use crate::policy::near::near;
use crate::tuples::Pair;
use serde_json::Value;

/// The walk over the whole tree that finds what must be refused and what must be respelt.
pub(super) struct Walk<'a, 'e, 'f> {
    pub(super) text: &'a str,
    pub(super) line: usize,
    pub(super) errors: &'e mut Errors<'f>,
    pub(super) calls: Vec<(usize, PrincipalFunction, Option<Pair>)>,
    pub(super) relations: Vec<RelationName>,
    pub(super) columns: Vec<usize>,
}

impl Walk<'_, '_, '_> {
    fn error(&mut self, node: &Value, message: impl Into<String>, hint: impl Into<String>) {
        let at = int(node, "location").unwrap_or(0);
        let line = self.line + lines_before(self.text, at);
        self.errors.add(line, message, hint);
    }

    pub(super) fn one_select<'t>(&mut self, tree: &'t Value) -> Option<&'t Value> {
        let statements = list(tree, "stmts");
        let select = match statements {
            [one] => one.pointer("/stmt/node/SelectStmt"),
            _ => None,
        };
        if select.is_none() {
            let message = match statements.len() {
                1 => "the body is not a SELECT".to_owned(),
                n => format!("the body is {n} statements, not one SELECT"),
            };
            let hint = "A permission view is exactly one SELECT: the rows and columns its readers may see.";
            self.errors.add(self.line, message, hint);
        }
        select
    }

    /// `scope` holds the names of the CTEs that can be meant here.
    pub(super) fn visit(&mut self, value: &Value, scope: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.visit(item, scope)),
            Value::Object(fields) => {
                let outer = scope.len();
                if let Some(with) = fields.get("with_clause").filter(|with| !with.is_null()) {
                    self.with(with, scope);
                }
                for (key, field) in fields {
                    if key != "with_clause" {
                        self.look_at(key, field, scope);
                        self.visit(field, scope);
                    }
                }
                scope.truncate(outer);
            }
            _ => {}
        }
    }

    /// A CTE is known to those after it, and under RECURSIVE to all of its WITH.
    fn with(&mut self, with: &Value, scope: &mut Vec<String>) {
        let ctes = list(with, "ctes");
        let name = |cte: &Value| {
            cte.pointer("/node/CommonTableExpr/ctename")
                .and_then(Value::as_str)
                .unwrap_or("")
                .to_owned()
        };
        let recursive = with.get("recursive").and_then(Value::as_bool) == Some(true);
        if recursive {
            scope.extend(ctes.iter().map(name));
        }
        for cte in ctes {
            self.visit(cte, scope);
            if !recursive {
                scope.push(name(cte));
            }
        }
    }

    fn look_at(&mut self, key: &str, node: &Value, scope: &[String]) {
        match key {
            "ColumnRef" => self.columns.extend(int(node, "location")),
            "FuncCall" => self.function(node),
            "RangeFunction" => self.range_function(node),
            "RangeVar" => self.relation(node, scope),
            "ParamRef" => self.error(
                node,
                "the body has a parameter",
                "Ask for the principal by rowgate.user_id(), rowgate.roles() and the like.",
            ),
            "LockingClause" => self.error(
                node,
                "the body locks rows",
                "Leave FOR UPDATE and FOR SHARE out.",
            ),
            "into_clause" if !node.is_null() => {
                self.error(node, "the body writes a table", "Leave INTO out.");
            }
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.error(
                node,
                "the body writes",
                "A permission view only reads; leave INSERT, UPDATE, DELETE and MERGE out.",
            ),
            _ => {}
        }
    }

    fn relation(&mut self, node: &Value, scope: &[String]) {
        let text = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or("");
        let (catalog, schema, name) = (text("catalogname"), text("schemaname"), text("relname"));
        if !catalog.is_empty() {
            let hint = format!("Write {schema}.{name}.");
            self.error(node, format!("\"{name}\" names a database"), hint);
        } else if schema.is_empty() {
            if !scope.iter().any(|cte| cte == name) {
                self.error(
                    node,
                    format!("relation \"{name}\" has no schema"),
                    format!("Write public.{name}, or the schema it is in."),
                );
            }
        } else if ["rowgate", "rowgate_open", "rowgate_all"].contains(&schema) {
            self.error(
                node,
                format!("the body reads \"{schema}.{name}\", which Rowgate installs"),
                "Read the table itself.",
            );
        } else {
            let relation = RelationName::new(schema, name);
            if !self.relations.contains(&relation) {
                self.relations.push(relation);
            }
        }
    }

    fn function(&mut self, node: &Value) {
        let name = match strings(list(node, "funcname")).as_deref() {
            Some(["rowgate", name]) => (*name).to_owned(),
            _ => return,
        };
        let names = PrincipalFunction::ALL.map(|(name, _)| name);
        let Some((_, function)) = PrincipalFunction::ALL.into_iter().find(|(n, _)| *n == name)
        else {
            let hint = match near(&name, names) {
                Some(known) => format!("Did you mean rowgate.{known}()?"),
                None => format!("There are {}.", names.join(", ")),
            };
            let message = format!("there is no function rowgate.{name}()");
            return self.error(node, message, hint);
        };
        let arguments = list(node, "args");
        let named = arguments
            .iter()
            .any(|argument| argument.pointer("/node/NamedArgExpr").is_some());
        let flag = |key: &str| node.get(key).and_then(Value::as_bool) == Some(true);
        let decorated = named
            || !is_null(node, "agg_filter")
            || !is_null(node, "over")
            || !list(node, "agg_order").is_empty()
            || [
                "agg_star",
                "agg_distinct",
                "func_variadic",
                "agg_within_group",
            ]
            .into_iter()
            .any(flag);
        let pair = match function {
            PrincipalFunction::Objects => objects::constants(arguments),
            _other => None,
        };
        let fits = match function {
            PrincipalFunction::Objects => pair.is_some(),
            other => arguments.len() == usize::from(other.takes_argument()),
        };
        if decorated || !fits {
            let form = match function {
                PrincipalFunction::Objects => "'relation', 'type'",
                other if other.takes_argument() => "'name'",
                _without => "",
            };
            let hint = format!("Write rowgate.{name}({form}).");
            return self.error(
                node,
                format!("rowgate.{name}() is called the wrong way"),
                hint,
            );
        }
        if let Some(at) = int(node, "location") {
            self.calls.push((at, function, pair));
        }
    }

    fn range_function(&mut self, node: &Value) {
        for function in list(node, "functions") {
            let call = function.pointer("/node/List/items/0/node/FuncCall");
            let name = call.map(|call| list(call, "funcname")).and_then(strings);
            if let (Some(call), Some(["rowgate", name])) = (call, name.as_deref()) {
                let message = format!("rowgate.{name}() stands in FROM");
                let hint = format!("Write unnest(rowgate.{name}()) or (SELECT rowgate.{name}()).");
                self.error(call, message, hint);
            }
        }
    }
}
