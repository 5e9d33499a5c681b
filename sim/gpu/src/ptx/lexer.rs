//! Text becomes tokens (PTX ISA 4.2 to 4.5).

use super::error::{Result, invalid};

/// A token and the line it stands on, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    pub(crate) kind: TokenKind<'t>,
    pub(crate) line: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind<'t> {
    /// A directive, an opcode with its modifiers, a register or a name: dots are part of it.
    Word(&'t str),
    /// Anything that begins with a digit, not looked into yet.
    Number(&'t str),
    /// Text between quotes.
    Quoted(&'t str),
    /// One character.
    Mark(char),
}

/// Most bytes of a text: a limit on what a hostile text can make the parser allocate.
const MAX_TEXT: usize = 64 << 20;

/// The tokens of a text, without its comments. A zero byte ends the text.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>> {
    let text = text.split('\0').next().unwrap_or_default();
    if text.len() > MAX_TEXT {
        return invalid(1, format!("text of {} bytes, over {MAX_TEXT}", text.len()));
    }
    let mut lexer = Lexer {
        rest: text,
        line: 1,
    };
    let mut tokens = Vec::with_capacity(text.len() / 4);
    while let Some(token) = lexer.next_token()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'t> {
    rest: &'t str,
    line: u32,
}

impl<'t> Lexer<'t> {
    fn next_token(&mut self) -> Result<Option<Token<'t>>> {
        self.skip_blanks_and_comments()?;
        let Some(first) = self.rest.chars().next() else {
            return Ok(None);
        };
        let line = self.line;
        let kind = match first {
            '0'..='9' => {
                TokenKind::Number(self.take_while(|c| c.is_ascii_alphanumeric() || c == '.'))
            }
            '"' => {
                let Some(end) = self.rest[1..]
                    .find(['"', '\n'])
                    .filter(|&end| self.rest.as_bytes()[1 + end] == b'"')
                else {
                    return invalid(line, "a quoted text has no end on its line");
                };
                let inner = &self.rest[1..1 + end];
                self.rest = &self.rest[end + 2..];
                TokenKind::Quoted(inner)
            }
            c if is_word(c) => TokenKind::Word(self.take_while(is_word)),
            c if c.is_ascii_graphic() => {
                self.rest = &self.rest[1..];
                TokenKind::Mark(c)
            }
            c => return invalid(line, format!("the character {c:?} has no meaning here")),
        };
        Ok(Some(Token { kind, line }))
    }

    fn skip_blanks_and_comments(&mut self) -> Result<()> {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest.starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if self.rest.starts_with("/*") {
                let Some(end) = self.rest.find("*/") else {
                    return invalid(self.line, "a comment has no end");
                };
                self.take(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.bytes().filter(|&byte| byte == b'\n').count() as u32;
        self.rest = rest;
        taken
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_dots_and_lines_are_counted_through_comments() {
        let text =
            "ld.global.u32 %r1, [%rd2+4]; // load\n/* two\nlines */ $L_1: 0f3F800000 \"x y\"";
        let found: Vec<_> = tokens(text)
            .unwrap()
            .into_iter()
            .map(|t| (t.line, t.kind))
            .collect();
        use TokenKind::*;
        assert_eq!(
            found,
            [
                (1, Word("ld.global.u32")),
                (1, Word("%r1")),
                (1, Mark(',')),
                (1, Mark('[')),
                (1, Word("%rd2")),
                (1, Mark('+')),
                (1, Number("4")),
                (1, Mark(']')),
                (1, Mark(';')),
                (3, Word("$L_1")),
                (3, Mark(':')),
                (3, Number("0f3F800000")),
                (3, Quoted("x y")),
            ]
        );
    }

    #[test]
    fn the_line_of_an_error_is_named() {
        assert_eq!(tokens("\n\n  é").unwrap_err().line, 3);
        assert_eq!(tokens("a\n/* b").unwrap_err().line, 2);
        assert!(tokens("\"abc").is_err());
        assert_eq!(tokens("ret;\0garbage é").unwrap().len(), 2);
    }
}
