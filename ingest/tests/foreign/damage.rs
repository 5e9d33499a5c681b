//! Lengths that cannot be: an error, never the end of the process.

use unlade_ingest::{Input, Scan, ScanOptions};

use crate::contents::file;

/// A length that no memory holds, written over every place where one could stand. An allocation of
/// it would abort the test.
#[test]
fn an_impossible_length_anywhere_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "pyarrow-views-lz4.arrows",
        "pyarrow-views-zstd.arrow",
        "pyarrow-delta.arrows",
        "pyarrow-delta.arrow",
    ] {
        let whole = std::fs::read(file(name).path).unwrap();
        let path = folder.path().join(name);
        let mut refused = 0;
        for place in (0..whole.len() - 8).step_by(4) {
            let mut bytes = whole.clone();
            bytes[place..place + 8].copy_from_slice(&(1_i64 << 56).to_le_bytes());
            std::fs::write(&path, &bytes).unwrap();
            for mmap in [false, true] {
                let options = ScanOptions {
                    mmap,
                    ..ScanOptions::default()
                };
                let read = Scan::open(&[Input::File(path.clone())], options).and_then(|scan| {
                    let columns: Vec<usize> = (0..scan.schema().fields().len()).collect();
                    let reader = scan.into_reader(&columns, None)?;
                    reader.collect::<Result<Vec<_>, _>>()
                });
                refused += usize::from(read.is_err());
            }
        }
        // The rest are values, padding and what nothing depends on.
        assert!(refused > whole.len() / 8, "{name}: {refused}");
    }
}
