//! Putting messages to the database together.

use crate::error::{Fault, FaultKind};
use bytes::{BufMut, BytesMut};

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

impl Binding {
    /// Whole numbers as text, and a result in text.
    pub fn of_integers(values: &[u32]) -> Self {
        let mut parameters = Vec::new();
        for value in values {
            let digits = value.to_string();
            // At most ten digits.
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
    number.map_or_else(String::new, |number| format!("s{number}"))
}

pub(super) fn put(result: std::io::Result<()>) -> Result<(), Fault> {
    result.map_err(|error| Fault::new(FaultKind::Internal, error))
}

pub(super) fn count(number: usize) -> Result<u16, Fault> {
    u16::try_from(number).map_err(|error| Fault::new(FaultKind::Internal, error))
}

pub(super) fn put_text(out: &mut BytesMut, value: &str) -> Result<(), Fault> {
    let length =
        i32::try_from(value.len()).map_err(|error| Fault::new(FaultKind::Internal, error))?;
    out.put_i32(length);
    out.put_slice(value.as_bytes());
    Ok(())
}

pub(super) fn put_formats(out: &mut BytesMut, formats: &[i16]) -> Result<(), Fault> {
    out.put_u16(count(formats.len())?);
    for format in formats {
        out.put_i16(*format);
    }
    Ok(())
}

/// The caller's formats, and text for the `own` parameters behind.
pub(super) fn put_parameter_formats(
    out: &mut BytesMut,
    binding: &Binding,
    own: usize,
) -> Result<(), Fault> {
    let formats = &binding.parameter_formats;
    if own == 0 || formats.iter().all(|format| *format == 0) {
        return put_formats(out, if own == 0 { formats } else { &[] });
    }
    let callers = usize::from(binding.parameter_count);
    out.put_u16(count(callers + own)?);
    for index in 0..callers {
        let format = if formats.len() == 1 {
            formats.first()
        } else {
            formats.get(index)
        };
        out.put_i16(format.copied().unwrap_or(0));
    }
    for _ in 0..own {
        out.put_i16(0);
    }
    Ok(())
}

/// A message: type byte, length, body.
pub(super) fn framed(
    out: &mut BytesMut,
    tag: u8,
    body: impl FnOnce(&mut BytesMut) -> Result<(), Fault>,
) -> Result<(), Fault> {
    out.put_u8(tag);
    let start = out.len();
    out.put_i32(0);
    body(out)?;
    let length =
        i32::try_from(out.len() - start).map_err(|error| Fault::new(FaultKind::Internal, error))?;
    if let Some(slot) = out.get_mut(start..start + 4) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}
