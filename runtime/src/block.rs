//! Memory being filled, on its way to becoming an Arrow buffer.

use arrow_buffer::{Buffer, MutableBuffer};
use unlade_hal::Lease;

use crate::error::Error;
use crate::pool::{Session, Use};

/// Up to this many bytes come from the allocator: its small size classes are faster than any
/// pool, and a lease for each block would waste what a lease costs beyond its bytes.
const SMALL: usize = 4 << 10;

/// What blocks that share memory begin at a multiple of: a cache line, as Arrow recommends.
const ALIGNMENT: usize = 64;

/// Which part of the reserve results may take before blocks are cut to what is used of them: an
/// eighth.
const WHOLE: u64 = 8;

/// Where blocks come from.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    session: Session,
    /// Of memory that devices reach: another pool's where they are not trusted.
    within_reach: Session,
    /// Bytes that may be out with the caller before blocks are cut.
    keep_whole: u64,
}

impl Memory {
    pub(crate) fn new(session: Session, within_reach: Session) -> Self {
        let reserve = session.pool().reserve().map_or(0, |slab| slab.len());
        Memory {
            session,
            within_reach,
            keep_whole: reserve / WHOLE,
        }
    }

    /// A pool's, all of which devices reach.
    #[cfg(test)]
    pub(crate) fn of(pool: &crate::pool::Pool) -> Self {
        let session = pool.session("test", u64::MAX);
        Memory::new(session.clone(), session)
    }

    /// Leases memory of the host.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Leases memory that devices reach.
    pub(crate) fn within_reach(&self) -> &Session {
        &self.within_reach
    }

    /// Bytes held, results not yet dropped included.
    pub(crate) fn held(&self) -> u64 {
        let shared = self.session.is_same(&self.within_reach);
        let reached = (!shared).then(|| self.within_reach.held());
        self.session.held() + reached.unwrap_or(0)
    }

    /// Nobody waits for memory of it any more; see [`Session::give_up`].
    pub(crate) fn give_up(&self) {
        self.session.give_up();
        self.within_reach.give_up();
    }

    /// Initialised memory of at least `len` bytes, aligned for every type of Arrow's.
    pub(crate) fn block(&self, len: usize) -> Result<Block<'_>, Error> {
        if len <= SMALL {
            return Ok(Block::Small(small(len)));
        }
        let lease = self.session.lease(len as u64)?;
        Ok(Block::Leased(lease, self))
    }

    /// The same bytes in a block.
    pub(crate) fn copy(&self, bytes: &[u8]) -> Result<Buffer, Error> {
        let mut block = self.block(bytes.len())?;
        block.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        Ok(block.freeze(bytes.len()))
    }

    /// A block of each of these sizes: pieces of one allocation where all are small together, which
    /// then lives as long as the last of them.
    pub(crate) fn blocks<'a>(&'a self, sizes: &'a [usize]) -> Result<Blocks<'a>, Error> {
        let total = sizes.iter().map(|size| room(*size)).sum();
        if total <= SMALL {
            return Ok(Blocks::Shared {
                all: small(total),
                sizes,
            });
        }
        let own = sizes.iter().map(|size| self.block(*size));
        Ok(Blocks::Own(own.collect::<Result<_, Error>>()?))
    }
}

/// Zeros from the allocator, at least `len` bytes. Their alignment is that of the widest value:
/// allocators take several times as long to align to more.
fn small(len: usize) -> MutableBuffer {
    MutableBuffer::from(vec![0i128; len.div_ceil(size_of::<i128>())])
}

/// Memory being filled.
#[derive(Debug)]
pub(crate) enum Block<'m> {
    /// From the allocator.
    Small(MutableBuffer),
    /// From the pool.
    Leased(Lease, &'m Memory),
}

impl Block<'_> {
    /// All of it.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Block::Small(buffer) => buffer.as_slice_mut(),
            Block::Leased(lease, _) => lease.bytes_mut().expect("blocks are host memory"),
        }
    }

    /// The first `len` bytes as a buffer.
    ///
    /// The rest goes back at once only where it is most of the block and the caller has much memory
    /// out, because it keeps results: cutting costs more than a small batch does, and a block that
    /// soon comes back whole serves the next batch as it is.
    pub(crate) fn freeze(self, len: usize) -> Buffer {
        match self {
            Block::Small(mut buffer) => {
                debug_assert!(len <= buffer.len());
                buffer.truncate(len);
                buffer.into()
            }
            Block::Leased(mut lease, memory) => {
                let session = &memory.session;
                if (len as u64) < lease.len() / 2 && session.exported() >= memory.keep_whole {
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

/// What a block of `size` bytes takes of memory that it shares with others.
fn room(size: usize) -> usize {
    size.next_multiple_of(ALIGNMENT)
}

/// Several blocks being filled at once. They are walked in the order in which they were asked for.
#[derive(Debug)]
pub(crate) enum Blocks<'a> {
    /// Pieces of one allocation, one behind the other.
    Shared {
        all: MutableBuffer,
        sizes: &'a [usize],
    },
    /// Each for itself.
    Own(Vec<Block<'a>>),
}

impl<'a> Blocks<'a> {
    /// The memory of one after the other, to be written.
    pub(crate) fn pieces(&mut self) -> Pieces<'_, 'a> {
        match self {
            Blocks::Shared { all, sizes } => Pieces::Shared {
                rest: all.as_slice_mut(),
                sizes: sizes.iter(),
            },
            Blocks::Own(blocks) => Pieces::Own(blocks.iter_mut()),
        }
    }

    /// One after the other as a buffer.
    pub(crate) fn freeze(self) -> Filled<'a> {
        match self {
            Blocks::Shared { all, sizes } => Filled::Shared {
                all: all.into(),
                at: 0,
                sizes: sizes.iter(),
            },
            Blocks::Own(blocks) => Filled::Own(blocks.into_iter()),
        }
    }
}

/// What is left of [`Blocks`] to be written.
pub(crate) enum Pieces<'p, 'a> {
    Shared {
        rest: &'p mut [u8],
        sizes: std::slice::Iter<'a, usize>,
    },
    Own(std::slice::IterMut<'p, Block<'a>>),
}

impl<'p> Pieces<'p, '_> {
    /// The next one, of at least the size that was asked for.
    pub(crate) fn next(&mut self) -> &'p mut [u8] {
        match self {
            Pieces::Shared { rest, sizes } => {
                let size = sizes.next().expect("a piece per size");
                let (piece, behind) = std::mem::take(rest).split_at_mut(room(*size));
                *rest = behind;
                piece
            }
            Pieces::Own(blocks) => blocks.next().expect("a block per size").bytes_mut(),
        }
    }
}

/// What is left of [`Blocks`] that have been written.
pub(crate) enum Filled<'a> {
    Shared {
        all: Buffer,
        at: usize,
        sizes: std::slice::Iter<'a, usize>,
    },
    Own(std::vec::IntoIter<Block<'a>>),
}

impl Filled<'_> {
    /// The first `used` bytes of the next one.
    pub(crate) fn next(&mut self, used: usize) -> Buffer {
        match self {
            Filled::Shared { all, at, sizes } => {
                let buffer = all.slice_with_length(*at, used);
                *at += room(*sizes.next().expect("a piece per size"));
                buffer
            }
            Filled::Own(blocks) => blocks.next().expect("a block per size").freeze(used),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Pool, PoolOptions};

    #[test]
    fn blocks_are_apart_aligned_and_cut_to_what_was_written() {
        let pool = Pool::new(&PoolOptions::default()).unwrap();
        let memory = Memory::of(&pool);
        for sizes in [[100, 1, 64], [5000, 10, 70_000]] {
            let mut blocks = memory.blocks(&sizes).unwrap();
            let mut pieces = blocks.pieces();
            for (fill, size) in (1..).zip(sizes) {
                pieces.next()[..size].fill(fill);
            }
            let mut filled = blocks.freeze();
            let buffers: Vec<Buffer> = sizes.map(|size| filled.next(size / 2)).to_vec();
            for ((fill, size), buffer) in (1..).zip(sizes).zip(&buffers) {
                assert_eq!(buffer.as_slice(), vec![fill; size / 2]);
                assert_eq!(buffer.as_ptr().align_offset(align_of::<i128>()), 0);
            }
        }
    }

    #[test]
    fn blocks_are_cut_once_much_is_out() {
        let reserve = 8 << 20;
        let pool = Pool::new(&PoolOptions {
            reserve,
            ..PoolOptions::default()
        });
        let pool = pool.unwrap();
        let memory = Memory::of(&pool);
        let little = || memory.block(64 << 10).unwrap().freeze(100);
        let mut kept = vec![little()];
        assert_eq!(pool.status().leased, 64 << 10);
        drop(kept.pop());
        // Without an end to what is kept, all of it is a few bytes more than what must stay whole.
        kept.extend((0..1000).map(|_| little()));
        let whole = reserve / WHOLE;
        assert!((whole..whole + (512 << 10)).contains(&pool.status().leased));
    }
}
