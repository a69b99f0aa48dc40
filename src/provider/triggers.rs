//! The SQL that makes a table of permissions tell every gate when it changes: text only, run by whoever owns
//! the tables.

use super::listen::CHANNEL;
use std::fmt::Write;

/// Users named one by one; a statement that changes more tells that everybody may have changed.
const USERS_MAX: usize = 100;
/// Longest user id that is named (`identity::NAME_BYTES_MAX`); nobody can have a longer one.
const USER_BYTES_MAX: usize = 256;

/// A table whose changes are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its name, quoted as SQL needs it.
    table: String,
    /// The column with the user id, bare; `None` where a row concerns more than one user.
    user_column: Option<String>,
}

impl Watched {
    /// A table and its column of user ids, each written as in SQL: `public.user_roles`, `"user"`.
    ///
    /// # Errors
    /// What is not a name.
    pub fn parse(table: &str, user_column: Option<&str>) -> Result<Self, String> {
        let parts = names(table).ok_or_else(|| format!("{table} is not a table's name"))?;
        if parts.len() > 2 {
            return Err(format!("{table} is not a table's name"));
        }
        let table = parts
            .iter()
            .map(|part| quoted(part))
            .collect::<Vec<_>>()
            .join(".");
        let user_column = match user_column {
            None => None,
            Some(written) => match names(written).as_deref() {
                Some([name]) => Some(name.clone()),
                _ => return Err(format!("{written} is not a column's name")),
            },
        };
        Ok(Self { table, user_column })
    }
}

/// The function and the triggers, in one transaction; safe to run again.
pub fn triggers(tables: &[Watched]) -> String {
    let mut sql = format!(
        r#"-- Tells every Rowgate when a table of permissions changes: NOTIFY {CHANNEL}, with the user id it
-- concerns, or with nothing when it concerns more than {USERS_MAX} users or all of them. The notification
-- leaves with the commit. Run it as the tables' owner; it is safe to run again. PostgreSQL 11 or later.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE OR REPLACE FUNCTION public.{CHANNEL}() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    -- Of the column whose name is the trigger's argument; NULL: everybody.
    users text[];
BEGIN
    IF TG_NARGS = 1 AND TG_OP <> 'TRUNCATE' THEN
        EXECUTE format(CASE TG_OP
            WHEN 'INSERT' THEN 'SELECT array_agg(DISTINCT %1$I::text) FROM new_rows'
            WHEN 'DELETE' THEN 'SELECT array_agg(DISTINCT %1$I::text) FROM old_rows'
            ELSE 'SELECT array_agg(DISTINCT %1$I::text)
                  FROM (SELECT %1$I FROM old_rows UNION ALL SELECT %1$I FROM new_rows) AS changed'
            END, TG_ARGV[0]) INTO users;
        IF users IS NULL THEN
            RETURN NULL; -- no row was changed
        END IF;
    END IF;
    IF cardinality(users) <= {USERS_MAX} THEN
        PERFORM pg_notify('{CHANNEL}', CASE WHEN octet_length(one) <= {USER_BYTES_MAX} THEN one ELSE '' END)
        FROM unnest(users) AS one;
    ELSE
        PERFORM pg_notify('{CHANNEL}', '');
    END IF;
    RETURN NULL;
END
$function$;
"#
    );
    for Watched { table, user_column } in tables {
        let argument = user_column.as_ref().map_or_else(String::new, |column| {
            format!("'{}'", column.replace('\'', "''"))
        });
        for (event, rows) in [
            ("INSERT", "REFERENCING NEW TABLE AS new_rows "),
            (
                "UPDATE",
                "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ",
            ),
            ("DELETE", "REFERENCING OLD TABLE AS old_rows "),
            ("TRUNCATE", ""),
        ] {
            let name = format!("{CHANNEL}_{}", event.to_ascii_lowercase());
            // Writing to a String cannot fail.
            let _ok = write!(
                sql,
                "\nDROP TRIGGER IF EXISTS {name} ON {table};\n\
                 CREATE TRIGGER {name} AFTER {event} ON {table} {rows}FOR EACH STATEMENT\n    \
                 EXECUTE FUNCTION public.{CHANNEL}({argument});\n"
            );
        }
    }
    sql.push_str("COMMIT;\n");
    sql
}

/// The parts of a dotted name, unquoted, as PostgreSQL reads them.
fn names(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(inside) => quoted_name(inside)?,
            None => {
                let end = rest
                    .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$')))
                    .unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                (name.to_ascii_lowercase(), after)
            }
        };
        let starts_well = name.chars().next().is_some_and(|c| !c.is_ascii_digit());
        if !starts_well || name.contains('\0') || name.len() > 63 {
            return None;
        }
        parts.push(name);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None => return after.is_empty().then_some(parts),
        }
    }
}

fn quoted_name(inside: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = inside.char_indices().peekable();
    while let Some((index, character)) = characters.next() {
        if character != '"' {
            name.push(character);
        } else if characters.next_if(|(_, next)| *next == '"').is_some() {
            name.push('"');
        } else {
            return Some((name, inside.get(index + 1..)?));
        }
    }
    None
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_postgresql_reads_them() {
        for (written, table) in [
            ("public.user_roles", r#""public"."user_roles""#),
            ("Public.User_Roles", r#""public"."user_roles""#),
            (r#"public."User ""Roles""""#, r#""public"."User ""Roles""""#),
            ("roles", r#""roles""#),
            ("größe", r#""größe""#),
        ] {
            assert_eq!(Watched::parse(written, None).unwrap().table, table);
        }
        assert_eq!(
            Watched::parse("t", Some("\"user\""))
                .unwrap()
                .user_column
                .as_deref(),
            Some("user")
        );
        for wrong in [
            "", ".", "a.", "a.b.c", "a b", "a;b", "1a", "\"a", "\"a\"b", "a-b", "t)", "\"\"",
        ] {
            assert!(Watched::parse(wrong, None).is_err(), "{wrong}");
            assert!(Watched::parse("t", Some(wrong)).is_err(), "{wrong}");
        }
        assert!(Watched::parse("t", Some("a.b")).is_err());
    }

    #[test]
    fn a_column_cannot_break_out_of_its_place() {
        let odd = Watched::parse("t", Some("\"a'); DROP TABLE t; --\"")).unwrap();
        assert!(triggers(&[odd]).contains("('a''); DROP TABLE t; --')"));
    }
}
