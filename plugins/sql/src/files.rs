//! Which file an error is about, and what there is instead of a table that is not there. DataFusion's
//! errors name few of either.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, TableReference};
use datafusion::datasource::listing::{ListingTableUrl, PartitionedFile};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::parquet::errors::ParquetError;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use futures::{FutureExt, StreamExt};

use crate::error::Failure;

/// Extensions of files that `--table` takes, and what DataFusion calls what is in them.
pub(crate) const KINDS: [(&str, &str); 7] = [
    ("parquet", "parquet"),
    ("csv", "csv"),
    ("tsv", "csv"),
    ("json", "json"),
    ("jsonl", "json"),
    ("ndjson", "json"),
    ("arrow", "arrow"),
];

/// Whether a path is a pattern of the names of several files.
pub(crate) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// What an error of planning a statement with these tables is about: one that is not there, or a file that
/// cannot be read.
pub(crate) async fn of_tables(
    context: &SessionContext,
    tables: &[TableReference],
    error: DataFusionError,
) -> Failure {
    if let DataFusionError::Plan(said) = error.find_root()
        && let Some(name) = said
            .strip_prefix("table '")
            .and_then(|rest| rest.strip_suffix("' not found"))
    {
        return no_table(name);
    }
    if is_of_a_file(&error) {
        for path in tables.iter().map(TableReference::table) {
            if let Some(file) = unreadable(context, path).await {
                return named(&file, &error);
            }
        }
    }
    error.into()
}

/// Why there is no table of a name, which is written with catalog and schema.
fn no_table(name: &str) -> Failure {
    let plain = name.strip_prefix("datafusion.").unwrap_or(name);
    let path = plain.strip_prefix("public.").unwrap_or(plain);
    let file = Path::new(path);
    let extension = file.extension().and_then(|extension| extension.to_str());
    let is_known = extension.is_some_and(|it| KINDS.iter().any(|(known, _)| *known == it));
    // Without quotes what is before a point is a schema.
    let is_quoted = plain.starts_with("public.");
    if is_pattern(path) {
        return Failure::file(format!("{path}: there are no such files"));
    }
    if file.exists() && !is_quoted {
        return Failure::usage(format!(
            "there is no table {path}; the name of a file is written in quotes: '{path}'"
        ));
    }
    if file.exists() {
        return Failure::usage(format!(
            "what {path} is does not tell from its name in a statement; give it a name of its own, with \
             --table NAME={path} or CREATE EXTERNAL TABLE"
        ));
    }
    if is_known || path.contains('/') || (is_quoted && extension.is_some()) {
        return Failure::file(format!("{path}: there is no such file"));
    }
    Failure::usage(format!(
        "there is no table {path}; SHOW TABLES lists those there are, --table NAME=PATH makes one of a file, \
         and the name of a file in quotes is one"
    ))
}

/// Reads what may be damaged, over which a library may panic, too: that is an error.
pub(crate) async fn read<T>(
    reading: impl Future<Output = Result<T, DataFusionError>>,
) -> Result<T, DataFusionError> {
    let read = AssertUnwindSafe(reading).catch_unwind().await;
    read.unwrap_or_else(|_panic| {
        let said = "what reads it has panicked".to_owned();
        Err(DataFusionError::from(ParquetError::General(said)))
    })
}

/// The first of the files that a path names that cannot be read for its columns.
pub(crate) async fn unreadable(context: &SessionContext, path: &str) -> Option<String> {
    let extension = Path::new(path).extension().and_then(|it| it.to_str());
    let extension = extension.unwrap_or("parquet");
    let (_, kind) = KINDS.iter().find(|(known, _)| *known == extension)?;
    let state = context.state();
    let format = state.get_file_format_factory(kind)?;
    let format = format.create(&state, &HashMap::new()).ok()?;
    let url = ListingTableUrl::parse(path).ok()?;
    let store = state.runtime_env().object_store(&url).ok()?;
    let files = url.list_all_files(&state, store.as_ref(), extension);
    let mut files = files.await.ok()?;
    while let Some(Ok(file)) = files.next().await {
        let location = file.location.to_string();
        if read(format.infer_schema(&state, &store, &[file]))
            .await
            .is_err()
        {
            return Some(absolute(&location));
        }
    }
    None
}

/// What an error of running a plan is about. Where it may be any of several files, they are read again, each
/// by itself, until one has the same error.
pub(crate) async fn of_plan(
    plan: &Arc<dyn ExecutionPlan>,
    task: &Arc<TaskContext>,
    error: DataFusionError,
) -> Failure {
    if !is_of_a_file(&error) {
        return error.into();
    }
    let mut scans = Vec::new();
    scans_of(plan, &mut scans);
    let of_scan = |scan| files_of(scan).map(move |file| (scan, file));
    let files: Vec<_> = scans.into_iter().flat_map(of_scan).collect();
    let root = error.find_root().to_string();
    for (scan, file) in &files {
        let is_it = match files.len() {
            1 => true,
            _ => fails_with(scan, file, task, &root).await,
        };
        if is_it {
            return named(&absolute(file.object_meta.location.as_ref()), &error);
        }
    }
    error.into()
}

fn scans_of<'a>(plan: &'a Arc<dyn ExecutionPlan>, scans: &mut Vec<&'a FileScanConfig>) {
    let source = plan.downcast_ref::<DataSourceExec>();
    scans.extend(source.and_then(|it| it.data_source().downcast_ref::<FileScanConfig>()));
    plan.children()
        .into_iter()
        .for_each(|child| scans_of(child, scans));
}

fn files_of(scan: &FileScanConfig) -> impl Iterator<Item = PartitionedFile> {
    let files = scan.file_groups.iter().flat_map(FileGroup::iter);
    let mut whole: Vec<PartitionedFile> = Vec::new();
    for file in files {
        let is_known = |it: &PartitionedFile| it.object_meta.location == file.object_meta.location;
        if !whole.iter().any(is_known) {
            whole.push(PartitionedFile {
                range: None,
                ..file.clone()
            });
        }
    }
    whole.into_iter()
}

/// Whether reading one file of a scan ends with this error.
async fn fails_with(
    scan: &FileScanConfig,
    file: &PartitionedFile,
    task: &Arc<TaskContext>,
    root: &str,
) -> bool {
    let alone = FileScanConfigBuilder::from(scan.clone())
        .with_file_groups(vec![FileGroup::new(vec![file.clone()])])
        .build();
    let Ok(mut rows) = execute_stream(DataSourceExec::from_data_source(alone), Arc::clone(task))
    else {
        return false;
    };
    while let Some(batch) = rows.next().await {
        if let Err(error) = batch {
            return error.find_root().to_string() == root;
        }
    }
    false
}

/// Whether an error is that a file cannot be read, or what is in it.
fn is_of_a_file(error: &DataFusionError) -> bool {
    is_unreadable(error) || is_damage(error)
}

fn is_unreadable(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) => true,
        DataFusionError::ArrowError(error, _) => matches!(**error, ArrowError::IoError(..)),
        _ => false,
    }
}

fn is_damage(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::ParquetError(_) => true,
        DataFusionError::ArrowError(error, _) => matches!(
            **error,
            ArrowError::ParquetError(_)
                | ArrowError::CsvError(_)
                | ArrowError::JsonError(_)
                | ArrowError::IpcError(_)
        ),
        _ => false,
    }
}

/// A path of a store as one of the file system.
fn absolute(location: &str) -> String {
    format!("/{location}")
}

/// An error of a file.
fn named(file: &str, error: &DataFusionError) -> Failure {
    let why = match is_damage(error) {
        true => "; it is damaged, or is none of its kind",
        false => "",
    };
    let said = error.find_root().strip_backtrace();
    Failure::file(format!("{file}: {said}{why}"))
}
