//! Every case against `split` and `admit`, without a server.

use crate::case::{Case, Expect, all};
use crate::grants;
use rowgate::error::Refusal;
use rowgate::limits::Limits;
use rowgate::policy::Grants;
use rowgate::sql::statement::{StatementKind, split};
use rowgate::sql::{Options, admit};

/// What the gate would do with a text before any byte goes upstream.
enum Verdict {
    /// Every statement is admitted; the final texts.
    Admitted(Vec<String>),
    /// The first refusal.
    Refused(Refusal),
    /// A setting or a transaction: the session answers it, see [`crate::gate`].
    Session,
}

fn judge(text: &str, grants: &Grants, open_allowed: bool) -> Verdict {
    let options = Options {
        limits: Limits::default(),
        open_allowed,
        parameter_types: Vec::new(),
    };
    let statements = match split(text, &options.limits) {
        Ok(statements) => statements,
        Err(refusal) => return Verdict::Refused(refusal),
    };
    let mut finals = Vec::new();
    let mut session = false;
    for statement in statements {
        match (statement.query(), &statement.kind) {
            (Some(query), _) => match admit(query, grants, &options) {
                Ok(query) => finals.push(query.text().to_string()),
                Err(refusal) => return Verdict::Refused(refusal),
            },
            (None, StatementKind::Refused(refusal)) => return Verdict::Refused(refusal.clone()),
            (None, _) => session = true,
        }
    }
    if session {
        Verdict::Session
    } else {
        Verdict::Admitted(finals)
    }
}

fn breach(case: &Case, grants: &Grants, open: bool) -> Option<String> {
    match (judge(&case.sql, grants, open), case.expect) {
        (Verdict::Admitted(finals), Expect::Refused) => Some(format!("was admitted: {finals:?}")),
        (Verdict::Refused(refusal), Expect::Refused)
            if !case.sqlstate.is_empty()
                && !case.sqlstate.iter().any(|s| s == refusal.reason.sqlstate()) =>
        {
            Some(format!(
                "refused with {} {} ({}), not one of {:?}",
                refusal.reason.sqlstate(),
                refusal.reason.slug(),
                refusal.message,
                case.sqlstate
            ))
        }
        (Verdict::Refused(refusal), Expect::Harmless) if case.answer.is_some() => {
            Some(format!("was refused: {refusal}"))
        }
        _ => None,
    }
}

#[test]
fn every_case_is_refused_or_harmless_before_the_database() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in all() {
        for (mode, grants, open) in [
            ("sealed", grants::barrier(), false),
            ("open allowed", grants::barrier(), true),
            ("inline", grants::inline(), false),
        ] {
            count += 1;
            if let Some(breach) = breach(&case, &grants, open) {
                wrong.push(format!(
                    "{} [{mode}] {breach}\n    {:.200}",
                    case.id, case.sql
                ));
                break;
            }
        }
    }
    println!("{count} runs");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
