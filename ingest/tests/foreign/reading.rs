//! Every value of every file.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_schema::{DataType, Field, TimeUnit};
use serde_json::Value;
use unlade_ingest::{IngestError, Input, Scan, ScanOptions};

use crate::contents::{Foreign, file, files, folder};
use crate::plain::values;

/// Files that parquet 59.3 refuses, and what it says. DuckDB 2.0 begins a delta-encoded `uinteger`
/// column with a first value beyond 32 bits; pyarrow refuses it too.
const REFUSED: [(&str, &str); 1] = [("duckdb-integers-v2.parquet", "first value too large")];

/// Ways to read that must give the same.
fn ways() -> impl Iterator<Item = ScanOptions> {
    let ways = [(1, false), (1, true), (2, false), (2, true)];
    ways.into_iter().map(|(threads, mmap)| ScanOptions {
        batch_rows: if threads == 1 { 65_536 } else { 7 },
        threads,
        mmap,
        ..ScanOptions::default()
    })
}

/// The columns chosen by position and name, and how many rows there are.
fn read(
    file: &Foreign,
    options: ScanOptions,
    choose: impl Fn(usize, &str) -> bool,
) -> Result<(BTreeMap<String, Vec<Value>>, usize), IngestError> {
    let scan = Scan::open(&[Input::File(file.path.clone())], options)?;
    let fields = scan.schema().fields().iter().enumerate();
    let columns: Vec<usize> = fields
        .filter(|(at, field)| choose(*at, field.name()))
        .map(|(at, _)| at)
        .collect();
    let reader = scan.into_reader(&columns, None)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<RecordBatch>, _>>()?;
    let mut found = BTreeMap::new();
    for (index, field) in schema.fields().iter().enumerate() {
        let of_column = batches.iter().flat_map(|batch| {
            assert_eq!(batch.schema().field(index), field.as_ref(), "{}", file.name);
            values(batch.column(index))
        });
        found.insert(field.name().clone(), of_column.collect());
    }
    Ok((found, batches.iter().map(RecordBatch::num_rows).sum()))
}

/// What of the chosen columns is not as it was written.
fn differences(
    file: &Foreign,
    options: ScanOptions,
    choose: impl Fn(usize, &str) -> bool,
) -> Vec<String> {
    let how = format!("{} by {options:?}", file.name);
    let (found, rows) = match read(file, options, choose) {
        Ok(found) => found,
        Err(error) => return vec![format!("{how}: {error}")],
    };
    let mut differences = Vec::new();
    if rows != file.rows {
        differences.push(format!("{how}: {rows} rows, not {}", file.rows));
    }
    for (column, values) in found {
        let Some(expected) = file.columns.get(&column) else {
            differences.push(format!("{how}: an unknown column `{column}`"));
            continue;
        };
        let differing = std::iter::zip(&values, expected).position(|(a, b)| a != b);
        if let Some(row) = differing {
            let (found, expected) = (&values[row], &expected[row]);
            differences.push(format!(
                "{how}: `{column}` row {row} is {found}, not {expected}"
            ));
        }
    }
    differences
}

/// The files that are read, each in every way.
fn readable() -> impl Iterator<Item = (Foreign, ScanOptions)> {
    let refused = |name: &str| REFUSED.iter().any(|(refused, _)| *refused == name);
    files()
        .into_iter()
        .filter(move |file| !refused(&file.name))
        .flat_map(|file| ways().map(move |options| (file.clone(), options)))
}

#[test]
fn every_value_of_every_file() {
    let mut wrong = Vec::new();
    for (file, options) in readable() {
        let (found, _) = read(&file, options.clone(), |_, _| true).unwrap_or_default();
        if found.keys().ne(file.columns.keys()) {
            wrong.push(format!("{}: columns {:?}", file.name, found.keys()));
        }
        wrong.extend(differences(&file, options, |_, _| true));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn some_columns_or_none() {
    let mut wrong = Vec::new();
    for (file, options) in readable() {
        wrong.extend(differences(&file, options.clone(), |at, _| at % 2 == 1));
        wrong.extend(differences(&file, options.clone(), |at, _| at % 3 == 0));
        // Rows are counted even where nothing of them is wanted.
        wrong.extend(differences(&file, options, |_, _| false));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_decoders_refuse_is_an_error_that_names_the_file() {
    for (name, message) in REFUSED {
        for options in ways() {
            let error = read(&file(name), options, |_, _| true).unwrap_err();
            assert!(matches!(error, IngestError::Corrupt { .. }), "{error:?}");
            let error = error.to_string();
            assert!(error.contains(name) && error.contains(message), "{error}");
        }
    }
    // The columns beside the one refused are read.
    for options in ways() {
        let integers = file("duckdb-integers-v2.parquet");
        let wrong = differences(&integers, options, |_, name| name != "u32");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn columns_arrive_in_the_types_they_were_written_in() {
    use DataType as D;
    let micros = |zone: &str| D::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
    let kinds = |keys| D::Dictionary(Box::new(keys), Box::new(D::Utf8));
    let runs = || {
        let ends = Field::new("run_ends", D::Int32, false);
        D::RunEndEncoded(ends.into(), Field::new("values", D::Utf8, true).into())
    };
    let cases = [
        ("pyarrow-views.parquet", "text", D::Utf8View),
        ("pyarrow-views.parquet", "bytes", D::BinaryView),
        ("pyarrow-views.arrow", "text", D::Utf8View),
        ("pyarrow-texts.parquet", "large", D::LargeUtf8),
        ("pyarrow-texts.parquet", "fixed", D::FixedSizeBinary(5)),
        ("pyarrow-categories.parquet", "text", kinds(D::Int32)),
        ("pyarrow-delta.arrow", "kind", kinds(D::Int8)),
        ("pyarrow-runs.arrow", "text", runs()),
        ("pyarrow-integers.parquet", "u8", D::UInt8),
        ("pyarrow-halves.parquet", "f16", D::Float16),
        (
            "pyarrow-decimals-as-integers.parquet",
            "d9",
            D::Decimal128(9, 0),
        ),
        ("pyarrow-wide_decimals.parquet", "d60", D::Decimal256(60, 5)),
        ("pyarrow-times.parquet", "ts_zone", micros("Europe/Berlin")),
        ("pyarrow-times-bare.parquet", "ts_zone", micros("UTC")),
        (
            "pyarrow-times-int96.parquet",
            "ts_us",
            D::Timestamp(TimeUnit::Microsecond, None),
        ),
        ("pyarrow-coarse_times.parquet", "date64", D::Date64),
        ("duckdb-mixed.parquet", "text", D::Utf8),
        ("duckdb-integers.parquet", "u64", D::UInt64),
        ("duckdb-decimals.parquet", "d38", D::Decimal128(38, 10)),
        ("polars-texts.arrow", "text", D::Utf8View),
        ("polars-texts.arrows", "bytes", D::BinaryView),
        ("polars-texts.parquet", "text", D::LargeUtf8),
        ("polars-mixed-old.arrow", "text", D::LargeUtf8),
    ];
    for (name, column, expected) in cases {
        let scan = Scan::open(&[Input::File(file(name).path)], ScanOptions::default()).unwrap();
        let found = scan.schema().field_with_name(column).unwrap().data_type();
        assert_eq!(*found, expected, "{name}: `{column}`");
    }
}

#[test]
fn the_folder_and_its_contents_agree() {
    let listed: BTreeSet<String> = files().into_iter().map(|file| file.name).collect();
    let found: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["make.py", "contents.json"].contains(&name.as_str()))
        .collect();
    assert_eq!(listed, found);
}

#[test]
fn the_batches_of_a_file_share_its_dictionaries() {
    for options in ways() {
        let file = Input::File(file("pyarrow-categories.arrow").path);
        let options = ScanOptions {
            batch_rows: 65_536,
            ..options
        };
        let reader = Scan::open(&[file], options)
            .unwrap()
            .into_reader(&[0], None);
        let batches: Vec<RecordBatch> = reader.unwrap().collect::<Result<_, _>>().unwrap();
        let values = |batch: &RecordBatch| {
            let dictionary = batch.column(0).as_any_dictionary().values().to_data();
            dictionary.buffers()[1].as_ptr()
        };
        assert_eq!(batches.len(), 2);
        assert_eq!(values(&batches[0]), values(&batches[1]));
    }
}
