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
}

#[derive(Debug)]
struct Mapped {
    pages: Arc<HostPages>,
    access: CardAccess,
}

impl Mappings {
    /// Nothing mapped yet; addresses have so many bits, and are none of the host's reserved ones.
    pub(crate) fn new(address_bits: u32, reserved: &[Range<Iova>]) -> Self {
        let state = State {
            space: IovaSpace::new(address_bits, reserved),
            mapped: BTreeMap::new(),
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
        transport.unmap(iova, mapped.pages.len())?;
        state.mapped.remove(&iova);
        state.space.release(iova);
        Ok(())
    }

    /// Maps everything again, where it was, on a new connection.
    pub(crate) fn map_again(&self, transport: &dyn Transport) -> Result<(), TransportError> {
        let state = self.state();
        state
            .mapped
            .iter()
            .try_for_each(|(iova, mapped)| transport.map(*iova, &mapped.pages, mapped.access))
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
        self.mapped.insert(iova, Mapped { pages, access });
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
