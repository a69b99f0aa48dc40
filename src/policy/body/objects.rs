//! `rowgate.objects('relation', 'type')`: how it is read in a body, and spelt in the views.

use super::lexemes::Lexeme;
use super::{Body, Spelling, append, empty, push, render::hole};
use crate::policy::compose::literal;
use crate::policy::objects::{TOO_MANY, rows_to, walk};
use crate::policy::{InlineBody, PrincipalField};
use crate::tuples::{Pair, TupleTable, Tuples};
use pg_query::protobuf::Token;
use serde_json::Value;
use std::sync::Arc;

/// One call: both arguments are constants, so that what a view asks for is known before anybody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Objects {
    pub(super) pair: Pair,
    /// `::uuid[]` behind the call.
    pub(super) element: Option<String>,
}

/// The two string constants of a call: relation, type.
pub(super) fn constants(arguments: &[Value]) -> Option<Pair> {
    let text = |argument: &Value| {
        let value = argument.pointer("/node/AConst/val/Sval/sval")?.as_str()?;
        Some(value.to_owned())
    };
    match arguments {
        [relation, namespace] => Some(Pair::new(text(namespace)?, text(relation)?)),
        _other => None,
    }
}

/// `:: name []` behind the token at `close`: the name, and where it ends. With the call it is evaluated once;
/// a cast around a sub-select would be evaluated for each row.
pub(super) fn cast_behind(text: &str, tokens: &[Lexeme], close: usize) -> Option<(String, usize)> {
    let token = |offset: usize| tokens.get(close + offset);
    let is = |offset: usize, kind: Token| token(offset).is_some_and(|t| t.token == kind as i32);
    if !(is(1, Token::Typecast) && is(3, Token::Ascii91) && is(4, Token::Ascii93)) {
        return None;
    }
    let element = text.get(token(2)?.range.clone())?;
    Some((element.to_owned(), token(4)?.range.end))
}

impl Objects {
    pub(super) fn render(&self, tuples: Option<&Tuples>, spelling: Spelling, out: &mut InlineBody) {
        let (open, close) = match &self.element {
            Some(element) => ("(SELECT CAST(", format!(" AS {element}[]))::{element}[]")),
            None => ("(SELECT ", ")::text[]".to_owned()),
        };
        push(out, open);
        match spelling {
            Spelling::Installed => {
                let (relation, namespace) =
                    (literal(&self.pair.relation), literal(&self.pair.namespace));
                push(out, &format!("rowgate.objects({relation}, {namespace})"));
            }
            Spelling::Inline => self.inline(tuples, out),
        }
        push(out, &close);
    }

    /// What a provider found, and what the walk finds.
    fn inline(&self, tuples: Option<&Tuples>, out: &mut InlineBody) {
        push(out, "COALESCE(CAST(");
        hole(out, PrincipalField::Objects);
        let (relation, namespace) = (literal(&self.pair.relation), literal(&self.pair.namespace));
        push(
            out,
            &format!(" -> {namespace} ->> {relation} AS text[]), CAST('{{}}' AS text[]))"),
        );
        let Some((tuples, table)) = tuples.and_then(|t| Some((t, t.table.as_ref()?))) else {
            return;
        };
        let rows = rows_to(tuples, &self.pair);
        if !rows.is_empty() {
            push(out, " || (");
            append(out, &self.walked(tuples, table, &rows));
            push(out, ")");
        }
    }

    fn walked(&self, tuples: &Tuples, table: &TupleTable, rows: &[String]) -> InlineBody {
        let mut out = empty();
        let [before, after] = walk(tuples, table, &format!("VALUES {}", rows.join(", ")));
        push(&mut out, &before);
        push(&mut out, "NULLIF(");
        hole(&mut out, PrincipalField::UserId);
        push(&mut out, ", '')");
        let (relation, namespace) = (literal(&self.pair.relation), literal(&self.pair.namespace));
        let (max, says) = (tuples.objects_max, literal(&format!("{TOO_MANY}: ")));
        push(
            &mut out,
            &format!(
                "{after}
SELECT CASE WHEN count(*) > {max} THEN ARRAY[CAST(CAST({says} || count(*) AS integer) AS text)]
  ELSE coalesce(array_agg(object) FILTER (WHERE namespace = {namespace} AND relation = {relation}), CAST('{{}}' AS text[])) END
FROM rowgate_bounded"
            ),
        );
        out
    }
}

impl Body {
    /// What its calls of `rowgate.objects` ask for.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = &Pair> {
        let objects = self.calls.iter().filter_map(|call| call.objects.as_ref());
        objects.map(|objects| &objects.pair)
    }

    /// Says what they walk over.
    pub(crate) fn with_tuples(&mut self, tuples: &Arc<Tuples>) {
        self.tuples = Some(Arc::clone(tuples));
    }

    /// What they walk over, if there are any and it was said.
    pub(crate) fn tuples(&self) -> Option<&Arc<Tuples>> {
        self.pairs().next().and(self.tuples.as_ref())
    }
}
