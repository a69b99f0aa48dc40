//! `SHOW rowgate.principal`: who the caller is and what it may do, as JSON in one column.

use super::Session;
use super::answer::Answer;
use super::pipeline::{OpenRequest, Stop};
use crate::audit::RequestId;
use crate::sql::statement::StatementKind;
use tokio::time::Instant;

/// The name; it can be shown, and like everything called `rowgate.` never set.
const PRINCIPAL: &str = "rowgate.principal";

/// Whether a statement is `SHOW rowgate.principal`.
pub(super) fn is_asked_for(kind: &StatementKind) -> bool {
    matches!(kind, StatementKind::Show(name) if name == PRINCIPAL)
}

impl Session {
    /// Answers `SHOW rowgate.principal` as of this moment; like a query it may start with a token comment, and
    /// then shows whom the token names. Fails as a query does when the caller's rights cannot be found out.
    pub(super) async fn show_principal(&mut self, text: &str, describe: bool) -> Result<(), Stop> {
        self.check_block()?;
        let (id, started) = (RequestId::next(), Instant::now());
        let standing = self.standing_now(text, id).await?;
        let gate = self
            .gateway
            .record_shown(id, &self.facts, &self.caller, text, &standing);
        self.gates.push(gate);
        self.open.push(OpenRequest { id, started });
        let request = self.script.open_request();
        let profile = standing.profile().to_string();
        self.script.local(Answer::bytes(|answer| {
            if describe {
                answer.columns(&[PRINCIPAL]);
            }
            answer.row(&[profile]);
        }));
        self.complete_locally("SHOW", request);
        Ok(())
    }
}
