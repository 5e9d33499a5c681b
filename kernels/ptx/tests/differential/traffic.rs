//! Bytes that kernels ask of global memory, against the count on paper; and instructions.

use unlade_naive::generate::{OwnedBits, OwnedColumn, OwnedInputs};
use unlade_program::{Program, Ty};
use unlade_sim_gpu::Counters;

use crate::shapes::shapes;
use crate::simulated::{Conditions, run};

/// Rows: whole blocks of every kernel.
const ROWS: u64 = 4 * 8192;
/// Rows of a tile of a compaction.
const TILE: u64 = 8192;
/// The status block.
const STATUS: u64 = 24;

/// A predicate over 32 bits: the column in, a bit out.
#[test]
fn a_mask_takes_four_bytes_and_a_bit_a_row() {
    let counted = counters("mask");
    assert_eq!(counted.global_loaded, 4 * ROWS);
    assert_eq!(counted.global_stored, ROWS / 8 + STATUS);
}

/// The same with a bitmap of validity, which is read once.
#[test]
fn validity_takes_a_bit_a_row() {
    let counted = counters("mask-nullable");
    assert_eq!(counted.global_loaded, 4 * ROWS + ROWS / 8);
    assert_eq!(counted.global_stored, ROWS / 8 + STATUS);
}

/// Two columns of 32 bits in; their sum, a comparison and the validity of both out. A lane asks for
/// the byte that its row's validity is in, and 32 lanes for four bytes of memory.
#[test]
fn columns_are_read_and_written_once() {
    let counted = counters("columns");
    assert_eq!(counted.global_loaded, 2 * 4 * ROWS + ROWS + TRAP_READ);
    assert_eq!(counted.global_stored, 4 * ROWS + 3 * ROWS / 8 + STATUS);
}

/// The last block looks whether any has trapped.
const TRAP_READ: u64 = 8;

/// Half of the rows kept: the column is read once, for the predicate, and stays in shared memory.
/// What tiles read of each other's states depends on who comes first.
#[test]
fn compaction_reads_its_column_once() {
    let counted = counters("compact");
    let kept = ROWS / 2;
    let states = counted.global_loaded - 4 * ROWS;
    let tiles = ROWS / TILE;
    // Each tile but the first sees at least one state before it, and 32 at a look at most.
    assert!(states >= (tiles - 1) * 8, "{states} bytes of states");
    let published = (2 * tiles - 1) * 8;
    assert_eq!(counted.global_stored, 4 * kept + published + STATUS);
}

/// Instructions of a thread for each row, those around the rows included: what a kernel may take
/// without being slower than the memory is a multiple of it, and this holds it down.
#[test]
fn a_row_takes_few_instructions() {
    for (shape, most) in [
        ("mask", 6.5),
        ("mask-nullable", 10.8),
        ("columns", 25.5),
        ("compact", 20.5),
    ] {
        let taken = counters(shape).thread_instructions as f64 / ROWS as f64;
        assert!(taken < most, "{shape}: {taken:.2} instructions a row");
    }
}

/// What the kernels of a shape count over columns of zeros and ones in turns, all parameters being
/// zero.
fn counters(shape: &str) -> Counters {
    let (_, program) = shapes()
        .find(|(name, _)| *name == shape)
        .unwrap_or_else(|| panic!("no shape {shape}"));
    let module = unlade_ptx::lower(&program).expect("shapes are lowered");
    let conditions = Conditions {
        seed: 1,
        misaligned: false,
        resident_blocks: 4,
    };
    let run = run(&program, &module, &inputs(&program), conditions);
    run.outputs.expect("nothing traps");
    run.counters
}

fn inputs(program: &Program) -> OwnedInputs {
    let columns = program.columns.iter().map(|column| {
        assert_eq!(column.ty, Ty::I32, "these shapes have columns of 32 bits");
        let values = (0..ROWS as i32).flat_map(|row| (row % 2).to_le_bytes());
        let validity = OwnedBits {
            bytes: vec![0xff; ROWS.div_ceil(8) as usize],
            bit_offset: 0,
        };
        OwnedColumn {
            values: OwnedBits {
                bytes: values.collect(),
                bit_offset: 0,
            },
            validity: column.nullable.then_some(validity),
        }
    });
    OwnedInputs {
        rows: ROWS,
        columns: columns.collect(),
        params: vec![[0; 16]; program.params.len()],
        tables: Vec::new(),
        sets: Vec::new(),
    }
}
