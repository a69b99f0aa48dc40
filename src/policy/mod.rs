//! What they may see: permission views and the grants a principal has. Pure, no IO.

mod grants;
mod settings;
mod snapshot;
mod view;

pub use grants::{
    ColumnType, GrantedColumn, GrantedTable, Grants, GrantsFingerprint, InlineBody, PrincipalField,
    RelationName, ShadowSource, TypeKind, quote_identifier,
};
pub use settings::{PrincipalSettings, SET_PRINCIPAL};
pub use snapshot::{Policy, PolicyColumn, PolicyVersion, PolicyView};
pub use view::{Mask, PermissionView, PolicyError, RoleColumn, parse_view_file};
