//! Text as one word of a shell's command line.

use std::borrow::Cow;

/// A text as whoever types a command writes it: in quotes where a shell would take it for something else.
/// For names of files in what errors advise.
///
/// ```
/// assert_eq!(unlade::shell_word("run/top.sock"), "run/top.sock");
/// assert_eq!(unlade::shell_word("it's mine"), r"'it'\''s mine'");
/// ```
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:@%+=,".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("'{}'", text.replace('\'', r"'\''"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_change_is_quoted() {
        for plain in ["a", "/run/a-b_c.sock", "dpu:0000:3b:00.0", "é"] {
            assert_eq!(shell_word(plain), plain);
        }
        for (text, word) in [
            ("", "''"),
            ("a b", "'a b'"),
            ("$HOME", "'$HOME'"),
            ("part-*", "'part-*'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }
}
