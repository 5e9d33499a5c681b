//! Interrupts: MSI-X with its table, MSI, INTx; docs/CARD.md, sections 2 and 5.

use std::fs::File;
use std::io::Write;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;

use crate::bytes::{put, u32_at};

/// The three kinds, by their index in VFIO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptKind {
    /// Index 0.
    Intx,
    /// Index 1.
    Msi,
    /// Index 2.
    Msix,
}

impl InterruptKind {
    /// The kind with this index of VFIO.
    pub fn from_index(index: u32) -> Option<InterruptKind> {
        match index {
            0 => Some(InterruptKind::Intx),
            1 => Some(InterruptKind::Msi),
            2 => Some(InterruptKind::Msix),
            _ => None,
        }
    }
}

/// Bytes of an entry of the MSI-X table; bit 0 of the last four masks it.
const ENTRY: usize = 16;
const CONTROL: usize = 12;

/// Where interrupts go, and those that wait.
#[derive(Debug)]
pub(crate) struct Interrupts {
    table: Vec<u8>,
    pending: Vec<bool>,
    intx: Option<File>,
    msi: Option<File>,
    msix: Vec<Option<File>>,
    /// Whether the INTx line is asserted.
    line: bool,
    pub(crate) sent: u64,
}

impl Interrupts {
    pub(crate) fn new(vectors: u16) -> Interrupts {
        let mut interrupts = Interrupts {
            table: vec![0; ENTRY * usize::from(vectors)],
            pending: vec![false; usize::from(vectors)],
            intx: None,
            msi: None,
            msix: (0..vectors).map(|_| None).collect(),
            line: false,
            sent: 0,
        };
        interrupts.reset_table();
        interrupts
    }

    /// Masks every vector, as PCI says of a reset.
    pub(crate) fn reset_table(&mut self) {
        self.table.fill(0);
        for entry in self.table.chunks_exact_mut(ENTRY) {
            put(entry, CONTROL, &1u32.to_le_bytes());
        }
        self.clear_pending();
        self.line = false;
    }

    pub(crate) fn clear_pending(&mut self) {
        self.pending.fill(false);
    }

    /// Forgets every event that the host gave.
    pub(crate) fn disconnect(&mut self) {
        self.intx = None;
        self.msi = None;
        self.msix.fill_with(|| None);
    }

    /// Sets the event of a vector, or takes it back. A vector with an event is unmasked, as a
    /// host's kernel unmasks it. False where there is no such vector.
    pub(crate) fn set_event(
        &mut self,
        kind: InterruptKind,
        vector: usize,
        event: Option<File>,
    ) -> bool {
        match (kind, vector) {
            (InterruptKind::Intx, 0) => self.intx = event,
            (InterruptKind::Msi, 0) => self.msi = event,
            (InterruptKind::Msix, vector) if vector < self.msix.len() => {
                let masked = u32::from(event.is_none());
                put(
                    &mut self.table,
                    ENTRY * vector + CONTROL,
                    &masked.to_le_bytes(),
                );
                self.msix[vector] = event;
            }
            _ => return false,
        }
        true
    }

    /// A message of MSI-X, or its pending bit.
    pub(crate) fn raise_msix(&mut self, vector: u16, may_send: bool) {
        let vector = usize::from(vector);
        if may_send && !self.masked(vector) {
            self.sent += 1;
            self.pending[vector] = false;
            signal(self.msix[vector].as_ref());
        } else {
            self.pending[vector] = true;
        }
    }

    /// Sends what waits and is not masked any more.
    pub(crate) fn send_pending(&mut self) {
        for vector in 0..self.pending.len() {
            if self.pending[vector] && !self.masked(vector) {
                self.pending[vector] = false;
                self.sent += 1;
                signal(self.msix[vector].as_ref());
            }
        }
    }

    /// The message of MSI.
    pub(crate) fn raise_msi(&mut self) {
        self.sent += 1;
        signal(self.msi.as_ref());
    }

    /// Puts the INTx line to a level; its event fires when it rises.
    pub(crate) fn set_line(&mut self, asserted: bool) {
        if asserted && !self.line {
            self.sent += 1;
            signal(self.intx.as_ref());
        }
        self.line = asserted;
    }

    /// The host has handled INTx: the event fires again where the line is still asserted.
    pub(crate) fn unmask_line(&mut self) {
        if self.line {
            signal(self.intx.as_ref());
        }
    }

    fn masked(&self, vector: usize) -> bool {
        u32_at(&self.table, ENTRY * vector + CONTROL) & 1 == 1
    }

    /// Reads BAR4: the table, and from `pending_at` on the pending bits.
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8], pending_at: usize) {
        for (at, byte) in (offset..).zip(bytes) {
            *byte = match at.checked_sub(pending_at) {
                None => self.table.get(at).copied().unwrap_or(0),
                Some(at) => (0..8).fold(0, |byte, bit| {
                    let pending = self.pending.get(8 * at + bit).copied().unwrap_or(false);
                    byte | u8::from(pending) << bit
                }),
            };
        }
    }

    /// Writes BAR4: the table; pending bits are read only.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        for (at, &byte) in (offset..).zip(bytes) {
            if let Some(slot) = self.table.get_mut(at) {
                // Of the control word only the mask bit is there.
                *slot = match at % ENTRY {
                    12 => byte & 1,
                    13..16 => 0,
                    _ => byte,
                };
            }
        }
    }
}

/// Adds one to an eventfd. One that the host has closed, or that is full, tells nobody: a card does
/// not learn what becomes of its messages. One that blocks is looked at first, since it would hold
/// up all of the card if it is full.
fn signal(event: Option<&File>) {
    let Some(mut event) = event else {
        return;
    };
    if !blocks(event) || has_room(event) {
        let _ = event.write(&1u64.to_ne_bytes());
    }
}

/// Whether who writes to a full one waits. Asked anew each time, which takes a fraction of what it
/// takes to look whether there is room: a host may change it.
fn blocks(event: &File) -> bool {
    let flags = rustix::fs::fcntl_getfl(event);
    !flags.is_ok_and(|flags| flags.contains(OFlags::NONBLOCK))
}

fn has_room(event: &File) -> bool {
    let now = rustix::event::Timespec::default();
    let mut ready = [PollFd::new(event, PollFlags::OUT)];
    poll(&mut ready, Some(&now)).is_ok() && ready[0].revents().contains(PollFlags::OUT)
}

#[cfg(test)]
mod tests {
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    #[test]
    fn an_event_that_is_full_holds_nobody_up() {
        // The first blocks who writes to it.
        for flags in [EventfdFlags::empty(), EventfdFlags::NONBLOCK] {
            let full = File::from(eventfd(0, flags).unwrap());
            (&full).write_all(&(u64::MAX - 1).to_ne_bytes()).unwrap();
            let mut interrupts = Interrupts::new(1);
            assert!(interrupts.set_event(InterruptKind::Msi, 0, Some(full)));
            interrupts.raise_msi();
            assert_eq!(interrupts.sent, 1);
        }
    }
}
