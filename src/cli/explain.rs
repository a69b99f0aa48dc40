//! `rowgate explain`: what would happen to a query, and why.

use super::policy::{About, about};
use super::{Exit, Outcome, args, print};
use crate::config::Condition;
use crate::error::Refusal;
use crate::gateway::lacking;
use crate::identity::Principal;
use crate::policy::{Grants, Policy};
use crate::sql::statement::{Statement, StatementKind, split};
use crate::sql::{self, Form, Options, VerifiedQuery};
use std::fmt::Write as _;

pub(super) async fn run(arguments: args::Explain) -> Outcome {
    let About {
        config,
        principal,
        policy,
    } = about(&arguments.config, &arguments.user).await?;
    let mut text = String::new();
    who(&mut text, &principal);
    held_back(&mut text, &principal, &config.conditions);
    let needed = config.gate.connect_requires.as_deref();
    if let Some(refusal) = needed.and_then(|needed| lacking(&principal, needed)) {
        refused(&mut text, &refusal);
        print(&text);
        return Ok(Exit::Findings);
    }
    let options = Options {
        open_allowed: config.open_allowed(),
        parameter_types: Vec::new(),
        limits: config.limits,
    };
    let refused = explain(&mut text, &arguments.sql, &policy, &principal, &options);
    print(&text);
    Ok(if refused { Exit::Findings } else { Exit::Ok })
}

/// The principal: roles with the providers that gave them, permissions, attributes.
fn who(text: &mut String, principal: &Principal) {
    line(text, "user", principal.user_id());
    let roles: Vec<String> = principal
        .role_sources()
        .iter()
        .map(|(role, sources)| {
            let told = |source: &String| match source.starts_with("inherited ") {
                true => source.clone(),
                false => format!("from {source}"),
            };
            let sources: Vec<String> = sources.iter().map(told).collect();
            format!("{role} ({})", sources.join(", "))
        })
        .collect();
    line(text, "roles", &list(&roles));
    let permissions: Vec<String> = principal.permissions().iter().cloned().collect();
    line(text, "permissions", &list(&permissions));
    if principal.superuser() {
        line(
            text,
            "superuser",
            "yes: all rows and columns of every table in views/, read-only",
        );
    }
    for (name, values) in principal.attributes() {
        line(
            text,
            "attribute",
            &format!("{name} = {}", values.join(", ")),
        );
    }
}

/// The conditions that do not hold, with what they keep from counting.
fn held_back(text: &mut String, principal: &Principal, conditions: &[Condition]) {
    for number in principal.unmet_conditions() {
        let Some(condition) = conditions.get(*number) else {
            continue;
        };
        let mut what = Vec::new();
        if !condition.roles.is_empty() {
            what.push(format!("roles {}", condition.roles.join(", ")));
        }
        if !condition.permissions.is_empty() {
            what.push(format!("permissions {}", condition.permissions.join(", ")));
        }
        if condition.superuser {
            what.push("the superuser flag".to_owned());
        }
        let says = format!("{} (conditions[{number}] is not met)", what.join("; "));
        line(text, "not counted", &says);
    }
}

/// Explains every statement of `sql`; true when one is refused.
fn explain(
    text: &mut String,
    sql: &str,
    policy: &Policy,
    principal: &Principal,
    options: &Options,
) -> bool {
    let grants = policy.grants(principal);
    let statements = match split(sql, &options.limits) {
        Ok(statements) => statements,
        Err(refusal) => {
            refused(text, &refusal);
            return true;
        }
    };
    if statements.is_empty() {
        line(
            text,
            "decision",
            "nothing to run: the text holds no statement",
        );
    }
    let mut any_refused = false;
    for (index, statement) in statements.iter().enumerate() {
        if statements.len() > 1 {
            writeln!(text, "\nstatement {} of {}", index + 1, statements.len()).ok();
        }
        match judge(statement, &grants, options) {
            Judgement::Allowed(query) => allowed(text, &query, policy),
            Judgement::Refused(refusal) => {
                any_refused = true;
                refused(text, &refusal);
            }
            Judgement::Local => {
                line(
                    text,
                    "decision",
                    "answered by Rowgate itself; nothing is sent to the database",
                );
            }
        }
    }
    any_refused
}

enum Judgement {
    Allowed(Box<VerifiedQuery>),
    Refused(Refusal),
    Local,
}

fn judge(statement: &Statement, grants: &Grants, options: &Options) -> Judgement {
    match (statement.query(), &statement.kind) {
        (Some(query), _) => match sql::admit(query, grants, options) {
            Ok(query) => Judgement::Allowed(Box::new(query)),
            Err(refusal) => Judgement::Refused(refusal),
        },
        (None, StatementKind::Refused(refusal)) => Judgement::Refused(refusal.clone()),
        (None, _) => Judgement::Local,
    }
}

fn allowed(text: &mut String, query: &VerifiedQuery, policy: &Policy) {
    line(text, "decision", "allowed");
    let form = match query.form() {
        Form::Inline => "inline",
        Form::Open => "open",
        Form::Sealed => "sealed",
    };
    line(text, "form", &format!("{form}: {}", query.form_reason()));
    let views: Vec<String> = query
        .relations()
        .iter()
        .map(|relation| {
            let file = policy
                .views()
                .iter()
                .find(|view| view.relation() == relation)
                .map_or("", |view| view.view.file());
            format!("{relation} ({file})")
        })
        .collect();
    line(text, "views", &list(&views));
    writeln!(text, "final SQL\n").ok();
    for row in sql::layout(query.text()).lines() {
        writeln!(text, "    {row}").ok();
    }
}

fn refused(text: &mut String, refusal: &Refusal) {
    line(text, "decision", "refused");
    let reason = refusal.reason;
    line(
        text,
        "reason",
        &format!("{} (SQLSTATE {})", reason.slug(), reason.sqlstate()),
    );
    line(text, "message", &refusal.message);
    if let Some(hint) = &refusal.hint {
        line(text, "hint", hint);
    }
    if let Some(position) = refusal.position {
        line(text, "position", &format!("character {position}"));
    }
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        "(none)".to_owned()
    } else {
        items.join(", ")
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{name:<12} {value}").ok();
}
