//! A simulated NVIDIA GPU.
//!
//! It runs PTX, the very text that a real driver would get: [`Module::parse`] reads it,
//! [`Gpu::launch`] interprets it. The interpreter keeps to the PTX ISA and to nothing beyond it:
//! where the ISA leaves a result open, the result is poison; where it orders nothing, the order is
//! drawn from a seed. What a kernel must not do is a [`Finding`] that names the line of the text,
//! the block and the lane.
//!
//! ```
//! use unlade_sim_gpu::{Gpu, Grid, Module, Profile};
//!
//! let module = Module::parse(
//!     ".version 7.0\n.target sm_75\n.address_size 64\n\
//!      .visible .entry double(.param .u64 numbers, .param .u32 count) {\n\
//!          .reg .pred %p; .reg .b32 %r<3>; .reg .b64 %rd<2>;\n\
//!          mov.u32 %r0, %tid.x;\n\
//!          ld.param.u32 %r1, [count];\n\
//!          setp.ge.u32 %p, %r0, %r1;\n\
//!          @%p bra DONE;\n\
//!          ld.param.u64 %rd0, [numbers];\n\
//!          mad.wide.u32 %rd1, %r0, 4, %rd0;\n\
//!          ld.global.u32 %r2, [%rd1];\n\
//!          add.u32 %r2, %r2, %r2;\n\
//!          st.global.u32 [%rd1], %r2;\n\
//!      DONE: ret;\n\
//!      }",
//! )?;
//! let mut gpu = Gpu::new(Profile::h200());
//! let numbers = gpu.allocate(8)?;
//! gpu.write(numbers, &[1, 0, 0, 0, 2, 0, 0, 0])?;
//! let kernel = module.kernel("double").unwrap();
//! let report = gpu.launch(kernel, Grid::linear(1, 32), &[numbers.into(), 2u32.into()])?;
//! assert_eq!(report.counters.global_loaded, 8);
//!
//! let mut result = [0; 8];
//! gpu.read(numbers, &mut result)?;
//! assert_eq!(result, [2, 0, 0, 0, 4, 0, 0, 0]);
//!
//! // One thread too many finds the end of the allocation.
//! let finding = gpu.launch(kernel, Grid::linear(1, 32), &[numbers.into(), 3u32.into()]);
//! let message = finding.unwrap_err().to_string();
//! assert!(message.starts_with("out of bounds: kernel `double`, PTX line 12, block 0, warp 0, lane 2"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # As a driver
//! The crate also is a CUDA driver: its C entry points are those of `libcuda.so`, and [`Driver`]
//! steers what is behind them: which GPUs there are, when streams run ([`Mode`]), which calls fail
//! ([`DriverFault`]). Programs find it in one of two ways, and both say so by the exported symbol
//! `unlade_sim_gpu`:
//! - A test links this crate, and its build script exports the executable's symbols under the
//!   library's name: `cargo:rustc-link-arg-tests=-rdynamic` and
//!   `cargo:rustc-link-arg-tests=-Wl,-soname,libcuda.so`. See `tests/cudarc.rs`.
//! - A program opens `libunlade_sim_gpu.so` by its path before anything asks for CUDA, and keeps it
//!   open. `UNLADE_SIM_GPU`, `UNLADE_SIM_GPU_MODE` and `UNLADE_SIM_GPU_SEED` configure it; see
//!   [`DriverConfig`].
//!
//! A function of the host's (`cuLaunchHostFunc`) is called on the thread whose call lets its stream
//! run. A call of the driver from inside is `CUDA_ERROR_NOT_PERMITTED`; [`Driver`] itself must not
//! be used there either.
//!
//! # What is inside
//! - [`Module`], [`Kernel`]: parsed PTX; [`ParseError`] says what is wrong with a text
//! - [`Gpu`]: memory and launches, without any driver; [`Grid`], [`Argument`], [`Report`]
//! - [`Interleaving`]: the seed of a run, and how unkind it is
//! - [`Finding`], [`FindingKind`]: what a kernel did wrong
//! - [`Counters`]: bytes and instructions
//! - [`Profile`]: which GPU it stands for
//! - [`Driver`], [`DriverConfig`], [`Alive`], [`LaunchRecord`]: the driver, steered; [`DriverFault`], [`DriverChance`]:
//!   what can fail in it
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod capi;
mod driver;
mod exec;
mod finding;
mod gpu;
#[allow(unsafe_code)]
mod host;
mod memory;
mod profile;
mod ptx;

pub use driver::{Alive, Driver, DriverChance, DriverConfig, DriverFault, LaunchRecord, Mode};
pub use exec::{Counters, Interleaving};
pub use finding::{Finding, FindingKind};
pub use gpu::{Argument, Gpu, Grid, LaunchError, Report};
pub use memory::{DevicePointer, MemoryError, POISON};
pub use profile::Profile;
pub use ptx::{Kernel, Module, Parameter, ParseError, ParseErrorKind};
