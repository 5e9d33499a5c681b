//! Columnar offload: Arrow record batches and an expression in, Arrow out, computed by the best
//! device present, with the same bits whichever device that is.
//!
//! # Filter and project a batch
//! ```
//! use std::sync::Arc;
//!
//! use arrow_array::{Int32Array, RecordBatch, StringArray};
//! use unlade::{Query, Semantics, col, lit};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let batch = RecordBatch::try_from_iter([
//!     ("id", Arc::new(Int32Array::from(vec![1, 5, 9])) as _),
//!     ("name", Arc::new(StringArray::from(vec!["ann", "bob", "cleo"])) as _),
//! ])?;
//!
//! let runtime = unlade::runtime()?;
//! let query = Query::filter(col("id").gt(lit(3)))
//!     .select([col("name"), (col("id") * lit(2)).alias("twice")]);
//! let kernel = runtime.compile(&query, &batch.schema(), &Semantics::arrow())?;
//!
//! let output = kernel.run(&batch)?;
//! assert_eq!(output.batch.num_rows(), 2);
//! # Ok(())
//! # }
//! ```
//! A [`Kernel`] is compiled once and runs on any number of batches, from any thread. Queries that
//! differ only in their literals share one compiled program.
//!
//! `cargo run -p unlade --example filter` is this program with its explanation and receipt printed.
//!
//! Expressions can be text, too: see [`parse_expr`]. What they mean is one of three sets of rules,
//! [`Semantics`].
//!
//! # See what ran where
//! Every result comes with a [`Receipt`]; [`Kernel::explain`] tells beforehand.
//! ```
//! # use std::sync::Arc;
//! # use arrow_array::{Int32Array, RecordBatch};
//! # use unlade::{Query, Semantics, parse_expr};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let column = Arc::new(Int32Array::from(vec![1, 5, 9])) as _;
//! # let batch = RecordBatch::try_from_iter([("id", column)])?;
//! let query = Query::filter(parse_expr("id between 2 and 6")?);
//! let kernel = unlade::runtime()?.compile(&query, &batch.schema(), &Semantics::arrow())?;
//! println!("{}", kernel.explain());
//!
//! let receipt = kernel.run(&batch)?.receipt;
//! assert_eq!(&*receipt.parts[0].device, "cpu");
//! assert_eq!((receipt.rows_out, receipt.bytes_copied), (1, 4)); // one number, copied once
//! # Ok(())
//! # }
//! ```
//!
//! # A stream of batches
//! [`Kernel::stream`] takes any Arrow reader. Results come in its order; batches are computed on as
//! many threads as the runtime was given, a bounded number ahead of the one that is taken.
//! ```
//! # use std::sync::Arc;
//! # use arrow_array::{Int32Array, RecordBatch, RecordBatchIterator};
//! # use unlade::{Query, Runtime, Semantics, col, lit};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let column = Arc::new(Int32Array::from(vec![1, 5, 9])) as _;
//! # let batch = RecordBatch::try_from_iter([("id", column)])?;
//! # let schema = batch.schema();
//! # let reader = RecordBatchIterator::new([Ok(batch.clone()), Ok(batch)], schema.clone());
//! let runtime = unlade::builder().threads(2).build()?;
//! let query = Query::filter(col("id").lt(lit(6)));
//! let kernel = runtime.compile(&query, &schema, &Semantics::arrow())?;
//! let mut rows = 0;
//! for output in kernel.stream(reader) {
//!     rows += output?.batch.num_rows();
//! }
//! assert_eq!(rows, 4);
//! # Ok(())
//! # }
//! ```
//!
//! # Sessions
//! Queries that share a runtime each have a [`Session`], with a share of the devices, a priority, a
//! budget of memory and a deadline of its own. It may ask for [devices](DeviceRequest) to count on,
//! as Spark's executors do, and is cancelled as a whole.
//! ```
//! # use std::time::Duration;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = unlade::builder().build()?;
//! let session = runtime
//!     .session("query 17")
//!     .weight(2)
//!     .memory_budget(256 << 20)
//!     .deadline(Duration::from_secs(60))
//!     .open()?;
//! // session.compile(..) in the place of runtime.compile(..)
//! let wants_a_gpu = runtime.session("query 18").device("gpu=0.5".parse()?);
//! if let Err(refused) = wants_a_gpu.open() {
//!     println!("{refused}"); // session `query 18` asks for gpu=0.5: there is no `gpu`; ...
//! }
//! assert_eq!(runtime.sessions()[1].label, session.status().label);
//! # Ok(())
//! # }
//! ```
//!
//! # Functions of one's own
//! A [`UserFunction`] is Rust over Arrow arrays; [`Runtime::register`] has queries call it, anywhere in an
//! expression. It runs on the CPU, before the program of the query, which runs wherever it would without:
//! results of calls are columns to it. [`Kernel::explain`] and receipts name the calls.
//!
//! # Devices
//! [`runtime`] opens the devices that are present, [`discover`] lists them, and
//! [`Runtime::builder`] takes whichever it is given, in [`unlade_hal`]'s terms. What one device
//! lacks runs on another or on the CPU, never silently: [`Fallback::Forbid`] makes an error of it.
//!
//! | feature | device |
//! |---|---|
//! | `cpu` (default) | `cpu`: the evaluator, inline on the calling thread |
//! | `cuda` | `cuda:0`, `cuda:1` ...: NVIDIA GPUs, through the driver that is loaded at run time |
//! | `dpu` | `dpu:...`: DMA-capable cards, which [`open_card`] opens by name and `find_cards` finds |
//! | `iommufd` | `dpu:iommufd:...`: the same, through the kernel's newer interface |
//! | `sim` | `sim`: a simulated device with memory and time of its own, for tests |
//! | `sim-card` | `sim-dpu`: a simulated card, which [`open_devices`] has this process serve to itself |
//!
//! # Look on
//! [`observe`] has a process show what its runtime is doing, to `unlade top` or into a file.
//! [`METRICS`] go to the `metrics` facade; with feature `prometheus-text` module `prometheus` gives
//! them to Prometheus as text, and with feature `prometheus` over HTTP.
//!
//! # Between processes
//! Module [`wire`] has queries and requests for kernels as bytes, documented for other languages in
//! docs/WIRE.md. With feature `substrait`, module `substrait` reads the `ExtendedExpression` that
//! pyarrow serialises and DataFusion produces; docs/SUBSTRAIT.md says what of it.
//! ```
//! # use unlade::{Query, parse_expr, wire};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let query = Query::filter(parse_expr("id between 2 and 6")?);
//! let bytes = wire::encode_query(&query)?;
//! assert_eq!(wire::decode_query(&bytes)?, query);
//! # Ok(())
//! # }
//! ```
//!
//! # What is inside
//! - queries: [`Query`], [`Expr`], [`col`], [`lit`], [`when`], [`parse_expr`], [`Semantics`]
//! - running them: [`Runtime`], [`Session`], [`Kernel`], [`Output`], [`Ticket`], [`KernelStream`]
//! - what happened: [`Receipt`], [`Explain`], [`Error`], [`Snapshot`]
#![forbid(unsafe_code)]

use std::sync::Arc;

pub use failure::FailureKind;
pub use printable::printable;
pub use settled::settled;
pub use shell_word::shell_word;
#[cfg(feature = "dpu")]
pub use unlade_dpu::{IOMMUFD, Obstacle, PciCard, find_cards};
pub use unlade_expr::{
    CASTS, Case, CastRow, Checked, Clause, Coercion, Dialect, Expr, ExprError, ExprErrorKind,
    FUNCTIONS, Function, Literal, OnError, OutputColumn, Query, Select, Semantics, Signature,
    Signatures, Span, Staged, TypeSpelling, UnknownSemantics, When, all, case, cast_row, check,
    check_staged, coalesce, col, computable_types, exact_col, if_, lit, null, nullif, parse_expr,
    parse_expr_with, parse_select_list, parse_select_list_with, type_name, type_spellings, when,
};
pub use unlade_hal::{
    Clock, ClockKind, Device, DeviceInfo, DeviceKind, Health, MemoryKind, PageSize, Quantity,
    Reading, WallClock,
};
pub use unlade_program::{FloatOrder, ShapeHash};
pub use unlade_runtime::*;
#[cfg(feature = "substrait")]
pub use unlade_substrait as substrait;
pub use unlade_wire as wire;

mod failure;
pub mod observe;
mod printable;
#[cfg(feature = "prometheus-text")]
pub mod prometheus;
mod settled;
mod shell_word;
pub mod socket;

/// The examples of the guide are run like those of this page.
#[cfg(doctest)]
#[doc = include_str!("../../docs/GETTING-STARTED.md")]
struct GettingStarted;

/// The devices that are present, the CPU first.
///
/// ```
/// let names: Vec<_> = unlade::discover().iter().map(|device| device.info().name.clone()).collect();
/// assert_eq!(names[0], "cpu");
/// ```
pub fn discover() -> Vec<Arc<dyn Device>> {
    let mut devices: Vec<Arc<dyn Device>> = cpu().into_iter().collect();
    devices.extend(simulated());
    devices.extend(gpus());
    devices
}

/// Why there is no NVIDIA GPU among the devices, in words that say what to do; `None` where there
/// is one.
pub fn why_no_gpu() -> Option<String> {
    #[cfg(feature = "cuda")]
    let why = unlade_cuda::discover().err().map(|why| why.to_string());
    #[cfg(not(feature = "cuda"))]
    let why = Some("this build of Unlade is without feature `cuda`".to_owned());
    why
}

/// Makes a simulated NVIDIA GPU this process's only one, before anything asks for a real one:
/// [`discover`] then finds `sim-gpu:0`. It runs the kernels that a GPU would run.
///
/// # Errors
/// In words that say what to do: the library is not found, or a real driver was loaded first.
pub fn simulate_gpu() -> Result<(), String> {
    #[cfg(feature = "cuda")]
    return unlade_cuda::simulate().map_err(|error| error.to_string());
    #[cfg(not(feature = "cuda"))]
    Err("this build of Unlade is without feature `cuda`".to_owned())
}

/// The devices of these names, in their order: of those that are [present](discover), or one that
/// is only there when it is asked for, which are `sim-gpu`, `sim-dpu` and `dpu:...`. A simulated GPU
/// is this process's only one from then on.
///
/// ```
/// let devices = unlade::open_devices(&["cpu"])?;
/// assert_eq!(devices[0].info().name, "cpu");
/// let error = unlade::open_devices(&["tpu:0"]).unwrap_err();
/// assert!(error.contains("no device `tpu:0`") && error.contains("cpu"));
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// In words that say what to do: which devices there are, and why there is no GPU among them; of
/// cards, why one cannot be opened.
pub fn open_devices(names: &[&str]) -> Result<Vec<Arc<dyn Device>>, String> {
    // A process has one CUDA driver, so a simulated one is chosen before any is looked for.
    if names.iter().any(|name| name.starts_with(SIMULATED_GPU)) {
        simulate_gpu()?;
    }
    let present = discover();
    let open = |name: &&str| match *name {
        SIMULATED_CARD => simulated_card(),
        card if card.starts_with(CARD) => open_card(card),
        SIMULATED_GPU => find(&present, "sim-gpu:0"),
        name => find(&present, name),
    };
    names.iter().map(open).collect()
}

/// The devices that are there only when they are asked for and that this build has, as messages list them.
pub const BY_NAME: &str = match (
    cfg!(feature = "cuda"),
    cfg!(feature = "dpu"),
    cfg!(feature = "sim-card"),
) {
    (true, _, true) => "sim-gpu, sim-dpu, dpu:unix:PATH and dpu:PCI-ADDRESS",
    (true, true, false) => "sim-gpu, dpu:unix:PATH and dpu:PCI-ADDRESS",
    (true, false, false) => "sim-gpu",
    (false, _, true) => "sim-dpu, dpu:unix:PATH and dpu:PCI-ADDRESS",
    (false, true, false) => "dpu:unix:PATH and dpu:PCI-ADDRESS",
    (false, false, false) => "none in this build",
};

/// The simulated GPU's name, of which there is one.
const SIMULATED_GPU: &str = "sim-gpu";

/// The simulated card's name.
const SIMULATED_CARD: &str = "sim-dpu";

fn find(present: &[Arc<dyn Device>], name: &str) -> Result<Arc<dyn Device>, String> {
    let found = present.iter().find(|device| device.info().name == name);
    found.cloned().ok_or_else(|| {
        let known: Vec<&str> = present
            .iter()
            .map(|device| device.info().name.as_str())
            .collect();
        let why = why_no_gpu().map_or_else(String::new, |why| format!("; {why}"));
        format!(
            "no device `{name}`; there are: {}, and by name {BY_NAME}{why}",
            known.join(", ")
        )
    })
}

/// A simulated card, which this process serves as long as it is there.
#[cfg(feature = "sim-card")]
fn simulated_card() -> Result<Arc<dyn Device>, String> {
    use std::sync::{Mutex, PoisonError};
    /// What serves cards: dropped, it would end them.
    static SERVED: Mutex<Vec<unlade_sim_card::Served>> = Mutex::new(Vec::new());
    let served = unlade_sim_card::Served::start(unlade_sim_card::Config::default())
        .map_err(|error| format!("{SIMULATED_CARD}: it has no socket: {error}"))?;
    let address = format!("dpu:unix:{}", served.path().display());
    let place = format!("process {}", std::process::id());
    let card = open_card_as(&address, SIMULATED_CARD, Some(&place));
    served.hide();
    let card = card?;
    let mut all = SERVED.lock().unwrap_or_else(PoisonError::into_inner);
    all.push(served);
    Ok(card)
}

#[cfg(not(feature = "sim-card"))]
fn simulated_card() -> Result<Arc<dyn Device>, String> {
    Err(format!(
        "{SIMULATED_CARD}: this build of Unlade is without feature `sim-card`"
    ))
}

/// Opens a DMA-capable card, which is not among those that [`discover`] finds: `dpu:unix:PATH` is one
/// that is served at a socket by the vfio-user protocol, `dpu:0000:3b:00.0` one at a PCI address, by
/// the kernel's VFIO; `dpu:iommufd:0000:3b:00.0` is the same card by its own device file instead of its
/// group's, with feature `iommufd`. The device has that name.
///
/// ```
/// let error = unlade::open_card("dpu:unix:/nowhere/card.sock").unwrap_err();
/// assert!(error.contains("/nowhere/card.sock") || error.contains("without feature"));
/// let error = unlade::open_card("dpu:").unwrap_err();
/// assert!(error.starts_with("`dpu:` names no card; write dpu:unix:PATH"));
/// ```
///
/// # Errors
/// In words that say what to do: it names none, nobody is there, it is no card, or somebody else has it.
pub fn open_card(name: &str) -> Result<Arc<dyn Device>, String> {
    open_card_as(name, name, None)
}

/// [`open_card`], under another name: receipts, reports and placement call the device so. Where the
/// way to it is of no use to anybody else, `place` says where it is instead.
///
/// # Errors
/// As [`open_card`].
pub fn open_card_as(
    name: &str,
    called: &str,
    place: Option<&str>,
) -> Result<Arc<dyn Device>, String> {
    check_card_name(name)?;
    let address = name.strip_prefix(CARD).unwrap_or(name);
    #[cfg(not(feature = "dpu"))]
    let _nothing_is_opened = place;
    if let (Some(address), false) = (address.strip_prefix(BY_IOMMUFD), cfg!(feature = "iommufd")) {
        return Err(format!(
            "{called}: this build of Unlade is without feature `iommufd`: build it with that, or open \
             the card by its group, as `dpu:{address}`"
        ));
    }
    #[cfg(feature = "dpu")]
    return open_dpu(address, called, place).map_err(|error| error.to_string());
    #[cfg(not(feature = "dpu"))]
    Err(format!(
        "{called}: this build of Unlade is without feature `dpu`: {name} cannot be opened"
    ))
}

/// Whether a name can be that of a card, wherever and if at all there is one: its form alone is looked at.
///
/// ```
/// assert_eq!(unlade::check_card_name("dpu:unix:/nowhere/card.sock"), Ok(()));
/// # #[cfg(feature = "dpu")]
/// assert!(unlade::check_card_name("dpu:zz").unwrap_err().contains("`zz` is no PCI address"));
/// ```
///
/// # Errors
/// In words that say how cards are named.
pub fn check_card_name(name: &str) -> Result<(), String> {
    let address = name.strip_prefix(CARD).unwrap_or(name);
    if let "" | AT_SOCKET | BY_IOMMUFD = address {
        return Err(format!(
            "`{name}` names no card; write {CARD}{AT_SOCKET}PATH for one that is served at a socket, or \
             {CARD} and its PCI address, such as {CARD}0000:3b:00.0, for one on the bus; `unlade devices` \
             lists the latter"
        ));
    }
    #[cfg(feature = "dpu")]
    if !address.starts_with(AT_SOCKET) {
        let address = address.strip_prefix(BY_IOMMUFD).unwrap_or(address);
        if !unlade_dpu::is_pci_address(address) {
            return Err(format!(
                "`{name}` names no card: `{address}` is no PCI address, as 0000:3b:00.0 is; `lspci -D` lists \
                 them; `{CARD}` goes before that address, or before {AT_SOCKET} and a socket's path"
            ));
        }
    }
    Ok(())
}

/// What the name of a card begins with.
const CARD: &str = "dpu:";

/// What the address of a card begins with that is served at a socket.
const AT_SOCKET: &str = "unix:";

/// What the address of a card begins with that is opened through iommufd.
const BY_IOMMUFD: &str = "iommufd:";

#[cfg(feature = "dpu")]
fn open_dpu(
    address: &str,
    called: &str,
    place: Option<&str>,
) -> Result<Arc<dyn Device>, unlade_dpu::CannotOpen> {
    let mut options = unlade_dpu::Options::default();
    options.name = Some(called.to_owned());
    options.place = place.map(str::to_owned);
    if let Some(path) = address.strip_prefix(AT_SOCKET) {
        return Ok(unlade_dpu::connect(path.as_ref(), &options)?);
    }
    #[cfg(feature = "iommufd")]
    if let Some(address) = address.strip_prefix(BY_IOMMUFD) {
        return Ok(unlade_dpu::open_iommufd(address, &options)?);
    }
    Ok(unlade_dpu::open_pci(address, &options)?)
}

#[cfg(feature = "cpu")]
fn cpu() -> Option<Arc<dyn Device>> {
    Some(Arc::new(unlade_cpu::CpuDevice::new()))
}

#[cfg(not(feature = "cpu"))]
fn cpu() -> Option<Arc<dyn Device>> {
    None
}

#[cfg(feature = "sim")]
fn simulated() -> Option<Arc<dyn Device>> {
    let gpu = unlade_sim_device::Profile::gpu();
    Some(Arc::new(unlade_sim_device::SimDevice::builder(gpu).build()))
}

#[cfg(not(feature = "sim"))]
fn simulated() -> Option<Arc<dyn Device>> {
    None
}

#[cfg(feature = "cuda")]
fn gpus() -> Vec<Arc<dyn Device>> {
    let gpus = unlade_cuda::discover().unwrap_or_default();
    gpus.into_iter().map(|gpu| gpu as Arc<dyn Device>).collect()
}

#[cfg(not(feature = "cuda"))]
fn gpus() -> Vec<Arc<dyn Device>> {
    Vec::new()
}

/// A runtime to be configured, with the devices that are present.
pub fn builder() -> RuntimeBuilder {
    discover()
        .into_iter()
        .fold(Runtime::builder(), RuntimeBuilder::device)
}

/// A runtime with the devices that are present and everything else as it comes.
///
/// # Errors
/// As [`RuntimeBuilder::build`].
pub fn runtime() -> Result<Runtime, Error> {
    builder().build()
}
