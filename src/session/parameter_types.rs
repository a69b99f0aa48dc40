//! Which types a client's parameters may have.

/// Parameter types a client may declare (`pg_type.oid`): built-in scalars and their arrays. Not here:
/// domains and composites, whose checks run code; `reg*`, whose input looks up names.
pub(super) const PARAMETER_TYPES: &[u32] = &[
    0, 16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 199, 600, 650, 651, 700, 701, 705, 718, 774, 775,
    790, 829, 869, 1000, 1001, 1002, 1003, 1005, 1007, 1009, 1014, 1015, 1016, 1021, 1022, 1028,
    1040, 1041, 1042, 1043, 1082, 1083, 1114, 1115, 1182, 1183, 1184, 1185, 1186, 1187, 1231, 1266,
    1270, 1560, 1561, 1562, 1563, 1700, 2950, 2951, 3802, 3807, 3904, 3906, 3908, 3910, 3912, 3926,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prepare_may_declare_is_on_the_list() {
        for oid in crate::sql::statement::declarable_oids() {
            assert!(PARAMETER_TYPES.contains(&oid), "{oid}");
        }
    }

    #[test]
    fn parameter_types_are_built_in_and_look_nothing_up() {
        // regproc, regprocedure, regoper, regoperator, regclass, regtype, regrole, regnamespace,
        // regconfig, record, any, and the first oid of user-defined types.
        for oid in [
            24, 2202, 2203, 2204, 2205, 2206, 4096, 4089, 3734, 2249, 2276, 16384,
        ] {
            assert!(!PARAMETER_TYPES.contains(&oid), "{oid}");
        }
        // int4, text, numeric, timestamptz, uuid, jsonb, text[], int8[].
        for oid in [23, 25, 1700, 1184, 2950, 3802, 1009, 1016] {
            assert!(PARAMETER_TYPES.contains(&oid), "{oid}");
        }
    }
}
