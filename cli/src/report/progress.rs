//! Progress on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::Verbosity;

/// A bar over rows if their number is known, else a count. Silent without a terminal.
pub(crate) fn over_rows(rows: Option<u64>, verbosity: Verbosity) -> ProgressBar {
    let bar = match rows {
        Some(rows) => ProgressBar::new(rows).with_style(style(
            "{elapsed_precise} [{bar:32}] {human_pos}/{human_len} rows, {per_sec}, {eta} left",
        )),
        None => ProgressBar::no_length().with_style(style(
            "{elapsed_precise} {spinner} {human_pos} rows, {per_sec}",
        )),
    };
    if verbosity == Verbosity::Quiet || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    } else {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is well-formed")
        .progress_chars("=> ")
}
