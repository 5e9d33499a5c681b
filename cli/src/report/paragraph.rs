//! Text for reading, in lines.

use unicode_width::UnicodeWidthStr;

use crate::report;

/// A text in lines that end between words where the terminal ends; in one where there is none.
pub(crate) fn paragraph(text: &str) -> String {
    paragraph_within(report::width(), "", text)
}

/// A text after a label, in lines no longer than they may be, each further one below the first.
pub(crate) fn paragraph_within(width: Option<usize>, label: &str, text: &str) -> String {
    let width = width.unwrap_or(usize::MAX);
    let indent = label.width();
    let mut lines = label.to_owned();
    let mut at = indent;
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 && at + 1 + word.width() > width {
            lines.push_str(&format!("\n{}", " ".repeat(indent)));
            at = indent;
        } else if index > 0 {
            lines.push(' ');
            at += 1;
        }
        lines.push_str(word);
        at += word.width();
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words_and_begin_below_the_first() {
        let text = "one two three four";
        let drawn = paragraph_within(Some(12), "- ", text);
        assert_eq!(drawn, "- one two\n  three four\n");
        assert_eq!(paragraph_within(None, "- ", text), format!("- {text}\n"));
        // A word is never broken.
        assert_eq!(paragraph_within(Some(2), "", "one two"), "one\ntwo\n");
    }
}
