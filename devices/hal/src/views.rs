//! Several spans of a list's host memory, borrowed at once.
//!
//! A device that computes on the host, as the CPU does, needs the inputs and outputs of a dispatch
//! at the same time. They may lie in one slot, where the borrow checker cannot see that they are
//! apart; [`borrow`] looks.

use crate::command::{Slot, Span};
use crate::id::SlotId;

/// What a step does with a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// It reads it.
    Read,
    /// It writes it, and may read it.
    Write,
}

/// The bytes of a span.
#[derive(Debug)]
pub enum View<'a> {
    /// Bytes to read.
    Read(&'a [u8]),
    /// Bytes to write.
    Write(&'a mut [u8]),
}

impl<'a> View<'a> {
    /// The bytes, for reading.
    pub fn into_read(self) -> &'a [u8] {
        match self {
            View::Read(bytes) => bytes,
            View::Write(bytes) => bytes,
        }
    }

    /// The bytes for writing, or `None` where they were borrowed for reading.
    pub fn into_write(self) -> Option<&'a mut [u8]> {
        match self {
            View::Read(_) => None,
            View::Write(bytes) => Some(bytes),
        }
    }
}

/// Why spans cannot be borrowed together. [`validate`](crate::validate()) finds all of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BorrowError {
    /// A slot or bytes of it that do not exist.
    #[error("{0:?} is not inside a slot")]
    Outside(Span),
    /// Memory that the host cannot reach.
    #[error("{0:?} is memory that only a device can reach")]
    DeviceOnly(Span),
    /// A write to memory that is not owned.
    #[error("{0:?} is read-only")]
    ReadOnly(Span),
    /// Bytes that are written and used otherwise too.
    #[error("written bytes of slot {} overlap others in use", .0.0)]
    Overlap(SlotId),
}

/// Borrows spans together, one view each, in their order.
///
/// ```
/// use unlade_hal::{Access, CommandList, Lease, Slot, Span, borrow};
///
/// let mut list = CommandList::new();
/// let slot = list.slot(Slot::Owned(Lease::pageable(8)?));
/// let span = |bytes| Span { slot, bytes };
/// let mut views = borrow(
///     &mut list.slots,
///     [(span(0..4), Access::Read), (span(4..8), Access::Write)],
/// )?
/// .into_iter();
/// let from = views.next().unwrap().into_read();
/// let to = views.next().unwrap().into_write().unwrap();
/// to.copy_from_slice(from);
///
/// let overlapping = [(span(0..5), Access::Read), (span(4..8), Access::Write)];
/// assert!(borrow(&mut list.slots, overlapping).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// See [`BorrowError`].
pub fn borrow<'a>(
    slots: &'a mut [Slot],
    spans: impl IntoIterator<Item = (Span, Access)>,
) -> Result<Vec<View<'a>>, BorrowError> {
    let spans: Vec<(Span, Access)> = spans.into_iter().collect();
    if let Some(slot) = overlapping(spans.iter().map(|(span, access)| (span, *access))) {
        return Err(BorrowError::Overlap(slot));
    }
    let slots: &'a [Slot] = slots;
    spans
        .into_iter()
        .map(|(span, access)| view(slots, span, access))
        .collect()
}

fn view(slots: &[Slot], span: Span, access: Access) -> Result<View<'_>, BorrowError> {
    let slot = slots.get(usize::from(span.slot.0));
    let Some(slot) =
        slot.filter(|slot| span.bytes.start <= span.bytes.end && span.bytes.end <= slot.len())
    else {
        return Err(BorrowError::Outside(span));
    };
    let bytes = span.bytes.start as usize..span.bytes.end as usize;
    match (slot, access) {
        (Slot::Foreign(buffer), Access::Read) => Ok(View::Read(&buffer.as_slice()[bytes])),
        (Slot::Pinned(buffer), Access::Read) => Ok(View::Read(&buffer.bytes()[bytes])),
        (Slot::Resident(lease), Access::Read) => match lease.bytes() {
            Some(all) => Ok(View::Read(&all[bytes])),
            None => Err(BorrowError::DeviceOnly(span)),
        },
        (Slot::Owned(lease), _) => {
            let Some(start) = lease.host_start() else {
                return Err(BorrowError::DeviceOnly(span));
            };
            let len = bytes.len();
            // SAFETY: `bytes` lies inside the lease, so start and end are in its slab.
            let start = unsafe { start.add(bytes.start) }.as_ptr();
            Ok(match access {
                // SAFETY: The bytes are initialised and live as long as the lease, which `borrow`
                // holds mutably for as long as the view lives. No write view overlaps this one:
                // within a slot `overlapping` has seen to it, and two slots never overlap, because
                // two leases do not. Read views of a slot may overlap one another.
                Access::Read => View::Read(unsafe { std::slice::from_raw_parts(start, len) }),
                // SAFETY: As above; and no view at all overlaps a write view. The pointer comes
                // from the slab's own, not from a shared reference, so it may be written through.
                Access::Write => View::Write(unsafe { std::slice::from_raw_parts_mut(start, len) }),
            })
        }
        (Slot::Foreign(_) | Slot::Pinned(_) | Slot::Resident(_), Access::Write) => {
            Err(BorrowError::ReadOnly(span))
        }
    }
}

/// Spans up to which each is compared with each, which is done sooner than sorting them.
const FEW: usize = 8;

/// The slot of a written span that overlaps another span, if there is one.
pub(crate) fn overlapping<'s>(
    spans: impl IntoIterator<Item = (&'s Span, Access)>,
) -> Option<SlotId> {
    let mut spans = spans.into_iter().filter(|(span, _)| !span.is_empty());
    let mut few: [Option<(&Span, Access)>; FEW] = [None; FEW];
    for count in 0..FEW {
        let (span, access) = spans.next()?;
        let clashes = |(other, other_access): &(&Span, Access)| {
            span.slot == other.slot
                && span.bytes.start < other.bytes.end
                && other.bytes.start < span.bytes.end
                && (access == Access::Write || *other_access == Access::Write)
        };
        if few[..count].iter().flatten().any(clashes) {
            return Some(span.slot);
        }
        few[count] = Some((span, access));
    }
    overlapping_of_many(few.into_iter().flatten().chain(spans))
}

/// The same, of spans that are not empty, however many: in order of their beginnings.
fn overlapping_of_many<'s>(spans: impl Iterator<Item = (&'s Span, Access)>) -> Option<SlotId> {
    let mut sorted: Vec<(SlotId, u64, u64, Access)> = spans
        .map(|(span, access)| (span.slot, span.bytes.start, span.bytes.end, access))
        .collect();
    sorted.sort_unstable_by_key(|(slot, start, ..)| (*slot, *start));
    let mut current = None;
    let (mut used_to, mut written_to) = (0, 0);
    for (slot, start, end, access) in sorted {
        if current != Some(slot) {
            (current, used_to, written_to) = (Some(slot), 0, 0);
        }
        let taken_to = match access {
            Access::Read => written_to,
            Access::Write => used_to,
        };
        if start < taken_to {
            return Some(slot);
        }
        used_to = used_to.max(end);
        if access == Access::Write {
            written_to = written_to.max(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Lease, Slab};
    use crate::{DeviceAddr, DomainId};
    use std::sync::Arc;

    fn slots() -> Vec<Slot> {
        let keep = Arc::new(());
        let device = Slab::device(DomainId::unique(), DeviceAddr(0), 100, keep);
        vec![
            Slot::Owned(Lease::pageable(100).unwrap()),
            Slot::Resident(Arc::new(Lease::pageable(100).unwrap())),
            Slot::Foreign(arrow_buffer::Buffer::from_vec(vec![7u8; 100])),
            Slot::Owned(device.lease_whole().unwrap()),
        ]
    }

    fn span(slot: u16, bytes: std::ops::Range<u64>) -> Span {
        Span {
            slot: SlotId(slot),
            bytes,
        }
    }

    #[test]
    fn neighbours_are_written_while_the_rest_is_read() {
        let mut slots = slots();
        let spans = [
            (span(0, 0..10), Access::Write),
            (span(2, 90..100), Access::Read),
            (span(0, 20..30), Access::Read),
            (span(0, 10..20), Access::Write),
            (span(0, 25..100), Access::Read),
            (span(1, 0..100), Access::Read),
            (span(0, 5..5), Access::Write), // empty: overlaps nothing
        ];
        let views = borrow(&mut slots, spans).unwrap();
        let mut views = views.into_iter();
        let first = views.next().unwrap().into_write().unwrap();
        let foreign = views.next().unwrap().into_read();
        let early = views.next().unwrap().into_read();
        let second = views.next().unwrap().into_write().unwrap();
        let late = views.next().unwrap().into_read();
        first.copy_from_slice(foreign);
        second.fill(9);
        assert_eq!((early, late.len()), (&[0; 10][..], 75));
        let Slot::Owned(lease) = &slots[0] else {
            panic!("slot 0 is owned")
        };
        assert_eq!(lease.bytes().unwrap()[..20], [[7; 10], [9; 10]].concat());
    }

    #[test]
    fn few_spans_and_many_are_judged_alike() {
        let mut state = 1u64;
        let mut below = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % bound
        };
        let mut overlaps = 0;
        for _ in 0..2_000 {
            let spans: Vec<(Span, Access)> = (0..below(FEW as u64))
                .map(|_| {
                    let start = below(60);
                    let access = [Access::Read, Access::Write][below(2) as usize];
                    (span(below(2) as u16, start..start + below(9)), access)
                })
                .collect();
            let spans = || spans.iter().map(|(span, access)| (span, *access));
            let filled = spans().filter(|(span, _)| !span.is_empty());
            let found = overlapping(spans());
            assert_eq!(found.is_some(), overlapping_of_many(filled).is_some());
            overlaps += usize::from(found.is_some());
        }
        assert!((300..1_700).contains(&overlaps), "{overlaps}");
    }

    #[test]
    fn many_spans_have_the_same_rules() {
        let neighbours = (0..20).map(|at| (span(0, 5 * at..5 * at + 5), Access::Write));
        let mut slots = slots();
        assert_eq!(borrow(&mut slots, neighbours.clone()).unwrap().len(), 20);
        let read = (span(0, 51..52), Access::Read);
        let overlapping = neighbours.chain([read]);
        let overlap = BorrowError::Overlap(SlotId(0));
        assert_eq!(borrow(&mut slots, overlapping).unwrap_err(), overlap);
    }

    #[test]
    fn each_rule_has_its_error() {
        use Access::*;
        let mut slots = slots();
        let overlap = BorrowError::Overlap(SlotId(0));
        for (spans, wanted) in [
            (
                vec![(span(0, 0..10), Write), (span(0, 9..20), Write)],
                overlap.clone(),
            ),
            (
                vec![(span(0, 0..10), Read), (span(0, 9..20), Write)],
                overlap.clone(),
            ),
            (
                vec![
                    (span(0, 0..50), Write),
                    (span(0, 60..70), Read),
                    (span(0, 49..55), Read),
                ],
                overlap.clone(),
            ),
            (
                vec![
                    (span(0, 0..50), Read),
                    (span(0, 2..3), Read),
                    (span(0, 40..55), Write),
                ],
                overlap,
            ),
            (
                vec![(span(0, 0..101), Read)],
                BorrowError::Outside(span(0, 0..101)),
            ),
            (
                vec![(span(4, 0..0), Read)],
                BorrowError::Outside(span(4, 0..0)),
            ),
            (
                vec![(span(1, 0..1), Write)],
                BorrowError::ReadOnly(span(1, 0..1)),
            ),
            (
                vec![(span(2, 0..1), Write)],
                BorrowError::ReadOnly(span(2, 0..1)),
            ),
            (
                vec![(span(3, 0..1), Read)],
                BorrowError::DeviceOnly(span(3, 0..1)),
            ),
        ] {
            assert_eq!(borrow(&mut slots, spans).unwrap_err(), wanted);
        }
    }
}
