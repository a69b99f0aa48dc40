//! Casts to `regclass` and its like: values that are numbers, print as names, and are read by looking names up among
//! everything that exists. A lookup among what is shown takes their place (`src/catalog/functions.toml`).
//!
//! What a client does with such a value is to print it or to compare it with a number, and which of the two decides what
//! stands for it: a text, or, where it is compared, cast to a number, or handed to a function about the catalogue, an oid.
//! The columns that PostgreSQL has of type `regproc` are texts in the shadows, so a `regproc` is compared as one.
//!
//! # Security
//! A name that is written out is looked for among the granted ones here, so that a hidden one and one that does not exist
//! get the same words, and neither reaches the database as anything but a string.

use super::super::{lists, names};
use super::{Rewriter, numbers};
use crate::catalog;
use crate::error::{Reason, Refusal};
use sqlparser::ast::{
    ArrayElemTypeDef, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments,
    Value, ValueWithSpan,
};

/// Spellings of built-in types that are not types to cast to by themselves, for `'...'::regtype`.
const OTHER_TYPES: &str = "\"char\" aclitem any anyarray anyelement bit bit varying box cardinal_number char character character \
    varying cid cstring dec decimal double precision event_trigger float fdw_handler gtsvector int int2vector integer internal \
    language_handler bigint smallint real boolean national character oidvector opaque pg_lsn pg_node_tree record refcursor regclass \
    regcollation regconfig regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype tid time with time \
    zone time without time zone timestamp with time zone timestamp without time zone trigger tsm_handler txid_snapshot \
    unknown void xid xid8 xml";

impl Rewriter<'_> {
    /// What stands for a cast to such a type, or for a cast of one to a number.
    pub(super) fn looked_up(&mut self, expr: &mut Expr) -> Result<Option<Expr>, Refusal> {
        if let Some((type_, value)) = array_of(expr) {
            return self.array_looked_up(type_, value.clone());
        }
        if let Some((type_, value)) = value_of(expr) {
            self.known(type_, value)?;
            let value = value.clone();
            return self.number_or_text(&catalog::lookup_shown(type_), value);
        }
        let Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon,
            expr: inner,
            data_type,
            format: None,
        } = expr
        else {
            return Ok(None);
        };
        if !is_number(data_type) {
            return Ok(None);
        }
        let number = match value_of(bare(inner)) {
            Some((type_, value)) => {
                self.known(type_, value)?;
                self.number_or_text(&catalog::lookup_number(type_), value.clone())?
            }
            None => match lookup_call(bare(inner)) {
                Some((type_, value)) => {
                    self.number_or_text(&catalog::lookup_number(type_), value)?
                }
                None => return Ok(None),
            },
        };
        self.cast_type(data_type)?;
        if let Some(number) = number {
            **inner = number;
        }
        Ok(Some(expr.clone()))
    }

    /// An array of such values: of an array's elements each by itself, else of an array of numbers, such as `proargtypes`.
    fn array_looked_up(&mut self, type_: &str, value: Expr) -> Result<Option<Expr>, Refusal> {
        match value {
            Expr::Array(mut array) if !array.elem.is_empty() => {
                for element in &mut array.elem {
                    self.known(type_, element)?;
                    let text = catalog::lookup_shown(type_);
                    if let Some(text) = self.number_or_text(&text, element.clone())? {
                        *element = text;
                    }
                }
                Ok(Some(Expr::Array(array)))
            }
            // The names in a text would be read one by one: write them as an array.
            text if constant(&text).is_some() => Ok(None),
            numbers => self.template_of(&catalog::lookup_all_shown(type_), vec![numbers]),
        }
    }

    fn number_or_text(&mut self, text: &str, mut value: Expr) -> Result<Option<Expr>, Refusal> {
        numbers::number(&mut value);
        self.template_of(text, vec![value])
    }

    /// A name that is written out must be one of something that is shown.
    fn known(&self, type_: &str, value: &Expr) -> Result<(), Refusal> {
        let Some((text, span)) = constant(value) else {
            return Ok(());
        };
        if text == "-" || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(());
        }
        let parts = dotted(text).unwrap_or_default();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let tables = self.grants.tables();
        let (known, kind) = match type_ {
            "regclass" => {
                let known = match parts.as_slice() {
                    [name] => {
                        self.grants.table(None, name).is_some() || catalog::is_catalogue(name)
                    }
                    ["pg_catalog", name] => catalog::is_catalogue(name),
                    [schema, name] => self.grants.table(Some(schema), name).is_some(),
                    _other => false,
                };
                return if known {
                    Ok(())
                } else {
                    Err(self.relation_unknown(text, span))
                };
            }
            "regtype" => (self.type_is_known(text, &parts), "type"),
            "regnamespace" => {
                let known = |name: &&str| {
                    ["pg_catalog", "information_schema"].contains(name)
                        || tables.iter().any(|table| table.relation.schema == *name)
                };
                (matches!(parts.as_slice(), [name] if known(name)), "schema")
            }
            "regproc" => {
                let known = match parts.as_slice() {
                    ["pg_catalog", _name] => true,
                    // Or what reads and writes values of a type, which clients tell types by.
                    [name] => {
                        lists::function(name).is_some()
                            || ["in", "out", "recv", "send"]
                                .iter()
                                .any(|end| name.ends_with(end))
                    }
                    _other => false,
                };
                (known, "function")
            }
            _roles => (false, "role"),
        };
        if known {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::ObjectUnknown,
            format!("{kind} \"{}\" does not exist", names::shown(text)),
        )
        .hint("Name one that the catalogue shows you.")
        .at(self.position(span)))
    }

    /// Whether a type may be one that `pg_type` shows: a built-in one, one that a visible column has, or a row of a
    /// granted table.
    fn type_is_known(&self, text: &str, parts: &[&str]) -> bool {
        let plain = text.trim().to_ascii_lowercase();
        let plain = plain.trim_end_matches("[]");
        let builtin = |name: &str| {
            let name = name.trim_end_matches("[]");
            lists::cast_type(name) || lists::cast_type(name.trim_start_matches('_'))
        };
        let (schema, name) = match parts {
            [name] => (None, *name),
            ["pg_catalog", name] => return builtin(name) || is_other(name),
            [schema, name] => (Some(*schema), *name),
            _other => (None, plain),
        };
        let element = name.trim_end_matches("[]");
        let tables = self.grants.tables();
        let of_a_column = tables
            .iter()
            .flat_map(|table| &table.columns)
            .any(|column| {
                let display = column.type_.display.trim_end_matches("[]");
                let last = display.rsplit('.').next().unwrap_or(display);
                display == text.trim_end_matches("[]")
                    || (display == element || last == element || column.type_.name == name)
                        && schema.is_none_or(|schema| display == format!("{schema}.{element}"))
            });
        let row = self.grants.table(schema, element.trim_start_matches('_'));
        schema.is_none() && builtin(name) || is_other(plain) || of_a_column || row.is_some()
    }
}

/// Whether a spelling is among [`OTHER_TYPES`], in which a name may have blanks: as whole words, one after the other.
fn is_other(name: &str) -> bool {
    !name.is_empty() && format!(" {OTHER_TYPES} ").contains(&format!(" {name} "))
}

/// The type and the value of a cast to a type of such values.
pub(super) fn value_of(expr: &Expr) -> Option<(&'static str, &Expr)> {
    match expr {
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon,
            expr,
            data_type,
            format: None,
        } => Some((type_of(data_type)?, expr.as_ref())),
        _other => None,
    }
}

/// The type of the elements and the value of a cast to an array of such a type.
pub(super) fn array_of(expr: &Expr) -> Option<(&'static str, &Expr)> {
    let Expr::Cast {
        kind: CastKind::Cast | CastKind::DoubleColon,
        expr,
        data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(element, None)),
        format: None,
    } = expr
    else {
        return None;
    };
    Some((type_of(element)?, bare(expr)))
}

/// The type and the argument of `to_regclass` and its like.
pub(super) fn lookup_call(expr: &Expr) -> Option<(&'static str, Expr)> {
    let Expr::Function(function) = expr else {
        return None;
    };
    let parts = names::parts(&function.name, None).ok()?;
    let name = match parts.as_slice() {
        [name] => names::fold(name, None).ok()?,
        [schema, name] if names::fold(schema, None).ok()? == "pg_catalog" => {
            names::fold(name, None).ok()?
        }
        _other => return None,
    };
    let type_ = catalog::lookup_function(&name)?;
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] => Some((type_, value.clone())),
        _other => None,
    }
}

/// The name of such a type, if this is one.
pub(super) fn type_of(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::Regclass => catalog::lookup_type("regclass"),
        DataType::Custom(name, modifiers) if modifiers.is_empty() => {
            let parts = names::parts(name, None).ok()?;
            let folded: Option<Vec<String>> = parts
                .into_iter()
                .map(|part| names::fold(part, None).ok())
                .collect();
            match folded?.as_slice() {
                [name] => catalog::lookup_type(name),
                [schema, name] if schema == "pg_catalog" => catalog::lookup_type(name),
                _other => None,
            }
        }
        _other => None,
    }
}

fn is_number(data_type: &DataType) -> bool {
    match data_type {
        DataType::Int(_)
        | DataType::Int4(_)
        | DataType::Int8(_)
        | DataType::Integer(_)
        | DataType::BigInt(_) => true,
        DataType::Custom(name, _) => {
            let shown = name.to_string().to_ascii_lowercase();
            matches!(
                shown.trim_start_matches("pg_catalog."),
                "oid" | "int4" | "int8"
            )
        }
        _other => false,
    }
}

/// An expression without the parentheses around it.
pub(super) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        other => other,
    }
}

/// The text of a string constant, and where it stands.
pub(super) fn constant(expr: &Expr) -> Option<(&str, sqlparser::tokenizer::Span)> {
    match bare(expr) {
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text),
            span,
        }) => Some((text, *span)),
        Expr::Value(ValueWithSpan {
            value: Value::DollarQuotedString(text),
            span,
        }) => Some((&text.value, *span)),
        _other => None,
    }
}

/// The parts of a dotted name in a string, folded (manual, section 8.19); `None` where it is none.
fn dotted(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, behind) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (name, behind) = quoted.split_once('"')?;
                // A doubled quote inside a name: no granted name is found that way, and none is looked for.
                (name.to_owned(), behind)
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                let (name, behind) = rest.split_at_checked(end)?;
                (name.trim().to_ascii_lowercase(), behind)
            }
        };
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        rest = match behind {
            "" => return Some(parts),
            more => more.strip_prefix('.')?,
        };
    }
}
