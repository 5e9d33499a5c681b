//! A lowered program on the simulated GPU, called as the naive interpreter is.

use unlade_naive::generate::{OwnedBits, OwnedInputs, Rng};
use unlade_naive::{OutputColumn, Outputs, RunError};
use unlade_program::args::Layout;
use unlade_program::{Program, Trap, Ty};
use unlade_ptx::{ALIGNMENT, Module, Param, SLACK};
use unlade_sim_gpu::{Argument, Counters, DevicePointer, Gpu, Grid, Interleaving, Profile};

/// Length of a dispatch's status.
const STATUS_BYTES: u64 = 24;

/// One argument of a dispatch.
#[derive(Clone, Copy)]
enum Arg {
    Absent,
    Span {
        at: DevicePointer,
        bytes: u64,
        bit: u32,
    },
    Scalar([u8; 16]),
}

/// How a module is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// Of the interleaving of blocks and lanes, and of where inputs lie.
    pub(crate) seed: u64,
    /// Whether columns begin at any element, not where loads of 16 bytes may.
    pub(crate) misaligned: bool,
    /// Most blocks that are resident at once.
    pub(crate) resident_blocks: u32,
}

/// What came of it.
pub(crate) struct Run {
    /// What the interpreter would return.
    pub(crate) outputs: Result<Outputs, RunError>,
    /// What all kernels did.
    pub(crate) counters: Counters,
}

/// Runs a module.
///
/// # Panics
/// Where the simulated GPU finds fault with the text or with what a kernel does.
pub(crate) fn run(
    program: &Program,
    module: &Module,
    inputs: &OwnedInputs,
    conditions: Conditions,
) -> Run {
    let mut interleaving = Interleaving::default();
    interleaving.seed = conditions.seed;
    interleaving.resident_blocks = conditions.resident_blocks;
    let mut host = Host {
        gpu: Gpu::new(Profile::h200()).with_interleaving(interleaving),
    };
    let args = host.arguments(program, inputs, conditions);
    let status = host.room(STATUS_BYTES);
    let blocks = module.kernels[0].grid(inputs.rows);
    let scratch = host.room(module.scratch.bytes(blocks));
    host.zero(scratch, module.scratch.bytes(blocks));
    for &arg in &module.zeroed {
        match args[arg] {
            Arg::Span { at, .. } => host.zero(at, inputs.rows.div_ceil(32) * 4),
            _ => panic!("argument {arg} is no memory to be zeroed"),
        }
    }
    let parsed = unlade_sim_gpu::Module::parse(&module.text)
        .unwrap_or_else(|error| panic!("{error}\n{}", module.text));
    let mut counters = Counters::default();
    for kernel in &module.kernels {
        let given: Vec<Argument> = kernel
            .params
            .iter()
            .map(|param| argument(*param, &args, inputs.rows, status, scratch))
            .collect();
        let code = parsed
            .kernel(&kernel.name)
            .unwrap_or_else(|| panic!("the text has no kernel {}", kernel.name));
        let grid = Grid::linear(kernel.grid(inputs.rows), kernel.block);
        let report = host
            .gpu
            .launch(code, grid, &given)
            .unwrap_or_else(|finding| panic!("{finding}\n{program}\n{}", numbered(&module.text)));
        counters += report.counters;
    }
    let words = host.read(status, STATUS_BYTES);
    let word = |at: usize| u64::from_le_bytes(words[at..at + 8].try_into().expect("8 bytes"));
    let outputs = match word(8) {
        u64::MAX => Ok(host.outputs(program, &args, inputs.rows, word(0))),
        row => {
            let ordinal = u32::try_from(word(16)).expect("the status ends with zeros");
            Err(RunError::Trap(Trap { row, ordinal }))
        }
    };
    Run { outputs, counters }
}

fn numbered(text: &str) -> String {
    text.lines()
        .zip(1..)
        .map(|(line, number)| format!("{number:5} {line}\n"))
        .collect()
}

fn argument(
    param: Param,
    args: &[Arg],
    rows: u64,
    status: DevicePointer,
    scratch: DevicePointer,
) -> Argument {
    match param {
        Param::Rows => rows.into(),
        Param::Status => status.into(),
        Param::Scratch => scratch.into(),
        Param::Address { arg } => match args[arg] {
            Arg::Span { at, .. } => at.into(),
            Arg::Absent => 0u64.into(),
            Arg::Scalar(_) => panic!("argument {arg} is a scalar"),
        },
        Param::Length { arg } => match args[arg] {
            Arg::Span { bytes, .. } => bytes.into(),
            _ => panic!("argument {arg} is no memory"),
        },
        Param::BitOffset { arg } => match args[arg] {
            Arg::Span { bit, .. } => bit.into(),
            Arg::Absent => 0u32.into(),
            Arg::Scalar(_) => panic!("argument {arg} is a scalar"),
        },
        Param::Scalar { arg, bytes } => match args[arg] {
            Arg::Scalar(value) => Argument::bytes(&value[..bytes as usize]),
            _ => panic!("argument {arg} is no scalar"),
        },
        other => panic!("a parameter this test does not know: {other:?}"),
    }
}

struct Host {
    gpu: Gpu,
}

impl Host {
    fn arguments(
        &mut self,
        program: &Program,
        inputs: &OwnedInputs,
        conditions: Conditions,
    ) -> Vec<Arg> {
        let rng = &mut Rng::new(conditions.seed);
        let mut args = Vec::new();
        for (column, given) in program.columns.iter().zip(&inputs.columns) {
            let step = match conditions.misaligned {
                true => u64::from(column.ty.bits()).div_ceil(8).min(8),
                false => ALIGNMENT,
            };
            args.push(self.bits(&given.values, step, rng));
            args.push(match &given.validity {
                Some(validity) => self.bits(validity, 1, rng),
                None => Arg::Absent,
            });
        }
        args.extend(inputs.params.iter().map(|bytes| Arg::Scalar(*bytes)));
        for entries in inputs.tables.iter().chain(&inputs.sets) {
            args.push(self.span(entries, ALIGNMENT, 0, rng));
        }
        let rows = inputs.rows;
        let types = program.types();
        let mut written = |ty: Ty| {
            let bytes = ty.bytes_for(rows);
            let at = self.room(bytes + SLACK);
            Arg::Span { at, bytes, bit: 0 }
        };
        if program.emit_mask {
            args.push(written(Ty::Mask));
        }
        for output in &program.outputs {
            let ty = types[output.value.index()].expect("an output has a type");
            args.push(written(ty));
            args.push(match output.valid {
                Some(_) => written(Ty::Mask),
                None => Arg::Absent,
            });
        }
        assert_eq!(args.len(), Layout::of(program).count());
        args
    }

    fn bits(&mut self, bits: &OwnedBits, step: u64, rng: &mut Rng) -> Arg {
        let byte = (bits.bit_offset / 8) as usize;
        let bytes = &bits.bytes[byte.min(bits.bytes.len())..];
        self.span(bytes, step, (bits.bit_offset % 8) as u32, rng)
    }

    /// Memory that ends where the bytes do, and begins at a multiple of `step`.
    fn span(&mut self, bytes: &[u8], step: u64, bit: u32, rng: &mut Rng) -> Arg {
        let before = rng.below(5) as u64 * step;
        let at = self.room(before + bytes.len() as u64);
        let at = DevicePointer(at.0 + before);
        self.gpu.write(at, bytes).expect("memory of its own");
        Arg::Span {
            at,
            bytes: bytes.len() as u64,
            bit,
        }
    }

    /// Memory that nobody has written yet.
    fn room(&mut self, bytes: u64) -> DevicePointer {
        self.gpu.allocate(bytes.max(1)).expect("little is used")
    }

    fn zero(&mut self, at: DevicePointer, bytes: u64) {
        if bytes > 0 {
            self.gpu.fill(at, bytes, 0).expect("memory of its own");
        }
    }

    fn read(&mut self, at: DevicePointer, bytes: u64) -> Vec<u8> {
        let mut read = vec![0; bytes as usize];
        if bytes > 0 {
            self.gpu.read(at, &mut read).expect("memory of its own");
        }
        read
    }

    fn outputs(&mut self, program: &Program, args: &[Arg], rows: u64, kept: u64) -> Outputs {
        let layout = Layout::of(program);
        let types = program.types();
        let mut first = |arg: usize, ty: Ty, rows: u64| match args[arg] {
            Arg::Span { at, .. } => {
                let mut bytes = self.read(at, ty.bytes_for(rows));
                if ty == Ty::Mask
                    && !rows.is_multiple_of(8)
                    && let Some(last) = bytes.last_mut()
                {
                    *last &= (1 << (rows % 8)) - 1;
                }
                bytes
            }
            _ => panic!("argument {arg} is not written"),
        };
        Outputs {
            kept,
            mask: layout.mask().map(|arg| first(arg, Ty::Mask, rows)),
            columns: program
                .outputs
                .iter()
                .enumerate()
                .map(|(index, output)| {
                    let ty = types[output.value.index()].expect("an output has a type");
                    let arg = layout.output(index);
                    OutputColumn {
                        values: first(arg, ty, kept),
                        validity: output.valid.map(|_| first(arg + 1, Ty::Mask, kept)),
                    }
                })
                .collect(),
        }
    }
}
