//! Statements that hold a query, or name one that was given before: PREPARE, EXECUTE, DECLARE, FETCH, MOVE.
//!
//! The query inside is cut out of the text at its tokens, and is then judged like any other. That the cut is
//! where PostgreSQL's grammar has it is checked: both trees have to be equal.

use super::transaction::constant;
use super::{StatementKind, kind_of_query, not_supported, refuse, types};
use crate::error::Reason;
use crate::sql::pg::{self, canonical};
use crate::sql::scan::{self, Kind, Token};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    AConst, DeclareCursorStmt, ExecuteStmt, FetchDirection, FetchStmt, Node, PrepareStmt, TypeCast,
    a_const,
};

/// A query inside of another statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inner {
    /// The query alone.
    pub text: String,
    /// Where it starts in the statement, in characters, 0-based; `None` = it does not stand there
    /// (`COPY table` holds none).
    pub offset_chars: Option<u32>,
}

/// How a cursor is to behave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CursorOptions {
    /// `BINARY`.
    pub binary: bool,
    /// `SCROLL` (true) or `NO SCROLL` (false).
    pub scroll: Option<bool>,
}

/// Where FETCH and MOVE go (PostgreSQL manual, FETCH).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// So many rows forward.
    Forward,
    /// So many rows backward.
    Backward,
    /// To the row of that number.
    Absolute,
    /// That many rows from here.
    Relative,
}

/// FETCH or MOVE without the cursor's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// MOVE: no row is returned.
    pub only_move: bool,
    /// Where to.
    pub direction: Direction,
    /// How many, or which; `None` = ALL.
    pub count: Option<i64>,
}

/// An argument of EXECUTE: always a literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its value as text; `None` = NULL.
    pub value: Option<String>,
    /// The type it is cast to (`'2025-01-01'::date`), an OID.
    pub cast: Option<u32>,
}

// Bits of DeclareCursorStmt.options (PostgreSQL, src/include/nodes/parsenodes.h).
const CURSOR_BINARY: i32 = 0x1;
const CURSOR_SCROLL: i32 = 0x2;
const CURSOR_NO_SCROLL: i32 = 0x4;
const CURSOR_INSENSITIVE: i32 = 0x8;
const CURSOR_ASENSITIVE: i32 = 0x10;
const CURSOR_HOLD: i32 = 0x20;
const CURSOR_FAST_PLAN: i32 = 0x100;

pub(super) fn prepare(statement: &PrepareStmt, words: &str) -> StatementKind {
    let PrepareStmt {
        name,
        argtypes,
        query,
    } = statement;
    let found: Option<Vec<u32>> = argtypes
        .iter()
        .map(|node| match node.node.as_ref()? {
            NodeEnum::TypeName(name) => types::oid(name),
            _ => None,
        })
        .collect();
    let Some(types) = found else {
        return refuse(
            Reason::ParameterNotAllowed,
            "a parameter's type is not accepted",
            "Declare a built-in type, or none, and cast in the query.",
        );
    };
    // The name comes first, so AS is not it; types hold no AS.
    let start = keyword(words, 2, "as").map(|token| token.end);
    match inner(query.as_deref(), words, start, words.len()) {
        Ok(query) => StatementKind::Prepare {
            name: name.clone(),
            types,
            query,
        },
        Err(kind) => kind,
    }
}

pub(super) fn declare(statement: &DeclareCursorStmt, words: &str) -> StatementKind {
    let DeclareCursorStmt {
        portalname,
        options,
        query,
    } = statement;
    let has = |bit: i32| options & bit != 0;
    if has(CURSOR_HOLD) {
        return not_supported_as(
            "a cursor WITH HOLD",
            "Leave WITH HOLD out, and fetch before the transaction ends.",
        );
    }
    let known = CURSOR_BINARY
        | CURSOR_SCROLL
        | CURSOR_NO_SCROLL
        | CURSOR_INSENSITIVE
        | CURSOR_ASENSITIVE
        | CURSOR_FAST_PLAN;
    let both = |one: i32, other: i32| has(one) && has(other);
    if options & !known != 0
        || both(CURSOR_SCROLL, CURSOR_NO_SCROLL)
        || both(CURSOR_INSENSITIVE, CURSOR_ASENSITIVE)
    {
        return not_supported(words, "Send DECLARE name CURSOR FOR SELECT ...");
    }
    let scroll = match (has(CURSOR_SCROLL), has(CURSOR_NO_SCROLL)) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    };
    // FOR is reserved: the first one is the statement's own.
    let start = keyword(words, 2, "for").map(|token| token.end);
    match inner(query.as_deref(), words, start, words.len()) {
        Ok(query) => StatementKind::Declare {
            name: portalname.clone(),
            options: CursorOptions {
                binary: has(CURSOR_BINARY),
                scroll,
            },
            query,
        },
        Err(kind) => kind,
    }
}

pub(super) fn fetch(statement: &FetchStmt, words: &str) -> StatementKind {
    let FetchStmt {
        direction,
        how_many,
        portalname,
        ismove,
    } = statement;
    let direction = match FetchDirection::try_from(*direction).unwrap_or(FetchDirection::Undefined)
    {
        FetchDirection::FetchForward => Direction::Forward,
        FetchDirection::FetchBackward => Direction::Backward,
        FetchDirection::FetchAbsolute => Direction::Absolute,
        FetchDirection::FetchRelative => Direction::Relative,
        FetchDirection::Undefined => return not_supported(words, "Send FETCH n FROM name."),
    };
    StatementKind::Fetch {
        cursor: portalname.clone(),
        fetch: Fetch {
            only_move: *ismove,
            direction,
            // FETCH_ALL is the largest long.
            count: Some(*how_many).filter(|count| *count != i64::MAX),
        },
    }
}

pub(super) fn execute(statement: &ExecuteStmt) -> StatementKind {
    let ExecuteStmt { name, params } = statement;
    let arguments: Option<Vec<Argument>> = params.iter().map(argument).collect();
    match arguments {
        Some(arguments) => StatementKind::Execute {
            name: name.clone(),
            arguments,
        },
        None => not_supported_as(
            "an argument of EXECUTE that is not a literal",
            "Give each argument as a plain string or number, or as a string cast to the declared type.",
        ),
    }
}

fn argument(node: &Node) -> Option<Argument> {
    match node.node.as_ref()? {
        NodeEnum::AConst(value) => Some(Argument {
            value: literal(node, value)?,
            cast: None,
        }),
        NodeEnum::TypeCast(cast) => {
            let TypeCast {
                arg,
                type_name,
                location: _,
            } = cast.as_ref();
            let (arg, type_name) = (arg.as_deref()?, type_name.as_ref()?);
            let NodeEnum::AConst(value) = arg.node.as_ref()? else {
                return None;
            };
            // A number would be converted, and rounded, before it is cast; a string is read by the type itself. A length
            // would cut it.
            let read_by_the_type =
                value.isnull || matches!(value.val.as_ref(), Some(a_const::Val::Sval(_)));
            let plain = type_name.typmods.is_empty() && type_name.typemod == -1;
            (read_by_the_type && plain).then_some(())?;
            Some(Argument {
                value: literal(arg, value)?,
                cast: Some(types::oid(type_name)?),
            })
        }
        _ => None,
    }
}

/// A constant as PostgreSQL prints it, so that a parameter of any type reads the same value; `None` if it is
/// written another way.
fn literal(node: &Node, value: &AConst) -> Option<Option<String>> {
    if value.isnull {
        return Some(None);
    }
    let text = constant(node)?;
    let printed = match value.val.as_ref()? {
        a_const::Val::Ival(_) | a_const::Val::Boolval(_) | a_const::Val::Sval(_) => true,
        a_const::Val::Fval(_) => plain_decimal(&text),
        a_const::Val::Bsval(_) => false,
    };
    printed.then_some(Some(text))
}

/// Whether a number is written as `numeric` prints it: digits, and maybe a point with digits behind.
fn plain_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(digits)
}

fn not_supported_as(what: &str, hint: &str) -> StatementKind {
    refuse(
        Reason::FeatureNotSupported,
        &format!("{what} is not supported"),
        hint,
    )
}

/// The query between two bytes of the statement, if it is the one the grammar has; else what to answer.
pub(super) fn inner(
    query: Option<&Node>,
    words: &str,
    start: Option<usize>,
    end: usize,
) -> Result<Inner, StatementKind> {
    let unclear = || {
        refuse(
            Reason::ParsersDisagree,
            "the statement can be read in two ways",
            "Write it more plainly: ordinary quotes, no rare syntax.",
        )
    };
    let (Some(start), Some(query)) = (start, query.and_then(|node| node.node.as_ref())) else {
        return Err(unclear());
    };
    let part = words.get(start..end).unwrap_or_default();
    // A comment in front belongs to the statement: a token there would name whom it runs for.
    let skipped = scan::tokens(part)
        .find(|token| !matches!(token.kind, Kind::Space | Kind::Comment))
        .map_or(part.len(), |token| token.start);
    let start = start + skipped;
    let text = words.get(start..end).unwrap_or_default();
    let text = text.trim_end_matches(scan::is_white);
    let NodeEnum::SelectStmt(select) = query else {
        return Err(kind_of_query(query, text));
    };
    let again = pg::statements(text).map_err(|_| unclear())?;
    let same = match again.as_slice() {
        [only] => pg::select(only).is_some_and(|again| {
            let tree = canonical::bytes(again);
            tree.is_some() && tree == canonical::bytes(select.as_ref())
        }),
        _ => false,
    };
    if !same {
        return Err(unclear());
    }
    let before = words.get(..start).unwrap_or_default().chars().count();
    Ok(Inner {
        text: text.to_owned(),
        offset_chars: u32::try_from(before).ok(),
    })
}

/// The first plain word like this outside parentheses, behind so many tokens.
fn keyword(words: &str, behind: usize, word: &str) -> Option<Token> {
    let mut depth = 0_usize;
    let mut tokens =
        scan::tokens(words).filter(|token| !matches!(token.kind, Kind::Space | Kind::Comment));
    tokens.by_ref().take(behind).for_each(drop);
    tokens.find(|token| {
        let piece = words.get(token.start..token.end).unwrap_or_default();
        match piece {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.kind == Kind::Word && piece.eq_ignore_ascii_case(word)
    })
}

#[cfg(test)]
mod tests;
