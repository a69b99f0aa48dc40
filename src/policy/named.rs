//! The permissions that view files name, and where: for whoever compares them with a catalogue.

use super::PermissionView;

/// A permission named in a view file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<'a> {
    /// The permission.
    pub permission: &'a str,
    /// 1-based line in the file.
    pub line: usize,
}

impl PermissionView {
    /// The permissions it names: required for the table, for a column, or to see what a mask hides; and those that its body
    /// asks for by a plain text, as in `rowgate.has_permission('read:pii')`.
    pub fn named(&self) -> Vec<Named<'_>> {
        let at = |key: &str| self.lines.get(key).copied().unwrap_or(1);
        let named = |permission, line| Named { permission, line };
        let mut all: Vec<Named<'_>> = Vec::new();
        let table = at("requires");
        all.extend(self.requires.iter().map(|one| named(one.as_str(), table)));
        for (column, needed) in &self.column_requires {
            let line = at(&format!("column {column} requires"));
            all.extend(needed.iter().map(|one| named(one.as_str(), line)));
        }
        for mask in self.masks.values() {
            let unless = mask.unless.as_deref();
            all.extend(unless.map(|one| named(one, mask.line)));
        }
        all.extend(
            self.parsed
                .permissions_asked()
                .map(|(one, line)| named(one, line)),
        );
        all.sort_by(|one, other| (one.line, one.permission).cmp(&(other.line, other.permission)));
        all
    }
}
