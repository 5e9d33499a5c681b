//! The type check: names become columns, operands get one type, and every choice that the
//! semantics leave open is written into the nodes.

mod adapt;
pub(crate) mod calls;
pub(crate) mod casts;
mod choice;
mod common;
mod convert;
mod engine;
mod expr;
pub(crate) mod names;
mod operators;
pub(crate) mod types;
mod unify;

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::error::{Clause, ExprError, ExprErrorKind, Span};
use crate::limits::{MAX_NODES, MAX_OUTPUTS, too_many_nodes};
use crate::query::{Query, Select};
use crate::semantics::{Dialect, Semantics};
use crate::tree::{Expr, Kind};
use crate::typed::{Checked, OutputColumn, Typed};
use calls::Called;

/// Checks a query against the schema of the batches it is to run on.
///
/// Numbers that differ in type meet as the rules' [`Coercion`](crate::Coercion) says, constants
/// among them; dates are widened where that keeps every value. What was cast for it is noted in
/// [`Checked::notes`]. Everything else that does not fit is an error that says what would.
///
/// ```
/// use std::sync::Arc;
/// use arrow_schema::{DataType, Field, Schema};
/// use unlade_expr::{Query, Semantics, check, parse_expr};
///
/// let schema = Arc::new(Schema::new(vec![
///     Field::new("a", DataType::Int32, false),
///     Field::new("b", DataType::Int64, true),
/// ]));
/// let query = Query::filter(parse_expr("a < b")?);
/// let checked = check(&query, &schema, &Semantics::arrow())?;
/// assert_eq!(checked.notes, ["`a` is widened from Int32 to Int64"]);
///
/// let query = Query::filter(parse_expr("a < c")?);
/// let error = check(&query, &schema, &Semantics::arrow()).unwrap_err();
/// assert_eq!(error.message(), "there is no column `c`");
/// # Ok::<(), unlade_expr::ExprError>(())
/// ```
///
/// # Errors
/// Unknown and ambiguous names, types that do not fit, casts and types that these semantics do
/// not have, and queries beyond the [`limits`](crate::limits); calls of users' functions, for which there is
/// [`check_staged`](crate::check_staged).
pub fn check(
    query: &Query,
    schema: &SchemaRef,
    semantics: &Semantics,
) -> Result<Checked, ExprError> {
    check_called(query, schema, &[], semantics)
}

/// As [`check`], of a query whose calls of users' functions are done before it: each gives a column
/// behind those of the schema, in this order.
///
/// ```
/// use std::sync::Arc;
/// use arrow_schema::{DataType, Field, Schema};
/// use unlade_expr::{Called, Query, Semantics, Signature, check_called, col, lit};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
/// let half = Arc::new(Signature::new("half", [DataType::Int64], DataType::Int64)?);
/// let query = Query::filter(half.call([col("a")]).gt(lit(1)));
/// let calls = [Called::new(half.call([col("a")])).expect("it is a call")];
/// let checked = check_called(&query, &schema, &calls, &Semantics::arrow())?;
/// assert_eq!(checked.input.fields().len(), 2);
/// assert_eq!(checked.output, schema);
/// # Ok::<(), unlade_expr::ExprError>(())
/// ```
///
/// # Errors
/// As of [`check`], also for calls that are none of these.
pub fn check_called(
    query: &Query,
    schema: &SchemaRef,
    calls: &[Called],
    semantics: &Semantics,
) -> Result<Checked, ExprError> {
    let mut checker = Checker::new(schema, calls, semantics);
    let mut filter = match &query.filter {
        Some(filter) => Some(
            checker
                .boolean(filter, "the filter")
                .map_err(|error| error.within(Clause::Filter))?,
        ),
        None => None,
    };
    let (output, mut columns) = checker
        .outputs(&query.select)
        .map_err(|error| error.within(Clause::Select))?;
    let mut next_ordinal = 0;
    if let Some(filter) = &mut filter {
        number(filter, None, &mut next_ordinal);
    }
    for column in &mut columns {
        if let OutputColumn::Computed(tree) = column {
            number(tree, None, &mut next_ordinal);
        }
    }
    Ok(Checked {
        input: calls::with_results(schema, calls),
        output,
        filter,
        columns,
        emit_mask: query.mask || query.select == Select::Mask,
        notes: checker.notes,
    })
}

struct Checker<'q> {
    /// The columns that have names.
    schema: &'q SchemaRef,
    /// Calls whose results are columns behind these.
    calls: &'q [Called],
    semantics: Semantics,
    notes: Vec<String>,
    nodes: u32,
}

impl<'q> Checker<'q> {
    fn new(schema: &'q SchemaRef, calls: &'q [Called], semantics: &Semantics) -> Self {
        Checker {
            schema,
            calls,
            semantics: *semantics,
            notes: Vec::new(),
            nodes: 0,
        }
    }

    fn outputs(&mut self, select: &'q Select) -> Result<(SchemaRef, Vec<OutputColumn>), ExprError> {
        let every_column = 0..self.schema.fields().len();
        let items = match select {
            Select::All => {
                let columns = every_column.map(OutputColumn::Payload).collect();
                return Ok((Arc::clone(self.schema), columns));
            }
            Select::Mask => return Ok((Arc::new(Schema::empty()), Vec::new())),
            Select::Columns(items) => items,
        };
        if items.len() > MAX_OUTPUTS {
            return Err(ExprError::new(
                ExprErrorKind::Limit,
                format!(
                    "{} outputs are asked for; at most {MAX_OUTPUTS} are accepted",
                    items.len()
                ),
            ));
        }
        let mut fields = Vec::with_capacity(items.len());
        let mut columns = Vec::with_capacity(items.len());
        for item in items {
            if matches!(item.kind, Kind::Wildcard) {
                fields.extend(self.schema.fields().iter().cloned());
                columns.extend(every_column.clone().map(OutputColumn::Payload));
                continue;
            }
            let (field, column) = self.output(item).map_err(|error| error.at(item.span))?;
            fields.push(field);
            columns.push(column);
        }
        refuse_equal_names(&fields, items)?;
        let metadata = self.schema.metadata().clone();
        Ok((
            Arc::new(Schema::new_with_metadata(fields, metadata)),
            columns,
        ))
    }

    fn output(&mut self, item: &'q Expr) -> Result<(Arc<Field>, OutputColumn), ExprError> {
        let (alias, expr) = match &item.kind {
            Kind::Alias { name, arg } => (Some(name.as_ref()), arg.as_ref()),
            _ => (None, item),
        };
        let named = |name: &str, field: &Arc<Field>| match name == field.name() {
            true => Arc::clone(field),
            false => Arc::new(field.as_ref().clone().with_name(name)),
        };
        if let Some(position) = self.as_column(expr)? {
            let field = self.field(position);
            let field = match (alias, &expr.kind) {
                (Some(alias), _) => named(alias, field),
                (None, Kind::Call { .. }) => named(&expr.to_string(), field),
                (None, _) => Arc::clone(field),
            };
            return Ok((field, OutputColumn::Payload(position)));
        }
        let tree = self.typed(expr)?;
        let name = match alias {
            Some(alias) => alias.to_owned(),
            None => expr.to_string(),
        };
        let field = Field::new(name, tree.data_type.clone(), tree.nullable);
        Ok((Arc::new(field), OutputColumn::Computed(tree)))
    }

    /// A column by its position, those of calls behind those that have names.
    fn field(&self, position: usize) -> &'q Arc<Field> {
        let named = self.schema.fields();
        match position.checked_sub(named.len()) {
            None => &named[position],
            Some(call) => &self.calls[call].result,
        }
    }

    /// Counts a node of the typed tree.
    fn count(&mut self) -> Result<(), ExprError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(too_many_nodes());
        }
        Ok(())
    }

    fn is_spark(&self) -> bool {
        self.semantics.dialect == Dialect::Spark
    }

    /// Whether expressions compute with a type under these rules.
    fn require_computable(&self, data_type: &DataType, what: &str) -> Result<(), ExprError> {
        if self.is_spark() && types::is_unsigned(data_type) {
            return Err(ExprError::new(
                ExprErrorKind::Unsupported,
                format!("{what} of type {data_type}: the Spark rules know no unsigned types"),
            )
            .with_help("use the arrow rules"));
        }
        if !is_computable(data_type) {
            return Err(ExprError::new(
                ExprErrorKind::Unsupported,
                format!("{what} of type {data_type} is not computed with yet"),
            )
            .with_help(format!(
                "columns of type {data_type} can be put out, and asked whether they are null"
            )));
        }
        Ok(())
    }
}

/// Whether expressions compute with a type; a decimal must be one that Arrow admits.
fn is_computable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) => false,
        DataType::Decimal128(precision, scale) => {
            (1..=38).contains(precision) && (-38..=*precision as i8).contains(scale)
        }
        other => crate::physical::physical_type(other).is_some(),
    }
}

fn refuse_equal_names(fields: &[Arc<Field>], items: &[Expr]) -> Result<(), ExprError> {
    let mut seen = HashSet::with_capacity(fields.len());
    match fields.iter().find(|field| !seen.insert(field.name())) {
        None => Ok(()),
        Some(twice) => {
            let name = twice.name();
            // A name that stands here twice is best shown where it stands last.
            let span = items.iter().rev().find_map(|item| match &item.kind {
                Kind::Alias { name: alias, .. } if alias.as_ref() == name => item.span,
                Kind::Column { .. } if item.to_string() == *name => item.span,
                _ => None,
            });
            Err(ExprError::new(
                ExprErrorKind::Type,
                format!("two outputs have the name `{name}`"),
            )
            .with_help("give one of them another: ... AS name")
            .at(span))
        }
    }
}

/// Numbers the nodes in order of evaluation. Nodes that the check inserted get the place of what
/// they were inserted for.
fn number(tree: &mut Typed, place: Option<Span>, next: &mut u32) {
    let place = tree.span.or(place);
    tree.span = place;
    tree.for_each_child_mut(|child| number(child, place, next));
    tree.ordinal = *next;
    *next += 1;
}
