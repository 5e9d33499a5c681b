//! Programs as PTX: the text that an NVIDIA driver compiles, and how its kernels are launched.
//!
//! [`lower`] turns a [`Program`] into a [`Module`]: text for every GPU since Turing, made without
//! any toolkit, and for each kernel the parameters it is handed. Nothing here drives a GPU.
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
//! assert!(kernel.params.contains(&Param::Scalar { arg: 2, bytes: 4 }));
//! // The literal is a parameter, so that one text serves them all.
//! assert!(module.text.contains("ld.param.b32"));
//! assert!(module.text.contains("setp.gt.s32"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod asm;
mod cast;
mod compact;
mod dense;
mod evaluate;
mod float;
mod frame;
mod integer;
mod lookup;
mod mask;
mod module;
mod predicate;
mod rows;
mod status;
mod traps;
mod value;
mod wide;

pub use module::{ALIGNMENT, Kernel, LowerError, MAX_ROWS, Module, Param, SLACK, Scratch};
use unlade_program::{CellSet, Program};

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

/// What [`lower`] knows: what a device that runs its kernels may advertise.
pub fn cells() -> CellSet {
    CellSet::full()
}
