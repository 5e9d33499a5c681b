//! Which pages the card reaches, and where: one table for each connection.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use unlade_hal::{DeviceAddr, DomainId, HostPages, PageSize, Slab};

use crate::fault::Fault;
use crate::iova::{Iova, IovaSpace};
use crate::returns::{Returned, Returns};
use crate::transport::{CardAccess, Transport, TransportError};

/// Most mappings at once: as many as Linux allows a VFIO container unless told otherwise.
const MAX_MAPPINGS: usize = 65_535;

/// The table.
#[derive(Debug)]
pub(crate) struct Mappings {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    space: IovaSpace,
    mapped: BTreeMap<Iova, Mapped>,
    /// Whether the card is to reach nothing, until all is mapped again.
    is_cut_off: bool,
}

#[derive(Debug)]
struct Mapped {
    pages: Arc<HostPages>,
    access: CardAccess,
    /// Whether the card reaches them: all do, but while it is cut off.
    is_reached: bool,
}

impl Mappings {
    /// Nothing mapped yet; addresses have so many bits, and are none of the host's reserved ones.
    pub(crate) fn new(address_bits: u32, reserved: &[Range<Iova>]) -> Self {
        let state = State {
            space: IovaSpace::new(address_bits, reserved),
            mapped: BTreeMap::new(),
            is_cut_off: false,
        };
        Mappings {
            state: Mutex::new(state),
        }
    }

    /// Maps pages wherever there is room; the purpose is for errors.
    pub(crate) fn map(
        &self,
        transport: &dyn Transport,
        pages: &Arc<HostPages>,
        access: CardAccess,
        what: &'static str,
    ) -> Result<Iova, Fault> {
        self.state().map(transport, pages, access, what)
    }

    /// Maps a slab and notes on it where it is; once is enough.
    pub(crate) fn register(
        &self,
        transport: &dyn Transport,
        slab: &Slab,
        domain: DomainId,
        returns: &Returns,
    ) -> Result<(), Fault> {
        let mut state = self.state();
        let (None, Some(pages)) = (slab.address(domain), slab.pages()) else {
            return Ok(());
        };
        let iova = state.map(transport, pages, CardAccess::ReadWrite, "a slab")?;
        let keep = returns.on_drop(Returned::Mapping(iova));
        // Before anybody else looks whether it is mapped.
        slab.set_address(domain, DeviceAddr(iova.0), Some(keep));
        Ok(())
    }

    /// Takes a mapping back. The addresses are used again only if the card has let go of them.
    pub(crate) fn unmap(&self, transport: &dyn Transport, iova: Iova) -> Result<(), Fault> {
        let mut state = self.state();
        let Some(mapped) = state.mapped.get(&iova) else {
            return Ok(());
        };
        if mapped.is_reached {
            transport.unmap(iova, mapped.pages.len())?;
        }
        state.mapped.remove(&iova);
        state.space.release(iova);
        Ok(())
    }

    /// Takes everything from the card, for as long as it is not mapped again. Where that succeeds,
    /// the card reaches no memory any more.
    pub(crate) fn cut_off(&self, transport: &dyn Transport) -> Result<(), TransportError> {
        let mut state = self.state();
        state.is_cut_off = true;
        let reached = state.mapped.iter_mut().filter(|(_, one)| one.is_reached);
        for (iova, one) in reached {
            transport.unmap(*iova, one.pages.len())?;
            one.is_reached = false;
        }
        Ok(())
    }

    /// Notes that the connection has ended on which things were mapped: nothing is on the next.
    pub(crate) fn connection_ended(&self) {
        let mut state = self.state();
        state.is_cut_off = true;
        let all = state.mapped.values_mut();
        all.for_each(|one| one.is_reached = false);
    }

    /// Maps again, where it was, what the card does not reach.
    pub(crate) fn map_again(&self, transport: &dyn Transport) -> Result<(), TransportError> {
        let mut state = self.state();
        let missing = state.mapped.iter_mut().filter(|(_, one)| !one.is_reached);
        for (iova, one) in missing {
            transport.map(*iova, &one.pages, one.access)?;
            one.is_reached = true;
        }
        state.is_cut_off = false;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn map(
        &mut self,
        transport: &dyn Transport,
        pages: &Arc<HostPages>,
        access: CardAccess,
        what: &'static str,
    ) -> Result<Iova, Fault> {
        let memory = |why: String| Fault::Memory { what, why };
        if self.is_cut_off {
            return Err(memory("the card was cut off from memory".to_owned()));
        }
        if self.space.count() >= MAX_MAPPINGS {
            return Err(memory(format!("{MAX_MAPPINGS} slabs are mapped already")));
        }
        let len = pages.len();
        let iova = self.space.allocate(len);
        let iova = iova.ok_or_else(|| memory(format!("no {len} addresses are free")))?;
        if let Err(error) = transport.map(iova, pages, access) {
            self.space.release(iova);
            return Err(match error {
                TransportError::Refused { number, .. } if refuses_pages(number, pages) => {
                    Fault::HugePages(number)
                }
                TransportError::Refused { .. } | TransportError::CannotMap(_) => {
                    memory(error.to_string())
                }
                other => other.into(),
            });
        }
        let pages = Arc::clone(pages);
        let one = Mapped {
            pages,
            access,
            is_reached: true,
        };
        self.mapped.insert(iova, one);
        Ok(iova)
    }
}

/// Whether an error number of a refusal may be about the size of pages: a server that does not know
/// huge ones takes them for no memory that it can map, or for an argument that is wrong.
fn refuses_pages(number: u32, pages: &HostPages) -> bool {
    let refusals = [Errno::OPNOTSUPP, Errno::INVAL];
    let of_them = |errno: &Errno| errno.raw_os_error().cast_unsigned() == number;
    pages.page_size() == PageSize::Huge && refusals.iter().any(of_them)
}
