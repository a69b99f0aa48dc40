//! Every case against `split` and `admit`, without a server.

use crate::case::{Case, Expect, all};
use crate::grants;
use rowgate::error::Refusal;
use rowgate::limits::Limits;
use rowgate::policy::Grants;
use rowgate::sql::statement::{StatementKind, split};
use rowgate::sql::{Options, admit};

/// What the gate would do with a text before any byte goes upstream: the first refusal, if any.
pub fn judge(text: &str, grants: &Grants, open_allowed: bool) -> Result<Vec<String>, Refusal> {
    let options = Options {
        limits: Limits::default(),
        open_allowed,
    };
    let mut finals = Vec::new();
    let statements = split(text, &options.limits)?;
    for statement in statements {
        match statement.kind {
            StatementKind::Query => {
                finals.push(admit(&statement.text, grants, &options)?.text().to_string());
            }
            StatementKind::Refused(refusal) => return Err(refusal),
            // What the session answers itself is its own tests' and the running gate's matter.
            _ => {}
        }
    }
    Ok(finals)
}

fn breach(case: &Case, grants: &Grants, open: bool) -> Option<String> {
    let outcome = judge(&case.sql, grants, open);
    // The session decides about settings and transactions.
    if case.class == "set_and_transactions" && outcome.as_ref().is_ok_and(Vec::is_empty) {
        return None;
    }
    match (outcome, case.expect) {
        (Ok(finals), Expect::Refused) => Some(format!("was admitted: {finals:?}")),
        (Err(refusal), Expect::Refused)
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
        (Err(refusal), Expect::Harmless) if case.answer.is_some() => {
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
