//! What a request asks: a text, and the values of its parameters.

use crate::upstream::Binding;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The body of `POST /v1/query`. Values are kept as they were written, so that no number loses a digit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    pub(super) sql: String,
    #[serde(default)]
    pub(super) params: Vec<Box<RawValue>>,
}

impl Ask {
    /// The parameters as text, of the types that the statement infers: strings as they are, numbers and truth values as
    /// written, null as NULL, arrays and objects as JSON text. `None`: more than a statement can have.
    pub(super) fn binding(&self) -> Option<Binding> {
        let mut parameters = Vec::new();
        for value in &self.params {
            let raw = value.get();
            match raw.as_bytes().first() {
                Some(b'n') => parameters.extend_from_slice(&(-1_i32).to_be_bytes()),
                // It was read as JSON already, so a string is one.
                Some(b'"') => put(&mut parameters, &serde_json::from_str::<String>(raw).ok()?)?,
                _ => put(&mut parameters, raw)?,
            }
        }
        Some(Binding {
            parameters,
            parameter_count: u16::try_from(self.params.len()).ok()?,
            ..Binding::default()
        })
    }
}

fn put(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend_from_slice(&i32::try_from(text.len()).ok()?.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::Ask;

    fn ask(body: &str) -> Result<Ask, String> {
        serde_json::from_str(body).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_bound_as_they_were_written() {
        let body = r#"{"sql": "SELECT 1", "params":
            [null, true, 1, 12345678901234567890123456789.10, "it's \u00e9", "", [1, 2], {"a": [1]}, "null"]}"#;
        let shown = ask(body).unwrap().binding().unwrap().shown();
        let expected = [
            None,
            Some("true"),
            Some("1"),
            Some("12345678901234567890123456789.10"),
            Some("it's é"),
            Some(""),
            Some("[1, 2]"),
            Some("{\"a\": [1]}"),
            Some("null"),
        ];
        assert_eq!(shown, expected.map(|value| value.map(str::to_owned)));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        for body in [
            r#"{"sql": "SELECT 1", "sql": "SELECT 2"}"#,
            r#"{"sql": "SELECT 1", "params": [], "params": []}"#,
            r#"{"sql": "SELECT 1", "user_id": "anne"}"#,
            r#"{"sql": ["SELECT 1"]}"#,
            r#"{"sql": "SELECT 1", "params": {"1": 2}}"#,
            r#"{"sql": "SELECT 1"} {"sql": "SELECT 2"}"#,
            r#"{"params": []}"#,
            r#"{"sql": "SELECT \ud800"}"#,
            r#"["SELECT 1"] x"#,
        ] {
            assert!(ask(body).is_err(), "{body}");
        }
    }

    #[test]
    fn depth_takes_no_stack() {
        let deep = "[".repeat(200_000);
        assert!(ask(&format!(r#"{{"sql": "SELECT 1", "params": [{deep}"#)).is_err());
        let closed = "]".repeat(200_000);
        let whole = ask(&format!(
            r#"{{"sql": "SELECT 1", "params": [{deep}{closed}]}}"#
        ));
        assert_eq!(whole.unwrap().params[0].get().len(), 400_000);
    }
}
