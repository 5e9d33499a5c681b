//! A program compiled for one device.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use unlade_program::Program;

/// A program compiled for one device, cheap to clone.
#[derive(Clone)]
pub struct Executable {
    program: Arc<Program>,
    code: Arc<dyn Any + Send + Sync>,
}

impl Executable {
    /// Wraps what a device's compiler made of a program.
    pub fn new(program: Arc<Program>, code: Arc<dyn Any + Send + Sync>) -> Self {
        Executable { program, code }
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// The device's own code, if it is of this type: an executable of another device is not.
    pub fn code<T: Any>(&self) -> Option<&T> {
        self.code.downcast_ref()
    }
}

impl fmt::Debug for Executable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executable")
            .field("insts", &self.program.insts.len())
            .finish_non_exhaustive()
    }
}
