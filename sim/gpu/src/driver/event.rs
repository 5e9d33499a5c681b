//! Events: points of streams, and the time between them.

use std::sync::Arc;

use unlade_hal::{Clock, Timestamp};

use super::code::{Answer, Code};
use super::control::Mode;
use super::state::State;
use super::stream::StreamId;
use super::work::{Mark, Work};

#[derive(Debug)]
pub(super) struct Event {
    pub(super) device: usize,
    timed: bool,
    /// The latest record.
    mark: Option<Arc<Mark>>,
}

/// `CU_EVENT_DISABLE_TIMING`.
const NOT_TIMED: u32 = 2;

/// How often a lazy stream is asked for an event in vain before it goes on to there.
const PATIENCE: u64 = 2;

impl State {
    pub(crate) fn create_event(&mut self, flags: u32) -> Answer<u64> {
        let device = self.enter_to_allocate()?;
        if flags > 7 {
            return Err(Code::INVALID_VALUE);
        }
        let handle = self.handle();
        let timed = flags & NOT_TIMED == 0;
        self.events.insert(
            handle,
            Event {
                device,
                timed,
                mark: None,
            },
        );
        Ok(handle)
    }

    /// What waits for it goes on waiting.
    pub(crate) fn destroy_event(&mut self, event: u64) -> Answer {
        self.events
            .remove(&event)
            .map(drop)
            .ok_or(Code::INVALID_HANDLE)
    }

    pub(crate) fn record(&mut self, event: u64, stream: StreamId) -> Answer {
        let known = self.events.get_mut(&event).ok_or(Code::INVALID_HANDLE)?;
        if known.device != stream.device {
            return Err(Code::INVALID_HANDLE);
        }
        let mark = Mark::new(stream);
        known.mark = Some(mark.clone());
        self.push(stream, Work::Record(mark))
    }

    fn mark(&self, event: u64) -> Answer<Option<Arc<Mark>>> {
        Ok(self
            .events
            .get(&event)
            .ok_or(Code::INVALID_HANDLE)?
            .mark
            .clone())
    }

    /// An event that was never recorded is not waited for.
    pub(crate) fn stream_wait_event(&mut self, stream: StreamId, event: u64) -> Answer {
        match self.mark(event)? {
            Some(mark) => self.push(stream, Work::Wait(mark)),
            None => Ok(()),
        }
    }

    pub(crate) fn query_event(&mut self, event: u64) -> Answer {
        let Some(mark) = self.mark(event)? else {
            return Ok(());
        };
        if let Some(time) = mark.reached() {
            self.clock.advance_to(time);
            return Ok(());
        }
        // Who asks often waits.
        if self.config.mode == Mode::Lazy && mark.ask() >= PATIENCE {
            self.run_until(&mark)?;
        }
        Err(Code::NOT_READY)
    }

    pub(crate) fn synchronize_event(&mut self, event: u64) -> Answer {
        match self.mark(event)? {
            Some(mark) => self.drain_until(&mark),
            None => Ok(()),
        }
    }

    /// Milliseconds, at the half of a microsecond that the driver resolves.
    pub(crate) fn elapsed(&mut self, start: u64, end: u64) -> Answer<f32> {
        let time = |event: u64| -> Answer<Timestamp> {
            let known = self.events.get(&event).ok_or(Code::INVALID_HANDLE)?;
            let mark = known
                .mark
                .as_ref()
                .filter(|_| known.timed)
                .ok_or(Code::INVALID_HANDLE)?;
            mark.reached().ok_or(Code::NOT_READY)
        };
        let (start, end) = (time(start)?, time(end)?);
        let seconds = end.0.as_secs_f64() - start.0.as_secs_f64();
        Ok((seconds * 1e3) as f32)
    }

    /// The clock goes to a point that the host has learnt of.
    pub(super) fn host_saw(&self, time: Timestamp) {
        if self.clock.now() < time {
            self.clock.advance_to(time);
        }
    }
}
