//! What lanes of a warp do together: votes, shuffles and warp barriers (PTX ISA 9.7.9.6, 9.7.13.2
//! and 9.7.13.9).

use super::row::{LANES, Row, lanes};
use super::warp::{Group, Meeting, Warp};
use crate::finding::{Fault, FindingKind};
use crate::ptx::inst::{Inst, Op, Shuffle, Vote, VoteTarget};

/// Lanes come to an instruction that they run together with the others of a mask.
pub(super) fn arrive(
    warp: &mut Warp,
    code: &[Inst],
    group: Group,
    poison: u64,
) -> Result<(), Fault> {
    let (Op::Vote { mask, .. } | Op::Shuffle { mask, .. } | Op::WarpBarrier { mask }) =
        code[group.pc as usize].op
    else {
        unreachable!("only these have a mask");
    };
    let masks = *warp.row(mask);
    let mut left = group.lanes;
    while left != 0 {
        let first = left.trailing_zeros();
        let mask = masks.0[first as usize] as u32;
        let same = lanes(left).filter(|&lane| masks.0[lane] as u32 == mask);
        let arrived = same.fold(0, |bits, lane| bits | 1 << lane);
        left &= !arrived;
        if arrived & !mask != 0 {
            let lane = (arrived & !mask).trailing_zeros();
            let detail = format!("the lane is not in its own mask, {mask:#010x}");
            return Err(Fault::new(FindingKind::Divergence, detail).by(lane));
        }
        let group = Group {
            pc: group.pc,
            lanes: arrived,
        };
        match warp
            .meetings
            .iter_mut()
            .find(|other| other.group.pc == group.pc && other.mask == mask)
        {
            Some(meeting) => meeting.group.lanes |= arrived,
            None => warp.meetings.push(Meeting { group, mask }),
        }
    }
    complete(warp, code, poison);
    Ok(())
}

/// Runs what nobody is missing from any more. Lanes that left the kernel are not waited for.
pub(super) fn complete(warp: &mut Warp, code: &[Inst], poison: u64) {
    let mut i = 0;
    while let Some(&Meeting { group, mask }) = warp.meetings.get(i) {
        if mask & warp.alive & !group.lanes != 0 {
            i += 1;
            continue;
        }
        warp.meetings.swap_remove(i);
        run(warp, &code[group.pc as usize].op, group.lanes, poison);
        warp.ready(Group {
            pc: group.pc + 1,
            lanes: group.lanes,
        });
    }
}

fn run(warp: &mut Warp, op: &Op, present: u32, poison: u64) {
    match *op {
        Op::Vote { vote, d, a, .. } => {
            let votes = warp.holds(a) & present;
            match (d, vote) {
                (VoteTarget::Mask(d), _) => warp.set(d, &Row::splat(u64::from(votes)), present),
                (VoteTarget::Predicate(d), vote) => {
                    let holds = match vote {
                        Vote::Ballot | Vote::Any => votes != 0,
                        Vote::All => votes == present,
                        Vote::Uniform => votes == 0 || votes == present,
                    };
                    warp.set_predicate(d, if holds { u32::MAX } else { 0 }, present);
                }
            }
        }
        Op::Shuffle {
            mode,
            d,
            p,
            a,
            b,
            c,
            ..
        } => {
            let (from, by, clamp) = (*warp.row(a), *warp.row(b), *warp.row(c));
            let (mut value, mut valid) = (Row::splat(0), 0);
            for lane in lanes(present) {
                let (source, inside) = source(mode, lane, by.0[lane], clamp.0[lane]);
                valid |= u32::from(inside) << lane;
                // What a lane that is not there would give is undefined.
                let there = present >> source & 1 == 1;
                value.0[lane] = if there {
                    from.0[source]
                } else {
                    poison & u64::from(u32::MAX)
                };
            }
            warp.set(d, &value, present);
            if let Some(p) = p {
                warp.set_predicate(p, valid, present);
            }
        }
        _ => {}
    }
}

/// The lane to read, and whether it is inside of the segment.
fn source(mode: Shuffle, lane: usize, by: u64, clamp: u64) -> (usize, bool) {
    let by = (by & 0x1f) as i64;
    let (clamp, segment) = ((clamp & 0x1f) as i64, (clamp >> 8 & 0x1f) as i64);
    let here = lane as i64;
    let least = here & segment;
    let most = least | clamp & !segment;
    let (there, inside) = match mode {
        Shuffle::Up => (here - by, here - by >= most),
        Shuffle::Down => (here + by, here + by <= most),
        Shuffle::Butterfly => (here ^ by, (here ^ by) <= most),
        Shuffle::Index => (least | by & !segment, (least | by & !segment) <= most),
    };
    let there = if inside { there } else { here };
    (there as usize % LANES, inside)
}
