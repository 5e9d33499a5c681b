//! Colours, where the terminal shows them and nobody forbids them.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::args::ColorChoice;

/// Whether standard error is coloured.
static COLOURED: AtomicBool = AtomicBool::new(false);
/// Whether standard output is.
static OUTPUT_COLOURED: AtomicBool = AtomicBool::new(false);

/// Decides once: `auto` is a terminal, no NO_COLOR and no dumb TERM.
pub(crate) fn choose(choice: ColorChoice) {
    let coloured = |is_terminal: bool| match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_terminal && !is_forbidden(),
    };
    COLOURED.store(coloured(std::io::stderr().is_terminal()), Ordering::Relaxed);
    let of_output = coloured(std::io::stdout().is_terminal());
    OUTPUT_COLOURED.store(of_output, Ordering::Relaxed);
}

/// Whether help on standard output is to be coloured: it is printed before anything is chosen.
pub(crate) fn fits_standard_output() -> bool {
    std::io::stdout().is_terminal() && !is_forbidden()
}

fn is_forbidden() -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    forbidden || dumb
}

pub(crate) fn is_coloured() -> bool {
    COLOURED.load(Ordering::Relaxed)
}

pub(crate) fn red(text: &str) -> String {
    wrapped(text, "31;1", is_coloured())
}

pub(crate) fn green(text: &str) -> String {
    wrapped(text, "32", is_coloured())
}

pub(crate) fn yellow(text: &str) -> String {
    wrapped(text, "33", is_coloured())
}

/// What steps back, on standard output.
pub(crate) fn dim_in_output(text: &str) -> String {
    wrapped(text, "2", OUTPUT_COLOURED.load(Ordering::Relaxed))
}

fn wrapped(text: &str, code: &str, coloured: bool) -> String {
    if coloured {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
