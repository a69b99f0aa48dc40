//! Where tag definitions come from: a file ([`TagFile`]) or a table ([`TagTable`]). Both are steps that work out,
//! from all that the providers found (`email`, `groups`), which tags a user may access.
//!
//! Definitions that cannot be read refuse: "no tags" would hide what is everyone's to some, and the last known ones
//! might show what has been closed since. Which tag is whose is [`crate::policy::TagDefinitions`]'s to say.

mod file;
mod table;

pub use file::TagFile;
pub use table::{TagQueries, TagTable};

use crate::identity::{Caller, Findings};
use crate::policy::TagDefinitions;

/// Adds the tags the caller may access.
fn add_tags(definitions: &TagDefinitions, caller: &Caller, found: &mut Findings) {
    let tags = definitions.accessible(caller.user_id(), &found.attributes);
    found.tags.extend(tags);
}
