//! Everything that a function knows, behind one lock: the host's accesses and the card's own work
//! take turns at it, but no job runs while it is held.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::bytecode::Program;
use crate::card::Config;
use crate::config_space::ConfigSpace;
use crate::dma::{Dma, Iova};
use crate::faults::{Fault, FaultPlan};
use crate::functions::{Enabled, Functions, PHYSICAL};
use crate::interrupts::{InterruptKind, Interrupts};
use crate::logs::Logs;
use crate::profile::{Nanos, Profile};
use crate::queues::{ADMIN, Completion, Lie, Pair, SQE};
use crate::registers::Registers;
use crate::status::{Outcome, Status};

/// Most findings that are kept.
const MAX_FINDINGS: usize = 64;

/// Programs by handle. Jobs keep those of the moment in which they were fetched.
pub(crate) type Programs = Arc<HashMap<u32, Arc<Program>>>;

/// The state of a function.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) profile: Arc<Profile>,
    /// Its number: 0 is the physical one.
    pub(crate) function: u16,
    /// Those of the same card.
    pub(crate) functions: Arc<Functions>,
    pub(crate) dma: Arc<Dma>,
    pub(crate) config: ConfigSpace,
    pub(crate) registers: Registers,
    pub(crate) interrupts: Interrupts,
    pub(crate) queues: BTreeMap<u16, Pair>,
    pub(crate) programs: Programs,
    pub(crate) next_handle: u32,
    pub(crate) settings: Settings,
    pub(crate) logs: Logs,
    /// The simulated clock.
    pub(crate) clock: Nanos,
    /// Time in which the engine worked.
    pub(crate) busy_time: Nanos,
    /// Bytes of result and checksum blocks that jobs wrote.
    pub(crate) block_bytes: u64,
    pub(crate) faults: FaultPlan,
    pub(crate) injected: Vec<(u64, Fault)>,
    /// What the host did that it must not.
    pub(crate) findings: Vec<String>,
    /// Number of the job that was fetched last.
    pub(crate) job: u64,
    /// Jobs that were fetched and have not begun.
    pub(crate) pending: VecDeque<FetchedJob>,
    /// An admin command that was fetched while a job ran, and is done when that has ended.
    pub(crate) awaits_engine: Option<[u8; SQE]>,
    /// Programs dropped whose jobs have not all ended.
    pub(crate) drops: Vec<PendingDrop>,
    /// What a fault holds back.
    pub(crate) held: Vec<Held>,
    /// Whether a job runs, without the lock.
    pub(crate) running: bool,
    /// Counts resets: a job of before one is not completed after it.
    pub(crate) epoch: u64,
    /// A fault: doorbells of I/O queues are ignored.
    pub(crate) stuck: bool,
    /// A fault: lengths of log pages are said wrongly.
    pub(crate) huge_lengths: bool,
    /// A fault: headers of log pages say too much.
    pub(crate) huge_lists: bool,
    /// A fault: so does the next IDENTIFY.
    pub(crate) huge_identity: bool,
    /// A fault: the card is gone.
    pub(crate) removed: bool,
    /// The card's thread is to end.
    pub(crate) stop: bool,
}

/// What SET_FEATURES sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Millidegrees Celsius.
    pub(crate) temperature_warning: i32,
    /// 0 for none.
    pub(crate) job_time_limit_ms: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            temperature_warning: 85_000,
            job_time_limit_ms: 0,
        }
    }
}

/// A job on its way to the engine.
#[derive(Debug)]
pub(crate) struct FetchedJob {
    pub(crate) number: u64,
    pub(crate) queue: u16,
    pub(crate) entry: [u8; SQE],
    pub(crate) fetched: Nanos,
    pub(crate) programs: Programs,
    pub(crate) fault: Option<Fault>,
}

impl FetchedJob {
    pub(crate) fn command_id(&self) -> u16 {
        crate::bytes::u16_at(&self.entry, 2)
    }
}

/// A DROP_PROGRAM that completes when all jobs up to a number have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingDrop {
    pub(crate) command_id: u16,
    pub(crate) after_job: u64,
}

/// What a fault does later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) queue: u16,
    pub(crate) due: Instant,
    pub(crate) what: HeldWork,
}

/// What is held.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HeldWork {
    /// A completion; it may be due earlier, with the next one of its queue.
    Completion {
        completion: Completion,
        behind_next: bool,
    },
    /// A byte of memory is inverted.
    Change(Iova),
}

impl State {
    pub(crate) fn new(
        config: Config,
        function: u16,
        functions: Arc<Functions>,
        dma: Arc<Dma>,
    ) -> State {
        let Config {
            profile,
            seed,
            faults,
        } = config;
        let profile = Arc::new(profile);
        State {
            config: ConfigSpace::new(&profile, function),
            registers: Registers::default(),
            interrupts: Interrupts::new(profile.vectors),
            queues: BTreeMap::new(),
            programs: Programs::default(),
            next_handle: 1,
            settings: Settings::default(),
            logs: Logs::new(seed),
            clock: Nanos(0),
            busy_time: Nanos(0),
            block_bytes: 0,
            faults,
            injected: Vec::new(),
            findings: Vec::new(),
            job: 0,
            pending: VecDeque::new(),
            awaits_engine: None,
            drops: Vec::new(),
            held: Vec::new(),
            running: false,
            epoch: 0,
            stuck: false,
            huge_lengths: false,
            huge_lists: false,
            huge_identity: false,
            removed: false,
            stop: false,
            profile,
            function,
            functions,
            dma,
        }
    }

    /// Whether it is seen: neither removed, nor a virtual function that is not enabled.
    pub(crate) fn is_there(&self) -> bool {
        !self.removed && self.functions.has(self.function)
    }

    /// Whether its BARs answer.
    pub(crate) fn memory_space(&self) -> bool {
        match self.function {
            PHYSICAL => self.config.memory_space(),
            _ => self.functions.memory(),
        }
    }

    /// Whether the card may do work of its own.
    pub(crate) fn works(&self) -> bool {
        let registers = &self.registers;
        registers.ready
            && registers.reason == 0
            && registers.enabled
            && self.is_there()
            && self.config.bus_master()
    }

    /// Notes what the host did and must not do.
    pub(crate) fn find(&mut self, finding: String) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// Stops by itself: nothing is fetched or posted any more until a reset.
    pub(crate) fn fatal(&mut self, reason: u8) {
        if self.registers.reason == 0 {
            self.registers.reason = reason;
            self.logs.fatal(reason, self.clock);
        }
    }

    /// The card is gone, whatever it was doing.
    pub(crate) fn remove(&mut self) {
        self.removed = true;
        self.abandon();
        if self.function == PHYSICAL {
            self.functions.enable(Enabled::default());
        }
        self.update_line();
    }

    /// Completes a command of a queue, which may be gone by now.
    pub(crate) fn complete(&mut self, queue: u16, command_id: u16, outcome: Outcome) {
        if outcome.status != Status::Success {
            self.logs.error(queue, command_id, outcome, self.clock);
        }
        self.post(
            queue,
            Completion {
                command_id,
                outcome,
                lie: Lie::None,
            },
        );
    }

    /// Posts a completion as it is, and those that a fault holds back until it was.
    pub(crate) fn post(&mut self, queue: u16, completion: Completion) {
        let Some(pair) = self.queues.get_mut(&queue) else {
            return;
        };
        pair.complete(completion);
        let follows = |held: &mut Held| {
            let behind = matches!(
                held.what,
                HeldWork::Completion {
                    behind_next: true,
                    ..
                }
            );
            behind && held.queue == queue
        };
        for held in self.held.extract_if(.., follows) {
            if let HeldWork::Completion { completion, .. } = held.what {
                pair.complete(completion);
            }
        }
        self.flush(queue);
    }

    /// Writes the completions of a queue for which there is room, and interrupts.
    pub(crate) fn flush(&mut self, queue: u16) {
        if !self.works() {
            return;
        }
        let Some(pair) = self.queues.get_mut(&queue) else {
            return;
        };
        match pair.post(&self.dma) {
            Ok(0) => {}
            Ok(_) => {
                if let Some(vector) = pair.vector {
                    self.interrupt(vector);
                }
            }
            Err(_) => self.fatal(4),
        }
    }

    /// Tells of completions of a vector, by the kind of interrupt that is enabled.
    fn interrupt(&mut self, vector: u16) {
        let masked = vector >= 32 || self.registers.interrupt_mask >> vector & 1 == 1;
        if self.config.msix_enabled() {
            let may_send = !self.config.msix_masked();
            self.interrupts.raise_msix(vector, may_send);
        } else if self.config.msi_enabled() && !masked {
            self.interrupts.raise_msi();
        }
        self.update_line();
    }

    /// INTS: the vectors below 32 that have something to say.
    pub(crate) fn news(&self) -> u32 {
        let news = self.queues.values().filter(|pair| pair.has_news());
        let vectors = news
            .filter_map(|pair| pair.vector)
            .filter(|&vector| vector < 32);
        vectors.fold(0, |bits, vector| bits | 1 << vector)
    }

    /// Interrupt status: whether INTx, which virtual functions have not, would be asserted but for the
    /// interrupt disable bit.
    pub(crate) fn interrupt_status(&self) -> bool {
        self.function == PHYSICAL && self.news() & !self.registers.interrupt_mask != 0
    }

    pub(crate) fn update_line(&mut self) {
        let messages = self.config.msix_enabled() || self.config.msi_enabled();
        let asserted = !messages && !self.config.interrupt_disable() && self.interrupt_status();
        self.interrupts.set_line(asserted && !self.removed);
    }

    /// Follows a change of configuration space: the gate of the bus master bit, and messages that
    /// may be sent now.
    pub(crate) fn follow_config(&mut self) {
        self.dma.set_bus_master(self.config.bus_master());
        if self.function == PHYSICAL {
            self.functions.enable(self.config.virtual_functions());
        }
        self.send_pending_messages();
        self.update_line();
    }

    /// Turns MSI or MSI-X on or off in configuration space.
    pub(crate) fn enable_messages(&mut self, kind: InterruptKind, on: bool) {
        match kind {
            InterruptKind::Intx => {}
            InterruptKind::Msi => self.config.enable_msi(on),
            InterruptKind::Msix => self.config.enable_msix(on),
        }
    }

    pub(crate) fn send_pending_messages(&mut self) {
        let config = &self.config;
        if config.msix_enabled() && !config.msix_masked() && config.bus_master() {
            self.interrupts.send_pending();
        }
    }

    /// When the next of what a fault holds back is due, if the card can do it then.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let due = self.held.iter().map(|held| held.due).min();
        due.filter(|_| self.works())
    }

    /// Does what a fault holds back and that is due.
    pub(crate) fn release_held(&mut self, now: Instant) {
        if !self.works() {
            return;
        }
        let due: Vec<Held> = self.held.extract_if(.., |held| held.due <= now).collect();
        for held in due {
            match held.what {
                HeldWork::Completion { completion, .. } => self.post(held.queue, completion),
                HeldWork::Change(iova) => {
                    let mut byte = [0];
                    // Of a byte that is not mapped any more nothing changes, which is the point.
                    if self.dma.read(iova, &mut byte).is_ok() {
                        let _ = self.dma.write(iova, &[!byte[0]]);
                    }
                }
            }
        }
    }

    /// Completes the drops whose jobs have all ended.
    pub(crate) fn finish_drops(&mut self) {
        let oldest = self
            .pending
            .iter()
            .map(|job| job.number)
            .min()
            .unwrap_or(u64::MAX);
        let ended: Vec<PendingDrop> = self
            .drops
            .extract_if(.., |drop| drop.after_job < oldest)
            .collect();
        for drop in ended {
            self.complete(ADMIN, drop.command_id, Outcome::success(0, 0));
        }
    }
}
