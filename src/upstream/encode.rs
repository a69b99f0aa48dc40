//! Putting messages to the database together (PostgreSQL manual, section 55.7). By hand and into a plain vector, because
//! it is done for each request: the messages of postgres_protocol take twice as long.

use crate::error::{Fault, FaultKind};

/// What a client's Bind carries after the names, checked and cut into its parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binding {
    /// Format codes of the parameters: none (all text), one for all, or one each.
    pub parameter_formats: Vec<i16>,
    /// The parameters with their lengths, as they stand in the message.
    pub parameters: Vec<u8>,
    /// How many there are.
    pub parameter_count: u16,
    /// Format codes of the result: none (all text), one for all, or one each.
    pub result_formats: Vec<i16>,
}

/// The longest value shown whole, in bytes.
const SHOWN_BYTES_MAX: usize = 1024;

impl Binding {
    /// The values as the audit shows them: text as it is, binary in hexadecimal, long ones cut; `None` is NULL.
    pub fn shown(&self) -> Vec<Option<String>> {
        let mut rest = self.parameters.as_slice();
        let mut shown = Vec::with_capacity(usize::from(self.parameter_count));
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let format = match self.parameter_formats.as_slice() {
                [] => 0,
                [all] => *all,
                each => each.get(shown.len()).copied().unwrap_or(0),
            };
            let length = usize::try_from(i32::from_be_bytes(*length)).ok();
            let (value, next) = behind.split_at(length.unwrap_or(0).min(behind.len()));
            rest = next;
            let cut = value.get(..SHOWN_BYTES_MAX).unwrap_or(value);
            shown.push(length.map(|_| match format {
                0 => String::from_utf8_lossy(cut).into_owned(),
                _binary => {
                    let digits = cut.iter().map(|byte| format!("{byte:02x}"));
                    std::iter::once("\\x".to_owned()).chain(digits).collect()
                }
            }));
        }
        shown
    }

    /// Whole numbers as text, and a result in text.
    pub fn of_integers(values: &[u32]) -> Self {
        // At most ten digits each, behind four bytes of length.
        let mut parameters = Vec::with_capacity(14 * values.len());
        let mut digits = itoa::Buffer::new();
        for value in values {
            let digits = digits.format(*value);
            let length = i32::try_from(digits.len()).unwrap_or(0);
            parameters.extend_from_slice(&length.to_be_bytes());
            parameters.extend_from_slice(digits.as_bytes());
        }
        Self {
            parameters,
            parameter_count: u16::try_from(values.len()).unwrap_or(u16::MAX),
            ..Self::default()
        }
    }
}

pub(super) fn statement_name(number: Option<u32>) -> String {
    // Without the machinery of formatting: it is done for each request.
    number.map_or_else(String::new, |number| {
        ["s", itoa::Buffer::new().format(number)].concat()
    })
}

/// A zero-terminated string.
pub(super) fn put_name(out: &mut Vec<u8>, text: &str) -> Result<(), Fault> {
    if text.as_bytes().contains(&0) {
        return Err(Fault::because(FaultKind::Internal, "a zero inside a text"));
    }
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    Ok(())
}

/// As [`put_name`] of [`statement_name`].
pub(super) fn put_statement_name(out: &mut Vec<u8>, number: Option<u32>) {
    if let Some(number) = number {
        out.push(b's');
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
    out.push(0);
}

pub(super) fn put_count(out: &mut Vec<u8>, number: usize) -> Result<(), Fault> {
    out.extend_from_slice(&count(number)?.to_be_bytes());
    Ok(())
}

fn count(number: usize) -> Result<u16, Fault> {
    u16::try_from(number).map_err(|error| Fault::new(FaultKind::Internal, error))
}

pub(super) fn put_text(out: &mut Vec<u8>, value: &str) -> Result<(), Fault> {
    let length =
        i32::try_from(value.len()).map_err(|error| Fault::new(FaultKind::Internal, error))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value.as_bytes());
    Ok(())
}

pub(super) fn put_formats(out: &mut Vec<u8>, formats: &[i16]) -> Result<(), Fault> {
    put_count(out, formats.len())?;
    for format in formats {
        out.extend_from_slice(&format.to_be_bytes());
    }
    Ok(())
}

/// The caller's formats, and text for the `own` parameters behind.
pub(super) fn put_parameter_formats(
    out: &mut Vec<u8>,
    binding: &Binding,
    own: usize,
) -> Result<(), Fault> {
    let formats = &binding.parameter_formats;
    if own == 0 || formats.iter().all(|format| *format == 0) {
        return put_formats(out, if own == 0 { formats } else { &[] });
    }
    let callers = usize::from(binding.parameter_count);
    put_count(out, callers + own)?;
    for index in 0..callers {
        let format = if formats.len() == 1 {
            formats.first()
        } else {
            formats.get(index)
        };
        out.extend_from_slice(&format.copied().unwrap_or(0).to_be_bytes());
    }
    for _ in 0..own {
        out.extend_from_slice(&[0, 0]);
    }
    Ok(())
}

/// A message: type byte, length, body.
pub(super) fn framed(
    out: &mut Vec<u8>,
    tag: u8,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    out.push(tag);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out)?;
    let length =
        i32::try_from(out.len() - start).map_err(|error| Fault::new(FaultKind::Internal, error))?;
    if let Some(slot) = out.get_mut(start..start + 4) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// A message without a body: Sync (`S`), Flush (`H`).
pub(super) fn bare(out: &mut Vec<u8>, tag: u8) {
    out.extend_from_slice(&[tag, 0, 0, 0, 4]);
}

/// Parse.
pub(super) fn parse(out: &mut Vec<u8>, name: &str, text: &str, types: &[u32]) -> Result<(), Fault> {
    framed(out, b'P', |out| {
        put_name(out, name)?;
        put_name(out, text)?;
        put_count(out, types.len())?;
        for oid in types {
            out.extend_from_slice(&oid.to_be_bytes());
        }
        Ok(())
    })
}

/// Bind of text values to a statement of our own, on the unnamed portal.
pub(super) fn bind_texts(
    out: &mut Vec<u8>,
    statement: &str,
    values: &[Option<&str>],
) -> Result<(), Fault> {
    framed(out, b'B', |out| {
        put_name(out, "")?;
        put_name(out, statement)?;
        put_formats(out, &[])?;
        put_count(out, values.len())?;
        for value in values {
            match value {
                Some(value) => put_text(out, value)?,
                None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
        }
        put_formats(out, &[])
    })
}

/// Describe of a statement (`S`) or portal (`P`).
pub(super) fn describe(out: &mut Vec<u8>, kind: u8, name: &str) -> Result<(), Fault> {
    framed(out, b'D', |out| {
        out.push(kind);
        put_name(out, name)
    })
}

/// Execute; `rows_max`: 0 = all rows.
pub(super) fn execute(out: &mut Vec<u8>, portal: &str, rows_max: i32) -> Result<(), Fault> {
    framed(out, b'E', |out| {
        put_name(out, portal)?;
        out.extend_from_slice(&rows_max.to_be_bytes());
        Ok(())
    })
}

/// Close of a statement (`S`) or portal (`P`).
pub(super) fn close(out: &mut Vec<u8>, kind: u8, name: &str) -> Result<(), Fault> {
    framed(out, b'C', |out| {
        out.push(kind);
        put_name(out, name)
    })
}

#[cfg(test)]
mod tests {
    use super::Binding;

    #[test]
    fn values_are_shown_in_their_format() {
        let mut binding = Binding {
            parameter_formats: vec![0, 1, 0],
            parameter_count: 3,
            ..Binding::default()
        };
        for value in [Some(&b"it's"[..]), Some(&[0, 255][..]), None] {
            let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
            binding.parameters.extend(length.to_be_bytes());
            binding.parameters.extend(value.unwrap_or_default());
        }
        let expected = [Some("it's"), Some("\\x00ff"), None].map(|value| value.map(str::to_owned));
        assert_eq!(binding.shown(), expected);
        assert_eq!(Binding::of_integers(&[7]).shown(), [Some("7".to_owned())]);
        // A length beyond the end is cut to what is there.
        binding.parameters = vec![0, 0, 0, 9, b'x'];
        assert_eq!(binding.shown(), [Some("x".to_owned())]);
    }
}
