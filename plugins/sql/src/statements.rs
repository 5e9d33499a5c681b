//! Statements, one after the other: each is planned and run by a task of its own, and its rows are
//! printed as they come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::dialect::dialect_from_str;
use futures::StreamExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::error::{Failure, say};
use crate::files;
use crate::output::{Printer, Printing};
use crate::receipts::receipts;

/// Ctrl-C, which from here on no longer ends the process.
#[derive(Debug)]
pub(crate) struct Interrupts(Signal);

impl Interrupts {
    pub(crate) fn watch() -> Result<Self, Failure> {
        let signal = signal(SignalKind::interrupt());
        let signal = signal
            .map_err(|error| Failure::resource(format!("cannot watch for Ctrl-C: {error}")))?;
        Ok(Interrupts(signal))
    }

    /// Whether there was one since this was last asked.
    pub(crate) async fn came(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.0.recv() => true,
            () = std::future::ready(()) => false,
        }
    }
}

/// Runs statements.
///
/// # Errors
/// The first that there is: nothing after it is run, and nothing at all of what is no SQL.
pub(crate) async fn run(
    context: &SessionContext,
    printing: Printing,
    interrupts: &mut Interrupts,
    sql: &str,
) -> Result<(), Failure> {
    for statement in parsed(context, sql)? {
        // One may have come while the last rows of the statement before were printed.
        if interrupts.came().await {
            return Err(Failure::Interrupted);
        }
        one(context, printing, interrupts, statement).await?;
    }
    Ok(())
}

fn parsed(context: &SessionContext, sql: &str) -> Result<VecDeque<Statement>, Failure> {
    let state = context.state_ref();
    let dialect = state.read().config_options().sql_parser.dialect;
    let known = dialect_from_str(dialect);
    let known = known.ok_or_else(|| Failure::usage(format!("there is no dialect {dialect}")))?;
    Ok(DFParser::parse_sql_with_dialect(sql, known.as_ref())?)
}

/// What a task has to tell.
enum Part {
    /// What is run; first.
    Plan(Arc<dyn ExecutionPlan>),
    Rows(RecordBatch),
}

/// Batches that wait to be printed.
const WAITING: usize = 4;

async fn one(
    context: &SessionContext,
    printing: Printing,
    interrupts: &mut Interrupts,
    statement: Statement,
) -> Result<(), Failure> {
    let since = Instant::now();
    let (sender, mut parts) = mpsc::channel(WAITING);
    let task = tokio::spawn(answer(context.clone(), statement, sender));
    let _ends_with_this = AbortOnDrop(task.abort_handle());
    let mut shown: Option<(Arc<dyn ExecutionPlan>, Printer)> = None;
    loop {
        let part = tokio::select! {
            biased;
            _ = interrupts.0.recv() => return Err(Failure::Interrupted),
            part = parts.recv() => part,
        };
        match (part, &mut shown) {
            (Some(Part::Plan(plan)), _) => {
                let printer = Printer::new(printing, &plan.schema(), context)?;
                shown = Some((plan, printer));
            }
            (Some(Part::Rows(batch)), Some((_, printer))) => printer.print(&batch)?,
            (Some(Part::Rows(_)), None) => unreachable!("the plan comes first"),
            (None, _) => break,
        }
    }
    // An error goes before rows that a table still holds back.
    task.await
        .map_err(|error| Failure::data(format!("a panic: {error}")))??;
    let Some((plan, printer)) = shown else {
        return Ok(());
    };
    let rows = printer.finish()?;
    if !printing.quiet {
        let seconds = since.elapsed().as_secs_f64();
        say(&match (plan.schema().fields().is_empty(), rows) {
            (true, _) => format!("done in {seconds:.3} s"),
            (false, 1) => format!("1 row in {seconds:.3} s"),
            (false, rows) => format!("{rows} rows in {seconds:.3} s"),
        });
    }
    if printing.receipts {
        receipts(&plan).iter().for_each(|line| say(line));
    }
    Ok(())
}

/// Plans a statement and runs it. Nobody receives any more where it was interrupted.
async fn answer(
    context: SessionContext,
    statement: Statement,
    parts: mpsc::Sender<Part>,
) -> Result<(), Failure> {
    let state = context.state();
    let tables = state.resolve_table_references(&statement);
    let plan = match files::read(state.statement_to_plan(statement)).await {
        Ok(plan) => plan,
        Err(error) => {
            let tables = tables.unwrap_or_default();
            return Err(files::of_tables(&context, &tables, error).await);
        }
    };
    let frame = context.execute_logical_plan(plan).await?;
    let task = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await?;
    if parts.send(Part::Plan(Arc::clone(&plan))).await.is_err() {
        return Ok(());
    }
    let mut rows = execute_stream(Arc::clone(&plan), Arc::clone(&task))?;
    while let Some(batch) = rows.next().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return Err(files::of_plan(&plan, &task, error).await),
        };
        if parts.send(Part::Rows(batch)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Ends a task whose statement was interrupted, or whose output nobody reads.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
