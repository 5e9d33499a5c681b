//! The table of the language, held to what the check accepts and the semantics choose.

use std::sync::Arc;

use arrow_schema::{DataType, Field, IntervalUnit, Schema, TimeUnit};
use unlade_expr::*;
use unlade_program::FloatOrder;

const ALL_RULES: [(&str, Semantics); 4] = [
    ("arrow", Semantics::arrow()),
    ("datafusion", Semantics::datafusion()),
    ("spark-legacy", Semantics::spark_legacy()),
    ("spark-ansi", Semantics::spark_ansi()),
];

/// Names of the sets of rules that do something, as the table lists them.
fn rules_that(hold: fn(&Semantics) -> bool) -> String {
    let rules = ALL_RULES.iter().filter(|(_, semantics)| hold(semantics));
    rules.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Whether a form over columns `x`, `y` and `z` of one type passes the check.
fn passes(form: &str, data_type: &DataType, semantics: &Semantics) -> bool {
    let column = |name: &str| Field::new(name, data_type.clone(), true);
    let condition = Field::new("condition", DataType::Boolean, true);
    let fields = vec![column("x"), column("y"), column("z"), condition];
    let query =
        Query::all().select([parse_expr(form).unwrap_or_else(|error| panic!("{form}: {error}"))]);
    check(&query, &Arc::new(Schema::new(fields)), semantics).is_ok()
}

/// What the table calls a type, if it calls it anything.
fn word(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Boolean => "boolean",
        DataType::Float32 | DataType::Float64 => "float (32, 64)",
        DataType::Decimal128(..) => "decimal (128)",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Timestamp(..) => "timestamp",
        integer if integer.is_integer() => "integer",
        _ => return None,
    })
}

/// Types that expressions put out, and do not compute with.
fn other_types() -> Vec<DataType> {
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    vec![
        DataType::Null,
        DataType::Float16,
        DataType::Utf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::Time32(TimeUnit::Second),
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Duration(TimeUnit::Second),
        DataType::Interval(IntervalUnit::DayTime),
        DataType::Decimal32(5, 2),
        DataType::Decimal64(5, 2),
        DataType::Decimal256(50, 2),
        DataType::List(item),
    ]
}

#[test]
fn a_form_takes_the_types_that_the_table_says() {
    let forms = [
        ("=", "x = y"),
        ("<>", "x <> y"),
        ("< <= > >=", "x < y"),
        ("IS DISTINCT FROM", "x IS DISTINCT FROM y"),
        ("IS NOT DISTINCT FROM", "x <=> y"),
        ("BETWEEN", "x BETWEEN y AND z"),
        ("IN", "x IN (y, z)"),
        ("IS NULL", "x IS NULL"),
        ("+ - *", "x + y"),
        ("/", "x / y"),
        ("div", "x div y"),
        ("%", "x % y"),
        ("abs", "abs(x)"),
        ("CASE", "CASE WHEN condition THEN x ELSE y END"),
        ("if", "if(condition, x, y)"),
        ("coalesce", "coalesce(x, y)"),
        ("nullif", "nullif(x, y)"),
    ];
    for (name, form) in forms {
        let said = row(name).operands;
        for data_type in computable_types().iter().chain(&other_types()) {
            let is_said =
                said == "any type" || word(data_type).is_some_and(|word| said.contains(word));
            for (rules, semantics) in &ALL_RULES {
                // Spark has no unsigned types: one is taken only where nothing is cast.
                if rules.starts_with("spark") && data_type.is_unsigned_integer() {
                    continue;
                }
                assert_eq!(
                    passes(form, data_type, semantics),
                    is_said,
                    "{form} of {data_type} under {rules}, and the table says {said}"
                );
            }
        }
    }
}

#[test]
fn rules_are_told_as_the_semantics_have_them() {
    let said = |name: &str| row(name).differs;
    let trap = rules_that(|rules| rules.overflow == OnError::Trap);
    let wrap = rules_that(|rules| rules.overflow == OnError::Wrap);
    for name in ["+ - *", "-", "abs"] {
        let expected = format!("integer overflow: trap ({trap}), wrap ({wrap})");
        assert_eq!(said(name), expected, "{name}");
    }

    let trap = rules_that(|rules| rules.divide_by_zero == OnError::Trap);
    let null = rules_that(|rules| rules.divide_by_zero == OnError::Null);
    for (name, begin) in [("div", "by zero: "), ("%", "integers by zero: ")] {
        let expected = format!("{begin}trap ({trap}), null ({null}); ");
        assert!(said(name).starts_with(&expected), "{name}: {}", said(name));
    }
    assert!(!said("div").contains("float"), "{}", said("div"));

    let ieee = rules_that(|rules| rules.float_divide_by_zero == FloatZeroDivision::Ieee);
    let trap = rules_that(|rules| rules.float_divide_by_zero == FloatZeroDivision::Trap);
    let null = rules_that(|rules| rules.float_divide_by_zero == FloatZeroDivision::Null);
    for name in ["/", "%"] {
        let expected = format!("infinity or NaN ({ieee}), trap ({trap}), null ({null})");
        assert!(said(name).ends_with(&expected), "{name}: {}", said(name));
    }

    let total = rules_that(|rules| rules.float_order == FloatOrder::Total);
    let spark = rules_that(|rules| rules.float_order == FloatOrder::Spark);
    for name in ["=", "< <= > >=", "BETWEEN", "IN", "nullif"] {
        assert!(
            said(name).contains(&format!("-0 before 0 ({total})")),
            "{name}"
        );
        assert!(said(name).contains(&format!("-0 = 0 ({spark})")), "{name}");
    }
}

#[test]
fn what_differs_is_told_for_every_set_of_rules() {
    for function in FUNCTIONS
        .iter()
        .filter(|function| !function.differs.is_empty())
    {
        for (rules, _) in ALL_RULES {
            let (name, said) = (function.name, function.differs);
            assert!(said.contains(rules), "{name}: {said} leaves out {rules}");
        }
    }
}

fn row(name: &str) -> &'static Function {
    let found = FUNCTIONS.iter().find(|function| function.name == name);
    found.unwrap_or_else(|| panic!("the table has no `{name}`"))
}
