//! Compiled queries.

use std::sync::{Arc, PoisonError};

use arrow_schema::SchemaRef;
use unlade_expr::{Called, Checked, Query, Semantics, Staged};
use unlade_program::ShapeHash;

use super::calls::Stage;
use crate::bind::Binding;
use crate::device_plan::DevicePlan;
use crate::error::Error;
use crate::forecast::Forecast;
use crate::metrics::KernelMetrics;
use crate::receipt::Reason;
use crate::route::{Allowed, HostPlan, Route};
use crate::runtime::Core;
use crate::sync::Mutex;

/// A compiled query. Kernels of one query share it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) query: Query,
    pub(crate) semantics: Semantics,
    /// The schema of the batches that are handed over.
    pub(crate) input: SchemaRef,
    /// Calls of users' functions that are done first.
    pub(crate) stages: Vec<Stage>,
    /// The calls, of which each gives a column behind those of the batch.
    pub(crate) calls: Vec<Called>,
    /// The rest of the query, over all of these columns.
    pub(crate) checked: Checked,
    pub(crate) shape: ShapeHash,
    /// How the CPU runs it, if there is one.
    pub(crate) host: Option<HostPlan>,
    pub(crate) route: Route,
    pub(crate) forecast: Forecast,
    pub(crate) metrics: KernelMetrics,
    /// Plans for devices on which data was found, at most one for each.
    resident_plans: Mutex<Vec<ResidentPlans>>,
}

impl Plan {
    pub(super) fn new(
        runtime: &Core,
        allowed: &Allowed,
        query: &Query,
        schema: &SchemaRef,
        semantics: &Semantics,
    ) -> Result<Self, Error> {
        let staged = unlade_expr::check_staged(query, schema, semantics)?;
        let stages = Stage::all(runtime, &staged)?;
        let Staged { checked, calls, .. } = staged;
        let plan = Plan::of_checked(runtime, allowed, query, semantics, checked)?;
        Ok(Plan {
            input: Arc::clone(schema),
            stages,
            calls,
            ..plan
        })
    }

    /// A plan for batches that have the results of these calls behind the columns of the schema.
    pub(super) fn of_called(
        runtime: &Core,
        allowed: &Allowed,
        query: &Query,
        (schema, calls): (&SchemaRef, &[Called]),
        semantics: &Semantics,
    ) -> Result<Self, Error> {
        let checked = unlade_expr::check_called(query, schema, calls, semantics)?;
        Plan::of_checked(runtime, allowed, query, semantics, checked)
    }

    /// A plan for batches that have every column already.
    fn of_checked(
        runtime: &Core,
        allowed: &Allowed,
        query: &Query,
        semantics: &Semantics,
        checked: Checked,
    ) -> Result<Self, Error> {
        // Without a CPU a device has to do it all.
        let host = HostPlan::new(runtime, &checked);
        let host_plan = host.as_ref().ok().map(|(host, _)| host);
        let route = Route::choose(runtime, allowed, &checked, host_plan)?;
        let (host, shape) = match (host, &route.device) {
            (Ok((host, shape)), _) => (Some(host), shape),
            (Err(_), Some(plan)) => (None, ShapeHash::of(&plan.binding.lowered.program)),
            (Err(error), None) => return Err(error),
        };
        let device = host.as_ref().and(runtime.cpu());
        let binding = binding(host.as_ref(), &route);
        Ok(Plan {
            forecast: Forecast::new(&checked, binding, &shape),
            query: query.clone(),
            semantics: *semantics,
            input: Arc::clone(&checked.input),
            stages: Vec::new(),
            calls: Vec::new(),
            shape,
            metrics: KernelMetrics::new(device.unwrap_or(&runtime.devices[0])),
            host,
            route,
            checked,
            resident_plans: Mutex::default(),
        })
    }

    /// The columns of the batches handed over that are read, by the program, as payload or by calls,
    /// ascending.
    pub(crate) fn input_columns(&self) -> Vec<usize> {
        let mut columns = self.binding().input_columns();
        if !self.stages.is_empty() {
            let of_batch = self.input.fields().len();
            columns.retain(|column| *column < of_batch);
            columns.extend(
                self.stages
                    .iter()
                    .flat_map(|stage| stage.input_columns(of_batch)),
            );
            columns.sort_unstable();
            columns.dedup();
        }
        columns
    }

    /// What is bound for the CPU; without one, for the device.
    pub(crate) fn binding(&self) -> &Binding {
        binding(self.host.as_ref(), &self.route)
    }

    /// How the device on which data lies runs the query; lowered when first asked for.
    pub(crate) fn for_resident(&self, runtime: &Core, slot: usize) -> Result<ResidentPlans, Error> {
        let mut plans = self
            .resident_plans
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = plans.iter().find(|known| known.staged.slot == slot) {
            return Ok(known.clone());
        }
        let staged = DevicePlan::new(runtime, slot, &self.checked, Reason::Resident)?;
        let resident = DevicePlan::for_resident(runtime, slot, &self.checked)?;
        let made = ResidentPlans {
            staged: Arc::new(staged),
            compacting: resident.map(Arc::new),
        };
        plans.push(made.clone());
        Ok(made)
    }
}

fn binding<'a>(host: Option<&'a HostPlan>, route: &'a Route) -> &'a Binding {
    let device = route.device.as_ref().map(|plan| &plan.binding);
    let host = host.map(|host| &host.binding);
    host.or(device).expect("a kernel runs somewhere")
}

/// How a device runs a query on batches that are pinned there.
#[derive(Clone, Debug)]
pub(crate) struct ResidentPlans {
    /// As any other batch: what was evicted, or does not find room for what it is compacted to.
    pub(crate) staged: Arc<DevicePlan>,
    /// What lies there, compacted there; if the device can do that.
    pub(crate) compacting: Option<Arc<DevicePlan>>,
}
