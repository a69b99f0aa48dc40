//! The running example, carried inside the binary so that the demo needs no checkout.

/// Tables, comments and indexes.
pub const SCHEMA: &str = include_str!("../../fixtures/schema.sql");
/// The small data.
pub const DATA: &str = include_str!("../../fixtures/data.sql");
/// The same tables with a million invoices, instead of [`DATA`].
pub const MILLION: &str = include_str!("../../fixtures/million.sql");

/// Every file of `views/`: file name and text.
pub const VIEWS: &[(&str, &str)] = &[
    ("customers.sql", include_str!("../../views/customers.sql")),
    (
        "departments.sql",
        include_str!("../../views/departments.sql"),
    ),
    ("employees.sql", include_str!("../../views/employees.sql")),
    ("invoices.sql", include_str!("../../views/invoices.sql")),
    (
        "permissions.sql",
        include_str!("../../views/permissions.sql"),
    ),
    (
        "transactions.sql",
        include_str!("../../views/transactions.sql"),
    ),
    ("user_roles.sql", include_str!("../../views/user_roles.sql")),
];

#[cfg(test)]
mod tests {
    use super::VIEWS;

    #[test]
    fn the_binary_carries_every_file_of_views() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("views");
        let mut on_disk: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            // Folders hold the views of other examples.
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        on_disk.sort();
        let carried: Vec<&str> = VIEWS.iter().map(|(name, _)| *name).collect();
        assert_eq!(carried, on_disk);
    }
}
