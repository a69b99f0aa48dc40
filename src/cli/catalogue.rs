//! What `rowgate check --strict` finds: names of permissions that the four levels do not know.

use super::{Failure, progress};
use crate::app;
use crate::config::Config;
use crate::install::{Finding, Severity};
use crate::policy::PermissionView;
use crate::provider::LadderNames;
use strsim::osa_distance;

/// A warning for each permission that a view or the configuration names and the catalogue does not have, with file and
/// line.
pub(super) async fn check(
    config: &Config,
    views: &[PermissionView],
) -> Result<Vec<Finding>, Failure> {
    let catalogue = app::catalogue(config).await.map_err(Failure::Unreachable)?;
    let Some(catalogue) = catalogue else {
        progress("four levels: not compared (no provider has them)");
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    for view in views {
        let file = config.views.join(view.file());
        for named in view.named() {
            let place = format!("{}:{}", file.display(), named.line);
            findings.extend(unknown(&catalogue, named.permission, &place));
        }
    }
    let file = config.file.as_ref();
    let file = file.map_or_else(
        || "the configuration".to_owned(),
        |f| f.display().to_string(),
    );
    let gate = config.gate.connect_requires.iter();
    let gate = gate.map(|one| (one, format!("{file}: gate.connect_requires")));
    let conditions = config.conditions.iter().enumerate();
    let conditions = conditions.flat_map(|(index, condition)| {
        let place = format!("{file}: conditions[{index}].permissions");
        condition
            .permissions
            .iter()
            .map(move |one| (one, place.clone()))
    });
    for (permission, place) in gate.chain(conditions) {
        // A wildcard is no name of the catalogue; what it covers is.
        if !permission.contains('*') {
            findings.extend(unknown(&catalogue, permission, &place));
        }
    }
    Ok(findings)
}

fn unknown(catalogue: &LadderNames, permission: &str, place: &str) -> Option<Finding> {
    if catalogue.permissions.contains(permission) {
        return None;
    }
    let (why, fix) = match catalogue.level(permission) {
        Some(level) => (
            format!("it is {level}, and what is asked for is always a permission"),
            "name one of the permissions it is made of".to_owned(),
        ),
        None => (
            "no action holds it, so no role gives it to anybody".to_owned(),
            match nearest(catalogue, permission) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => {
                    "add it to the permissions of the catalogue, or correct the name".to_owned()
                }
            },
        ),
    };
    Some(Finding {
        severity: Severity::Warning,
        what: format!("{place}: permission \"{permission}\" is not in the four levels"),
        why,
        fix: Some(fix),
    })
}

fn nearest<'a>(catalogue: &'a LadderNames, permission: &str) -> Option<&'a String> {
    let distance = |known: &&String| osa_distance(permission, known);
    let near = catalogue.permissions.iter().min_by_key(distance)?;
    (distance(&near) <= (permission.chars().count() / 3).max(1)).then_some(near)
}
