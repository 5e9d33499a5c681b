use unlade_program::Program;

use super::*;
use crate::{BadArgs, BitsRef, ColumnRef, Level, OutputMut};

const TRAPS: &str = "\
columns c0: i32, c1: mask, c2: mask, c3: mask
%0 = load c0
%1 = load c1
%2 = load c2
%3 = load c3
%4 = and %2, %1
%5 = trap.overflow %3, ordinal 7
%6 = trap.divide_by_zero %4, ordinal 3
%7 = add %0, %0
keep %1
output %7
";

fn parse(text: &str) -> Program {
    let program = text.parse().expect("test programs parse");
    unlade_program::verify(&program).expect("test programs are well formed");
    program
}

fn bits(rows: usize, set: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut bytes = vec![0; rows.div_ceil(8)];
    for row in (0..rows).filter(|row| set(*row)) {
        bytes[row / 8] |= 1 << (row % 8);
    }
    bytes
}

fn column(values: &[u8]) -> ColumnRef<'_> {
    ColumnRef {
        values,
        bit_offset: 0,
        validity: None,
    }
}

/// Runs [`TRAPS`] over 300 rows in tiles of 64, of which every third is kept.
fn run_traps(kept: impl Fn(usize) -> bool, all: impl Fn(usize) -> bool) -> Result<Done, Failure> {
    const ROWS: usize = 300;
    let program = parse(TRAPS);
    let numbers = vec![0u128; ROWS / 4];
    // Alignment does not matter here, and zeros are zeros of any type.
    let values: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let (keep, kept, all) = (
        bits(ROWS, |row| row % 3 == 0),
        bits(ROWS, kept),
        bits(ROWS, all),
    );
    let columns = [column(&values), column(&keep), column(&kept), column(&all)];
    let inputs = Inputs {
        rows: ROWS,
        columns: &columns,
        params: &[],
        tables: &[],
        sets: &[],
    };
    let mut found = Vec::new();
    for &level in Level::available() {
        let executable = Executable::with_level(&program, level).with_tile_rows(64);
        let mut out = vec![0u32; ROWS + SLACK];
        let out = element::typed_bytes_mut(&mut out);
        let mut outputs = Outputs {
            mask: None,
            columns: &mut [OutputMut {
                values: out,
                validity: None,
            }],
        };
        found.push(run(&executable, &inputs, &mut outputs, &mut Scratch::new()));
    }
    assert!(
        found.iter().all(|each| *each == found[0]),
        "levels differ: {found:?}"
    );
    found[0]
}

fn trap(row: u64, ordinal: u32) -> Result<Done, Failure> {
    Err(Failure::Trap(Trap { row, ordinal }))
}

#[test]
fn a_trap_of_the_kept_rows_names_the_row_of_the_caller() {
    assert_eq!(run_traps(|_| false, |_| false), Ok(Done { kept: 100 }));
    assert_eq!(run_traps(|row| row == 201, |_| false), trap(201, 3));
    assert_eq!(run_traps(|row| row > 201, |_| false), trap(204, 3));
    assert_eq!(
        run_traps(|row| row % 3 == 1, |_| false),
        Ok(Done { kept: 100 })
    );
}

/// Few rows are kept, then all of a stretch, then few again, up to a last word that is not full: tiles
/// become long, short and long again, and long ones are tested in several places at a time. Not under
/// Miri, which takes minutes for so many rows; what is unsafe here, short tiles have as well.
#[cfg(not(miri))]
#[test]
fn tiles_that_become_long_and_short_keep_the_same_rows() {
    const ROWS: usize = 220_037;
    const DENSE: std::ops::Range<usize> = 70_000..81_000;
    let program = parse(
        "columns c0: i32\nparams p0: i32\n%0 = load c0\n%1 = param p0\n\
         %2 = cmp.eq %0, %1\nkeep %2\nemit mask\noutput %0\n",
    );
    let wanted = |row: usize| DENSE.contains(&row) || row.is_multiple_of(997) || row == ROWS - 1;
    let mut values: Vec<i32> = (0..ROWS).map(|row| i32::from(wanted(row))).collect();
    let values = element::typed_bytes_mut(&mut values);
    let mut one = [0; 16];
    one[0] = 1;
    let expected = bits(ROWS, wanted);
    let kept = (0..ROWS).filter(|row| wanted(*row)).count();
    for &level in Level::available() {
        let executable = Executable::with_level(&program, level);
        assert!(executable.tile_rows < executable.sparse_tile_rows);
        let inputs = Inputs {
            rows: ROWS,
            columns: &[column(values)],
            params: &[one],
            tables: &[],
            sets: &[],
        };
        let mut out = vec![0u32; ROWS + SLACK];
        let mut mask = vec![0; ROWS.div_ceil(8) + SLACK];
        let mut outputs = Outputs {
            mask: Some(&mut mask),
            columns: &mut [OutputMut {
                values: element::typed_bytes_mut(&mut out),
                validity: None,
            }],
        };
        let done = run(&executable, &inputs, &mut outputs, &mut Scratch::new());
        assert_eq!(done, Ok(Done { kept }), "{level:?}");
        assert_eq!(mask[..expected.len()], expected, "{level:?}");
        assert!(out[..kept].iter().all(|value| *value == 1), "{level:?}");
    }
}

#[test]
fn of_all_traps_the_least_row_and_then_the_least_ordinal_is_reported() {
    // The one that is for all rows is found first, but another may be at a lower row.
    assert_eq!(run_traps(|row| row == 141, |row| row == 142), trap(141, 3));
    assert_eq!(run_traps(|row| row == 141, |row| row == 140), trap(140, 7));
    assert_eq!(run_traps(|row| row == 141, |row| row == 141), trap(141, 3));
    assert_eq!(run_traps(|row| row == 141, |row| row == 10), trap(10, 7));
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    let program = parse(
        "columns c0: i32?, c1: mask\nparams p0: i32\ntables t0: i16\n%0 = load c0\n\
         %1 = valid c0\n%2 = load c1\n%3 = lookup t0, %0\nkeep %2\nemit mask\n\
         output %0 valid %1\noutput %3\n",
    );
    let executable = Executable::new(&program);
    let values = [0u64; 64];
    let values: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();

    /// What a test changes about arguments that fit.
    struct Given<'a> {
        columns: Vec<ColumnRef<'a>>,
        params: Vec<[u8; 16]>,
        table: &'a [u8],
        mask: usize,
        validity: bool,
        out: usize,
        shift: usize,
    }
    let attempt = |change: &dyn Fn(&mut Given<'_>)| {
        let mut given = Given {
            columns: vec![column(&values[..400]), column(&values[..13])],
            params: vec![[0; 16]],
            table: &values[..4],
            mask: 13 + SLACK,
            validity: true,
            out: 400 + SLACK,
            shift: 0,
        };
        change(&mut given);
        let inputs = Inputs {
            rows: 100,
            columns: &given.columns,
            params: &given.params,
            tables: &[given.table],
            sets: &[],
        };
        let (mut mask, mut validity) = (vec![0; given.mask], vec![0; 13 + SLACK]);
        let (mut first, mut second) = (vec![0u128; 100], vec![0u128; 100]);
        let first = element::typed_bytes_mut(&mut first);
        let second = element::typed_bytes_mut(&mut second);
        let mut columns = [
            OutputMut {
                values: &mut first[given.shift..][..given.out],
                validity: given.validity.then_some(&mut validity[..]),
            },
            OutputMut {
                values: &mut second[..200 + SLACK],
                validity: None,
            },
        ];
        let mut outputs = Outputs {
            mask: (given.mask > 0).then_some(&mut mask[..]),
            columns: &mut columns,
        };
        run(&executable, &inputs, &mut outputs, &mut Scratch::new())
    };
    let refused = |change: &dyn Fn(&mut Given<'_>)| match attempt(change) {
        Err(Failure::BadArgs(error)) => error,
        other => panic!("accepted: {other:?}"),
    };

    assert_eq!(attempt(&|_| {}), Ok(Done { kept: 0 }));
    assert!(matches!(
        refused(&|given| {
            given.columns.pop();
        }),
        BadArgs::Count {
            what: "columns",
            expected: 2,
            given: 1
        }
    ));
    assert!(matches!(
        refused(&|given| given.params.clear()),
        BadArgs::Count {
            what: "parameters",
            ..
        }
    ));
    assert!(matches!(
        refused(&|given| given.columns[0].values = &given.columns[0].values[..399]),
        BadArgs::TooShort {
            what: "column",
            index: 0,
            needed: 400,
            given: 399
        }
    ));
    assert!(matches!(
        refused(&|given| given.columns[1].bit_offset = 5),
        BadArgs::TooShort {
            what: "column",
            index: 1,
            needed: 14,
            given: 13
        }
    ));
    assert!(matches!(
        refused(&|given| {
            let bytes = &given.columns[1].values[..12];
            given.columns[0].validity = Some(BitsRef { bytes, offset: 0 });
        }),
        BadArgs::TooShort {
            what: "validity of column",
            index: 0,
            ..
        }
    ));
    assert!(matches!(
        refused(&|given| {
            let bytes = given.columns[0].values;
            given.columns[0].validity = Some(BitsRef {
                bytes,
                offset: usize::MAX,
            });
        }),
        BadArgs::TooShort {
            what: "validity of column",
            index: 0,
            ..
        }
    ));
    assert!(matches!(
        refused(&|given| {
            let bytes = given.columns[0].values;
            given.columns[1].validity = Some(BitsRef { bytes, offset: 0 });
        }),
        BadArgs::Validity {
            what: "column",
            index: 1
        }
    ));
    assert!(matches!(
        refused(&|given| given.table = &given.table[..3]),
        BadArgs::PartialEntry {
            what: "table",
            index: 0,
            width: 2,
            given: 3
        }
    ));
    assert!(matches!(
        refused(&|given| given.mask = 13 + SLACK - 1),
        BadArgs::TooShort {
            what: "keep mask",
            ..
        }
    ));
    assert!(matches!(refused(&|given| given.mask = 0), BadArgs::Mask));
    assert!(matches!(
        refused(&|given| given.out -= 1),
        BadArgs::TooShort {
            what: "output",
            index: 0,
            ..
        }
    ));
    assert!(matches!(
        refused(&|given| given.shift = 2),
        BadArgs::Unaligned {
            index: 0,
            alignment: 4
        }
    ));
    assert!(matches!(
        refused(&|given| given.validity = false),
        BadArgs::Validity {
            what: "output",
            index: 0
        }
    ));
}

#[test]
fn a_value_that_only_an_output_needs_is_computed_for_kept_rows_alone() {
    let executable = Executable::new(&parse(TRAPS));
    // The filter itself, the trap that is for all rows, and nothing else.
    assert_eq!(executable.plan.first.len(), 3);
    // The input of the sum and of the trap's condition are compacted, the rest is as if all rows
    // were kept; that the row is kept is taken for granted.
    assert_eq!(
        executable.plan.compacted.len(),
        executable.plan.dense.len() + 2
    );
}

#[test]
fn tests_of_a_conjunction_are_confined_to_what_the_others_leave() {
    let conjunction = |keep: &str| {
        let text = format!(
            "columns c0: i32, c1: i32, c2: mask\n%0 = load c0\n%1 = load c1\n%2 = load c2\n\
             %3 = const i32 5\n%4 = cmp.gt %0, %3\n%5 = cmp.eq %1, %3\n{keep}"
        );
        Executable::new(&parse(&text)).plan.first
    };
    // Two loads of bits and comparisons, and no step for a conjunction.
    for (keep, steps) in [
        ("%6 = and %4, %5\nkeep %6\n", 2),
        ("%6 = andnot %4, %5\nkeep %6\n", 2),
        ("%6 = and %4, %2\n%7 = and %6, %5\nkeep %7\n", 3),
        // One that is wanted for itself as well stays, and the other is confined to it; without a
        // conjunction, all stay.
        ("%6 = and %4, %5\n%7 = or %6, %5\nkeep %7\n", 3),
        ("%6 = or %4, %5\nkeep %6\n", 3),
    ] {
        let first = conjunction(keep);
        assert_eq!(first.len(), steps, "{keep}{first:#?}");
    }
}

#[test]
fn a_confined_test_gives_what_a_conjunction_does() {
    let text = |keep: &str| {
        format!(
            "columns c0: u8, c1: u8\n%0 = load c0\n%1 = load c1\n%2 = const u8 100\n\
             %3 = cmp.gt %0, %2\n%4 = cmp.lt %1, %2\n{keep}emit mask\n"
        )
    };
    const ROWS: usize = 2 * 64 + 17;
    let mut random = crate::testing::Random::new(5);
    let mut bytes = || -> Vec<u8> { (0..ROWS).map(|_| random.below(256) as u8).collect() };
    let (mut first, second) = (bytes(), bytes());
    // A whole tile in which the first test leaves nothing.
    first[..64].fill(0);
    let run_mask = |keep: &str, level: Level| {
        let executable = Executable::with_level(&parse(&text(keep)), level).with_tile_rows(64);
        let inputs = Inputs {
            rows: ROWS,
            columns: &[column(&first), column(&second)],
            params: &[],
            tables: &[],
            sets: &[],
        };
        let mut mask = vec![0xaa; ROWS.div_ceil(8) + SLACK];
        let mut outputs = Outputs {
            mask: Some(&mut mask),
            columns: &mut [],
        };
        let done = run(&executable, &inputs, &mut outputs, &mut Scratch::new());
        let kept = done.expect("nothing traps").kept;
        let expected = |row: usize| {
            let (lhs, rhs) = (first[row] > 100, second[row] < 100);
            lhs && (rhs != keep.contains("andnot"))
        };
        assert_eq!(mask[..ROWS.div_ceil(8)], bits(ROWS, expected), "{keep}");
        assert_eq!(kept, (0..ROWS).filter(|row| expected(*row)).count());
    };
    for level in Level::available() {
        run_mask("%5 = and %3, %4\nkeep %5\n", *level);
        run_mask("%5 = andnot %3, %4\nkeep %5\n", *level);
    }
}

#[test]
fn values_that_do_not_live_at_the_same_time_share_registers() {
    let mut text = "columns c0: i64\n%0 = load c0\n%1 = neg %0\n".to_owned();
    for val in 2..50 {
        text += &format!("%{val} = add %{}, %0\n", val - 1);
    }
    text += "output %49\n";
    let executable = Executable::new(&parse(&text));
    assert_eq!(executable.plan.vector_widths, [8, 8]);
}

#[test]
fn registers_are_kept_from_run_to_run() {
    let executable = Executable::new(&parse(
        "columns c0: i64\n%0 = load c0\n%1 = neg %0\n%2 = abs %1\noutput %2\n",
    ));
    let values = [(-5i64) as u128; 1];
    let mut out = [0u128; 10];
    let mut scratch = Scratch::new();
    let mut addresses = Vec::new();
    for _ in 0..2 {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let inputs = Inputs {
            rows: 1,
            columns: &[column(&bytes)],
            params: &[],
            tables: &[],
            sets: &[],
        };
        let mut outputs = Outputs {
            mask: None,
            columns: &mut [OutputMut {
                values: element::typed_bytes_mut(&mut out),
                validity: None,
            }],
        };
        assert_eq!(
            run(&executable, &inputs, &mut outputs, &mut scratch),
            Ok(Done { kept: 1 })
        );
        addresses.push(scratch.0.vectors[0].bytes().as_ptr());
    }
    assert_eq!(addresses[0], addresses[1]);
    assert_eq!(out[0] as i64, 5);
}
