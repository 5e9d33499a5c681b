//! Batches survive every format, in order, with every number of threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int32Array, ListArray, RecordBatch, StringArray,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use unlade_ingest::{Format, IngestError, Input, MappedFiles, Scan, ScanOptions, Sink, Target};

fn batch(start: i32, rows: i32) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter(
        (start..start + rows).map(|value| (value % 7 != 0).then_some(value)),
    ));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
        (start..start + rows).map(|v| format!("row {v}")),
    ));
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
        (start..start + rows).map(|v| Some((0..v % 3).map(Some).collect::<Vec<_>>())),
    ));
    RecordBatch::try_from_iter([("number", numbers), ("text", texts), ("list", lists)]).unwrap()
}

fn write(path: PathBuf, format: Format, batches: &[RecordBatch]) -> PathBuf {
    let schema = batches[0].schema();
    let mut sink = Sink::create(Target::File(path.clone()), format, &schema).unwrap();
    for batch in batches {
        sink.write(batch).unwrap();
    }
    sink.finish().unwrap();
    path
}

fn read(inputs: &[PathBuf], columns: &[usize], options: ScanOptions) -> Vec<RecordBatch> {
    let inputs: Vec<Input> = inputs.iter().cloned().map(Input::File).collect();
    let scan = Scan::open(&inputs, options).unwrap();
    scan.into_reader(columns, None)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn numbers(batches: &[RecordBatch]) -> Vec<Option<i32>> {
    batches
        .iter()
        .flat_map(|batch| {
            let column = batch
                .column(0)
                .as_any()
                .downcast_ref::<Int32Array>()
                .unwrap();
            column.iter().collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn every_format_and_thread_count_keeps_order() {
    let folder = tempfile::tempdir().unwrap();
    let batches: Vec<RecordBatch> = (0..5).map(|part| batch(part * 1000, 1000)).collect();
    let expected = numbers(&batches);
    for (format, name) in [
        (Format::Parquet, "a.parquet"),
        (Format::ArrowFile, "a.arrow"),
        (Format::ArrowStream, "a.arrows"),
    ] {
        let path = write(folder.path().join(name), format, &batches);
        for threads in [1, 2, 5] {
            for mmap in [false, true] {
                let options = ScanOptions {
                    batch_rows: 300,
                    threads,
                    mmap,
                    ..ScanOptions::default()
                };
                let read = read(&[path.clone(), path.clone()], &[0, 2], options);
                assert!(
                    read.iter()
                        .all(|batch| batch.num_rows() <= 300 && batch.num_columns() == 2)
                );
                let twice: Vec<_> = expected.iter().chain(&expected).copied().collect();
                assert_eq!(
                    numbers(&read),
                    twice,
                    "{format} by {threads} threads, mmap {mmap}"
                );
            }
        }
    }
}

#[test]
fn mapped_arrow_buffers_are_used_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        folder.path().join("a.arrow"),
        Format::ArrowFile,
        &[batch(0, 1000)],
    );
    let values = |mmap| {
        let options = ScanOptions {
            mmap,
            ..ScanOptions::default()
        };
        let batches = read(std::slice::from_ref(&path), &[0], options);
        batches[0].column(0).to_data().buffers()[0].clone()
    };
    // Two slices of one map lie as far apart as in the file; what was copied has its own block.
    let (mapped, copied) = (values(true), values(false));
    assert_eq!(mapped, copied);
    assert!(in_a_mapping_of(&path, mapped.as_ptr()));
    assert!(!in_a_mapping_of(&path, copied.as_ptr()));
}

#[test]
fn a_mapped_file_that_shrinks_after_it_was_read_is_found() {
    MappedFiles::survive_missing_pages().unwrap();
    for format in [Format::ArrowFile, Format::Parquet] {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path().join("a"), format, &[batch(0, 100_000)]);
        let options = ScanOptions {
            mmap: true,
            ..ScanOptions::default()
        };
        let scan = Scan::open(&[Input::File(path.clone())], options).unwrap();
        let files = scan.mapped_files();
        let batches: Vec<RecordBatch> = scan
            .into_reader(&[0], None)
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        files.check().unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(100).unwrap();
        for batch in &batches {
            // What is gone is touched, without a crash.
            let values = batch.column(0).to_data().buffers()[0].clone();
            std::hint::black_box(values.iter().filter(|byte| **byte == 0).count());
        }
        let error = files.check().unwrap_err().to_string();
        assert!(
            error.contains("to 100 bytes while it was mapped"),
            "{error}"
        );
    }
}

/// Whether the kernel lists an address inside a mapping of the file.
fn in_a_mapping_of(path: &Path, address: *const u8) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    maps.lines()
        .filter(|line| line.ends_with(name))
        .any(|line| {
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let bound = |text| usize::from_str_radix(text, 16).unwrap();
            (bound(start)..bound(end)).contains(&address.addr())
        })
}

#[test]
fn batches_know_their_file_and_row() {
    let folder = tempfile::tempdir().unwrap();
    let batches: Vec<RecordBatch> = (0..3).map(|part| batch(part * 1000, 1000)).collect();
    let parquet = write(folder.path().join("a.parquet"), Format::Parquet, &batches);
    let arrow = write(folder.path().join("a.arrow"), Format::ArrowFile, &batches);
    for threads in [1, 3] {
        let options = ScanOptions {
            batch_rows: 300,
            threads,
            ..ScanOptions::default()
        };
        let inputs = [Input::File(parquet.clone()), Input::File(arrow.clone())];
        let scan = Scan::open(&inputs, options).unwrap();
        let mut reader = scan.into_reader(&[0], None).unwrap();
        let mut seen = 0;
        while let Some(next) = reader.next_located() {
            let (location, batch) = next.unwrap();
            let path = if seen < 3000 { &parquet } else { &arrow };
            assert_eq!(location.place, unlade_ingest::Place::File(path.clone()));
            assert_eq!(location.first_row, seen % 3000);
            seen += batch.num_rows() as u64;
        }
        assert_eq!(seen, 6000);
    }
}

#[test]
fn differing_schemas_name_the_file_and_the_column() {
    let folder = tempfile::tempdir().unwrap();
    let one = write(
        folder.path().join("one.parquet"),
        Format::Parquet,
        &[batch(0, 10)],
    );
    let other = batch(0, 10).project(&[1, 0]).unwrap();
    let two = write(folder.path().join("two.parquet"), Format::Parquet, &[other]);
    let inputs = [Input::File(one), Input::File(two)];
    let scan = Scan::open(&inputs, ScanOptions::default()).unwrap();
    let message = scan.into_reader(&[0], None).unwrap_err().to_string();
    assert!(
        message.contains("two.parquet") && message.contains("`text`"),
        "{message}"
    );
}

#[test]
fn columns_that_are_not_read_may_differ() {
    let folder = tempfile::tempdir().unwrap();
    let whole = batch(0, 10);
    let parts = [whole.clone(), whole.project(&[0, 2]).unwrap()];
    let names = ["one.parquet", "two.parquet"];
    let paths: Vec<PathBuf> = names
        .iter()
        .zip(parts)
        .map(|(name, part)| write(folder.path().join(name), Format::Parquet, &[part]))
        .collect();
    let rows = |paths: &[PathBuf], columns: &[usize]| -> Result<usize, IngestError> {
        let inputs: Vec<Input> = paths.iter().cloned().map(Input::File).collect();
        let reader = Scan::open(&inputs, ScanOptions::default())?.into_reader(columns, None)?;
        reader.map(|batch| Ok(batch?.num_rows())).sum()
    };
    assert_eq!(rows(&paths, &[0]).unwrap(), 20);
    for columns in [&[0, 1][..], &[0, 2], &[0, 1, 2]] {
        let message = rows(&paths, columns).unwrap_err().to_string();
        assert!(message.contains("two.parquet"), "{message}");
    }
    let swapped = [paths[1].clone(), paths[0].clone()];
    let message = rows(&swapped, &[0, 1]).unwrap_err().to_string();
    assert!(message.contains("`text`, not `list`"), "{message}");
    let more = [paths[0].clone(), paths[0].clone()];
    assert_eq!(rows(&more, &[0, 1, 2]).unwrap(), 20);
}

#[test]
fn damage_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for (format, name) in [
        (Format::Parquet, "a.parquet"),
        (Format::ArrowFile, "a.arrow"),
        (Format::ArrowStream, "a.arrows"),
    ] {
        let path = write(
            folder.path().join(name),
            format,
            &[batch(0, 1000), batch(1000, 1000)],
        );
        let whole = std::fs::read(&path).unwrap();
        let mut failures = 0;
        for keep in (0..whole.len()).step_by(whole.len() / 37) {
            let cut = folder.path().join(format!("cut-{keep}-{name}"));
            std::fs::write(&cut, &whole[..keep]).unwrap();
            for mmap in [false, true] {
                let options = ScanOptions {
                    mmap,
                    ..ScanOptions::default()
                };
                let result = Scan::open(&[Input::File(cut.clone())], options)
                    .and_then(|scan| scan.into_reader(&[0, 1, 2], None))
                    .and_then(|reader| reader.collect::<Result<Vec<_>, _>>());
                match result {
                    Err(error) => {
                        failures += 1;
                        assert!(
                            error.to_string().contains(&format!("cut-{keep}-")),
                            "{error}"
                        );
                    }
                    // An Arrow stream may end after any whole message.
                    Ok(_) => assert_eq!(format, Format::ArrowStream, "{keep} bytes were enough"),
                }
            }
        }
        assert!(failures > 50, "{format}: {failures}");
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    for (format, name) in [
        (Format::Parquet, "a.parquet"),
        (Format::ArrowFile, "a.arrow"),
        (Format::ArrowStream, "a.arrows"),
    ] {
        let path = write(folder.path().join(name), format, &[batch(0, 200)]);
        let whole = std::fs::read(&path).unwrap();
        for position in (0..whole.len()).step_by(whole.len() / 199) {
            let mut bytes = whole.clone();
            bytes[position] ^= 0x55;
            std::fs::write(&path, &bytes).unwrap();
            for (mmap, threads) in [(false, 1), (true, 2)] {
                let options = ScanOptions {
                    mmap,
                    threads,
                    batch_rows: 50,
                    ..ScanOptions::default()
                };
                // Either an error or batches: damage to a value cannot be seen.
                let _ = Scan::open(&[Input::File(path.clone())], options)
                    .and_then(|scan| scan.into_reader(&[0, 1, 2], None))
                    .and_then(|reader| reader.collect::<Result<Vec<_>, _>>());
            }
        }
    }
}

#[test]
fn a_sink_that_is_dropped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.parquet");
    let rows = batch(0, 10);
    let mut sink =
        Sink::create(Target::File(path.clone()), Format::Parquet, &rows.schema()).unwrap();
    sink.write(&rows).unwrap();
    drop(sink);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    std::fs::write(&path, b"what was there").unwrap();
    let mut sink =
        Sink::create(Target::File(path.clone()), Format::Parquet, &rows.schema()).unwrap();
    sink.write(&rows).unwrap();
    drop(sink);
    assert_eq!(std::fs::read(&path).unwrap(), b"what was there");
}

#[test]
fn a_full_disk_is_an_error() {
    let rows = batch(0, 200_000);
    let target = Target::File(PathBuf::from("/dev/full"));
    let mut sink = Sink::create(target, Format::ArrowStream, &rows.schema()).unwrap();
    let error = sink.write(&rows).and_then(|()| sink.finish()).unwrap_err();
    assert!(matches!(error, IngestError::Io { .. }), "{error}");
    assert!(error.to_string().contains("/dev/full"), "{error}");
}

#[test]
fn csv_refuses_nested_columns_by_name() {
    let rows = batch(0, 1);
    let target = Target::File(PathBuf::from("/dev/null"));
    let error = Sink::create(target, Format::Csv, &rows.schema())
        .unwrap_err()
        .to_string();
    assert!(error.contains("`list`"), "{error}");
}

#[test]
fn an_arrow_file_refuses_a_second_dictionary_and_says_what_helps() {
    let folder = tempfile::tempdir().unwrap();
    let words = |words: &[&str]| {
        let column: DictionaryArray<Int32Type> = words.iter().copied().collect();
        RecordBatch::try_from_iter([("word", Arc::new(column) as ArrayRef)]).unwrap()
    };
    // One that only grows is no second one.
    let grown = [words(&["a", "b"]), words(&["a", "b", "c"])];
    let path = write(folder.path().join("grown.arrow"), Format::ArrowFile, &grown);
    assert_eq!(read(&[path], &[0], ScanOptions::default()), grown);

    let batches = [words(&["a", "b"]), words(&["c", "d"])];
    let path = folder.path().join("two.arrow");
    let target = Target::File(path.clone());
    let mut sink = Sink::create(target, Format::ArrowFile, &batches[0].schema()).unwrap();
    sink.write(&batches[0]).unwrap();
    let message = sink.write(&batches[1]).unwrap_err().to_string();
    assert!(
        message.contains("hold column `word`, dictionary-encoded"),
        "{message}"
    );
    assert!(
        message.contains("different dictionaries; write .arrows or .parquet"),
        "{message}"
    );
    drop(sink);
    assert!(!path.exists());
    // A stream has a place for the second.
    let path = write(
        folder.path().join("two.arrows"),
        Format::ArrowStream,
        &batches,
    );
    let rows = read(&[path], &[0], ScanOptions::default());
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 4);
}

#[test]
fn unknown_bytes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.csv");
    std::fs::write(&path, b"a,b\n1,2\n").unwrap();
    let error = Scan::open(&[Input::File(path)], ScanOptions::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("text.csv") && error.contains("a,b\\n"),
        "{error}"
    );
}

/// Texts of so many bytes, the first half of the rows short ones; all are one of three.
fn texts(rows: usize, bytes: usize) -> RecordBatch {
    let text = |row: usize| match row * 2 / rows {
        0 => "short".to_owned(),
        _ => ["a", "b", "c"][row % 3].repeat(bytes),
    };
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(text)));
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows as i32));
    RecordBatch::try_from_iter([("number", numbers), ("text", texts)]).unwrap()
}

#[test]
fn a_batch_takes_no_more_bytes_than_it_may() {
    const BATCH_BYTES: u64 = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let whole = texts(4000, 5000);
    let noted = write(
        folder.path().join("noted.parquet"),
        Format::Parquet,
        std::slice::from_ref(&whole),
    );
    // As writers do that note nothing of how long texts are that are stored once.
    let bare = folder.path().join("bare.parquet");
    let properties = WriterProperties::builder()
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let file = std::fs::File::create(&bare).unwrap();
    let mut writer = ArrowWriter::try_new(file, whole.schema(), Some(properties)).unwrap();
    writer.write(&whole).unwrap();
    let written = writer.close().unwrap();
    let column = written.row_group(0).column(1);
    assert!(column.unencoded_byte_array_data_bytes().is_none());
    assert!(column.uncompressed_size() < 200_000, "stored once");
    let arrow = write(
        folder.path().join("whole.arrow"),
        Format::ArrowFile,
        std::slice::from_ref(&whole),
    );
    // The first batch tells what rows take, and those of later row groups begin with it.
    let twice = [bare.clone(), bare.clone()];
    let whole_batches = read(&twice, &[0, 1], ScanOptions::default());
    let sizes: Vec<usize> = whole_batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(sizes, [64, 3936, 4000]);
    for path in [noted, bare, arrow] {
        for (threads, mmap) in [(1, false), (1, true), (3, false)] {
            let options = ScanOptions {
                batch_bytes: BATCH_BYTES,
                threads,
                mmap,
                ..ScanOptions::default()
            };
            let read = read(std::slice::from_ref(&path), &[0, 1], options);
            // One batch may show that rows have become larger.
            let longest = read
                .iter()
                .map(|batch| {
                    let texts = batch.column(1).as_any().downcast_ref::<StringArray>();
                    texts.unwrap().iter().flatten().map(str::len).sum()
                })
                .filter(|bytes: &usize| *bytes as u64 > 2 * BATCH_BYTES)
                .count();
            assert!(
                longest <= 1,
                "{path:?}: {longest} batches of {}",
                read.len()
            );
            assert!(read.len() > 50, "{path:?}: {} batches", read.len());
            let joined = arrow_select::concat::concat_batches(&whole.schema(), &read).unwrap();
            assert_eq!(joined, whole, "{path:?}");
        }
    }
}

#[test]
fn of_several_dictionaries_the_one_that_differs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let column = |words: &[&str]| -> ArrayRef {
        Arc::new(
            words
                .iter()
                .copied()
                .collect::<DictionaryArray<Int32Type>>(),
        )
    };
    let inside = |array: ArrayRef| -> ArrayRef {
        let field = Arc::new(arrow_schema::Field::new(
            "x",
            array.data_type().clone(),
            true,
        ));
        Arc::new(arrow_array::StructArray::from(vec![(field, array)]))
    };
    let refused = |name: &str, batches: [Vec<(&str, ArrayRef)>; 2]| {
        let [first, second] = batches.map(|columns| RecordBatch::try_from_iter(columns).unwrap());
        let target = Target::File(folder.path().join(name));
        let mut sink = Sink::create(target, Format::ArrowFile, &first.schema()).unwrap();
        sink.write(&first).unwrap();
        sink.write(&second).unwrap_err().to_string()
    };
    let said = refused(
        "flat.arrow",
        [
            vec![
                ("same", column(&["a", "b"])),
                ("other", column(&["c", "d"])),
            ],
            vec![
                ("same", column(&["a", "b"])),
                ("other", column(&["d", "c"])),
            ],
        ],
    );
    assert!(said.contains("column `other`,"), "{said}");
    assert!(!said.contains("`same`"), "{said}");
    let said = refused(
        "nested.arrow",
        [
            vec![("flat", column(&["a"])), ("deep", inside(column(&["c"])))],
            vec![("flat", column(&["a"])), ("deep", inside(column(&["d"])))],
        ],
    );
    assert!(said.contains("what is inside column `deep`,"), "{said}");
}
