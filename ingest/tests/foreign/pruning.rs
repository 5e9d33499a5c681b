//! Row groups that a predicate rules out: the right ones, and never a row that it keeps.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use serde_json::Value;
use unlade_expr::{Query, Semantics, check, parse_expr};
use unlade_ingest::{Input, Pruning, Scan, ScanOptions};

use crate::contents::{Foreign, file};

/// Files of six row groups, ten rows each.
const GROUPED: [&str; 3] = [
    "pyarrow-grouped.parquet",
    "pyarrow-grouped-integers.parquet",
    "polars-grouped.parquet",
];
/// One row group, and no statistics.
const WHOLE: [&str; 2] = ["duckdb-grouped.parquet", "pyarrow-grouped-blind.parquet"];
const GROUP_ROWS: i32 = 10;
const EVERY: &[i32] = &[0, 1, 2, 3, 4, 5];

/// The columns of one row, by the account of `contents.json`.
struct Row<'a> {
    file: &'a Foreign,
    row: usize,
}

impl Row<'_> {
    fn value(&self, column: &str) -> &Value {
        &self.file.columns[column][self.row]
    }

    /// A number without its decimal point: days, nanoseconds, hundredths.
    fn whole(&self, column: &str) -> Option<i128> {
        let digits = self.value(column).as_str()?.replace('.', "");
        Some(digits.parse().unwrap())
    }

    fn real(&self, column: &str) -> f64 {
        let text = self.value(column).as_str().unwrap();
        u64::from_str_radix(text, 16).map_or(f64::NAN, f64::from_bits)
    }
}

/// A predicate, the rows it keeps, and the row groups that hold some or cannot be told not to.
struct Case(&'static str, fn(&Row<'_>) -> bool, &'static [i32]);

const HOUR: i128 = 3_600_000_000_000;

/// What the values of `grouped` are: `id` 0..60, `small` `id - 30`, `maybe` `10 * id` but null in
/// group 2 and in the odd rows of group 3, `unsigned` `id + 2^31 - 30`, `day` `id - 30` days and
/// `at` and `zoned` as many hours from 1970, `price` `(id - 30) / 4`, `total` `(id - 30) * 1e20`,
/// `real` `id / 2` with a NaN in each group, `constant` the group's number.
const CASES: &[Case] = &[
    Case("id >= 41", |row| row.whole("id") >= Some(41), &[4, 5]),
    Case("25 > id", |row| row.whole("id") < Some(25), &[0, 1, 2]),
    Case("id = 30", |row| row.whole("id") == Some(30), &[3]),
    Case(
        "id between 19 and 30",
        |row| (19..=30).contains(&row.whole("id").unwrap()),
        &[1, 2, 3],
    ),
    Case("id < 0", |_| false, &[]),
    Case("id <> 5", |row| row.whole("id") != Some(5), EVERY),
    Case(
        "constant <> 2",
        |row| row.whole("constant") != Some(2),
        &[0, 1, 3, 4, 5],
    ),
    Case(
        "id in (3, 55, 70)",
        |row| [Some(3), Some(55)].contains(&row.whole("id")),
        &[0, 5],
    ),
    Case("id in (null, 3)", |row| row.whole("id") == Some(3), &[0]),
    Case("small < -25", |row| row.whole("small") < Some(-25), &[0]),
    Case(
        "cast(small as bigint) > 15",
        |row| row.whole("small") > Some(15),
        &[4, 5],
    ),
    Case(
        "unsigned >= 2147483648",
        |row| row.whole("unsigned") >= Some(1 << 31),
        &[3, 4, 5],
    ),
    Case(
        "unsigned < 2147483630",
        |row| row.whole("unsigned") < Some((1 << 31) - 18),
        &[0, 1],
    ),
    Case("maybe > 480", |row| row.whole("maybe") > Some(480), &[4, 5]),
    Case(
        "maybe <= 300",
        |row| row.whole("maybe").is_some_and(|v| v <= 300),
        &[0, 1, 3],
    ),
    Case("maybe is null", |row| row.value("maybe").is_null(), &[2, 3]),
    Case(
        "maybe is not null",
        |row| !row.value("maybe").is_null(),
        &[0, 1, 3, 4, 5],
    ),
    Case(
        "maybe is null and id > 28",
        |row| row.value("maybe").is_null() && row.whole("id") > Some(28),
        &[2, 3],
    ),
    Case(
        "day >= date '1970-01-05'",
        |row| row.whole("day") >= Some(4),
        &[3, 4, 5],
    ),
    Case(
        "day < date '1969-12-20'",
        |row| row.whole("day") < Some(-12),
        &[0, 1],
    ),
    Case(
        "at > timestamp '1970-01-01 15:00:00'",
        |row| row.whole("at") > Some(15 * HOUR),
        &[4, 5],
    ),
    Case(
        "zoned <= timestamptz(3) '1969-12-31 09:00:00Z'",
        |row| row.whole("zoned") <= Some(-15 * HOUR),
        &[0, 1],
    ),
    Case("price = 1.25", |row| row.whole("price") == Some(125), &[3]),
    Case("price < -5", |row| row.whole("price") < Some(-500), &[0]),
    Case(
        "total > 1500000000000000000000",
        |row| row.whole("total") > Some(15 * 10_i128.pow(23)),
        &[4, 5],
    ),
    Case(
        "total <= -2100000000000000000000",
        |row| row.whole("total") <= Some(-21 * 10_i128.pow(23)),
        &[0],
    ),
    // Statistics leave out NaN, which total order puts above every number.
    Case("real > 1000", |row| row.real("real").is_nan(), EVERY),
    Case(
        "real < 3 and id < 15",
        |row| row.real("real") < 3.0,
        &[0, 1],
    ),
    // What stands in an OR says nothing of the whole.
    Case(
        "id < 5 or id > 55",
        |row| !(5..=55).contains(&row.whole("id").unwrap()),
        EVERY,
    ),
    // A division by zero at id 30: in a group behind it nothing may be left out.
    Case(
        "100 / small < 0 and id > 28",
        |row| row.whole("id") == Some(29),
        EVERY,
    ),
    Case(
        "id < 30 and 100 / small < -20",
        |row| row.whole("small").is_some_and(|v| (-4..0).contains(&v)),
        &[0, 1, 2],
    ),
    // A null leaves open whether the next is evaluated, so it may still trap.
    Case(
        "maybe < 100 and 100 / small < 0",
        |row| row.whole("maybe").is_some_and(|v| v < 100),
        &[0, 2, 3],
    ),
    Case(
        "id in (3, null) and 100 / small < 0",
        |row| row.whole("id") == Some(3),
        EVERY,
    ),
    Case(
        "id in (3) and 100 / small < 0",
        |row| row.whole("id") == Some(3),
        &[0],
    ),
    Case(
        "maybe is null and 100 / small > 50",
        |row| row.whole("id") == Some(31),
        &[2, 3],
    ),
];

/// The ids that are read for a predicate.
fn ids(file: &Foreign, predicate: &str, pruned: bool, threads: usize) -> Vec<i32> {
    let options = ScanOptions {
        threads,
        ..ScanOptions::default()
    };
    let scan = Scan::open(&[Input::File(file.path.clone())], options).unwrap();
    let expr = parse_expr(predicate).unwrap_or_else(|e| panic!("{predicate}: {e}"));
    let checked = check(&Query::filter(expr), scan.schema(), &Semantics::arrow())
        .unwrap_or_else(|e| panic!("{predicate}: {}", e.render(predicate)));
    let pruning = Pruning::of(&checked);
    let column = scan.schema().index_of("id").unwrap();
    let reader = scan
        .into_reader(&[column], pruned.then_some(&pruning))
        .unwrap();
    reader
        .flat_map(|batch| {
            let ids = Arc::clone(batch.unwrap().column(0));
            ids.as_primitive::<Int32Type>().values().to_vec()
        })
        .collect()
}

fn kept(file: &Foreign, read: &[i32], keeps: fn(&Row<'_>) -> bool) -> Vec<i32> {
    let rows = read.iter().copied();
    rows.filter(|&id| {
        keeps(&Row {
            file,
            row: usize::try_from(id).unwrap(),
        })
    })
    .collect()
}

#[test]
fn the_row_groups_ruled_out_are_the_right_ones() {
    for name in GROUPED {
        let file = file(name);
        for Case(predicate, _, expected) in CASES {
            let read = ids(&file, predicate, true, 2);
            let groups: BTreeSet<i32> = read.iter().map(|id| id / GROUP_ROWS).collect();
            let expected: BTreeSet<i32> = expected.iter().copied().collect();
            assert_eq!(groups, expected, "{name}: {predicate}");
            assert_eq!(
                read.len(),
                10 * groups.len(),
                "whole groups, in {name}: {predicate}"
            );
        }
    }
}

#[test]
fn no_row_that_is_kept_is_ever_ruled_out() {
    for name in GROUPED.into_iter().chain(WHOLE) {
        let file = file(name);
        for Case(predicate, keeps, _) in CASES {
            let all = ids(&file, predicate, false, 1);
            assert_eq!(all.len(), file.rows);
            let pruned = ids(&file, predicate, true, 1);
            assert_eq!(
                kept(&file, &pruned, *keeps),
                kept(&file, &all, *keeps),
                "{name}: {predicate}"
            );
        }
    }
}

#[test]
fn without_statistics_nothing_is_ruled_out() {
    let file = file("pyarrow-grouped-blind.parquet");
    for Case(predicate, _, _) in CASES {
        assert_eq!(
            ids(&file, predicate, true, 1).len(),
            file.rows,
            "{predicate}"
        );
    }
}
