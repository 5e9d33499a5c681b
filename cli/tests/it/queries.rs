//! What errors of queries advise: it is taken, and the query runs.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use unlade_ingest::{Format, Sink, Target};

use crate::support::{Place, Ran};

/// Of a file of three instants an hour apart, the last at midnight in UTC: in a zone, in UTC and without.
fn place() -> Place {
    let place = Place::new();
    let midnight = 1_704_067_200_000_000;
    let hour = 3_600_000_000;
    let instants =
        || TimestampMicrosecondArray::from_iter_values((0..3).map(|n| midnight + (n - 2) * hour));
    let columns: [(&str, ArrayRef); 3] = [
        ("zoned", Arc::new(instants().with_timezone("Europe/Berlin"))),
        ("utc", Arc::new(instants().with_timezone("UTC"))),
        ("bare", Arc::new(instants())),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let target = Target::File(place.path("in.arrow"));
    let mut sink = Sink::create(target, Format::ArrowFile, &batch.schema()).unwrap();
    sink.write(&batch).unwrap();
    sink.finish().unwrap();
    place
}

fn ran(place: &Place, semantics: &str, filter: &str) -> Ran {
    let words = ["run", "in.arrow", "--select", "1 as x", "--format", "csv"];
    let query = ["--semantics", semantics, "--where", filter];
    place.run(&[&words[..], &query].concat())
}

#[test]
fn advice_about_zones_is_taken_under_all_rules_and_helps() {
    let place = place();
    let utc = |column: &str| format!("cast({column} as timestamp(6) with time zone)");
    let (zoned, bare) = (utc("zoned"), utc("bare"));
    let text = "'2024-01-01 00:00:00Z'";
    for semantics in ["arrow", "datafusion", "spark-legacy", "spark-ansi"] {
        // What is refused, what is advised, what that makes of it, and how many rows that keeps.
        for (refused, advised, taken, rows) in [
            (
                "zoned >= timestamp '2024-01-01 00:00:00'",
                &[text][..],
                format!("zoned >= {text}"),
                1,
            ),
            (
                "zoned >= date '2024-01-01'",
                &[text],
                format!("zoned >= {text}"),
                1,
            ),
            (
                "zoned >= '2024-01-01 00:00:00'",
                &["add the offset from UTC, as in '2020-12-31 23:59:59+01:00'"],
                "zoned >= '2024-01-01 00:00:00+01:00'".to_owned(),
                2,
            ),
            (
                "zoned >= 5",
                &["'2020-12-31 23:59:59+01:00'"],
                "zoned >= '2020-12-31 23:59:59+01:00'".to_owned(),
                3,
            ),
            (
                "zoned >= timestamp '2024-01-01 00:00:00Z'",
                &["or write TIMESTAMPTZ"],
                "zoned >= timestamptz '2024-01-01 00:00:00Z'".to_owned(),
                1,
            ),
            ("zoned = utc", &[&zoned], format!("{zoned} = utc"), 3),
            (
                "bare = zoned",
                &[&zoned, "if `bare` is in UTC", &bare],
                format!("{bare} = {zoned}"),
                3,
            ),
            (
                "cast(zoned as date) = date '2024-01-01'",
                &["the clock of a zone", &format!("cast({zoned} as date)")],
                format!("cast({zoned} as date) = date '2024-01-01'"),
                1,
            ),
        ] {
            ran(&place, semantics, refused).failure(2, advised);
            let kept = ran(&place, semantics, &taken).success();
            assert_eq!(kept.lines().count() - 1, rows, "{semantics}: {taken}");
        }
        // An instant is one in every zone.
        let instant = "zoned >= timestamptz '2024-01-01 01:00:00+02:00'";
        let kept = ran(&place, semantics, instant).success();
        assert_eq!(kept.lines().count() - 1, 2, "{semantics}");
    }
}

#[test]
fn a_text_in_double_quotes_is_told_apart_from_a_name() {
    let place = place();
    let said = ["there is no column `abc`", "in single quotes, 'abc'"];
    ran(&place, "arrow", "utc = \"abc\"").failure(2, &said);
    // Nothing of it for a name that is a letter off.
    let message =
        ran(&place, "arrow", "\"utd\" > '2024-01-01'").failure(2, &["did you mean `utc`?"]);
    assert!(!message.contains("single quotes"), "{message}");
}
