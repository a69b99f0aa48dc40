//! The canonical form of a tree: its bytes without the places in the text, so that two texts that
//! mean the same have equal bytes.
//!
//! Every message of the protobuf derives `Serialize`; this serializer writes variant indices, lengths
//! and values, in the order of the fields. Given the schema the form can be read in one way only, so
//! equal bytes mean equal trees. On request it also notes what the tree names ([`Facts`]).

use serde::ser::{self, Serialize};
use std::fmt;

/// What a body names: for the check that it reads what it should.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Schema (empty if none) and name of each relation.
    pub(crate) relations: Vec<(String, String)>,
    /// The CTEs it defines, at any depth.
    pub(crate) ctes: Vec<String>,
    /// The numbers of the parameters.
    pub(crate) parameters: Vec<u64>,
}

/// The canonical bytes of a tree; `None` if it could not be written, which no message of the protobuf
/// brings about, and which must not be taken for agreement.
pub(crate) fn bytes(tree: &impl Serialize) -> Option<Vec<u8>> {
    let mut writer = Writer {
        out: Vec::with_capacity(8 * 1024),
        facts: None,
    };
    tree.serialize(&mut writer).ok()?;
    Some(writer.out)
}

/// The canonical bytes of a tree, and what it names.
pub(crate) fn bytes_and_facts(tree: &impl Serialize) -> Option<(Vec<u8>, Facts)> {
    let mut writer = Writer {
        out: Vec::with_capacity(8 * 1024),
        facts: Some(Facts::default()),
    };
    tree.serialize(&mut writer).ok()?;
    Some((writer.out, writer.facts?))
}

/// The fields that say where something stands in the text.
fn is_position(field: &str) -> bool {
    matches!(
        field,
        "location"
            | "stmt_location"
            | "stmt_len"
            | "list_start"
            | "list_end"
            | "rexpr_list_start"
            | "rexpr_list_end"
            | "name_location"
            | "arg_location"
    )
}

/// The serializer's error; never made by it.
#[derive(Debug)]
pub(crate) struct Impossible;

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tree that cannot be written")
    }
}

impl std::error::Error for Impossible {}

impl ser::Error for Impossible {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Impossible
    }
}

struct Writer {
    out: Vec<u8>,
    facts: Option<Facts>,
}

impl Writer {
    /// Notes a field just written, from its bytes. The names of these fields are the same in no other node
    /// that a raw tree of a SELECT can hold.
    fn note(&mut self, field: &'static str, start: usize) {
        let Some(facts) = self.facts.as_mut() else {
            return;
        };
        let written = self.out.get(start..).unwrap_or_default();
        let number = |bytes: &[u8]| match bytes {
            [0xff, rest @ ..] => rest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)),
            [small, ..] => Some(u64::from(*small)),
            [] => None,
        };
        let text = || {
            let length = if written.first() == Some(&0xff) { 9 } else { 1 };
            String::from_utf8_lossy(written.get(length..).unwrap_or_default()).into_owned()
        };
        match field {
            "schemaname" => facts.relations.push((text(), String::new())),
            "relname" => {
                if let Some((_, name)) = facts.relations.last_mut() {
                    *name = text();
                }
            }
            "ctename" => facts.ctes.push(text()),
            "number" => facts.parameters.extend(number(written)),
            _ => {}
        }
    }

    /// A number in as few bytes as it needs; the first byte says how many follow.
    fn number(&mut self, value: u64) {
        match u8::try_from(value) {
            Ok(small) if small < 0xf0 => self.out.push(small),
            _ => {
                self.out.push(0xff);
                self.out.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
}

macro_rules! numbers {
    ($($name:ident: $type:ty),*) => {
        $(fn $name(self, value: $type) -> Result<(), Impossible> {
            self.number(value as u64);
            Ok(())
        })*
    };
}

impl ser::Serializer for &mut Writer {
    type Ok = ();
    type Error = Impossible;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    numbers!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_char: char
    );

    fn serialize_f32(self, value: f32) -> Result<(), Impossible> {
        self.number(u64::from(value.to_bits()));
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Impossible> {
        self.number(value.to_bits());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Impossible> {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Impossible> {
        self.number(value.len() as u64);
        self.out.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Impossible> {
        self.out.push(0);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Impossible> {
        self.out.push(1);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Impossible> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Impossible> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
    ) -> Result<(), Impossible> {
        self.number(u64::from(index));
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Impossible> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Impossible> {
        self.number(u64::from(index));
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Impossible> {
        self.number(length.ok_or(Impossible)? as u64);
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Impossible> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Impossible> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Impossible> {
        self.number(u64::from(index));
        Ok(self)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self, Impossible> {
        self.number(length.ok_or(Impossible)? as u64);
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Impossible> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Impossible> {
        self.number(u64::from(index));
        Ok(self)
    }
}

macro_rules! elements {
    ($trait:ident, $method:ident) => {
        impl ser::$trait for &mut Writer {
            type Ok = ();
            type Error = Impossible;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Impossible> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Impossible> {
                Ok(())
            }
        }
    };
}

elements!(SerializeSeq, serialize_element);
elements!(SerializeTuple, serialize_element);
elements!(SerializeTupleStruct, serialize_field);
elements!(SerializeTupleVariant, serialize_field);

impl ser::SerializeMap for &mut Writer {
    type Ok = ();
    type Error = Impossible;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Impossible> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Impossible> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Impossible> {
        Ok(())
    }
}

macro_rules! fields {
    ($trait:ident) => {
        impl ser::$trait for &mut Writer {
            type Ok = ();
            type Error = Impossible;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Impossible> {
                if is_position(name) {
                    return Ok(());
                }
                let start = self.out.len();
                value.serialize(&mut **self)?;
                self.note(name, start);
                Ok(())
            }

            fn end(self) -> Result<(), Impossible> {
                Ok(())
            }
        }
    };
}

fields!(SerializeStruct);
fields!(SerializeStructVariant);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::pg::statements;

    fn canonical(text: &str) -> Vec<u8> {
        bytes(&statements(text).unwrap()).unwrap()
    }

    #[test]
    fn layout_does_not_count_and_everything_else_does() {
        let text = "SELECT a.x, f(1, 'y') OVER (PARTITION BY b ORDER BY c) FROM t a WHERE x IN (1, 2) AND y = ARRAY[1]";
        let spaced = "select /* c */ a.x,  f( 1,'y' )  over (partition  by b order by c)\nfrom t as a where (x in (1,2)) and y=array[ 1 ];";
        assert_eq!(canonical(text), canonical(spaced));
        for other in [
            text.replace("a.x", "a.y"),
            text.replace("'y'", "'Y'"),
            text.replace("'y'", "y"),
            text.replace("1, 2", "2, 1"),
            text.replace("AND", "OR"),
            text.replace("t a", "s.t a"),
            text.replace("t a", "ONLY t a"),
            text.replace("FROM t a", "FROM t AS a(x)"),
            text.replace("ORDER BY c", "ORDER BY c DESC"),
            text.replace("SELECT", "SELECT DISTINCT"),
            text.replace("x IN", "x NOT IN"),
        ] {
            assert_ne!(canonical(text), canonical(&other), "{other}");
        }
    }

    #[test]
    fn facts_name_relations_ctes_and_parameters() {
        let raw = statements(
            "WITH c AS (SELECT $300 FROM s.t) SELECT * FROM c, u WHERE EXISTS (TABLE v)",
        )
        .unwrap();
        let (_, facts) = bytes_and_facts(&raw).unwrap();
        let pair = |schema: &str, name: &str| (schema.to_owned(), name.to_owned());
        let mut relations = facts.relations;
        relations.sort();
        assert_eq!(
            relations,
            [pair("", "c"), pair("", "u"), pair("", "v"), pair("s", "t")]
        );
        assert_eq!(facts.ctes, ["c"]);
        assert_eq!(facts.parameters, [300]);
    }
}
