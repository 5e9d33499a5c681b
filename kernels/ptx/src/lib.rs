//! Programs as PTX: the text that an NVIDIA driver compiles, and how its kernels are launched.
//!
//! [`lower`] turns a [`Program`] into a [`Module`]: text for every GPU since Turing, made without
//! any toolkit in some 30 µs, and for each kernel the parameters that it is handed. Nothing here
//! drives a GPU.
//!
//! ```
//! use unlade_program::Program;
//! use unlade_ptx::{Param, lower};
//!
//! let program: Program = "
//!     columns c0: i32
//!     params p0: i32
//!     %0 = load c0
//!     %1 = param p0
//!     %2 = cmp.gt %0, %1
//!     keep %2
//!     emit mask
//! "
//! .parse()?;
//! let module = lower(&program)?;
//! let kernel = &module.kernels[0];
//! assert_eq!(kernel.name, "unlade_mask");
//! assert_eq!((kernel.block, kernel.grid(1_000_000)), (256, 123));
//! // The literal is a parameter, so that one text serves them all.
//! assert!(kernel.params.contains(&Param::Scalar { arg: 2, bytes: 4 }));
//! assert!(module.text.contains("setp.gt.s32"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Launching
//! - Load [`Module::text`]; zero [`Module::scratch`] and the arguments in [`Module::zeroed`].
//! - Launch each of [`Module::kernels`] with [`Kernel::grid`] blocks of [`Kernel::block`] threads,
//!   in order, on one stream, with [`Kernel::params`]. [`Param`] says what each is; positions are
//!   those of [`unlade_program::args`].
//! - What kernels write begins at multiples of [`ALIGNMENT`] and has room for [`SLACK`] bytes more.
//! - Afterwards the status block is written: `u64` rows kept; `u64` row of the least trap, all
//!   ones for none; `u32` its ordinal; `u32` zero. After a trap, outputs hold anything.
//!
//! # The shapes of kernels
//! | program | kernel | what it does |
//! |---|---|---|
//! | `keep`, no outputs | `unlade_mask` | the predicate, a byte of the mask per thread |
//! | outputs, no `keep` | `unlade_columns` | values dense, validity a word per warp |
//! | `keep` and outputs | `unlade_compact` | filter and compaction in one pass (decoupled look-back) |
//!
//! A predicate is computed on rows that lie beside each other: a thread has eight in each of two
//! strips, loaded 16 bytes at a time. Columns are computed on rows that lie a warp's width apart,
//! so that what lanes store lies together. Where rows end inside a strip, or a column does not
//! begin at a multiple of 16 bytes, the same rows are gone through one by one. Programs that would
//! take too many registers are gone through so from the start.
//!
//! # Kernels of no program
//! Programs have no strings; what a mask keeps of a column of them is compacted by a kernel of its
//! own, [`compact_strings`], behind the one that wrote the mask. [`copy_counted`] copies as much as
//! a count says that another kernel has written. [`empty()`] does nothing, for who times launches.
//!
//! # Bits
//! Every result equals that of the CPU evaluator bit for bit, of every operation ([`cells`]). Float
//! operations round to nearest even and are never contracted, a NaN that arithmetic makes is the
//! canonical one, and signs are changed as bits. Nothing is asked of the hardware whose result the
//! PTX ISA leaves open: divisors of zero are replaced, floats converted to integers are first found
//! to fit. Integers of 128 bits are pairs of 64, divided bit by bit where 64 do not suffice. Float
//! remainders are divided exactly, eleven bits at a time; the shortest digits of a float are found
//! in integers of 128 bits, without a table. A trap is the least `(row, ordinal)` of all threads, by
//! an atomic maximum over complements.
//!
//! # What is inside
//! - `asm`: the typed emitter; `frame`: a kernel's parameters, shared memory and text
//! - `mask`, `dense`, `compact` with `look_back` and `scatter`: the shapes; `predicate`, `traps`,
//!   `status`: what they share; `strings`: compaction of strings; `counted`: copies of what was counted;
//!   `empty`: nothing
//! - `rows`: how values come from memory, `cache`: which stay in shared memory, `prefetch`: which
//!   are asked for early
//! - `evaluate`: instructions, by `integer`, `wide`, `float`, `digits`, `cast`, `lookup`
//!
//! The tests run random programs on the simulated GPU against the naive interpreter, compare the
//! text of each shape with a golden file, lint it, and assemble it where `ptxas` can be had
//! (`cargo xtask test` fetches it). `cargo bench -p unlade-ptx --bench emit` times [`lower`].
#![forbid(unsafe_code)]

mod asm;
mod cache;
mod cast;
mod compact;
mod counted;
mod dense;
mod digits;
mod empty;
mod evaluate;
mod float;
mod frame;
mod integer;
mod look_back;
mod lookup;
mod mask;
mod module;
mod predicate;
mod prefetch;
mod rows;
mod scatter;
mod status;
mod strings;
mod traps;
mod value;
mod wide;

pub use counted::{CopyArg, copy_counted};
pub use empty::empty;
pub use module::{ALIGNMENT, Kernel, LowerError, MAX_ROWS, Module, Param, SLACK, Scratch};
pub use strings::compact_strings;
use unlade_program::{CellSet, Program};
pub use unlade_program::{Offsets, StringsArg};

/// Lowers a verified program.
///
/// # Errors
/// See [`LowerError`].
///
/// # Panics
/// Where the program is not one that [`unlade_program::verify`] accepts.
pub fn lower(program: &Program) -> Result<Module, LowerError> {
    match program.keep {
        Some(keep) if program.outputs.is_empty() => mask::lower(program, keep),
        Some(keep) => compact::lower(program, keep),
        None => dense::lower(program),
    }
}

/// What [`lower`] knows, which is everything: what a device that runs its kernels may advertise.
pub fn cells() -> CellSet {
    CellSet::full()
}
