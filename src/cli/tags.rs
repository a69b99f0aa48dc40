//! What `rowgate check` finds about tags: those that views carry and nobody has defined.

use super::Failure;
use crate::app;
use crate::config::{Config, Tags};
use crate::install::{Finding, Severity};
use crate::policy::{PermissionView, TagDefinitions};

/// A warning for each table or column that carries a tag nobody has defined.
pub(super) async fn check(
    config: &Config,
    views: &[PermissionView],
) -> Result<Vec<Finding>, Failure> {
    let tagged = views
        .iter()
        .any(|view| !view.tags().is_empty() || !view.column_tags().is_empty());
    if !tagged && config.tags.is_none() {
        return Ok(Vec::new());
    }
    let definitions = app::tag_definitions(config).await;
    let definitions = definitions.map_err(|error| match config.tags {
        Some(Tags::File { .. }) => Failure::Usage(error),
        Some(Tags::Table(_)) | None => Failure::Unreachable(error),
    })?;
    Ok(views
        .iter()
        .flat_map(|view| unknown(view, &definitions))
        .collect())
}

fn unknown(view: &PermissionView, definitions: &TagDefinitions) -> Vec<Finding> {
    let table = (format!("table {}", view.relation()), view.tags());
    let columns = view.column_tags().iter().map(|(column, tags)| {
        let what = format!("column {column} of table {}", view.relation());
        (what, tags.as_slice())
    });
    let mut findings = Vec::new();
    for (what, tags) in std::iter::once(table).chain(columns) {
        for tag in tags.iter().filter(|tag| !definitions.defines(tag)) {
            let alone = tags.iter().all(|tag| !definitions.defines(tag));
            let why = match alone {
                true => "nobody but superusers sees it: an unknown tag is nobody's",
                false => "an unknown tag is nobody's, so only the other tags open it",
            };
            findings.push(Finding {
                severity: Severity::Warning,
                what: format!("{what} carries tag \"{tag}\", which is not defined"),
                why: why.to_owned(),
                fix: Some(format!(
                    "define it where [tags] points to, or correct {}",
                    view.file()
                )),
            });
        }
    }
    findings
}
