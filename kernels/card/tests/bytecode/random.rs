//! Random programs: bytecode computes what the program does, in any number of registers, and what
//! does not fit is refused with a place to cut.
//!
//! Each case has a seed of its own, which a failure names. To run more of them set
//! `UNLADE_FUZZ_CASES`; to start elsewhere, `UNLADE_FUZZ_SEED`.

use unlade_card::{Limits, disassemble, lower};
use unlade_naive::generate::{Options, Rng, random_program};

use crate::limits::check_cut;
use crate::meaning::Symbols;

/// Registers of each kind, and nothing else that could be short.
pub(crate) fn registers(count: u16) -> Limits {
    Limits {
        value_registers: count,
        mask_registers: count,
        ..Limits::FORMAT
    }
}

#[test]
fn bytecode_computes_what_the_program_does() {
    let first_seed = number("UNLADE_FUZZ_SEED").unwrap_or(1);
    let cases = number("UNLADE_FUZZ_CASES").unwrap_or(2000);
    let (mut fit, mut refused, mut read_again) = (0, 0, 0);
    for seed in first_seed..first_seed + cases {
        let mut rng = Rng::new(seed);
        let options = Options {
            random_cells: rng.pick(&[4, 12, 12, 30, 60]),
            ..Options::default()
        };
        let program = random_program(&mut rng, &options);
        let mut symbols = Symbols::default();
        let wanted = symbols.of_program(&program);
        let mut sizes = Vec::new();
        for count in [4, 16, 32, 255] {
            let context = || format!("seed {seed}, {count} registers of each kind:\n{program}");
            let limits = registers(count);
            let bytes = match lower(&program, &limits) {
                Ok(bytes) => bytes,
                Err(error) => {
                    assert!(sizes.is_empty(), "fewer registers did, {}", context());
                    check_cut(&program, &limits, &error);
                    refused += 1;
                    continue;
                }
            };
            let text = disassemble(&bytes).unwrap_or_else(|error| panic!("{error}, {}", context()));
            assert_eq!(symbols.of_bytecode(&bytes), wanted, "{}\n{text}", context());
            assert_eq!(lower(&program, &limits), Ok(bytes.clone()), "{}", context());
            fit += u64::from(count == 16);
            sizes.push(bytes.len());
        }
        read_again += u64::from(sizes.first() > sizes.last());
    }
    println!("{fit} of {cases} fit 16 registers, {refused} were refused, {read_again} read again");
    assert!(100 * fit > 95 * cases, "{fit} of {cases} fit 16 registers");
    assert!(refused > cases / 10, "{refused} were refused");
    assert!(read_again > cases / 10, "{read_again} read something again");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}
