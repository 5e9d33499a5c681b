//! The host's memory as a job reaches it: while it has to wait for the bus master bit, the engine is
//! other functions'.

use super::{Dma, DmaError, Iova, PIECE};
use crate::bytes::length;
use crate::functions::Turn;

/// What reads and writes the host's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bus<'a> {
    dma: &'a Dma,
    /// Of a job the one that it runs in.
    turn: Option<&'a Turn<'a>>,
}

impl<'a> Bus<'a> {
    /// Of what needs no engine.
    pub(crate) fn of(dma: &'a Dma) -> Self {
        Bus { dma, turn: None }
    }

    /// Of a job that runs in a turn.
    pub(crate) fn in_turn(dma: &'a Dma, turn: &'a Turn<'a>) -> Self {
        let turn = Some(turn);
        Bus { dma, turn }
    }

    /// Whether a reset has begun.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.dma.is_abandoned()
    }

    /// Reads memory. Waits while the function is no bus master.
    pub(crate) fn read(&self, iova: Iova, bytes: &mut [u8]) -> Result<(), DmaError> {
        let mut at = iova.0;
        for piece in bytes.chunks_mut(PIECE) {
            self.pass_gate()?;
            self.dma.table().read(Iova(at), piece)?;
            // A piece that was read did not wrap; after the last one the address is not used.
            at = at.wrapping_add(length(piece.len()));
        }
        Ok(())
    }

    /// Writes memory. Waits while the function is no bus master.
    pub(crate) fn write(&self, iova: Iova, bytes: &[u8]) -> Result<(), DmaError> {
        let mut at = iova.0;
        for piece in bytes.chunks(PIECE) {
            self.pass_gate()?;
            self.dma.table().write(Iova(at), piece)?;
            at = at.wrapping_add(length(piece.len()));
        }
        Ok(())
    }

    fn pass_gate(&self) -> Result<(), DmaError> {
        let Some(turn) = self.turn else {
            return self.dma.pass_gate();
        };
        // It may be closed again by the time the engine is there.
        while !self.dma.is_open()? {
            turn.give_back();
            self.dma.pass_gate()?;
            turn.take_again(self.dma)?;
        }
        Ok(())
    }
}
