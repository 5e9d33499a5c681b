//! Arrow's types, fields and schemas.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, UnionFields};

use crate::cbor::{Item, Reader, Writer};
use crate::error::WireError;

/// The numbers of types. Each is given once and never again.
mod number {
    pub(super) const DICTIONARY: u64 = 15;
    pub(super) const TIMESTAMP: u64 = 16;
    pub(super) const TIME_32: u64 = 17;
    pub(super) const TIME_64: u64 = 18;
    pub(super) const DURATION: u64 = 19;
    pub(super) const INTERVAL: u64 = 20;
    pub(super) const DECIMAL_32: u64 = 21;
    pub(super) const DECIMAL_64: u64 = 22;
    pub(super) const DECIMAL_128: u64 = 23;
    pub(super) const DECIMAL_256: u64 = 24;
    pub(super) const FIXED_SIZE_BINARY: u64 = 31;
    pub(super) const LIST: u64 = 32;
    pub(super) const LARGE_LIST: u64 = 33;
    pub(super) const LIST_VIEW: u64 = 34;
    pub(super) const LARGE_LIST_VIEW: u64 = 35;
    pub(super) const FIXED_SIZE_LIST: u64 = 36;
    pub(super) const STRUCT: u64 = 37;
    pub(super) const UNION: u64 = 38;
    pub(super) const MAP: u64 = 39;
    pub(super) const RUN_END_ENCODED: u64 = 40;
}

/// The types without parameters.
const PLAIN: [(u64, DataType); 21] = [
    (0, DataType::Null),
    (1, DataType::Boolean),
    (2, DataType::Int8),
    (3, DataType::Int16),
    (4, DataType::Int32),
    (5, DataType::Int64),
    (6, DataType::UInt8),
    (7, DataType::UInt16),
    (8, DataType::UInt32),
    (9, DataType::UInt64),
    (10, DataType::Float16),
    (11, DataType::Float32),
    (12, DataType::Float64),
    (13, DataType::Date32),
    (14, DataType::Date64),
    (25, DataType::Utf8),
    (26, DataType::LargeUtf8),
    (27, DataType::Utf8View),
    (28, DataType::Binary),
    (29, DataType::LargeBinary),
    (30, DataType::BinaryView),
];

impl Item for DataType {
    fn write(&self, to: &mut Writer) -> Result<(), WireError> {
        to.counts.data_type()?;
        write_type(self, to)?;
        to.counts.end_data_type();
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.counts.data_type()?;
        let (number, parameters) = from.tagged()?;
        let expected = match number {
            number::TIME_32..=number::INTERVAL
            | number::FIXED_SIZE_BINARY..=number::LARGE_LIST_VIEW
            | number::STRUCT => 1,
            number::DICTIONARY
            | number::TIMESTAMP
            | number::DECIMAL_32..=number::DECIMAL_256
            | number::FIXED_SIZE_LIST
            | number::UNION..=number::RUN_END_ENCODED => 2,
            _ => 0,
        };
        if parameters != expected {
            return Err(from.malformed(format!(
                "type {number} has {expected} parameters, not {parameters}"
            )));
        }
        let data_type = read_type(number, from)?;
        from.counts.end_data_type();
        Ok(data_type)
    }
}

fn write_type(data_type: &DataType, to: &mut Writer) -> Result<(), WireError> {
    use DataType::*;
    match data_type {
        Dictionary(keys, values) => {
            to.tagged(number::DICTIONARY, 2)?;
            to.items([keys.as_ref(), values])
        }
        Timestamp(unit, zone) => {
            to.tagged(number::TIMESTAMP, 2)?;
            unit.write(to)?;
            match zone {
                Some(zone) => to.text(zone),
                None => to.null(),
            }
        }
        Time32(unit) => write_with(number::TIME_32, unit, to),
        Time64(unit) => write_with(number::TIME_64, unit, to),
        Duration(unit) => write_with(number::DURATION, unit, to),
        Interval(unit) => write_with(number::INTERVAL, unit, to),
        Decimal32(precision, scale) => write_decimal(number::DECIMAL_32, *precision, *scale, to),
        Decimal64(precision, scale) => write_decimal(number::DECIMAL_64, *precision, *scale, to),
        Decimal128(precision, scale) => write_decimal(number::DECIMAL_128, *precision, *scale, to),
        Decimal256(precision, scale) => write_decimal(number::DECIMAL_256, *precision, *scale, to),
        FixedSizeBinary(width) => {
            to.tagged(number::FIXED_SIZE_BINARY, 1)?;
            to.integer(i128::from(*width))
        }
        List(field) => write_with(number::LIST, field, to),
        LargeList(field) => write_with(number::LARGE_LIST, field, to),
        ListView(field) => write_with(number::LIST_VIEW, field, to),
        LargeListView(field) => write_with(number::LARGE_LIST_VIEW, field, to),
        FixedSizeList(field, length) => {
            to.tagged(number::FIXED_SIZE_LIST, 2)?;
            field.write(to)?;
            to.integer(i128::from(*length))
        }
        Struct(fields) => {
            to.tagged(number::STRUCT, 1)?;
            to.array(fields.len())?;
            to.items(fields)
        }
        Union(fields, mode) => {
            to.tagged(number::UNION, 2)?;
            mode.write(to)?;
            to.array(fields.len())?;
            for (id, field) in fields.iter() {
                to.array(2)?;
                to.integer(i128::from(id))?;
                field.write(to)?;
            }
            Ok(())
        }
        Map(entries, sorted) => {
            to.tagged(number::MAP, 2)?;
            entries.write(to)?;
            to.boolean(*sorted)
        }
        RunEndEncoded(ends, values) => {
            to.tagged(number::RUN_END_ENCODED, 2)?;
            to.items([ends, values])
        }
        plain => {
            let number = PLAIN.iter().find(|(_, known)| known == plain);
            let (number, _) = number.ok_or_else(|| {
                WireError::NotEncodable(format!("this version of the format has no {plain}"))
            })?;
            to.tagged(*number, 0)
        }
    }
}

fn read_type(number: u64, from: &mut Reader<'_>) -> Result<DataType, WireError> {
    use DataType::*;
    Ok(match number {
        number::DICTIONARY => {
            let (keys, values) = (Item::read(from)?, Item::read(from)?);
            Dictionary(Box::new(keys), Box::new(values))
        }
        number::TIMESTAMP => {
            let unit = Item::read(from)?;
            Timestamp(unit, from.optional(Reader::text)?.map(Arc::from))
        }
        number::TIME_32 => Time32(Item::read(from)?),
        number::TIME_64 => Time64(Item::read(from)?),
        number::DURATION => Duration(Item::read(from)?),
        number::INTERVAL => Interval(Item::read(from)?),
        number::DECIMAL_32 => Decimal32(narrow(from)?, narrow(from)?),
        number::DECIMAL_64 => Decimal64(narrow(from)?, narrow(from)?),
        number::DECIMAL_128 => Decimal128(narrow(from)?, narrow(from)?),
        number::DECIMAL_256 => Decimal256(narrow(from)?, narrow(from)?),
        number::FIXED_SIZE_BINARY => FixedSizeBinary(narrow(from)?),
        number::LIST => List(Item::read(from)?),
        number::LARGE_LIST => LargeList(Item::read(from)?),
        number::LIST_VIEW => ListView(Item::read(from)?),
        number::LARGE_LIST_VIEW => LargeListView(Item::read(from)?),
        number::FIXED_SIZE_LIST => FixedSizeList(Item::read(from)?, narrow(from)?),
        number::STRUCT => {
            let count = from.array()?;
            Struct(from.items::<FieldRef>(count)?.into())
        }
        number::UNION => {
            let mode = Item::read(from)?;
            Union(read_union(from)?, mode)
        }
        number::MAP => Map(Item::read(from)?, from.boolean()?),
        number::RUN_END_ENCODED => RunEndEncoded(Item::read(from)?, Item::read(from)?),
        _ => match PLAIN.iter().find(|(known, _)| *known == number) {
            Some((_, plain)) => plain.clone(),
            None => return Err(from.malformed(format!("no type has number {number}"))),
        },
    })
}

fn write_with(number: u64, parameter: &impl Item, to: &mut Writer) -> Result<(), WireError> {
    to.tagged(number, 1)?;
    parameter.write(to)
}

fn write_decimal(number: u64, precision: u8, scale: i8, to: &mut Writer) -> Result<(), WireError> {
    to.tagged(number, 2)?;
    to.number(u64::from(precision))?;
    to.integer(i128::from(scale))
}

/// An integer of a narrow type.
fn narrow<T: TryFrom<i128>>(from: &mut Reader<'_>) -> Result<T, WireError> {
    let value = from.integer()?;
    T::try_from(value).map_err(|_| from.malformed(format!("{value} is out of range here")))
}

fn read_union(from: &mut Reader<'_>) -> Result<UnionFields, WireError> {
    let count = from.array()?;
    let (mut ids, mut fields) = (Vec::new(), Vec::new());
    for _ in 0..count {
        from.array_of(2, "a union's field")?;
        ids.push(narrow::<i8>(from)?);
        fields.push(FieldRef::read(from)?);
    }
    UnionFields::try_new(ids, fields).map_err(|error| from.malformed(error.to_string()))
}

impl Item for FieldRef {
    fn write(&self, to: &mut Writer) -> Result<(), WireError> {
        to.counts.field()?;
        to.array(4)?;
        to.text(self.name())?;
        self.data_type().write(to)?;
        to.boolean(self.is_nullable())?;
        write_metadata(self.metadata(), to)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.counts.field()?;
        from.array_of(4, "a field")?;
        let name = from.text()?;
        let data_type = DataType::read(from)?;
        let field = Field::new(name, data_type, from.boolean()?);
        Ok(Arc::new(field.with_metadata(read_metadata(from)?)))
    }
}

impl Item for Schema {
    fn write(&self, to: &mut Writer) -> Result<(), WireError> {
        to.array(2)?;
        to.array(self.fields().len())?;
        to.items(self.fields())?;
        write_metadata(self.metadata(), to)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.array_of(2, "a schema")?;
        let count = from.array()?;
        let fields = from.items::<FieldRef>(count)?;
        Ok(Schema::new_with_metadata(fields, read_metadata(from)?))
    }
}

/// A map of texts. Keys are in the order of their encodings: the shorter first, then by bytes.
fn write_metadata(metadata: &HashMap<String, String>, to: &mut Writer) -> Result<(), WireError> {
    let mut entries: Vec<_> = metadata.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| (key.len(), key.as_str()));
    to.map(entries.len())?;
    for (key, value) in entries {
        to.counts.metadata()?;
        to.text(key)?;
        to.text(value)?;
    }
    Ok(())
}

fn read_metadata(from: &mut Reader<'_>) -> Result<HashMap<String, String>, WireError> {
    let mut metadata = HashMap::new();
    for _ in 0..from.map()? {
        from.counts.metadata()?;
        let key = from.text()?;
        metadata.insert(key, from.text()?);
    }
    Ok(metadata)
}
