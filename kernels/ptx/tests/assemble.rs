//! Every shape through `ptxas`, for every architecture that it is to run on; a spill fails. And
//! random programs for the oldest and the newest of them, which may spill.
//!
//! `cargo test -p unlade-ptx --test assemble` finds `ptxas` in `UNLADE_PTXAS`, on the path or in
//! `/usr/local/cuda/bin`, and fails where it is nowhere. It is no part of a plain `cargo test`, so
//! that it never passes without having assembled anything: `cargo xtask test` fetches `ptxas` from
//! the Python package index and runs it, or reports that it did not.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // a report is what this program is for

#[path = "common/shapes.rs"]
mod shapes;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use unlade_naive::generate::{Options, Rng, random_program};
use unlade_program::Cell;
use unlade_ptx::Module;

/// Compute capabilities, from Turing on.
const ARCHITECTURES: [&str; 8] = ["75", "80", "86", "89", "90", "100", "120", "121"];
/// Random programs beside the shapes.
const PROGRAMS: u64 = 40;
/// Operations of each.
const CELLS: usize = 12;

fn main() -> ExitCode {
    let ptxas = match find() {
        Ok(ptxas) => ptxas,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let bench = Bench {
        ptxas,
        folder: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
    };
    let mut failures = bench.shapes();
    failures.extend(bench.random_programs());
    for failure in &failures {
        eprintln!("{failure}");
    }
    match failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What texts are assembled with, and where they lie.
struct Bench {
    ptxas: PathBuf,
    folder: PathBuf,
}

/// What the assembler says of a kernel.
struct Assembled {
    registers: u32,
    /// Bytes stored to and loaded from where registers were spilled to.
    spilled: (u32, u32),
}

impl Bench {
    /// Every shape for every architecture; prints registers, returns what fails.
    fn shapes(&self) -> Vec<String> {
        let mut failures = Vec::new();
        println!("registers of {}", self.ptxas.display());
        let heads = ARCHITECTURES.map(|arch| format!("{:>8}", format!("sm_{arch}")));
        println!("{:<22}{}", "shape", heads.concat());
        for (name, module) in shapes::modules() {
            let mut line = format!("{name:<22}");
            for arch in ARCHITECTURES {
                let failure = match self.assemble(name, &module, arch) {
                    Ok(Assembled {
                        registers,
                        spilled: (0, 0),
                    }) => {
                        line.push_str(&format!("{registers:>8}"));
                        continue;
                    }
                    Ok(Assembled {
                        spilled: (stored, loaded),
                        ..
                    }) => format!("{stored} bytes are spilled and {loaded} loaded again"),
                    Err(error) => error,
                };
                line.push_str("  FAILED");
                failures.push(format!("{name} for sm_{arch}: {failure}"));
            }
            println!("{line}");
        }
        failures
    }

    /// Random programs, in which every operation occurs; these may spill. Returns what fails.
    fn random_programs(&self) -> Vec<String> {
        let known: Vec<Cell> = unlade_ptx::cells().iter().collect();
        let oldest_and_newest = [ARCHITECTURES[0], ARCHITECTURES[ARCHITECTURES.len() - 1]];
        let failures: Vec<String> = (0..PROGRAMS)
            .flat_map(|seed| oldest_and_newest.map(|arch| (seed, arch)))
            .filter_map(|(seed, arch)| {
                let mut rng = Rng::new(seed);
                let options = Options {
                    cells: (0..CELLS).map(|_| rng.pick(&known)).collect(),
                    ..Options::default()
                };
                let program = random_program(&mut rng, &options);
                let error = match unlade_ptx::lower(&program) {
                    Ok(module) => self.assemble("random", &module, arch).err()?,
                    Err(error) => error.to_string(),
                };
                Some(format!("seed {seed} for sm_{arch}: {error}"))
            })
            .collect();
        println!("{PROGRAMS} random programs: {} failures", failures.len());
        failures
    }

    fn assemble(&self, name: &str, module: &Module, arch: &str) -> Result<Assembled, String> {
        let source = self.folder.join(format!("{name}.ptx"));
        fs::write(&source, &module.text).expect("the target folder is writable");
        let output = Command::new(&self.ptxas)
            .arg("-v")
            .arg(format!("-arch=sm_{arch}"))
            .arg("-o")
            .arg(source.with_extension("cubin"))
            .arg(&source)
            .output()
            .map_err(|error| format!("{}: {error}", self.ptxas.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(said.into_owned());
        }
        let before = |words: &str| {
            let number = said[..said.find(words)?].split_whitespace().next_back()?;
            number.parse::<u32>().ok()
        };
        let found = (
            before("registers"),
            before("bytes spill stores"),
            before("bytes spill loads"),
        );
        match found {
            (Some(registers), Some(stored), Some(loaded)) => Ok(Assembled {
                registers,
                spilled: (stored, loaded),
            }),
            _ => Err(format!("it says nothing of registers: {said}")),
        }
    }
}

/// Where `ptxas` is, or where it was looked for.
fn find() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os("UNLADE_PTXAS") {
        let path = PathBuf::from(path);
        return match path.is_file() {
            true => Ok(path),
            false => Err(format!(
                "UNLADE_PTXAS is {}, which is no file",
                path.display()
            )),
        };
    }
    let search = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&search)
        .chain([PathBuf::from("/usr/local/cuda/bin")])
        .map(|folder| folder.join("ptxas"))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            "no ptxas on the path or in /usr/local/cuda/bin; set UNLADE_PTXAS, or run \
             `cargo xtask test`, which fetches it"
                .to_owned()
        })
}
