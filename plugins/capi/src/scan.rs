//! Files as Arrow streams.

use std::collections::BTreeSet;
use std::ffi::c_char;
use std::path::PathBuf;
use std::slice;

use arrow_array::RecordBatchIterator;
use arrow_schema::ArrowError;
use unlade_cdata::raw::ArrowArrayStream;
use unlade_ingest::{IngestError, Input, Scan, ScanOptions};

use crate::border::{enter, put};
use crate::code::unlade_code::{self, UNLADE_LIMIT, UNLADE_OK};
use crate::error::unlade_error;
use crate::failure::Failure;
use crate::sized::{self, Grows};
use crate::stream::export;
use crate::text;

/// Of `unlade_scan_options.flags`: files are mapped rather than read, and must not change.
pub const UNLADE_SCAN_MMAP: u32 = 1;

/// How files are read. Set all of it to 0, and `struct_size` to its size.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
pub struct unlade_scan_options {
    /// `sizeof(struct unlade_scan_options)`.
    pub struct_size: usize,
    /// The columns to read, by name; the others are not decoded. They come in the order of the file.
    /// Null: all of them.
    pub columns: *const *const c_char,
    /// How many names these are.
    pub columns_count: usize,
    /// Most rows of a batch. 0: 65,536.
    pub batch_rows: u64,
    /// Bytes of a batch, about. 0: 256 MiB.
    pub batch_bytes: u64,
    /// How many threads decode. 0: 1, which is the one that asks for batches.
    pub threads: u32,
    /// `UNLADE_SCAN_MMAP`, or 0.
    pub flags: u32,
}

// SAFETY: It is of plain numbers and pointers; the first is its size.
unsafe impl Grows for unlade_scan_options {
    const NAME: &'static str = "unlade_scan_options";
    const FIRST: usize = size_of::<unlade_scan_options>();
}

/// Most files, and most columns, that may be named.
const MOST_NAMES: usize = 1 << 20;

/// Opens Parquet and Arrow IPC files of one schema as an Arrow stream, in the order of their names.
/// `options` may be null.
///
/// # Safety
/// Pointers are null or as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlade_scan_open(
    paths: *const *const c_char,
    paths_count: usize,
    options: *const unlade_scan_options,
    stream: *mut ArrowArrayStream,
    error: *mut *mut unlade_error,
) -> unlade_code {
    // SAFETY: As the caller vouches, here and below.
    unsafe {
        enter(error, || {
            put(stream, "ArrowArrayStream", ArrowArrayStream::released())?;
            let paths = names(paths, paths_count, "path")?;
            let given = sized::read(options)?;
            let inputs: Vec<Input> = paths
                .into_iter()
                .map(|path| Input::File(PathBuf::from(path)))
                .collect();
            let scan = Scan::open(&inputs, scan_options(&given)?)?;
            let columns = match given.columns.is_null() {
                true => (0..scan.schema().fields().len()).collect(),
                false => {
                    let names = names(given.columns, given.columns_count, "column")?;
                    positions(&scan, &names)?
                }
            };
            let reader = scan.into_reader(&columns, None)?;
            let schema = reader.schema();
            let batches = reader.map(|batch| batch.map_err(external));
            let reader = RecordBatchIterator::new(batches, schema);
            put(stream, "ArrowArrayStream", export(reader))?;
            Ok(UNLADE_OK)
        })
    }
}

fn scan_options(given: &unlade_scan_options) -> Result<ScanOptions, Failure> {
    let usual = ScanOptions::default();
    if given.flags & !UNLADE_SCAN_MMAP != 0 {
        return Err(Failure::argument(format!(
            "the flags of unlade_scan_options are {:#x}, and known is {UNLADE_SCAN_MMAP:#x}",
            given.flags
        )));
    }
    Ok(ScanOptions {
        batch_rows: match given.batch_rows {
            0 => usual.batch_rows,
            rows => usize::try_from(rows).unwrap_or(usize::MAX),
        },
        batch_bytes: match given.batch_bytes {
            0 => usual.batch_bytes,
            bytes => bytes,
        },
        threads: match given.threads {
            0 => usual.threads,
            threads => threads as usize,
        },
        mmap: given.flags != 0,
    })
}

fn external(error: IngestError) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

/// Where these columns are, ascending.
fn positions(scan: &Scan, names: &[&str]) -> Result<Vec<usize>, Failure> {
    let position = |name: &&str| {
        scan.schema().index_of(name).map_err(|_| {
            let known = scan
                .schema()
                .fields()
                .iter()
                .map(|field| field.name().as_str());
            Failure::argument(format!(
                "there is no column `{name}`; there are: {}",
                known.collect::<Vec<_>>().join(", ")
            ))
        })
    };
    let positions: Result<BTreeSet<usize>, Failure> = names.iter().map(position).collect();
    Ok(positions?.into_iter().collect())
}

/// # Safety
/// `names` is null or has so many texts.
unsafe fn names<'a>(
    names: *const *const c_char,
    count: usize,
    what: &str,
) -> Result<Vec<&'a str>, Failure> {
    if names.is_null() {
        return Err(Failure::null(&format!("list of {what}s")));
    }
    if count > MOST_NAMES {
        return Err(Failure::new(
            UNLADE_LIMIT,
            format!("{count} {what}s: the most is {MOST_NAMES}"),
        ));
    }
    // SAFETY: As the caller vouches.
    let names = unsafe { slice::from_raw_parts(names, count) };
    names
        .iter()
        // SAFETY: The same.
        .map(|name| unsafe { text::required(*name, what) })
        .collect()
}
