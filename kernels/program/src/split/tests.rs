//! Splits by example. That the parts compute what the whole does, on random programs, inputs and
//! devices, is tested beside the interpreter, in `unlade-naive`.

use super::*;
use crate::Ty;

/// Two conjuncts, on integers and on floats, and an output of each; a trap that only rows kept can
/// fire, and one of the first conjunct.
const QUERY: &str = "columns c0: i32?, c1: f64
%0 = load c0
%1 = valid c0
%2 = load c1
%3 = add %0, %0
%4 = overflow.add %0, %0
%5 = trap.overflow %4, ordinal 1
%6 = cmp.gt %3, %0
%7 = mul %2, %2
%8 = cmp.gt.total %7, %2
%9 = and %1, %6
%10 = and %9, %8
%11 = overflow.mul %0, %3
%12 = and %11, %10
%13 = trap.overflow %12, ordinal 2
%14 = mul %0, %3
keep %10
emit mask
output %14 valid %1
output %7
";

fn split_query(lacks: impl Fn(&Cell) -> bool, limit: usize) -> Split {
    let program: Program = QUERY.parse().unwrap();
    crate::verify(&program).unwrap();
    split(&program, &CellSet::full().without(lacks), limit, &[])
}

/// Where each part runs, how many rows of the filter it does and which outputs it has.
fn shape(split: &Split) -> Vec<(On, &[u16], bool)> {
    split
        .parts
        .iter()
        .map(|part| {
            let entered = part.columns.contains(&ColumnSource::Mask);
            (part.on, part.outputs.as_slice(), entered)
        })
        .collect()
}

#[test]
fn a_device_that_has_everything_gets_everything() {
    let split = split_query(|_| false, 19);
    assert_eq!(shape(&split), [(On::Device, &[0, 1][..], false)]);
    assert_eq!(split.parts[0].program.to_string(), QUERY);
    assert_eq!(split.lacks, []);
}

#[test]
fn a_device_that_has_nothing_useful_gets_nothing() {
    let sources = [Op::Load, Op::Validity, Op::And];
    let split = split_query(|cell| !sources.contains(&cell.op), 1000);
    assert_eq!(shape(&split), [(On::Cpu, &[0, 1][..], false)]);
    assert!(split.lacks.len() > 5);
    assert_eq!(
        split.lacks[0].to_string(),
        "%3: the device lacks `add i32 -> i32`"
    );
}

#[test]
fn a_device_without_floats_leaves_them_to_the_cpu() {
    let split = split_query(|cell| cell.operand == Ty::F64, 1000);
    // The float conjunct, then the integers on the device, then the float output.
    assert_eq!(
        shape(&split),
        [
            (On::Cpu, &[][..], false),
            (On::Device, &[0][..], true),
            (On::Cpu, &[1][..], true),
        ]
    );
    let device = &split.parts[1];
    assert_eq!(
        device.columns,
        [ColumnSource::Column(0), ColumnSource::Mask]
    );
    // Both traps run there: the mask that enters completes the condition of the second.
    assert_eq!(
        device.program.to_string(),
        "columns c0: i32?, c1: mask
%0 = load c0
%1 = valid c0
%2 = add %0, %0
%3 = overflow.add %0, %0
%4 = cmp.gt %2, %0
%5 = overflow.mul %0, %2
%6 = mul %0, %2
%7 = load c1
%8 = and %7, %1
%9 = and %8, %4
%10 = trap.overflow %3, ordinal 1
%11 = and %7, %5
%12 = and %11, %1
%13 = and %12, %4
%14 = trap.overflow %13, ordinal 2
keep %9
emit mask
output %6 valid %1
"
    );
}

#[test]
fn null_checks_stay_with_their_column() {
    // Only the float conjunct and output are left to the device: c0's validity must not go there.
    let split = split_query(|cell| cell.operand == Ty::I32, 1000);
    let device = split.parts.iter().find(|part| part.on == On::Device);
    let device = device.unwrap();
    assert_eq!(
        device.columns,
        [ColumnSource::Column(1), ColumnSource::Mask]
    );
    assert_eq!(device.outputs, [1]);
}

#[test]
fn a_set_too_large_is_looked_into_by_the_cpu() {
    let text = "columns c0: i32, c1: i32
sets s0: i32, s1: i32
%0 = load c0
%1 = in_set s0, %0
%2 = load c1
%3 = in_set s1, %2
%4 = and %1, %3
keep %4
output %2
";
    let program: Program = text.parse().unwrap();
    crate::verify(&program).unwrap();
    let large = LargeSet {
        set: 0,
        bytes: 4004,
        most: 4000,
    };
    let split = split(&program, &CellSet::full(), 1000, &[large]);
    assert_eq!(
        split.lacks.iter().map(Lack::to_string).collect::<Vec<_>>(),
        ["%1: the device lacks room for a set of 4004 bytes (4000 at most)"]
    );
    assert_eq!(
        shape(&split),
        [(On::Cpu, &[][..], false), (On::Device, &[0][..], true)]
    );
    let sets: Vec<&[u16]> = split.parts.iter().map(|part| &part.sets[..]).collect();
    assert_eq!(sets, [[0], [1]]);
}

#[test]
fn a_program_too_large_is_cut_where_it_says() {
    let split = split_query(|_| false, 12);
    assert_eq!(
        split.lacks.iter().map(Lack::to_string).collect::<Vec<_>>(),
        ["%8: with it the program has up to 14 instructions, and the device takes 12; cut here"]
    );
    assert!(split.parts.len() > 1);
    for part in &split.parts {
        assert!(part.on == On::Cpu || part.program.insts.len() <= 12);
    }
}
