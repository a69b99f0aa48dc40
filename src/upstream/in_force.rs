//! What is in force in a connection's open transaction: the principal, and settings that differ from the
//! connection's own. Both are transaction-local, so that nothing of one caller is left for the next.

use super::command::Setting;
use super::connection::Connection;
use super::encode::{bind_texts, execute, parse};
use super::script::{Script, Step};
use crate::error::Fault;
use crate::policy::{PrincipalSettings, SET_PRINCIPAL};
use std::sync::Arc;

/// The statement that tells the database the principal, on every connection.
const PRINCIPAL_STATEMENT: &str = "rowgate";

impl Connection {
    /// Puts the principal, and these settings and no others, in force for the open transaction.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] when a message cannot be put together.
    pub fn become_principal(
        &mut self,
        script: &mut Script,
        principal: &Arc<PrincipalSettings>,
        settings: &[(Setting, String)],
    ) -> Result<(), Fault> {
        let in_force = self
            .principal
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, principal) || current == principal);
        if !in_force {
            self.tell_principal(script, principal)?;
        }
        if self.settings == settings && !self.settings_unsure {
            return Ok(());
        }
        let over: Vec<Setting> = match std::mem::take(&mut self.settings_unsure) {
            true => self.settings_told.clone(),
            false => self.settings.iter().map(|(setting, _)| *setting).collect(),
        };
        for setting in over {
            if !settings.iter().any(|(wanted, _)| *wanted == setting) {
                self.tell_setting(script, setting, None)?;
            }
        }
        for (setting, value) in settings {
            if !self
                .settings
                .iter()
                .any(|(s, v)| s == setting && v == value)
            {
                self.tell_setting(script, *setting, Some(value))?;
            }
        }
        Ok(())
    }

    fn tell_principal(
        &mut self,
        script: &mut Script,
        principal: &Arc<PrincipalSettings>,
    ) -> Result<(), Fault> {
        if !self.principal_prepared {
            parse(&mut self.outbound, PRINCIPAL_STATEMENT, SET_PRINCIPAL, &[])?;
            script.steps.push_back(Step::OwnParse { principal: true });
            self.principal_prepared = true;
        }
        let known = &principal.messages.0;
        match known.get() {
            Some(messages) => self.outbound.extend_from_slice(messages),
            None => {
                let mut messages = Vec::new();
                let values = principal.parameters().map(Some);
                bind_texts(&mut messages, PRINCIPAL_STATEMENT, &values)?;
                execute(&mut messages, "", 0)?;
                self.outbound.extend_from_slice(&messages);
                known.get_or_init(|| messages.into());
            }
        }
        script.steps.push_back(Step::Bind { forward: false });
        script.steps.push_back(Step::Principal);
        self.dirty = true;
        self.principal = Some(Arc::clone(principal));
        Ok(())
    }

    /// Puts one setting in force for the open transaction; `None` = the connection's own value again.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] when a message cannot be put together.
    fn tell_setting(
        &mut self,
        script: &mut Script,
        setting: Setting,
        value: Option<&str>,
    ) -> Result<(), Fault> {
        parse(&mut self.outbound, "", setting.text(), &[])?;
        script.steps.push_back(Step::OwnParse { principal: false });
        self.unnamed = None;
        bind_texts(&mut self.outbound, "", &[value])?;
        script.steps.push_back(Step::Bind { forward: false });
        execute(&mut self.outbound, "", 0)?;
        script.steps.push_back(Step::Setting);
        self.dirty = true;
        if !self.settings_told.contains(&setting) {
            self.settings_told.push(setting);
        }
        self.settings.retain(|(s, _)| *s != setting);
        self.settings
            .extend(value.map(|value| (setting, value.to_owned())));
        Ok(())
    }

    /// The settings in force that texts are read by, in an order that does not depend on when each was told.
    pub(super) fn settings_read_by(&self) -> Vec<(Setting, String)> {
        let read_by = self
            .settings
            .iter()
            .filter(|(setting, _)| !setting.is_limit());
        let mut settings: Vec<_> = read_by.cloned().collect();
        settings.sort();
        settings
    }

    /// The transaction ended: nothing is in force any more.
    pub fn forget_in_force(&mut self) {
        self.principal = None;
        self.settings.clear();
        self.settings_told.clear();
        self.settings_unsure = false;
    }

    /// The transaction went back to a savepoint, or failed: some of what was in force may be, some not. Everything told in it is
    /// told again before the next query, or a literal would be read, and kept prepared, by settings that nobody knows of.
    pub fn doubt_in_force(&mut self) {
        self.principal = None;
        self.settings.clear();
        self.settings_unsure = !self.settings_told.is_empty();
    }
}
