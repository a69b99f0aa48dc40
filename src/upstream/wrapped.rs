//! Statements of our own beside plain queries: wrapped queries (cursors, COPY), and FETCH and MOVE.

use super::command::CursorCommand;
use super::connection::{Connection, StatementName};
use super::description::Shape;
use super::encode::{
    describe, framed, parse, put_formats, put_name, put_statement_name, statement_name,
};
use super::script::{Script, Step};
use crate::error::Fault;
use crate::policy::Standing;
use crate::sql::{VerifiedQuery, Wrapped};
use std::sync::Arc;

impl Connection {
    /// Parses a wrapped query as the unnamed statement.
    ///
    /// # Errors
    /// [`FaultKind::Internal`](crate::error::FaultKind::Internal) when a message cannot be put together.
    pub fn prepare_wrapped(
        &mut self,
        script: &mut Script,
        wrapped: &Wrapped,
        types: &[u32],
    ) -> Result<StatementName, Fault> {
        self.parse_unnamed(wrapped.text(), types)?;
        script.steps.push_back(Step::WrappedParse {
            query: Arc::clone(wrapped.query()),
            head_chars: wrapped.head_chars(),
        });
        Ok(StatementName::UNNAMED)
    }

    /// Parses FETCH or MOVE as the unnamed statement.
    ///
    /// # Errors
    /// As [`Connection::prepare_wrapped`].
    pub fn prepare_fetch(
        &mut self,
        script: &mut Script,
        command: &CursorCommand,
    ) -> Result<StatementName, Fault> {
        self.parse_unnamed(&command.text(), &[])?;
        script.steps.push_back(Step::OwnParse { principal: false });
        Ok(StatementName::UNNAMED)
    }

    fn parse_unnamed(&mut self, text: &str, types: &[u32]) -> Result<(), Fault> {
        parse(&mut self.outbound, "", text, types)?;
        self.unnamed = None;
        self.dirty = true;
        Ok(())
    }

    /// Binds a statement without parameters; its answer goes to the client if `forward`.
    ///
    /// # Errors
    /// As [`Connection::prepare_wrapped`].
    pub fn bind_plain(
        &mut self,
        script: &mut Script,
        portal: &str,
        statement: StatementName,
        result_formats: &[i16],
        forward: bool,
    ) -> Result<(), Fault> {
        framed(&mut self.outbound, b'B', |out| {
            put_name(out, portal)?;
            put_statement_name(out, statement.0);
            // No parameter formats, no parameters.
            out.extend_from_slice(&[0, 0, 0, 0]);
            put_formats(out, result_formats)
        })?;
        script.steps.push_back(Step::Bind { forward });
        self.dirty = true;
        Ok(())
    }

    /// Asks what a statement over `query` gives, and what it takes but for the last `hidden` parameters. What it
    /// gives is told and kept in `shape`; without one the client reads that it gives nothing.
    ///
    /// # Errors
    /// As [`Connection::prepare_wrapped`].
    pub fn describe_statement(
        &mut self,
        script: &mut Script,
        statement: StatementName,
        query: &VerifiedQuery,
        hidden: usize,
        shape: Option<Arc<Shape>>,
    ) -> Result<(), Fault> {
        describe(&mut self.outbound, b'S', &statement_name(statement.0))?;
        script.steps.push_back(Step::DescribeStatement {
            hidden,
            origins: Arc::clone(query.origins()),
            shape,
        });
        self.dirty = true;
        Ok(())
    }

    /// Asks whether a statement, as decided in this standing, still takes (but for the last `hidden` parameters) and gives
    /// what the client was told.
    ///
    /// # Errors
    /// As [`Connection::prepare_wrapped`].
    pub fn compare_statement(
        &mut self,
        script: &mut Script,
        statement: StatementName,
        shape: &Arc<Shape>,
        standing: &Arc<Standing>,
        hidden: usize,
    ) -> Result<(), Fault> {
        let name = statement_name(statement.0);
        describe(&mut self.outbound, b'S', &name)?;
        script.steps.push_back(Step::Compare {
            shape: Arc::clone(shape),
            standing: Arc::clone(standing),
            hidden,
        });
        self.dirty = true;
        Ok(())
    }
}
