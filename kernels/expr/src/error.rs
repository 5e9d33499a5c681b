//! Errors of the text front, the check and lowering.

use std::fmt;

/// A range of bytes in a query's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// Why an expression cannot be compiled.
///
/// Displayed as one line; [`ExprError::render`] adds the text with the place underlined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExprError {
    kind: ExprErrorKind,
    message: String,
    help: Option<String>,
    span: Option<Span>,
    clause: Option<Clause>,
}

/// Which part of a query an error is about: the two may come from different texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clause {
    /// The predicate.
    Filter,
    /// The list of outputs.
    Select,
}

/// What kind of error an [`ExprError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExprErrorKind {
    /// The text is no expression.
    Syntax,
    /// A column, function or type that does not exist.
    Unknown,
    /// Operands whose types do not fit.
    Type,
    /// Something that exists but that these semantics or this version refuse.
    Unsupported,
    /// Too deep, too many nodes, too long a list.
    Limit,
}

impl ExprError {
    /// An error with its message: what is wrong, in the words of the query.
    pub fn new(kind: ExprErrorKind, message: impl Into<String>) -> Self {
        ExprError {
            kind,
            message: message.into(),
            help: None,
            span: None,
            clause: None,
        }
    }

    /// The same error with what would fit.
    pub fn with_help(self, help: impl Into<String>) -> Self {
        ExprError {
            help: Some(help.into()),
            ..self
        }
    }

    /// The same error at a place of the text, unless it already has one.
    pub fn at(self, span: Option<Span>) -> Self {
        ExprError {
            span: self.span.or(span),
            ..self
        }
    }

    /// The same error, said to be about a part of the query.
    pub fn within(self, clause: Clause) -> Self {
        ExprError {
            clause: self.clause.or(Some(clause)),
            ..self
        }
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ExprErrorKind {
        self.kind
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What would fit, where that is known.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Where in the text, if the expression came from text.
    pub fn span(&self) -> Option<Span> {
        self.span
    }

    /// Which part of the query it is about, where the check found it.
    pub fn clause(&self) -> Option<Clause> {
        self.clause
    }

    /// The error with the text and its place underlined, in several lines without a last line
    /// feed. `text` is what was parsed: the predicate's or the list's, see [`ExprError::clause`].
    ///
    /// ```
    /// use unlade_expr::parse_expr;
    ///
    /// let text = "a > 1 AND\nb <";
    /// let error = parse_expr(text).unwrap_err();
    /// assert_eq!(
    ///     error.render(text),
    ///     "error: expected an expression, found the end\n\
    ///      2 | b <\n\
    ///      \x20 |    ^",
    /// );
    /// ```
    pub fn render(&self, text: &str) -> String {
        let mut out = format!("error: {}", self.message);
        if let Some(span) = self.span {
            underline(&mut out, text, span);
        }
        if let Some(help) = &self.help {
            out.push_str("\nhelp: ");
            out.push_str(help);
        }
        out
    }
}

/// Lines of a text that an underlined place shows at most.
const MOST_LINES: usize = 4;

/// Columns of a line that are shown at most, around the place.
const MOST_COLUMNS: usize = 100;

/// Stands for what is left out of a line.
const CUT: char = '\u{2026}';

/// Appends the lines that a span touches, each with carets under its part of the span.
fn underline(out: &mut String, text: &str, span: Span) {
    let start = floor_boundary(text, span.start as usize);
    let end = floor_boundary(text, span.end as usize).max(start);
    let mut line_start = 0;
    let mut touched = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let (first, last) = (line_start, line_start + line.len());
        line_start = last + 1;
        if start <= last && (first <= start || first < end) {
            touched.push((index + 1, first, line));
        }
    }
    let width = touched
        .last()
        .map_or(1, |(number, _, _)| number.to_string().len());
    let gutter = " ".repeat(width);
    for (number, first, line) in touched.iter().take(MOST_LINES) {
        let line = line.trim_end_matches('\r');
        let from = start.saturating_sub(*first).min(line.len());
        let to = end.saturating_sub(*first).min(line.len()).max(from);
        let before = line[..from].chars().count();
        let carets = line[from..to].chars().count().max(1);
        let skipped = before.saturating_sub(MOST_COLUMNS / 2);
        let shown = columns(line, skipped);
        let shown = shown.trim_end();
        let carets = carets.min(MOST_COLUMNS - (before - skipped));
        out.push_str(&format!(
            "\n{number:>width$} |{}{shown}\n{gutter} | {}{}",
            if shown.is_empty() { "" } else { " " },
            " ".repeat(before - skipped),
            "^".repeat(carets)
        ));
    }
    if touched.len() > MOST_LINES {
        out.push_str(&format!("\n{gutter} | ..."));
    }
}

/// The columns of a line from one on, as many as are shown; a mark stands where others are left out.
fn columns(line: &str, skipped: usize) -> String {
    let is_cut = line.chars().nth(skipped + MOST_COLUMNS).is_some();
    let last = MOST_COLUMNS - 1;
    let columns = line.chars().skip(skipped).take(MOST_COLUMNS).enumerate();
    let shown = columns.map(|(column, c)| match c {
        _ if column == 0 && skipped > 0 || column == last && is_cut => CUT,
        '\t' => ' ',
        c => c,
    });
    shown.collect()
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ExprError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, start: u32, end: u32) -> String {
        let span = Span { start, end };
        ExprError::new(ExprErrorKind::Type, "no")
            .at(Some(span))
            .render(text)
    }

    #[test]
    fn places_are_underlined_line_by_line() {
        assert_eq!(
            rendered("a +\r\nbö +\nc", 2, 8),
            "error: no\n1 | a +\n  |   ^\n2 | bö +\n  | ^^"
        );
        assert_eq!(rendered("ab", 1, 2), "error: no\n1 | ab\n  |  ^");
        assert_eq!(rendered("ab\n", 3, 3), "error: no\n2 |\n  | ^");
    }

    #[test]
    fn long_lines_and_long_places_are_cut() {
        let text = format!("{}!{}", "x".repeat(1_000), "y".repeat(1_000));
        let shown = rendered(&text, 1_000, 1_001);
        assert!(shown.lines().all(|line| line.len() < 120), "{shown}");
        let cut = format!(
            "1 | \u{2026}{}!{}\u{2026}\n",
            "x".repeat(49),
            "y".repeat(48)
        );
        assert!(shown.contains(&cut), "{shown}");
        let place = format!("\n  | {}^", " ".repeat(50));
        assert!(shown.ends_with(&place), "{shown}");
        let whole = rendered(&"x".repeat(100), 0, 1);
        assert!(!whole.contains('\u{2026}'), "{whole}");
        let lines = "line\n".repeat(100);
        assert!(rendered(&lines, 0, 400).lines().count() < 12);
    }

    #[test]
    fn places_outside_the_text_are_no_panic() {
        rendered("", 5, 9);
        rendered("ö", 1, 1);
        rendered("a", 1, 0);
    }
}
