//! Names of types in text.

use std::sync::Arc;

use arrow_schema::{DataType, TimeUnit};
use sqlparser::tokenizer::Token;

use super::tokens::{Cursor, syntax};
use crate::check::names::closest;
use crate::error::{ExprError, ExprErrorKind};
use crate::type_name::{plain_type, plain_type_names, unit_of_digits};

/// Digits before and after the point of a `decimal` that names none, as in Spark.
const DEFAULT_DECIMAL: (u8, i8) = (10, 0);

impl Cursor<'_> {
    /// Reads a type: `bigint`, `int unsigned`, `double precision`, `decimal(12, 2)`,
    /// `timestamp(3) with time zone`, `timestamp(6, '+01:00')`, `Int64`, `Timestamp(ms)` ...
    pub(super) fn data_type(&mut self) -> Result<DataType, ExprError> {
        let start = self.span();
        let name = match self.peek() {
            Token::Word(word) => word.value.clone(),
            _ => return Err(self.unexpected("the name of a type")),
        };
        self.advance();
        match name.to_ascii_lowercase().as_str() {
            "decimal" | "numeric" | "dec" | "decimal128" => self.decimal_type(),
            "timestamp" | "datetime" => self.timestamp_type(),
            "timestamptz" => {
                let unit = self.timestamp_unit()?;
                Ok(DataType::Timestamp(unit, Some("UTC".into())))
            }
            "timestamp_ntz" => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
            "unsigned" => {
                let signed = self.data_type()?;
                unsigned(&signed).ok_or_else(|| unknown_type(&name).at(Some(start)))
            }
            "double" => {
                self.take_word("precision");
                Ok(DataType::Float64)
            }
            _ => {
                let plain = plain_type(&name).ok_or_else(|| unknown_type(&name).at(Some(start)))?;
                if Self::is_word(self.peek(), "unsigned") {
                    self.advance();
                    return unsigned(&plain).ok_or_else(|| {
                        let span = self.span_from(start);
                        syntax(format!("`{name}` has no unsigned variant"), span)
                    });
                }
                Ok(plain)
            }
        }
    }

    fn decimal_type(&mut self) -> Result<DataType, ExprError> {
        let (mut precision, mut scale) = DEFAULT_DECIMAL;
        let start = self.span();
        if self.take(&Token::LParen) {
            precision = u8::try_from(self.unsigned_number()?).unwrap_or(u8::MAX);
            if self.take_comma() {
                scale = i8::try_from(self.unsigned_number()?).unwrap_or(i8::MAX);
            }
            self.expect(&Token::RParen, "after the digits of a decimal")?;
        }
        if !(1..=38).contains(&precision) || scale > precision as i8 {
            return Err(syntax(
                "a decimal has 1 to 38 digits, of which none to all are after the point",
                self.span_from(start),
            )
            .with_help("write decimal(digits, digits after the point)"));
        }
        Ok(DataType::Decimal128(precision, scale))
    }

    fn timestamp_type(&mut self) -> Result<DataType, ExprError> {
        let mut unit = TimeUnit::Microsecond;
        let mut zone: Option<Arc<str>> = None;
        if self.take(&Token::LParen) {
            unit = self.unit()?;
            if self.take_comma() {
                zone = Some(self.string("a time zone in quotes")?.into());
            }
            self.expect(&Token::RParen, "after a timestamp's digits")?;
        }
        if self.take_word("with") {
            self.take_word("local");
            self.expect_word("time", "after `WITH`")?;
            self.expect_word("zone", "after `WITH TIME`")?;
            zone = zone.or_else(|| Some("UTC".into()));
        } else if self.take_word("without") {
            self.expect_word("time", "after `WITHOUT`")?;
            self.expect_word("zone", "after `WITHOUT TIME`")?;
        }
        Ok(DataType::Timestamp(unit, zone))
    }

    fn timestamp_unit(&mut self) -> Result<TimeUnit, ExprError> {
        if !self.take(&Token::LParen) {
            return Ok(TimeUnit::Microsecond);
        }
        let unit = self.unit()?;
        self.expect(&Token::RParen, "after a timestamp's digits")?;
        Ok(unit)
    }

    /// `0`, `3`, `6` or `9` digits of a second, or Arrow's `s`, `ms`, `us` or `ns`.
    fn unit(&mut self) -> Result<TimeUnit, ExprError> {
        let start = self.span();
        let unit = match self.peek() {
            Token::Number(digits, false) => digits.parse().ok().and_then(unit_of_digits),
            Token::Word(word) => match word.value.to_ascii_lowercase().as_str() {
                "s" | "second" => Some(TimeUnit::Second),
                "ms" | "millisecond" => Some(TimeUnit::Millisecond),
                "us" | "µs" | "microsecond" => Some(TimeUnit::Microsecond),
                "ns" | "nanosecond" => Some(TimeUnit::Nanosecond),
                _ => None,
            },
            _ => None,
        };
        self.advance();
        unit.ok_or_else(|| {
            syntax("a timestamp has 0, 3, 6 or 9 digits of a second", start)
                .with_help("write timestamp(0), timestamp(3), timestamp(6) or timestamp(9)")
        })
    }

    fn unsigned_number(&mut self) -> Result<u64, ExprError> {
        let number = match self.peek() {
            Token::Number(digits, false) => digits.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.unexpected("a whole number"))?;
        self.advance();
        Ok(number)
    }

    pub(super) fn string(&mut self, what: &str) -> Result<Box<str>, ExprError> {
        match self.peek() {
            Token::SingleQuotedString(value) => {
                let value = value.as_str().into();
                self.advance();
                Ok(value)
            }
            _ => Err(self.unexpected(what)),
        }
    }
}

fn unsigned(signed: &DataType) -> Option<DataType> {
    Some(match signed {
        DataType::Int8 => DataType::UInt8,
        DataType::Int16 => DataType::UInt16,
        DataType::Int32 => DataType::UInt32,
        DataType::Int64 => DataType::UInt64,
        _ => return None,
    })
}

fn unknown_type(name: &str) -> ExprError {
    let error = ExprError::new(ExprErrorKind::Unknown, format!("there is no type `{name}`"));
    let known = plain_type_names().chain(["decimal", "timestamp"]);
    match closest(name, known) {
        Some(near) => error.with_help(format!("did you mean `{near}`?")),
        None => error.with_help(
            "types are boolean, tinyint, smallint, int, bigint and their unsigned variants, real, \
             double, decimal(p, s), date, timestamp(0|3|6|9) [with time zone]",
        ),
    }
}
