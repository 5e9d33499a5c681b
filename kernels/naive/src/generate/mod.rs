//! Random programs and inputs from a seed: what fuzzers and differential tests run.
//!
//! The same seed gives the same program and inputs on every machine.
//!
//! ```
//! use unlade_naive::generate::{Options, Rng, random_inputs, random_program};
//!
//! let mut rng = Rng::new(42);
//! let program = random_program(&mut rng, &Options::default());
//! let inputs = random_inputs(&program, 1000, &mut rng);
//! unlade_program::verify(&program)?;
//! let _ = unlade_naive::run(&program, &inputs.borrow());
//! # Ok::<(), unlade_program::VerifyError>(())
//! ```

mod inputs;
mod programs;
mod rng;
mod values;

pub use inputs::{OwnedBits, OwnedColumn, OwnedInputs, random_inputs};
pub use programs::{Options, random_program};
pub use rng::Rng;
pub use values::random_value;
