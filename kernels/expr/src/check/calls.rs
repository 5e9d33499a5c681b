//! Calls of users' functions: what is called, and on what, before the program of a query runs.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::adapt::{self, Fit};
use super::casts::cast_row;
use super::common::common;
use super::expr::{Operand, Side};
use super::unify::Purpose;
use super::{Checker, check_called, is_computable, number};
use crate::display::Brief;
use crate::error::{Clause, ExprError, ExprErrorKind};
use crate::limits::{MAX_CALLS, too_many_calls};
use crate::query::{Query, Select};
use crate::semantics::{Coercion, Semantics};
use crate::signature::{Signature, stands_for};
use crate::tree::{Expr, Kind};
use crate::type_name::TypeName;
use crate::typed::{Checked, Node, OutputColumn, Typed};

/// A query with the calls of users' functions taken out of it: [`stages`](Staged::stages) say what to
/// call on what, and [`checked`](Staged::checked) is the rest, to which their results are columns.
///
/// A call is done for every row of a batch, wherever it stands: in a branch that is not taken, behind a
/// filter. Equal calls are one. What a call's arguments call in turn is in an earlier stage.
///
/// ```
/// use std::sync::Arc;
/// use arrow_schema::{DataType, Field, Schema};
/// use unlade_expr::{Query, Semantics, Signature, check_staged, col, lit};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, false)]));
/// let half = Arc::new(Signature::new("half", [DataType::Int64], DataType::Int64)?);
/// let quarter = half.call([half.call([col("a")])]);
/// let staged = check_staged(&Query::filter(quarter.gt(lit(1))), &schema, &Semantics::arrow())?;
///
/// // First half(a), of which the argument is widened; then half of that.
/// let called: Vec<&str> = staged.calls.iter().map(|call| call.name()).collect();
/// assert_eq!(called, ["half(a)", "half(half(a))"]);
/// assert_eq!(staged.stages[0].arguments.input, schema);
/// assert_eq!(staged.stages[1].arguments.input.fields().len(), 2);
/// assert_eq!(staged.checked.input.fields().len(), 3);
/// # Ok::<(), unlade_expr::ExprError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Staged {
    /// What is called first, in order. None where the query calls nothing.
    pub stages: Vec<Stage>,
    /// The calls of all stages, in order: each gives a column behind those of the batch.
    pub calls: Vec<Called>,
    /// The query over the batch's columns and theirs.
    pub checked: Checked,
}

/// Calls that need nothing of each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// How many of [`Staged::calls`] are of this stage.
    pub calls: usize,
    /// Their arguments, one call's behind the other's, each of the type that its function takes: a query
    /// over the batch's columns and the results of earlier stages, that keeps every row.
    pub arguments: Checked,
}

/// A call of a user's function whose result is a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Called {
    expr: Expr,
    function: Arc<Signature>,
    /// The column.
    pub(super) result: Arc<Field>,
}

impl Called {
    /// `None` for an expression that is no call.
    pub fn new(expr: Expr) -> Option<Self> {
        let Kind::Call { function, .. } = expr.kind() else {
            return None;
        };
        let function = Arc::clone(function);
        let name = Brief(&expr).to_string();
        let result = Field::new(name, function.result().clone(), function.is_nullable())
            .with_metadata(function.result_metadata().clone());
        Some(Called {
            expr,
            function,
            result: Arc::new(result),
        })
    }

    /// What is called.
    pub fn function(&self) -> &Arc<Signature> {
        &self.function
    }

    /// The name of the result's column: the call as text, its beginning where that is long. Nothing in
    /// a query refers to it by that.
    pub fn name(&self) -> &str {
        self.result.name()
    }

    /// The field of the result's column.
    pub fn result(&self) -> &Arc<Field> {
        &self.result
    }
}

/// As [`check`](crate::check), of a query that may call users' functions.
///
/// Arguments get the types that the functions take as operands do: constants are fitted, others widened
/// where that keeps every value, which is noted; all else is refused without a cast.
///
/// # Errors
/// As of [`check`](crate::check); arguments that are too few, too many or of other types; more than
/// [`MAX_CALLS`](crate::limits::MAX_CALLS) calls.
pub fn check_staged(
    query: &Query,
    schema: &SchemaRef,
    semantics: &Semantics,
) -> Result<Staged, ExprError> {
    let mut found = Found::default();
    found.of_query(query)?;
    let mut calls = Vec::new();
    let mut stages = Vec::with_capacity(found.stages.len());
    let mut notes = Vec::new();
    for stage in &found.stages {
        let arguments = arguments(stage, schema, &calls, semantics)?;
        notes.extend(arguments.notes.iter().cloned());
        stages.push(Stage {
            calls: stage.len(),
            arguments,
        });
        let called = stage.iter().map(|(_, call)| Called::new((*call).clone()));
        calls.extend(called.map(|called| called.expect("calls were found by their kind")));
    }
    let mut checked = check_called(query, schema, &calls, semantics)?;
    notes.retain(|note| !checked.notes.contains(note));
    checked.notes.splice(0..0, notes);
    Ok(Staged {
        stages,
        calls,
        checked,
    })
}

/// The columns of a schema and behind them those of calls.
pub(super) fn with_results(schema: &SchemaRef, calls: &[Called]) -> SchemaRef {
    if calls.is_empty() {
        return Arc::clone(schema);
    }
    let results = calls.iter().map(|call| &call.result);
    let fields: Vec<_> = schema.fields().iter().chain(results).cloned().collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The different calls of a query, by how many stages must be done before.
#[derive(Default)]
struct Found<'q> {
    stages: Vec<Vec<(Clause, &'q Expr)>>,
    seen: HashSet<&'q Expr>,
}

impl<'q> Found<'q> {
    fn of_query(&mut self, query: &'q Query) -> Result<(), ExprError> {
        if let Some(filter) = &query.filter {
            self.within(Clause::Filter, filter)?;
        }
        if let Select::Columns(items) = &query.select {
            for item in items {
                self.within(Clause::Select, item)?;
            }
        }
        Ok(())
    }

    /// Notes the calls of an expression; returns how many stages must be done before it.
    fn within(&mut self, clause: Clause, expr: &'q Expr) -> Result<usize, ExprError> {
        let mut stage = 0;
        let mut refused = None;
        expr.kind().for_each_operand(|operand| {
            if refused.is_none() {
                match self.within(clause, operand) {
                    Ok(needed) => stage = stage.max(needed),
                    Err(error) => refused = Some(error),
                }
            }
        });
        if let Some(error) = refused {
            return Err(error);
        }
        if !matches!(expr.kind(), Kind::Call { .. }) {
            return Ok(stage);
        }
        if self.seen.insert(expr) {
            if self.seen.len() > MAX_CALLS {
                return Err(too_many_calls().at(expr.span()).within(clause));
            }
            if self.stages.len() == stage {
                self.stages.push(Vec::new());
            }
            self.stages[stage].push((clause, expr));
        }
        Ok(stage + 1)
    }
}

/// The arguments of the calls of a stage, after `calls`.
fn arguments(
    stage: &[(Clause, &Expr)],
    schema: &SchemaRef,
    calls: &[Called],
    semantics: &Semantics,
) -> Result<Checked, ExprError> {
    let mut checker = Checker::new(schema, calls, semantics);
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (clause, call) in stage {
        checker
            .arguments_of(call, &mut fields, &mut columns)
            .map_err(|error| error.at(call.span()).within(*clause))?;
    }
    let mut next_ordinal = 0;
    for column in &mut columns {
        if let OutputColumn::Computed(tree) = column {
            number(tree, None, &mut next_ordinal);
        }
    }
    Ok(Checked {
        input: with_results(schema, calls),
        output: Arc::new(Schema::new(fields)),
        filter: None,
        columns,
        emit_mask: false,
        notes: checker.notes,
    })
}

impl<'q> Checker<'q> {
    fn arguments_of(
        &mut self,
        call: &'q Expr,
        fields: &mut Vec<Field>,
        columns: &mut Vec<OutputColumn>,
    ) -> Result<(), ExprError> {
        let Kind::Call { function, args } = call.kind() else {
            unreachable!("calls were found by their kind");
        };
        let taken = function.arguments();
        if args.len() != taken.len() {
            let (name, plural) = (function.name(), if taken.len() == 1 { "" } else { "s" });
            let message = format!(
                "`{name}` takes {} argument{plural}, not {}",
                taken.len(),
                args.len()
            );
            return Err(
                ExprError::new(ExprErrorKind::Type, message).with_help(format!("it is {function}"))
            );
        }
        for (position, (source, to)) in args.iter().zip(taken).enumerate() {
            let place = Place {
                function,
                position,
                source,
            };
            let column = self
                .argument(source, to, place)
                .map_err(|error| error.at(source.span()))?;
            let nullable = match &column {
                OutputColumn::Payload(position) => self.field(*position).is_nullable(),
                OutputColumn::Computed(tree) => tree.nullable,
            };
            fields.push(Field::new(columns.len().to_string(), to.clone(), nullable));
            columns.push(column);
        }
        Ok(())
    }

    /// An argument as the type that its function takes there.
    fn argument(
        &mut self,
        source: &'q Expr,
        to: &DataType,
        place: Place<'_>,
    ) -> Result<OutputColumn, ExprError> {
        if let Some(position) = self.as_column(source)? {
            let found = self.field(position).data_type();
            if stands_for(found, to) {
                return Ok(OutputColumn::Payload(position));
            }
            let values = match found {
                DataType::Dictionary(_, values) => values.as_ref(),
                plain => plain,
            };
            if !is_computable(values) {
                return Err(place.misfit(found, to));
            }
        }
        let operand = self.operand(source)?;
        let typed = match operand.side {
            Side::Free(_) => self.constant_argument(operand, to, place)?,
            Side::Typed(typed) if typed.data_type == *to => typed,
            Side::Typed(typed) if widens(&typed, to) => self.widen(typed, to, source)?,
            Side::Typed(typed) => {
                let error = place.misfit(&typed.data_type, to);
                return Err(
                    match cast_row(&typed.data_type, to, self.semantics.dialect) {
                        Some(_) => error.with_help(format!(
                            "write cast({} as {})",
                            Brief(source),
                            TypeName(to)
                        )),
                        None => error,
                    },
                );
            }
        };
        Ok(OutputColumn::Computed(typed))
    }

    fn constant_argument(
        &mut self,
        operand: Operand<'q>,
        to: &DataType,
        place: Place<'_>,
    ) -> Result<Typed, ExprError> {
        self.require_computable(to, &place.to_string())?;
        self.free_as(operand, to)
    }

    /// The position of a call's result.
    pub(super) fn result_of(&self, call: &Expr, function: &Signature) -> Result<usize, ExprError> {
        let mut calls = self.calls.iter();
        match calls.position(|called| called.expr == *call) {
            Some(position) => Ok(self.schema.fields().len() + position),
            None => Err(ExprError::new(
                ExprErrorKind::Unsupported,
                format!(
                    "`{}` is a user's function, which nothing calls here",
                    function.name()
                ),
            )
            .with_help("compile the query with the runtime at which it is registered")
            .at(call.span())),
        }
    }
}

/// Whether a type has every value of an operand, or the one that this is.
fn widens(typed: &Typed, to: &DataType) -> bool {
    if let Node::Literal(literal) = &typed.node
        && let Fit::Exact(_) = adapt::fit_literal(literal, to)
    {
        return true;
    }
    let meeting = common(&typed.data_type, to, Purpose::Choose, Coercion::Lossless);
    meeting.as_ref() == Some(to)
}

/// Which argument of what.
#[derive(Clone, Copy)]
struct Place<'a> {
    function: &'a Signature,
    position: usize,
    source: &'a Expr,
}

impl Place<'_> {
    fn misfit(self, found: &DataType, to: &DataType) -> ExprError {
        let message = format!("{self} is {found}, not {to}: `{}`", Brief(self.source));
        let error = ExprError::new(ExprErrorKind::Type, message);
        match layouts_of_one_kind(found, to) {
            Some(kind) => error.with_help(format!(
                "both are {kind}, laid out differently: register the function for {found}, or hand the \
                 column over as {to}"
            )),
            None => error,
        }
    }
}

/// What two types have in common that differ in how they lay their values out.
fn layouts_of_one_kind(found: &DataType, to: &DataType) -> Option<&'static str> {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Utf8, Utf8View};
    match (found, to) {
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => Some("strings"),
        (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => Some("bytes"),
        _ => None,
    }
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "argument {} of `{}`",
            self.position + 1,
            self.function.name()
        )
    }
}
