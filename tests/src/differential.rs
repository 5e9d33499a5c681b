//! One case of differential testing: a query and a batch, computed by everyone and compared.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use unlade_eval::Level;
use unlade_expr::{
    Checked, Destination, Dialect, Lowered, Node, OutputColumn, Payload, Query, Select, Semantics,
    Typed, check, lower,
};
use unlade_naive::generate::Rng;
use unlade_naive::{Kept, Outputs, RowError, evaluate, evaluate_row, value_at};
use unlade_program::{Imm, Trap};

use crate::arrow_rs::{self, LeftOut, NoColumn};
use crate::batches::{random_batch, random_rows, schema_of, take_rows};
use crate::cells::Coverage;
use crate::execute::{Backend, execute, output_value, raw_value};
use crate::trees::{Grower, Target};

/// What the cases run so far covered.
#[derive(Debug, Default)]
pub struct Tally {
    /// Cells, by how often.
    pub coverage: Coverage,
    /// Rows of each case's batch.
    pub rows: Vec<usize>,
    /// Cases whose batch traps on some row.
    pub trapping: usize,
    /// Columns compared with arrow-rs on every row.
    pub columns_of_arrow_rs: usize,
    /// Columns for which arrow-rs reports an error on a row that needs no value, as the oracle does
    /// when it is made to compute one.
    pub eager_errors: usize,
    /// Trees that trap and for which arrow-rs reports an error, too.
    pub errors_of_arrow_rs: usize,
    /// Trees for which arrow-rs was not asked, by why.
    pub left_out: BTreeMap<LeftOut, usize>,
}

impl Tally {
    /// Adds what another counted.
    pub fn add(&mut self, other: Tally) {
        self.coverage.add(other.coverage);
        self.rows.extend(other.rows);
        self.trapping += other.trapping;
        self.columns_of_arrow_rs += other.columns_of_arrow_rs;
        self.eager_errors += other.eager_errors;
        self.errors_of_arrow_rs += other.errors_of_arrow_rs;
        for (why, count) in other.left_out {
            *self.left_out.entry(why).or_default() += count;
        }
    }
}

/// Runs one case: grows a query from some targets, makes a batch for it, and compares everyone
/// with the oracle on every row.
///
/// First the batch as it is: if a row traps, everyone must report that row and that node. Then
/// with its trapping rows replaced by others: everyone must give the oracle's values, and
/// arrow-rs's under the arrow rules.
///
/// # Errors
/// What differs, in words, with the query and the row.
pub fn run_case(
    semantics: &Semantics,
    types: &[DataType],
    targets: &[&Target],
    seed: u64,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let (query, batch) = random_case(semantics, types, targets, &mut rng);
    let checked = check(&query, &batch.schema(), semantics)
        .map_err(|error| format!("{}the check refuses: {error}", query_in_words(&query)))?;
    tally.rows.push(batch.num_rows());
    let case = Case::new(query, checked, batch, semantics.dialect)?;
    case.run(&mut rng, tally)
        .map_err(|what| case.in_words(&what))
}

/// A random query with an output for each target, and a random batch for it.
pub fn random_case(
    semantics: &Semantics,
    types: &[DataType],
    targets: &[&Target],
    rng: &mut Rng,
) -> (Query, RecordBatch) {
    let depth = 1 + rng.below(3) as u32;
    let mut grower = Grower::new(semantics, types, rng);
    let query = grower.query(targets, depth);
    let schema = schema_of(grower.into_fields());
    let rows = random_rows(rng);
    let batch = random_batch(&schema, rows, rng);
    (query, batch)
}

struct Case {
    query: Query,
    checked: Checked,
    batch: RecordBatch,
    fused: Lowered,
    late: Lowered,
    dialect: Dialect,
}

type Outcome = Result<Option<Vec<Option<Imm>>>, RowError>;

impl Case {
    fn new(
        query: Query,
        checked: Checked,
        batch: RecordBatch,
        dialect: Dialect,
    ) -> Result<Self, String> {
        let lowered = |payload| {
            let lowered = lower(&checked, payload)
                .map_err(|error| format!("{}lowering refuses: {error}", query_in_words(&query)))?;
            unlade_program::verify(&lowered.program).map_err(|error| {
                format!("{}{error}\n{}", query_in_words(&query), lowered.program)
            })?;
            Ok::<_, String>(lowered)
        };
        let (fused, late) = (lowered(Payload::Fused)?, lowered(Payload::Late)?);
        Ok(Case {
            query,
            checked,
            batch,
            fused,
            late,
            dialect,
        })
    }

    fn run(&self, rng: &mut Rng, tally: &mut Tally) -> Result<(), String> {
        let outcomes: Vec<Outcome> = (0..self.batch.num_rows())
            .map(|row| evaluate_row(&self.checked, &self.batch, row))
            .collect();
        let fine: Vec<usize> = (0..outcomes.len())
            .filter(|&row| outcomes[row].is_ok())
            .collect();
        if fine.len() == outcomes.len() {
            return self.compare(&self.batch, &outcomes, rng, tally);
        }
        self.compare_trap(&self.batch, &outcomes, rng, tally)?;
        if fine.is_empty() {
            return Ok(());
        }
        // Rows before the first shown are there to be sliced away.
        let before = rng.below(70);
        let replaced = |row: usize, rng: &mut Rng| match outcomes.get(row) {
            Some(Ok(_)) => row,
            _ => fine[rng.below(fine.len())],
        };
        let shown: Vec<usize> = (0..outcomes.len()).map(|row| replaced(row, rng)).collect();
        let hidden = vec![0; before];
        let batch = take_rows(&self.batch, &[hidden, shown.clone()].concat());
        let batch = batch.slice(before, shown.len());
        let outcomes: Vec<Outcome> = shown.iter().map(|&row| outcomes[row].clone()).collect();
        self.compare(&batch, &outcomes, rng, tally)
    }

    /// Compares the trap of a batch that has one.
    fn compare_trap(
        &self,
        batch: &RecordBatch,
        outcomes: &[Outcome],
        rng: &mut Rng,
        tally: &mut Tally,
    ) -> Result<(), String> {
        tally.trapping += 1;
        let (row, error) = outcomes
            .iter()
            .enumerate()
            .find_map(|(row, outcome)| Some((row, outcome.as_ref().err()?)))
            .ok_or("no row traps")?;
        let expected = Trap {
            row: row as u64,
            ordinal: error.ordinal,
        };
        for (backend, lowered) in self.everyone(rng) {
            match self.execute(backend, lowered, batch)? {
                Err(trap) if trap == expected => {}
                Err(trap) => {
                    return Err(format!(
                        "{backend} reports {trap:?}, the oracle {expected:?}: {error:?}\n{}",
                        lowered.program
                    ));
                }
                Ok(_) => {
                    return Err(format!(
                        "{backend} reports nothing, the oracle {expected:?}: {error:?}\n{}",
                        lowered.program
                    ));
                }
            }
        }
        for tree in self.checked.trees() {
            tally.coverage.count(tree, |hits| hits.trapping += 1);
        }
        compare_trap_with_arrow_rs(&self.checked, self.dialect, error, batch, tally)
    }

    /// Compares the results on a batch on which no row traps.
    fn compare(
        &self,
        batch: &RecordBatch,
        outcomes: &[Outcome],
        rng: &mut Rng,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let kept: Vec<Kept> = outcomes
            .iter()
            .enumerate()
            .filter_map(|(row, outcome)| {
                let values = outcome.as_ref().ok()?.clone()?;
                Some(Kept { row, values })
            })
            .collect();
        for (backend, lowered) in self.everyone(rng) {
            let outputs = self.execute(backend, lowered, batch)?.map_err(|trap| {
                format!(
                    "{backend} reports {trap:?}, the oracle nothing\n{}",
                    lowered.program
                )
            })?;
            self.compare_outputs(lowered, batch, &kept, &outputs)
                .map_err(|what| format!("{backend}: {what}\n{}", lowered.program))?;
        }
        for tree in self.checked.trees() {
            tally.coverage.count(tree, |hits| hits.oracle += 1);
        }
        compare_with_arrow_rs(&self.checked, self.dialect, batch, &kept, tally)
    }

    /// Each backend with one of the two programs: over many cases every pair.
    fn everyone(&self, rng: &mut Rng) -> Vec<(Backend, &Lowered)> {
        let mut everyone = Vec::new();
        for &level in Level::available() {
            let lowered = if rng.chance(50) {
                &self.fused
            } else {
                &self.late
            };
            let tile_rows = rng.pick(&[64, 1024, 4096]);
            everyone.push((Backend::Cpu { level, tile_rows }, lowered));
        }
        // Slow, and it has differential tests of its own.
        if rng.chance(5) {
            everyone.push((Backend::Naive, &self.fused));
        }
        everyone
    }

    fn execute(
        &self,
        backend: Backend,
        lowered: &Lowered,
        batch: &RecordBatch,
    ) -> Result<Result<Outputs, Trap>, String> {
        catch_unwind(AssertUnwindSafe(|| execute(backend, lowered, batch)))
            .map_err(|_| format!("{backend} panics\n{}", lowered.program))
    }

    fn compare_outputs(
        &self,
        lowered: &Lowered,
        batch: &RecordBatch,
        kept: &[Kept],
        outputs: &Outputs,
    ) -> Result<(), String> {
        if outputs.kept != kept.len() as u64 {
            return Err(format!(
                "{} rows are kept, not {}",
                outputs.kept,
                kept.len()
            ));
        }
        if let Some(mask) = &outputs.mask {
            let mut expected = vec![0u8; batch.num_rows().div_ceil(8)];
            for row in kept {
                expected[row.row / 8] |= 1 << (row.row % 8);
            }
            if *mask != expected {
                return Err(format!("the mask is {mask:x?}, not {expected:x?}"));
            }
        }
        let types = lowered.program.types();
        let mut computed = 0;
        for (column, destination) in self.checked.columns.iter().zip(&lowered.outputs) {
            let position = computed;
            computed += usize::from(matches!(column, OutputColumn::Computed(_)));
            let output = match *destination {
                Destination::Program { output } | Destination::Keys { output, .. } => output,
                Destination::Payload { .. } => continue,
            };
            let value = lowered.program.outputs[output].value;
            let ty = types[value.index()].ok_or("an output is the result of a trap")?;
            let payload = match column {
                OutputColumn::Payload(column) => Some(batch.column(*column).to_data()),
                OutputColumn::Computed(_) => None,
            };
            for (index, row) in kept.iter().enumerate() {
                let expected = match &payload {
                    Some(data) => raw_value(ty, data, row.row),
                    None => row.values[position],
                };
                let actual = output_value(ty, &outputs.columns[output], index);
                if actual != expected {
                    return Err(format!(
                        "output {output} in row {} is {actual:?}, not {expected:?}: {}",
                        row.row,
                        row_in_words(batch, row.row)
                    ));
                }
            }
        }
        Ok(())
    }

    fn in_words(&self, what: &str) -> String {
        let words = query_in_words(&self.query);
        format!("{words}over {}\n{what}", in_words(&self.checked.input))
    }
}

/// Compares the rows that the oracle keeps, and their values, with arrow-rs under the arrow rules.
///
/// # Errors
/// What differs, in words.
pub fn compare_with_arrow_rs(
    checked: &Checked,
    dialect: Dialect,
    batch: &RecordBatch,
    kept: &[Kept],
    tally: &mut Tally,
) -> Result<(), String> {
    if dialect != Dialect::Arrow {
        return Ok(());
    }
    if let Some(filter) = &checked.filter
        && let Some(column) = by_arrow_rs(filter, batch, tally)?
    {
        let keeps = |&row: &usize| value_at(&column, row) == Some(Imm::mask(true));
        let rows = (0..batch.num_rows()).filter(keeps);
        if !rows.eq(kept.iter().map(|row| row.row)) {
            return Err("the filter by arrow-rs keeps other rows".to_owned());
        }
    }
    let computed = checked.columns.iter().filter_map(|column| match column {
        OutputColumn::Computed(tree) => Some(tree),
        OutputColumn::Payload(_) => None,
    });
    for (position, tree) in computed.enumerate() {
        let Some(column) = by_arrow_rs(tree, batch, tally)? else {
            continue;
        };
        for row in kept {
            let (theirs, ours) = (value_at(&column, row.row), row.values[position]);
            if theirs != ours {
                return Err(format!(
                    "output {position} in row {} is {ours:?}, by arrow-rs {theirs:?}: {}",
                    row.row,
                    row_in_words(batch, row.row)
                ));
            }
        }
    }
    Ok(())
}

/// A tree's column by arrow-rs on a batch on which no row traps; none where it has no kernel or fails
/// where an operation of the tree fails that no row needs.
fn by_arrow_rs(
    tree: &Typed,
    batch: &RecordBatch,
    tally: &mut Tally,
) -> Result<Option<ArrayRef>, String> {
    match arrow_rs::evaluate(tree, batch) {
        Ok(column) => {
            tally.columns_of_arrow_rs += 1;
            tally.coverage.count(tree, |hits| hits.arrow_rs += 1);
            Ok(Some(column))
        }
        Err(NoColumn::LeftOut(why)) => {
            *tally.left_out.entry(why).or_default() += 1;
            Ok(None)
        }
        Err(NoColumn::Refused(error)) => Err(format!("arrow-rs refuses: {error}")),
        Err(NoColumn::Data(error)) if !fails_somewhere(tree, batch) => Err(format!(
            "arrow-rs reports `{error}`, the oracle no error of any operation on any row"
        )),
        Err(NoColumn::Data(_)) => {
            tally.eager_errors += 1;
            Ok(None)
        }
    }
}

/// Whether arrow-rs, which computes more rows than are needed, fails on the tree of the operation
/// with this ordinal, which traps by the oracle; under the arrow rules.
///
/// # Errors
/// What differs, in words.
pub fn compare_trap_with_arrow_rs(
    checked: &Checked,
    dialect: Dialect,
    error: &RowError,
    batch: &RecordBatch,
    tally: &mut Tally,
) -> Result<(), String> {
    if dialect != Dialect::Arrow {
        return Ok(());
    }
    let mut trees = checked.trees();
    let tree = trees.find(|tree| tree.find(error.ordinal).is_some());
    match arrow_rs::evaluate(tree.ok_or("no tree has the trap's ordinal")?, batch) {
        Ok(_) => Err(format!("arrow-rs reports nothing, the oracle {error:?}")),
        Err(NoColumn::LeftOut(why)) => {
            *tally.left_out.entry(why).or_default() += 1;
            Ok(())
        }
        Err(NoColumn::Refused(refused)) => Err(format!("arrow-rs refuses: {refused}")),
        Err(NoColumn::Data(_)) => {
            tally.errors_of_arrow_rs += 1;
            Ok(())
        }
    }
}

/// Whether the oracle finds an error in a tree or one of its subtrees, evaluated on every row.
fn fails_somewhere(tree: &Typed, batch: &RecordBatch) -> bool {
    let mut fails = false;
    // A dictionary's column by itself has no value.
    if !matches!(tree.node, Node::Column(_)) {
        tree.for_each_child(|child| fails = fails || fails_somewhere(child, batch));
        fails = fails || (0..batch.num_rows()).any(|row| evaluate(tree, batch, row).is_err());
    }
    fails
}

/// A query as text, a line per clause.
pub fn query_in_words(query: &Query) -> String {
    let mut words = String::new();
    if let Some(filter) = &query.filter {
        words += &format!("filter {filter}\n");
    }
    if let Select::Columns(columns) = &query.select {
        for column in columns {
            words += &format!("output {column}\n");
        }
    }
    words
}

fn in_words(schema: &SchemaRef) -> String {
    let fields = schema.fields().iter().map(|field| {
        let null = if field.is_nullable() { " null" } else { "" };
        format!("{}: {}{null}", field.name(), field.data_type())
    });
    fields.collect::<Vec<_>>().join(", ")
}

fn row_in_words(batch: &RecordBatch, row: usize) -> String {
    let schema = batch.schema();
    let cells = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| {
            let text = arrow_cast::display::array_value_to_string(column, row)
                .unwrap_or_else(|error| error.to_string());
            let text = if column.is_null(row) {
                "null".to_owned()
            } else {
                text
            };
            format!("{} = {text}", field.name())
        });
    cells.collect::<Vec<_>>().join(", ")
}
