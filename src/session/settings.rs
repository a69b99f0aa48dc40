//! The settings clients send on their own, kept here. Nothing in this list changes how SQL is read or whom
//! it runs as; five of them change what output looks like and travel to the database with each
//! transaction ([`Setting`]); the rest is only remembered.

use super::told::Told;
use super::transaction::Characteristics;
use crate::sql::statement::Isolation;
use crate::upstream::Setting;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest value of a free text setting, in bytes.
const VALUE_BYTES_MAX: usize = 256;

/// What a setting may be set to.
enum Kind {
    /// `client_encoding`: UTF-8 in any spelling.
    Encoding,
    /// Any value of this look; remembered, without effect.
    Free,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Changes what output looks like.
    Output(Setting),
    /// The default isolation level of transactions to come.
    Isolation,
    /// Who one is: never.
    Identity,
    /// Shown only.
    Shown,
}

struct Listed {
    /// Folded.
    name: &'static str,
    /// As PostgreSQL reports it.
    display: &'static str,
    kind: Kind,
    /// When neither the session nor the database says otherwise.
    default: &'static str,
    /// Reported by ParameterStatus.
    reported: bool,
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
static LIST: &[Listed] = &[
    reported("application_name", "application_name", Kind::Free, ""),
    listed("bytea_output", Kind::Output(Setting::ByteaOutput), "hex"),
    reported("client_encoding", "client_encoding", Kind::Encoding, "UTF8"),
    listed("client_min_messages", Kind::Free, "notice"),
    reported(
        "datestyle",
        "DateStyle",
        Kind::Output(Setting::DateStyle),
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
        Kind::Output(Setting::ExtraFloatDigits),
        "1",
    ),
    listed("geqo", Kind::OneOf(BOOLEAN), "on"),
    listed("idle_in_transaction_session_timeout", Kind::Free, "0"),
    reported("in_hot_standby", "in_hot_standby", Kind::Shown, "off"),
    reported("integer_datetimes", "integer_datetimes", Kind::Shown, "on"),
    reported(
        "intervalstyle",
        "IntervalStyle",
        Kind::Output(Setting::IntervalStyle),
        "postgres",
    ),
    reported("is_superuser", "is_superuser", Kind::Shown, "off"),
    listed("jit", Kind::OneOf(BOOLEAN), "off"),
    listed("lock_timeout", Kind::Free, "0"),
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
    listed("statement_timeout", Kind::Free, "0"),
    reported(
        "timezone",
        "TimeZone",
        Kind::Output(Setting::TimeZone),
        "UTC",
    ),
    listed("transaction_isolation", Kind::Shown, "read committed"),
    listed("transaction_read_only", Kind::OneOf(ON), "on"),
];

/// A change to be reported by ParameterStatus: the name as PostgreSQL writes it, and the value.
pub(crate) type Change = (&'static str, String);

/// Settings by name.
type Values = BTreeMap<&'static str, String>;

/// One session's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database's own, by folded name, and what is fixed for the session.
    base: Arc<BTreeMap<String, String>>,
    current: Values,
    /// What a RESET goes back to: the start-up packet's.
    initial: Values,
    /// While a transaction is open: what its end leaves, by COMMIT and by ROLLBACK.
    on_end: Option<(Values, Values)>,
    output: Vec<(Setting, String)>,
    deferrable: bool,
    /// The open transaction's isolation level, if one was asked for.
    isolation: Option<Isolation>,
}

impl Settings {
    /// The settings of a session: `server` is the database's ParameterStatus, `login` who is logged in.
    pub fn new(server: &[(String, String)], login: &str) -> Self {
        let mut base: BTreeMap<String, String> = server
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect();
        for (name, value) in [
            ("application_name", ""),
            ("client_encoding", "UTF8"),
            ("default_transaction_read_only", "on"),
            ("is_superuser", "off"),
            ("session_authorization", login),
            ("standard_conforming_strings", "on"),
        ] {
            base.insert(name.to_owned(), value.to_owned());
        }
        if let Some(number) = base.get("server_version").and_then(|v| version_number(v)) {
            base.insert("server_version_num".to_owned(), number);
        }
        Self {
            base: Arc::new(base),
            current: BTreeMap::new(),
            initial: BTreeMap::new(),
            on_end: None,
            output: Vec::new(),
            deferrable: false,
            isolation: None,
        }
    }

    /// A setting of the start-up packet.
    ///
    /// # Errors
    /// When it is not on the list, or not to that value.
    pub fn start_up(&mut self, name: &str, value: &str) -> Result<(), Told> {
        self.set(name, &[value.to_owned()], false)?;
        self.initial.clone_from(&self.current);
        Ok(())
    }

    /// What ParameterStatus says at login.
    pub fn reported(&self) -> impl Iterator<Item = Change> {
        LIST.iter()
            .filter(|listed| listed.reported)
            .map(|listed| (listed.display, self.value(listed)))
            .filter(|(_, value)| !value.is_empty())
    }

    /// SET.
    pub(super) fn set(
        &mut self,
        name: &str,
        values: &[String],
        local: bool,
    ) -> Result<Vec<Change>, Told> {
        let listed = find(name)?;
        let value = accept(listed, values)?;
        Ok(self.put(listed, Some(value), local))
    }

    /// RESET, or SET to DEFAULT.
    pub(super) fn reset(&mut self, name: &str) -> Result<Vec<Change>, Told> {
        let listed = find(name)?;
        match listed.kind {
            Kind::Identity | Kind::Shown
                if listed.name != "role" && listed.name != "session_authorization" =>
            {
                Err(cannot_change(listed))
            }
            _ => Ok(self.put(listed, self.initial.get(listed.name).cloned(), false)),
        }
    }

    /// RESET ALL.
    pub(super) fn reset_all(&mut self) -> Vec<Change> {
        let before = self.current.clone();
        self.current.clone_from(&self.initial);
        self.deferrable = false;
        if let Some((on_commit, _)) = &mut self.on_end {
            on_commit.clone_from(&self.initial);
        }
        self.changes_since(&before)
    }

    fn put(&mut self, listed: &'static Listed, value: Option<String>, local: bool) -> Vec<Change> {
        let before = self.current.clone();
        let places = [
            Some(&mut self.current),
            self.on_end
                .as_mut()
                .filter(|_| !local)
                .map(|(on_commit, _)| on_commit),
        ];
        for place in places.into_iter().flatten() {
            match &value {
                Some(value) => place.insert(listed.name, value.clone()),
                None => place.remove(listed.name),
            };
        }
        self.changes_since(&before)
    }

    /// Brings the output settings up to date; what has to be reported.
    fn changes_since(&mut self, before: &BTreeMap<&'static str, String>) -> Vec<Change> {
        self.output.clear();
        let mut changes = Vec::new();
        for listed in LIST {
            let now = self.current.get(listed.name);
            if let (Kind::Output(setting), Some(value)) = (&listed.kind, now)
                && *value != self.base_value(listed)
            {
                self.output.push((*setting, value.clone()));
            }
            if listed.reported && now != before.get(listed.name) {
                changes.push((listed.display, self.value(listed)));
            }
        }
        changes
    }

    /// SHOW.
    pub(super) fn show(&self, name: &str) -> Result<String, Told> {
        Ok(self.value(find(name)?))
    }

    /// SHOW ALL: name, setting, description.
    pub(super) fn show_all(&self) -> Vec<Vec<String>> {
        LIST.iter()
            .map(|listed| vec![listed.display.to_owned(), self.value(listed), String::new()])
            .collect()
    }

    /// The column name of SHOW's answer.
    pub(super) fn display_name(&self, name: &str) -> String {
        find(name).map_or_else(|_| name.to_owned(), |listed| listed.display.to_owned())
    }

    /// The output settings that differ from the pool's.
    pub(super) fn output(&self) -> &[(Setting, String)] {
        &self.output
    }

    /// The database did not accept an output setting: back to the pool's.
    pub(super) fn forget_output(&mut self) {
        let before = self.current.clone();
        for listed in LIST {
            if matches!(listed.kind, Kind::Output(_)) {
                self.current.remove(listed.name);
                self.initial.remove(listed.name);
                if let Some((on_commit, on_rollback)) = &mut self.on_end {
                    on_commit.remove(listed.name);
                    on_rollback.remove(listed.name);
                }
            }
        }
        self.changes_since(&before);
    }

    /// A transaction begins, at this isolation level if one was asked for.
    pub(super) fn begin_transaction(&mut self, isolation: Option<Isolation>) {
        self.on_end = Some((self.current.clone(), self.current.clone()));
        self.isolation = isolation;
    }

    /// SET TRANSACTION.
    pub(super) fn set_isolation(&mut self, isolation: Option<Isolation>) {
        self.isolation = isolation.or(self.isolation);
    }

    /// A transaction ends; what has to be reported.
    pub(super) fn end_transaction(&mut self, committed: bool) -> Vec<Change> {
        let Some((on_commit, on_rollback)) = self.on_end.take() else {
            return Vec::new();
        };
        self.isolation = None;
        let after = if committed { on_commit } else { on_rollback };
        let before = std::mem::replace(&mut self.current, after);
        self.changes_since(&before)
    }

    pub(super) fn set_characteristics(
        &mut self,
        isolation: Option<Isolation>,
        deferrable: Option<bool>,
    ) {
        if let Some(isolation) = isolation {
            let value = isolation_text(isolation).to_owned();
            self.current.insert("default_transaction_isolation", value);
        }
        if let Some(deferrable) = deferrable {
            self.deferrable = deferrable;
        }
    }

    pub(super) fn characteristics(&self) -> Characteristics {
        let isolation = self
            .current
            .get("default_transaction_isolation")
            .and_then(|text| isolation_of(text));
        Characteristics {
            isolation,
            deferrable: self.deferrable,
        }
    }

    fn value(&self, listed: &Listed) -> String {
        if listed.name == "transaction_isolation" {
            let isolation = self.isolation.or(self.characteristics().isolation);
            return isolation_text(isolation.unwrap_or(Isolation::ReadCommitted)).to_owned();
        }
        self.current
            .get(listed.name)
            .cloned()
            .unwrap_or_else(|| self.base_value(listed))
    }

    fn base_value(&self, listed: &Listed) -> String {
        self.base
            .get(listed.name)
            .map_or(listed.default, String::as_str)
            .to_owned()
    }
}

fn find(name: &str) -> Result<&'static Listed, Told> {
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
            .hint("Settings of the server cannot be changed or read here; send SELECT statements.")
        })
}

fn identity(name: &str) -> Told {
    Told::new(
        "42501",
        format!("permission denied to set parameter \"{name}\""),
    )
    .hint("Who you are is fixed when you connect.")
}

fn cannot_change(listed: &Listed) -> Told {
    Told::new(
        "55P02",
        format!("parameter \"{}\" cannot be changed", listed.display),
    )
}

/// The value to remember, in PostgreSQL's spelling.
fn accept(listed: &Listed, values: &[String]) -> Result<String, Told> {
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
        Kind::Output(setting) => output_value(*setting, &text, &folded),
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

fn output_value(setting: Setting, text: &str, folded: &str) -> Option<String> {
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
        // Whether the name is known only the database can say.
        Setting::TimeZone => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_/+-:.,<>".contains(c);
            (!text.is_empty() && text.len() <= 64 && text.chars().all(plain))
                .then(|| text.to_owned())
        }
    }
}

/// `ISO, MDY` from any order and spelling (PostgreSQL manual, section 20.11.2).
fn date_style(folded: &str) -> Option<String> {
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

fn isolation_of(folded: &str) -> Option<Isolation> {
    match folded {
        "read committed" => Some(Isolation::ReadCommitted),
        "read uncommitted" => Some(Isolation::ReadUncommitted),
        "repeatable read" => Some(Isolation::RepeatableRead),
        "serializable" => Some(Isolation::Serializable),
        _ => None,
    }
}

fn isolation_text(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read committed",
        Isolation::ReadUncommitted => "read uncommitted",
        Isolation::RepeatableRead => "repeatable read",
        Isolation::Serializable => "serializable",
    }
}

/// `150020` from `15.20 (Debian ...)`.
fn version_number(version: &str) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let server = [
            (
                "server_version".to_owned(),
                "15.20 (Debian 15.20-1)".to_owned(),
            ),
            ("TimeZone".to_owned(), "Etc/UTC".to_owned()),
        ];
        Settings::new(&server, "bob")
    }

    fn set(settings: &mut Settings, name: &str, value: &str) -> Result<Vec<Change>, Told> {
        settings.set(name, &[value.to_owned()], false)
    }

    #[test]
    fn clients_own_settings_are_accepted() {
        let mut settings = settings();
        for (name, value, shown) in [
            ("client_encoding", "utf-8", "UTF8"),
            ("client_encoding", "UNICODE", "UTF8"),
            ("DateStyle", "ISO", "ISO, MDY"),
            ("datestyle", "german", "German, DMY"),
            ("extra_float_digits", "3", "3"),
            ("TimeZone", "Europe/Berlin", "Europe/Berlin"),
            ("search_path", "public", "public"),
            ("standard_conforming_strings", "on", "on"),
            ("jit", "off", "off"),
        ] {
            assert!(set(&mut settings, name, value).is_ok(), "{name}");
            assert_eq!(settings.show(name).unwrap(), shown, "{name}");
        }
        assert_eq!(settings.show("server_version_num").unwrap(), "150020");
    }

    #[test]
    fn what_would_change_reading_or_identity_is_refused() {
        let mut settings = settings();
        for (name, value, sqlstate) in [
            ("client_encoding", "SJIS", "22023"),
            ("standard_conforming_strings", "off", "22023"),
            ("default_transaction_read_only", "off", "22023"),
            ("row_security", "off", "22023"),
            ("role", "postgres", "42501"),
            ("session_authorization", "postgres", "42501"),
            ("rowgate.user_id", "anne", "42501"),
            ("RowGate.Roles", "{}", "42501"),
            ("is_superuser", "on", "55P02"),
            ("server_version", "1", "55P02"),
            ("session_replication_role", "replica", "42704"),
            ("backslash_quote", "on", "42704"),
            ("TimeZone", "UTC'; DROP TABLE x", "22023"),
        ] {
            let told = set(&mut settings, name, value).unwrap_err();
            assert_eq!(told.sqlstate, sqlstate, "{name}");
        }
    }

    #[test]
    fn only_output_settings_that_differ_travel() {
        let mut settings = settings();
        set(&mut settings, "TimeZone", "Etc/UTC").unwrap();
        assert!(settings.output().is_empty(), "the same as the pool's");
        let changes = set(&mut settings, "timezone", "Asia/Tokyo").unwrap();
        assert_eq!(changes, [("TimeZone", "Asia/Tokyo".to_owned())]);
        assert_eq!(
            settings.output(),
            [(Setting::TimeZone, "Asia/Tokyo".to_owned())]
        );
        settings.reset("timezone").unwrap();
        assert!(settings.output().is_empty());
    }

    #[test]
    fn the_isolation_level_shown_is_the_transactions() {
        let mut settings = settings();
        settings.begin_transaction(Some(Isolation::Serializable));
        assert_eq!(
            settings.show("transaction_isolation").unwrap(),
            "serializable"
        );
        settings.end_transaction(true);
        assert_eq!(
            settings.show("transaction_isolation").unwrap(),
            "read committed"
        );
    }

    #[test]
    fn a_rollback_takes_settings_back_and_set_local_ends_with_the_transaction() {
        let mut settings = settings();
        settings.begin_transaction(None);
        set(&mut settings, "timezone", "Asia/Tokyo").unwrap();
        assert_eq!(settings.end_transaction(false).len(), 1);
        assert_eq!(settings.show("timezone").unwrap(), "Etc/UTC");
        settings.begin_transaction(None);
        set(&mut settings, "timezone", "Asia/Tokyo").unwrap();
        settings
            .set("datestyle", &["sql".to_owned()], true)
            .unwrap();
        settings.end_transaction(true);
        assert_eq!(settings.show("timezone").unwrap(), "Asia/Tokyo");
        assert_eq!(settings.show("datestyle").unwrap(), "ISO, MDY");
    }
}
