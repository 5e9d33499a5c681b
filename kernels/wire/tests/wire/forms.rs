//! One of everything that has an encoding.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{
    DataType, Field, FieldRef, Fields, IntervalUnit, Schema, TimeUnit, UnionFields, UnionMode,
};
use unlade_expr::tree::BinaryOp;
use unlade_expr::{
    ArithmeticOp, Coercion, Dialect, Expr, FloatZeroDivision, IsTest, Literal, OnError, Semantics,
    Signature, Signatures, all, case, coalesce, col, exact_col, lit, null, nullif, parse_expr,
    when,
};
use unlade_program::{CompareOp, FloatOrder};

/// Every operator, by its number.
pub(crate) const OPERATORS: [BinaryOp; 14] = [
    BinaryOp::Arithmetic(ArithmeticOp::Add),
    BinaryOp::Arithmetic(ArithmeticOp::Sub),
    BinaryOp::Arithmetic(ArithmeticOp::Mul),
    BinaryOp::Arithmetic(ArithmeticOp::Div),
    BinaryOp::Arithmetic(ArithmeticOp::Rem),
    BinaryOp::IntegerDivide,
    BinaryOp::Compare(CompareOp::Eq),
    BinaryOp::Compare(CompareOp::Ne),
    BinaryOp::Compare(CompareOp::Lt),
    BinaryOp::Compare(CompareOp::Le),
    BinaryOp::Compare(CompareOp::Gt),
    BinaryOp::Compare(CompareOp::Ge),
    BinaryOp::Distinct,
    BinaryOp::NotDistinct,
];

/// Every expression, by its number; of some several, which differ in what they hold.
pub(crate) fn expressions() -> Vec<Vec<Expr>> {
    let (a, b) = (|| col("a"), || col("b"));
    let number = |text: &str| parse_expr(text).expect("a number");
    vec![
        vec![a(), exact_col("Unit price")],
        vec![null()],
        vec![lit(false), lit(true)],
        vec![
            lit(0),
            lit(23),
            lit(24),
            lit(-1),
            lit(-1000),
            lit(u64::MAX),
            lit(i128::from(u64::MAX) + 1),
            lit(-1 - i128::from(u64::MAX)),
            lit(-2 - i128::from(u64::MAX)),
            lit(i128::MAX),
            lit(i128::MIN),
        ],
        vec![number("1.50"), number("-2e3"), lit(0.1)],
        vec![lit("2020-12-31"), lit("")],
        vec![
            lit(Literal::from(true)),
            lit(Literal::from(-2i8)),
            lit(Literal::from(f32::from_bits(0x7fc0_0001))),
            lit(Literal::null(DataType::Int64)),
            lit(Literal {
                data_type: DataType::Decimal128(12, 2),
                value: unlade_program::Imm::integer(unlade_program::Ty::I128, -950),
            }),
        ],
        vec![all()],
        vec![a().not()],
        vec![a().neg()],
        vec![a().abs()],
        vec![a().try_()],
        OPERATORS.map(|op| a().binary(op, b())).to_vec(),
        vec![a().and(b()), a().and(b()).and(col("c"))],
        vec![a().or(b())],
        vec![coalesce([a(), lit(0)])],
        vec![
            a().is(IsTest::Null, false),
            a().is(IsTest::True, true),
            a().is(IsTest::False, false),
        ],
        vec![a().between(lit(1), lit(9)), a().not_between(lit(1), lit(9))],
        vec![a().in_list([lit(1), null()]), a().not_in_list([])],
        vec![a().cast(DataType::Int64), a().try_cast(DataType::Date32)],
        vec![
            when(a()).then(b()).end(),
            case(a()).when(lit(1)).then(b()).otherwise(lit(0)),
            case(a()).end(),
        ],
        vec![nullif(a(), lit(0))],
        vec![a().alias("Sum")],
        {
            let (half, gcd) = (user("half"), user("gcd"));
            vec![half.call([a()]), gcd.call([half.call([a()]), lit(1)])]
        },
    ]
}

/// The users' functions that [`expressions`] call.
pub(crate) fn functions() -> Signatures {
    use DataType::{Dictionary, Int8, Int64, Utf8};
    let mut known = Signatures::default();
    let words = Dictionary(Box::new(Int8), Box::new(Utf8));
    for signature in [
        Signature::new("half", [Int64], Int64),
        Signature::new("gcd", [Int64, Int64], Int64).map(Signature::never_null),
        Signature::new("Sorted", [words, Utf8], Utf8),
    ] {
        known
            .insert(signature.expect("it is one"))
            .expect("no other has the name");
    }
    known
}

fn user(name: &str) -> Arc<Signature> {
    Arc::clone(functions().get(name).expect("it is one of them"))
}

/// Every type, by its number; of some several.
pub(crate) fn types() -> Vec<Vec<DataType>> {
    use DataType::*;
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    let entries = Struct(Fields::from(vec![
        Field::new("keys", Utf8, false),
        Field::new("values", Int64, true),
    ]));
    let fields = [
        Field::new("number", Int64, true),
        Field::new("text", Utf8, true),
    ];
    let either = UnionFields::try_new([0, 5], fields).expect("ids are unique");
    let runs = |name: &str, data_type| Arc::new(Field::new(name, data_type, name == "values"));
    let units = UNITS;
    vec![
        vec![Null],
        vec![Boolean],
        vec![Int8],
        vec![Int16],
        vec![Int32],
        vec![Int64],
        vec![UInt8],
        vec![UInt16],
        vec![UInt32],
        vec![UInt64],
        vec![Float16],
        vec![Float32],
        vec![Float64],
        vec![Date32],
        vec![Date64],
        vec![Dictionary(Box::new(Int32), Box::new(Utf8))],
        vec![
            Timestamp(TimeUnit::Microsecond, None),
            Timestamp(TimeUnit::Second, Some("UTC".into())),
        ],
        units.map(Time32).to_vec(),
        units.map(Time64).to_vec(),
        units.map(Duration).to_vec(),
        INTERVALS.map(Interval).to_vec(),
        vec![Decimal32(9, 2)],
        vec![Decimal64(18, -2)],
        vec![Decimal128(38, 10)],
        vec![Decimal256(76, -76)],
        vec![Utf8],
        vec![LargeUtf8],
        vec![Utf8View],
        vec![Binary],
        vec![LargeBinary],
        vec![BinaryView],
        vec![FixedSizeBinary(16), FixedSizeBinary(-1)],
        vec![List(item(Int32))],
        vec![LargeList(item(Utf8))],
        vec![ListView(item(Int16))],
        vec![LargeListView(item(Utf8View))],
        vec![FixedSizeList(item(Int16), 3)],
        vec![
            Struct(Fields::empty()),
            Struct(vec![item(Int8), item(Int8)].into()),
        ],
        vec![
            Union(either.clone(), UnionMode::Sparse),
            Union(either, UnionMode::Dense),
        ],
        vec![Map(Arc::new(Field::new("entries", entries, false)), false)],
        vec![RunEndEncoded(runs("run_ends", Int32), runs("values", Utf8))],
    ]
}

const UNITS: [TimeUnit; 4] = [
    TimeUnit::Second,
    TimeUnit::Millisecond,
    TimeUnit::Microsecond,
    TimeUnit::Nanosecond,
];

const INTERVALS: [IntervalUnit; 3] = [
    IntervalUnit::YearMonth,
    IntervalUnit::DayTime,
    IntervalUnit::MonthDayNano,
];

/// Every set of rules that can be written.
pub(crate) fn rules() -> Vec<Semantics> {
    let modes = [OnError::Trap, OnError::Null, OnError::Wrap];
    let orders = [FloatOrder::Ieee, FloatOrder::Total, FloatOrder::Spark];
    let divisions = [
        FloatZeroDivision::Ieee,
        FloatZeroDivision::Null,
        FloatZeroDivision::Trap,
    ];
    let coercions = [
        Coercion::Lossless,
        Coercion::DataFusion,
        Coercion::SparkLegacy,
        Coercion::SparkAnsi,
    ];
    let mut rules = Vec::new();
    for (index, overflow) in modes.into_iter().enumerate() {
        for cast in modes {
            for divide_by_zero in [OnError::Trap, OnError::Null] {
                for coercion in coercions {
                    let mut each = Semantics::arrow().with_overflow(overflow).with_cast(cast);
                    each.dialect = [Dialect::Arrow, Dialect::Spark][index % 2];
                    each.coercion = coercion;
                    each.divide_by_zero = divide_by_zero;
                    each.float_divide_by_zero = divisions[index];
                    each.float_order = orders[index];
                    rules.push(each);
                }
            }
        }
    }
    rules
}

/// A schema with a field of every type and metadata at every level.
pub(crate) fn schema() -> Schema {
    let types = types().into_iter().flatten().enumerate();
    let fields: Vec<FieldRef> = types
        .map(|(index, data_type)| {
            let field = Field::new(format!("c{index}"), data_type, index % 2 == 0);
            let about = [
                ("unit".to_owned(), "m".to_owned()),
                ("ä".to_owned(), String::new()),
            ];
            Arc::new(field.with_metadata(about.into_iter().take(index % 3).collect()))
        })
        .collect();
    let metadata = HashMap::from([("writer".to_owned(), "a test".to_owned())]);
    Schema::new_with_metadata(fields, metadata)
}
