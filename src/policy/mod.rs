//! What they may see: permission views and the grants a principal has. Pure, no IO.

pub(crate) mod body;
pub(crate) mod compose;
mod describe;
mod grants;
mod header;
mod named;
mod near;
pub(crate) mod objects;
mod origins;
mod profile;
mod settings;
mod snapshot;
mod standing;
mod tags;
mod view;

pub(crate) use compose::identifier;
pub use describe::{DataModel, DescribedColumn, DescribedTable, describe};
pub use grants::{
    ColumnType, Description, GrantedColumn, GrantedTable, Grants, GrantsFingerprint, InlineBody,
    PrincipalField, RelationName, Server, ShadowSource, TypeKind, quote_identifier,
};
pub use named::Named;
pub(crate) use objects::TOO_MANY;
pub(crate) use origins::Origin;
pub use origins::{ColumnNumber, Origins};
pub use profile::profile;
pub(crate) use settings::array_literal;
pub use settings::{PrincipalSettings, SET_PRINCIPAL};
pub use snapshot::{Policy, PolicyColumn, PolicyVersion, PolicyView};
pub(crate) use snapshot::{ViewSource, WholeTable, whole_table};
pub use standing::Standing;
pub(crate) use tags::valid_tag;
pub use tags::{TAG_BYTES_MAX, TAG_MEMBERS_MAX, TAGS_MAX, TagDefinitions, TagError};
pub use view::{Mask, PermissionView, PolicyError, RoleColumn, parse_view_file};
pub(crate) use view::{check_together, with_tuples};
