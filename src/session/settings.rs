//! The settings clients send on their own, kept here. Nothing in this list changes how SQL is read or whom
//! it runs as; some change what output looks like, or how long a statement may take, and travel to the database with each
//! transaction ([`Setting`]); the rest is only remembered.

use super::setting_list::{
    Kind, LIST, Listed, accept, cannot_change, duration_text, find, isolation_of, isolation_text,
    milliseconds, version_number,
};
use super::told::Told;
use super::transaction::Characteristics;
use crate::limits::Limits;
use crate::sql::statement::Isolation;
use crate::upstream::Setting;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A change to be reported by ParameterStatus: the name as PostgreSQL writes it, and the value.
pub(crate) type Change = (&'static str, String);

/// Settings by name.
type Values = BTreeMap<&'static str, String>;

/// The settings as of a savepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saved {
    current: Values,
    on_commit: Option<Values>,
}

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
    sent: Vec<(Setting, String)>,
    deferrable: bool,
    /// The open transaction's isolation level, if one was asked for.
    isolation: Option<Isolation>,
}

impl Settings {
    /// The settings of a session: `server` is the database's ParameterStatus, `login` who is logged in. The time
    /// limits are the connections' own, and the longest a client can have.
    pub fn new(server: &[(String, String)], login: &str, limits: &Limits) -> Self {
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
        let time_limits = [
            ("lock_timeout", limits.lock_ms_max),
            ("statement_timeout", limits.statement_ms_max),
        ];
        for (name, limit) in time_limits {
            base.insert(name.to_owned(), duration_text(limit));
        }
        if let Some(number) = base.get("server_version").and_then(|v| version_number(v)) {
            base.insert("server_version_num".to_owned(), number);
        }
        Self {
            base: Arc::new(base),
            current: BTreeMap::new(),
            initial: BTreeMap::new(),
            on_end: None,
            sent: Vec::new(),
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
        let value = self.within_limits(listed, accept(listed, values)?);
        if local && self.on_end.is_none() {
            // Its transaction is the statement itself.
            return Ok(Vec::new());
        }
        Ok(self.put(listed, Some(value), local))
    }

    /// A client's time limit may be shorter than the gate's own, never longer.
    fn within_limits(&self, listed: &'static Listed, value: String) -> String {
        if !matches!(&listed.kind, Kind::Sent(setting) if setting.is_limit()) {
            return value;
        }
        let own = self.base_value(listed);
        // 0 is none.
        let limit = |text: &str| milliseconds(text).filter(|limit| *limit > 0);
        match (limit(&value), limit(&own)) {
            (Some(wanted), Some(most)) if wanted < most => value,
            (Some(_), None) => value,
            (_, Some(_)) | (None, None) => own,
        }
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

    /// Brings the settings for the database up to date; what has to be reported.
    fn changes_since(&mut self, before: &BTreeMap<&'static str, String>) -> Vec<Change> {
        self.sent.clear();
        let mut changes = Vec::new();
        for listed in LIST {
            let now = self.current.get(listed.name);
            if let (Kind::Sent(setting), Some(value)) = (&listed.kind, now)
                && *value != self.base_value(listed)
            {
                self.sent.push((*setting, value.clone()));
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

    /// The settings for the database that differ from the connections' own.
    pub(super) fn sent(&self) -> &[(Setting, String)] {
        &self.sent
    }

    /// The database did not accept an output setting: back to the pool's.
    pub(super) fn forget_output(&mut self) {
        let before = self.current.clone();
        for listed in LIST {
            if matches!(listed.kind, Kind::Sent(setting) if !setting.is_limit()) {
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

    /// A transaction begins, at this isolation level if one was asked for; or the one that the statements of a text are
    /// becomes the client's own.
    pub(super) fn begin_transaction(&mut self, isolation: Option<Isolation>) {
        let current = &self.current;
        self.on_end
            .get_or_insert_with(|| (current.clone(), current.clone()));
        self.isolation = isolation;
    }

    /// SET TRANSACTION.
    pub(super) fn set_isolation(&mut self, isolation: Option<Isolation>) {
        self.isolation = isolation.or(self.isolation);
    }

    /// SAVEPOINT.
    pub(super) fn save(&self) -> Saved {
        Saved {
            current: self.current.clone(),
            on_commit: self.on_end.as_ref().map(|(commit, _)| commit.clone()),
        }
    }

    /// ROLLBACK TO; what has to be reported.
    pub(super) fn back_to(&mut self, saved: Saved) -> Vec<Change> {
        if let (Some((on_commit, _)), Some(saved)) = (&mut self.on_end, saved.on_commit) {
            *on_commit = saved;
        }
        let before = std::mem::replace(&mut self.current, saved.current);
        self.changes_since(&before)
    }

    /// Whether its COMMIT and its ROLLBACK leave different settings.
    pub(super) fn hang_on_commit(&self) -> bool {
        let ends = self.on_end.as_ref();
        ends.is_some_and(|(on_commit, on_rollback)| on_commit != on_rollback)
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
        Settings::new(&server, "bob", &Limits::default())
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
        assert!(settings.sent().is_empty(), "the same as the pool's");
        let changes = set(&mut settings, "timezone", "Asia/Tokyo").unwrap();
        assert_eq!(changes, [("TimeZone", "Asia/Tokyo".to_owned())]);
        assert_eq!(
            settings.sent(),
            [(Setting::TimeZone, "Asia/Tokyo".to_owned())]
        );
        settings.reset("timezone").unwrap();
        assert!(settings.sent().is_empty());
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
