//! Dictionary keys that point outside of the dictionary.

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use unlade_expr::{Payload, Query, Semantics, check, lower, parse_expr, parse_select_list};
use unlade_naive::RunError;
use unlade_program::{Imm, Trap, Ty};

use crate::support::{Answer, answer_with_keys, array, batch, dictionary};

/// Row 1 of `code` is null; row 2 is the one whose key the tests spoil.
fn rows() -> RecordBatch {
    let int = |value| Imm::integer(Ty::I32, value);
    let zero = Imm::zero(Ty::I32);
    let n = array(&DataType::Int32, &[int(5), int(5), int(0)], zero);
    let values = array(&DataType::Int32, &[int(7), int(8)], zero);
    let key = |value| Imm::integer(Ty::I8, value);
    let code = dictionary(&DataType::Int8, &[key(0), None, key(1)], values);
    batch(vec![
        ("n".to_owned(), n, false),
        ("code".to_owned(), code, true),
    ])
}

fn run(list: &str, predicate: Option<&str>, keys: [i8; 3]) -> Result<Answer, RunError> {
    let batch = rows();
    let mut query = Query::all().select(parse_select_list(list).expect("a list"));
    query.filter = predicate.map(|text| parse_expr(text).expect("a predicate"));
    let checked = check(&query, &batch.schema(), &Semantics::arrow()).expect("a query");
    let lowered = lower(&checked, Payload::Fused).expect("a program");
    let keys = keys.map(|key| key as u8);
    answer_with_keys(&lowered, &batch, Some((1, &keys)))
}

fn trapped_row(result: Result<Answer, RunError>) -> u64 {
    match result {
        Err(RunError::Trap(Trap { row, .. })) => row,
        other => panic!("no trap, but {other:?}"),
    }
}

#[test]
fn a_key_outside_of_the_dictionary_is_an_error() {
    for key in [2, 9, 100, -1, i8::MIN] {
        for list in [
            "code > 5 AS x",
            "code > n AS x",
            "code + 1 AS x",
            "coalesce(code, 1) AS x",
        ] {
            assert_eq!(
                trapped_row(run(list, None, [0, 99, key])),
                2,
                "{list} {key}"
            );
        }
        assert_eq!(trapped_row(run("n", Some("code > 5"), [0, 99, key])), 2);
    }
}

#[test]
fn keys_of_null_rows_and_of_rows_that_nobody_asks_for_do_not_matter() {
    let (valid, spoiled) = ([0, 99, 1], [0, 99, 50]);
    let answer = run("code > 7 AS x", None, valid).expect("no trap");
    let (no, yes) = (Some(Imm::mask(false)), Some(Imm::mask(true)));
    assert_eq!(answer.fields, [Some(vec![no, None, yes])]);

    let answer = run("n", Some("n > 1 AND code > 5"), spoiled).expect("row 2 is decided by n");
    assert_eq!(answer.kept, 1);
    let answer = run("code + 1 AS x", Some("n > 1"), spoiled).expect("row 2 is dropped");
    let eight = Imm::integer(Ty::I32, 8);
    assert_eq!(answer.fields, [Some(vec![eight, None])]);
    let answer = run("try(code + 1) AS x", None, spoiled).expect("TRY catches all");
    assert_eq!(answer.fields, [Some(vec![eight, None, None])]);
}
