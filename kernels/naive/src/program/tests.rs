//! Whole programs by hand: inputs, filters, outputs, traps.

use unlade_program::verify;

use super::*;
use crate::ColumnInput;

fn program(text: &str) -> Program {
    let program: Program = text.parse().unwrap();
    verify(&program).unwrap();
    program
}

fn bytes(bytes: &[u8]) -> Bits<'_> {
    Bits {
        bytes,
        bit_offset: 0,
    }
}

#[test]
fn a_filter_compacts_values_validity_and_masks() {
    let program = program(
        "columns c0: i16?, c1: mask\n\
         %0 = load c0\n\
         %1 = valid c0\n\
         %2 = load c1\n\
         %3 = not %1\n\
         keep %2\n\
         emit mask\n\
         output %0 valid %1\n\
         output %3\n",
    );
    let values: Vec<u8> = (0..10i16)
        .flat_map(|row| (row * 300).to_le_bytes())
        .collect();
    // From bit 3 on: rows 0, 2, 4, 6, 8 are valid.
    let validity = [0b1010_1111, 0b0000_1010];
    let keep = [0b1000_0110, 0b0000_0011];
    let inputs = Inputs {
        rows: 10,
        columns: vec![
            ColumnInput {
                values: bytes(&values),
                validity: Some(Bits {
                    bytes: &validity,
                    bit_offset: 3,
                }),
            },
            ColumnInput {
                values: bytes(&keep),
                validity: None,
            },
        ],
        ..Inputs::default()
    };
    let outputs = run(&program, &inputs).unwrap();
    // Rows 1, 2, 7, 8, 9 are kept.
    assert_eq!(outputs.kept, 5);
    assert_eq!(outputs.mask.as_deref(), Some(&keep[..]));
    let wanted: Vec<u8> = [300i16, 600, 2100, 2400, 2700]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    assert_eq!(outputs.columns[0].values, wanted);
    assert_eq!(
        outputs.columns[0].validity.as_deref(),
        Some(&[0b0000_1010][..])
    );
    assert_eq!(outputs.columns[1].values, [0b0001_0101]);
    assert_eq!(outputs.columns[1].validity, None);
}

#[test]
fn the_least_row_and_its_least_ordinal_are_reported() {
    let program = program(
        "columns c0: mask, c1: mask\n\
         %0 = load c0\n\
         %1 = load c1\n\
         %2 = trap.overflow %0, ordinal 7\n\
         %3 = trap.divide_by_zero %1, ordinal 3\n",
    );
    let trap = |first: u8, second: u8| {
        let (first, second) = ([first], [second]);
        let column = |values| ColumnInput {
            values: bytes(values),
            validity: None,
        };
        let inputs = Inputs {
            rows: 5,
            columns: vec![column(&first), column(&second)],
            ..Inputs::default()
        };
        run(&program, &inputs).map(|outputs| outputs.kept)
    };
    let at = |row, ordinal| Err(RunError::Trap(Trap { row, ordinal }));
    assert_eq!(trap(0b0_0100, 0b0_0110), at(1, 3));
    assert_eq!(trap(0b0_0010, 0b0_0110), at(1, 3));
    assert_eq!(trap(0b0_0010, 0b0_0100), at(1, 7));
    // A bit beyond the last row is no row.
    assert_eq!(trap(0b10_0000, 0), Ok(5));
}

#[test]
fn tables_and_sets_are_looked_up() {
    let program = program(
        "columns c0: i8\n\
         tables t0: i32, t1: mask\n\
         sets s0: i8\n\
         %0 = load c0\n\
         %1 = lookup t0, %0\n\
         %2 = in_bounds t0, %0\n\
         %3 = lookup t1, %0\n\
         %4 = in_set s0, %0\n\
         output %1\n\
         output %2\n\
         output %3\n\
         output %4\n",
    );
    let indices = [0u8, 1, 2, 255, 127];
    let entries: Vec<u8> = [11i32, -22]
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect();
    let inputs = Inputs {
        rows: 5,
        columns: vec![ColumnInput {
            values: bytes(&indices),
            validity: None,
        }],
        tables: vec![&entries, &[0b0000_0110]],
        sets: vec![&[255, 1, 127]],
        ..Inputs::default()
    };
    let outputs = run(&program, &inputs).unwrap();
    let wanted: Vec<u8> = [11i32, -22, 0, 0, 0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    assert_eq!(outputs.columns[0].values, wanted);
    assert_eq!(outputs.columns[1].values, [0b0_0011]);
    assert_eq!(outputs.columns[2].values, [0b0_0110]);
    assert_eq!(outputs.columns[3].values, [0b1_1010]);
}

#[test]
fn select_keeps_the_payload_of_a_nan() {
    let program = program(
        "%0 = const mask false\n\
         %1 = const f32 1.0\n\
         %2 = const f32 0xff800001\n\
         %3 = select %0, %1, %2\n\
         output %3\n",
    );
    let inputs = Inputs {
        rows: 1,
        ..Inputs::default()
    };
    let outputs = run(&program, &inputs).unwrap();
    assert_eq!(outputs.columns[0].values, 0xff80_0001u32.to_le_bytes());
}

#[test]
fn no_rows_and_no_outputs_are_fine() {
    let inputs = Inputs::default();
    let outputs = run(&Program::default(), &inputs).unwrap();
    assert_eq!((outputs.kept, outputs.columns.len()), (0, 0));
    let inputs = Inputs {
        rows: 9,
        ..Inputs::default()
    };
    let filter = program("%0 = const mask true\nkeep %0\nemit mask\n");
    let outputs = run(&filter, &inputs).unwrap();
    assert_eq!(outputs.kept, 9);
    assert_eq!(outputs.mask.as_deref(), Some(&[0xff, 0x01][..]));
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let program = program("columns c0: i32?, c1: mask\ntables t0: i64\n%0 = load c0\noutput %0\n");
    let values = [0; 12];
    let good = Inputs {
        rows: 3,
        columns: vec![
            ColumnInput {
                values: bytes(&values),
                validity: None,
            },
            ColumnInput {
                values: Bits {
                    bytes: &values[..1],
                    bit_offset: 5,
                },
                validity: None,
            },
        ],
        tables: vec![&[]],
        ..Inputs::default()
    };
    assert!(run(&program, &good).is_ok());
    let error = |change: &dyn Fn(&mut Inputs<'_>)| {
        let mut inputs = good.clone();
        change(&mut inputs);
        run(&program, &inputs).unwrap_err().to_string()
    };
    assert_eq!(
        error(&|inputs| inputs.columns.truncate(1)),
        "columns: 1, but the program needs 2"
    );
    assert_eq!(
        error(&|inputs| inputs.rows = 4),
        "values of column 0, in bits: 96, but the program needs 128"
    );
    assert_eq!(
        error(&|inputs| inputs.columns[0].values.bit_offset = 1),
        "bit offset of column 0: 1, but the program needs 0"
    );
    assert_eq!(
        error(&|inputs| inputs.columns[1].values.bit_offset = 6),
        "values of column 1, in bits: 2, but the program needs 3"
    );
    assert_eq!(
        error(&|inputs| inputs.columns[0].validity = Some(bytes(&[]))),
        "validity of column 0, in bits: 0, but the program needs 3"
    );
    assert_eq!(
        error(&|inputs| inputs.tables = vec![&[0; 9]]),
        "bytes of table 0: 9, but the program needs 8"
    );
}
