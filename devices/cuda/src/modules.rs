//! Programs as machine code: lowered, assembled, loaded, and kept in memory and on disk.
//!
//! In memory a program is found by itself: what is found was made of an equal program, whatever
//! the hashes. On disk, where only a name can stand for it, its [`ShapeHash`] does, and the text
//! that is lowered from it is compared.

use std::collections::{HashMap, HashSet};
use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use unlade_hal::{CompileError, Executable, Offsets};
use unlade_program::{Program, ShapeHash};
use unlade_ptx::{Kernel, LowerError, Param, Scratch};

use crate::context::{Entered, Function, Module, Stream};
use crate::device::Shared;
use crate::disk::Disk;
use crate::driver::Fault;
use crate::record::Resolved;
use crate::returns::{Returned, Returns};

/// Programs kept in memory. A program that is put out is loaded again when it is asked for; those
/// in use are kept by who uses them.
const MOST_PROGRAMS: usize = 1024;

/// The programs of one device.
#[derive(Debug)]
pub(crate) struct Modules {
    architecture: String,
    disk: Option<Disk>,
    loaded: Mutex<Programs>,
    copy_counted: Made,
    empty: Made,
    /// By the width of the offsets.
    strings: [Made; 2],
}

/// Code that is of no program, once it is made.
type Made = Mutex<Option<Arc<Loaded>>>;

/// Programs that are loaded.
#[derive(Debug, Default)]
struct Programs {
    /// By where the program is: as long as it is here it is kept, so no other can be there.
    known: HashMap<usize, Known, ahash::RandomState>,
    /// The same programs, for who comes with an equal one.
    equal: HashSet<Arc<Program>, ahash::RandomState>,
}

/// A program that is loaded.
#[derive(Debug)]
struct Known {
    /// With the program and its code in it.
    executable: Executable,
    code: Arc<Loaded>,
}

impl Known {
    /// Whether anybody else has its code.
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.code) > 2 // this one and the executable's
    }
}

impl Modules {
    pub(crate) fn new(architecture: &str) -> Self {
        Modules {
            architecture: architecture.to_owned(),
            disk: Disk::open(),
            loaded: Mutex::default(),
            copy_counted: Made::default(),
            empty: Made::default(),
            strings: Default::default(),
        }
    }

    /// A program that is loaded already. The very same one is found without a look at it, an equal
    /// one by a pass to hash it and one to compare it; nothing is allocated.
    pub(crate) fn find(&self, program: &Arc<Program>) -> Option<Executable> {
        let loaded = self.lock();
        let known = loaded.known.get(&address(program)).or_else(|| {
            let equal = loaded.equal.get(program)?;
            loaded.known.get(&address(equal))
        })?;
        Some(known.executable.clone())
    }

    /// A program that its device admits, made and loaded.
    pub(crate) fn load(
        &self,
        program: &Arc<Program>,
        shared: &Shared,
        gpu: &Entered<'_>,
    ) -> Result<Executable, CompileError> {
        let module = unlade_ptx::lower(program).map_err(|error| refused(&error))?;
        let name = ShapeHash::of(program).to_string();
        let code = self.make(module, &name, shared, gpu)?;
        let executable = Executable::new(program.clone(), code.clone());
        let mut kept = self.lock();
        let Programs { known, equal } = &mut *kept;
        if known.len() >= MOST_PROGRAMS {
            known.retain(|_, known| known.is_in_use());
            equal.retain(|program| known.contains_key(&address(program)));
        }
        // Another thread may have been first.
        if known.len() < MOST_PROGRAMS && equal.insert(program.clone()) {
            let found = Known {
                executable: executable.clone(),
                code,
            };
            known.insert(address(program), found);
        }
        Ok(executable)
    }

    /// The code of counted copies, made and loaded when it is first asked for.
    pub(crate) fn copy_counted(
        &self,
        shared: &Shared,
        gpu: &Entered<'_>,
    ) -> Result<Arc<Loaded>, CompileError> {
        once(&self.copy_counted, || {
            self.make(unlade_ptx::copy_counted(), "copy-counted", shared, gpu)
        })
    }

    /// The code that compacts strings, made and loaded when it is first asked for.
    pub(crate) fn strings(
        &self,
        offsets: Offsets,
        shared: &Shared,
        gpu: &Entered<'_>,
    ) -> Result<Arc<Loaded>, CompileError> {
        let name = match offsets {
            Offsets::I32 => "strings-32",
            Offsets::I64 => "strings-64",
        };
        once(&self.strings[offsets as usize], || {
            self.make(unlade_ptx::compact_strings(offsets), name, shared, gpu)
        })
    }

    /// The code that does nothing, made and loaded when it is first asked for.
    pub(crate) fn empty(
        &self,
        shared: &Shared,
        gpu: &Entered<'_>,
    ) -> Result<Arc<Loaded>, CompileError> {
        once(&self.empty, || {
            self.make(unlade_ptx::empty(), "empty", shared, gpu)
        })
    }

    /// Assembles a text, unless the disk has what was made of it, and loads it.
    fn make(
        &self,
        module: unlade_ptx::Module,
        name: &str,
        shared: &Shared,
        gpu: &Entered<'_>,
    ) -> Result<Arc<Loaded>, CompileError> {
        let failed = |fault: Fault| match fault.code.is_sticky() {
            true => CompileError::Lost(shared.lose(&fault)),
            false => CompileError::Failed(fault.to_string()),
        };
        let text = module.text.as_str();
        let image = match self.find_image(name, text) {
            Some(image) => image,
            None => {
                let image = gpu.assemble(text).map_err(failed)?;
                if let Some(disk) = &self.disk {
                    disk.keep(name, &self.architecture, text, &image);
                }
                image
            }
        };
        let returns = &shared.ground.returns;
        let loaded = Loaded::load(module, &image, gpu, returns).map_err(failed)?;
        loaded
            .check_threads(gpu)
            .map_err(|error| error.unwrap_or_else(failed))?;
        Ok(Arc::new(loaded))
    }

    fn find_image(&self, name: &str, text: &str) -> Option<Vec<u8>> {
        self.disk.as_ref()?.find(name, &self.architecture, text)
    }

    fn lock(&self) -> MutexGuard<'_, Programs> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is made but once, whoever asks first.
fn once(
    made: &Made,
    make: impl FnOnce() -> Result<Arc<Loaded>, CompileError>,
) -> Result<Arc<Loaded>, CompileError> {
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    match &*made {
        Some(code) => Ok(code.clone()),
        None => Ok(made.insert(make()?).clone()),
    }
}

fn address(program: &Arc<Program>) -> usize {
    Arc::as_ptr(program).addr()
}

fn refused(error: &LowerError) -> CompileError {
    match error {
        LowerError::TooManyParams { .. } => CompileError::TooLarge {
            what: error.to_string(),
            cut: None,
        },
        other => CompileError::Failed(other.to_string()),
    }
}

/// A program's code on one GPU.
#[derive(Debug)]
pub(crate) struct Loaded {
    module: Module,
    kernels: Vec<(Function, Kernel)>,
    scratch: Scratch,
    zeroed: Vec<usize>,
    returns: Returns,
}

impl Loaded {
    fn load(
        module: unlade_ptx::Module,
        image: &[u8],
        gpu: &Entered<'_>,
        returns: &Returns,
    ) -> Result<Self, Fault> {
        // SAFETY: The image was assembled by the driver, now or when it was kept on disk; there,
        // its sum is compared and its file is the user's own.
        let handle = unsafe { gpu.load(image) }?;
        // From here on, dropping it unloads the module.
        let mut loaded = Loaded {
            module: handle,
            kernels: Vec::with_capacity(module.kernels.len()),
            scratch: module.scratch,
            zeroed: module.zeroed,
            returns: returns.clone(),
        };
        for kernel in module.kernels {
            let function = gpu.function(handle, &kernel.name)?;
            loaded.kernels.push((function, kernel));
        }
        Ok(loaded)
    }

    /// Whether the registers that the kernels use leave room for their blocks.
    fn check_threads(&self, gpu: &Entered<'_>) -> Result<(), Result<CompileError, Fault>> {
        for (function, kernel) in &self.kernels {
            let most = gpu.most_threads(*function).map_err(Err)?;
            if kernel.block > most {
                let what = format!(
                    "its registers leave room for {most} threads of a block, not for {}",
                    kernel.block
                );
                return Err(Ok(CompileError::TooLarge { what, cut: None }));
            }
        }
        Ok(())
    }

    /// Whether it is of the device with this list.
    pub(crate) fn is_of(&self, returns: &Returns) -> bool {
        self.returns.same(returns)
    }

    /// Bytes of scratch that a launch needs.
    pub(crate) fn scratch_bytes(&self, rows: u64) -> u64 {
        let blocks = self
            .kernels
            .first()
            .map_or(0, |(_, kernel)| kernel.grid(rows));
        self.scratch.bytes(blocks)
    }

    /// Launches the kernels, in order.
    ///
    /// # Safety
    /// The arguments are those of the program, validated for this many rows. What they, the status
    /// and the scratch refer to is there until the stream is past this point, and nobody else
    /// touches what the program writes, or writes what it reads.
    pub(crate) unsafe fn launch(
        &self,
        gpu: &Entered<'_>,
        rows: u64,
        args: &[Resolved],
        status: u64,
        scratch: u64,
        stream: Stream,
    ) -> Result<(), Fault> {
        let scratch_bytes = self.scratch_bytes(rows);
        if scratch_bytes > 0 {
            // SAFETY: The caller's: the scratch is there, and as long as `scratch_bytes` says.
            unsafe { gpu.fill(scratch, 0, scratch_bytes, stream) }?;
        }
        for &position in &self.zeroed {
            if let Some(span) = args[position].span() {
                let bytes = rows.div_ceil(32) * 4;
                assert!(
                    bytes <= span.len,
                    "validated: a bitmap has room for whole words"
                );
                // SAFETY: The caller's; the bytes are the argument's own.
                unsafe { gpu.fill(span.address, 0, bytes, stream) }?;
            }
        }
        for (function, kernel) in &self.kernels {
            let values: Vec<Value> = kernel
                .params
                .iter()
                .map(|param| Value::of(*param, rows, args, status, scratch))
                .collect();
            let mut pointers: Vec<*mut c_void> = values
                .iter()
                .map(|value| ptr::from_ref(value).cast_mut().cast())
                .collect();
            // SAFETY: A pointer for each parameter, to sixteen bytes, of which the driver reads as
            // many as the kernel declares; the rest is the caller's.
            unsafe {
                gpu.launch(
                    *function,
                    kernel.grid(rows),
                    kernel.block,
                    &mut pointers,
                    stream,
                )
            }?;
        }
        Ok(())
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.returns.push(Returned::Module(self.module));
    }
}

/// The value of a parameter: its bytes first, whatever its length.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
struct Value([u8; 16]);

impl Value {
    fn of(param: Param, rows: u64, args: &[Resolved], status: u64, scratch: u64) -> Self {
        let number = |number: u64| Value(u128::from(number).to_le_bytes());
        match param {
            Param::Rows => number(rows),
            Param::Status => number(status),
            Param::Scratch => number(scratch),
            // What is absent has no address and no length.
            Param::Address { arg } => number(args[arg].span().map_or(0, |span| span.address)),
            Param::Length { arg } => number(args[arg].span().map_or(0, |span| span.len)),
            Param::BitOffset { arg } => number(
                args[arg]
                    .span()
                    .map_or(0, |span| u64::from(span.bit_offset)),
            ),
            Param::Scalar { arg, .. } => match args[arg] {
                Resolved::Scalar(bytes) => Value(bytes),
                other => unreachable!("validated: a parameter is a scalar, not {other:?}"),
            },
            other => unreachable!("{other} is no parameter that this version knows"),
        }
    }
}
