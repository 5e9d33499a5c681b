//! The grammar of expressions: operators by how tightly they bind.

use std::sync::Arc;

use arrow_schema::DataType;
use sqlparser::tokenizer::Token;
use unlade_program::CompareOp;

use super::tokens::{Cursor, syntax};
use crate::builder::{coalesce, if_, nullif};
use crate::check::names::closest;
use crate::display::Brief;
use crate::display::{is_reserved, level};
use crate::error::{ExprError, ExprErrorKind, Span};
use crate::functions::function_names;
use crate::signature::Signatures;
use crate::tree::{BinaryOp, Expr, Kind, Value};
use crate::type_name::{plain_type, takes_parameters};
use crate::typed::{ArithmeticOp, IsTest};

impl Cursor<'_> {
    /// An expression of any kind.
    pub(super) fn expression(&mut self) -> Result<Expr, ExprError> {
        self.binding(level::OR)
    }

    /// `*`, or an expression with a name or without.
    pub(super) fn select_item(&mut self) -> Result<Expr, ExprError> {
        let start = self.span();
        if self.take(&Token::Mul) {
            return Ok(Expr::new(Kind::Wildcard).spanning(start));
        }
        let expr = self.expression()?;
        let is_named = self.take_word("as");
        match self.name() {
            // SQL would take the name, and a forgotten comma would take a column away.
            Some(_) if !is_named => {
                let name = self.peek();
                let error = self.unexpected("a comma or `AS`");
                Err(match error.help() {
                    Some(_) => error,
                    None => error.with_help(format!(
                        "`AS {name}` names the column, `, {name}` is another"
                    )),
                })
            }
            Some(name) => {
                self.advance();
                Ok(expr.alias(name).spanning(self.span_from(start)))
            }
            None if is_named => Err(self.unexpected("a name after `AS`")),
            None => Ok(expr),
        }
    }

    /// The next token, if it can be a name.
    fn name(&self) -> Option<String> {
        match self.peek() {
            Token::Word(word) if word.quote_style.is_some() || !is_reserved(&word.value) => {
                Some(word.value.clone())
            }
            _ => None,
        }
    }

    /// What binds at least as tightly as a level.
    fn binding(&mut self, least: u8) -> Result<Expr, ExprError> {
        self.enter()?;
        let start = self.span();
        let mut left = self.prefix(least)?;
        while let Some(operator) = self.infix() {
            if operator.level() < least {
                break;
            }
            left = self.apply(operator, left)?.spanning(self.span_from(start));
        }
        self.leave();
        Ok(left)
    }

    fn prefix(&mut self, least: u8) -> Result<Expr, ExprError> {
        let start = self.span();
        let expr = if Self::is_word(self.peek(), "not") {
            self.not(least)
        } else if self.take(&Token::Plus) {
            return self.binding(level::NEGATE);
        } else if self.take(&Token::Minus) {
            self.minus()
        } else {
            self.primary()
        };
        Ok(expr?.spanning(self.span_from(start)))
    }

    fn not(&mut self, least: u8) -> Result<Expr, ExprError> {
        if least > level::NOT {
            return Err(syntax(
                "`NOT` binds less tightly than what is before it",
                self.span(),
            )
            .with_help("put NOT and its operand in parentheses"));
        }
        self.advance();
        self.binding(level::NOT).map(Expr::not)
    }

    /// What follows a minus: with a number it is one constant, so that the least integer can be
    /// written.
    fn minus(&mut self) -> Result<Expr, ExprError> {
        if let Token::Number(digits, long) = self.peek() {
            let value = number(&format!("-{digits}"), *long, self.span())?;
            self.advance();
            return Ok(value);
        }
        self.binding(level::NEGATE).map(Expr::neg)
    }

    fn primary(&mut self) -> Result<Expr, ExprError> {
        let span = self.span();
        match self.peek() {
            Token::LParen => {
                self.advance();
                let expr = self.expression()?;
                self.expect(&Token::RParen, "to close the parenthesis")?;
                Ok(expr)
            }
            Token::Number(digits, long) => {
                let value = number(digits, *long, span)?;
                self.advance();
                Ok(value)
            }
            Token::SingleQuotedString(_) => {
                let text = self.string("text")?;
                Ok(literal(Value::Text(text)))
            }
            Token::Word(word) if word.quote_style.is_some() => {
                let name = word.value.as_str().into();
                self.advance();
                self.refuse_qualified(span)?;
                Ok(Expr::new(Kind::Column { name, exact: true }))
            }
            Token::Word(word) => {
                let word = word.value.clone();
                self.word(&word, span)
            }
            _ => Err(self.unexpected("an expression")),
        }
    }

    /// What starts with a word without quotes.
    fn word(&mut self, word: &str, span: Span) -> Result<Expr, ExprError> {
        if is_reserved(word) {
            return self.reserved(word);
        }
        if self.starts_typed_string(word) {
            return self.typed_string();
        }
        self.advance();
        if self.take(&Token::LParen) {
            return self.call(word, span);
        }
        self.refuse_interval(word, span)?;
        self.refuse_qualified(span)?;
        Ok(Expr::new(Kind::Column {
            name: word.into(),
            exact: false,
        }))
    }

    fn reserved(&mut self, word: &str) -> Result<Expr, ExprError> {
        let value = match word.to_ascii_lowercase().as_str() {
            "case" => {
                self.advance();
                return self.case();
            }
            "null" => Value::Null,
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            "select" | "where" => {
                let error = self.unexpected("an expression");
                return Err(error.with_help("give an expression, not a statement"));
            }
            _ => {
                let error = self.unexpected("an expression");
                return Err(error.with_help("a column of this name needs double quotes"));
            }
        };
        self.advance();
        Ok(literal(value))
    }

    /// `date '2020-01-01'`: text that is cast to the type before it.
    fn typed_string(&mut self) -> Result<Expr, ExprError> {
        let to = self.data_type()?;
        let place = self.span();
        let text = literal(Value::Text(self.string("text in quotes after the type")?));
        Ok(text.spanning(place).cast(to))
    }

    /// Whether a type stands here that text follows: `date '2020-01-01'`, `decimal(5, 2) '1.50'`.
    fn starts_typed_string(&self, word: &str) -> bool {
        let next = self.peek_at(1);
        let has_parameters = takes_parameters(word);
        match next {
            Token::SingleQuotedString(_) => has_parameters || plain_type(word).is_some(),
            Token::LParen => has_parameters,
            next => {
                has_parameters && (Self::is_word(next, "with") || Self::is_word(next, "without"))
            }
        }
    }

    /// `interval '1 day'`, `interval 1 day`
    fn refuse_interval(&self, word: &str, span: Span) -> Result<(), ExprError> {
        let is_length = matches!(
            self.peek(),
            Token::SingleQuotedString(_) | Token::Number(..)
        );
        if !is_length || !word.eq_ignore_ascii_case("interval") {
            return Ok(());
        }
        Err(
            ExprError::new(ExprErrorKind::Unsupported, "there are no intervals yet")
                .with_help(
                    "dates and timestamps are compared and cast only: write the day that is \
                     meant, date '2020-12-31'",
                )
                .at(Some(span)),
        )
    }

    fn refuse_qualified(&self, span: Span) -> Result<(), ExprError> {
        match self.peek() {
            Token::Period => Err(ExprError::new(
                ExprErrorKind::Unsupported,
                "there are no tables and no fields of structs to choose from",
            )
            .with_help("put a column's name that has a point in it in double quotes")
            .at(Some(self.span_from(span)))),
            _ => Ok(()),
        }
    }

    /// The rest of a `CASE`.
    fn case(&mut self) -> Result<Expr, ExprError> {
        let operand = match Self::is_word(self.peek(), "when") {
            true => None,
            false => Some(self.boxed()?),
        };
        let mut branches = Vec::new();
        self.expect_word("when", "after `CASE`")?;
        loop {
            self.branch(&mut branches)?;
            if !self.take_word("when") {
                break;
            }
        }
        let otherwise = match self.take_word("else") {
            true => Some(self.boxed()?),
            false => None,
        };
        self.expect_word("end", "to close `CASE`")?;
        Ok(Expr::new(Kind::Case {
            operand,
            branches,
            otherwise,
        }))
    }

    fn branch(&mut self, branches: &mut Vec<(Expr, Expr)>) -> Result<(), ExprError> {
        let condition = self.expression()?;
        self.expect_word("then", "after the condition of `WHEN`")?;
        branches.push((condition, self.expression()?));
        Ok(())
    }

    fn boxed(&mut self) -> Result<Box<Expr>, ExprError> {
        self.expression().map(Box::new)
    }

    /// The rest of a call after its parenthesis.
    fn call(&mut self, name: &str, span: Span) -> Result<Expr, ExprError> {
        match name.to_ascii_lowercase().as_str() {
            "cast" => self.cast(false),
            "try_cast" => self.cast(true),
            "abs" => self.unary(name, Expr::abs),
            "try" => self.unary(name, Expr::try_),
            "nullif" => self.nullif(),
            "if" => self.if_(),
            "coalesce" => self.list("coalesce").map(coalesce),
            _ => self.call_of_user(name, span),
        }
    }

    /// The rest of a call of a user's function.
    fn call_of_user(&mut self, name: &str, span: Span) -> Result<Expr, ExprError> {
        let known = self.functions.get(name).map(Arc::clone);
        let Some(function) = known else {
            return Err(unknown_function(name, self.functions).at(Some(span)));
        };
        let args = self.list(name)?;
        Ok(function.call(args))
    }

    fn unary(&mut self, name: &str, make: fn(Expr) -> Expr) -> Result<Expr, ExprError> {
        let [arg] = self.arguments(name)?;
        Ok(make(arg))
    }

    fn nullif(&mut self) -> Result<Expr, ExprError> {
        let [value, null_where] = self.arguments("nullif")?;
        Ok(nullif(value, null_where))
    }

    fn if_(&mut self) -> Result<Expr, ExprError> {
        let [condition, then, otherwise] = self.arguments("if")?;
        Ok(if_(condition, then, otherwise))
    }

    fn cast(&mut self, lenient: bool) -> Result<Expr, ExprError> {
        let arg = self.expression()?;
        self.expect_word("as", "before the type of a cast")?;
        let to = self.data_type()?;
        self.expect(&Token::RParen, "to close the cast")?;
        Ok(arg.cast_or_null(to, lenient))
    }

    /// As many arguments as a function takes, and the parenthesis after them.
    fn arguments<const COUNT: usize>(&mut self, name: &str) -> Result<[Expr; COUNT], ExprError> {
        let start = self.span();
        let arguments = self.list(name)?;
        arguments.try_into().map_err(|arguments: Vec<Expr>| {
            let plural = if COUNT == 1 { "" } else { "s" };
            let found = arguments.len();
            let message = format!("`{name}` takes {COUNT} argument{plural}, not {found}");
            syntax(message, self.span_from(start))
        })
    }

    /// Expressions between commas, and the parenthesis after them.
    fn list(&mut self, what: &str) -> Result<Vec<Expr>, ExprError> {
        let mut members = Vec::new();
        loop {
            members.push(self.expression()?);
            if !self.take_comma() {
                break;
            }
        }
        self.expect(&Token::RParen, &format!("to close `{what}`"))?;
        Ok(members)
    }

    /// The operator that comes next, if one does.
    fn infix(&self) -> Option<Infix> {
        let binary = |op| Some(Infix::Binary(op));
        match self.peek() {
            Token::Eq | Token::DoubleEq => binary(BinaryOp::Compare(CompareOp::Eq)),
            Token::Neq => binary(BinaryOp::Compare(CompareOp::Ne)),
            Token::Lt => binary(BinaryOp::Compare(CompareOp::Lt)),
            Token::LtEq => binary(BinaryOp::Compare(CompareOp::Le)),
            Token::Gt => binary(BinaryOp::Compare(CompareOp::Gt)),
            Token::GtEq => binary(BinaryOp::Compare(CompareOp::Ge)),
            Token::Spaceship => Some(Infix::NullSafeEqual),
            Token::Plus => binary(BinaryOp::Arithmetic(ArithmeticOp::Add)),
            Token::Minus => binary(BinaryOp::Arithmetic(ArithmeticOp::Sub)),
            Token::Mul => binary(BinaryOp::Arithmetic(ArithmeticOp::Mul)),
            Token::Div => binary(BinaryOp::Arithmetic(ArithmeticOp::Div)),
            Token::Mod => binary(BinaryOp::Arithmetic(ArithmeticOp::Rem)),
            Token::DoubleColon => Some(Infix::Cast),
            Token::Word(word) if word.quote_style.is_none() => {
                let value = word.value.as_str();
                let is = |name: &str| value.eq_ignore_ascii_case(name);
                if is("and") {
                    Some(Infix::And)
                } else if is("or") {
                    Some(Infix::Or)
                } else if is("div") {
                    binary(BinaryOp::IntegerDivide)
                } else if is("is") {
                    Some(Infix::Is)
                } else if is("between") || is("in") || is("like") || is("ilike") || is("not") {
                    Some(Infix::Predicate)
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    /// Reads the operator and what is right of it.
    fn apply(&mut self, operator: Infix, left: Expr) -> Result<Expr, ExprError> {
        if !matches!(operator, Infix::Predicate) {
            self.advance();
        }
        match operator {
            Infix::Or => Ok(left.or(self.binding(level::OR + 1)?)),
            Infix::And => Ok(left.and(self.binding(level::AND + 1)?)),
            Infix::Binary(op) => {
                let right = self.binding(op.level() + 1)?;
                Ok(left.binary(op, right))
            }
            Infix::NullSafeEqual => Ok(left.not_distinct_from(self.binding(level::COMPARE + 1)?)),
            Infix::Cast => {
                let to = self.data_type()?;
                Ok(left.cast(to))
            }
            Infix::Is => self.is(left),
            Infix::Predicate => self.predicate(left),
        }
    }

    /// `[NOT] BETWEEN` and `[NOT] IN`.
    fn predicate(&mut self, left: Expr) -> Result<Expr, ExprError> {
        let place = self.span();
        let negated = self.take_word("not");
        if self.take_word("between") {
            let low = self.binding(level::ADD)?;
            self.expect_word("and", "between the bounds of `BETWEEN`")?;
            let high = self.binding(level::ADD)?;
            return Ok(left.between_or_not(low, high, negated));
        }
        if self.take_word("in") {
            self.expect(&Token::LParen, "after `IN`")?;
            return Ok(left.in_or_not(self.list("IN")?, negated));
        }
        if self.take_word("like") || self.take_word("ilike") {
            return Err(ExprError::new(
                ExprErrorKind::Unsupported,
                "text is not computed with yet, so there is no LIKE",
            )
            .at(Some(self.span_from(place))));
        }
        Err(self.unexpected("`BETWEEN` or `IN` after `NOT`"))
    }

    fn is(&mut self, left: Expr) -> Result<Expr, ExprError> {
        let negated = self.take_word("not");
        if self.take_word("distinct") {
            self.expect_word("from", "after `IS DISTINCT`")?;
            let right = self.binding(level::IS + 1)?;
            return Ok(match negated {
                true => left.not_distinct_from(right),
                false => left.distinct_from(right),
            });
        }
        for (word, test) in [
            ("null", IsTest::Null),
            ("unknown", IsTest::Null),
            ("true", IsTest::True),
            ("false", IsTest::False),
        ] {
            if self.take_word(word) {
                return Ok(left.is(test, negated));
            }
        }
        Err(self.unexpected("`NULL`, `TRUE`, `FALSE` or `DISTINCT FROM` after `IS`"))
    }
}

/// What may stand after an operand.
#[derive(Clone, Copy)]
enum Infix {
    Or,
    And,
    Is,
    /// `[NOT] BETWEEN`, `[NOT] IN`, `[NOT] LIKE`
    Predicate,
    Binary(BinaryOp),
    /// `<=>`
    NullSafeEqual,
    /// `::`
    Cast,
}

impl Infix {
    fn level(self) -> u8 {
        match self {
            Infix::Or => level::OR,
            Infix::And => level::AND,
            Infix::Is => level::IS,
            Infix::Predicate | Infix::NullSafeEqual => level::COMPARE,
            Infix::Binary(op) => op.level(),
            Infix::Cast => level::CAST,
        }
    }
}

fn literal(value: Value) -> Expr {
    Expr::new(Kind::Literal(value))
}

/// A number as it is written; with Spark's suffix `L` it is a bigint.
fn number(digits: &str, long: bool, span: Span) -> Result<Expr, ExprError> {
    if digits.contains(['.', 'e', 'E']) {
        return match beyond_floats(digits) {
            None => Ok(literal(Value::Number(digits.into()))),
            Some(help) => Err(ExprError::new(
                ExprErrorKind::Limit,
                format!(
                    "{} is beyond the range of Float64, the widest type",
                    Brief(digits)
                ),
            )
            .with_help(help)
            .at(Some(span))),
        };
    }
    let value = digits.parse().map_err(|_| {
        ExprError::new(
            ExprErrorKind::Limit,
            "a whole number of more than 38 digits fits no type",
        )
        .at(Some(span))
    })?;
    let value = literal(Value::Integer(value));
    Ok(if long {
        value.cast(DataType::Int64)
    } else {
        value
    })
}

/// What to write in place of a number that is nearer to infinity than to any float. One that is
/// nearest to zero is zero: each is read as the float that is nearest to it.
fn beyond_floats(digits: &str) -> Option<&'static str> {
    match digits.parse::<f64>() {
        Ok(f64::INFINITY) => Some("infinity is written CAST('Infinity' AS double)"),
        Ok(f64::NEG_INFINITY) => Some("infinity is written CAST('-Infinity' AS double)"),
        _ => None,
    }
}

/// What SQL computes from many rows.
const AGGREGATES: &[&str] = &[
    "sum",
    "count",
    "avg",
    "mean",
    "min",
    "max",
    "median",
    "stddev",
    "variance",
    "any_value",
    "first",
    "last",
    "array_agg",
    "string_agg",
];

fn unknown_function(name: &str, functions: &Signatures) -> ExprError {
    let message = format!("there is no function `{name}`");
    let error = ExprError::new(ExprErrorKind::Unknown, message);
    if AGGREGATES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
    {
        return error.with_help("there are no aggregates yet: a row is computed from itself alone");
    }
    let known = function_names().map(|known| -> &str { known });
    match closest(name, known.chain(functions.names())) {
        Some(near) => error.with_help(format!("did you mean `{near}`?")),
        None => error.with_help(
            "`unlade functions`, or `unlade.functions()` in Python, lists those there are",
        ),
    }
}
