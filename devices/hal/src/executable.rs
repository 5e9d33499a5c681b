//! A program compiled for one device.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use unlade_program::{Program, Ty, Val};

/// A program compiled for one device, cheap to clone.
#[derive(Clone)]
pub struct Executable {
    program: Arc<Program>,
    output_types: Arc<[Ty]>,
    code: Arc<dyn Any + Send + Sync>,
}

impl Executable {
    /// Wraps what a device's compiler made of a program.
    ///
    /// # Panics
    /// Where the program is not one that [`unlade_program::verify`] accepts.
    pub fn new(program: Arc<Program>, code: Arc<dyn Any + Send + Sync>) -> Self {
        let types = program.types();
        let typed = |value: Val| types[value.index()].expect("a verified output has a type");
        let output_types = program
            .outputs
            .iter()
            .map(|output| typed(output.value))
            .collect();
        Executable {
            program,
            output_types,
            code,
        }
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// The types of the program's outputs, in order.
    pub fn output_types(&self) -> &[Ty] {
        &self.output_types
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
