//! Schemas that came from outside.
//!
//! What arrow-rs would assert of one is looked at first, with a limit on everything that recurses or
//! repeats.

use std::ffi::{CStr, c_char};
use std::sync::Arc;

use arrow_array::ffi::FFI_ArrowSchema;
use arrow_schema::{DECIMAL256_MAX_PRECISION, DataType, Field, Schema, SchemaRef};

use crate::CDataError;
use crate::raw::ArrowSchema;

/// Most levels of types within types.
pub(crate) const MOST_LEVELS: usize = 64;

/// Most fields, all levels together.
const MOST_FIELDS: usize = 65_536;

/// Most bytes of the metadata of one field.
const MOST_METADATA: usize = 16 << 20;

/// Reads the schema of batches, which is of struct type. It is not released.
///
/// # Safety
/// `schema` is null or points to a struct that is as the C Data Interface says: pointers in it are
/// null or lead to what they should, texts end in a zero byte.
pub unsafe fn read(schema: *const ArrowSchema) -> Result<SchemaRef, CDataError> {
    // SAFETY: As the caller vouches.
    let known = unsafe { looked_at(schema)? };
    let refused = |error: arrow_schema::ArrowError| malformed(&error.to_string());
    // SAFETY: It was looked at.
    if unsafe { format(&*schema)? } != "+s" {
        return Err(malformed(
            "a batch's type is a struct of its columns, of format `+s`",
        ));
    }
    let read = Schema::try_from(known).map_err(refused)?;
    for field in read.fields() {
        check_type(field.data_type())?;
    }
    Ok(Arc::new(read))
}

/// Reads the schema of one column. It is not released.
///
/// # Safety
/// As [`read`].
pub unsafe fn field(schema: *const ArrowSchema) -> Result<Field, CDataError> {
    // SAFETY: As the caller vouches.
    let known = unsafe { looked_at(schema)? };
    let read = Field::try_from(known);
    let read = read.map_err(|error| malformed(&error.to_string()))?;
    check_type(read.data_type())?;
    Ok(read)
}

/// A schema as arrow-rs has it, once it was looked at.
///
/// # Safety
/// As [`read`].
unsafe fn looked_at<'a>(schema: *const ArrowSchema) -> Result<&'a FFI_ArrowSchema, CDataError> {
    if schema.is_null() {
        return Err(CDataError::Null("ArrowSchema"));
    }
    let mut fields = 0;
    // SAFETY: As the caller vouches.
    unsafe { check(&*schema, 0, &mut fields)? };
    // SAFETY: The same struct, which stays the caller's: it is borrowed, not dropped.
    Ok(unsafe { &*schema.cast::<FFI_ArrowSchema>() })
}

/// # Safety
/// As [`read`].
unsafe fn check(schema: &ArrowSchema, level: usize, fields: &mut usize) -> Result<(), CDataError> {
    *fields += 1;
    if level > MOST_LEVELS || *fields > MOST_FIELDS {
        return Err(malformed(&format!(
            "it has more than {MOST_LEVELS} levels or {MOST_FIELDS} fields"
        )));
    }
    if schema.release.is_none() {
        return Err(malformed("it was released"));
    }
    // SAFETY: As the caller vouches.
    let format = unsafe { format(schema)? };
    // SAFETY: The same.
    unsafe { check_name(schema.name)? };
    // SAFETY: The same.
    unsafe { check_metadata(schema.metadata)? };
    let children = usize::try_from(schema.n_children)
        .map_err(|_| malformed(&format!("it has {} children", schema.n_children)))?;
    let wanted = match format {
        "+l" | "+L" | "+vl" | "+vL" | "+m" => Some(1),
        "+r" => Some(2),
        "+s" => None,
        _ if format.starts_with("+w:") => Some(1),
        _ if format.starts_with("+u") => None,
        _ => Some(0),
    };
    if let Some(wanted) = wanted
        && wanted != children
    {
        return Err(malformed(&format!(
            "type `{format}` has {wanted} children, and not {children}"
        )));
    }
    if children > 0 && schema.children.is_null() {
        return Err(malformed(&format!(
            "its {children} children are a null pointer"
        )));
    }
    for child in 0..children.min(MOST_FIELDS + 1) {
        // SAFETY: There are so many pointers.
        let child = unsafe { *schema.children.add(child) };
        if child.is_null() {
            return Err(malformed("one of its children is a null pointer"));
        }
        // SAFETY: It leads to a child.
        unsafe { check(&*child, level + 1, fields)? };
    }
    if !schema.dictionary.is_null() {
        if !matches!(format, "c" | "C" | "s" | "S" | "i" | "I" | "l" | "L") {
            return Err(malformed(&format!(
                "the keys of a dictionary are integers, and not `{format}`"
            )));
        }
        // SAFETY: It leads to the values' type.
        unsafe { check(&*schema.dictionary, level + 1, fields)? };
    }
    Ok(())
}

/// # Safety
/// The format is null or ends in a zero byte.
unsafe fn format(schema: &ArrowSchema) -> Result<&str, CDataError> {
    if schema.format.is_null() {
        return Err(malformed("its format is a null pointer"));
    }
    // SAFETY: As the caller vouches.
    let format = unsafe { CStr::from_ptr(schema.format) };
    format
        .to_str()
        .map_err(|_| malformed("its format is no UTF-8"))
}

/// # Safety
/// As [`format`].
unsafe fn check_name(name: *const c_char) -> Result<(), CDataError> {
    if name.is_null() {
        return Ok(());
    }
    // SAFETY: As the caller vouches.
    match unsafe { CStr::from_ptr(name) }.to_str() {
        Ok(_) => Ok(()),
        Err(_) => Err(malformed("a name is no UTF-8")),
    }
}

/// Counts are not negative, and all of it is not longer than a limit. That it is as long as it says
/// nobody can tell.
///
/// # Safety
/// Null, or as long as it says.
unsafe fn check_metadata(metadata: *const c_char) -> Result<(), CDataError> {
    if metadata.is_null() {
        return Ok(());
    }
    let wrong = || {
        malformed(&format!(
            "the metadata of a field has a count that is negative, or more than {MOST_METADATA} bytes"
        ))
    };
    let mut at = 0_usize;
    // SAFETY: A count is there, as the caller vouches.
    let count = |at: usize| unsafe { metadata.add(at).cast::<i32>().read_unaligned() };
    let entries = usize::try_from(count(at)).map_err(|_| wrong())?;
    at += size_of::<i32>();
    // Each entry is a key and a value, each with its count: a large number ends at the limit.
    for _ in 0..entries.saturating_mul(2) {
        let bytes = usize::try_from(count(at)).map_err(|_| wrong())?;
        at = at.saturating_add(size_of::<i32>() + bytes);
        if at > MOST_METADATA {
            return Err(wrong());
        }
    }
    Ok(())
}

/// What the format may say and no array can be of.
fn check_type(data_type: &DataType) -> Result<(), CDataError> {
    let all = |fields: &[&Field]| {
        fields
            .iter()
            .try_for_each(|field| check_type(field.data_type()))
    };
    let refused = || Err(malformed(&format!("there is no type {data_type}")));
    match data_type {
        DataType::FixedSizeBinary(width) if *width < 0 => refused(),
        DataType::FixedSizeList(_, width) if *width < 0 => refused(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            let most = match data_type {
                DataType::Decimal32(..) => 9,
                DataType::Decimal64(..) => 18,
                DataType::Decimal128(..) => 38,
                _ => DECIMAL256_MAX_PRECISION,
            };
            let fits = (1..=most).contains(precision) && i16::from(*scale) <= i16::from(*precision);
            if fits { Ok(()) } else { refused() }
        }
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => all(&[field]),
        DataType::Map(field, _) => match field.data_type() {
            DataType::Struct(entries) if entries.len() == 2 => all(&[field]),
            _ => refused(),
        },
        DataType::Struct(fields) => fields
            .iter()
            .try_for_each(|field| check_type(field.data_type())),
        DataType::Union(fields, _) => fields
            .iter()
            .try_for_each(|(_, field)| check_type(field.data_type())),
        DataType::RunEndEncoded(ends, values) => match ends.data_type() {
            DataType::Int16 | DataType::Int32 | DataType::Int64 => all(&[values]),
            _ => refused(),
        },
        DataType::Dictionary(_, values) => check_type(values),
        _ => Ok(()),
    }
}

fn malformed(what: &str) -> CDataError {
    CDataError::malformed(format!("the ArrowSchema is malformed: {what}"))
}
