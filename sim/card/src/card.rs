//! A card, without the socket: what the host reaches of it, as methods.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::bytes::{index, length, u32_at};
use crate::config_space::{Layout, SIZE};
use crate::dma::{Dma, Iova, MapError, Permissions, RefusedAccess};
use crate::faults::{Fault, FaultPlan};
use crate::functions::{Functions, NoFunction, PHYSICAL};
use crate::interrupts::InterruptKind;
use crate::profile::{Nanos, Profile};
use crate::state::State;
use crate::worker::work;

/// What kind of card to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The kind of card.
    pub profile: Profile,
    /// Tells cards apart: it is in the serial number.
    pub seed: u64,
    /// What goes wrong.
    pub faults: FaultPlan,
}

impl Default for Config {
    /// A card with everything, on which nothing goes wrong.
    fn default() -> Config {
        Config {
            profile: Profile::full(),
            seed: 1,
            faults: FaultPlan::none(),
        }
    }
}

/// A part of the function that the host reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// Registers and doorbells.
    Bar0,
    /// The MSI-X table and its pending bits.
    Bar4,
    /// Configuration space.
    Config,
}

impl Region {
    /// The region with this index of VFIO; none for those that the card has not.
    pub fn from_index(index: u32) -> Option<Region> {
        match index {
            0 => Some(Region::Bar0),
            4 => Some(Region::Bar4),
            7 => Some(Region::Config),
            _ => None,
        }
    }
}

/// An access that reaches beyond the end of its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes at {offset:#x} end beyond the {size} bytes of {region:?}")]
pub struct BeyondRegion {
    /// The region.
    pub region: Region,
    /// Where the access begins.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
    /// The region's bytes.
    pub size: u64,
}

/// What a card has done since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Jobs that ended with success.
    pub jobs_succeeded: u64,
    /// Jobs that trapped.
    pub jobs_trapped: u64,
    /// Jobs that ended with another status.
    pub jobs_failed: u64,
    /// Bytes of operands that jobs read.
    pub bytes_read: u64,
    /// Bytes of operands, result and checksum blocks that jobs wrote.
    pub bytes_written: u64,
    /// Bytes of those that are result and checksum blocks.
    pub block_bytes_written: u64,
    /// All bytes read by DMA: operands, descriptors, lists, bytecode, submission entries.
    pub bus_read: u64,
    /// All bytes written by DMA, completion entries included.
    pub bus_written: u64,
    /// Messages sent, and rises of INTx.
    pub interrupts: u64,
    /// Accesses that the mapping table refused.
    pub dma_refused: u64,
    /// The first of them.
    pub first_refused: Vec<RefusedAccess>,
    /// What was injected: the job's number, and the fault.
    pub faults: Vec<(u64, Fault)>,
    /// What the host did that it must not, in words.
    pub findings: Vec<String>,
    /// The simulated clock, as TIME has it.
    pub time: Nanos,
    /// Simulated time in which the engine worked.
    pub busy_time: Nanos,
}

/// A card.
///
/// Its work runs on a thread of its own, which ends when the card is dropped.
///
/// ```
/// use unlade_sim_card::{Card, Config, Region};
///
/// let card = Card::start(Config::default());
/// // Memory space enable: until then the BARs do not answer.
/// card.write(Region::Config, 4, &2u16.to_le_bytes())?;
/// let mut magic = [0; 4];
/// card.read(Region::Bar0, 0, &mut magic)?;
/// assert_eq!(&magic, b"UNLD");
/// # Ok::<(), unlade_sim_card::BeyondRegion>(())
/// ```
#[derive(Debug)]
pub struct Card {
    shared: Arc<Shared>,
    layout: Layout,
    seed: u64,
    worker: Option<JoinHandle<()>>,
}

impl Card {
    /// Starts a card.
    ///
    /// # Panics
    /// Where a field of the profile is not what docs/CARD.md, section 13, allows.
    pub fn start(config: Config) -> Card {
        let (layout, seed) = (Layout::new(&config.profile), config.seed);
        let shared = Shared::new(config, PHYSICAL, Arc::default());
        Card::run(shared, layout, seed)
    }

    /// Starts a virtual function, by its number from 1, which has the limits of a profile and the serial
    /// number of this card. It is there as long as the SR-IOV capability of this one says so: until then,
    /// it reads as all ones. Once it is dropped it can be started anew.
    ///
    /// # Errors
    /// Where this is a virtual function itself, has not so many, or that one is started already.
    ///
    /// # Panics
    /// As [`Card::start`]; and where the profile has more queue pairs or vectors than this card, by which
    /// the BARs are laid out.
    ///
    /// ```
    /// use unlade_sim_card::{Card, Config, FaultPlan, NoFunction, Profile, Region};
    ///
    /// let mut config = Config::default();
    /// config.profile.virtual_functions = 2;
    /// let card = Card::start(config);
    /// let one = card.virtual_function(1, Profile::full(), FaultPlan::none())?;
    /// let interrupt_pin = || {
    ///     let mut pin = [0];
    ///     one.read(Region::Config, 0x3D, &mut pin).map(|()| pin[0])
    /// };
    /// assert_eq!(interrupt_pin()?, 0xFF);
    /// card.enable_virtual_functions(2)?;
    /// assert_eq!(interrupt_pin()?, 0);
    /// let third = card.virtual_function(3, Profile::full(), FaultPlan::none());
    /// assert_eq!(third.unwrap_err(), NoFunction::NotSoMany { asked: 3, most: 2 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn virtual_function(
        &self,
        number: u16,
        mut profile: Profile,
        faults: FaultPlan,
    ) -> Result<Card, NoFunction> {
        let (own, functions) = {
            let state = self.shared.lock();
            (Arc::clone(&state.profile), Arc::clone(&state.functions))
        };
        self.check_has(number)?;
        if number == PHYSICAL {
            return Err(NoFunction::Physical);
        }
        let (pairs, vectors) = (own.queue_pairs, own.vectors);
        assert!(
            profile.queue_pairs <= pairs && profile.vectors <= vectors,
            "a virtual function has at most the {pairs} queue pairs and {vectors} vectors of its card"
        );
        profile.virtual_functions = 0;
        profile.doorbell_stride = own.doorbell_stride;
        let mut layout = Layout::new(&profile);
        (layout.bar0, layout.bar4) = (self.layout.bar0, self.layout.bar4);
        let config = Config {
            profile,
            seed: self.seed,
            faults,
        };
        let shared = Shared::new(config, number, Arc::clone(&functions));
        functions.start(number, &shared)?;
        Ok(Card::run(shared, layout, self.seed))
    }

    /// Makes so many virtual functions, as whoever has the physical function does by its SR-IOV
    /// capability, and lets their BARs answer.
    ///
    /// # Errors
    /// Where this is a virtual function itself, or has not so many.
    pub fn enable_virtual_functions(&self, count: u16) -> Result<(), NoFunction> {
        self.check_has(count)?;
        let control = if count == 0 { 0 } else { VF_CONTROL_ON };
        for (offset, value) in [(VF_CONTROL, 0), (NUM_VFS, count), (VF_CONTROL, control)] {
            let written = self.write(Region::Config, offset, &value.to_le_bytes());
            written.expect("the capability is inside of configuration space");
        }
        Ok(())
    }

    /// Whether this is the physical function of at least so many virtual ones.
    fn check_has(&self, asked: u16) -> Result<(), NoFunction> {
        let state = self.shared.lock();
        let most = state.profile.virtual_functions;
        match state.function {
            PHYSICAL if asked <= most => Ok(()),
            PHYSICAL => Err(NoFunction::NotSoMany { asked, most }),
            number => Err(NoFunction::OfVirtual(number)),
        }
    }

    /// Whether it is a virtual function.
    pub(crate) fn is_virtual(&self) -> bool {
        self.shared.lock().function != PHYSICAL
    }

    fn run(shared: Arc<Shared>, layout: Layout, seed: u64) -> Card {
        let worker = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || work(&shared)
        });
        Card {
            shared,
            layout,
            seed,
            worker: Some(worker),
        }
    }

    /// Bytes of a region.
    pub fn region_size(&self, region: Region) -> u64 {
        match region {
            Region::Bar0 => self.layout.bar0,
            Region::Bar4 => self.layout.bar4,
            Region::Config => length(SIZE),
        }
    }

    /// Vectors of MSI-X.
    pub fn vectors(&self) -> u16 {
        self.shared.lock().profile.vectors
    }

    /// Reads a region. Of BAR0 accesses of 4 and 8 aligned bytes give registers, others zeros.
    pub fn read(&self, region: Region, offset: u64, bytes: &mut [u8]) -> Result<(), BeyondRegion> {
        self.check_inside(region, offset, bytes.len())?;
        let state = self.shared.lock();
        let silent = region != Region::Config && !state.memory_space();
        if !state.is_there() || silent {
            bytes.fill(0xFF);
            return Ok(());
        }
        match region {
            Region::Bar0 if register_access(offset, bytes.len()) => {
                for (at, word) in (offset..).step_by(4).zip(bytes.chunks_exact_mut(4)) {
                    word.copy_from_slice(&state.read_register(at).to_le_bytes());
                }
            }
            Region::Bar0 => bytes.fill(0),
            Region::Bar4 => {
                let pending = index(self.layout.pending.into());
                state.interrupts.read(index(offset), bytes, pending);
            }
            Region::Config => state
                .config
                .read(index(offset), bytes, state.interrupt_status()),
        }
        Ok(())
    }

    /// Writes a region. Of BAR0 only accesses of 4 and 8 aligned bytes have an effect. Returns when
    /// the write is done; what it starts, like a job, is not done then, but for a function level
    /// reset, which is, and for admin commands while the card's own thread runs a job.
    pub fn write(&self, region: Region, offset: u64, bytes: &[u8]) -> Result<(), BeyondRegion> {
        self.take_write(region, offset, bytes)?;
        let mut state = self.shared.lock();
        if state.running {
            state.advance_beside_engine();
        }
        drop(state);
        self.shared.notify();
        Ok(())
    }

    /// Writes a region, and leaves what that starts to [`attend`](Self::attend).
    pub(crate) fn take_write(
        &self,
        region: Region,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), BeyondRegion> {
        self.check_inside(region, offset, bytes.len())?;
        let mut state = self.shared.lock();
        let silent = region != Region::Config && !state.memory_space();
        if !state.is_there() || silent {
            return Ok(());
        }
        let mut reset = false;
        match region {
            Region::Bar0 if register_access(offset, bytes.len()) => {
                for (at, word) in (offset..).step_by(4).zip(bytes.chunks_exact(4)) {
                    state.write_register(at, u32_at(word, 0));
                }
            }
            Region::Bar0 => {}
            Region::Bar4 => {
                state.interrupts.write(index(offset), bytes);
                state.send_pending_messages();
            }
            Region::Config => {
                reset = state.config.write(index(offset), bytes);
                state.follow_config();
            }
        }
        let functions = Arc::clone(&state.functions);
        let of_others = region == Region::Config && state.function == PHYSICAL;
        match reset {
            true => self.shared.reset(state),
            false => drop(state),
        }
        if of_others {
            functions.follow();
        }
        Ok(())
    }

    /// Has the card do what was started: on the calling thread what needs no engine, which spares
    /// waking another for it, and jobs on the card's own.
    pub(crate) fn attend(&self) {
        let mut state = self.shared.lock();
        // While the engine runs no job is fetched; what is behind it looks again.
        if state.running {
            return state.advance_beside_engine();
        }
        state.advance();
        let rests = state.pending.is_empty() && state.held.is_empty();
        drop(state);
        if !rests {
            self.shared.notify();
        }
    }

    /// Lets the card reach a range of IOVAs, which lies in a file from an offset on. A range
    /// without a file is known, and cannot be reached.
    pub fn map(
        &self,
        iova: Iova,
        length: u64,
        file: Option<File>,
        offset: u64,
        permissions: Permissions,
    ) -> Result<(), MapError> {
        let dma = &self.shared.dma;
        let mapped = dma.map(iova, length, file, offset, permissions);
        if let Err(error) = &mapped {
            // A host at a socket is told a number and no more.
            self.shared.lock().find(format!("DMA_MAP: {error}"));
        }
        mapped
    }

    /// Takes mappings out. When it returns, the card does not touch their memory any more.
    pub fn unmap(&self, iova: Iova, length: u64) -> Result<(), MapError> {
        self.shared.dma.unmap(iova, length)
    }

    /// Takes all mappings out.
    pub fn unmap_all(&self) {
        self.shared.dma.unmap_all();
    }

    /// How many ranges are mapped at the moment.
    pub fn mapped_ranges(&self) -> usize {
        self.shared.dma.mapped_ranges()
    }

    /// Sets the eventfds of vectors, from one on; none takes a vector's eventfd back. Like a host's
    /// kernel, it enables the kind of interrupt and unmasks the vectors that have an eventfd.
    /// Returns false where there are no such vectors, and has done nothing then.
    pub fn set_events(&self, kind: InterruptKind, first: usize, events: Vec<Option<File>>) -> bool {
        let mut state = self.shared.lock();
        let vectors = match kind {
            InterruptKind::Msix => usize::from(state.profile.vectors),
            InterruptKind::Intx => usize::from(state.function == PHYSICAL),
            InterruptKind::Msi => 1,
        };
        if first
            .checked_add(events.len())
            .is_none_or(|end| end > vectors)
        {
            return false;
        }
        let on = events.iter().any(Option::is_some);
        for (vector, event) in (first..).zip(events) {
            state.interrupts.set_event(kind, vector, event);
        }
        if on {
            state.enable_messages(kind, true);
        }
        state.follow_config();
        true
    }

    /// Takes back all eventfds of a kind of interrupt, and disables it.
    pub fn clear_events(&self, kind: InterruptKind) {
        let mut state = self.shared.lock();
        let mut vector = 0;
        while state.interrupts.set_event(kind, vector, None) {
            vector += 1;
        }
        state.enable_messages(kind, false);
        state.follow_config();
    }

    /// The host has handled INTx: its eventfd is signalled again where the line is still asserted.
    pub fn unmask_intx(&self) {
        self.shared.lock().interrupts.unmask_line();
    }

    /// Surprise removal: everything reads as all ones from here on, and the card does nothing more.
    /// It does not come back.
    pub fn remove(&self) {
        let functions = {
            let mut state = self.shared.lock();
            state.remove();
            Arc::clone(&state.functions)
        };
        self.shared.notify();
        // With the physical function all others are gone.
        functions.follow();
    }

    /// A function level reset. When it returns, the card is quiet.
    pub fn reset(&self) {
        let is_physical = !self.is_virtual();
        let functions = Arc::clone(&self.shared.lock().functions);
        if is_physical {
            // It ends the virtual ones, one of which may have the engine.
            functions.abandon(true);
        }
        self.shared.reset(self.shared.lock());
        self.shared.notify();
        if is_physical {
            functions.follow();
        }
    }

    /// The host is gone: a function level reset, and neither mappings nor eventfds are left.
    pub fn disconnect(&self) {
        self.reset();
        self.unmap_all();
        self.shared.lock().interrupts.disconnect();
    }

    /// What the card has done so far.
    pub fn counters(&self) -> Counters {
        let traffic = self.shared.dma.traffic();
        let state = self.shared.lock();
        let refused = traffic.first_refused.iter().map(|access| {
            let verb = if access.write { "write" } else { "read" };
            format!(
                "the card was to {verb} {} bytes at IOVA {:#x}, which is not mapped for it",
                access.length, access.iova.0
            )
        });
        Counters {
            jobs_succeeded: state.logs.succeeded,
            jobs_trapped: state.logs.trapped,
            jobs_failed: state.logs.failed,
            bytes_read: state.logs.bytes_read,
            bytes_written: state.logs.bytes_written + state.block_bytes,
            block_bytes_written: state.block_bytes,
            bus_read: traffic.read,
            bus_written: traffic.written,
            interrupts: state.interrupts.sent,
            dma_refused: traffic.refused,
            findings: state.findings.iter().cloned().chain(refused).collect(),
            first_refused: traffic.first_refused,
            faults: state.injected.clone(),
            time: state.clock,
            busy_time: state.busy_time,
        }
    }

    fn check_inside(&self, region: Region, offset: u64, bytes: usize) -> Result<(), BeyondRegion> {
        let (length, size) = (length(bytes), self.region_size(region));
        match offset.checked_add(length) {
            Some(end) if end <= size => Ok(()),
            _ => Err(BeyondRegion {
                region,
                offset,
                length,
                size,
            }),
        }
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        self.reset();
        self.shared.lock().stop = true;
        self.shared.notify();
        if let Some(worker) = self.worker.take() {
            // One that panicked has nothing to tell that its panic has not told.
            let _ = worker.join();
        }
        let (functions, number) = {
            let state = self.shared.lock();
            (Arc::clone(&state.functions), state.function)
        };
        functions.end(number);
    }
}

/// What the host's side and the card's thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    dma: Arc<Dma>,
}

impl Shared {
    fn new(config: Config, function: u16, functions: Arc<Functions>) -> Arc<Shared> {
        config.profile.assert_legal();
        let dma = Arc::new(Dma::default());
        let state = State::new(config, function, functions, Arc::clone(&dma));
        Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            dma,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// A function level reset. When it returns, the function is quiet.
    pub(crate) fn reset(&self, mut state: MutexGuard<'_, State>) {
        state.registers.enabled = false;
        state.abandon();
        while state.running {
            state = self.wait(state, None);
        }
        state.end_function_reset();
    }

    /// Waits for a change, or until a moment.
    pub(crate) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        match until {
            None => self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let time = until.saturating_duration_since(Instant::now());
                let waited = self.changed.wait_timeout(state, time);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}

/// Where the SR-IOV capability has its control register and NumVFs, and what the first is where there are
/// virtual functions: VF Enable and VF MSE.
const VF_CONTROL: u64 = 0x108;
const NUM_VFS: u64 = 0x110;
const VF_CONTROL_ON: u16 = 1 << 0 | 1 << 3;

/// Whether an access to BAR0 is one that registers take.
fn register_access(offset: u64, bytes: usize) -> bool {
    matches!(bytes, 4 | 8) && offset.is_multiple_of(length(bytes))
}
