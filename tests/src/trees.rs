//! Random expressions, made through the public builder, so that what is tested is what users
//! write.

use arrow_schema::{DataType, Field};
use unlade_expr::{
    Expr, FloatZeroDivision, Literal, OnError, Query, Semantics, can_cast, coalesce,
    computable_types, if_, lit, nullif, physical_type, when,
};
use unlade_naive::generate::Rng;
use unlade_program::{CompareOp, FloatOrder};

use crate::any_array::every_type;
use crate::batches::{random_scalar, tame_scalar};

/// The sets of rules that tests choose from: the named ones, and the modes that are on request.
pub fn rules() -> Vec<(&'static str, Semantics)> {
    let mut nulls = Semantics::arrow()
        .with_overflow(OnError::Null)
        .with_cast(OnError::Null);
    nulls.divide_by_zero = OnError::Null;
    nulls.float_divide_by_zero = FloatZeroDivision::Null;
    vec![
        ("arrow", Semantics::arrow()),
        (
            "arrow, overflow wraps",
            Semantics::arrow().with_overflow(OnError::Wrap),
        ),
        (
            "arrow, casts give null",
            Semantics::arrow().with_cast(OnError::Null),
        ),
        ("arrow, errors give null", nulls),
        (
            "arrow, ieee order",
            Semantics::arrow().with_float_order(FloatOrder::Ieee),
        ),
        ("spark-legacy", Semantics::spark_legacy()),
        ("spark-ansi", Semantics::spark_ansi()),
    ]
}

/// The types that expressions compute with under some rules.
pub fn types(semantics: &Semantics) -> Vec<DataType> {
    let mut types = computable_types();
    if is_spark(semantics) {
        types.retain(|data_type| !data_type.is_unsigned_integer());
    }
    types
}

/// An operation on given types: what a random expression is grown from.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// `+ - * / %`
    Arithmetic(Arithmetic, DataType),
    /// `-`
    Negate(DataType),
    /// `abs`
    Abs(DataType),
    /// `CAST`
    Cast(DataType, DataType),
    /// `TRY_CAST`
    TryCast(DataType, DataType),
    /// The six comparisons.
    Compare(CompareOp, DataType),
    /// `IS [NOT] DISTINCT FROM`
    Distinct(bool, DataType),
    /// `BETWEEN`
    Between(DataType),
    /// `IN`
    In(DataType),
    /// `AND`
    And,
    /// `OR`
    Or,
    /// `NOT`
    Not,
    /// `IS [NOT] NULL`
    IsNull(bool, DataType),
    /// `IS [NOT] TRUE | FALSE`: which, and whether there is a `NOT`.
    Is(bool, bool),
    /// `CASE`
    Case(DataType),
    /// `COALESCE`
    Coalesce(DataType),
    /// `NULLIF`
    NullIf(DataType),
    /// `TRY`
    Try(DataType),
    /// A dictionary-encoded column.
    Dictionary(DataType),
}

/// Arithmetic of two operands as it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    IntDiv,
    Rem,
}

/// Every operation on every type that the check must accept under some rules.
pub fn targets(semantics: &Semantics) -> Vec<Target> {
    use Arithmetic::{Add, Div, IntDiv, Mul, Rem, Sub};
    let types = types(semantics);
    let mut targets = vec![Target::And, Target::Or, Target::Not];
    for (value, negated) in [(true, false), (true, true), (false, false), (false, true)] {
        targets.push(Target::Is(value, negated));
    }
    for data_type in &types {
        let of = || data_type.clone();
        if is_number(data_type) {
            targets.extend([Add, Sub, Mul, Div, Rem].map(|op| Target::Arithmetic(op, of())));
            if data_type.is_integer() {
                targets.push(Target::Arithmetic(IntDiv, of()));
            }
            if !data_type.is_unsigned_integer() {
                targets.extend([Target::Negate(of()), Target::Abs(of())]);
            }
        }
        let compares = [
            CompareOp::Eq,
            CompareOp::Ne,
            CompareOp::Lt,
            CompareOp::Le,
            CompareOp::Gt,
            CompareOp::Ge,
        ];
        targets.extend(compares.map(|op| Target::Compare(op, of())));
        targets.extend([false, true].map(|negated| Target::Distinct(negated, of())));
        targets.extend([false, true].map(|negated| Target::IsNull(negated, of())));
        targets.extend([
            Target::Between(of()),
            Target::In(of()),
            Target::Case(of()),
            Target::Coalesce(of()),
            Target::NullIf(of()),
            Target::Try(of()),
            Target::Dictionary(of()),
        ]);
        for to in &types {
            if can_cast(data_type, to, semantics.cast, semantics.dialect) {
                targets.push(Target::Cast(of(), to.clone()));
            }
            if can_cast(data_type, to, OnError::Null, semantics.dialect) {
                targets.push(Target::TryCast(of(), to.clone()));
            }
        }
    }
    for data_type in every_type() {
        if physical_type(&data_type).is_none() {
            targets.extend([false, true].map(|negated| Target::IsNull(negated, data_type.clone())));
        }
    }
    targets
}

/// Grows expressions, and gathers the columns that they read.
#[derive(Debug)]
pub struct Grower<'a> {
    semantics: &'a Semantics,
    types: &'a [DataType],
    rng: &'a mut Rng,
    fields: Vec<Field>,
}

impl<'a> Grower<'a> {
    /// Without any column yet; `types` is what [`types`] returns for the rules.
    pub fn new(semantics: &'a Semantics, types: &'a [DataType], rng: &'a mut Rng) -> Self {
        Grower {
            semantics,
            types,
            rng,
            fields: Vec::new(),
        }
    }

    /// The columns that the expressions grown so far read.
    pub fn into_fields(self) -> Vec<Field> {
        self.fields
    }

    /// A query: these outputs, each grown up to a depth, and mostly a filter.
    pub fn query(&mut self, outputs: &[&Target], depth: u32) -> Query {
        let columns: Vec<Expr> = outputs
            .iter()
            .enumerate()
            .map(|(index, target)| self.expr(target, depth).alias(format!("out{index}")))
            .collect();
        let filter = self.rng.chance(75).then(|| self.boolean(2));
        let payload = self.rng.chance(30) && !self.fields.is_empty();
        let payload = payload.then(|| self.rng.below(self.fields.len()));
        let payload = payload.map(|index| unlade_expr::col(self.fields[index].name().as_str()));
        let query = Query {
            filter,
            ..Query::all()
        };
        let query = query.select(columns.into_iter().chain(payload));
        match self.rng.chance(30) && query.filter.is_some() {
            true => query.with_mask(),
            false => query,
        }
    }

    /// An expression with this operation at its root.
    pub fn expr(&mut self, target: &Target, depth: u32) -> Expr {
        let below = depth.saturating_sub(1);
        match target {
            Target::Arithmetic(op, data_type) => {
                let (lhs, rhs) = (self.value(data_type, below), self.value(data_type, below));
                match op {
                    Arithmetic::Add => lhs.add(rhs),
                    Arithmetic::Sub => lhs.sub(rhs),
                    Arithmetic::Mul => lhs.mul(rhs),
                    Arithmetic::Div => lhs.div(rhs),
                    Arithmetic::IntDiv => lhs.int_div(rhs),
                    Arithmetic::Rem => lhs.rem(rhs),
                }
            }
            // The builder folds the sign of a literal into it.
            Target::Negate(data_type) => self.column(data_type).neg(),
            Target::Abs(data_type) => self.value(data_type, below).abs(),
            Target::Cast(from, to) => self.computed(from, below).cast(to.clone()),
            Target::TryCast(from, to) => self.computed(from, below).try_cast(to.clone()),
            Target::Compare(op, data_type) => {
                let lhs = self.value(data_type, below);
                let rhs = match self.rng.chance(40) {
                    true => self.literal(data_type),
                    false => self.value(data_type, below),
                };
                compared(*op, lhs, rhs)
            }
            Target::Distinct(negated, data_type) => {
                let (lhs, rhs) = (self.value(data_type, below), self.value(data_type, below));
                match negated {
                    true => lhs.not_distinct_from(rhs),
                    false => lhs.distinct_from(rhs),
                }
            }
            Target::Between(data_type) => {
                let arg = self.value(data_type, below);
                let (low, high) = (self.literal(data_type), self.literal(data_type));
                match self.rng.chance(30) {
                    true => arg.not_between(low, high),
                    false => arg.between(low, high),
                }
            }
            Target::In(data_type) => {
                // A column, so that the list becomes a set and not comparisons of constants.
                let arg = self.column(data_type);
                let members = self.rng.pick(&[1, 3, 8, 40]);
                let list: Vec<Expr> = (0..members).map(|_| self.literal(data_type)).collect();
                match self.rng.chance(30) {
                    true => arg.not_in_list(list),
                    false => arg.in_list(list),
                }
            }
            Target::And | Target::Or => {
                let conditions = match self.rng.chance(30) {
                    true => self.bounds_of_one_column(),
                    false => {
                        let count = 2 + self.rng.below(3);
                        (0..count).map(|_| self.boolean(below)).collect()
                    }
                };
                let chain = match target {
                    Target::And => Expr::and,
                    _ => Expr::or,
                };
                conditions
                    .into_iter()
                    .reduce(chain)
                    .expect("there are operands")
            }
            Target::Not => Expr::not(self.boolean(below)),
            Target::IsNull(negated, data_type) => {
                let arg = match physical_type(data_type) {
                    Some(_) => self.computed(data_type, below),
                    None => self.column_of(data_type.clone()),
                };
                match negated {
                    true => arg.is_not_null(),
                    false => arg.is_null(),
                }
            }
            Target::Is(value, negated) => {
                let arg = self.boolean(below);
                match (value, negated) {
                    (true, false) => arg.is_true(),
                    (true, true) => arg.is_not_true(),
                    (false, false) => arg.is_false(),
                    (false, true) => arg.is_not_false(),
                }
            }
            Target::Case(data_type) => {
                let (condition, value) = (self.boolean(below), self.computed(data_type, below));
                if self.rng.chance(30) {
                    return if_(condition, value, self.computed(data_type, below));
                }
                let case = when(condition).then(value);
                let case = case
                    .when(self.boolean(below))
                    .then(self.computed(data_type, below));
                match self.rng.chance(50) {
                    true => case.otherwise(self.computed(data_type, below)),
                    false => case.end(),
                }
            }
            Target::Coalesce(data_type) => {
                let count = 2 + self.rng.below(2);
                coalesce(
                    (0..count)
                        .map(|_| self.computed(data_type, below))
                        .collect::<Vec<_>>(),
                )
            }
            Target::NullIf(data_type) => {
                let value = self.computed(data_type, below);
                nullif(value, self.value(data_type, below))
            }
            Target::Try(data_type) => self.computed(data_type, below).try_(),
            Target::Dictionary(values) => {
                let column = self.dictionary(values);
                // A bare column would be payload, and never decoded.
                coalesce([column, self.computed(values, 0)])
            }
        }
    }

    /// An expression of a type that is no bare literal, whose type might give way.
    fn computed(&mut self, data_type: &DataType, depth: u32) -> Expr {
        if depth == 0 || self.rng.chance(40) {
            return self.column(data_type);
        }
        let target = self.producer(data_type);
        self.expr(&target, depth)
    }

    /// An expression of a type.
    fn value(&mut self, data_type: &DataType, depth: u32) -> Expr {
        match self.rng.chance(20) {
            true => self.literal(data_type),
            false => self.computed(data_type, depth),
        }
    }

    fn boolean(&mut self, depth: u32) -> Expr {
        self.computed(&DataType::Boolean, depth)
    }

    /// An operation with a result of a type.
    fn producer(&mut self, data_type: &DataType) -> Target {
        let of = || data_type.clone();
        if *data_type == DataType::Boolean && self.rng.chance(80) {
            let operand = self.any_type();
            return match self.rng.below(10) {
                0 => Target::And,
                1 => Target::Or,
                2 => Target::Not,
                3 => Target::IsNull(self.rng.chance(50), operand),
                4 => Target::Is(self.rng.chance(50), self.rng.chance(50)),
                5 => Target::Distinct(self.rng.chance(50), operand),
                6 => Target::Between(operand),
                7 => Target::In(operand),
                _ => {
                    let ops = [CompareOp::Eq, CompareOp::Lt, CompareOp::Ge, CompareOp::Ne];
                    Target::Compare(self.rng.pick(&ops), operand)
                }
            };
        }
        if is_number(data_type) && self.rng.chance(50) {
            use Arithmetic::{Add, Div, Mul, Rem, Sub};
            // Under the Spark rules `/` gives a double whatever its operands are.
            let divides = !is_spark(self.semantics) || *data_type == DataType::Float64;
            let op = match self.rng.pick(&[Add, Sub, Mul, Div, Rem]) {
                Div if !divides => Add,
                op => op,
            };
            return Target::Arithmetic(op, of());
        }
        match self.rng.below(5) {
            0 => Target::Case(of()),
            1 => Target::Coalesce(of()),
            2 => Target::Try(of()),
            3 => Target::NullIf(of()),
            _ => {
                let from = self.any_type();
                let Semantics { cast, dialect, .. } = *self.semantics;
                if !can_cast(&from, data_type, cast, dialect) {
                    return Target::Coalesce(of());
                }
                let lenient = can_cast(&from, data_type, OnError::Null, dialect);
                match lenient && self.rng.chance(20) {
                    true => Target::TryCast(from, of()),
                    false => Target::Cast(from, of()),
                }
            }
        }
    }

    fn bounds_of_one_column(&mut self) -> Vec<Expr> {
        let integers: Vec<DataType> = self
            .types
            .iter()
            .filter(|data_type| data_type.is_integer())
            .cloned()
            .collect();
        let data_type = &integers[self.rng.below(integers.len())];
        let column = self.column(data_type);
        let count = 2 + self.rng.below(3);
        (0..count)
            .map(|_| {
                let ops = [
                    CompareOp::Lt,
                    CompareOp::Le,
                    CompareOp::Gt,
                    CompareOp::Ge,
                    CompareOp::Eq,
                ];
                compared(self.rng.pick(&ops), column.clone(), self.literal(data_type))
            })
            .collect()
    }

    fn any_type(&mut self) -> DataType {
        self.types[self.rng.below(self.types.len())].clone()
    }

    /// A column of a type: plain or dictionary-encoded, with or without nulls, one that is there
    /// already or a new one.
    fn column(&mut self, data_type: &DataType) -> Expr {
        if self.rng.chance(12) {
            return self.dictionary(data_type);
        }
        self.column_of(data_type.clone())
    }

    fn dictionary(&mut self, values: &DataType) -> Expr {
        let keys = [DataType::Int8, DataType::Int32, DataType::UInt16];
        let keys = keys[self.rng.below(keys.len())].clone();
        self.column_of(DataType::Dictionary(
            Box::new(keys),
            Box::new(values.clone()),
        ))
    }

    fn column_of(&mut self, data_type: DataType) -> Expr {
        let existing: Vec<&Field> = self
            .fields
            .iter()
            .filter(|field| *field.data_type() == data_type)
            .collect();
        if !existing.is_empty() && self.rng.chance(60) {
            let field = existing[self.rng.below(existing.len())];
            return unlade_expr::col(field.name().as_str());
        }
        let name = format!("c{}", self.fields.len());
        let nullable = self.rng.chance(60);
        self.fields.push(Field::new(&name, data_type, nullable));
        unlade_expr::col(name)
    }

    /// A literal of a type, mostly one on which nothing fails.
    fn literal(&mut self, data_type: &DataType) -> Expr {
        let value = match self.rng.below(20) {
            0 => None,
            1..=6 => Some(random_scalar(data_type, self.rng)),
            _ => Some(tame_scalar(data_type, self.rng)),
        };
        lit(Literal {
            data_type: data_type.clone(),
            value,
        })
    }
}

fn compared(op: CompareOp, lhs: Expr, rhs: Expr) -> Expr {
    match op {
        CompareOp::Eq => lhs.eq(rhs),
        CompareOp::Ne => lhs.ne(rhs),
        CompareOp::Lt => lhs.lt(rhs),
        CompareOp::Le => lhs.le(rhs),
        CompareOp::Gt => lhs.gt(rhs),
        CompareOp::Ge => lhs.ge(rhs),
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_floating()
}

fn is_spark(semantics: &Semantics) -> bool {
    semantics.dialect == unlade_expr::Dialect::Spark
}
