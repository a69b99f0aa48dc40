//! `rowgate tags define`, `drop` and `show`: tags themselves.

use super::manage::{failure, made, manager, operator};
use super::serve::load;
use super::{Exit, Outcome, args, print, progress};
use crate::manage::{TagChange, TagDefinition, TagDone};
use serde_json::json;
use std::fmt::Write as _;

pub(super) async fn run(command: args::TagCommand) -> Outcome {
    match command {
        args::TagCommand::Define(define) => {
            let definition = TagDefinition {
                tag: define.tag,
                access: define.access,
                owner: define.owner,
                allowed: define.allow,
            };
            change(&define.config, TagChange::Define(definition), define.json).await
        }
        args::TagCommand::Drop(drop) => {
            change(&drop.config, TagChange::Drop(drop.tag), drop.json).await
        }
        args::TagCommand::Show(show) => list(&show).await,
    }
}

async fn change(config: &args::WithConfig, change: TagChange, json: bool) -> Outcome {
    let config = load(config)?;
    let manager = manager(&config).await?;
    let changed = manager.change_tag(&operator(), &change).await;
    let Some(done) = made(&manager, changed).await? else {
        return Ok(Exit::Findings);
    };
    print(&match json {
        true => format!("{}\n", json!(done)),
        false => sentence(&change, &done),
    });
    Ok(Exit::Ok)
}

fn sentence(change: &TagChange, done: &TagDone) -> String {
    let verb = match (change, done.changed) {
        (TagChange::Define(_), true) => "defined",
        (TagChange::Define(_), false) => "already defined so",
        (TagChange::Drop(_), true) => "dropped",
        (TagChange::Drop(_), false) => "already not defined",
    };
    format!("{verb}: tag {:?}\n", change.tag())
}

async fn list(show: &args::TagShow) -> Outcome {
    let config = load(&show.config)?;
    let manager = manager(&config).await?;
    let listed = manager.tags().await.map_err(failure)?;
    let looked = json!({"kind": "tag definitions"});
    let looked = manager.looked(&operator(), "list", &looked).await;
    looked.map_err(|fault| failure(fault.into()))?;
    let mut text = String::new();
    for tag in &listed.tags {
        let owner = tag.owner.as_deref().unwrap_or("-");
        let parts = [tag.tag.as_str(), &tag.access, owner, &tag.allowed.join(" ")];
        let parts = parts.map(|part| part.escape_debug().to_string());
        // Writing to a String cannot fail.
        writeln!(text, "{}", parts.join("\t").trim_end()).ok();
    }
    if text.is_empty() {
        text.push_str("(none)\n");
    }
    print(&match show.json {
        true => format!("{}\n", json!(listed)),
        false => text,
    });
    if listed.truncated {
        progress("there are more");
    }
    Ok(Exit::Ok)
}
