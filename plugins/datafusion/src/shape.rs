//! What is taken of a plan: a filter, a projection, or a projection over a filter, and what that
//! computes of its input's columns.

use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result as PlanResult;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, ReplaceChildrenOptions};
use unlade::{Expr, Query, exact_col};
use unlade_wire::KernelRequest;

use crate::compiler::RULES;
use crate::expr::{Reader, Unsupported, may_fail, name};
use crate::latest::changes;
use crate::resident::ResidentExec;

/// How much of a plan a shape is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Its top node.
    Top,
    /// A projection and the filter below it.
    Fused,
}

/// A projection, a filter or both, over their input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) projection: Option<&'a ProjectionExec>,
    pub(crate) filter: Option<&'a FilterExec>,
    pub(crate) input: &'a Arc<dyn ExecutionPlan>,
}

impl<'a> Shape<'a> {
    /// What a plan is at its top, as far as that extends.
    pub(crate) fn of(plan: &'a Arc<dyn ExecutionPlan>, extent: Extent) -> Option<Self> {
        if let Some(filter) = plan.downcast_ref::<FilterExec>() {
            return (extent == Extent::Top).then_some(Shape::over(filter));
        }
        let projection = plan.downcast_ref::<ProjectionExec>()?;
        let below = match extent {
            Extent::Top => None,
            Extent::Fused => Some(projection.input().downcast_ref::<FilterExec>()?),
        };
        Some(Shape {
            projection: Some(projection),
            filter: below,
            input: below.map_or_else(|| projection.input(), FilterExec::input),
        })
    }

    /// What a filter is alone.
    pub(crate) fn over(filter: &'a FilterExec) -> Self {
        Shape {
            projection: None,
            filter: Some(filter),
            input: filter.input(),
        }
    }

    /// Whether it does more than to choose, rename and order columns.
    pub(crate) fn computes(self) -> bool {
        let is_plain = |expr: &Arc<dyn PhysicalExpr>| expr.is::<Column>() || expr.is::<Literal>();
        let mut columns = self.projection.iter().flat_map(|each| each.expr());
        self.filter.is_some() || !columns.all(|column| is_plain(&column.expr))
    }

    /// The positions in the input of its output columns, where it filters and computes none of them.
    pub(crate) fn selected(self) -> Option<Vec<usize>> {
        let filter = self.filter?;
        let width = self.input.schema().fields().len();
        let kept = match filter.projection().as_deref() {
            Some(kept) => kept.to_vec(),
            None => (0..width).collect(),
        };
        let chosen: Option<Vec<usize>> = match self.projection {
            None => Some(kept),
            Some(projection) => {
                let columns = projection.expr().iter();
                let position = |of: &Arc<dyn PhysicalExpr>| {
                    let column = of.downcast_ref::<Column>()?;
                    kept.get(column.index()).copied()
                };
                columns.map(|each| position(&each.expr)).collect()
            }
        };
        chosen.filter(|chosen| !chosen.is_empty())
    }

    /// What it asks of a kernel that only says which rows it keeps.
    ///
    /// # Errors
    /// What the language lacks.
    pub(crate) fn mask(self) -> Result<KernelRequest, Unsupported> {
        let predicate = self.predicate()?;
        let predicate =
            predicate.ok_or_else(|| Unsupported("a projection of all rows".to_owned()))?;
        Ok(KernelRequest {
            query: Query::mask(predicate),
            input: self.input_schema(),
            semantics: RULES,
        })
    }

    /// What it asks of a kernel.
    ///
    /// # Errors
    /// What the language lacks.
    pub(crate) fn request(self) -> Result<KernelRequest, Unsupported> {
        Ok(KernelRequest {
            query: self.query()?,
            input: self.input_schema(),
            semantics: RULES,
        })
    }

    /// Its operators again, with one more condition, on its output; `None` where it has no filter, or one
    /// that changes already.
    pub(crate) fn filtered_by(
        self,
        condition: &Arc<dyn PhysicalExpr>,
    ) -> PlanResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(filter) = self.filter.filter(|filter| !changes(filter.predicate())) else {
            return Ok(None);
        };
        let condition = self.on_input(condition)?;
        let own = split_conjunction(filter.predicate()).into_iter().cloned();
        let predicate = datafusion::physical_expr::conjunction(own.chain([condition]));
        self.with_predicate(filter, predicate).map(Some)
    }

    /// An expression over the output as one over the input.
    fn on_input(self, expr: &Arc<dyn PhysicalExpr>) -> PlanResult<Arc<dyn PhysicalExpr>> {
        let schema = self.input.schema();
        let kept = self
            .filter
            .and_then(|filter| filter.projection().as_deref());
        let of_filter = |at: usize| -> Arc<dyn PhysicalExpr> {
            let at = kept.map_or(at, |kept| kept[at]);
            Arc::new(Column::new(schema.field(at).name(), at))
        };
        let on_filter = match self.projection {
            Some(projection) => {
                let columns = projection.expr();
                replace_columns(expr, |at| Arc::clone(&columns[at].expr))?
            }
            None => Arc::clone(expr),
        };
        replace_columns(&on_filter, of_filter)
    }

    /// Its operators again, without the conditions that change.
    pub(crate) fn without_changing(self) -> PlanResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(filter) = self.filter.filter(|filter| changes(filter.predicate())) else {
            return Ok(None);
        };
        let conditions = split_conjunction(filter.predicate()).into_iter();
        let fixed = conditions.filter(|condition| !changes(condition)).cloned();
        let predicate = datafusion::physical_expr::conjunction(fixed);
        self.with_predicate(filter, predicate).map(Some)
    }

    fn with_predicate(
        self,
        filter: &FilterExec,
        predicate: Arc<dyn PhysicalExpr>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let filter = FilterExecBuilder::from(filter).with_predicate(predicate);
        let filter: Arc<dyn ExecutionPlan> = Arc::new(filter.build()?);
        match self.projection {
            None => Ok(filter),
            Some(projection) => {
                let projection = ProjectionExec::try_new(projection.expr().to_vec(), filter)?;
                Ok(Arc::new(projection))
            }
        }
    }

    /// What it reads, where that is pinned.
    pub(crate) fn resident(self) -> Option<&'a ResidentExec> {
        self.input.downcast_ref()
    }

    /// What reads expressions over its input, or over what is `kept` of that.
    pub(crate) fn reader<'b>(self, kept: Option<&'b [usize]>, schema: &'b Schema) -> Reader<'b>
    where
        'a: 'b,
    {
        Reader::new(self.table(), kept, schema)
    }

    /// The positions of its columns in the table that they are read of where that lies.
    fn table(self) -> Option<&'a [usize]> {
        self.resident().and_then(ResidentExec::projection)
    }

    /// Its condition, if it filters.
    ///
    /// # Errors
    /// What the language lacks.
    pub(crate) fn predicate(self) -> Result<Option<Expr>, Unsupported> {
        let input = self.input.schema();
        let read = |filter: &FilterExec| self.reader(None, &input).predicate(filter.predicate());
        self.filter.map(read).transpose()
    }

    /// What it computes. Of no output column the query is the mask alone.
    fn query(self) -> Result<Query, Unsupported> {
        let predicate = self.predicate()?;
        let outputs = self.outputs()?;
        match (predicate, outputs) {
            (Some(predicate), outputs) if outputs.is_empty() => Ok(Query::mask(predicate)),
            (_, outputs) if outputs.is_empty() => {
                Err(Unsupported("a projection of no column".to_owned()))
            }
            (Some(predicate), outputs) => Ok(Query::filter(predicate).select(outputs)),
            (None, outputs) => Ok(Query::all().select(outputs)),
        }
    }

    fn outputs(self) -> Result<Vec<Expr>, Unsupported> {
        let kept = self
            .filter
            .and_then(|filter| filter.projection().as_deref());
        let named = |(at, expr): (usize, Expr)| expr.alias(format!("o{at}"));
        let table = self.table();
        let column = |at: usize| exact_col(name(table.map_or(at, |table| table[at])));
        let exprs: Result<Vec<Expr>, Unsupported> = match (self.projection, kept) {
            (Some(projection), kept) => {
                let schema = projection.input().schema();
                let read = |expr| self.reader(kept, &schema).expr(expr);
                projection
                    .expr()
                    .iter()
                    .map(|each| read(&each.expr))
                    .collect()
            }
            (None, Some(kept)) => Ok(kept.iter().map(|at| column(*at)).collect()),
            (None, None) => {
                let width = self.input.schema().fields().len();
                Ok((0..width).map(column).collect())
            }
        };
        Ok(exprs?.into_iter().enumerate().map(named).collect())
    }

    /// The input's schema, or that of the table where it lies, with its columns named by their positions.
    pub(crate) fn input_schema(self) -> SchemaRef {
        let schema = match self.resident() {
            Some(resident) => SchemaRef::clone(resident.table()),
            None => self.input.schema(),
        };
        let fields = schema.fields().iter().enumerate();
        let named = |(at, field): (usize, &Arc<Field>)| field.as_ref().clone().with_name(name(at));
        Arc::new(Schema::new(fields.map(named).collect::<Vec<_>>()))
    }
}

/// An expression with others in the place of its columns.
fn replace_columns(
    expr: &Arc<dyn PhysicalExpr>,
    by: impl Fn(usize) -> Arc<dyn PhysicalExpr>,
) -> PlanResult<Arc<dyn PhysicalExpr>> {
    let replaced = Arc::clone(expr).transform_down(|expr| {
        let column = expr.downcast_ref::<Column>().map(Column::index);
        Ok(match column {
            Some(at) => Transformed::new(by(at), true, TreeNodeRecursion::Jump),
            None => Transformed::no(expr),
        })
    });
    Ok(replaced?.data)
}

/// A filter in two: the conditions of its conjunction that are taken, and above them the others, with
/// the filter's own projection and fetch.
#[derive(Debug)]
pub(crate) struct Halves {
    /// What is taken.
    pub(crate) taken: Arc<dyn ExecutionPlan>,
    /// The other conditions.
    pub(crate) left: FilterExec,
    /// Why these were left.
    pub(crate) why: Vec<Unsupported>,
}

/// Takes a filter apart, where some of its conditions pass `accept` and others do not.
pub(crate) fn halves(
    filter: &FilterExec,
    accept: impl Fn(&Expr) -> Result<(), Unsupported>,
) -> PlanResult<Option<Halves>> {
    let (mut taken, mut left, mut why) = (Vec::new(), Vec::new(), Vec::new());
    let schema = filter.input().schema();
    let reader = Shape::over(filter).reader(None, &schema);
    for condition in split_conjunction(filter.predicate()) {
        let read = reader.predicate(condition);
        let accepted = read.and_then(|expr| {
            accept(&expr)?;
            match why.is_empty() || !may_fail(&expr) {
                true => Ok(()),
                // What is left may be what keeps it from rows on which it fails.
                false => Err(Unsupported(format!("what stands before `{condition}`"))),
            }
        });
        match accepted {
            Ok(()) => taken.push(Arc::clone(condition)),
            Err(reason) => {
                left.push(Arc::clone(condition));
                why.push(reason);
            }
        }
    }
    if taken.is_empty() || left.is_empty() {
        return Ok(None);
    }
    let conjunction = datafusion::physical_expr::conjunction;
    let below = FilterExecBuilder::new(conjunction(taken), Arc::clone(filter.input()))
        .with_batch_size(filter.batch_size())
        .with_default_selectivity(filter.default_selectivity())
        .build()?;
    let below: Arc<dyn ExecutionPlan> = Arc::new(below);
    let above = FilterExecBuilder::from(filter)
        .with_predicate(conjunction(left))
        .with_input(Arc::clone(&below))
        .build()?;
    Ok(Some(Halves {
        taken: below,
        left: above,
        why,
    }))
}

/// The plan that a shape was found in, over another input.
pub(crate) fn with_input(
    plan: &Arc<dyn ExecutionPlan>,
    extent: Extent,
    input: Arc<dyn ExecutionPlan>,
    options: ReplaceChildrenOptions,
) -> PlanResult<Arc<dyn ExecutionPlan>> {
    let below = match (extent, plan.children().as_slice()) {
        (Extent::Fused, [filter]) => Arc::clone(filter).replace_children(vec![input], options)?,
        _ => input,
    };
    Arc::clone(plan).replace_children(vec![below], options)
}
