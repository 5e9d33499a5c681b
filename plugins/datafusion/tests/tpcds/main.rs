//! TPC-DS: every query that DataFusion runs, with the plugin and without.
//!
//! `cargo xtask tpcds` makes the tables and the queries, which are not ours, and runs this on them:
//! `cargo test -p unlade-datafusion --test tpcds -- FOLDER [DEVICE...]`. docs/DATAFUSION.md has a table
//! of what is taken of each, and why the rest is not; `UPDATE_GOLDEN=1` writes it.

#![allow(clippy::print_stdout)] // what was seen is for people
// Some of what is shared is for the other tests alone.
#![allow(dead_code)]

#[path = "../it/common.rs"]
mod common;
#[path = "../it/taken.rs"]
mod taken;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use datafusion::execution::options::ParquetReadOptions;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::common::{forced_with, metric, nodes, rows, run, runtime};
use crate::taken::Taken;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(folder) = words.next().map(PathBuf::from) else {
        eprintln!("usage: tpcds FOLDER [DEVICE...]; `cargo xtask tpcds` makes what is in FOLDER");
        return ExitCode::FAILURE;
    };
    let mut devices: Vec<String> = words.collect();
    if devices.is_empty() {
        devices.push("cpu".to_owned());
    }
    let tokio = tokio::runtime::Runtime::new().expect("threads can be had");
    match tokio.block_on(all_queries_have_one_answer(&folder, &devices)) {
        0 => ExitCode::SUCCESS,
        wrong => {
            println!("{wrong} answers are others than DataFusion's");
            ExitCode::FAILURE
        }
    }
}

/// How many answers differ.
async fn all_queries_have_one_answer(folder: &Path, devices: &[String]) -> usize {
    // Of one partition: what sums up does so in one order.
    let config = || SessionConfig::new().with_target_partitions(1);
    let reference = SessionContext::new_with_config(config());
    let contexts = devices
        .iter()
        .map(|device| forced_with(&runtime(device), config(), Arc::default()));
    let contexts: Vec<SessionContext> = contexts.collect();
    for context in contexts.iter().chain([&reference]) {
        register(context, folder).await;
    }
    let mut taken = Taken::new();
    let (mut ran, mut with_rows, mut with_nodes, mut wrong) = (0, 0, 0, 0);
    let mut through = vec![0; devices.len()];
    for (name, sql) in queries(folder) {
        let expected = match run(&reference, &sql).await {
            Ok((_, expected)) => rows(&expected),
            Err(error) => {
                let error = error.strip_backtrace();
                let error = error.lines().next().unwrap_or_default();
                taken.row(&name, "", &format!("not run by DataFusion: {error}"));
                continue;
            }
        };
        ran += 1;
        with_rows += usize::from(!expected.is_empty());
        for (at, (device, context)) in devices.iter().zip(&contexts).enumerate() {
            match run(context, &sql).await {
                Ok((plan, answer)) => {
                    if rows(&answer) != expected {
                        println!("{name} on {device}: the answer is another");
                        wrong += 1;
                    }
                    through[at] += metric(&plan, "batches");
                    if at == 0 {
                        with_nodes += usize::from(!nodes(&plan).is_empty());
                        taken.ran(&name, &plan);
                    }
                }
                Err(error) => {
                    println!("{name} on {device}: {error}");
                    wrong += 1;
                }
            }
        }
    }
    println!(
        "{ran} queries ran on each of {}; {with_rows} have rows, of {with_nodes} something is taken",
        devices.join(", ")
    );
    let folder = folder.display();
    assert!(ran > 0, "DataFusion runs none of what is in {folder}");
    for (device, batches) in devices.iter().zip(through) {
        assert!(batches > 0, "no batch went to {device}");
    }
    taken.is_in_the_page("tpcds");
    wrong
}

async fn register(context: &SessionContext, folder: &Path) {
    for path in files(folder, "parquet") {
        let name = stem(&path);
        let registered =
            context.register_parquet(name, path.to_string_lossy(), ParquetReadOptions::default());
        registered.await.expect("the file is readable");
    }
}

/// By name.
fn queries(folder: &Path) -> Vec<(String, String)> {
    let paths = files(&folder.join("queries"), "sql");
    let named = paths.into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("it is readable");
        (stem(&path), text)
    });
    named.collect()
}

/// What is in a folder, in order.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry is readable").path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|is| is == ending))
        .collect();
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    let stem = path.file_stem().expect("it has a name");
    stem.to_string_lossy().into_owned()
}
