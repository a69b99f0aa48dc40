//! Who may manage permissions over HTTP, and how far.
//!
//! `admin:permissions` lets its holder grant almost anything to anybody, so: only a signed token shows it; nobody
//! changes their own grants; what could let somebody else do the same (a wildcard, `admin:...`) is granted only by
//! whoever holds it. The superuser flag is no grant and cannot be given here.

use super::{ADMIN_PERMISSION, Asker, Door};
use crate::error::{Reason, Refusal};
use crate::manage::{Action, Change, Kind};

/// Whether this asker would be let in by the gate.
pub(super) fn may_enter(asker: &Asker, needed: Option<&str>) -> Result<(), Refusal> {
    match needed {
        Some(needed) if !asker.principal.has_permission(needed) => Err(Refusal::new(
            Reason::NotAuthorized,
            format!("permission \"{needed}\" is needed to connect"),
        )),
        Some(_) | None => Ok(()),
    }
}

/// Whether this asker may list and change permissions at all.
pub(super) fn may_manage(asker: &Asker) -> Result<(), Refusal> {
    let missing = || {
        Refusal::new(
            Reason::NotAuthorized,
            format!("permission \"{ADMIN_PERMISSION}\" is needed"),
        )
    };
    if !asker.identified.signed {
        return Err(missing().hint("Show a signed token: an API key never carries this right."));
    }
    if !asker.principal.has_permission(ADMIN_PERMISSION) {
        return Err(missing());
    }
    Ok(())
}

/// Whether this asker may make this change.
pub(super) fn may_change(door: &Door, asker: &Asker, change: &Change) -> Result<(), Refusal> {
    let refuse = |says: String| Err(Refusal::new(Reason::NotAuthorized, says));
    if change.item.user(door.users()) == Some(asker.principal.user_id()) {
        return refuse("nobody changes their own permissions".to_owned());
    }
    if door.parts.manager.store().operator_only(&change.item) {
        return refuse(format!("{} is the operator's to change", change.item));
    }
    let name = change.item.name();
    let spreads = name.contains('*') || name == "admin" || name.starts_with("admin:");
    match (change.item.kind(), change.action) {
        (Kind::Permission, Action::Grant) if spreads && !asker.principal.has_permission(&name) => {
            refuse(format!("only a holder of {name:?} may grant it"))
        }
        (Kind::Permission | Kind::Role | Kind::Group | Kind::Tag | Kind::Tuple, _) => Ok(()),
    }
}
