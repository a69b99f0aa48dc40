//! The permissions a body asks for by name.

use super::{Body, PrincipalFunction};

impl Body {
    /// Each permission that a call names by a plain text, and the line it stands on. What is put together from columns has
    /// no name yet.
    pub(crate) fn permissions_asked(&self) -> impl Iterator<Item = (&str, usize)> {
        let calls = self.calls.iter();
        let calls = calls.filter(|call| call.function == PrincipalFunction::HasPermission);
        calls.filter_map(|call| {
            let range = call.argument.clone()?;
            let before = self.text.get(..range.start)?;
            let text = self.text.get(range)?.trim();
            let name = text.strip_prefix('\'')?.strip_suffix('\'')?;
            let plain = !name.contains(['\'', '\\']);
            plain.then(|| (name, self.line + before.matches('\n').count()))
        })
    }
}
