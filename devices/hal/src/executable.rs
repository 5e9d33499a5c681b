//! A program compiled for one device, or what compacts strings there.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use unlade_program::args::Layout;
use unlade_program::{Offsets, Program, StringsArg, Ty, Val};

use crate::completion::Status;
use crate::strings::StringsStatus;

/// What a dispatch runs: a program compiled for one device, or the compaction of strings there.
/// Cheap to clone.
#[derive(Clone)]
pub struct Executable {
    program: Arc<Program>,
    output_types: Arc<[Ty]>,
    strings: Option<Offsets>,
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
            strings: None,
            code,
        }
    }

    /// Wraps a device's code that compacts strings.
    pub fn of_strings(offsets: Offsets, code: Arc<dyn Any + Send + Sync>) -> Self {
        Executable {
            program: Arc::new(Program::default()),
            output_types: Arc::new([]),
            strings: Some(offsets),
            code,
        }
    }

    /// The width of the offsets, where it compacts strings.
    pub fn strings(&self) -> Option<Offsets> {
        self.strings
    }

    /// Position of the first of a dispatch's arguments that it writes: those before are read.
    pub fn first_written(&self) -> usize {
        let layout = Layout::of(&self.program);
        match self.strings {
            Some(_) => StringsArg::KeptOffsets as usize,
            None => layout.mask().unwrap_or_else(|| layout.output(0)),
        }
    }

    /// Bytes of the block that a dispatch writes: a [`Status`], or a [`StringsStatus`].
    pub fn status_bytes(&self) -> u64 {
        match self.strings {
            Some(_) => StringsStatus::BYTES,
            None => Status::BYTES,
        }
    }

    /// The program; one without instructions where it compacts strings.
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
            .field("strings", &self.strings)
            .finish_non_exhaustive()
    }
}
