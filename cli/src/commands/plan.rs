//! A query over files, compiled: what `run` runs and `explain` shows.

use unlade::{Error, Kernel, Runtime, check};
use unlade_ingest::{BatchReader, MappedFiles, Pruning, Scan};

use crate::args::QueryArgs;
use crate::error::Failure;
use crate::report::columns::Columns;
use crate::session;

/// A compiled query over opened inputs.
pub(crate) struct Plan {
    pub(crate) kernel: Kernel,
    pub(crate) reader: BatchReader,
    pub(crate) mapped: MappedFiles,
    /// Rows of all inputs, if every one says how many it has.
    pub(crate) total: Option<u64>,
}

impl Plan {
    /// Opens the inputs, compiles the query, and reads no more columns and row groups than it
    /// needs.
    pub(crate) fn make(args: &QueryArgs, runtime: &Runtime) -> Result<Plan, Failure> {
        let query = session::query(args)?;
        let semantics = session::semantics(&args.rules)?;
        let inputs = session::inputs(&args.inputs)?;
        let options = session::scan_options(&args.resources)?;
        if options.mmap {
            MappedFiles::survive_missing_pages().map_err(|error| {
                Failure::resource(format!("{}: {error}", args.resources.names.name("mmap")))
            })?;
        }
        let scan = Scan::open(&inputs, options)?;
        let mapped = scan.mapped_files();
        // Checked over all columns, to learn which the query names; compiled over just these.
        let checked = check(&query, scan.schema(), &semantics)
            .map_err(|error| session::expression_error(args, &error))?;
        let columns = checked.named_columns();
        let pruning = Pruning::of(&checked);
        let total = scan.rows();
        let reader = scan.into_reader(&columns, Some(&pruning))?;
        let kernel = runtime
            .compile(&query, &reader.schema(), &semantics)
            .map_err(|error| match error {
                Error::Expr(error) => session::expression_error(args, &error),
                Error::Unplaceable(_) if args.resources.no_fallback == Some(true) => {
                    let setting = args.resources.names.name("no-fallback");
                    Failure::resource(format!("{error}; without {setting} the CPU takes that"))
                }
                other => other.into(),
            })?;
        Ok(Plan {
            kernel,
            reader,
            mapped,
            total,
        })
    }

    /// What runs where and why, and what is not computed at all.
    pub(crate) fn explain(&self) -> String {
        let mut text = self.kernel.explain().to_string();
        if let Some(line) = self.columns().passed_through() {
            text.push_str(&format!("\n{line}"));
        }
        text
    }

    /// The columns that are put out.
    pub(crate) fn columns(&self) -> Columns {
        Columns::of(self.kernel.checked())
    }
}
