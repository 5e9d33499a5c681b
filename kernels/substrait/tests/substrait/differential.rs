//! Random expressions of pyarrow's, through Substrait, against what pyarrow computes from the same
//! bytes on values at the edges of their types. `tests/pyarrow/make.py` makes both.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, make_array};
use arrow_schema::DataType;
use unlade_expr::tree::Kind;
use unlade_expr::{Expr, FloatZeroDivision, Query, Semantics, check, physical_type};
use unlade_naive::evaluate;
use unlade_program::{FloatOrder, Imm, Ty};
use unlade_substrait::import;

use crate::producers::{file, folder};

/// What pyarrow's kernels do where a message does not say it.
fn pyarrow() -> Semantics {
    let mut rules = Semantics::arrow().with_float_order(FloatOrder::Ieee);
    rules.float_divide_by_zero = FloatZeroDivision::Trap;
    rules
}

#[test]
fn a_thousand_expressions_compute_what_pyarrow_computes() {
    let (mut expressions, mut tally) = (0, Tally::default());
    for name in ["checked", "wrapping"] {
        let imported = import(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let rules = imported
            .rules(&pyarrow())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let text = fs::read_to_string(folder().join(format!("{name}.txt"))).expect("it is there");
        let given: HashMap<&str, Vec<&str>> = text
            .lines()
            .map(|line| {
                let mut words = line.split(' ');
                (words.next().expect("a line has a name"), words.collect())
            })
            .collect();
        let arrays: Vec<ArrayRef> = imported
            .input
            .fields()
            .iter()
            .map(|field| array(field.data_type(), &given[field.name().as_str()]))
            .collect();
        let batch = RecordBatch::try_new(Arc::clone(&imported.input), arrays).expect("columns fit");
        for named in &imported.expressions {
            let query = Query::all().select([named.expr.clone().alias("x")]);
            let checked = check(&query, &imported.input, &rules).expect("it passed before");
            let Some(tree) = checked.trees().next() else {
                // A column as it is.
                continue;
            };
            expressions += 1;
            let ty = physical_type(&tree.data_type).expect("it is computed");
            for (row, answer) in given[named.name.as_str()].iter().enumerate() {
                let context = format!("{name}, row {row}: {}", named.expr);
                tally.compare(
                    &named.expr,
                    evaluate(tree, &batch, row),
                    answer,
                    ty,
                    &context,
                );
            }
        }
    }
    let Tally {
        values,
        errors,
        lazy,
    } = tally;
    println!(
        "{expressions} expressions: {values} values and {errors} errors as pyarrow has them, {lazy} errors of what is not chosen"
    );
    assert!(
        expressions >= 1_000 && values > 15_000 && errors > 500,
        "{expressions} {values} {errors}"
    );
    assert!(lazy < errors, "{lazy} errors of what is not chosen");
}

/// How rows compare with what somebody else computes of them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) values: u64,
    pub(crate) errors: u64,
    /// Errors of what is not chosen here, and so not computed.
    pub(crate) lazy: u64,
}

impl Tally {
    /// Counts a row, whose answer is theirs or is to be.
    pub(crate) fn compare<E: std::fmt::Debug>(
        &mut self,
        expr: &Expr,
        computed: Result<Option<Imm>, E>,
        answer: &str,
        ty: Ty,
        context: &str,
    ) {
        match (answer, computed) {
            ("error", Err(_)) => self.errors += 1,
            ("error", Ok(_)) => {
                assert!(is_lazy(expr), "{context} is no error");
                self.lazy += 1;
            }
            (answer, computed) => {
                let computed = computed.unwrap_or_else(|error| panic!("{context}: {error:?}"));
                assert!(
                    is_same(computed, answer, ty),
                    "{context}: {computed:?}, and they say {answer}"
                );
                self.values += 1;
            }
        }
    }
}

/// A column of values that are held by integers.
pub(crate) fn array<S: AsRef<str>>(data_type: &DataType, values: &[S]) -> ArrayRef {
    let ty = physical_type(data_type).expect("it is computed with");
    let imms = values.iter().map(|text| imm(text.as_ref(), ty));
    let imms: Vec<Option<Imm>> = imms.collect();
    let bytes: Vec<u8> = match ty {
        Ty::Mask => arrow_buffer::BooleanBuffer::from_iter(
            imms.iter().map(|imm| imm.is_some_and(Imm::as_mask)),
        )
        .into_inner()
        .to_vec(),
        _ => imms
            .iter()
            .flat_map(|imm| {
                let bytes = imm.unwrap_or(Imm::zero(ty)).to_le_bytes();
                bytes[..ty.bytes_for(1) as usize].to_vec()
            })
            .collect(),
    };
    let data = arrow_data::ArrayData::builder(data_type.clone())
        .len(values.len())
        .add_buffer(arrow_buffer::Buffer::from_vec(bytes))
        .nulls(Some(imms.iter().map(Option::is_some).collect()))
        .align_buffers(true)
        .build();
    make_array(data.expect("its buffers fit"))
}

fn imm(text: &str, ty: Ty) -> Option<Imm> {
    if text == "null" {
        return None;
    }
    let held: i128 = text.parse().expect("an integer");
    Some(Imm::from_le_bytes(ty, held.to_le_bytes()))
}

/// NaNs are equal here: the one that arithmetic makes is not the same one.
fn is_same(computed: Option<Imm>, answer: &str, ty: Ty) -> bool {
    let expected = imm(answer, ty);
    let is_nan = |imm: Option<Imm>| match ty {
        Ty::F32 => imm.is_some_and(|imm| imm.as_f32().is_nan()),
        Ty::F64 => imm.is_some_and(|imm| imm.as_f64().is_nan()),
        _ => false,
    };
    computed == expected || is_nan(computed) && is_nan(expected)
}

/// Whether something in an expression is computed on some rows only.
fn is_lazy(expr: &Expr) -> bool {
    match expr.kind() {
        Kind::Case { .. } | Kind::Coalesce(_) | Kind::And(_) | Kind::Or(_) => true,
        Kind::Column { .. } | Kind::Literal(_) | Kind::Wildcard | Kind::TooDeep => false,
        Kind::Not(arg)
        | Kind::Negate(arg)
        | Kind::Abs(arg)
        | Kind::Try(arg)
        | Kind::Is { arg, .. }
        | Kind::Cast { arg, .. }
        | Kind::Alias { arg, .. } => is_lazy(arg),
        Kind::In { arg, list, .. } => is_lazy(arg) || list.iter().any(is_lazy),
        Kind::Call { args, .. } => args.iter().any(is_lazy),
        Kind::Binary { lhs, rhs, .. } | Kind::NullIf(lhs, rhs) => is_lazy(lhs) || is_lazy(rhs),
        Kind::Between { arg, low, high, .. } => {
            [arg, low, high].into_iter().any(|arg| is_lazy(arg))
        }
    }
}
