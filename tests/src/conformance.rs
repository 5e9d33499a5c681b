//! What every device must pass before it is trusted with data.
//!
//! [`suite`] goes through the op table: each cell that the device advertises is computed on the
//! cross product of its operands' special values, and each that it does not must be refused. Then
//! random programs filter, trap and compact at row counts about the sizes of words and tiles, and
//! the queue's manners are looked at, copies by a count of the device's, and strings that it compacts.
//! Results are compared, bit for bit, with the interpreter of programs.

use std::fmt;
use std::sync::Arc;

use unlade_hal::{
    Command, CommandList, CompileError, Device, MemoryKind, Outcome, RejectReason, Slot, Span, Wait,
};
use unlade_naive::generate::{
    Options, OwnedBits, OwnedColumn, OwnedInputs, Rng, random_inputs, random_program,
};
use unlade_naive::{Outputs, RunError};
use unlade_program::{
    BinaryOp, CastRule, Cell, Column, CompareOp, FloatOrder, Imm, Inst, MaskOp, Op, Output,
    OverflowOp, Program, Rounding, Trap, TrapCode, Ty, UnaryOp, Val, cells, unsupported,
};

use crate::compact_strings;
use crate::counted_copy;
use crate::device_runner::{DeviceRunner, LONG};
use crate::pinned;
use crate::special_values::special_values;

/// What a device was put through.
#[derive(Debug)]
pub struct Report {
    /// The device's name.
    pub device: String,
    /// Cells computed and compared.
    pub cells_run: usize,
    /// Cells that it does not advertise, and refused.
    pub cells_refused: usize,
    /// Rows of those that were computed.
    pub rows: u64,
    /// Random programs compared.
    pub programs: usize,
    /// Of these, those that trapped.
    pub traps: usize,
    /// Columns of strings compacted and compared; 0 where it declines strings, and refused them.
    pub strings: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            device,
            cells_run,
            cells_refused,
            rows,
            programs,
            traps,
            strings,
        } = self;
        write!(
            f,
            "{device}: {cells_run} cells run on {rows} rows, {cells_refused} refused; {programs} \
             random programs, {traps} of them trapping; "
        )?;
        match strings {
            0 => f.write_str("strings refused"),
            columns => write!(f, "{columns} columns of strings compacted"),
        }
    }
}

/// Puts a device through everything.
///
/// # Errors
/// The first thing that is not as it must be, with the program.
pub fn suite(device: &Arc<dyn Device>) -> Result<Report, String> {
    let (report, failures) = survey(device);
    failures.into_iter().next().map_or(Ok(report), Err)
}

/// Puts a device through everything, and lists all that is not as it must be.
pub fn survey(device: &Arc<dyn Device>) -> (Report, Vec<String>) {
    let mut report = Report {
        device: device.info().name.clone(),
        cells_run: 0,
        cells_refused: 0,
        rows: 0,
        programs: 0,
        traps: 0,
        strings: 0,
    };
    let mut failures = Vec::new();
    for cell in cells() {
        if let Err(what) = check_cell(device, cell, &mut report) {
            failures.push(format!("cell {cell}: {what}"));
        }
    }
    failures.extend(check_random_programs(device, &mut report).err());
    failures.extend(check_manners(device).err());
    failures.extend(counted_copy::check(device).err());
    failures.extend(
        pinned::check(device)
            .map_err(|what| format!("pinned: {what}"))
            .err(),
    );
    match compact_strings::check(device) {
        Ok(columns) => report.strings = columns,
        Err(what) => failures.push(format!("strings: {what}")),
    }
    (report, failures)
}

fn check_cell(device: &Arc<dyn Device>, cell: Cell, report: &mut Report) -> Result<(), String> {
    let (program, inputs) = cell_case(cell);
    let program = Arc::new(program);
    let needed = unsupported(&program, &device.capabilities().cells);
    match device.compile(&program) {
        Ok(exe) if needed.is_empty() => {
            let mut runner = DeviceRunner::new(device.as_ref());
            for inputs in &inputs {
                let actual = runner.run(&exe, &inputs.borrow());
                compare(&program, inputs, actual)?;
                report.rows += inputs.rows;
            }
            report.cells_run += 1;
            Ok(())
        }
        Err(CompileError::Unsupported { .. }) if !needed.is_empty() => {
            report.cells_refused += 1;
            Ok(())
        }
        other => Err(format!(
            "{} of its operations are not advertised, and compiling gives {other:?}\n{program}",
            needed.len()
        )),
    }
}

/// Whether a device's result is the interpreter's.
pub(crate) fn compare(
    program: &Program,
    inputs: &OwnedInputs,
    mut actual: Result<Outputs, Trap>,
) -> Result<(), String> {
    let mut wanted = match unlade_naive::run(program, &inputs.borrow()) {
        Ok(outputs) => Ok(outputs),
        Err(RunError::Trap(trap)) => Err(trap),
        Err(other) => {
            return Err(format!(
                "the interpreter refuses the inputs: {other}\n{program}"
            ));
        }
    };
    for outputs in [&mut wanted, &mut actual].into_iter().flatten() {
        unlade_naive::clear_nulls(program, outputs);
    }
    match (&wanted, &actual) {
        (Ok(wanted), Ok(actual)) if wanted == actual => Ok(()),
        (Err(wanted), Err(actual)) if wanted == actual => Ok(()),
        (Ok(wanted), Ok(actual)) => Err(format!(
            "{} rows: {}\n{program}",
            inputs.rows,
            unlade_naive::difference(program, wanted, actual)
        )),
        _ => Err(format!(
            "{} rows: {actual:?}, not {wanted:?}\n{program}",
            inputs.rows
        )),
    }
}

/// A program of the cell alone, and inputs that put its operands through their special values.
fn cell_case(cell: Cell) -> (Program, Vec<OwnedInputs>) {
    let mut maker = CellMaker::default();
    let (ty, to) = (cell.operand, cell.result);
    let order = match cell.variant {
        0 => FloatOrder::Ieee,
        1 => FloatOrder::Total,
        _ => FloatOrder::Spark,
    };
    let rounding = match cell.variant {
        0 | 1 => Rounding::HalfAwayFromZero,
        2 => Rounding::Truncate,
        _ => Rounding::Floor,
    };
    match cell.op {
        Op::Load => {
            let value = maker.load(ty);
            maker.output(value);
        }
        Op::Validity => {
            maker.load(Ty::I8);
            maker.push_output(Inst::Validity { column: 0 });
        }
        Op::Param => {
            for value in special_values(ty) {
                maker.program.params.push(ty);
                maker.params.push(value);
                let index = (maker.params.len() - 1) as u16;
                maker.push_output(Inst::Param { index });
            }
        }
        Op::Const => {
            for value in special_values(ty) {
                maker.push_output(Inst::Const { value });
            }
        }
        Op::Neg => maker.unary(UnaryOp::Neg, ty),
        Op::Abs => maker.unary(UnaryOp::Abs, ty),
        Op::Round => maker.unary(UnaryOp::Round, ty),
        Op::Add => maker.binary(BinaryOp::Add, ty),
        Op::Sub => maker.binary(BinaryOp::Sub, ty),
        Op::Mul => maker.binary(BinaryOp::Mul, ty),
        Op::Div => maker.binary(BinaryOp::Div, ty),
        Op::Rem => maker.binary(BinaryOp::Rem, ty),
        Op::FloorDiv => maker.binary(BinaryOp::FloorDiv, ty),
        Op::OverflowAdd => maker.overflow(OverflowOp::Add, ty),
        Op::OverflowSub => maker.overflow(OverflowOp::Sub, ty),
        Op::OverflowMul => maker.overflow(OverflowOp::Mul, ty),
        Op::OverflowDiv => maker.overflow(OverflowOp::Div, ty),
        Op::CompareEq => maker.compare(CompareOp::Eq, order, ty),
        Op::CompareNe => maker.compare(CompareOp::Ne, order, ty),
        Op::CompareLt => maker.compare(CompareOp::Lt, order, ty),
        Op::CompareLe => maker.compare(CompareOp::Le, order, ty),
        Op::CompareGt => maker.compare(CompareOp::Gt, order, ty),
        Op::CompareGe => maker.compare(CompareOp::Ge, order, ty),
        Op::Range => {
            let (arg, low, high) = (maker.load(ty), maker.load(ty), maker.load(ty));
            maker.push_output(Inst::Range { arg, low, high });
        }
        Op::CastWrap | Op::CastSaturate => {
            let rule = match cell.op {
                Op::CastWrap => CastRule::Wrap,
                _ => CastRule::Saturate,
            };
            let arg = maker.load(ty);
            maker.push_output(Inst::Cast { rule, arg, to });
        }
        Op::CastFails => {
            let arg = maker.load(ty);
            maker.push_output(Inst::CastFails { arg, to });
        }
        Op::Rescale => {
            let arg = maker.load(ty);
            for digits in [1, 2, 18, 19, 37, 38] {
                let by = if cell.variant == 0 { digits } else { -digits };
                maker.push_output(Inst::Rescale { arg, by, rounding });
            }
        }
        Op::Digits => {
            let arg = maker.load(ty);
            for by in [0, 1, 2, 18, 37, 38] {
                maker.push_output(Inst::Digits { arg, by });
            }
        }
        Op::RescaleFails => {
            let arg = maker.load(ty);
            for by in [1, 2, 18, 19, 37, 38] {
                maker.push_output(Inst::RescaleFails { arg, by });
            }
        }
        Op::Select => {
            let (mask, then, other) = (maker.load(Ty::Mask), maker.load(ty), maker.load(ty));
            maker.push_output(Inst::Select { mask, then, other });
        }
        Op::And => maker.masks(MaskOp::And),
        Op::Or => maker.masks(MaskOp::Or),
        Op::AndNot => maker.masks(MaskOp::AndNot),
        Op::Xor => maker.masks(MaskOp::Xor),
        Op::Not => {
            let arg = maker.load(Ty::Mask);
            maker.push_output(Inst::Not { arg });
        }
        Op::Lookup => {
            let index = maker.load(ty);
            maker.program.tables.push(to);
            maker.push_output(Inst::Lookup { table: 0, index });
        }
        Op::InBounds => {
            let index = maker.load(ty);
            maker.program.tables.push(Ty::I16);
            maker.push_output(Inst::InBounds { table: 0, index });
        }
        Op::InSet => {
            let arg = maker.load(ty);
            maker.program.sets.push(ty);
            maker.push_output(Inst::InSet { set: 0, arg });
        }
        Op::Trap => {
            let when = maker.load(Ty::Mask);
            let other = maker.load(Ty::I32);
            let code = TrapCode::Overflow;
            maker.push(Inst::Trap {
                when,
                code,
                ordinal: 3,
            });
            maker.output(other);
        }
    }
    maker.finish(cell.op)
}

#[derive(Default)]
struct CellMaker {
    program: Program,
    params: Vec<Imm>,
}

impl CellMaker {
    fn push(&mut self, inst: Inst) -> Val {
        self.program.insts.push(inst);
        Val(self.program.insts.len() as u32 - 1)
    }

    fn output(&mut self, value: Val) {
        self.program.outputs.push(Output { value, valid: None });
    }

    fn push_output(&mut self, inst: Inst) {
        let value = self.push(inst);
        self.output(value);
    }

    fn load(&mut self, ty: Ty) -> Val {
        self.program.columns.push(Column { ty, nullable: true });
        let column = self.program.columns.len() as u16 - 1;
        self.push(Inst::Load { column })
    }

    fn unary(&mut self, op: UnaryOp, ty: Ty) {
        let arg = self.load(ty);
        self.push_output(Inst::Unary { op, arg });
    }

    fn binary(&mut self, op: BinaryOp, ty: Ty) {
        let (lhs, rhs) = (self.load(ty), self.load(ty));
        self.push_output(Inst::Binary { op, lhs, rhs });
    }

    fn overflow(&mut self, op: OverflowOp, ty: Ty) {
        let (lhs, rhs) = (self.load(ty), self.load(ty));
        self.push_output(Inst::Overflow { op, lhs, rhs });
    }

    fn compare(&mut self, op: CompareOp, order: FloatOrder, ty: Ty) {
        let (lhs, rhs) = (self.load(ty), self.load(ty));
        self.push_output(Inst::Compare {
            op,
            order,
            lhs,
            rhs,
        });
    }

    fn masks(&mut self, op: MaskOp) {
        let (lhs, rhs) = (self.load(Ty::Mask), self.load(Ty::Mask));
        self.push_output(Inst::Mask { op, lhs, rhs });
    }

    /// The cross product of the columns' special values. Of a trap, which ends a run, a run for
    /// each of some rows.
    fn finish(self, op: Op) -> (Program, Vec<OwnedInputs>) {
        let values: Vec<Vec<Imm>> = self
            .program
            .columns
            .iter()
            .map(|column| special_values(column.ty))
            .collect();
        let rows: usize = values.iter().map(Vec::len).product();
        let mut stride = 1;
        let mut columns = Vec::new();
        for (column, values) in self.program.columns.iter().zip(&values) {
            let at = |row: usize| values[row / stride % values.len()];
            columns.push(OwnedColumn {
                values: packed(column.ty, (0..rows).map(at)),
                validity: Some(packed(
                    Ty::Mask,
                    (0..rows).map(|row| Imm::mask(row % 3 != 0)),
                )),
            });
            stride *= values.len();
        }
        let inputs = OwnedInputs {
            rows: rows as u64,
            columns,
            params: self
                .params
                .iter()
                .map(|param| param.to_le_bytes())
                .collect(),
            tables: self
                .program
                .tables
                .iter()
                .map(|&ty| packed_entries(ty))
                .collect(),
            sets: self
                .program
                .sets
                .iter()
                .map(|&ty| packed_entries(ty))
                .collect(),
        };
        let runs = match op {
            Op::Trap => [None, Some(0), Some(7), Some(rows - 1)]
                .map(|trapping| {
                    let mut inputs = inputs.clone();
                    let traps = |row| Imm::mask(Some(row) == trapping);
                    inputs.columns[0].values = packed(Ty::Mask, (0..rows).map(traps));
                    inputs
                })
                .into(),
            _ => vec![inputs],
        };
        (self.program, runs)
    }
}

/// Values one after the other; of a mask, from the fourth bit on.
fn packed(ty: Ty, values: impl Iterator<Item = Imm>) -> OwnedBits {
    if ty != Ty::Mask {
        let width = ty.bytes_for(1) as usize;
        let bytes = values
            .flat_map(|value| value.to_le_bytes().into_iter().take(width))
            .collect();
        return OwnedBits {
            bytes,
            bit_offset: 0,
        };
    }
    let bits: Vec<bool> = [true, false, true]
        .into_iter()
        .chain(values.map(Imm::as_mask))
        .collect();
    let byte = |eight: &[bool]| {
        eight
            .iter()
            .enumerate()
            .fold(0, |byte, (bit, &set)| byte | u8::from(set) << bit)
    };
    OwnedBits {
        bytes: bits.chunks(8).map(byte).collect(),
        bit_offset: 3,
    }
}

/// The entries of a table or set: the special values of its type, their bits ascending, none
/// twice.
fn packed_entries(ty: Ty) -> Vec<u8> {
    if ty == Ty::Mask {
        return vec![0b0110_1001, 0b1010_0110];
    }
    let mut entries = special_values(ty);
    entries.sort_unstable();
    entries.dedup();
    packed(ty, entries.into_iter()).bytes
}

/// Row counts about the sizes of words, tiles and blocks.
const ROWS: [u64; 14] = [
    0, 1, 7, 8, 63, 64, 65, 1000, 1024, 4095, 4096, 4097, 8192, 10_000,
];

/// Random programs for each number of rows.
const PROGRAMS: usize = 12;

fn check_random_programs(device: &Arc<dyn Device>, report: &mut Report) -> Result<(), String> {
    let can = device.capabilities();
    let cells: Vec<Cell> = cells().filter(|&cell| can.cells.contains(cell)).collect();
    let mut runner = DeviceRunner::new(device.as_ref());
    for (number, &rows) in ROWS.iter().enumerate() {
        for program in 0..PROGRAMS {
            let seed = (number * PROGRAMS + program) as u64;
            let mut rng = Rng::new(seed);
            let wanted: Vec<Cell> = (0..10).map(|_| rng.pick(&cells)).collect();
            let wanted = wanted
                .into_iter()
                .filter(|cell| cell.op != Op::Trap)
                .collect();
            let options = Options {
                cells: wanted,
                keep: can.compaction,
                ..Options::default()
            };
            let program = Arc::new(random_program(&mut rng, &options));
            // Operands of an operation may need what the device does not have.
            if !unsupported(&program, &can.cells).is_empty() {
                continue;
            }
            let exe = device
                .compile(&program)
                .map_err(|error| format!("seed {seed}: compiling fails: {error}\n{program}"))?;
            let inputs = random_inputs(&program, rows, &mut rng);
            let actual = runner.run(&exe, &inputs.borrow());
            report.traps += usize::from(actual.is_err());
            compare(&program, &inputs, actual).map_err(|what| format!("seed {seed}: {what}"))?;
            report.programs += 1;
        }
    }
    Ok(())
}

/// How a queue treats lists: in order, each once, whole when rejected.
fn check_manners(device: &Arc<dyn Device>) -> Result<(), String> {
    let page = 4096;
    let list = || {
        let slab = device
            .allocate(MemoryKind::Readback, page)
            .map_err(|e| e.to_string())?;
        let lease = slab.lease_whole().ok_or("a new slab is leased already")?;
        let mut list = CommandList::new();
        let slot = list.slot(Slot::Owned(lease));
        list.push(Command::Fill {
            to: Span {
                slot,
                bytes: 0..page,
            },
            byte: 7,
        });
        Ok::<_, String>(list)
    };
    let lost = |error: unlade_hal::DeviceLost| error.to_string();
    let mut queue = device.open_queue(2).map_err(|error| error.to_string())?;

    let mut outside = list()?;
    let slot = unlade_hal::SlotId(0);
    outside.push(Command::Fill {
        to: Span {
            slot,
            bytes: 0..2 * page,
        },
        byte: 7,
    });
    match queue.submit(outside) {
        Err(rejected) => {
            let whole = rejected.list.slots.len() == 1 && rejected.list.commands.len() == 2;
            let invalid = matches!(rejected.reason, RejectReason::Invalid(_));
            ensure(
                whole && invalid,
                "a list beyond its slot comes back whole, as invalid",
            )?;
        }
        Ok(_) => return Err("a list that writes beyond its slot is accepted".to_owned()),
    }

    let mut submitted = Vec::new();
    loop {
        ensure(
            submitted.len() <= 2,
            "a queue of depth 2 holds no more than two lists",
        )?;
        match queue.submit(list()?) {
            Ok(seq) => submitted.push(seq),
            Err(rejected) => {
                ensure(
                    rejected.reason == RejectReason::Full,
                    "what is too many is told as full",
                )?;
                ensure(
                    rejected.list.slots.len() == 1,
                    "a rejected list comes back whole",
                )?;
                break;
            }
        }
    }
    ensure(
        submitted.is_sorted_by(|a, b| a < b),
        "points of a timeline ascend",
    )?;
    let last = *submitted
        .last()
        .ok_or("a queue of depth 2 holds no list at all")?;
    ensure(
        queue.wait(last, LONG).map_err(lost)? == Wait::Reached,
        "the last point is reached",
    )?;
    let mut done = Vec::new();
    queue.poll(&mut done).map_err(lost)?;
    ensure(
        done.iter().map(|c| c.seq).eq(submitted.iter().copied()),
        "completions come in order",
    )?;
    for completion in &done {
        let fine = matches!(completion.outcome, Outcome::Done { .. });
        let Slot::Owned(lease) = &completion.list.slots[0] else {
            return Err("an owned slot comes back owned".to_owned());
        };
        let filled = lease
            .bytes()
            .is_some_and(|bytes| bytes.iter().all(|byte| *byte == 7));
        ensure(fine && filled, "a fill fills")?;
    }
    done.clear();
    queue.poll(&mut done).map_err(lost)?;
    ensure(done.is_empty(), "a completion is delivered once")?;
    ensure(
        queue.wait(last, LONG).map_err(lost)? == Wait::Reached,
        "a point already delivered is reached",
    )?;

    let seq = queue
        .submit(list()?)
        .map_err(|rejected| rejected.reason.to_string())?;
    let quiesced = queue.quiesce(LONG);
    let all = quiesced.completions.iter().any(|c| c.seq == seq) && quiesced.leaked.is_empty();
    ensure(all, "a queue that ends gives back what was in flight")
}

fn ensure(holds: bool, rule: &str) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(format!("not so: {rule}")),
    }
}
