//! Arrays whose buffers lie in a device's memory, brought to the host.
//!
//! How long a buffer is follows from lengths and types, and of strings from their last offset, which is
//! itself there: so it is done in two goes. What comes back is an array like any other, to be looked at
//! like any other.

use std::ffi::c_void;
use std::ptr;

use arrow_buffer::Buffer;
use arrow_data::{BufferSpec, layout};
use arrow_schema::DataType;

use crate::CDataError;
use crate::check::{can_be_null, rows_of};
use crate::import::Owned;
use crate::made::Parts;
use crate::raw::ArrowArray;
use crate::readable::has_offsets;

/// A run of bytes of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where it begins, in the device's address space.
    pub address: u64,
    /// Bytes.
    pub len: u64,
}

/// The same array with its buffers on the host, as `fetch` brings runs of bytes there: a buffer for each,
/// of its length.
///
/// # Errors
/// Those of `fetch`, and where lengths, counts or last offsets of the array cannot be.
///
/// # Safety
/// The structs of the array, and pointers in these but for those of buffers, are as the C Data Interface
/// says. Of buffers only the addresses are read.
pub unsafe fn fetched<E: From<CDataError>>(
    array: &ArrowArray,
    of: &DataType,
    mut fetch: impl FnMut(&[Run]) -> Result<Vec<Buffer>, E>,
) -> Result<Owned, E> {
    // SAFETY: As the caller vouches.
    let mut root = unsafe { Node::of(array, of)? };
    root.fetch(&mut fetch)?;
    root.follow()?;
    root.fetch(&mut fetch)?;
    let mut copy = root.into_array();
    // SAFETY: It is here.
    Ok(unsafe { Owned::take(&raw mut copy)? })
}

/// An array on its way.
struct Node {
    length: i64,
    null_count: i64,
    offset: i64,
    pieces: Vec<Piece>,
    follows: Follows,
    children: Vec<Node>,
    dictionary: Option<Box<Node>>,
}

/// A buffer on its way.
struct Piece {
    address: u64,
    /// Known once what it follows from is here.
    len: Option<u64>,
    here: Option<Buffer>,
}

/// What lengths of buffers follow from that is in a buffer itself.
enum Follows {
    Nothing,
    /// The last piece ends where the offset at this place of the one before says, so many bytes wide.
    Offset {
        at: u64,
        width: usize,
    },
    /// The last piece has the lengths of those from this one on.
    Lengths {
        from: usize,
    },
}

impl Node {
    /// # Safety
    /// As [`fetched`].
    unsafe fn of(array: &ArrowArray, of: &DataType) -> Result<Self, CDataError> {
        let rows = rows_of(array, of)?;
        // SAFETY: There are as many as were counted.
        let address = |position: usize| unsafe { *array.buffers.add(position) }.addr() as u64;
        let mut pieces: Vec<Piece> = (0..array.n_buffers as usize)
            .map(|position| Piece {
                address: address(position),
                len: None,
                here: None,
            })
            .collect();
        let mut next = 0;
        if can_be_null(of) {
            let bits = rows.end.div_ceil(8);
            pieces[0].len = Some(if array.null_count == 0 { 0 } else { bits });
            if array.null_count == 0 {
                pieces[0].address = 0;
            }
            next = 1;
        }
        // Without rows there may be none.
        let has_offsets = has_offsets(of);
        let is_read = array.length > 0;
        let values = match has_offsets {
            true if is_read => rows.end + 1,
            true => 0,
            false => rows.end,
        };
        let mut follows = Follows::Nothing;
        let layout = layout(of);
        for spec in &layout.buffers {
            match spec {
                BufferSpec::FixedWidth { byte_width, .. } => {
                    pieces[next].len = Some(values.saturating_mul(*byte_width as u64));
                    follows = Follows::Offset {
                        at: rows.end,
                        width: *byte_width,
                    };
                }
                BufferSpec::BitMap => pieces[next].len = Some(values.div_ceil(8)),
                BufferSpec::VariableWidth | BufferSpec::AlwaysNull => {}
            }
            next += 1;
        }
        if !is_read || !layout.buffers.contains(&BufferSpec::VariableWidth) {
            follows = Follows::Nothing;
        }
        if layout.variadic {
            let lengths = pieces.len() - 1;
            pieces[lengths].len = Some(((lengths - next) * size_of::<i64>()) as u64);
            follows = Follows::Lengths { from: next };
        }
        let child = |position: usize, of: &DataType| {
            // SAFETY: There are as many as were counted, and each leads to an array or is null.
            match unsafe { (*array.children.add(position)).as_ref() } {
                // SAFETY: As the caller vouches.
                Some(child) => unsafe { Node::of(child, of) },
                None => Err(malformed("one of its children is a null pointer")),
            }
        };
        let types = children_of(of);
        let children = types.iter().enumerate();
        let children = children.map(|(position, of)| child(position, of));
        let children = children.collect::<Result<_, _>>()?;
        let dictionary = match of {
            DataType::Dictionary(_, values) => {
                // SAFETY: It is there, as was looked at, and the caller vouches for it.
                let node = unsafe { Node::of(&*array.dictionary, values)? };
                Some(Box::new(node))
            }
            _ => None,
        };
        Ok(Node {
            length: array.length,
            null_count: array.null_count,
            offset: array.offset,
            pieces,
            follows,
            children,
            dictionary,
        })
    }

    /// Brings what is known and not here yet, of all of it at once.
    fn fetch<E>(
        &mut self,
        fetch: &mut impl FnMut(&[Run]) -> Result<Vec<Buffer>, E>,
    ) -> Result<(), E> {
        let mut wanted = Vec::new();
        self.wanted(&mut wanted);
        let runs: Vec<Run> = wanted
            .iter()
            .map(|piece| Run {
                address: piece.address,
                len: piece.len.unwrap_or(0),
            })
            .collect();
        if runs.is_empty() {
            return Ok(());
        }
        let buffers = fetch(&runs)?;
        assert_eq!(buffers.len(), runs.len(), "a buffer for each");
        for (piece, buffer) in wanted.into_iter().zip(buffers) {
            piece.here = Some(buffer);
        }
        Ok(())
    }

    fn wanted<'a>(&'a mut self, wanted: &mut Vec<&'a mut Piece>) {
        let pieces = self.pieces.iter_mut();
        wanted.extend(pieces.filter(|piece| {
            piece.here.is_none() && piece.address != 0 && piece.len.is_some_and(|len| len > 0)
        }));
        for child in &mut self.children {
            child.wanted(wanted);
        }
        if let Some(dictionary) = &mut self.dictionary {
            dictionary.wanted(wanted);
        }
    }

    /// Learns the lengths that follow from what is here.
    fn follow(&mut self) -> Result<(), CDataError> {
        match self.follows {
            Follows::Nothing => {}
            Follows::Offset { at, width } => {
                let last = self.pieces.len() - 1;
                self.pieces[last].len = Some(number(&self.pieces[last - 1], at, width)?);
            }
            Follows::Lengths { from } => {
                let last = self.pieces.len() - 1;
                for position in from..last {
                    let at = (position - from) as u64;
                    let len = number(&self.pieces[last], at, size_of::<i64>())?;
                    self.pieces[position].len = Some(len);
                }
            }
        }
        for child in &mut self.children {
            child.follow()?;
        }
        match &mut self.dictionary {
            Some(dictionary) => dictionary.follow(),
            None => Ok(()),
        }
    }

    /// As an array that owns its copy.
    fn into_array(self) -> ArrowArray {
        let buffers: Vec<Option<Buffer>> =
            self.pieces.into_iter().map(|piece| piece.here).collect();
        let pointers = buffers.iter().map(|buffer| {
            let start = buffer
                .as_ref()
                .map_or(ptr::null(), |buffer| buffer.as_ptr());
            start.cast::<c_void>()
        });
        let parts = Parts {
            length: self.length,
            null_count: self.null_count,
            offset: self.offset,
            buffers: pointers.collect(),
            children: self.children.into_iter().map(Node::into_array).collect(),
            dictionary: self.dictionary.map(|node| node.into_array()),
            keeps: Box::new(buffers),
        };
        parts.into_array()
    }
}

/// A number that is not negative, at a place of a buffer that is here.
fn number(piece: &Piece, at: u64, width: usize) -> Result<u64, CDataError> {
    let Some(buffer) = &piece.here else {
        // Without rows there may be none.
        return Ok(0);
    };
    let start = at as usize * width;
    let bytes = buffer.get(start..start + width);
    let bytes = bytes.ok_or_else(|| malformed("a buffer is shorter than its rows"))?;
    let value = match width {
        4 => i64::from(i32::from_ne_bytes(bytes.try_into().expect("so many"))),
        _ => i64::from_ne_bytes(bytes.try_into().expect("so many")),
    };
    u64::try_from(value).map_err(|_| malformed(&format!("a buffer of it ends at {value}")))
}

/// Types of what is below arrays of a type, but for a dictionary.
pub(crate) fn children_of(of: &DataType) -> Vec<&DataType> {
    match of {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => vec![field.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        _ => Vec::new(),
    }
}

fn malformed(what: &str) -> CDataError {
    CDataError::malformed(format!("the ArrowArray is malformed: {what}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use arrow_array::RecordBatch;

    use super::*;
    use crate::check::Depth;
    use crate::export;
    use crate::import::Rules;
    use crate::tests::{ROWS, columns, one};

    /// As a device would: from where the run lies, which is here.
    fn copied(runs: &[Run]) -> Result<Vec<Buffer>, CDataError> {
        let copy = |run: &Run| {
            // SAFETY: The runs are those of arrays that arrow-rs has made.
            let bytes = unsafe {
                std::slice::from_raw_parts(
                    ptr::with_exposed_provenance::<u8>(run.address as usize),
                    run.len as usize,
                )
            };
            Buffer::from(bytes)
        };
        Ok(runs.iter().map(copy).collect())
    }

    fn through(batch: &RecordBatch) -> (RecordBatch, usize) {
        let (mut array, _) = export::batch(batch);
        let of = DataType::Struct(batch.schema().fields().clone());
        let (mut goes, mut seen) = (0, HashSet::new());
        // SAFETY: It was exported.
        let copy = unsafe {
            fetched(&array, &of, |runs| {
                goes += 1;
                assert!(runs.iter().all(|run| seen.insert((run.address, run.len))));
                copied(runs)
            })
        };
        // SAFETY: It was not released.
        unsafe { array.release.unwrap()(&mut array) };
        let rules = Rules {
            depth: Depth::Values,
            only_aligned: true,
        };
        // SAFETY: It is a copy of what was exported.
        let imported = unsafe { copy.unwrap().import(&batch.schema(), rules) };
        (imported.unwrap().batch, goes)
    }

    #[test]
    fn every_kind_of_array_comes_over_in_two_goes() {
        for column in columns() {
            let batch = one(column);
            for (start, rows) in [(0, ROWS), (3, 20), (ROWS - 1, 1)] {
                let part = batch.slice(start, rows);
                let (copy, goes) = through(&part);
                assert_eq!(copy, part, "{}", part.schema());
                assert!(goes <= 2, "{goes} goes for {}", part.schema());
            }
        }
    }

    #[test]
    fn of_what_has_no_rows_no_offsets_are_fetched() {
        for column in columns()
            .into_iter()
            .filter(|column| has_offsets(column.data_type()))
        {
            let none = one(column).slice(5, 0);
            let (mut array, _) = export::batch(&none);
            let of = DataType::Struct(none.schema().fields().clone());
            // SAFETY: It was made here, with one child, which has offsets.
            let copy = unsafe {
                let child = &mut **array.children;
                *child.buffers.add(1) = ptr::without_provenance(64);
                fetched(&array, &of, |runs| {
                    assert!(runs.iter().all(|run| run.address != 64));
                    copied(runs)
                })
            };
            // SAFETY: It was not released.
            unsafe { array.release.unwrap()(&mut array) };
            let rules = Rules {
                depth: Depth::Values,
                only_aligned: true,
            };
            // SAFETY: It is a copy of what was exported.
            let imported = unsafe { copy.unwrap().import(&none.schema(), rules) };
            assert_eq!(imported.unwrap().batch, none);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let batch = one(columns().swap_remove(0));
        let of = DataType::Struct(batch.schema().fields().clone());
        let harms: [fn(&mut ArrowArray); 3] = [
            |array| array.length = -1,
            |array| array.n_children = 7,
            |array| array.n_buffers = 9,
        ];
        for harm in harms {
            let (mut array, _) = export::batch(&batch);
            let (children, buffers) = (array.n_children, array.n_buffers);
            harm(&mut array);
            // SAFETY: Counts are looked at before anything is followed.
            let refused = unsafe { fetched(&array, &of, copied) };
            assert!(matches!(refused, Err(CDataError::Malformed(_))));
            (array.n_children, array.n_buffers) = (children, buffers);
            // SAFETY: It was not released.
            unsafe { array.release.unwrap()(&mut array) };
        }
    }
}
