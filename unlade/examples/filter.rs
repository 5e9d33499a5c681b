//! Filters and projects a batch, and says what ran where.
//!
//! ```console
//! $ cargo run -p unlade --example filter -- "id > 3 and name is not null"
//! ```

use std::error::Error;
use std::sync::Arc;

use arrow_array::{Int32Array, RecordBatch, StringArray};
use unlade::{Query, Semantics, col, lit, parse_expr};

fn main() -> Result<(), Box<dyn Error>> {
    let names = StringArray::from(vec![Some("ann"), Some("bob"), None, Some("cleo")]);
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int32Array::from(vec![1, 5, 7, 9])) as _),
        ("name", Arc::new(names) as _),
    ])?;

    let predicate = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "id > 3".to_owned());
    let query = Query::filter(parse_expr(&predicate)?)
        .select([col("name"), (col("id") * lit(2)).alias("twice")]);
    let kernel = unlade::runtime()?.compile(&query, &batch.schema(), &Semantics::arrow())?;
    show(&format!("{}\n", kernel.explain()))?;

    let output = kernel.run(&batch)?;
    show(&format!(
        "{:#?}\n{:#?}\n",
        output.batch.columns(),
        output.receipt
    ))
}

/// Writes to standard output; a reader that has gone is no error.
fn show(text: &str) -> Result<(), Box<dyn Error>> {
    use std::io::{ErrorKind, Write};
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
