//! Tokens with their places, and the cursor that reads them.

use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::error::{ExprError, ExprErrorKind, Span};
use crate::limits::{MAX_DEPTH, MAX_TEXT_BYTES, too_deep};
use crate::signature::Signatures;

/// A reader of tokens, white space and comments left out.
pub(super) struct Cursor<'a> {
    text: &'a str,
    /// The users' functions that may be called.
    pub(super) functions: &'a Signatures,
    tokens: Vec<Placed>,
    position: usize,
    depth: u32,
}

struct Placed {
    token: Token,
    span: Span,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, functions: &'a Signatures) -> Result<Self, ExprError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(ExprError::new(
                ExprErrorKind::Limit,
                format!(
                    "the text has {} bytes; at most {MAX_TEXT_BYTES} are accepted",
                    text.len()
                ),
            ));
        }
        let mut places = Places::new(text);
        let tokens = Tokenizer::new(&GenericDialect {}, text)
            .tokenize_with_location()
            .map_err(|error| {
                let place = Places::new(text).bytes_before(error.location);
                syntax(error.message, point(text, place))
            })?
            .into_iter()
            .filter_map(|token| places.place(token))
            .collect();
        Ok(Cursor {
            text,
            functions,
            tokens,
            position: 0,
            depth: 0,
        })
    }

    /// The next token, `EOF` at the end.
    pub(super) fn peek(&self) -> &Token {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &Token {
        self.tokens
            .get(self.position + ahead)
            .map_or(&Token::EOF, |placed| &placed.token)
    }

    /// The place of the next token; at the end, one past the last.
    pub(super) fn span(&self) -> Span {
        match self.tokens.get(self.position) {
            Some(placed) => placed.span,
            None => point(self.text, self.text.trim_end().len() as u32),
        }
    }

    pub(super) fn advance(&mut self) {
        self.position += 1;
    }

    /// From the start of a construct to the end of the last token read.
    pub(super) fn span_from(&self, start: Span) -> Span {
        let end = match self.position.checked_sub(1) {
            Some(last) => self.tokens[last.min(self.tokens.len() - 1)].span.end,
            None => start.end,
        };
        Span {
            start: start.start,
            end: end.max(start.start),
        }
    }

    pub(super) fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn take_comma(&mut self) -> bool {
        self.take(&Token::Comma)
    }

    /// Whether the token is this word, unquoted, in any letter case.
    pub(super) fn is_word(token: &Token, word: &str) -> bool {
        matches!(token, Token::Word(found)
            if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = Self::is_word(self.peek(), word);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str, after: &str) -> Result<(), ExprError> {
        if self.take_word(word) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{}` {after}", word.to_ascii_uppercase())))
        }
    }

    pub(super) fn expect(&mut self, token: &Token, after: &str) -> Result<(), ExprError> {
        if self.take(token) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{token}` {after}")))
        }
    }

    pub(super) fn expect_end(&self) -> Result<(), ExprError> {
        match self.peek() {
            Token::EOF => Ok(()),
            _ => Err(self.unexpected("an operator or the end")),
        }
    }

    /// An error at the next token.
    pub(super) fn unexpected(&self, expected: &str) -> ExprError {
        let found = match self.tokens.get(self.position) {
            Some(placed) => {
                let Span { start, end } = placed.span;
                format!("`{}`", shortened(&self.text[start as usize..end as usize]))
            }
            None => "the end".to_owned(),
        };
        let error = syntax(format!("expected {expected}, found {found}"), self.span());
        match self.hint() {
            Some(help) => error.with_help(help),
            None => error,
        }
    }

    /// What to write in place of the next token, where others write that.
    fn hint(&self) -> Option<&'static str> {
        let next = self.peek();
        let is_clause =
            |word: &str| Self::is_word(next, word) && Self::is_word(self.peek_at(1), "by");
        match next {
            Token::Overlap => Some("`and` is written AND"),
            Token::StringConcat => Some("`or` is written OR; text is not computed with yet"),
            Token::ExclamationMark => Some("`not` is written NOT"),
            _ if is_clause("order") => Some("there is no sorting yet: rows keep their order"),
            _ if is_clause("group") => Some("there are no aggregates yet, so nothing to group for"),
            _ if Self::is_word(next, "limit") => {
                Some("a limit is no part of an expression: `unlade run` has --limit")
            }
            _ if Self::is_word(next, "where") || Self::is_word(next, "from") => {
                Some("give an expression, not a statement")
            }
            _ => None,
        }
    }

    /// Goes one level deeper, until [`Cursor::leave`]. An error need not leave: it is the end.
    pub(super) fn enter(&mut self) -> Result<(), ExprError> {
        if self.depth >= MAX_DEPTH {
            return Err(too_deep().at(Some(self.span())));
        }
        self.depth += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }
}

pub(super) fn syntax(message: impl Into<String>, span: Span) -> ExprError {
    ExprError::new(ExprErrorKind::Syntax, message).at(Some(span))
}

/// The character at a byte, or an empty place at the end and in white space.
fn point(text: &str, start: u32) -> Span {
    let width = text[start as usize..]
        .chars()
        .next()
        .filter(|next| !next.is_whitespace())
        .map_or(0, char::len_utf8);
    Span {
        start,
        end: start + width as u32,
    }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Turns the tokenizer's lines and columns, which count characters, into bytes. Tokens come in
/// order, so that the text is walked once.
struct Places<'a> {
    text: &'a str,
    bytes: usize,
    line: u64,
    column: u64,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Places {
            text,
            bytes: 0,
            line: 1,
            column: 1,
        }
    }

    fn place(&mut self, token: TokenWithSpan) -> Option<Placed> {
        let start = self.bytes_before(token.span.start);
        let end = self.bytes_before(token.span.end);
        match token.token {
            Token::Whitespace(_) | Token::EOF => None,
            token => Some(Placed {
                token,
                span: Span { start, end },
            }),
        }
    }

    fn bytes_before(&mut self, location: Location) -> u32 {
        while (self.line, self.column) < (location.line, location.column) {
            let Some(next) = self.text[self.bytes..].chars().next() else {
                break;
            };
            self.bytes += next.len_utf8();
            if next == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.bytes as u32
    }
}
