//! What tests and benchmarks of TPC-H share: its tables and its queries.

use std::fs;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use tpchgen::generators::*;
use tpchgen_arrow::*;

/// Rows of a batch that DataFusion reads.
const BATCH: usize = 8192;

/// Every table of a size that the specification calls so, in batches of the size that DataFusion reads.
pub(crate) fn tables(scale: f64) -> Vec<(&'static str, Vec<RecordBatch>)> {
    macro_rules! made {
        ($arrow:ident, $generator:ident) => {
            $arrow::new($generator::new(scale, 1, 1))
                .with_batch_size(BATCH)
                .map(|batch| batch.expect("it is made"))
                .collect()
        };
    }
    vec![
        ("lineitem", line_items(scale).collect()),
        ("orders", made!(OrderArrow, OrderGenerator)),
        ("customer", made!(CustomerArrow, CustomerGenerator)),
        ("part", made!(PartArrow, PartGenerator)),
        ("partsupp", made!(PartSuppArrow, PartSuppGenerator)),
        ("supplier", made!(SupplierArrow, SupplierGenerator)),
        ("nation", made!(NationArrow, NationGenerator)),
        ("region", made!(RegionArrow, RegionGenerator)),
    ]
}

/// The largest of them, a batch at a time.
pub(crate) fn line_items(scale: f64) -> impl Iterator<Item = RecordBatch> {
    let made = LineItemArrow::new(LineItemGenerator::new(scale, 1, 1));
    made.with_batch_size(BATCH)
        .map(|batch| batch.expect("it is made"))
}

/// All 22 queries, by name.
pub(crate) fn queries() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tpch");
    let entries = fs::read_dir(folder).expect("the folder is readable");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry is readable").path())
        .collect();
    paths.sort();
    assert_eq!(paths.len(), 22);
    let named = paths.into_iter().map(|path| {
        let name = path
            .file_stem()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned();
        (name, fs::read_to_string(&path).expect("it is readable"))
    });
    named.collect()
}
