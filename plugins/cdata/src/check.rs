//! Arrays that came from outside, looked at before anything trusts them.
//!
//! The C Data Interface tells no length of a buffer: it follows from the array's length and type, and
//! of strings and lists from their offsets. So what can be checked is that everything agrees with
//! everything else, and that is checked. That memory is there where a pointer leads is the producer's
//! word.

use arrow_buffer::bit_chunk_iterator::UnalignedBitChunk;
use arrow_data::{ArrayData, BufferSpec, layout};
use arrow_schema::{ArrowError, DataType, Fields, UnionMode};

use crate::CDataError;
use crate::ascending::Ascending;
use crate::raw::ArrowArray;
use crate::schema::MOST_LEVELS;

/// How much of an array is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// What does not grow with the rows: lengths, counts, pointers, first and last offsets.
    Shape,
    /// Each offset, view, run and type number too, and counts of nulls.
    Offsets,
    /// Values as well: UTF-8, keys of dictionaries. arrow-rs does that, once it may have the array.
    Values,
}

/// Most rows of an array, so that no product of them with a width overflows.
const MOST_ROWS: u64 = 1 << 48;

/// Looks at an array of a type, as far as `depth` says. Returns how many bytes of it lie less
/// aligned than arrow-rs computes on, which it copies to have them aligned.
///
/// # Safety
/// Pointers in the array and in those below it are null, or lead to what the C Data Interface says
/// is there; of buffers, as much as lengths and offsets say.
pub unsafe fn check(
    array: &ArrowArray,
    data_type: &DataType,
    depth: Depth,
) -> Result<u64, CDataError> {
    let mut walk = Walk {
        depth,
        unaligned: 0,
        path: Vec::new(),
    };
    // SAFETY: As the caller vouches.
    match unsafe { walk.array(array, data_type) } {
        Ok(()) => Ok(walk.unaligned),
        Err(what) => Err(CDataError::malformed(format!(
            "the ArrowArray is malformed{}: {what}",
            walk.path
                .iter()
                .map(|name| format!(", in `{name}`"))
                .collect::<String>()
        ))),
    }
}

/// Looks at the values of data: UTF-8, keys of dictionaries. Of a batch, that is of a struct, the column is
/// named.
pub fn check_values(data: &ArrayData) -> Result<(), CDataError> {
    let refused = |at: &str, data_type: &DataType, error: ArrowError| {
        let what = match error {
            ArrowError::InvalidArgumentError(what) => what,
            other => other.to_string(),
        };
        let fix = mended_by(data_type);
        CDataError::malformed(format!("the ArrowArray is malformed{at}: {what}{fix}"))
    };
    let DataType::Struct(fields) = data.data_type() else {
        let whole = data.validate_full();
        return whole.map_err(|error| refused("", data.data_type(), error));
    };
    for (field, column) in fields.iter().zip(data.child_data()) {
        let at = format!(", in `{}`", field.name());
        let whole = column.validate_full();
        whole.map_err(|error| refused(&at, field.data_type(), error))?;
    }
    let itself = data.validate().and_then(|()| data.validate_nulls());
    itself.map_err(|error| refused("", &DataType::Null, error))
}

/// What mends values of a type that cannot be.
fn mended_by(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            "; what is no UTF-8 has to be handed over as binary values"
        }
        DataType::Dictionary(..) => {
            "; each key has to be the place of a value of the dictionary, from 0 on, or null"
        }
        nested => crate::elsewhere::children_of(nested)
            .into_iter()
            .map(mended_by)
            .find(|fix| !fix.is_empty())
            .unwrap_or(""),
    }
}

/// Rows of an array of a type, whose lengths and numbers of buffers and children were looked at.
pub(crate) fn rows_of(array: &ArrowArray, data_type: &DataType) -> Result<Rows, CDataError> {
    counts(array, data_type)
        .map_err(|what| CDataError::malformed(format!("the ArrowArray is malformed: {what}")))
}

/// Whether arrays of a type have a bitmap of nulls.
pub(crate) fn can_be_null(data_type: &DataType) -> bool {
    Shape::of(data_type).can_be_null
}

struct Walk<'a> {
    depth: Depth,
    unaligned: u64,
    /// Names of the fields from the outermost to the one at hand; left as it is where one is wrong.
    path: Vec<&'a str>,
}

type Checked = Result<(), String>;

impl<'a> Walk<'a> {
    /// # Safety
    /// As [`check`].
    unsafe fn array(&mut self, array: &ArrowArray, data_type: &'a DataType) -> Checked {
        if self.path.len() > MOST_LEVELS {
            return Err(format!("it has more than {MOST_LEVELS} levels"));
        }
        let rows = counts(array, data_type)?;
        // SAFETY: As the caller vouches; the counts agree with the type.
        unsafe { self.validity(array, data_type, &rows)? };
        // SAFETY: The same.
        unsafe {
            match data_type {
                DataType::Utf8 | DataType::Binary => self.strings::<i32>(array, &rows),
                DataType::LargeUtf8 | DataType::LargeBinary => self.strings::<i64>(array, &rows),
                DataType::Utf8View | DataType::BinaryView => self.views(array, &rows),
                DataType::List(field) | DataType::Map(field, _) => {
                    let wanted = self.offsets::<i32>(array, &rows)?;
                    self.only_child(array, field.name(), field.data_type(), wanted)
                }
                DataType::LargeList(field) => {
                    let wanted = self.offsets::<i64>(array, &rows)?;
                    self.only_child(array, field.name(), field.data_type(), wanted)
                }
                DataType::ListView(field) => {
                    let wanted = self.list_views::<i32>(array, &rows)?;
                    self.only_child(array, field.name(), field.data_type(), wanted)
                }
                DataType::LargeListView(field) => {
                    let wanted = self.list_views::<i64>(array, &rows)?;
                    self.only_child(array, field.name(), field.data_type(), wanted)
                }
                DataType::FixedSizeList(field, width) => {
                    let wanted = rows.end.saturating_mul(u64::try_from(*width).unwrap_or(0));
                    self.only_child(array, field.name(), field.data_type(), wanted)
                }
                DataType::Struct(fields) => self.fields(array, fields, rows.end),
                DataType::Union(fields, mode) => {
                    let lengths = self.type_numbers(array, fields, *mode, &rows)?;
                    for (position, (_, field)) in fields.iter().enumerate() {
                        let wanted = lengths[position];
                        let (name, of) = (field.name(), field.data_type());
                        self.child(array, position, name, of, wanted)?;
                    }
                    Ok(())
                }
                DataType::RunEndEncoded(ends, values) => {
                    self.child(array, 0, ends.name(), ends.data_type(), 0)?;
                    let ends = child(array, 0);
                    let runs = match data_type_of_ends(data_type) {
                        Ends::I16 => self.runs::<i16>(ends, &rows)?,
                        Ends::I32 => self.runs::<i32>(ends, &rows)?,
                        Ends::I64 => self.runs::<i64>(ends, &rows)?,
                    };
                    self.child(array, 1, values.name(), values.data_type(), runs)
                }
                DataType::Dictionary(keys, values) => {
                    self.fixed(array, keys, &rows)?;
                    self.path.push("dictionary");
                    self.array(&*array.dictionary, values)?;
                    self.path.pop();
                    Ok(())
                }
                DataType::Null => Ok(()),
                other => self.fixed(array, other, &rows),
            }
        }
    }

    /// The bitmap of what is not null.
    ///
    /// # Safety
    /// As [`check`]; counts were looked at.
    unsafe fn validity(&self, array: &ArrowArray, data_type: &DataType, rows: &Rows) -> Checked {
        if !Shape::of(data_type).can_be_null {
            return Ok(());
        }
        // SAFETY: It has this buffer.
        let bits = unsafe { buffer(array, 0) };
        if bits.is_null() {
            return match array.null_count {
                -1 | 0 => Ok(()),
                nulls => Err(format!("it has {nulls} nulls and no bitmap of them")),
            };
        }
        if self.depth == Depth::Shape || array.null_count == -1 {
            return Ok(());
        }
        // SAFETY: It has a bit for each row, as the caller vouches.
        let bytes = unsafe { std::slice::from_raw_parts(bits, rows.end.div_ceil(8) as usize) };
        let nulls = zeros(bytes, rows.offset as usize, rows.len());
        if nulls as i64 != array.null_count {
            return Err(format!(
                "its null_count is {} and its bitmap has {nulls} nulls",
                array.null_count
            ));
        }
        Ok(())
    }

    /// Values of fixed width.
    ///
    /// # Safety
    /// As [`check`]; counts were looked at.
    unsafe fn fixed(&mut self, array: &ArrowArray, data_type: &DataType, rows: &Rows) -> Checked {
        if let Some((width, alignment)) = primitive(data_type) {
            let bytes = rows.end.saturating_mul(width as u64);
            // SAFETY: It has the buffers of its type.
            return unsafe { self.present(array, 1, bytes, alignment) };
        }
        for (position, spec) in layout(data_type).buffers.iter().enumerate() {
            match spec {
                BufferSpec::FixedWidth {
                    byte_width,
                    alignment,
                } => {
                    let bytes = rows.end.saturating_mul(*byte_width as u64);
                    // SAFETY: It has the buffers of its type.
                    unsafe { self.present(array, 1 + position, bytes, *alignment)? };
                }
                BufferSpec::BitMap => {
                    let bytes = rows.end.div_ceil(8);
                    // SAFETY: The same.
                    unsafe { self.present(array, 1 + position, bytes, 1)? };
                }
                BufferSpec::VariableWidth | BufferSpec::AlwaysNull => {}
            }
        }
        Ok(())
    }

    /// # Safety
    /// As [`check`]; counts were looked at.
    unsafe fn strings<T: Offset + Ascending>(
        &mut self,
        array: &ArrowArray,
        rows: &Rows,
    ) -> Checked {
        // SAFETY: As the caller vouches.
        let bytes = unsafe { self.offsets::<T>(array, rows)? };
        // SAFETY: Strings have three buffers.
        unsafe { self.present(array, 2, bytes, 1) }
    }

    /// Offsets of strings or lists; how many bytes or items they go to. Without rows there may be none,
    /// or a pointer to nothing, and they are not looked at.
    ///
    /// # Safety
    /// As [`check`]; counts were looked at.
    unsafe fn offsets<T: Offset + Ascending>(
        &mut self,
        array: &ArrowArray,
        rows: &Rows,
    ) -> Result<u64, String> {
        if rows.len() == 0 {
            return Ok(0);
        }
        let bytes = (rows.end + 1) * size_of::<T>() as u64;
        // SAFETY: It has this buffer.
        unsafe { self.present(array, 1, bytes, align_of::<T>())? };
        // SAFETY: It is there, with one offset more than rows.
        let offset = |row: u64| unsafe { number::<T>(buffer(array, 1), row) };
        let (first, last) = (offset(rows.offset), offset(rows.end));
        if first < 0 || last < first {
            return Err(format!("its offsets go from {first} to {last}"));
        }
        if self.depth >= Depth::Offsets {
            // SAFETY: The same.
            unsafe { ascending::<T>(buffer(array, 1), rows)? };
        }
        Ok(last as u64)
    }

    /// # Safety
    /// As [`check`]; counts were looked at.
    unsafe fn views(&mut self, array: &ArrowArray, rows: &Rows) -> Checked {
        const VIEW: u64 = 16;
        const INLINE: u32 = 12;
        // SAFETY: It has this buffer.
        unsafe { self.present(array, 1, rows.end * VIEW, align_of::<u128>())? };
        // Validity, views and, at the end, the lengths of those between.
        let (first, last) = (2, array.n_buffers as usize - 1);
        let data = last - first;
        // SAFETY: There is one length for each.
        unsafe {
            self.present(
                array,
                last,
                (data * size_of::<i64>()) as u64,
                align_of::<i64>(),
            )?
        };
        let mut lengths = Vec::with_capacity(data);
        for position in 0..data {
            // SAFETY: The same.
            let length = unsafe { number::<i64>(buffer(array, last), position as u64) };
            let bytes = u64::try_from(length)
                .map_err(|_| format!("its buffer {} has {length} bytes", first + position))?;
            // SAFETY: It has this buffer.
            unsafe { self.present(array, first + position, bytes, 1)? };
            lengths.push(bytes);
        }
        if self.depth < Depth::Offsets {
            return Ok(());
        }
        for row in rows.offset..rows.end {
            // SAFETY: There are so many views, and each is four numbers of 32 bits.
            let word = |at: u64| unsafe { number::<i32>(buffer(array, 1), row * 4 + at) as u32 };
            let length = word(0);
            if length <= INLINE {
                continue;
            }
            let (index, start) = (word(2), word(3));
            let held = lengths.get(index as usize).copied().unwrap_or(0);
            if u64::from(start) + u64::from(length) > held {
                return Err(format!(
                    "row {}: bytes {start} to {} of its buffer {index}, which has {held}",
                    row - rows.offset,
                    u64::from(start) + u64::from(length)
                ));
            }
        }
        Ok(())
    }

    /// Offsets and lengths of lists in any order; how many items they reach.
    ///
    /// # Safety
    /// As [`check`]; counts were looked at.
    unsafe fn list_views<T: Offset>(
        &mut self,
        array: &ArrowArray,
        rows: &Rows,
    ) -> Result<u64, String> {
        let bytes = rows.end * size_of::<T>() as u64;
        // SAFETY: It has these buffers.
        unsafe {
            self.present(array, 1, bytes, align_of::<T>())?;
            self.present(array, 2, bytes, align_of::<T>())?;
        }
        let mut most = 0;
        // They may be in any order: there is no first and last to go by.
        for row in rows.offset..rows.end {
            // SAFETY: They are there, with one number for each row.
            let (start, length) = unsafe {
                (
                    number::<T>(buffer(array, 1), row),
                    number::<T>(buffer(array, 2), row),
                )
            };
            if start < 0 || length < 0 {
                let row = row - rows.offset;
                return Err(format!("row {row}: {length} items from {start}"));
            }
            most = most.max(start as u64 + length as u64);
        }
        Ok(most)
    }

    /// The type of each row of a union; how many rows each of its children must have.
    ///
    /// # Safety
    /// As [`check`]; counts were looked at.
    unsafe fn type_numbers(
        &mut self,
        array: &ArrowArray,
        fields: &arrow_schema::UnionFields,
        mode: UnionMode,
        rows: &Rows,
    ) -> Result<Vec<u64>, String> {
        // SAFETY: It has this buffer.
        unsafe { self.present(array, 0, rows.end, 1)? };
        if mode == UnionMode::Dense {
            // SAFETY: It has this buffer.
            unsafe { self.present(array, 1, rows.end * 4, align_of::<i32>())? };
        }
        let mut lengths = match mode {
            UnionMode::Sparse => vec![rows.end; fields.len()],
            UnionMode::Dense => vec![0; fields.len()],
        };
        let mut positions = [None; 128];
        for (position, (number, _)) in fields.iter().enumerate() {
            positions[number as usize & 127] = Some(position);
        }
        // There is nothing else to tell how far offsets go.
        for row in rows.offset..rows.end {
            // SAFETY: There is a type number for each row.
            let of = unsafe { buffer(array, 0).cast::<i8>().add(row as usize).read() };
            let position = usize::try_from(of).ok().and_then(|of| positions[of]);
            let Some(position) = position else {
                return Err(format!(
                    "row {} is of type {of}, which is none of the union's",
                    row - rows.offset
                ));
            };
            if mode == UnionMode::Dense {
                // SAFETY: There is an offset for each row.
                let at = unsafe { number::<i32>(buffer(array, 1), row) };
                let at = u64::try_from(at)
                    .map_err(|_| format!("row {} is at {at}", row - rows.offset))?;
                lengths[position] = lengths[position].max(at + 1);
            }
        }
        Ok(lengths)
    }

    /// Where runs end; how many runs there are.
    ///
    /// # Safety
    /// `ends` was looked at.
    unsafe fn runs<T: Offset>(&mut self, ends: &ArrowArray, rows: &Rows) -> Result<u64, String> {
        let runs = Rows {
            offset: ends.offset as u64,
            end: (ends.offset + ends.length) as u64,
        };
        if ends.null_count > 0 {
            return Err("an end of its runs is null".to_owned());
        }
        let mut before = 0;
        for run in runs.offset..runs.end {
            // SAFETY: There are so many.
            let end = unsafe { number::<T>(buffer(ends, 1), run) };
            if end <= before {
                return Err(format!("a run ends at {end}, the one before at {before}"));
            }
            before = end;
        }
        if (before as u64) < rows.end {
            return Err(format!("its runs end at {before}, before row {}", rows.end));
        }
        Ok(runs.len() as u64)
    }

    /// # Safety
    /// As [`check`]; counts were looked at.
    unsafe fn fields(&mut self, array: &ArrowArray, fields: &'a Fields, wanted: u64) -> Checked {
        for (position, field) in fields.iter().enumerate() {
            // SAFETY: As the caller vouches.
            unsafe { self.child(array, position, field.name(), field.data_type(), wanted)? };
        }
        Ok(())
    }

    /// # Safety
    /// As [`check`]; counts were looked at.
    unsafe fn only_child(
        &mut self,
        array: &ArrowArray,
        name: &'a str,
        data_type: &'a DataType,
        wanted: u64,
    ) -> Checked {
        // SAFETY: As the caller vouches.
        unsafe { self.child(array, 0, name, data_type, wanted) }
    }

    /// A child, which has so many rows at least.
    ///
    /// # Safety
    /// As [`check`]; counts were looked at, and there is a child at this position.
    unsafe fn child(
        &mut self,
        array: &ArrowArray,
        position: usize,
        name: &'a str,
        data_type: &'a DataType,
        wanted: u64,
    ) -> Checked {
        self.path.push(name);
        // SAFETY: There are so many.
        if unsafe { (*array.children.add(position)).is_null() } {
            return Err("it is a null pointer".to_owned());
        }
        // SAFETY: It leads to a child.
        let child = unsafe { child(array, position) };
        // SAFETY: The same.
        unsafe { self.array(child, data_type)? };
        if (child.length as u64) < wanted {
            return Err(format!(
                "it has {} rows, and {wanted} are needed",
                child.length
            ));
        }
        self.path.pop();
        Ok(())
    }

    /// That a buffer of so many bytes is there; if it is not aligned, it counts as copied.
    ///
    /// # Safety
    /// There is a buffer at this position.
    unsafe fn present(
        &mut self,
        array: &ArrowArray,
        position: usize,
        bytes: u64,
        alignment: usize,
    ) -> Checked {
        // SAFETY: As the caller vouches.
        let start = unsafe { buffer(array, position) };
        if start.is_null() {
            return match bytes {
                0 => Ok(()),
                bytes => Err(format!(
                    "its buffer {position}, of {bytes} bytes, is a null pointer"
                )),
            };
        }
        if start.align_offset(alignment) != 0 {
            self.unaligned += bytes;
        }
        Ok(())
    }
}

/// Most buffers of an array: of views, which have as many as they need.
const MOST_BUFFERS: i64 = 1 << 20;

/// Rows of an array: those before the first count for its buffers' lengths.
pub(crate) struct Rows {
    offset: u64,
    pub(crate) end: u64,
}

impl Rows {
    fn len(&self) -> usize {
        (self.end - self.offset) as usize
    }
}

/// Lengths and numbers of buffers and children, which everything else goes by.
fn counts(array: &ArrowArray, data_type: &DataType) -> Result<Rows, String> {
    if array.release.is_none() {
        return Err("it was released".to_owned());
    }
    let count = |what: &str, count: i64| {
        u64::try_from(count)
            .ok()
            .filter(|count| *count <= MOST_ROWS)
            .ok_or_else(|| format!("its {what} is {count}"))
    };
    let length = count("length", array.length)?;
    let offset = count("offset", array.offset)?;
    let end = count("length, its offset added,", (length + offset) as i64)?;
    if array.null_count < -1 || array.null_count > array.length {
        return Err(format!(
            "its null_count is {} of {length} rows",
            array.null_count
        ));
    }
    let shape = Shape::of(data_type);
    let buffers = array.n_buffers;
    if buffers < shape.buffers as i64 || (buffers > shape.most && shape.most < MOST_BUFFERS) {
        return Err(format!(
            "it has {buffers} buffers, and {} has {}",
            data_type, shape.buffers
        ));
    }
    if buffers > MOST_BUFFERS {
        return Err(format!(
            "it has {buffers} buffers; the most is {MOST_BUFFERS}"
        ));
    }
    if buffers > 0 && array.buffers.is_null() {
        return Err("its buffers are a null pointer".to_owned());
    }
    if array.n_children != shape.children as i64 {
        return Err(format!(
            "it has {} children, and {data_type} has {}",
            array.n_children, shape.children
        ));
    }
    if shape.children > 0 && array.children.is_null() {
        return Err("its children are a null pointer".to_owned());
    }
    match (array.dictionary.is_null(), data_type) {
        (true, DataType::Dictionary(..)) => Err("it has no dictionary".to_owned()),
        (false, DataType::Dictionary(..)) | (true, _) => Ok(Rows { offset, end }),
        (false, other) => Err(format!("it has a dictionary, and {other} has none")),
    }
}

/// How many buffers and children an array of a type has.
struct Shape {
    buffers: usize,
    /// How many buffers it may have.
    most: i64,
    children: usize,
    can_be_null: bool,
}

impl Shape {
    fn of(data_type: &DataType) -> Shape {
        if primitive(data_type).is_some() {
            return Shape {
                buffers: 2,
                most: 2,
                children: 0,
                can_be_null: true,
            };
        }
        let layout = layout(data_type);
        let buffers = layout.buffers.len() + usize::from(layout.can_contain_null_mask);
        // Views have the lengths of the rest at the end.
        let buffers = buffers + usize::from(layout.variadic);
        let most = match data_type {
            _ if layout.variadic => MOST_BUFFERS,
            // Before Arrow 1.0 it had a bitmap, and some producers, Polars among them, still have a
            // place for it.
            DataType::Null => 1,
            _ => buffers as i64,
        };
        let children = match data_type {
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::FixedSizeList(..)
            | DataType::Map(..) => 1,
            DataType::RunEndEncoded(..) => 2,
            DataType::Struct(fields) => fields.len(),
            DataType::Union(fields, _) => fields.len(),
            _ => 0,
        };
        Shape {
            buffers,
            most,
            children,
            can_be_null: layout.can_contain_null_mask,
        }
    }
}

/// Width and alignment of values, where these alone are what there is beside the nulls: what
/// [`layout`] says, without the memory that it takes to say it.
fn primitive(data_type: &DataType) -> Option<(usize, usize)> {
    macro_rules! native {
        ($of:ty) => {{
            type Native = <$of as arrow_array::ArrowPrimitiveType>::Native;
            Some((size_of::<Native>(), align_of::<Native>()))
        }};
    }
    arrow_array::downcast_primitive! {
        data_type => (native),
        _ => None,
    }
}

/// What ends of runs are.
enum Ends {
    I16,
    I32,
    I64,
}

fn data_type_of_ends(data_type: &DataType) -> Ends {
    match data_type {
        DataType::RunEndEncoded(ends, _) if ends.data_type() == &DataType::Int16 => Ends::I16,
        DataType::RunEndEncoded(ends, _) if ends.data_type() == &DataType::Int64 => Ends::I64,
        _ => Ends::I32,
    }
}

/// Integers that offsets, lengths and ends of runs are.
trait Offset: Copy + PartialOrd {
    fn widened(self) -> i64;
}

impl Offset for i16 {
    fn widened(self) -> i64 {
        self.into()
    }
}

impl Offset for i32 {
    fn widened(self) -> i64 {
        self.into()
    }
}

impl Offset for i64 {
    fn widened(self) -> i64 {
        self
    }
}

/// # Safety
/// There are so many of them at `start`, aligned or not.
unsafe fn number<T: Offset>(start: *const u8, position: u64) -> i64 {
    // SAFETY: As the caller vouches.
    let number = unsafe { start.cast::<T>().add(position as usize).read_unaligned() };
    number.widened()
}

/// That no offset is below zero, nor less than the one before.
///
/// # Safety
/// There is one offset more than rows at `start`, aligned or not.
unsafe fn ascending<T: Offset + Ascending>(start: *const u8, rows: &Rows) -> Checked {
    let is_wrong = if start.cast::<T>().is_aligned() {
        // SAFETY: As the caller vouches.
        let all = unsafe { std::slice::from_raw_parts(start.cast::<T>(), rows.end as usize + 1) };
        T::descends(&all[rows.offset as usize..])
    } else {
        // SAFETY: As the caller vouches.
        let at = |row| unsafe { number::<T>(start, row) };
        (rows.offset..rows.end).any(|row| at(row + 1) < at(row))
    };
    match is_wrong {
        false => Ok(()),
        true => Err("its offsets do not ascend".to_owned()),
    }
}

/// How many of so many bits from an offset on are 0.
pub(crate) fn zeros(bytes: &[u8], offset: usize, bits: usize) -> usize {
    bits - UnalignedBitChunk::new(bytes, offset, bits).count_ones()
}

/// # Safety
/// There is a buffer at this position, or a null pointer in its place.
unsafe fn buffer(array: &ArrowArray, position: usize) -> *const u8 {
    // SAFETY: As the caller vouches.
    unsafe { (*array.buffers.add(position)).cast() }
}

/// # Safety
/// There is a child at this position, and it is not null.
unsafe fn child(array: &ArrowArray, position: usize) -> &ArrowArray {
    // SAFETY: As the caller vouches.
    unsafe { &**array.children.add(position) }
}
