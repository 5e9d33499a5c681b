//! Files that other programs wrote: pyarrow, DuckDB and Polars.
//!
//! `../data/make.py` writes them, and beside them `contents.json`: the values as the script has
//! them. Here every file goes through [`Scan`](unlade_ingest::Scan), and each value that comes out
//! is written by the same rules and compared.

mod contents;
mod damage;
mod plain;
mod pruning;
mod reading;
