//! What they may see: permission views and the grants a principal has. Pure, no IO.

mod grants;

pub use grants::{
    ColumnType, GrantedColumn, GrantedTable, Grants, GrantsFingerprint, InlineBody, PrincipalField,
    RelationName, ShadowSource, TypeKind, quote_identifier,
};
