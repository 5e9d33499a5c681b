//! Lowered queries against the oracle: random typed trees over every type, as the check would
//! admit them, run on the interpreter of programs and compared with the interpreter of trees, row
//! by row, bit by bit, and error by error.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use unlade_expr::{
    ArithmeticOp, Checked, Dialect, FloatZeroDivision, IsTest, Literal, Node, OnError,
    OutputColumn, Payload, Typed, can_cast, computable_types, lower,
};
use unlade_naive::{RunError, evaluate_query};
use unlade_program::{CompareOp, FloatOrder, Imm, Trap, Ty, verify};

use crate::support::{answer, array, batch, dictionary, stored, ty_of};

const ROWS: usize = 40;
const QUERIES: u64 = 8_000;

#[test]
fn random_queries_mean_what_their_trees_mean() {
    let mut seen = BTreeMap::new();
    let (mut trapped, mut answered) = (0, 0);
    for seed in 0..QUERIES {
        let mut generator = Generator::new(seed);
        let batch = generator.batch();
        let query = generator.query(&batch);
        for tree in query.trees() {
            count(tree, &mut seen);
        }
        for payload in [Payload::Fused, Payload::Late] {
            match compare(&query, &batch, payload) {
                Ok(()) => answered += 1,
                Err(()) => trapped += 1,
            }
        }
    }
    println!("{answered} answers, {trapped} traps, nodes: {seen:?}");
    assert!(answered > QUERIES, "most queries must not trap");
    assert!(trapped > QUERIES / 10, "some queries must trap");
    for (node, count) in seen {
        assert!(count >= 20, "{node} was met {count} times only");
    }
}

/// Every cast of the table, in every mode, on a column of special values and through a dictionary.
#[test]
fn every_cast_means_what_the_table_says() {
    let types = computable_types();
    let mut cases = 0;
    for dialect in [Dialect::Arrow, Dialect::Spark] {
        let mut generator = Generator::new(1 + dialect as u64);
        for from in &types {
            let batch = generator.batch_of(&[(from.clone(), false), (from.clone(), true)]);
            for to in &types {
                for on_error in [OnError::Trap, OnError::Null, OnError::Wrap] {
                    if !can_cast(from, to, on_error, dialect) {
                        continue;
                    }
                    cases += 1;
                    for column in [0, 1] {
                        let arg = Box::new(generator.column(column));
                        let node = Node::Cast {
                            on_error,
                            dialect,
                            arg,
                        };
                        let cast = typed(node, to.clone());
                        let caught = typed(Node::Try(Box::new(cast.clone())), to.clone());
                        let _ = compare(&projection(&batch, cast), &batch, Payload::Fused);
                        let caught = compare(&projection(&batch, caught), &batch, Payload::Fused);
                        assert_eq!(caught, Ok(()), "TRY never traps");
                    }
                }
            }
        }
    }
    assert!(cases > 700, "{cases} casts");
}

/// Comparisons of cast integers with literals at and beyond the ends of their own type. Where the
/// cast may fail, its nulls are those of the comparison.
#[test]
fn every_narrowed_comparison_means_what_the_wide_one_does() {
    let integers: Vec<DataType> = computable_types()
        .into_iter()
        .filter(DataType::is_integer)
        .collect();
    let mut generator = Generator::new(3);
    for narrow in &integers {
        let batch = generator.batch_of(&[(narrow.clone(), false), (narrow.clone(), true)]);
        let (low, high) = ty_of(narrow).integer_range().expect("an integer type");
        for wide in &integers {
            if narrow == wide {
                continue;
            }
            for limit in [low - 1, low, low + 1, 0, 3, high - 1, high, high + 1] {
                let Some(limit) = Imm::integer(ty_of(wide), limit) else {
                    continue;
                };
                for (op, column) in COMPARISONS.into_iter().zip([0, 1, 0, 1, 0, 1]) {
                    let node = Node::Cast {
                        on_error: OnError::Null,
                        dialect: Dialect::Arrow,
                        arg: Box::new(generator.column(column)),
                    };
                    let lhs = typed(node, wide.clone());
                    let literal = Literal {
                        data_type: wide.clone(),
                        value: Some(limit),
                    };
                    let rhs = typed(Node::Literal(literal), wide.clone());
                    let tree = generator.compared(op, FloatOrder::Ieee, lhs, rhs);
                    compare(&projection(&batch, tree), &batch, Payload::Fused)
                        .expect("nothing in it traps");
                }
            }
        }
    }
}

/// Sums and differences of widened columns beside literals at the ends of both types: those that
/// lowering takes apart, and those that may overflow.
#[test]
fn every_shifted_comparison_means_what_the_sum_does() {
    let mut generator = Generator::new(5);
    for (narrow, wide) in [
        (DataType::Int8, DataType::Int16),
        (DataType::Int8, DataType::Int64),
        (DataType::UInt8, DataType::Int16),
        (DataType::Int32, DataType::Int64),
        (DataType::UInt32, DataType::UInt64),
        (DataType::Int16, DataType::Int16),
    ] {
        let batch = generator.batch_of(&[(narrow.clone(), false), (narrow.clone(), true)]);
        let (low, high) = ty_of(&narrow).integer_range().expect("an integer type");
        let (least, greatest) = ty_of(&wide).integer_range().expect("an integer type");
        let literal = |value: i128| Literal {
            data_type: wide.clone(),
            value: Imm::integer(ty_of(&wide), value),
        };
        let mut shapes = (0..).zip(COMPARISONS.into_iter().cycle());
        for shift in [
            1,
            -1,
            100,
            low,
            high,
            greatest - high,
            least - low,
            greatest,
            least,
        ] {
            for limit in [
                0,
                low + shift,
                high + shift,
                high + shift + 1,
                low - shift - 1,
                least,
            ] {
                let (shift, limit) = (literal(shift), literal(limit));
                if shift.value.is_none() || limit.value.is_none() {
                    continue;
                }
                for overflow in [OnError::Null, OnError::Trap, OnError::Wrap] {
                    let (which, op) = shapes.next().expect("it has no end");
                    let column = generator.column(which % 2);
                    let node = Node::Cast {
                        on_error: OnError::Trap,
                        dialect: Dialect::Spark,
                        arg: Box::new(column.clone()),
                    };
                    let arg = match narrow == wide {
                        true => column,
                        false => typed(node, wide.clone()),
                    };
                    let shift = typed(Node::Literal(shift.clone()), wide.clone());
                    let (sum, lhs, rhs) = match which % 3 {
                        0 => (ArithmeticOp::Add, arg, shift),
                        1 => (ArithmeticOp::Add, shift, arg),
                        _ => (ArithmeticOp::Sub, arg, shift),
                    };
                    let node = Node::Arithmetic {
                        op: sum,
                        overflow,
                        zero: OnError::Trap,
                        float_zero: FloatZeroDivision::Ieee,
                        lhs: Box::new(lhs),
                        rhs: Box::new(rhs),
                    };
                    let sum = typed(node, wide.clone());
                    let limit = typed(Node::Literal(limit.clone()), wide.clone());
                    let (lhs, rhs) = match which % 5 {
                        0 | 1 => (limit, sum),
                        _ => (sum, limit),
                    };
                    let tree = generator.compared(op, FloatOrder::Ieee, lhs, rhs);
                    let outcome = compare(&projection(&batch, tree), &batch, Payload::Fused);
                    assert!(outcome.is_ok() || overflow == OnError::Trap);
                }
            }
        }
    }
}

/// Long lists of floats, which are sets of bits, under orders that know one zero or two, and one
/// NaN, many or none.
#[test]
fn long_lists_of_floats_mean_what_comparisons_do() {
    let mut generator = Generator::new(7);
    for data_type in [DataType::Float32, DataType::Float64] {
        for order in [FloatOrder::Ieee, FloatOrder::Total, FloatOrder::Spark] {
            for _ in 0..20 {
                let batch = generator.batch_of(&[(data_type.clone(), false)]);
                let list = (0..9 + generator.below(12))
                    .map(|_| generator.literal(&data_type, 2))
                    .collect();
                let arg = Box::new(generator.column(0));
                let tree = typed(Node::In { order, arg, list }, DataType::Boolean);
                compare(&projection(&batch, tree), &batch, Payload::Fused)
                    .expect("nothing in it traps");
            }
        }
    }
}

const COMPARISONS: [CompareOp; 6] = [
    CompareOp::Eq,
    CompareOp::Ne,
    CompareOp::Lt,
    CompareOp::Le,
    CompareOp::Gt,
    CompareOp::Ge,
];

fn projection(batch: &RecordBatch, tree: Typed) -> Checked {
    let field = Field::new("x", tree.data_type.clone(), true);
    let mut query = Checked {
        input: batch.schema(),
        output: Arc::new(Schema::new(vec![field])),
        filter: None,
        columns: vec![OutputColumn::Computed(tree)],
        emit_mask: false,
        notes: Vec::new(),
    };
    number_query(&mut query);
    query
}

fn number_query(query: &mut Checked) {
    let mut next = 0;
    if let Some(filter) = &mut query.filter {
        number(filter, &mut next);
    }
    for column in &mut query.columns {
        if let OutputColumn::Computed(tree) = column {
            number(tree, &mut next);
        }
    }
}

/// Compares one query, and says whether it answered or trapped.
fn compare(query: &Checked, batch: &RecordBatch, payload: Payload) -> Result<(), ()> {
    let lowered = lower(query, payload).expect("the generator makes what lowering takes");
    verify(&lowered.program).expect("a well-formed program");
    let context = || {
        let columns: Vec<_> = query.columns.iter().collect();
        format!(
            "filter {:#?}\ncolumns {columns:#?}\n{:#?}",
            query.filter, lowered.program
        )
    };
    let kept = match (evaluate_query(query, batch), answer(&lowered, batch)) {
        (Err(wanted), Err(RunError::Trap(Trap { row, ordinal }))) => {
            let wanted = (wanted.row as u64, wanted.error.ordinal);
            assert_eq!((row, ordinal), wanted, "{}", context());
            return Err(());
        }
        (Ok(kept), Ok(answer)) => {
            assert_eq!(answer.kept, kept.len(), "{}", context());
            if let Some(mask) = &answer.mask {
                let rows = (0..batch.num_rows()).filter(|row| mask[*row]);
                assert!(rows.eq(kept.iter().map(|kept| kept.row)), "{}", context());
            }
            let mut computed = 0;
            for (column, field) in query.columns.iter().zip(&answer.fields) {
                let wanted: Vec<_> = match column {
                    OutputColumn::Computed(_) => {
                        computed += 1;
                        kept.iter().map(|kept| kept.values[computed - 1]).collect()
                    }
                    OutputColumn::Payload(column) => {
                        let all = stored(batch.column(*column));
                        kept.iter().map(|kept| all[kept.row]).collect()
                    }
                };
                match (column, field) {
                    (_, Some(values)) => assert_eq!(*values, wanted, "{column:?} {}", context()),
                    (OutputColumn::Payload(_), None) => {
                        assert!(lowered.program.keep.is_none() || lowered.program.emit_mask);
                    }
                    (OutputColumn::Computed(_), None) => panic!("not computed: {}", context()),
                }
            }
            kept
        }
        (wanted, found) => panic!("{wanted:?}\nbut found {found:?}\n{}", context()),
    };
    assert!(kept.len() <= ROWS);
    Ok(())
}

fn count(tree: &Typed, seen: &mut BTreeMap<String, u64>) {
    let name = format!("{:?}", tree.node);
    let name = name.split([' ', '(', '{']).next().unwrap_or_default();
    let key = match &tree.node {
        Node::Cast { arg, .. } => format!("cast {} {}", family(arg), family(tree)),
        _ => name.to_owned(),
    };
    *seen.entry(key).or_default() += 1;
    tree.for_each_child(|child| count(child, seen));
}

fn family(tree: &Typed) -> &'static str {
    match &tree.data_type {
        DataType::Boolean => "boolean",
        DataType::Float32 | DataType::Float64 => "float",
        DataType::Decimal128(..) => "decimal",
        integer if integer.is_integer() => "integer",
        _ => "temporal",
    }
}

/// Random numbers by splitmix64.
struct Generator {
    state: u64,
    dialect: Dialect,
    /// The columns of the batch: type of the values, and whether it is dictionary-encoded.
    columns: Vec<(DataType, bool, bool)>,
    types: Vec<DataType>,
}

impl Generator {
    fn new(seed: u64) -> Self {
        Generator {
            state: seed,
            dialect: if seed.is_multiple_of(3) {
                Dialect::Spark
            } else {
                Dialect::Arrow
            },
            columns: Vec::new(),
            types: Vec::new(),
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        let at = self.below(list.len());
        list[at].clone()
    }

    fn batch(&mut self) -> RecordBatch {
        let all = computable_types();
        self.types = vec![DataType::Boolean];
        for _ in 0..3 {
            let data_type = self.pick(&all);
            self.types.push(data_type);
        }
        let integers: Vec<_> = all.into_iter().filter(DataType::is_integer).collect();
        if self.dialect == Dialect::Arrow {
            let data_type = self.pick(&integers);
            self.types.push(data_type);
        }
        let types = self.types.clone();
        let columns: Vec<_> = (0..5)
            .map(|_| (self.pick(&types), self.chance(30)))
            .collect();
        self.batch_of(&columns)
    }

    /// A batch of columns of these types, of which some are dictionary-encoded.
    fn batch_of(&mut self, types: &[(DataType, bool)]) -> RecordBatch {
        self.columns.clear();
        let mut columns = Vec::new();
        for (at, (data_type, encoded)) in types.iter().enumerate() {
            let (data_type, encoded) = (data_type.clone(), *encoded);
            let nullable = self.chance(60);
            let column = match encoded {
                false => self.array(&data_type, ROWS, nullable),
                true => self.dictionary(&data_type, nullable),
            };
            self.columns.push((data_type, encoded, nullable));
            columns.push((format!("c{at}"), column, nullable));
        }
        batch(columns)
    }

    fn array(&mut self, data_type: &DataType, rows: usize, nullable: bool) -> ArrayRef {
        let values: Vec<Option<Imm>> = (0..rows)
            .map(|_| match nullable && self.chance(20) {
                true => None,
                false => Some(self.value(data_type)),
            })
            .collect();
        // Whatever a null hides must not matter: a zero divides, a minimum overflows.
        let garbage = match self.chance(50) {
            true => Imm::zero(ty_of(data_type)),
            false => Imm::from_le_bytes(ty_of(data_type), [0x80; 16]),
        };
        array(data_type, &values, garbage)
    }

    fn dictionary(&mut self, data_type: &DataType, nullable: bool) -> ArrayRef {
        let entries = 1 + self.below(12);
        // A dictionary may hold nulls where no key is one.
        let null_values = self.chance(50);
        let values = self.array(data_type, entries, null_values);
        let keys = self.pick(&[DataType::Int8, DataType::UInt16, DataType::Int64]);
        let key_values: Vec<Option<Imm>> = (0..ROWS)
            .map(|_| {
                let key = self.below(entries) as i128;
                let valid = !nullable || self.chance(80);
                valid.then(|| Imm::integer(ty_of(&keys), key).expect("a small key"))
            })
            .collect();
        dictionary(&keys, &key_values, values)
    }

    fn value(&mut self, data_type: &DataType) -> Imm {
        let ty = ty_of(data_type);
        match (ty, data_type) {
            (Ty::Mask, _) => Imm::mask(self.chance(50)),
            (Ty::F32, _) => Imm::f32(self.float() as f32),
            (Ty::F64, _) => Imm::f64(self.float()),
            (_, DataType::Decimal128(precision, _)) => {
                let greatest = 10i128.pow(u32::from(*precision)) - 1;
                let special = [0, 1, -1, 5, -15, 100, 150, -250, greatest, -greatest];
                let value = self.pick(&special).clamp(-greatest, greatest);
                Imm::integer(ty, value).expect("within the precision")
            }
            _ => {
                let (low, high) = ty.integer_range().expect("an integer type");
                let special = [0, 1, 2, 3, 7, -1, -2, 100, 127, 128, 300, -129, 86_399_999];
                let value = match self.below(20) {
                    0 => low,
                    1 => high,
                    2 => low + 1,
                    3 => i128::from(self.next() as i64).clamp(low, high),
                    _ => self.pick(&special).clamp(low, high),
                };
                Imm::integer(ty, value).expect("clamped to the range")
            }
        }
    }

    fn float(&mut self) -> f64 {
        let special = [
            0.0,
            -0.0,
            1.0,
            -1.5,
            2.5,
            127.9,
            -128.9,
            1e10,
            -1e300,
            9_223_372_036_854_775_808.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            f64::from_bits(0xfff8_0000_0000_0001),
        ];
        self.pick(&special)
    }

    fn query(&mut self, batch: &RecordBatch) -> Checked {
        let filter = self.chance(70).then(|| self.tree(&DataType::Boolean, 4));
        let mut columns = Vec::new();
        for _ in 0..1 + self.below(2) {
            let types = self.types.clone();
            let data_type = self.pick(&types);
            columns.push(OutputColumn::Computed(self.tree(&data_type, 3)));
        }
        for column in 0..self.columns.len() {
            if self.chance(20) {
                columns.push(OutputColumn::Payload(column));
            }
        }
        let fields: Vec<Field> = columns
            .iter()
            .map(|column| match column {
                OutputColumn::Payload(column) => batch.schema().field(*column).clone(),
                OutputColumn::Computed(tree) => Field::new("", tree.data_type.clone(), true),
            })
            .collect();
        let mut query = Checked {
            input: batch.schema(),
            output: Arc::new(Schema::new(fields)),
            filter,
            columns,
            emit_mask: self.chance(20),
            notes: Vec::new(),
        };
        number_query(&mut query);
        query
    }

    fn tree(&mut self, data_type: &DataType, depth: usize) -> Typed {
        if depth == 0 || self.chance(10) {
            return self.leaf(data_type);
        }
        let ty = ty_of(data_type);
        let depth = depth - 1;
        let choice = self.below(if ty == Ty::Mask { 14 } else { 10 });
        let node = match choice {
            0 => Node::Coalesce(self.some(data_type, depth)),
            1 => Node::Case {
                branches: (0..1 + self.below(2))
                    .map(|_| {
                        (
                            self.tree(&DataType::Boolean, depth),
                            self.tree(data_type, depth),
                        )
                    })
                    .collect(),
                otherwise: self.chance(60).then(|| self.boxed(data_type, depth)),
            },
            2 => Node::Try(self.boxed(data_type, depth)),
            3 | 4 => match self.castable(data_type) {
                Some((from, on_error)) => Node::Cast {
                    on_error,
                    dialect: self.dialect,
                    arg: self.boxed(&from, depth),
                },
                None => return self.leaf(data_type),
            },
            _ if ty == Ty::Mask => return self.boolean(depth),
            5 if ty.is_signed() || ty.is_float() => Node::Negate {
                overflow: self.mode(),
                arg: self.boxed(data_type, depth),
            },
            6 => Node::Abs {
                overflow: self.mode(),
                arg: self.boxed(data_type, depth),
            },
            _ if data_type.is_integer() || ty.is_float() => Node::Arithmetic {
                op: self.pick(&[
                    ArithmeticOp::Add,
                    ArithmeticOp::Sub,
                    ArithmeticOp::Mul,
                    ArithmeticOp::Div,
                    ArithmeticOp::Rem,
                ]),
                overflow: self.mode(),
                zero: if self.chance(40) {
                    OnError::Trap
                } else {
                    OnError::Null
                },
                float_zero: self.pick(&[
                    FloatZeroDivision::Ieee,
                    FloatZeroDivision::Null,
                    FloatZeroDivision::Null,
                    FloatZeroDivision::Trap,
                ]),
                lhs: self.boxed(data_type, depth),
                rhs: self.boxed(data_type, depth),
            },
            _ => return self.leaf(data_type),
        };
        typed(node, data_type.clone())
    }

    fn boolean(&mut self, depth: usize) -> Typed {
        let types = self.types.clone();
        let operand = match self.chance(80) {
            true => self.pick(&types),
            false => self.pick(&computable_types()),
        };
        let order = match ty_of(&operand).is_float() {
            true => self.pick(&[FloatOrder::Ieee, FloatOrder::Total, FloatOrder::Spark]),
            false => FloatOrder::Ieee,
        };
        let boolean = DataType::Boolean;
        let node = match self.below(8) {
            0 | 1 => Node::And(self.some(&boolean, depth)),
            2 => Node::Or(self.some(&boolean, depth)),
            3 => Node::Not(self.boxed(&boolean, depth)),
            4 => {
                let test = self.pick(&[IsTest::Null, IsTest::True, IsTest::False]);
                let arg = match test {
                    IsTest::Null => self.boxed(&operand, depth),
                    _ => self.boxed(&boolean, depth),
                };
                Node::Is {
                    test,
                    negated: self.chance(50),
                    arg,
                }
            }
            5 => {
                let length = self.pick(&[1, 3, 8, 20]);
                let arg = Box::new(self.operand(&operand, depth));
                let list = (0..length).map(|_| self.literal(&operand, 3)).collect();
                Node::In { order, arg, list }
            }
            6 => Node::Distinct {
                negated: self.chance(50),
                order,
                lhs: Box::new(self.operand(&operand, depth)),
                rhs: Box::new(self.operand(&operand, depth)),
            },
            _ if self.chance(40) => {
                // Bounds on one operand, as BETWEEN has them.
                let arg = self.operand(&operand, depth.min(1));
                let bounds = (0..2 + self.below(2))
                    .map(|_| {
                        let op = self.pick(&COMPARISONS);
                        let limit = self.literal(&operand, 3);
                        let limit = typed(Node::Literal(limit), operand.clone());
                        self.compared(op, order, arg.clone(), limit)
                    })
                    .collect();
                Node::And(bounds)
            }
            _ => {
                let op = self.pick(&COMPARISONS);
                let lhs = self.operand(&operand, depth);
                let rhs = self.operand(&operand, depth);
                return self.compared(op, order, lhs, rhs);
            }
        };
        typed(node, boolean)
    }

    fn compared(&mut self, op: CompareOp, order: FloatOrder, lhs: Typed, rhs: Typed) -> Typed {
        let (lhs, rhs) = match self.chance(25) {
            true => (Box::new(rhs), Box::new(lhs)),
            false => (Box::new(lhs), Box::new(rhs)),
        };
        let node = Node::Compare {
            op,
            order,
            lhs,
            rhs,
        };
        typed(node, DataType::Boolean)
    }

    /// An operand of a comparison: often a widened integer.
    fn operand(&mut self, data_type: &DataType, depth: usize) -> Typed {
        if !data_type.is_integer() || self.dialect == Dialect::Spark || self.chance(50) {
            return self.tree(data_type, depth);
        }
        let to = ty_of(data_type);
        let narrower: Vec<DataType> = computable_types()
            .into_iter()
            .filter(|from| from.is_integer() && from != data_type && to.bits() > ty_of(from).bits())
            .collect();
        if narrower.is_empty() {
            return self.tree(data_type, depth);
        }
        let from = self.pick(&narrower);
        let node = Node::Cast {
            on_error: OnError::Null,
            dialect: self.dialect,
            arg: self.boxed(&from, depth),
        };
        typed(node, data_type.clone())
    }

    fn castable(&mut self, to: &DataType) -> Option<(DataType, OnError)> {
        let mode = self.mode();
        let from: Vec<DataType> = computable_types()
            .into_iter()
            .filter(|from| can_cast(from, to, mode, self.dialect))
            .collect();
        (!from.is_empty()).then(|| (self.pick(&from), mode))
    }

    fn mode(&mut self) -> OnError {
        match self.below(8) {
            0..3 => OnError::Trap,
            3..5 => OnError::Wrap,
            _ => OnError::Null,
        }
    }

    fn some(&mut self, data_type: &DataType, depth: usize) -> Vec<Typed> {
        let count = 2 + self.below(2);
        (0..count).map(|_| self.tree(data_type, depth)).collect()
    }

    fn boxed(&mut self, data_type: &DataType, depth: usize) -> Box<Typed> {
        Box::new(self.tree(data_type, depth))
    }

    fn leaf(&mut self, data_type: &DataType) -> Typed {
        let fitting: Vec<usize> = (0..self.columns.len())
            .filter(|at| self.columns[*at].0 == *data_type)
            .collect();
        if fitting.is_empty() || self.chance(25) {
            return typed(
                Node::Literal(self.literal(data_type, 10)),
                data_type.clone(),
            );
        }
        let at = self.pick(&fitting);
        self.column(at)
    }

    /// A column, decoded if it is dictionary-encoded.
    fn column(&self, at: usize) -> Typed {
        let (data_type, encoded, nullable) = self.columns[at].clone();
        let column = Typed {
            nullable,
            ..typed(Node::Column(at), data_type.clone())
        };
        match encoded {
            false => column,
            true => Typed {
                nullable,
                ..typed(Node::Decode(Box::new(column)), data_type)
            },
        }
    }

    fn literal(&mut self, data_type: &DataType, null_percent: usize) -> Literal {
        Literal {
            data_type: data_type.clone(),
            value: (!self.chance(null_percent)).then(|| self.value(data_type)),
        }
    }
}

fn typed(node: Node, data_type: DataType) -> Typed {
    Typed {
        node,
        data_type,
        nullable: true,
        ordinal: 0,
        span: None,
    }
}

/// Numbers a tree in order of evaluation.
fn number(tree: &mut Typed, next: &mut u32) {
    tree.for_each_child_mut(|child| number(child, next));
    tree.ordinal = *next;
    *next += 1;
}
