//! Transaction statements and SET.

use super::{Isolation, SetValue, StatementKind, not_a_read, not_supported};
use pg_query::NodeEnum;
use pg_query::protobuf::{
    Node, TransactionStmt, TransactionStmtKind, VariableSetKind, VariableSetStmt, a_const,
};

/// The modes of a transaction.
#[derive(Default)]
struct Modes {
    isolation: Option<Isolation>,
    read_only: Option<bool>,
    deferrable: Option<bool>,
}

/// The modes from the grammar's list; `None` if it holds something else.
fn modes(options: &[Node]) -> Option<Modes> {
    let mut modes = Modes::default();
    for node in options {
        let NodeEnum::DefElem(option) = node.node.as_ref()? else {
            return None;
        };
        let value = constant(option.arg.as_deref()?)?;
        match option.defname.as_str() {
            "transaction_isolation" => {
                modes.isolation = Some(match value.as_str() {
                    "read committed" => Isolation::ReadCommitted,
                    "read uncommitted" => Isolation::ReadUncommitted,
                    "repeatable read" => Isolation::RepeatableRead,
                    "serializable" => Isolation::Serializable,
                    _ => return None,
                });
            }
            "transaction_read_only" => modes.read_only = Some(value != "0"),
            "transaction_deferrable" => modes.deferrable = Some(value != "0"),
            _ => return None,
        }
    }
    Some(modes)
}

pub(super) fn transaction(statement: &TransactionStmt, words: &str) -> StatementKind {
    use TransactionStmtKind as Kind;
    let TransactionStmt {
        kind,
        options,
        savepoint_name,
        gid: _,
        chain,
        location: _,
    } = statement;
    let (name, chain) = (savepoint_name.clone(), *chain);
    match Kind::try_from(*kind).unwrap_or(Kind::Undefined) {
        Kind::TransStmtBegin | Kind::TransStmtStart => match modes(options) {
            Some(Modes {
                isolation,
                read_only,
                deferrable,
            }) => StatementKind::Begin {
                isolation,
                read_only,
                deferrable,
            },
            None => not_supported(words, "Send BEGIN with isolation level and READ ONLY only."),
        },
        Kind::TransStmtCommit => StatementKind::Commit { chain },
        Kind::TransStmtRollback => StatementKind::Rollback { chain },
        Kind::TransStmtSavepoint => StatementKind::Savepoint(name),
        Kind::TransStmtRelease => StatementKind::Release(name),
        Kind::TransStmtRollbackTo => StatementKind::RollbackTo(name),
        Kind::TransStmtPrepare
        | Kind::TransStmtCommitPrepared
        | Kind::TransStmtRollbackPrepared
        | Kind::Undefined => not_a_read(words),
    }
}

pub(super) fn set(statement: &VariableSetStmt, words: &str) -> StatementKind {
    use VariableSetKind as Kind;
    let VariableSetStmt {
        kind,
        name,
        args,
        jumble_args: _,
        is_local,
        location: _,
    } = statement;
    let (setting, local) = (name.to_lowercase(), *is_local);
    match Kind::try_from(*kind).unwrap_or(Kind::Undefined) {
        Kind::VarSetValue => match args.iter().map(constant).collect::<Option<Vec<_>>>() {
            Some(values) => StatementKind::Set {
                name: setting,
                value: SetValue::Values(values),
                local,
            },
            None => not_supported(words, "Give the value as a plain string or number."),
        },
        Kind::VarSetDefault => StatementKind::Set {
            name: setting,
            value: SetValue::Default,
            local,
        },
        Kind::VarReset => StatementKind::Reset(setting),
        Kind::VarResetAll => StatementKind::ResetAll,
        Kind::VarSetMulti => match (name.as_str(), modes(args)) {
            (
                "TRANSACTION",
                Some(Modes {
                    isolation,
                    read_only,
                    deferrable,
                }),
            ) => StatementKind::SetTransaction {
                isolation,
                read_only,
                deferrable,
            },
            (
                "SESSION CHARACTERISTICS",
                Some(Modes {
                    isolation,
                    read_only,
                    deferrable,
                }),
            ) => StatementKind::SetSessionCharacteristics {
                isolation,
                read_only,
                deferrable,
            },
            _ => not_supported(words, "Set the isolation level or READ ONLY only."),
        },
        Kind::VarSetCurrent | Kind::Undefined => {
            not_supported(words, "Give the value as a plain string or number.")
        }
    }
}

/// A constant as text.
pub(super) fn constant(node: &Node) -> Option<String> {
    let NodeEnum::AConst(constant) = node.node.as_ref()? else {
        return None;
    };
    Some(match constant.val.as_ref()? {
        a_const::Val::Ival(value) => value.ival.to_string(),
        a_const::Val::Fval(value) => value.fval.clone(),
        a_const::Val::Boolval(value) => value.boolval.to_string(),
        a_const::Val::Sval(value) => value.sval.clone(),
        a_const::Val::Bsval(value) => value.bsval.clone(),
    })
}
