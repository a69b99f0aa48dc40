//! Types a cast, a typed literal or a column definition may name. `verify` checks the name that
//! PostgreSQL's grammar makes of it; here is the readable refusal.

use super::super::lists;
use super::super::names;
use super::{Rewriter, other_dialect};
use crate::error::{Reason, Refusal};
use sqlparser::ast::{ArrayElemTypeDef, DataType, ObjectName, Spanned};

impl Rewriter<'_> {
    /// Checks a type name.
    pub(crate) fn data_type(&self, data_type: &DataType) -> Result<(), Refusal> {
        match data_type {
            DataType::Custom(name, _modifiers) => self.custom_type(name),
            DataType::Array(element) => match element {
                ArrayElemTypeDef::SquareBracket(inner, _)
                | ArrayElemTypeDef::Qualified(inner, _) => self.data_type(inner),
                ArrayElemTypeDef::None
                | ArrayElemTypeDef::AngleBracket(_)
                | ArrayElemTypeDef::Parenthesis(_) => {
                    Err(other_dialect("this array type", "Write type[]."))
                }
            },
            DataType::Regclass => Err(refused("regclass")),
            DataType::Character(_)
            | DataType::Char(_)
            | DataType::CharacterVarying(_)
            | DataType::CharVarying(_)
            | DataType::Varchar(_)
            | DataType::Uuid
            | DataType::Numeric(_)
            | DataType::Decimal(_)
            | DataType::Dec(_)
            | DataType::Float(_)
            | DataType::Int2(_)
            | DataType::SmallInt(_)
            | DataType::Int(_)
            | DataType::Int4(_)
            | DataType::Int8(_)
            | DataType::Integer(_)
            | DataType::BigInt(_)
            | DataType::Float4
            | DataType::Real
            | DataType::Float8
            | DataType::DoublePrecision
            | DataType::Bool
            | DataType::Boolean
            | DataType::Date
            | DataType::Time(_, _)
            | DataType::Timestamp(_, _)
            | DataType::Interval {
                fields: _,
                precision: _,
            }
            | DataType::JSON
            | DataType::JSONB
            | DataType::Text
            | DataType::Bytea
            | DataType::Bit(_)
            | DataType::BitVarying(_)
            | DataType::VarBit(_)
            | DataType::GeometricType(_)
            | DataType::TsVector
            | DataType::TsQuery => Ok(()),
            DataType::Table(_)
            | DataType::NamedTable {
                name: _,
                columns: _,
            }
            | DataType::Nvarchar(_)
            | DataType::CharacterLargeObject(_)
            | DataType::CharLargeObject(_)
            | DataType::Clob(_)
            | DataType::Binary(_)
            | DataType::Varbinary(_)
            | DataType::Blob(_)
            | DataType::TinyBlob
            | DataType::MediumBlob
            | DataType::LongBlob
            | DataType::Bytes(_)
            | DataType::DecimalUnsigned(_)
            | DataType::BigNumeric(_)
            | DataType::BigDecimal(_)
            | DataType::DecUnsigned(_)
            | DataType::FloatUnsigned(_)
            | DataType::TinyInt(_)
            | DataType::TinyIntUnsigned(_)
            | DataType::UTinyInt
            | DataType::Int2Unsigned(_)
            | DataType::SmallIntUnsigned(_)
            | DataType::USmallInt
            | DataType::MediumInt(_)
            | DataType::MediumIntUnsigned(_)
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Int128
            | DataType::Int256
            | DataType::IntUnsigned(_)
            | DataType::Int4Unsigned(_)
            | DataType::IntegerUnsigned(_)
            | DataType::HugeInt
            | DataType::UHugeInt
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::UInt128
            | DataType::UInt256
            | DataType::BigIntUnsigned(_)
            | DataType::UBigInt
            | DataType::Int8Unsigned(_)
            | DataType::Signed
            | DataType::SignedInteger
            | DataType::Unsigned
            | DataType::UnsignedInteger
            | DataType::Float32
            | DataType::Float64
            | DataType::RealUnsigned
            | DataType::Double(_)
            | DataType::DoubleUnsigned(_)
            | DataType::DoublePrecisionUnsigned
            | DataType::Date32
            | DataType::Datetime(_)
            | DataType::Datetime64(_, _)
            | DataType::TimestampNtz(_)
            | DataType::TinyText
            | DataType::MediumText
            | DataType::LongText
            | DataType::String(_)
            | DataType::FixedString(_)
            | DataType::Map(_, _, _)
            | DataType::Tuple(_)
            | DataType::Nested(_)
            | DataType::Enum(_, _)
            | DataType::Set(_)
            | DataType::Struct(_, _)
            | DataType::Union(_)
            | DataType::Nullable(_)
            | DataType::LowCardinality(_)
            | DataType::Unspecified
            | DataType::Trigger
            | DataType::AnyType => Err(other_dialect(
                &format!("type {}", names::list([data_type.to_string().as_str()])),
                "Use a PostgreSQL type: text, integer, bigint, numeric, double precision, date, timestamp, boolean.",
            )),
        }
    }

    fn custom_type(&self, name: &ObjectName) -> Result<(), Refusal> {
        let position = self.position(name.span());
        let folded: Vec<String> = names::parts(name, position)?
            .into_iter()
            .map(|ident| names::fold(ident, position))
            .collect::<Result<_, _>>()?;
        match folded.as_slice() {
            [plain] if lists::cast_type(plain) => Ok(()),
            [schema, plain] if schema == "pg_catalog" && lists::cast_type(plain) => Ok(()),
            _unlisted => Err(refused(&folded.join(".")).at(position)),
        }
    }
}

fn refused(name: &str) -> Refusal {
    Refusal::new(Reason::CastNotAllowed, format!("type {} is not available here", names::shown(name))).hint(
        "Cast to a built-in type: text, integer, bigint, numeric, double precision, date, timestamp, boolean, jsonb.",
    )
}
