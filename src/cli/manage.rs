//! `rowgate grant`, `revoke`, `permissions`, `roles`: as the operator, straight to the tables of `[admin]`.

use super::serve::load;
use super::{Exit, Failure, Outcome, args, print, progress};
use crate::admin::ADMIN_PERMISSION;
use crate::app;
use crate::audit::RequestId;
use crate::config::Config;
use crate::install;
use crate::manage::{
    Action, By, Change, Done, Item, Kind, Known, Listed, ManageError, Manager, Until,
};
use serde_json::{Value, json};
use std::fmt::Write as _;

pub(super) async fn grant(arguments: args::Grant) -> Outcome {
    let config = load(&arguments.config)?;
    let until = arguments.until.as_deref().map(Until::parse).transpose();
    let until = until.map_err(|error| Failure::Usage(told(error)))?;
    let change = Change {
        action: Action::Grant,
        item: item(arguments.user, arguments.what)?,
        until,
    };
    let doubt = known(&config)?.doubt(&change.item);
    let strict = arguments.strict || config.admin.as_ref().is_some_and(|admin| admin.strict);
    let manager = manager(&config).await?;
    if let Some(doubt) = &doubt {
        if strict {
            let item = change.item.json();
            manager
                .refused(&operator(), "grant", &item, "unknown_permission")
                .await;
            progress(&format!("rowgate: refused: {doubt}"));
            return Ok(Exit::Findings);
        }
        progress(&format!("warning: {doubt}"));
    }
    apply(&manager, &change, arguments.json).await
}

pub(super) async fn revoke(arguments: args::Revoke) -> Outcome {
    let config = load(&arguments.config)?;
    let change = Change {
        action: Action::Revoke,
        item: item(arguments.user, arguments.what)?,
        until: None,
    };
    let manager = manager(&config).await?;
    apply(&manager, &change, arguments.json).await
}

pub(super) async fn list(arguments: args::Granted, kind: Kind) -> Outcome {
    let keys = [arguments.user.as_deref()];
    let item = json!({"kind": kind.plural(), "user": arguments.user});
    show(&arguments.config, kind, &keys, &item, arguments.json).await
}

pub(super) async fn tuples(arguments: args::Tuples) -> Outcome {
    let part = |text: &Option<String>| match text.as_deref().map(|text| text.split_once(':')) {
        None => Ok((None, None)),
        Some(Some((namespace, id))) => Ok((Some(namespace.to_owned()), Some(id.to_owned()))),
        Some(None) => Err(Failure::Usage(anyhow::anyhow!(
            "object and subject are written as in document:7 and user:bob"
        ))),
    };
    let (object, subject) = (part(&arguments.object)?, part(&arguments.subject)?);
    let keys = [&object.0, &object.1, &None, &subject.0, &subject.1];
    let keys = keys.map(Option::as_deref);
    let item = json!({"kind": "tuples", "object": arguments.object, "subject": arguments.subject});
    show(&arguments.config, Kind::Tuple, &keys, &item, arguments.json).await
}

async fn show(
    config: &args::WithConfig,
    kind: Kind,
    keys: &[Option<&str>],
    item: &Value,
    json: bool,
) -> Outcome {
    let config = load(config)?;
    let manager = manager(&config).await?;
    let listed = manager.list(kind, keys).await.map_err(failure)?;
    let looked = manager.looked(&operator(), "list", item).await;
    looked.map_err(|fault| failure(fault.into()))?;
    print(&match json {
        true => format!("{}\n", json_of(&listed, kind)),
        false => text_of(&listed, kind),
    });
    if listed.truncated {
        progress("there are more; narrow it down");
    }
    Ok(Exit::Ok)
}

pub(super) async fn manager(config: &Config) -> Result<Manager, Failure> {
    if config.admin.is_none() {
        let says = "[admin] is not configured, so permissions are not managed here";
        return Err(Failure::Usage(anyhow::anyhow!(says)));
    }
    app::manager(config).await.map_err(Failure::Unreachable)
}

/// clap takes exactly one of them, and a user with all but a tuple.
fn item(user: Option<String>, what: args::Granting) -> Result<Item, Failure> {
    let args::Granting {
        permission,
        role,
        group,
        tag,
        tuple,
    } = what;
    if let Some(tuple) = tuple {
        return Item::tuple(&tuple).map_err(|error| Failure::Usage(told(error)));
    }
    let named = [
        (Kind::Permission, permission),
        (Kind::Role, role),
        (Kind::Group, group),
        (Kind::Tag, tag),
    ];
    let mut named = named
        .into_iter()
        .filter_map(|(kind, name)| Some((kind, name?)));
    match (named.next(), user) {
        (Some((kind, name)), Some(user)) => Ok(Item::of_user(kind, user, name)),
        _ => Err(Failure::Usage(anyhow::anyhow!(
            "--user says whom it is about"
        ))),
    }
}

fn known(config: &Config) -> Result<Known, Failure> {
    let views = install::read_views(&config.views, config.tuples.as_ref())
        .map_err(super::policy::failure)?;
    let others = config.gate.connect_requires.iter().cloned();
    let others = others.chain([ADMIN_PERMISSION.to_owned()]);
    Ok(Known::new(&views, others, config.tuples.clone()))
}

/// Whoever runs the command, by their name on this machine.
pub(super) fn operator() -> By {
    let id = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(id).ok().flatten();
    By {
        request_id: RequestId::next(),
        door: "command",
        peer: None,
        login: "operator".to_owned(),
        user_id: user.map_or_else(|| id.to_string(), |user| user.name),
    }
}

/// What came of a change, with its audit line written; `None` = it was refused, and that was said.
pub(super) async fn made<T>(
    manager: &Manager,
    changed: Result<T, ManageError>,
) -> Result<Option<T>, Failure> {
    manager.flush().await;
    match changed {
        Ok(done) => Ok(Some(done)),
        Err(error @ ManageError::Rejected(_)) => {
            progress(&format!("rowgate: refused: {:#}", told(error)));
            Ok(None)
        }
        Err(error) => Err(failure(error)),
    }
}

async fn apply(manager: &Manager, change: &Change, json: bool) -> Outcome {
    let changed = manager.change(&operator(), change).await;
    let Some(done) = made(manager, changed).await? else {
        return Ok(Exit::Findings);
    };
    print(&match json {
        true => format!(
            "{}\n",
            json!({
                "changed": done.changed,
                "item": change.item.json(),
                "before": done.before,
                "after": done.after,
            })
        ),
        false => sentence(change, &done),
    });
    Ok(Exit::Ok)
}

fn sentence(change: &Change, done: &Done) -> String {
    let verb = match (change.action, done.changed) {
        (Action::Grant, true) => "granted",
        (Action::Grant, false) => "already granted",
        (Action::Revoke, true) => "revoked",
        (Action::Revoke, false) => "already not granted",
    };
    let until = done.after.first().and_then(|held| held.until.as_deref());
    match until {
        Some(until) => format!("{verb}: {}, until {until}\n", change.item),
        None => format!("{verb}: {}\n", change.item),
    }
}

fn json_of(listed: &Listed, kind: Kind) -> Value {
    let rows = listed.rows.iter().map(|row| {
        let mut object = Item::from_row(kind, row).json();
        if let Value::Object(object) = &mut object {
            object.insert("until".to_owned(), json!(row.until));
        }
        object
    });
    let rows: Vec<Value> = rows.collect();
    json!({kind.plural(): rows, "truncated": listed.truncated})
}

/// One line a grant, the columns apart by tabs; what a terminal could take for a command is escaped.
fn text_of(listed: &Listed, kind: Kind) -> String {
    let mut text = String::new();
    for row in &listed.rows {
        let names = match kind {
            Kind::Tuple => vec![Item::from_row(kind, row).name().into_owned()],
            Kind::Permission | Kind::Role | Kind::Group | Kind::Tag => row.keys.clone(),
        };
        let keys: Vec<String> = names
            .iter()
            .map(|key| key.escape_debug().to_string())
            .collect();
        let until = row
            .until
            .as_ref()
            .map_or_else(String::new, |until| format!("\tuntil {until}"));
        // Writing to a String cannot fail.
        writeln!(text, "{}{until}", keys.join("\t")).ok();
    }
    if text.is_empty() {
        text.push_str("(none)\n");
    }
    text
}

pub(super) fn failure(error: ManageError) -> Failure {
    match error {
        ManageError::Failed(fault) => {
            let kind = fault.kind;
            Failure::Unreachable(fault.cause.context(kind.message()))
        }
        ManageError::Unclear => Failure::Unreachable(told(error)),
        ManageError::Invalid { .. } | ManageError::NotManaged(_) | ManageError::Rejected(_) => {
            Failure::Usage(told(error))
        }
    }
}

pub(super) fn told(error: ManageError) -> anyhow::Error {
    match error.hint() {
        Some(hint) => anyhow::anyhow!("{error}\nhint: {hint}"),
        None => error.into(),
    }
}
