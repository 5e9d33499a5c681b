//! All panes as text, for standard output.

use unlade::Snapshot;

use super::panes::{Pane, heading};
use crate::report::table;

/// A snapshot as text; rates are those since the one before.
pub(super) fn text(now: &Snapshot, before: Option<&Snapshot>) -> String {
    let mut text = heading(now).join(" · ") + "\n";
    for pane in Pane::ALL {
        text.push_str(&format!("\n{}\n", pane.title()));
        let rows = pane.rows(now, before);
        if rows.rows.is_empty() {
            text.push_str(&format!("{}\n", rows.empty));
            continue;
        }
        let cells: Vec<Vec<String>> = rows.rows.into_iter().map(|row| row.cells).collect();
        text.push_str(&table::table(&rows.head, &cells));
        text.push('\n');
    }
    text
}
