//! The language as a table: what `unlade functions` prints, and what the text front suggests.

/// A form of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Under which heading it stands.
    pub group: Group,
    /// What it is called: its operator or its word.
    pub name: &'static str,
    /// How it is written.
    pub syntax: &'static str,
    /// What it takes.
    pub operands: &'static str,
    /// What it gives.
    pub result: &'static str,
    /// What nulls do.
    pub nulls: &'static str,
    /// What the semantics decide, or empty where they agree.
    pub differs: &'static str,
    /// An expression over the columns of [`EXAMPLE_COLUMNS`].
    pub example: &'static str,
}

/// A heading of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Columns and constants.
    Operand,
    /// Comparisons and tests.
    Comparison,
    /// Combinations of conditions.
    Logic,
    /// Computation with numbers.
    Arithmetic,
    /// Choice between values.
    Conditional,
    /// Change of type.
    Conversion,
}

impl Group {
    /// The heading's words.
    pub const fn title(self) -> &'static str {
        match self {
            Group::Operand => "Columns and constants",
            Group::Comparison => "Comparisons and tests",
            Group::Logic => "Logic",
            Group::Arithmetic => "Arithmetic",
            Group::Conditional => "Choice",
            Group::Conversion => "Conversion",
        }
    }
}

/// Names and types, as the text form writes them, of the columns that the examples compute with.
pub const EXAMPLE_COLUMNS: &[(&str, &str)] = &[
    ("a", "int"),
    ("b", "bigint"),
    ("f", "double"),
    ("p", "boolean"),
    ("price", "decimal(12, 2)"),
    ("day", "date"),
    ("at", "timestamp(6)"),
];

/// What programs compute with, in the words of a table; a test holds it to the check.
macro_rules! computed {
    () => {
        "boolean, integer, float (32, 64), decimal (128), date or timestamp"
    };
}

const NUMBERS: &str = "two of one type, or that meet in one: integer or float (32, 64)";
const TWO: &str = concat!(
    "two of one type, or numbers that meet in one: ",
    computed!()
);
const NULL_IF_ANY: &str = "null if an operand is";
const NEVER_NULL: &str = "never null";
const BOOLEAN: &str = "boolean";
const OVERFLOW: &str =
    "integer overflow: trap (arrow, spark-ansi), wrap (datafusion, spark-legacy)";
const FLOAT_ORDER: &str = "floats: total order, -0 before 0 (arrow, datafusion); \
                           NaN equal and greatest, -0 = 0 (spark-legacy, spark-ansi)";
const INTEGERS_BY_ZERO: &str = "by zero: trap (arrow, datafusion, spark-ansi), \
                                null (spark-legacy); the least by -1: trap (arrow, datafusion, \
                                spark-ansi), wrap (spark-legacy)";
const BY_ZERO: &str = "integers by zero: trap (arrow, datafusion, spark-ansi), \
                       null (spark-legacy); floats by zero: infinity or NaN (arrow, datafusion), \
                       trap (spark-ansi), null (spark-legacy)";

/// Every form of the language, by group.
///
/// ```
/// use unlade_expr::{FUNCTIONS, parse_expr};
///
/// for function in FUNCTIONS {
///     assert!(parse_expr(function.example).is_ok(), "{}", function.name);
/// }
/// ```
pub const FUNCTIONS: &[Function] = &[
    Function {
        group: Group::Operand,
        name: "column",
        syntax: "name, \"Exact Name\"",
        operands: "a column; without quotes its letter case may differ if that leaves one column",
        result: "its type; of a dictionary, that of its values",
        nulls: "as in the column",
        differs: "",
        example: "\"price\" > 10",
    },
    Function {
        group: Group::Operand,
        name: "constant",
        syntax: "1, -2, 1.5, 1e9, '2020-12-31'",
        operands: "",
        result: "a number; text is the date or timestamp that stands beside it",
        nulls: NEVER_NULL,
        differs: "numbers: the type beside it if that holds the value, alone bigint or double \
                  (arrow); bigint or double (datafusion); 1 is int, 1.5 decimal, 1.5e0 double \
                  (spark-legacy, spark-ansi)",
        example: "day >= '2020-12-31'",
    },
    Function {
        group: Group::Operand,
        name: "TRUE, FALSE, NULL",
        syntax: "TRUE, FALSE, NULL",
        operands: "",
        result: "boolean; NULL has the type beside it, or of a cast around it",
        nulls: "NULL is null",
        differs: "",
        example: "p = TRUE",
    },
    Function {
        group: Group::Operand,
        name: "typed constant",
        syntax: "type 'text'",
        operands: "text in quotes after a type",
        result: "the type",
        nulls: NEVER_NULL,
        differs: "",
        example: "at < timestamp '2021-01-01 00:00:00'",
    },
    Function {
        group: Group::Comparison,
        name: "=",
        syntax: "x = y",
        operands: TWO,
        result: BOOLEAN,
        nulls: NULL_IF_ANY,
        differs: FLOAT_ORDER,
        example: "a = 100",
    },
    Function {
        group: Group::Comparison,
        name: "<>",
        syntax: "x <> y, x != y",
        operands: TWO,
        result: BOOLEAN,
        nulls: NULL_IF_ANY,
        differs: FLOAT_ORDER,
        example: "a <> b",
    },
    Function {
        group: Group::Comparison,
        name: "< <= > >=",
        syntax: "x < y, x <= y, x > y, x >= y",
        operands: TWO,
        result: BOOLEAN,
        nulls: NULL_IF_ANY,
        differs: FLOAT_ORDER,
        example: "price >= 9.99",
    },
    Function {
        group: Group::Comparison,
        name: "IS DISTINCT FROM",
        syntax: "x IS DISTINCT FROM y",
        operands: TWO,
        result: BOOLEAN,
        nulls: "never null; nulls equal each other",
        differs: FLOAT_ORDER,
        example: "a IS DISTINCT FROM b",
    },
    Function {
        group: Group::Comparison,
        name: "IS NOT DISTINCT FROM",
        syntax: "x IS NOT DISTINCT FROM y, x <=> y",
        operands: TWO,
        result: BOOLEAN,
        nulls: "never null; nulls equal each other",
        differs: FLOAT_ORDER,
        example: "a <=> b",
    },
    Function {
        group: Group::Comparison,
        name: "BETWEEN",
        syntax: "x [NOT] BETWEEN low AND high",
        operands: concat!(
            "three of one type: ",
            computed!(),
            "; both bounds are included"
        ),
        result: BOOLEAN,
        nulls: "as x >= low AND x <= high",
        differs: FLOAT_ORDER,
        example: "f BETWEEN 0.05 AND 0.07",
    },
    Function {
        group: Group::Comparison,
        name: "IN",
        syntax: "x [NOT] IN (y, ...)",
        operands: concat!("all of one type: ", computed!()),
        result: BOOLEAN,
        nulls: "null without a match if x or a member is null",
        differs: FLOAT_ORDER,
        example: "a IN (1, 2, 3)",
    },
    Function {
        group: Group::Comparison,
        name: "IS NULL",
        syntax: "x IS [NOT] NULL",
        operands: "any type",
        result: BOOLEAN,
        nulls: NEVER_NULL,
        differs: "",
        example: "f IS NOT NULL",
    },
    Function {
        group: Group::Comparison,
        name: "IS TRUE, IS FALSE",
        syntax: "x IS [NOT] TRUE, x IS [NOT] FALSE, x IS [NOT] UNKNOWN",
        operands: BOOLEAN,
        result: BOOLEAN,
        nulls: "never null; UNKNOWN is null",
        differs: "",
        example: "(a > 1) IS NOT TRUE",
    },
    Function {
        group: Group::Logic,
        name: "AND",
        syntax: "x AND y",
        operands: "conditions; y is evaluated only where x is not false",
        result: BOOLEAN,
        nulls: "Kleene: false if an operand is false, else null if one is null",
        differs: "",
        example: "b <> 0 AND a / b > 2",
    },
    Function {
        group: Group::Logic,
        name: "OR",
        syntax: "x OR y",
        operands: "conditions; y is evaluated only where x is not true",
        result: BOOLEAN,
        nulls: "Kleene: true if an operand is true, else null if one is null",
        differs: "",
        example: "p OR a > 1",
    },
    Function {
        group: Group::Logic,
        name: "NOT",
        syntax: "NOT x",
        operands: "a condition",
        result: BOOLEAN,
        nulls: "null if x is",
        differs: "",
        example: "NOT p",
    },
    Function {
        group: Group::Arithmetic,
        name: "+ - *",
        syntax: "x + y, x - y, x * y",
        operands: NUMBERS,
        result: "their type",
        nulls: NULL_IF_ANY,
        differs: OVERFLOW,
        example: "f * (1 - f)",
    },
    Function {
        group: Group::Arithmetic,
        name: "/",
        syntax: "x / y",
        operands: NUMBERS,
        result: "their type, integers truncated toward zero (arrow, datafusion); double \
                 (spark-legacy, spark-ansi)",
        nulls: NULL_IF_ANY,
        differs: "integers by zero, and the least by -1: trap (arrow, datafusion); floats by zero: \
                  infinity or NaN (arrow, datafusion), trap (spark-ansi), null (spark-legacy)",
        example: "b / a",
    },
    Function {
        group: Group::Arithmetic,
        name: "div",
        syntax: "x div y",
        operands: "two integers",
        result: "their type (arrow, datafusion), bigint (spark-legacy, spark-ansi), truncated \
                 toward zero",
        nulls: NULL_IF_ANY,
        differs: INTEGERS_BY_ZERO,
        example: "b div 10",
    },
    Function {
        group: Group::Arithmetic,
        name: "%",
        syntax: "x % y",
        operands: NUMBERS,
        result: "their type, with the sign of x; floats exact",
        nulls: NULL_IF_ANY,
        differs: BY_ZERO,
        example: "a % 2 = 1",
    },
    Function {
        group: Group::Arithmetic,
        name: "-",
        syntax: "-x",
        operands: "a signed integer or a float (32, 64)",
        result: "its type",
        nulls: "null if x is",
        differs: OVERFLOW,
        example: "-a",
    },
    Function {
        group: Group::Arithmetic,
        name: "abs",
        syntax: "abs(x)",
        operands: "an integer or a float (32, 64)",
        result: "its type",
        nulls: "null if x is",
        differs: OVERFLOW,
        example: "abs(f)",
    },
    Function {
        group: Group::Conditional,
        name: "CASE",
        syntax: "CASE WHEN condition THEN x ... [ELSE y] END, CASE x WHEN y THEN z ... END",
        operands: concat!(
            "conditions, or values to compare with x; results of one type: ",
            computed!()
        ),
        result: "the type of the results; only the chosen one is evaluated",
        nulls: "null without a match and ELSE; a condition that is null does not match",
        differs: "",
        example: "CASE WHEN a > 1 THEN b ELSE 0 END",
    },
    Function {
        group: Group::Conditional,
        name: "if",
        syntax: "if(condition, x, y)",
        operands: concat!("a condition and two of one type: ", computed!()),
        result: "their type; only the chosen one is evaluated",
        nulls: "y where the condition is null",
        differs: "",
        example: "if(b <> 0, a / b, 0)",
    },
    Function {
        group: Group::Conditional,
        name: "coalesce",
        syntax: "coalesce(x, ...)",
        operands: concat!("all of one type: ", computed!()),
        result: "the first that is not null; later ones are evaluated only where needed",
        nulls: "null if all are",
        differs: "",
        example: "coalesce(f, 0)",
    },
    Function {
        group: Group::Conditional,
        name: "nullif",
        syntax: "nullif(x, y)",
        operands: TWO,
        result: "x, or null where x = y",
        nulls: "null if x is",
        differs: FLOAT_ORDER,
        example: "a / nullif(b, 0)",
    },
    Function {
        group: Group::Conditional,
        name: "try",
        syntax: "try(x)",
        operands: "any expression",
        result: "its value",
        nulls: "null where evaluating x would trap",
        differs: "",
        example: "try(a / b)",
    },
    Function {
        group: Group::Conversion,
        name: "cast",
        syntax: "cast(x AS type), x::type",
        operands: "any type that the table of casts takes to the other",
        result: "the type",
        nulls: "null if x is",
        differs: "no such value: trap (arrow, datafusion, spark-ansi; --cast null gives null), \
                  wrap or saturate as Java does, or null (spark-legacy)",
        example: "cast(a AS bigint) > 1",
    },
    Function {
        group: Group::Conversion,
        name: "try_cast",
        syntax: "try_cast(x AS type)",
        operands: "as of cast",
        result: "the type",
        nulls: "null if x is, and where the type has no such value",
        differs: "",
        example: "try_cast(f AS int)",
    },
];

/// Names of what is written like a function.
pub(crate) fn function_names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS
        .iter()
        .filter(|function| function.syntax.starts_with(&format!("{}(", function.name)))
        .map(|function| function.name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{Field, Schema};

    use super::*;
    use crate::{Query, Semantics, check, parse_expr};

    #[test]
    fn every_example_passes_the_check_of_every_semantics() {
        let fields: Vec<_> = EXAMPLE_COLUMNS
            .iter()
            .map(|(name, data_type)| {
                let cast = parse_expr(&format!("cast(NULL as {data_type})"))
                    .unwrap_or_else(|error| panic!("{data_type}: {error}"));
                let empty = Arc::new(Schema::empty());
                let query = Query::all().select([cast.alias(*name)]);
                let checked = check(&query, &empty, &Semantics::arrow())
                    .unwrap_or_else(|error| panic!("{data_type}: {error}"));
                Field::new(*name, checked.output.field(0).data_type().clone(), true)
            })
            .collect();
        let schema = Arc::new(Schema::new(fields));
        for function in FUNCTIONS {
            let example = parse_expr(function.example)
                .unwrap_or_else(|error| panic!("{}", error.render(function.example)));
            let query = Query::all().select([example]);
            for semantics in [
                Semantics::arrow(),
                Semantics::datafusion(),
                Semantics::spark_legacy(),
                Semantics::spark_ansi(),
            ] {
                check(&query, &schema, &semantics)
                    .unwrap_or_else(|error| panic!("{}", error.render(function.example)));
            }
        }
    }

    #[test]
    fn functions_are_found_by_name() {
        let names: Vec<_> = function_names().collect();
        assert_eq!(
            names,
            ["abs", "if", "coalesce", "nullif", "try", "cast", "try_cast"]
        );
    }
}
