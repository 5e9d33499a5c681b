//! A parsed module and its kernels.

use std::sync::Arc;

use super::decode::decode;
use super::error::{ParseErrorKind, Result, fail, invalid};
use super::inst::{Inst, Op, Order, Space};
pub(crate) use super::symbols::RowInit;
use super::symbols::{SharedLayout, Symbols};
use super::syntax::{self, Item, KernelText, SharedText};

/// A module: kernels that can be launched.
///
/// ```
/// use unlade_sim_gpu::Module;
///
/// let text = ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry nop() { ret; }";
/// let module = Module::parse(text)?;
/// assert_eq!(module.kernel("nop").unwrap().parameters().len(), 0);
///
/// let error = Module::parse(&text.replace("ret;", "rett;")).unwrap_err();
/// assert_eq!(error.to_string(), "PTX line 4: the instruction `rett` is not simulated");
/// # Ok::<(), unlade_sim_gpu::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Module {
    version: (u32, u32),
    target: u32,
    kernels: Vec<Arc<Kernel>>,
}

/// A kernel, decoded.
#[derive(Debug)]
pub struct Kernel {
    pub(crate) name: String,
    pub(crate) code: Vec<Inst>,
    pub(crate) rows: Vec<RowInit>,
    pub(crate) predicates: Vec<Option<bool>>,
    pub(crate) shared: SharedLayout,
    pub(crate) threads: Option<(u32, bool)>,
    /// Whether threads can learn of each other through memory: only then does order matter.
    pub(crate) communicates: bool,
    parameters: Vec<Parameter>,
    parameter_bytes: u32,
}

/// A parameter of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// As it is written.
    pub name: String,
    /// Where it lies in the kernel's parameters, in bytes.
    pub offset: u32,
    /// Its size in bytes.
    pub bytes: u32,
}

/// The newest `.version` that the simulated driver, of CUDA 13.0, takes.
const NEWEST_VERSION: (u32, u32) = (9, 0);

/// Bytes of parameters that a kernel may have (PTX ISA 5.2.2, before release 8.1).
const MAX_PARAMETER_BYTES: u64 = 4352;

impl Module {
    /// Reads PTX text. Everything in it must be understood.
    ///
    /// # Errors
    /// Names the line and what is wrong with it.
    pub fn parse(text: &str) -> Result<Module> {
        let parsed = syntax::parse(text)?;
        let version = parsed.version;
        if version > NEWEST_VERSION {
            let (major, minor) = version;
            let message =
                format!("`.version {major}.{minor}` is newer than this driver, whose is 9.0");
            return fail(1, ParseErrorKind::Version, message);
        }
        let mut kernels: Vec<Arc<Kernel>> = Vec::with_capacity(parsed.kernels.len());
        for kernel in &parsed.kernels {
            if kernels.iter().any(|other| other.name == kernel.name) {
                return invalid(
                    kernel.line,
                    format!("the kernel `{}` comes twice", kernel.name),
                );
            }
            kernels.push(Arc::new(Kernel::decode(kernel, &parsed.shared)?));
        }
        Ok(Module {
            version,
            target: parsed.target,
            kernels,
        })
    }

    /// A kernel by its name.
    pub fn kernel(&self, name: &str) -> Option<&Arc<Kernel>> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }

    /// All kernels, in the order of the text.
    pub fn kernels(&self) -> &[Arc<Kernel>] {
        &self.kernels
    }

    /// The release of the PTX ISA that the text is written for: major and minor.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// The least architecture that the text is written for, as 75 for `sm_75`.
    pub fn target(&self) -> u32 {
        self.target
    }
}

impl Kernel {
    fn decode(text: &KernelText<'_>, module_shared: &[SharedText<'_>]) -> Result<Kernel> {
        let mut symbols = Symbols::new();
        let (mut parameters, mut offset) = (Vec::with_capacity(text.params.len()), 0u64);
        for param in &text.params {
            let size = param.ty.width().map_or(1, |width| u64::from(width.bytes()));
            let bytes = param.count.unwrap_or(0).saturating_mul(size);
            offset = offset.next_multiple_of(param.align);
            if bytes == 0 || offset.saturating_add(bytes) > MAX_PARAMETER_BYTES {
                let message = format!(
                    "`{}`: parameters of 1 to {MAX_PARAMETER_BYTES} bytes in all",
                    param.name
                );
                return invalid(param.line, message);
            }
            let place = (offset as u32, bytes as u32);
            if symbols.params.insert(param.name, place).is_some() {
                return invalid(param.line, format!("`{}` is declared twice", param.name));
            }
            parameters.push(Parameter {
                name: param.name.to_owned(),
                offset: place.0,
                bytes: place.1,
            });
            offset += bytes;
        }
        for shared in module_shared {
            symbols.declare_shared(shared)?;
        }
        find_labels(text, &mut symbols)?;
        let mut code = decode_body(text, &mut symbols)?;
        // Running off the end is a return.
        let line = code.last().map_or(text.line, |inst| inst.line);
        code.push(Inst {
            guard: None,
            op: Op::Exit,
            line,
        });
        Ok(Kernel {
            name: text.name.to_owned(),
            communicates: code.iter().any(|inst| communicates(&inst.op)),
            code,
            rows: symbols.rows,
            predicates: symbols.predicates,
            shared: symbols.shared,
            threads: text.threads,
            parameters,
            parameter_bytes: offset as u32,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it wants to be launched with, in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The size of all its parameters, in bytes.
    pub fn parameter_bytes(&self) -> u32 {
        self.parameter_bytes
    }

    /// Shared memory that it declares, in bytes a block.
    pub fn shared_bytes(&self) -> u64 {
        self.shared.bytes
    }

    /// Instructions in its text.
    pub fn instructions(&self) -> usize {
        // The last stands for the end of the text.
        self.code.len() - 1
    }

    /// Threads that a block may have, where the text limits them.
    pub fn max_threads(&self) -> Option<u32> {
        self.threads.map(|(threads, _)| threads)
    }
}

fn find_labels<'t>(text: &KernelText<'t>, symbols: &mut Symbols<'t>) -> Result<()> {
    let mut at = 0;
    for item in &text.body {
        match item {
            Item::Statement(_) => at += 1,
            Item::Label { name, line } if symbols.labels.insert(name, at).is_some() => {
                return invalid(*line, format!("the label `{name}` comes twice"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn decode_body<'t>(text: &KernelText<'t>, symbols: &mut Symbols<'t>) -> Result<Vec<Inst>> {
    let mut code = Vec::with_capacity(text.body.len());
    for item in &text.body {
        match item {
            Item::Open => symbols.open(),
            Item::Close => symbols.close(),
            Item::Label { .. } => {}
            Item::Registers { ty, names, line } => {
                for &(name, count) in names {
                    symbols.declare_registers(*ty, name, count, *line)?;
                }
            }
            Item::Shared(shared) => symbols.declare_shared(shared)?,
            Item::Statement(statement) => code.push(decode(statement, symbols)?),
        }
    }
    Ok(code)
}

fn communicates(op: &Op) -> bool {
    match op {
        Op::Load(load) => load.order != Order::Weak || load.address.space == Space::Shared,
        Op::Store(store) => store.order != Order::Weak || store.address.space == Space::Shared,
        Op::Atomic(_) | Op::Fence { .. } | Op::Barrier { .. } => true,
        _ => false,
    }
}
