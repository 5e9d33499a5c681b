//! docs/WIRE.md says what is so: its tables of numbers and its examples are those of the code.
//! `UPDATE_GOLDEN=1` writes them into the page.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use unlade_expr::{Expr, Query, Semantics, all, col, lit, parse_expr};
use unlade_wire::{KernelRequest, decode_expr, decode_kernel, decode_query};
use unlade_wire::{encode_expr, encode_kernel, encode_query};

use crate::forms::{self, OPERATORS};
use crate::refused::hex;

/// Bytes before a body.
const HEADER: usize = 16;

#[test]
fn the_table_of_expressions() {
    let mut table = String::from("| number | example | its body |\n|---|---|---|\n");
    for (number, examples) in forms::expressions().iter().enumerate() {
        for expr in examples.iter().filter(|expr| is_shown(expr)) {
            let body = body(&encode_expr(expr).expect("it is small"));
            let row = format!("| {number} | `{expr}` | `{body}` |");
            assert_eq!(number_of(&hex(&body)), number, "{row}");
            writeln!(table, "{row}").expect("text grows");
        }
    }
    holds("expressions", &table);
}

/// Of the operators the first; the others have a table of their own.
fn is_shown(expr: &Expr) -> bool {
    let others = &OPERATORS[1..];
    !others
        .iter()
        .any(|op| *expr == col("a").binary(*op, col("b")))
}

/// The number that an array begins with.
fn number_of(body: &[u8]) -> usize {
    let after_length = match body[0] {
        0x80..=0x97 => &body[1..],
        other => panic!("{other:#x} begins no short array"),
    };
    match after_length {
        [small @ 0..24, ..] => usize::from(*small),
        [24, small, ..] => usize::from(*small),
        other => panic!("{other:?} begins with no small number"),
    }
}

#[test]
fn the_table_of_operators() {
    let mut table = String::from("| operator | number |\n|---|---|\n");
    for (number, op) in OPERATORS.iter().enumerate() {
        let expr = col("a").binary(*op, col("b"));
        let bytes = encode_expr(&expr).expect("it is small");
        assert_eq!(usize::from(bytes[HEADER + 2]), number, "{expr}");
        writeln!(table, "| `{expr}` | {number} |").expect("text grows");
    }
    holds("operators", &table);
}

#[test]
fn the_table_of_types() {
    let mut table = String::from("| number | example | its encoding |\n|---|---|---|\n");
    for (number, examples) in forms::types().iter().enumerate() {
        for data_type in examples {
            let cast = encode_expr(&col("a").cast(data_type.clone())).expect("it is small");
            // A cast is its number, the type, whether it is lenient, and the column `a`.
            let encoding = &cast[HEADER + 2..cast.len() - 6];
            assert_eq!(number_of(encoding), number, "{data_type}");
            let encoding = digits(encoding);
            writeln!(table, "| {number} | `{data_type}` | `{encoding}` |").expect("text grows");
        }
    }
    holds("types", &table);
}

#[test]
fn the_examples() {
    let mut text = String::new();
    let mut show = |what: &str, bytes: &[u8]| {
        writeln!(text, "{what}:\n```text").expect("text grows");
        for line in bytes.chunks(32) {
            writeln!(text, "{}", digits(line)).expect("text grows");
        }
        text.push_str("```\n\n");
    };
    let predicate = parse_expr("a::bigint > 1").expect("an expression");
    let bytes = encode_expr(&predicate).expect("it is small");
    assert_eq!(decode_expr(&bytes), Ok(predicate.clone()));
    show("The expression `CAST(a AS bigint) > 1`", &bytes);
    let query = Query::filter(predicate).select([all(), (col("a") * lit(2)).alias("twice")]);
    let bytes = encode_query(&query).expect("it is small");
    assert_eq!(decode_query(&bytes).as_ref(), Ok(&query));
    show(
        "The query that keeps the rows of that, and puts out `*` and `a * 2 AS twice`",
        &bytes,
    );
    let input = {
        use arrow_schema::{DataType, Field, Schema};
        let about = [("unit".to_owned(), "m".to_owned())].into();
        let field = Field::new("a", DataType::Int32, true).with_metadata(about);
        std::sync::Arc::new(Schema::new(vec![field]))
    };
    let semantics = Semantics::spark_ansi();
    let request = KernelRequest {
        query,
        input,
        semantics,
    };
    let bytes = encode_kernel(&request).expect("it is small");
    assert_eq!(decode_kernel(&bytes), Ok(request));
    show(
        "A request for its kernel, over a column `a: Int32?` with metadata, by the rules `spark-ansi`",
        &bytes,
    );
    holds("examples", &text);
}

fn body(bytes: &[u8]) -> String {
    digits(&bytes[HEADER..])
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Held by who reads or writes the page.
static PAGE: Mutex<()> = Mutex::new(());

/// That the page has this text between the marks of its name.
fn holds(name: &str, wanted: &str) {
    let _page = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = page();
    let text = fs::read_to_string(&path).expect("the page is readable");
    let (start, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let from = text.find(&start).expect("the page has a place for it") + start.len();
    let to = from + text[from..].find(&end).expect("the place has an end");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let page = format!("{}{wanted}{}", &text[..from], &text[to..]);
        fs::write(&path, page).expect("the page is writable");
        return;
    }
    assert!(
        text[from..to] == *wanted,
        "the page's {name} differ; they would be\n{wanted}"
    );
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/WIRE.md")
}
