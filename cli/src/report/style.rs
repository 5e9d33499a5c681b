//! Colours, where the terminal shows them and nobody forbids them; and none from elsewhere.

use std::borrow::Cow;
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

/// Text without characters that control a terminal or the direction of writing, each replaced by one
/// of its width; lines and tabs stay.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let directs = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let controls = |c: char| c.is_control() && c != '\n' && c != '\t' || directs(c);
    if text.contains(controls) {
        Cow::Owned(text.replace(controls, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn wrapped(text: &str, code: &str, coloured: bool) -> String {
    if coloured {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_a_file_controls_the_terminal() {
        assert_eq!(
            printable("a\x1b[2Jb\r\u{9b}c"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}c"
        );
        assert!(matches!(printable("two\n\tlines, é"), Cow::Borrowed(_)));
    }
}
