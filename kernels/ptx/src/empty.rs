//! A kernel that does nothing: what launching any costs at least.

use unlade_program::Program;

use crate::frame::{Frame, THREADS, version};
use crate::module::Module;

/// The kernel that does nothing, of one block of threads. It takes no parameters, and writes no
/// status either.
///
/// ```
/// let module = unlade_ptx::empty();
/// assert_eq!(module.kernels[0].name, "unlade_empty");
/// assert!(module.kernels[0].params.is_empty());
/// ```
pub fn empty() -> Module {
    let program = Program::default();
    let mut frame = Frame::new(&program);
    frame.asm.run_plain("ret");
    let mut text = version();
    let kernel = match frame.finish("unlade_empty", THREADS, &mut text) {
        Ok(kernel) => kernel,
        Err(error) => unreachable!("no parameters: {error}"),
    };
    Module {
        text,
        kernels: vec![kernel],
        scratch: Default::default(),
        zeroed: Vec::new(),
    }
}
