//! Tokens become modules, kernels and statements (PTX ISA 4 and 5, and 11 for directives).

use super::error::{ParseErrorKind, Result, fail, invalid, unsupported};
use super::lexer::{Token, TokenKind, tokens};
use super::types::Type;

/// A module as it is written.
#[derive(Debug)]
pub(crate) struct ModuleText<'t> {
    /// Digits of `.version`, as in 7.0.
    pub(crate) version: (u32, u32),
    /// The number of `.target sm_75`.
    pub(crate) target: u32,
    /// Shared variables outside of kernels.
    pub(crate) shared: Vec<SharedText<'t>>,
    pub(crate) kernels: Vec<KernelText<'t>>,
}

/// A kernel as it is written.
#[derive(Debug)]
pub(crate) struct KernelText<'t> {
    pub(crate) name: &'t str,
    pub(crate) line: u32,
    pub(crate) params: Vec<Variable<'t>>,
    /// `.maxntid` or `.reqntid`: threads of a block, and whether exactly so many.
    pub(crate) threads: Option<(u32, bool)>,
    pub(crate) body: Vec<Item<'t>>,
}

/// A variable of `.param` or `.shared` space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variable<'t> {
    pub(crate) name: &'t str,
    pub(crate) line: u32,
    pub(crate) ty: Type,
    pub(crate) align: u64,
    /// Elements; none for an array whose length is left open.
    pub(crate) count: Option<u64>,
}

/// A shared variable; `.extern` ones get what the launch asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedText<'t> {
    pub(crate) variable: Variable<'t>,
    pub(crate) external: bool,
}

/// What stands in a kernel's body.
#[derive(Debug)]
pub(crate) enum Item<'t> {
    Open,
    Close,
    Label {
        name: &'t str,
        line: u32,
    },
    /// Registers of one type: `%r<4>` declares `%r0` to `%r3`.
    Registers {
        ty: Type,
        names: Vec<(&'t str, Option<u32>)>,
        line: u32,
    },
    Shared(SharedText<'t>),
    Statement(Statement<'t>),
}

/// An instruction as it is written.
#[derive(Debug)]
pub(crate) struct Statement<'t> {
    pub(crate) line: u32,
    /// The guard's predicate, and whether it is negated.
    pub(crate) guard: Option<(&'t str, bool)>,
    /// With its modifiers: `ld.global.u32`.
    pub(crate) opcode: &'t str,
    pub(crate) operands: Vec<Operand<'t>>,
}

/// An operand as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operand<'t> {
    /// A register, a special register, a variable, a label or the sink `_`.
    Name(&'t str),
    /// `!%p`.
    Not(&'t str),
    /// `%r1|%p1`.
    Pair(&'t str, &'t str),
    /// A constant, and whether a minus stands before it.
    Number { text: &'t str, negative: bool },
    /// `[%rd1+8]`, `[name]`; no base for a plain number.
    Address { base: Option<&'t str>, offset: i64 },
    /// `{%r1, %r2}`.
    Vector(Vec<Operand<'t>>),
}

/// Most registers that one declaration may make.
const MAX_REGISTERS: u32 = 65_536;

/// Reads a module.
pub(crate) fn parse(text: &str) -> Result<ModuleText<'_>> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
    };
    parser.module()
}

/// The bits of a number as it is written: integers as two's complement, `0f` and `0d` as they are
/// (PTX ISA 4.5).
pub(crate) fn number(text: &str, negative: bool, line: u32) -> Result<u64> {
    let digits = text
        .strip_suffix(['U', 'u'])
        .filter(|_| !text.starts_with("0f") && !text.starts_with("0d"));
    let digits = digits.unwrap_or(text);
    let radix = |rest: &str, radix| u64::from_str_radix(rest, radix).ok();
    let bits = match digits.get(..2) {
        Some("0x" | "0X") => radix(&digits[2..], 16),
        Some("0b" | "0B") => radix(&digits[2..], 2),
        Some("0f" | "0F") if digits.len() == 10 && !negative => radix(&digits[2..], 16),
        Some("0d" | "0D") if digits.len() == 18 && !negative => radix(&digits[2..], 16),
        Some("0f" | "0F" | "0d" | "0D") => None,
        _ if digits.len() > 1 && digits.starts_with('0') => radix(&digits[1..], 8),
        _ => radix(digits, 10),
    };
    match bits {
        Some(bits) if negative => Ok(bits.wrapping_neg()),
        Some(bits) => Ok(bits),
        None => invalid(line, format!("`{text}` is no number that fits 64 bits")),
    }
}

struct Parser<'a, 't> {
    tokens: &'a [Token<'t>],
    at: usize,
}

impl<'t> Parser<'_, 't> {
    fn module(&mut self) -> Result<ModuleText<'t>> {
        let version = self.version()?;
        let target = self.target()?;
        let mut module = ModuleText {
            version,
            target,
            shared: Vec::new(),
            kernels: Vec::new(),
        };
        while let Some(token) = self.peek() {
            match token.kind {
                TokenKind::Word(".address_size") => {
                    self.next()?;
                    let (size, line) = self.integer()?;
                    if size != 64 {
                        return unsupported(line, format!("addresses of {size} bits; only 64"));
                    }
                }
                TokenKind::Word(".visible" | ".weak") => self.at += 1,
                TokenKind::Word(".extern" | ".shared") => module.shared.push(self.shared()?),
                TokenKind::Word(".entry") => module.kernels.push(self.kernel()?),
                TokenKind::Word(".file") => self.skip_line(token.line),
                TokenKind::Word(word) if word.starts_with('.') => {
                    return unsupported(token.line, format!("`{word}` outside of a kernel"));
                }
                _ => {
                    return invalid(
                        token.line,
                        format!("{} where a directive belongs", show(token)),
                    );
                }
            }
        }
        Ok(module)
    }

    fn version(&mut self) -> Result<(u32, u32)> {
        self.expect_word(".version")?;
        let token = self.next()?;
        let TokenKind::Number(text) = token.kind else {
            return invalid(token.line, "`.version` wants a number like 7.0");
        };
        let parts = text
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        match parts {
            Some(version) => Ok(version),
            None => invalid(token.line, "`.version` wants a number like 7.0"),
        }
    }

    fn target(&mut self) -> Result<u32> {
        self.expect_word(".target")?;
        let (name, line) = self.word()?;
        let digits = name.strip_prefix("sm_").unwrap_or_default();
        match digits.parse() {
            Ok(target) if self.mark_follows(',') => fail(
                line,
                ParseErrorKind::Target,
                format!("`.target sm_{target}` with options"),
            ),
            Ok(target) => Ok(target),
            Err(_) => fail(
                line,
                ParseErrorKind::Target,
                format!("`.target {name}` is not known"),
            ),
        }
    }

    fn kernel(&mut self) -> Result<KernelText<'t>> {
        self.expect_word(".entry")?;
        let (name, line) = self.word()?;
        let params = if self.mark_follows('(') {
            self.params()?
        } else {
            Vec::new()
        };
        let mut threads = None;
        while let Some(Token {
            kind: TokenKind::Word(word),
            line,
        }) = self.peek()
        {
            self.at += 1;
            match word {
                ".maxntid" | ".reqntid" => threads = Some((self.dimensions()?, word == ".reqntid")),
                ".minnctapersm" | ".maxnreg" => {
                    self.integer()?;
                }
                _ => return unsupported(line, format!("`{word}` at a kernel")),
            }
        }
        let body = self.body()?;
        Ok(KernelText {
            name,
            line,
            params,
            threads,
            body,
        })
    }

    fn dimensions(&mut self) -> Result<u32> {
        let (mut product, line) = self.integer()?;
        while self.mark_follows(',') {
            self.at += 1;
            product = product.saturating_mul(self.integer()?.0);
        }
        match u32::try_from(product) {
            Ok(threads) => Ok(threads),
            Err(_) => invalid(line, "more threads than a block can have"),
        }
    }

    fn params(&mut self) -> Result<Vec<Variable<'t>>> {
        self.expect('(')?;
        let mut params = Vec::new();
        while !self.mark_follows(')') {
            if !params.is_empty() {
                self.expect(',')?;
            }
            self.expect_word(".param")?;
            params.push(self.variable()?);
        }
        self.expect(')')?;
        Ok(params)
    }

    /// `.align 16 .b8 name[64]`; `.ptr` and its attributes say nothing that matters here.
    fn variable(&mut self) -> Result<Variable<'t>> {
        let (mut align, mut ty) = (None, None);
        let (name, line) = loop {
            let (word, line) = self.word()?;
            match word {
                ".align" => {
                    let (bytes, line) = self.integer()?;
                    if !bytes.is_power_of_two() || bytes > 4096 {
                        return invalid(line, format!("an alignment of {bytes}"));
                    }
                    align = Some(bytes);
                }
                ".ptr" | ".global" | ".shared" | ".const" | ".local" if ty.is_some() => {}
                _ => match word.strip_prefix('.') {
                    None => break (word, line),
                    Some(name) => match Type::parse(name).filter(|ty| ty.width().is_some()) {
                        Some(found) if ty.is_none() => ty = Some(found),
                        _ => return unsupported(line, format!("`{word}` at a variable")),
                    },
                },
            }
        };
        let Some(ty) = ty else {
            return invalid(line, format!("`{name}` has no type"));
        };
        let mut count = Some(1);
        if self.mark_follows('[') {
            self.expect('[')?;
            count = if self.mark_follows(']') {
                None
            } else {
                Some(self.integer()?.0)
            };
            self.expect(']')?;
        }
        let natural = ty.width().map_or(1, |width| u64::from(width.bytes()));
        let align = align.unwrap_or(natural);
        Ok(Variable {
            name,
            line,
            ty,
            align,
            count,
        })
    }

    fn shared(&mut self) -> Result<SharedText<'t>> {
        let (word, _) = self.word()?;
        let external = word == ".extern";
        if external {
            self.expect_word(".shared")?;
        }
        let variable = self.variable()?;
        self.expect(';')?;
        if external != variable.count.is_none() {
            let message = format!(
                "`{}`: an array of open length is `.extern`, and only that",
                variable.name
            );
            return invalid(variable.line, message);
        }
        Ok(SharedText { variable, external })
    }

    fn body(&mut self) -> Result<Vec<Item<'t>>> {
        self.expect('{')?;
        let (mut items, mut depth) = (Vec::new(), 1);
        while depth > 0 {
            let token = self.next()?;
            match token.kind {
                TokenKind::Mark('{') => {
                    depth += 1;
                    items.push(Item::Open);
                }
                TokenKind::Mark('}') => {
                    depth -= 1;
                    if depth > 0 {
                        items.push(Item::Close);
                    }
                }
                TokenKind::Mark(';') => {}
                TokenKind::Word(".reg") => items.push(self.registers()?),
                TokenKind::Word(".shared" | ".extern") => {
                    self.at -= 1;
                    items.push(Item::Shared(self.shared()?));
                }
                TokenKind::Word(".pragma" | ".loc") => {
                    if token.kind == TokenKind::Word(".loc") {
                        self.skip_line(token.line);
                    } else {
                        while self.next()?.kind != TokenKind::Mark(';') {}
                    }
                }
                TokenKind::Word(word) if word.starts_with('.') => {
                    return unsupported(token.line, format!("`{word}` in a kernel"));
                }
                TokenKind::Word(name) if self.mark_follows(':') => {
                    self.at += 1;
                    items.push(Item::Label {
                        name,
                        line: token.line,
                    });
                }
                TokenKind::Mark('@') => {
                    let negated = self.mark_follows('!');
                    self.at += usize::from(negated);
                    let (predicate, _) = self.word()?;
                    let (opcode, line) = self.word()?;
                    items.push(self.statement(line, Some((predicate, negated)), opcode)?);
                }
                TokenKind::Word(opcode) => items.push(self.statement(token.line, None, opcode)?),
                _ => {
                    return invalid(
                        token.line,
                        format!("{} where an instruction belongs", show(token)),
                    );
                }
            }
        }
        Ok(items)
    }

    fn registers(&mut self) -> Result<Item<'t>> {
        let (word, line_of_type) = self.word()?;
        let Some(ty) = word.strip_prefix('.').and_then(Type::parse) else {
            return unsupported(line_of_type, format!("registers of type `{word}`"));
        };
        let mut names = Vec::new();
        loop {
            let (name, line) = self.word()?;
            let mut count = None;
            if self.mark_follows('<') {
                self.expect('<')?;
                let (number, line) = self.integer()?;
                match u32::try_from(number) {
                    Ok(number) if number <= MAX_REGISTERS => count = Some(number),
                    _ => {
                        return invalid(
                            line,
                            format!("{number} registers at once, over {MAX_REGISTERS}"),
                        );
                    }
                }
                self.expect('>')?;
            }
            names.push((name, count));
            if self.mark_follows(';') {
                self.at += 1;
                return Ok(Item::Registers { ty, names, line });
            }
            if !self.mark_follows(',') {
                return invalid(line, format!("`;` or `,` is missing after `{name}`"));
            }
            self.at += 1;
        }
    }

    fn statement(
        &mut self,
        line: u32,
        guard: Option<(&'t str, bool)>,
        opcode: &'t str,
    ) -> Result<Item<'t>> {
        let mut operands = Vec::new();
        while !self.mark_follows(';') {
            if !operands.is_empty() {
                self.expect(',')?;
            }
            operands.push(self.operand()?);
        }
        self.expect(';')?;
        Ok(Item::Statement(Statement {
            line,
            guard,
            opcode,
            operands,
        }))
    }

    fn operand(&mut self) -> Result<Operand<'t>> {
        let token = self.next()?;
        match token.kind {
            TokenKind::Word(name) if self.mark_follows('|') => {
                self.at += 1;
                Ok(Operand::Pair(name, self.word()?.0))
            }
            TokenKind::Word(name) => Ok(Operand::Name(name)),
            TokenKind::Number(text) => Ok(Operand::Number {
                text,
                negative: false,
            }),
            TokenKind::Mark('-') => match self.next()?.kind {
                TokenKind::Number(text) => Ok(Operand::Number {
                    text,
                    negative: true,
                }),
                _ => invalid(token.line, "a minus without a number"),
            },
            TokenKind::Mark('!') => Ok(Operand::Not(self.word()?.0)),
            TokenKind::Mark('[') => self.address(),
            TokenKind::Mark('{') => {
                let mut parts = vec![self.operand()?];
                while self.mark_follows(',') {
                    self.at += 1;
                    parts.push(self.operand()?);
                }
                self.expect('}')?;
                Ok(Operand::Vector(parts))
            }
            _ => invalid(
                token.line,
                format!("{} where an operand belongs", show(token)),
            ),
        }
    }

    fn address(&mut self) -> Result<Operand<'t>> {
        let base = match self.peek() {
            Some(Token {
                kind: TokenKind::Word(name),
                ..
            }) => {
                self.at += 1;
                Some(name)
            }
            _ => None,
        };
        let mut offset = 0i64;
        let mut first = base.is_none();
        while !self.mark_follows(']') {
            let plus = self.mark_follows('+');
            if plus {
                self.at += 1;
            } else if !first && !self.mark_follows('-') {
                return invalid(self.line(), "an address is a name and an offset");
            }
            let minus = self.mark_follows('-');
            self.at += usize::from(minus);
            let (magnitude, line) = self.integer()?;
            let Ok(magnitude) = i64::try_from(magnitude) else {
                return invalid(line, "an offset too large");
            };
            offset = offset.wrapping_add(if minus { -magnitude } else { magnitude });
            first = false;
        }
        self.expect(']')?;
        Ok(Operand::Address { base, offset })
    }

    fn integer(&mut self) -> Result<(u64, u32)> {
        let token = self.next()?;
        match token.kind {
            TokenKind::Number(text) => Ok((number(text, false, token.line)?, token.line)),
            _ => invalid(
                token.line,
                format!("{} where a number belongs", show(token)),
            ),
        }
    }

    fn word(&mut self) -> Result<(&'t str, u32)> {
        let token = self.next()?;
        match token.kind {
            TokenKind::Word(word) => Ok((word, token.line)),
            _ => invalid(token.line, format!("{} where a name belongs", show(token))),
        }
    }

    fn expect_word(&mut self, expected: &str) -> Result<()> {
        match self.word()? {
            (word, _) if word == expected => Ok(()),
            (word, line) => invalid(line, format!("`{word}` where `{expected}` belongs")),
        }
    }

    fn expect(&mut self, mark: char) -> Result<()> {
        let token = self.next()?;
        if token.kind == TokenKind::Mark(mark) {
            return Ok(());
        }
        invalid(
            token.line,
            format!("{} where `{mark}` belongs", show(token)),
        )
    }

    fn mark_follows(&self, mark: char) -> bool {
        self.peek()
            .is_some_and(|token| token.kind == TokenKind::Mark(mark))
    }

    fn skip_line(&mut self, line: u32) {
        while self.peek().is_some_and(|token| token.line == line) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<Token<'t>> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Result<Token<'t>> {
        let Some(token) = self.peek() else {
            return invalid(self.line(), "the text ends too early");
        };
        self.at += 1;
        Ok(token)
    }

    /// Of what comes next, or the last.
    fn line(&self) -> u32 {
        let token = self.tokens.get(self.at).or(self.tokens.last());
        token.map_or(1, |token| token.line)
    }
}

fn show(token: Token<'_>) -> String {
    match token.kind {
        TokenKind::Word(text) | TokenKind::Number(text) => format!("`{text}`"),
        TokenKind::Quoted(text) => format!("\"{text}\""),
        TokenKind::Mark(mark) => format!("`{mark}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = ".version 7.0\n.target sm_75\n.address_size 64\n";

    #[test]
    fn a_kernel_is_read_with_its_parts() {
        let text = format!(
            "{HEAD}.visible .entry k(.param .u64 p, .param .align 16 .b8 q[16]) .maxntid 32,2,1\n\
             {{ .reg .pred %p<2>; .reg .b32 %r<3>, %x; .shared .align 4 .b8 s[64];\n\
             top: @!%p1 ld.global.v2.u32 {{%r0, %r1}}, [%rd1+-8]; bra.uni top; }}"
        );
        let module = parse(&text).unwrap();
        let kernel = &module.kernels[0];
        assert_eq!((module.version, module.target), ((7, 0), 75));
        assert_eq!((kernel.name, kernel.params.len()), ("k", 2));
        assert_eq!(
            (kernel.params[1].align, kernel.params[1].count),
            (16, Some(16))
        );
        assert_eq!(kernel.threads, Some((64, false)));
        let Item::Statement(load) = &kernel.body[4] else {
            panic!("{:?}", kernel.body[4])
        };
        assert_eq!(
            (load.opcode, load.guard, load.line),
            ("ld.global.v2.u32", Some(("%p1", true)), 6)
        );
        assert_eq!(
            load.operands[1],
            Operand::Address {
                base: Some("%rd1"),
                offset: -8
            }
        );
        assert_eq!(kernel.body.len(), 6);
    }

    #[test]
    fn numbers_have_the_bits_that_they_say() {
        let bits = |text, negative| number(text, negative, 1).unwrap();
        assert_eq!(bits("0x1F", false), 31);
        assert_eq!(bits("017", false), 15);
        assert_eq!(bits("0b101U", false), 5);
        assert_eq!(bits("0f3F800000", false), 1f32.to_bits().into());
        assert_eq!(bits("0d3FF0000000000000", false), 1f64.to_bits());
        assert_eq!(bits("1", true), u64::MAX);
        for wrong in ["0f3F8", "1.5", "18446744073709551616", "0xG"] {
            assert_eq!(number(wrong, false, 9).unwrap_err().line, 9, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_understood_names_its_line() {
        let error = |body: &str| parse(&format!("{HEAD}{body}")).unwrap_err();
        assert_eq!(
            error("\n.func f() { ret; }").kind,
            ParseErrorKind::Unsupported
        );
        assert_eq!(error("\n.func f() { ret; }").line, 5);
        assert_eq!(error(".entry k() {\n ret\n }").line, 6);
        assert_eq!(
            error(".entry k() {\n .local .b8 x[4]; }").kind,
            ParseErrorKind::Unsupported
        );
        assert_eq!(error(".entry k() { ret;").kind, ParseErrorKind::Invalid);
        assert_eq!(
            parse(".version 7.0\n.target gfx90a").unwrap_err().kind,
            ParseErrorKind::Target
        );
        assert!(parse("").is_err());
    }
}
