//! The list of settings a client may set or be shown, and which values each takes.

use super::told::Told;
use crate::sql::statement::Isolation;
use crate::upstream::Setting;

/// Longest value of a free text setting, in bytes.
const VALUE_BYTES_MAX: usize = 256;

/// What a setting may be set to.
pub(super) enum Kind {
    /// `client_encoding`: UTF-8 in any spelling.
    Encoding,
    /// Any value of this look; remembered, without effect.
    Free,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Travels to the database: changes what output looks like, or is a time limit.
    Sent(Setting),
    /// The default isolation level of transactions to come.
    Isolation,
    /// Who one is: never.
    Identity,
    /// Shown only.
    Shown,
}

pub(super) struct Listed {
    /// Folded.
    pub(super) name: &'static str,
    /// As PostgreSQL reports it.
    pub(super) display: &'static str,
    pub(super) kind: Kind,
    /// When neither the session nor the database says otherwise.
    pub(super) default: &'static str,
    /// Reported by ParameterStatus.
    pub(super) reported: bool,
}

const fn listed(name: &'static str, kind: Kind, default: &'static str) -> Listed {
    Listed {
        name,
        display: name,
        kind,
        default,
        reported: false,
    }
}

const fn reported(
    name: &'static str,
    display: &'static str,
    kind: Kind,
    default: &'static str,
) -> Listed {
    Listed {
        name,
        display,
        kind,
        default,
        reported: true,
    }
}

const ON: &[&str] = &["on", "true", "yes", "1"];
const BOOLEAN: &[&str] = &["on", "off", "true", "false", "yes", "no", "1", "0"];

/// Every setting there is for a client, sorted by name.
pub(super) static LIST: &[Listed] = &[
    reported("application_name", "application_name", Kind::Free, ""),
    listed("bytea_output", Kind::Sent(Setting::ByteaOutput), "hex"),
    reported("client_encoding", "client_encoding", Kind::Encoding, "UTF8"),
    listed("client_min_messages", Kind::Free, "notice"),
    reported(
        "datestyle",
        "DateStyle",
        Kind::Sent(Setting::DateStyle),
        "ISO, MDY",
    ),
    listed(
        "default_transaction_deferrable",
        Kind::OneOf(BOOLEAN),
        "off",
    ),
    listed(
        "default_transaction_isolation",
        Kind::Isolation,
        "read committed",
    ),
    reported(
        "default_transaction_read_only",
        "default_transaction_read_only",
        Kind::OneOf(ON),
        "on",
    ),
    listed("escape_string_warning", Kind::OneOf(BOOLEAN), "on"),
    listed(
        "extra_float_digits",
        Kind::Sent(Setting::ExtraFloatDigits),
        "1",
    ),
    listed("geqo", Kind::OneOf(BOOLEAN), "on"),
    listed("idle_in_transaction_session_timeout", Kind::Free, "0"),
    reported("in_hot_standby", "in_hot_standby", Kind::Shown, "off"),
    reported("integer_datetimes", "integer_datetimes", Kind::Shown, "on"),
    reported(
        "intervalstyle",
        "IntervalStyle",
        Kind::Sent(Setting::IntervalStyle),
        "postgres",
    ),
    reported("is_superuser", "is_superuser", Kind::Shown, "off"),
    listed("jit", Kind::OneOf(BOOLEAN), "off"),
    listed("lock_timeout", Kind::Sent(Setting::LockTimeout), "0"),
    listed("max_identifier_length", Kind::Shown, "63"),
    listed("role", Kind::Identity, "none"),
    listed("row_security", Kind::OneOf(ON), "on"),
    listed("search_path", Kind::Free, "\"$user\", public"),
    reported("server_encoding", "server_encoding", Kind::Shown, "UTF8"),
    reported("server_version", "server_version", Kind::Shown, ""),
    listed("server_version_num", Kind::Shown, ""),
    reported(
        "session_authorization",
        "session_authorization",
        Kind::Identity,
        "",
    ),
    reported(
        "standard_conforming_strings",
        "standard_conforming_strings",
        Kind::OneOf(ON),
        "on",
    ),
    listed(
        "statement_timeout",
        Kind::Sent(Setting::StatementTimeout),
        "0",
    ),
    reported("timezone", "TimeZone", Kind::Sent(Setting::TimeZone), "UTC"),
    listed("transaction_isolation", Kind::Shown, "read committed"),
    listed("transaction_read_only", Kind::OneOf(ON), "on"),
];

pub(super) fn find(name: &str) -> Result<&'static Listed, Told> {
    let folded = name.to_ascii_lowercase();
    let folded = match folded.as_str() {
        "names" => "client_encoding",
        "time zone" => "timezone",
        "session characteristics" => "default_transaction_isolation",
        other => other,
    };
    if folded.starts_with("rowgate.") {
        return Err(identity(name));
    }
    LIST.iter()
        .find(|listed| listed.name == folded)
        .ok_or_else(|| {
            Told::new(
                "42704",
                format!("unrecognized configuration parameter \"{name}\""),
            )
            .hint(match folded {
                "tables" | "views" | "databases" | "schemas" | "columns" | "indexes" => {
                    "Read the catalogue: SELECT table_name FROM information_schema.tables, and column_name FROM information_schema.columns."
                }
                _ => "Settings of the server cannot be changed or read here; send SELECT statements.",
            })
        })
}

pub(super) fn identity(name: &str) -> Told {
    Told::new(
        "42501",
        format!("permission denied to set parameter \"{name}\""),
    )
    .hint("Who you are is fixed when you connect.")
}

pub(super) fn cannot_change(listed: &Listed) -> Told {
    Told::new(
        "55P02",
        format!("parameter \"{}\" cannot be changed", listed.display),
    )
}

/// The value to remember, in PostgreSQL's spelling.
pub(super) fn accept(listed: &Listed, values: &[String]) -> Result<String, Told> {
    let text = values.join(", ");
    let folded = text.trim().to_ascii_lowercase();
    let accepted = match &listed.kind {
        Kind::Identity if folded == "none" || folded == "default" => Some("none".to_owned()),
        Kind::Identity => return Err(identity(listed.display)),
        Kind::Shown => return Err(cannot_change(listed)),
        Kind::Encoding => {
            let letters: String = folded.chars().filter(char::is_ascii_alphanumeric).collect();
            matches!(letters.as_str(), "utf8" | "unicode").then(|| "UTF8".to_owned())
        }
        Kind::Free => (text.len() <= VALUE_BYTES_MAX && !text.chars().any(char::is_control))
            .then(|| text.clone()),
        Kind::OneOf(allowed) => allowed
            .contains(&folded.as_str())
            .then(|| match folded.as_str() {
                "true" | "yes" | "1" => "on".to_owned(),
                "false" | "no" | "0" => "off".to_owned(),
                _ => folded.clone(),
            }),
        Kind::Isolation => isolation_of(&folded).map(|level| isolation_text(level).to_owned()),
        Kind::Sent(setting) => sent_value(*setting, &text, &folded),
    };
    accepted.ok_or_else(|| {
        let shown: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
        let told = Told::new(
            "22023",
            format!(
                "invalid value for parameter \"{}\": \"{shown}\"",
                listed.display
            ),
        );
        match &listed.kind {
            Kind::Encoding => told.hint("Only UTF8 is served."),
            Kind::OneOf(allowed) => told.hint(format!("Available values: {}.", allowed.join(", "))),
            _ => told,
        }
    })
}

pub(super) fn sent_value(setting: Setting, text: &str, folded: &str) -> Option<String> {
    match setting {
        Setting::ByteaOutput => matches!(folded, "hex" | "escape").then(|| folded.to_owned()),
        Setting::IntervalStyle => {
            let styles = ["postgres", "postgres_verbose", "sql_standard", "iso_8601"];
            styles.contains(&folded).then(|| folded.to_owned())
        }
        Setting::ExtraFloatDigits => {
            let digits: i32 = folded.parse().ok()?;
            (-15..=3).contains(&digits).then(|| digits.to_string())
        }
        Setting::DateStyle => date_style(folded),
        Setting::LockTimeout | Setting::StatementTimeout => {
            Some(duration_text(milliseconds(text.trim())?))
        }
        // Whether the name is known only the database can say.
        Setting::TimeZone => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_/+-:.,<>".contains(c);
            (!text.is_empty() && text.len() <= 64 && text.chars().all(plain))
                .then(|| text.to_owned())
        }
    }
}

/// `ISO, MDY` from any order and spelling (PostgreSQL manual, section 20.11.2).
pub(super) fn date_style(folded: &str) -> Option<String> {
    let (mut style, mut order) = (None, None);
    for word in folded.split([',', ' ']).filter(|word| !word.is_empty()) {
        match word {
            "iso" => style = Some("ISO"),
            "sql" => style = Some("SQL"),
            "postgres" => style = Some("Postgres"),
            "german" => style = Some("German"),
            "mdy" | "us" | "noneuro" | "noneuropean" => order = Some("MDY"),
            "dmy" | "euro" | "european" => order = Some("DMY"),
            "ymd" => order = Some("YMD"),
            _ => return None,
        }
    }
    let order = order.unwrap_or(if style == Some("German") {
        "DMY"
    } else {
        "MDY"
    });
    Some(format!("{}, {order}", style.unwrap_or("ISO")))
}

/// The milliseconds of a time limit: a number, and a unit if it is another one (PostgreSQL manual, section 20.1.1).
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = text.strip_suffix(digits)?;
    let number: f64 = number.parse().ok()?;
    let unit = match digits.trim_start() {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    // Up, so that nothing short becomes 0, which is no limit at all.
    let value = (number * unit).ceil();
    // As text, because there is no conversion that says when it does not fit.
    let value: u64 = format!("{value:.0}").parse().ok()?;
    (value <= u64::from(i32::MAX.unsigned_abs())).then_some(value)
}

/// As PostgreSQL shows a time limit: in the largest unit that divides it.
pub(super) fn duration_text(milliseconds: u64) -> String {
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ];
    match units
        .iter()
        .find(|(unit, _)| milliseconds.is_multiple_of(*unit))
    {
        _ if milliseconds == 0 => "0".to_owned(),
        Some((unit, name)) => format!("{}{name}", milliseconds / unit),
        None => format!("{milliseconds}ms"),
    }
}

pub(super) fn isolation_of(folded: &str) -> Option<Isolation> {
    match folded {
        "read committed" => Some(Isolation::ReadCommitted),
        "read uncommitted" => Some(Isolation::ReadUncommitted),
        "repeatable read" => Some(Isolation::RepeatableRead),
        "serializable" => Some(Isolation::Serializable),
        _ => None,
    }
}

pub(super) fn isolation_text(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read committed",
        Isolation::ReadUncommitted => "read uncommitted",
        Isolation::RepeatableRead => "repeatable read",
        Isolation::Serializable => "serializable",
    }
}

/// `150020` from `15.20 (Debian ...)`.
pub(super) fn version_number(version: &str) -> Option<String> {
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .next()?
        .split('.');
    let major: u32 = numbers.next()?.parse().ok()?;
    let minor: u32 = numbers
        .next()
        .and_then(|minor| minor.parse().ok())
        .unwrap_or(0);
    Some((major * 10_000 + minor).to_string())
}
