//! Unlade for Python: the module `unlade._unlade`, which the package in `python/unlade` presents.
//!
//! | module | what it does |
//! |---|---|
//! | `capsule` | Arrow in and out by the PyCapsule interface, without a copy   (contains unsafe code) |
//! | `interpreter` | ways into the interpreter, which end before it does   (contains unsafe code) |
//! | `own` | what forked children have no part in |
//! | `argument` | arguments, refused in words of ours |
//! | `given` | what is handed over: a batch, or a stream of them |
//! | `function` | functions in Python that queries call |
//! | `query` | queries from text and from Substrait, and the rules that they are read by |
//! | `runtime`, `session` | `Runtime`, `Session` |
//! | `kernel`, `ticket`, `stream` | `Kernel`, and its ways to run |
//! | `resident` | data in a device's memory |
//! | `output`, `batch`, `column`, `receipt` | what comes back |
//! | `dlpack` | columns as tensors                                      (contains unsafe code) |
//! | `status` | reports, as Python's own dictionaries |
//! | `time` | times, as Python counts them |
//! | `failure` | errors as Python's exceptions |
//! | `language` | the table of functions |
//!
//! The interpreter is released while anything is computed or waited for.

mod argument;
mod batch;
mod capsule;
mod column;
mod dlpack;
mod failure;
mod function;
mod given;
mod interpreter;
mod kernel;
mod language;
mod output;
mod own;
mod query;
mod receipt;
mod resident;
mod runtime;
mod session;
mod status;
mod stream;
mod ticket;
mod time;

/// What is compiled of the package `unlade`.
#[pyo3::pymodule(name = "_unlade")]
mod module {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::batch::{Batch, Schema};
    #[pymodule_export]
    use crate::column::Column;
    #[pymodule_export]
    use crate::given::Source;
    #[pymodule_export]
    use crate::kernel::{Explain, Kernel};
    #[pymodule_export]
    use crate::language::functions;
    #[pymodule_export]
    use crate::output::Output;
    #[pymodule_export]
    use crate::receipt::{Part, Receipt};
    #[pymodule_export]
    use crate::resident::{Resident, ResidentColumn};
    #[pymodule_export]
    use crate::runtime::{Runtime, runtime};
    #[pymodule_export]
    use crate::session::Session;
    #[pymodule_export]
    use crate::stream::Stream;
    #[pymodule_export]
    use crate::ticket::Ticket;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::interpreter::check_main()?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        crate::interpreter::close_at_exit(module)?;
        crate::interpreter::log(module.py())
    }
}
