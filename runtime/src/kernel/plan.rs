//! Compiled queries.

use std::sync::{Arc, PoisonError};

use arrow_schema::SchemaRef;
use unlade_expr::{Checked, Query, Semantics};
use unlade_program::ShapeHash;

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
        let checked = unlade_expr::check(query, schema, semantics)?;
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
            shape,
            metrics: KernelMetrics::new(device.unwrap_or(&runtime.devices[0])),
            host,
            route,
            checked,
            resident_plans: Mutex::default(),
        })
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
