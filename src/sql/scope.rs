//! Which name means which relation, CTE or column: the scopes of one query while it is walked.
//!
//! Relations are resolved exactly, as PostgreSQL does (manual, section 7.8 on WITH). Columns are resolved as
//! far as the scopes are known, for positions and hints; what is unknown is left to PostgreSQL, which sees
//! nothing but shadows.

use super::names;
use crate::error::Refusal;
use crate::policy::{GrantedTable, RelationName};

/// The columns of a FROM item.
#[derive(Debug, Clone)]
pub(super) enum Columns {
    /// All of them, by name.
    Known(Vec<String>),
    /// Not known here (a function's result, an expression without a name).
    Unknown,
}

impl Columns {
    /// Whether a column may exist.
    pub(crate) fn may_have(&self, name: &str) -> bool {
        match self {
            Columns::Known(names) => names.iter().any(|known| known == name),
            Columns::Unknown => true,
        }
    }

    /// These columns with the first ones renamed, as a column alias list does.
    pub(crate) fn renamed(self, aliases: &[String]) -> Columns {
        match self {
            Columns::Known(mut names) => {
                for (name, alias) in names.iter_mut().zip(aliases) {
                    name.clone_from(alias);
                }
                Columns::Known(names)
            }
            Columns::Unknown => Columns::Unknown,
        }
    }
}

/// One entry of a FROM clause.
#[derive(Debug, Clone)]
pub(super) struct FromItem<'g> {
    /// The name its columns are qualified by; empty for a join without alias.
    pub alias: String,
    /// Its columns.
    pub columns: Columns,
    /// The table behind it, when it is a shadow.
    pub table: Option<&'g GrantedTable>,
    /// The name of the relation behind it, when it is a shadow of a table or of a catalogue relation.
    pub relation: Option<&'g RelationName>,
    /// Whether the caller may also write `schema.table.column` for it (no alias given).
    pub bare: bool,
}

/// A column of a FROM item: its index in the frame and the column's name.
pub(super) type ColumnRef = (usize, String);

/// The names one SELECT level brings into scope.
#[derive(Debug, Default)]
pub(super) struct Frame<'g> {
    /// Its FROM clause, left to right.
    pub items: Vec<FromItem<'g>>,
    /// Its output names, once ORDER BY may use them.
    pub outputs: Vec<String>,
    /// Whether some output has a name we do not know.
    pub outputs_unknown: bool,
    /// Whether columns resolved now must be grouped when the level has a GROUP BY.
    pub recording: bool,
    /// Columns used outside aggregates in the output list, HAVING and ORDER BY.
    pub used: Vec<ColumnRef>,
}

/// Where a column name was found.
pub(super) enum Found {
    /// In this frame (index), and there in this item if only one can be meant.
    Column { frame: usize, item: Option<usize> },
    /// Nowhere.
    Nowhere,
}

/// One CTE of the caller's own.
#[derive(Debug, Clone)]
pub(super) struct CteEntry {
    /// Its name, folded.
    pub name: String,
    /// Its columns.
    pub columns: Columns,
}

/// All scopes at one point of the walk.
#[derive(Debug, Default)]
pub(super) struct Scopes<'g> {
    /// WITH lists, outermost first; within one, later entries do not see earlier ones unless pushed.
    pub ctes: Vec<Vec<CteEntry>>,
    /// SELECT levels, outermost first.
    pub frames: Vec<Frame<'g>>,
}

impl<'g> Scopes<'g> {
    /// The caller's CTE a plain name means here.
    pub(crate) fn cte(&self, name: &str) -> Option<&CteEntry> {
        self.ctes
            .iter()
            .rev()
            .flat_map(|list| list.iter().rev())
            .find(|cte| cte.name == name)
    }

    /// The innermost FROM item with this alias: frame index and item index.
    pub(crate) fn item(&self, alias: &str) -> Option<(usize, usize)> {
        self.frames
            .iter()
            .enumerate()
            .rev()
            .find_map(|(frame_index, frame)| {
                let item = frame.items.iter().position(|item| item.alias == alias)?;
                Some((frame_index, item))
            })
    }

    /// Where an unqualified column name is found.
    pub(crate) fn column(&self, name: &str) -> Found {
        for (frame_index, frame) in self.frames.iter().enumerate().rev() {
            let mut certain = frame.items.iter().enumerate().filter(|(_, item)| {
                matches!(item.columns, Columns::Known(_)) && item.columns.may_have(name)
            });
            let first = certain.next().map(|(index, _)| index);
            let ambiguous = certain.next().is_some();
            let unknown = frame.outputs_unknown
                || frame
                    .items
                    .iter()
                    .any(|item| matches!(item.columns, Columns::Unknown));
            let whole_row = frame.items.iter().any(|item| item.alias == name);
            if first.is_some()
                || unknown
                || whole_row
                || frame.outputs.iter().any(|output| output == name)
            {
                let item = if ambiguous { None } else { first };
                return Found::Column {
                    frame: frame_index,
                    item,
                };
            }
        }
        Found::Nowhere
    }

    /// `refusal` of a column that its table does not have, pointing at the table in scope that has it.
    pub(crate) fn or_elsewhere(&self, refusal: Refusal, column: &str) -> Refusal {
        let mut items = self.frames.iter().rev().flat_map(|frame| &frame.items);
        let found = items.find(|item| match &item.columns {
            Columns::Known(columns) => columns.iter().any(|known| known == column),
            Columns::Unknown => false,
        });
        match found {
            Some(item) if !item.alias.is_empty() => refusal.hint(format!(
                "Did you mean {}.{}?",
                names::print(&item.alias),
                names::print(column)
            )),
            Some(_) | None => refusal,
        }
    }

    /// Every column name that is certain to exist somewhere in scope, innermost first.
    pub(crate) fn known_columns(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for item in self
            .frames
            .iter()
            .rev()
            .flat_map(|frame| frame.items.iter())
        {
            if let Columns::Known(columns) = &item.columns {
                for column in columns {
                    if !names.contains(&column.as_str()) {
                        names.push(column.as_str());
                    }
                }
            }
        }
        names
    }

    /// Notes a use of a column for the GROUP BY completion of its level.
    pub(crate) fn record(&mut self, frame: usize, item: usize, column: &str) {
        if let Some(frame) = self.frames.get_mut(frame)
            && frame.recording
        {
            frame.used.push((item, column.to_owned()));
        }
    }
}
