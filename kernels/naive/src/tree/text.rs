//! Expressions and scalars as text.

use arrow_schema::{DataType, Schema, TimeUnit};
use unlade_expr::{ArithmeticOp, IsTest, Literal, Node, Typed};
use unlade_program::{CompareOp, Imm, Ty};

/// An expression in the language of the text front, with parentheses where an operand is itself
/// an operation.
pub(crate) fn expression(tree: &Typed, schema: &Schema) -> String {
    let operand = |arg: &Typed| {
        let text = expression(arg, schema);
        match arg.node {
            Node::Arithmetic { .. }
            | Node::Negate { .. }
            | Node::Compare { .. }
            | Node::Distinct { .. }
            | Node::And(_)
            | Node::Or(_)
            | Node::Not(_)
            | Node::Is { .. }
            | Node::In { .. } => format!("({text})"),
            _ => text,
        }
    };
    let joined = |args: &[Typed], separator: &str| {
        let args: Vec<String> = args.iter().map(operand).collect();
        args.join(separator)
    };
    match &tree.node {
        Node::Column(index) => schema.field(*index).name().clone(),
        Node::Literal(value) => literal(value),
        Node::Decode(arg) => operand(arg),
        Node::Arithmetic { op, lhs, rhs, .. } => {
            let symbol = arithmetic_symbol(*op);
            format!("{} {symbol} {}", operand(lhs), operand(rhs))
        }
        Node::Negate { arg, .. } => format!("-{}", operand(arg)),
        Node::Abs { arg, .. } => format!("abs({})", expression(arg, schema)),
        Node::Cast { arg, .. } => {
            format!("CAST({} AS {})", expression(arg, schema), tree.data_type)
        }
        Node::Compare { op, lhs, rhs, .. } => {
            format!("{} {} {}", operand(lhs), compare_symbol(*op), operand(rhs))
        }
        Node::Distinct {
            negated, lhs, rhs, ..
        } => {
            let not = if *negated { "NOT " } else { "" };
            format!("{} IS {not}DISTINCT FROM {}", operand(lhs), operand(rhs))
        }
        Node::And(args) => joined(args, " AND "),
        Node::Or(args) => joined(args, " OR "),
        Node::Not(arg) => format!("NOT {}", operand(arg)),
        Node::Is { test, negated, arg } => {
            let not = if *negated { "NOT " } else { "" };
            let test = match test {
                IsTest::Null => "NULL",
                IsTest::True => "TRUE",
                IsTest::False => "FALSE",
            };
            format!("{} IS {not}{test}", operand(arg))
        }
        Node::In { arg, list, .. } => {
            let entries: Vec<String> = list.iter().map(literal).collect();
            format!("{} IN ({})", operand(arg), entries.join(", "))
        }
        Node::Case {
            branches,
            otherwise,
        } => {
            let mut text = String::from("CASE");
            for (condition, value) in branches {
                text += &format!(
                    " WHEN {} THEN {}",
                    expression(condition, schema),
                    expression(value, schema)
                );
            }
            if let Some(value) = otherwise {
                text += &format!(" ELSE {}", expression(value, schema));
            }
            text + " END"
        }
        Node::Coalesce(args) => {
            let args: Vec<String> = args.iter().map(|arg| expression(arg, schema)).collect();
            format!("coalesce({})", args.join(", "))
        }
        Node::Try(arg) => format!("try({})", expression(arg, schema)),
    }
}

/// A scalar as a person would write it.
pub(crate) fn literal(literal: &Literal) -> String {
    let Some(value) = literal.value else {
        return "NULL".to_owned();
    };
    match &literal.data_type {
        DataType::Boolean => value.as_mask().to_string(),
        DataType::Float32 => format!("{:?}", value.as_f32()),
        DataType::Float64 => format!("{:?}", value.as_f64()),
        DataType::Decimal128(_, scale) => decimal(value.as_integer(), *scale),
        DataType::Date32 => date(value.as_integer()),
        DataType::Date64 => timestamp(value.as_integer(), 1_000),
        DataType::Timestamp(unit, _) => {
            let per_second = match unit {
                TimeUnit::Second => 1,
                TimeUnit::Millisecond => 1_000,
                TimeUnit::Microsecond => 1_000_000,
                TimeUnit::Nanosecond => 1_000_000_000,
            };
            timestamp(value.as_integer(), per_second)
        }
        _ => physical(value),
    }
}

/// `+`, `-`, `*`, `/` or `%`.
pub(crate) fn arithmetic_symbol(op: ArithmeticOp) -> &'static str {
    match op {
        ArithmeticOp::Add => "+",
        ArithmeticOp::Sub => "-",
        ArithmeticOp::Mul => "*",
        ArithmeticOp::Div => "/",
        ArithmeticOp::Rem => "%",
    }
}

fn compare_symbol(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "=",
        CompareOp::Ne => "<>",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
    }
}

fn physical(value: Imm) -> String {
    match value.ty() {
        Ty::Mask => value.as_mask().to_string(),
        Ty::F32 => format!("{:?}", value.as_f32()),
        Ty::F64 => format!("{:?}", value.as_f64()),
        _ => value.as_integer().to_string(),
    }
}

fn decimal(unscaled: i128, scale: i8) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    match usize::try_from(scale) {
        Ok(0) => format!("{sign}{digits}"),
        Ok(scale) => {
            let digits = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            format!("{sign}{whole}.{fraction}")
        }
        Err(_) => format!("{sign}{digits}e{}", -i32::from(scale)),
    }
}

/// Days since 1970-01-01 as a date of the proleptic Gregorian calendar.
///
/// Counts from 1 March of the year 0, so that a leap day is the last day of its year; 400 years
/// have 146,097 days.
fn date(days_since_1970: i128) -> String {
    let days = days_since_1970 + 719_468;
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    // Leaving out leap days, every year of the cycle has 365.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    // Months from March on have 31, 30, 31, 30, 31 days over and over: 153 in five.
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = 400 * cycle + year + carry;
    format!("{year:04}-{month:02}-{day_of_month:02}")
}

fn timestamp(ticks: i128, per_second: i128) -> String {
    let (seconds, fraction) = (ticks.div_euclid(per_second), ticks.rem_euclid(per_second));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let mut text = format!("{}T{hour:02}:{minute:02}:{second:02}", date(days));
    if per_second > 1 {
        let width = per_second.ilog10() as usize;
        text += &format!(".{fraction:0width$}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_proleptic_gregorian_calendar() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (-25_508, "1900-03-01"),
            (-25_509, "1900-02-28"),
            (-719_528, "0000-01-01"),
            (-719_529, "-001-12-31"),
            (20_777, "2026-11-20"),
        ] {
            assert_eq!(date(days), text, "{days} days");
        }
    }

    #[test]
    fn timestamps_before_1970_count_up() {
        assert_eq!(timestamp(-1, 1_000), "1969-12-31T23:59:59.999");
        assert_eq!(timestamp(86_399, 1), "1970-01-01T23:59:59");
    }

    #[test]
    fn decimals_show_their_scale() {
        assert_eq!(decimal(-5, 2), "-0.05");
        assert_eq!(decimal(12_345, 2), "123.45");
        assert_eq!(decimal(12, -3), "12e3");
        assert_eq!(decimal(7, 0), "7");
    }
}
