//! Text from elsewhere, for a terminal.

use std::borrow::Cow;

/// Text without characters that control a terminal or the direction of writing, each replaced by one
/// of its width; lines and tabs stay. Names and values of files, and errors that quote them, may have
/// such.
///
/// ```
/// assert_eq!(unlade::printable("a\x1b[2Jb\r\u{9b}c"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    let directs = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let controls = |c: char| c.is_control() && c != '\n' && c != '\t' || directs(c);
    if text.contains(controls) {
        Cow::Owned(text.replace(controls, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
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
