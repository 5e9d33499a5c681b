//! How far from the memory floor the evaluator runs, by level and tile size.
//!
//! `cargo bench -p unlade-eval --bench tiles [-- FILTER...]`; a workload is run where its name
//! contains every filter. Every workload is one execution over 10 million rows; the floor beside
//! it, interleaved with it, sums up the columns that the predicate reads. Times are those that the
//! thread had a CPU, so that a busy machine shows less.
#![allow(missing_docs)] // nothing here is for use elsewhere
#![allow(clippy::print_stdout)] // a report is what this program is for

use std::hint::black_box;

use unlade_eval::{
    BitsRef, ColumnRef, Executable, Inputs, Level, OutputMut, Outputs, SLACK, Scratch, run,
};
use unlade_program::{Imm, Program, Ty};

const ROWS: usize = 10_000_000;
const REPETITIONS: usize = 15;
const TILES: &[usize] = &[512, 1024, 8192, 16384, 32768, 65536];

fn main() {
    let filters: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    if filters.is_empty() || filters == ["overhead"] {
        overhead();
    }
    let data = Data::new();
    println!(
        "{:44} {:>8} {:>5} {:>9} {:>9} {:>9} {:>6}",
        "workload", "level", "tile", "floor ms", "median ms", "best ms", "ratio"
    );
    for workload in workloads() {
        if !filters
            .iter()
            .all(|filter| workload.name.contains(filter.as_str()))
        {
            continue;
        }
        measure(&workload, &data);
    }
}

/// What planning a program and running it over few rows cost.
fn overhead() {
    let program: Program = "columns c0: i32?, c1: i32, c2: i64, c3: f64\n\
        params p0: i32, p1: i64\n%0 = load c0\n%1 = valid c0\n%2 = param p0\n\
        %3 = cmp.gt %0, %2\n%4 = and %1, %3\n%5 = load c1\n%6 = add %0, %5\n\
        %7 = load c2\n%8 = load c3\n%9 = param p1\n%10 = cmp.lt %7, %9\n%11 = and %4, %10\n\
        keep %11\noutput %6 valid %1\noutput %7\noutput %8\n"
        .parse()
        .expect("the program parses");
    let seconds = |runs: u32, work: &mut dyn FnMut()| {
        let mut times: Vec<f64> = (0..REPETITIONS)
            .map(|_| {
                let start = cpu_seconds();
                (0..runs).for_each(|_| work());
                (cpu_seconds() - start) / f64::from(runs)
            })
            .collect();
        median_and_best(&mut times).0
    };
    let planning = seconds(1000, &mut || drop(black_box(Executable::new(&program))));
    println!(
        "planning {} instructions: {:.2} us",
        program.insts.len(),
        planning * 1e6
    );

    let executable = Executable::new(&program);
    let input = vec![1u128; 64];
    let validity = BitsRef {
        bytes: &[0xff; 8],
        offset: 0,
    };
    let columns: Vec<ColumnRef<'_>> = program
        .columns
        .iter()
        .map(|column| ColumnRef {
            values: bytes(&input),
            bit_offset: 0,
            validity: column.nullable.then_some(validity),
        })
        .collect();
    let mut scratch = Scratch::new();
    let (mut first, mut second, mut third) = ([0u128; 64], [0u128; 64], [0u128; 64]);
    let mut valid = [0; 8 + SLACK];
    for rows in [1, 64] {
        let inputs = Inputs {
            rows,
            columns: &columns,
            params: &[[0; 16], [0xff; 16]],
            tables: &[],
            sets: &[],
        };
        let once = seconds(100_000, &mut || {
            let mut columns = [
                OutputMut {
                    values: bytes_mut(&mut first),
                    validity: Some(&mut valid),
                },
                OutputMut {
                    values: bytes_mut(&mut second),
                    validity: None,
                },
                OutputMut {
                    values: bytes_mut(&mut third),
                    validity: None,
                },
            ];
            let mut outputs = Outputs {
                mask: None,
                columns: &mut columns,
            };
            black_box(run(&executable, &inputs, &mut outputs, &mut scratch).expect("it runs"));
        });
        println!("running it over {rows} rows: {:.0} ns", once * 1e9);
    }
}

struct Workload {
    name: String,
    program: String,
    /// Constants for the program's parameters; where it has a set, how many members that has.
    params: Vec<i64>,
    /// Columns of `Data` that the program's columns are.
    columns: Vec<&'static str>,
    /// How many of them, from the first, the floor sums up.
    selective: usize,
    nulls: bool,
}

/// A predicate over one or three columns, `a` being the output.
fn workloads() -> Vec<Workload> {
    let mut all = Vec::new();
    let mut add = |name: String, program: &str, params: &[i64], columns: &[&'static str], nulls| {
        let selective = columns.len();
        let (program, params, columns) = (program.to_owned(), params.to_vec(), columns.to_vec());
        all.push(Workload {
            name,
            program,
            params,
            columns,
            selective,
            nulls,
        });
    };
    let cast = "columns c0: i32\nparams p0: i64\n%0 = load c0\n%1 = cast.wrap %0 to i64\n\
        %2 = param p0\n%3 = cmp.gt %1, %2\nkeep %3\noutput %0\n";
    for (percent, bound) in [(1, 989), (10, 899), (50, 499), (90, 99), (99, 9)] {
        add(
            format!("i32 cast > k, keep {percent}%"),
            cast,
            &[bound],
            &["a"],
            false,
        );
    }
    let equal = "columns c0: i32\nparams p0: i32\n%0 = load c0\n%1 = param p0\n\
        %2 = cmp.eq %0, %1\nkeep %2\noutput %0\n";
    add(
        "i32 = k, keep 0.1%".to_owned(),
        equal,
        &[100],
        &["a"],
        false,
    );
    for ty in ["i32", "i64", "f64"] {
        let order = if ty == "f64" { ".total" } else { "" };
        let column = match ty {
            "i32" => "a",
            "i64" => "wide",
            _ => "real",
        };
        let plain = format!(
            "columns c0: {ty}\nparams p0: {ty}\n%0 = load c0\n%1 = param p0\n\
             %2 = cmp.gt{order} %0, %1\nkeep %2\noutput %0\n"
        );
        let nullable = format!(
            "columns c0: {ty}?\nparams p0: {ty}\n%0 = load c0\n%1 = valid c0\n%2 = param p0\n\
             %3 = cmp.gt{order} %0, %2\n%4 = and %1, %3\nkeep %4\noutput %0 valid %1\n"
        );
        for (percent, bound) in [(1, 989), (50, 499), (99, 9)] {
            let name = format!("{ty} > k, keep {percent}%");
            add(name.clone(), &plain, &[bound], &[column], false);
            add(
                format!("{name}, 10% null"),
                &nullable,
                &[bound],
                &[column],
                true,
            );
        }
    }
    for order in ["total", "spark"] {
        let with_scalar = format!(
            "columns c0: f64\nparams p0: f64\n%0 = load c0\n%1 = param p0\n\
             %2 = cmp.lt.{order} %0, %1\nkeep %2\nemit mask\n"
        );
        for bound in [10, -10] {
            let name = format!("f64 < {bound}, {order}, mask only");
            add(name, &with_scalar, &[bound], &["real"], false);
        }
        let with_column = format!(
            "columns c0: f64, c1: f64\n%0 = load c0\n%1 = load c1\n\
             %2 = cmp.lt.{order} %0, %1\nkeep %2\nemit mask\n"
        );
        let name = format!("f64 < f64, {order}, mask only");
        add(name, &with_column, &[], &["real", "real2"], false);
    }
    for (ty, column) in [("i32", "a"), ("i64", "wide")] {
        let program = format!(
            "columns c0: {ty}\nsets s0: {ty}\n%0 = load c0\n%1 = in_set s0, %0\nkeep %1\n\
             emit mask\n"
        );
        for members in [9, 16, 32, 64, 128, 256, 1000] {
            let name = format!("{ty} IN {members}, mask only");
            add(name, &program, &[members], &[column], false);
        }
    }
    let three = "columns c0: i32, c1: i32, c2: i32\nparams p0: i32, p1: i32, p2: i32\n\
        %0 = load c0\n%1 = load c1\n%2 = load c2\n%3 = param p0\n%4 = param p1\n%5 = param p2\n\
        %6 = cmp.gt %0, %3\n%7 = cmp.lt %1, %4\n%8 = and %6, %7\n%9 = cmp.le %2, %5\n\
        %10 = and %8, %9\nkeep %10\noutput %0\n";
    for (percent, bounds) in [(1, [784, 215, 214]), (50, [205, 794, 793])] {
        let name = format!("3 i32 ANDed, keep {percent}%");
        add(name, three, &bounds, &["a", "b", "c"], false);
    }
    let project = "columns c0: i32, c1: i32, c2: i32\nparams p0: i32\n%0 = load c0\n\
        %1 = load c1\n%2 = load c2\n%3 = param p0\n%4 = cmp.gt %0, %3\n%5 = mul %1, %2\n\
        %6 = add %5, %0\nkeep %4\noutput %6\n";
    for (percent, bound) in [(1, 989), (50, 499)] {
        let name = format!("a * b + c, keep {percent}%");
        add(name, project, &[bound], &["a", "b", "c"], false);
    }
    let all_rows = "columns c0: i32, c1: i32\n%0 = load c0\n%1 = load c1\n%2 = mul %0, %1\n\
        output %2\n";
    add("a * b, all".to_owned(), all_rows, &[], &["a", "b"], false);
    let mut payload = "columns c0: i32, c1: i64, c2: f64, c3: i32, c4: i16, c5: i8, c6: i64, \
        c7: i32\nparams p0: i32\n%0 = load c0\n%1 = load c1\n%2 = load c2\n%3 = load c3\n\
        %4 = load c4\n%5 = load c5\n%6 = load c6\n%7 = load c7\n%8 = param p0\n\
        %9 = cmp.gt %0, %8\nkeep %9\n"
        .to_owned();
    for value in 0..8 {
        payload += &format!("output %{value}\n");
    }
    let columns = ["a", "wide", "real", "b", "short", "byte", "wide2", "c"];
    for (percent, bound) in [(1, 989), (10, 899), (50, 499), (90, 99)] {
        add(
            format!("8 payload columns, keep {percent}%"),
            &payload,
            &[bound],
            &columns,
            false,
        );
    }
    all
}

/// Columns of uniformly distributed numbers below 1000.
struct Data {
    columns: Vec<(&'static str, Vec<u128>)>,
    validity: Vec<u8>,
}

impl Data {
    fn new() -> Data {
        let mut state = 42u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % 1000
        };
        let mut columns = Vec::new();
        for (name, width) in [
            ("a", 4),
            ("b", 4),
            ("c", 4),
            ("wide", 8),
            ("wide2", 8),
            ("real", 8),
            ("real2", 8),
            ("short", 2),
            ("byte", 1),
        ] {
            let mut bytes = vec![0u128; (ROWS * width).div_ceil(16)];
            for (row, value) in bytes_mut(&mut bytes)
                .chunks_exact_mut(width)
                .enumerate()
                .take(ROWS)
            {
                let _ = row;
                let number = next();
                let bits = if name.starts_with("real") {
                    (number as f64).to_bits()
                } else {
                    number
                };
                value.copy_from_slice(&bits.to_le_bytes()[..width]);
            }
            columns.push((name, bytes));
        }
        let validity = (0..ROWS.div_ceil(8))
            .map(|_| (0..8).fold(0, |byte, bit| byte | u8::from(next() >= 100) << bit))
            .collect();
        Data { columns, validity }
    }

    fn column(&self, name: &str) -> &[u8] {
        let found = self.columns.iter().find(|(column, _)| *column == name);
        bytes(&found.expect("workloads name columns that there are").1)
    }
}

fn measure(workload: &Workload, data: &Data) {
    let program: Program = workload.program.parse().expect("workloads parse");
    unlade_program::verify(&program).expect("workloads are well formed");
    let validity = workload.nulls.then_some(BitsRef {
        bytes: &data.validity,
        offset: 0,
    });
    let columns: Vec<ColumnRef<'_>> = workload
        .columns
        .iter()
        .map(|name| ColumnRef {
            values: data.column(name),
            bit_offset: 0,
            validity,
        })
        .collect();
    let params: Vec<[u8; 16]> = workload
        .params
        .iter()
        .zip(&program.params)
        .map(|(value, ty)| match ty {
            Ty::F64 => Imm::f64(*value as f64).to_le_bytes(),
            ty => Imm::integer(*ty, i128::from(*value))
                .expect("bounds fit")
                .to_le_bytes(),
        })
        .collect();
    // Every number of the columns is below 1000: members that are and members that are not.
    let sets: Vec<Vec<u8>> = program
        .sets
        .iter()
        .map(|ty| {
            let members = (0..workload.params[0]).map(|member| 7 * member);
            let bytes = members.flat_map(|member| member.to_le_bytes()[..width(*ty)].to_vec());
            bytes.collect()
        })
        .collect();
    let sets: Vec<&[u8]> = sets.iter().map(Vec::as_slice).collect();
    let inputs = Inputs {
        rows: ROWS,
        columns: &columns,
        params: &params,
        tables: &[],
        sets: &sets,
    };

    let types = program.types();
    let mut out: Vec<(Vec<u128>, Option<Vec<u8>>)> = program
        .outputs
        .iter()
        .map(|output| {
            let ty = types[output.value.index()].expect("outputs have values");
            let length = ty.bytes_for(ROWS as u64) as usize + SLACK;
            let validity = output.valid.map(|_| vec![0; ROWS / 8 + 1 + SLACK]);
            (vec![1u128; length.div_ceil(16)], validity)
        })
        .collect();
    let mut mask = program.emit_mask.then(|| vec![0; ROWS / 8 + 1 + SLACK]);
    let mut scratch = Scratch::new();

    // Every level with the tiles that the plan chooses; the best one with others beside them.
    let mut variants: Vec<(Executable, String)> = Vec::new();
    for &level in Level::available() {
        let executable = Executable::with_level(&program, level);
        let chosen = executable.tile_rows();
        variants.push((executable.clone(), format!("{chosen}*")));
        let others = if level == Level::detect() { TILES } else { &[] };
        for &tile in others.iter().filter(|tile| **tile != chosen) {
            variants.push((executable.clone().with_tile_rows(tile), tile.to_string()));
        }
    }
    let mut floor_times = Vec::new();
    let mut times = vec![Vec::new(); variants.len()];
    for _ in 0..REPETITIONS {
        let start = cpu_seconds();
        for name in &workload.columns[..workload.selective] {
            black_box(sum(data.column(name)));
        }
        floor_times.push(cpu_seconds() - start);
        for ((executable, _), times) in variants.iter().zip(&mut times) {
            let mut columns: Vec<OutputMut<'_>> = out
                .iter_mut()
                .map(|(values, validity)| OutputMut {
                    values: bytes_mut(values),
                    validity: validity.as_deref_mut(),
                })
                .collect();
            let mut outputs = Outputs {
                mask: mask.as_deref_mut(),
                columns: &mut columns,
            };
            let start = cpu_seconds();
            let done = run(executable, &inputs, &mut outputs, &mut scratch);
            times.push(cpu_seconds() - start);
            black_box(done.expect("workloads do not fail"));
        }
    }
    let (floor, _) = median_and_best(&mut floor_times);
    for ((executable, tile), times) in variants.iter().zip(&mut times) {
        let (median, best) = median_and_best(times);
        println!(
            "{:44} {:>8} {:>5} {:>9.3} {:>9.3} {:>9.3} {:>6.2}",
            workload.name,
            executable.level().name(),
            tile,
            floor * 1e3,
            median * 1e3,
            best * 1e3,
            median / floor
        );
    }
}

fn width(ty: Ty) -> usize {
    ty.bits() as usize / 8
}

/// What reading a column costs at least.
fn sum(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 16];
    for block in bytes.as_chunks::<128>().0 {
        for (sum, eight) in sums.iter_mut().zip(block.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*eight));
        }
    }
    sums.iter().fold(0, |all, sum| all ^ sum)
}

fn median_and_best(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[0])
}

fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one timespec to a variable of that type.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "Linux has this clock");
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn bytes(numbers: &[u128]) -> &[u8] {
    // SAFETY: numbers seen as bytes, within their slice and its borrow.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len() * 16) }
}

fn bytes_mut(numbers: &mut [u128]) -> &mut [u8] {
    // SAFETY: as above; every byte pattern is a number.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), numbers.len() * 16) }
}
