//! What the device and its queues share, from one reset to the next.

use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use unlade_hal::{Capabilities, DeviceError, DeviceInfo, DeviceLost, Slab, fork};

use crate::admin::{Admin, Handle};
use crate::controller::Controller;
use crate::dma::DmaMemory;
use crate::fault::Fault;
use crate::identity::Identity;
use crate::mappings::Mappings;
use crate::pair::{Place, vector_of};
use crate::returns::{Returned, Returns};
use crate::transport::CardAccess;

/// What the device is; it stays through resets.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) info: DeviceInfo,
    pub(crate) capabilities: Capabilities,
    pub(crate) identity: Identity,
    /// Whether outputs are compared with checksums of the card.
    pub(crate) checksums: bool,
}

impl About {
    pub(crate) fn lost(&self, reason: String) -> DeviceLost {
        DeviceLost {
            device: self.info.name.clone(),
            reason,
        }
    }
}

/// What is mapped and what is to be given back; both outlive resets.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) mappings: Arc<Mappings>,
    pub(crate) returns: Returns,
}

/// What the device and its queues share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) about: Arc<About>,
    pub(crate) controller: Controller,
    pub(crate) memory: Memory,
    /// How often the device had been reset before.
    pub(crate) generation: u64,
    /// What each vector signals. There are as many queues at once.
    events: Arc<[OwnedFd]>,
    admin: Mutex<Admin>,
    open: Mutex<BTreeSet<u16>>,
    /// How the device was lost: the first reason, which stays.
    lost: OnceLock<DeviceLost>,
    /// Whether the card leaves memory alone, once that has been looked into.
    quiet: Mutex<Option<bool>>,
}

impl Shared {
    pub(crate) fn new(
        about: Arc<About>,
        controller: Controller,
        memory: Memory,
        generation: u64,
        events: Arc<[OwnedFd]>,
        admin: Admin,
    ) -> Self {
        Shared {
            about,
            controller,
            memory,
            generation,
            events,
            admin: Mutex::new(admin),
            open: Mutex::default(),
            lost: OnceLock::new(),
            quiet: Mutex::default(),
        }
    }

    /// An error where the device is lost, or this is a forked child, which has no connection.
    pub(crate) fn check(&self) -> Result<(), DeviceLost> {
        fork::check().map_err(|forked| self.about.lost(forked.to_string()))?;
        self.lost.get().cloned().map_or(Ok(()), Err)
    }

    /// Loses the device; the first reason stays.
    pub(crate) fn lose(&self, fault: &Fault) -> DeviceLost {
        let lost = || self.about.lost(fault.to_string());
        self.lost.get_or_init(lost).clone()
    }

    /// Loses the device for whoever still has something of it, as it is reset.
    pub(crate) fn end(&self) {
        let reset = || {
            self.about
                .lost("it was reset after this was made".to_owned())
        };
        self.lost.get_or_init(reset);
    }

    /// Notes that the card was reset, so that it leaves this generation's memory alone.
    pub(crate) fn end_quiet(&self) {
        *lock(&self.quiet) = Some(true);
    }

    /// Whether the card, which is lost, certainly leaves memory alone. It is made to, once: by a
    /// reset, or where none helps, as of a card that was removed, by taking all memory from it.
    pub(crate) fn is_quiet(&self) -> bool {
        let quiet = || fork::check().is_ok() && (self.controller.silence() || self.cut_off());
        *lock(&self.quiet).get_or_insert_with(quiet)
    }

    /// Takes all memory from the card. Whether it is certain that it reaches none: where it is behind
    /// an IOMMU, the kernel sees to that; what serves one at a socket says so; and where that does
    /// not answer any more, nobody can tell.
    pub(crate) fn cut_off(&self) -> bool {
        let transport = self.controller.transport();
        self.memory.mappings.cut_off(transport).is_ok()
    }

    /// The admin queue. Faults of it lose the device, unless they are harmless.
    pub(crate) fn administer<T>(
        &self,
        what: impl FnOnce(&mut Admin) -> Result<T, Fault>,
    ) -> Result<T, Trouble> {
        let mut admin = self.admin().map_err(Trouble::Lost)?;
        what(&mut admin).map_err(|fault| self.trouble(fault))
    }

    /// The same, of what a card does not refuse: any fault loses the device.
    fn insist<T>(
        &self,
        what: impl FnOnce(&mut Admin) -> Result<T, Fault>,
    ) -> Result<T, DeviceLost> {
        let mut admin = self.admin()?;
        what(&mut admin).map_err(|fault| self.lose(&fault))
    }

    /// The admin queue. Whoever had it before may have lost the device, which the next in line are to
    /// find out before they send commands that nobody answers. So it is lost with this in hand.
    fn admin(&self) -> Result<MutexGuard<'_, Admin>, DeviceLost> {
        let admin = lock(&self.admin);
        self.check()?;
        Ok(admin)
    }

    /// Waits until nobody has the admin queue of this generation in hand, which [has ended](Self::end):
    /// nobody rings its doorbell any more, which is the next generation's, too. Whoever has it sees that
    /// the card is disabled.
    pub(crate) fn leave_admin(&self) {
        drop(lock(&self.admin));
    }

    fn trouble(&self, fault: Fault) -> Trouble {
        match fault.is_harmless() {
            true => Trouble::Harmless(fault),
            false => Trouble::Lost(self.lose(&fault)),
        }
    }

    /// Gives back to the card what was dropped meanwhile.
    pub(crate) fn tidy(&self) -> Result<(), DeviceLost> {
        self.check()?;
        let mut returned = self.memory.returns.take().into_iter();
        while let Some(one) = returned.next() {
            if let Err(lost) = self.give_back(one) {
                returned.for_each(|rest| self.memory.returns.push(rest));
                return Err(lost);
            }
        }
        Ok(())
    }

    fn give_back(&self, returned: Returned) -> Result<(), DeviceLost> {
        match returned {
            Returned::Mapping(iova) => {
                let transport = self.controller.transport();
                let unmapped = self.memory.mappings.unmap(transport, iova);
                unmapped.map_err(|fault| self.lose(&fault))
            }
            Returned::Program { generation, handle } if generation == self.generation => {
                self.insist(|admin| admin.drop_program(handle))
            }
            Returned::Queue {
                generation,
                number,
                remains,
            } => {
                if generation == self.generation {
                    self.delete_pair(number)?;
                }
                // Deleted, or reset since: the card touches nothing of it any more.
                drop(ManuallyDrop::into_inner(remains));
                Ok(())
            }
            // A reset has taken it.
            Returned::Program { .. } => Ok(()),
        }
    }

    /// Memory for the driver's own use.
    pub(crate) fn dma(
        &self,
        len: u64,
        access: CardAccess,
        what: &'static str,
    ) -> Result<DmaMemory, Trouble> {
        let Memory { mappings, returns } = &self.memory;
        let transport = self.controller.transport();
        let memory = DmaMemory::new(mappings, transport, returns, len, access, what);
        memory.map_err(|fault| self.trouble(fault))
    }

    /// Maps a slab.
    pub(crate) fn register(&self, slab: &Slab) -> Result<(), Trouble> {
        let Memory { mappings, returns } = &self.memory;
        let transport = self.controller.transport();
        let domain = self.about.info.domain;
        let mapped = mappings.register(transport, slab, domain, returns);
        mapped.map_err(|fault| self.trouble(fault))
    }

    /// Creates a queue pair, and says which number it has.
    pub(crate) fn create_pair(&self, place: &Place) -> Result<u16, DeviceError> {
        let number = {
            let mut open = lock(&self.open);
            let most = self.about.capabilities.max_queues;
            let free = (1..)
                .take(self.events.len())
                .find(|number| !open.contains(number));
            let number =
                free.ok_or_else(|| DeviceError::Limit(format!("{most} queues are open already")))?;
            open.insert(number);
            number
        };
        match self.administer(|admin| admin.create_pair(number, place)) {
            Ok(()) => Ok(number),
            Err(trouble) => {
                lock(&self.open).remove(&number);
                Err(trouble.into())
            }
        }
    }

    /// What the interrupts of a queue pair signal.
    pub(crate) fn event(&self, number: u16) -> &OwnedFd {
        &self.events[usize::from(vector_of(number))]
    }

    /// Deletes a queue pair: behind it the card touches nothing of the queue. A card that does not is lost.
    pub(crate) fn delete_pair(&self, number: u16) -> Result<(), DeviceLost> {
        self.insist(|admin| admin.delete_pair(number))?;
        lock(&self.open).remove(&number);
        Ok(())
    }

    /// What has a program dropped.
    pub(crate) fn drops(&self, handle: Handle) -> Returned {
        Returned::Program {
            generation: self.generation,
            handle,
        }
    }
}

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The device is as good as before.
    Harmless(Fault),
    /// It is lost.
    Lost(DeviceLost),
}

impl From<Trouble> for DeviceError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Harmless(fault) => DeviceError::Limit(fault.to_string()),
            Trouble::Lost(lost) => DeviceError::Lost(lost),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
