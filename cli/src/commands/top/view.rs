//! What is shown, and what keys do to it.

use std::time::Duration;

use unlade::Snapshot;

use super::panes::Pane;

/// What is shown.
pub(super) struct View {
    pub(super) now: Snapshot,
    /// The one before it, for rates.
    pub(super) before: Option<Snapshot>,
    /// The pane that was chosen.
    pub(super) pane: Pane,
    /// The first row of the chosen pane that is shown.
    pub(super) first: usize,
    pub(super) is_paused: bool,
    /// Of a recording, where in it this is.
    pub(super) place: Option<String>,
    /// For how long nothing has come of a process that has not ended.
    pub(super) silent_for: Option<Duration>,
    /// What there is to say beside that.
    pub(super) note: Option<String>,
}

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    /// On by so many panes.
    Pane(isize),
    /// Down by so many rows.
    Scroll(isize),
    Pause,
    /// On by so many snapshots.
    Step(isize),
    /// Doubles the speed so many times.
    Faster(i32),
}

impl View {
    pub(super) fn new(now: Snapshot, before: Option<Snapshot>) -> Self {
        View {
            now,
            before,
            pane: Pane::Devices,
            first: 0,
            is_paused: false,
            place: None,
            silent_for: None,
            note: None,
        }
    }

    /// Shows another snapshot.
    pub(super) fn show(&mut self, now: Snapshot, before: Option<Snapshot>) {
        self.now = now;
        self.before = before;
    }

    /// Chooses the pane that comes so many after this one, in a circle.
    pub(super) fn choose(&mut self, by: isize) {
        let all = Pane::ALL;
        let at = all.iter().position(|pane| *pane == self.pane).unwrap_or(0);
        let count = all.len() as isize;
        self.pane = all[(at as isize + by).rem_euclid(count) as usize];
        self.first = 0;
    }

    /// Moves the rows of the chosen pane, as far as there are any.
    pub(super) fn scroll(&mut self, by: isize) {
        let rows = self.pane.rows(&self.now, self.before.as_ref()).rows.len();
        self.first = self
            .first
            .saturating_add_signed(by)
            .min(rows.saturating_sub(1));
    }

    /// What the keys do, in one line.
    pub(super) fn help(&self) -> &'static str {
        match self.place {
            None => "q quit  tab/←→ pane  ↑↓ scroll  p pause",
            Some(_) => "q quit  tab/←→ pane  ↑↓ scroll  p/space play, pause  ,/. step  [/] speed",
        }
    }
}
