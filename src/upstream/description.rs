//! What a query was said to give: the origins that may be told of its columns, and whether it still gives the same.

use crate::error::{Reason, Refusal};
use crate::policy::{Origins, Standing};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The parameters and columns that a client was told a prepared statement has. It may send values and read rows by them
/// without asking again, so a statement that has others by now must not run; PostgreSQL refuses it, too ("cached plan must not
/// change result type").
#[derive(Debug)]
pub struct Shape {
    parameters: OnceLock<Vec<u8>>,
    columns: OnceLock<[u8; 32]>,
    /// The standing in which they are known to be the same.
    holds_in: Mutex<Arc<Standing>>,
}

impl Shape {
    /// Of a statement that is about to be described as decided in this standing.
    pub fn new(standing: &Arc<Standing>) -> Self {
        Self {
            parameters: OnceLock::new(),
            columns: OnceLock::new(),
            holds_in: Mutex::new(Arc::clone(standing)),
        }
    }

    /// Whether a statement decided in this standing has to be looked at before it runs.
    pub fn in_doubt(&self, standing: &Standing) -> bool {
        let holds_in = self.holds_in.lock().unwrap_or_else(PoisonError::into_inner);
        !standing.same_as(&holds_in)
    }

    /// This ParameterDescription goes to the client, without the last `hidden` types.
    pub(super) fn tell_parameters(&self, frame: &[u8], hidden: usize) {
        let _first = self.parameters.set(types(frame, hidden).to_vec());
    }

    /// Whether this ParameterDescription says the types that the client was told.
    pub(super) fn has_parameters(&self, frame: &[u8], hidden: usize) -> bool {
        let told = self.parameters.get();
        told.is_none_or(|told| told == types(frame, hidden))
    }

    /// This RowDescription or NoData goes to the client.
    pub(super) fn tell(&self, frame: &[u8]) {
        if let Some(digest) = digest(frame) {
            // Described once: a second description makes a shape of its own.
            let _first = self.columns.set(digest);
        }
    }

    /// Whether this RowDescription or NoData, of the statement as decided in this standing, says what the client was told;
    /// a client that was told nothing expects nothing.
    pub(super) fn has_columns(&self, frame: &[u8], standing: &Arc<Standing>) -> bool {
        let same = match self.columns.get() {
            Some(told) => digest(frame).is_some_and(|digest| digest == *told),
            None => true,
        };
        if same {
            let mut holds_in = self.holds_in.lock().unwrap_or_else(PoisonError::into_inner);
            *holds_in = Arc::clone(standing);
        }
        same
    }
}

/// What is told when they are not: PostgreSQL's words, at which drivers prepare the statement again.
pub(super) fn changed() -> Refusal {
    let message = "cached plan must not change result type";
    Refusal::new(Reason::FeatureNotSupported, message)
        .hint("What you may see has changed since the statement was described; prepare it again.")
}

/// The types in a ParameterDescription but for the last `hidden` ones, four bytes each.
pub(super) fn types(frame: &[u8], hidden: usize) -> &[u8] {
    let types = frame.get(7..).unwrap_or_default();
    let kept = (types.len() / 4).saturating_sub(hidden);
    types.get(..4 * kept).unwrap_or_default()
}

/// Names and types, in order. `None` = it is no description.
fn digest(frame: &[u8]) -> Option<[u8; 32]> {
    let mut sha = Sha256::new();
    sha.update(frame.get(..1)?);
    if frame.first() == Some(&b'T') {
        let mut rest = frame.get(7..)?;
        while !rest.is_empty() {
            let name = rest.iter().position(|byte| *byte == 0)?;
            let (field, behind) = rest.split_at_checked(name + 19)?;
            // Neither where it comes from nor in which format it is sent.
            sha.update(field.get(..=name)?);
            sha.update(field.get(name + 7..name + 17)?);
            rest = behind;
        }
    }
    Some(sha.finalize().into())
}

/// Puts what may be told of each column's origin into a RowDescription, in place: the table and column that PostgreSQL
/// names are a view's that the caller knows nothing of. `None` = it is not one.
pub(super) fn tell(frame: &mut [u8], origins: &Origins) -> Option<()> {
    let (head, mut rest) = frame.split_at_mut_checked(7)?;
    let columns = u16::from_be_bytes(head.get(5..7)?.try_into().ok()?);
    for _ in 0..columns {
        let name = rest.iter().position(|byte| *byte == 0)?;
        // Table, column, type, its length, its modifier, format: 18 bytes behind the name (manual, section 55.7).
        let (field, behind) = rest.get_mut(name + 1..)?.split_at_mut_checked(18)?;
        let table = u32::from_be_bytes(field.get(..4)?.try_into().ok()?);
        let column = i16::from_be_bytes(field.get(4..6)?.try_into().ok()?);
        let (table, column) = origins.told((table, column));
        field.get_mut(..4)?.copy_from_slice(&table.to_be_bytes());
        field.get_mut(4..6)?.copy_from_slice(&column.to_be_bytes());
        rest = behind;
    }
    rest.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(columns: &[(&str, u32, i16)]) -> Vec<u8> {
        let mut body = Vec::from(u16::try_from(columns.len()).unwrap().to_be_bytes());
        for (name, table, column) in columns {
            body.extend_from_slice(name.as_bytes());
            body.push(0);
            body.extend_from_slice(&table.to_be_bytes());
            body.extend_from_slice(&column.to_be_bytes());
            body.extend_from_slice(&[0, 0, 0, 20, 0, 8, 255, 255, 255, 255, 0, 1]);
        }
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&b"T"[..], &length, &body].concat()
    }

    #[test]
    fn a_column_comes_from_the_granted_table_or_from_nowhere() {
        let origins: Origins = [((900, 2), (100, 7))].into_iter().collect();
        let mut frame = description(&[("a", 900, 2), ("", 900, 3), ("b", 1259, 2), ("c", 0, 0)]);
        assert_eq!(tell(&mut frame, &origins), Some(()));
        let told = description(&[("a", 100, 7), ("", 0, 0), ("b", 0, 0), ("c", 0, 0)]);
        assert_eq!(frame, told);
        assert_eq!(tell(&mut description(&[]), &origins), Some(()));
    }

    #[test]
    fn what_is_no_description_is_not_passed_on() {
        let whole = description(&[("a", 900, 2), ("b", 900, 3)]);
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            assert_eq!(tell(&mut cut, &Origins::default()), None, "{length}");
        }
        let mut longer = [whole, vec![0]].concat();
        assert_eq!(tell(&mut longer, &Origins::default()), None);
    }

    #[test]
    fn a_shape_is_names_and_types_and_nothing_else() {
        let told = description(&[("a", 900, 2), ("b", 900, 3)]);
        let same = description(&[("a", 901, 5), ("b", 0, 0)]);
        assert_eq!(digest(&told), digest(&same));
        let mut other_type = told.clone();
        let mut longer = told.clone();
        // The last column's type and its modifier: 12 and 6 bytes from the end.
        other_type[told.len() - 9] ^= 1;
        longer[told.len() - 3] ^= 1;
        let mut binary = told.clone();
        binary[told.len() - 1] ^= 1;
        assert_eq!(digest(&told), digest(&binary));
        for changed in [
            other_type,
            longer,
            description(&[("a", 900, 2)]),
            description(&[("b", 900, 3), ("a", 900, 2)]),
            description(&[("a", 900, 2), ("B", 900, 3)]),
            description(&[]),
            b"n\0\0\0\x04".to_vec(),
        ] {
            assert_ne!(digest(&told), digest(&changed), "{changed:?}");
        }
        assert_eq!(digest(&told[..told.len() - 1]), None);
    }
}
