//! Memory being filled, on its way to becoming an Arrow buffer.

use arrow_buffer::{Buffer, MutableBuffer};
use unlade_hal::Lease;

use crate::error::Error;
use crate::pool::{Session, Use};

/// Blocks up to this many bytes come from the allocator: its small size classes are faster than
/// any pool, and a lease for each would waste what a lease costs beyond its bytes.
const SMALL: usize = 4 << 10;

/// Where blocks come from.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    session: Session,
}

impl Memory {
    pub(crate) fn new(session: Session) -> Self {
        Memory { session }
    }

    /// The pool's session.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Initialised memory of at least `len` bytes, aligned to 64.
    pub(crate) fn block(&self, len: usize) -> Result<Block, Error> {
        if len <= SMALL {
            return Ok(Block::Small(MutableBuffer::from_len_zeroed(len)));
        }
        let lease = self.session.lease(len as u64)?;
        Ok(Block::Leased(lease, self.session.clone()))
    }
}

/// Memory being filled.
#[derive(Debug)]
pub(crate) enum Block {
    /// From the allocator.
    Small(MutableBuffer),
    /// From the pool.
    Leased(Lease, Session),
}

impl Block {
    /// All of it.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Block::Small(buffer) => buffer.as_slice_mut(),
            Block::Leased(lease, _) => lease.bytes_mut().expect("blocks are host memory"),
        }
    }

    /// The first `len` bytes as a buffer; the rest goes back.
    pub(crate) fn freeze(self, len: usize) -> Buffer {
        match self {
            Block::Small(mut buffer) => {
                debug_assert!(len <= buffer.len());
                buffer.truncate(len);
                buffer.into()
            }
            Block::Leased(mut lease, session) => {
                if (len as u64) < lease.len() / 2 {
                    // Whole cache lines stay, so that what goes back begins aligned.
                    let kept = (len as u64).next_multiple_of(64).min(lease.len());
                    drop(lease.shrink_to(kept));
                }
                let lease = session.mark(lease, Use::Exported);
                lease
                    .freeze(len)
                    .expect("blocks are host memory of at least this length")
            }
        }
    }
}
