//! Where a query runs: on the CPU inline, or on a device behind a queue.

use std::sync::Arc;

use arrow_array::RecordBatch;
use unlade_expr::{Checked, Payload};
use unlade_hal::{DeviceKind, Executable};
use unlade_program::ShapeHash;

use crate::auto::AutoRoute;
use crate::bind::Binding;
use crate::block::Memory;
use crate::device_plan::DevicePlan;
use crate::error::{Error, Unplaceable};
use crate::inline::{self, Evaluated, InlineFailure};
use crate::options::{Fallback, Placement};
use crate::placement::Ineligible;
use crate::receipt::{Path, Reason};
use crate::runtime::Core;

/// Where a session's queries may run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Allowed {
    pub(crate) placement: Placement,
    /// Positions of the devices that it was granted; `None` where it asked for none, and may use all.
    pub(crate) devices: Option<Vec<usize>>,
}

impl Allowed {
    /// Whether a device may be used. The CPU always may: it is the caller's own.
    pub(crate) fn permits(&self, runtime: &Core, device: usize) -> bool {
        let granted = self.devices.as_ref();
        granted.is_none_or(|granted| granted.contains(&device))
            || runtime.devices[device].kind == DeviceKind::Cpu
    }
}

/// How the CPU runs a query.
#[derive(Debug)]
pub(crate) struct HostPlan {
    pub(crate) device: Arc<str>,
    pub(crate) executable: Executable,
    pub(crate) binding: Binding,
}

/// Where a query runs.
#[derive(Debug)]
pub(crate) struct Route {
    /// The device, unless it is the CPU.
    pub(crate) device: Option<Arc<DevicePlan>>,
    /// Why and how the CPU runs it, where it does.
    pub(crate) inline: (Reason, Path),
    /// What placement chooses by, where it chooses batch by batch.
    pub(crate) auto: Option<AutoRoute>,
    /// Devices that do not run it, and why not.
    pub(crate) against: Vec<(Arc<str>, String)>,
}

impl HostPlan {
    /// Compiles the query for the CPU; returns the program's shape with it.
    pub(crate) fn new(runtime: &Core, checked: &Checked) -> Result<(Self, ShapeHash), Error> {
        let cpu = runtime.cpu().ok_or_else(|| {
            let reasons = runtime.devices.iter();
            let reasons = reasons.map(|slot| (Arc::clone(&slot.name), "is no CPU".to_owned()));
            Unplaceable {
                reasons: reasons.collect(),
            }
        })?;
        let lowered = unlade_expr::lower(checked, Payload::Fused)?;
        let shape = ShapeHash::of(&lowered.program);
        let compiled = runtime
            .executables
            .get(
                &*cpu.device,
                &cpu.name,
                shape,
                &lowered.program,
                &*runtime.clock,
            )
            .map_err(|error| Unplaceable {
                reasons: vec![(Arc::clone(&cpu.name), error.to_string())],
            })?;
        let host = HostPlan {
            device: Arc::clone(&cpu.name),
            executable: compiled.executable,
            binding: Binding::new(lowered, &checked.input),
        };
        Ok((host, shape))
    }

    /// Evaluates a batch of the right schema on this thread.
    pub(crate) fn evaluate(
        &self,
        memory: &Memory,
        checked: &Checked,
        batch: &RecordBatch,
    ) -> Result<Evaluated, InlineFailure> {
        let executable = self.executable.code().ok_or_else(|| {
            Error::Config(format!("`{}` is no CPU that can run inline", self.device))
        })?;
        let evaluated = inline::evaluate(executable, &self.binding, checked, batch, memory);
        #[cfg(shuttle)]
        crate::sync::simulated::compute(batch.num_rows());
        evaluated
    }
}

impl Route {
    /// Chooses the device.
    ///
    /// # Errors
    /// [`Unplaceable`] where what was asked for cannot be had without a fallback that is forbidden.
    pub(crate) fn choose(
        runtime: &Core,
        allowed: &Allowed,
        checked: &Checked,
        host: Option<&HostPlan>,
    ) -> Result<Self, Error> {
        match &allowed.placement {
            Placement::Auto => Route::automatic(runtime, allowed, checked, host),
            Placement::Device(name) => Route::forced(runtime, allowed, checked, name),
        }
    }

    /// Devices that were considered and cannot run it.
    pub(crate) fn cannot(&self, runtime: &Core) -> Vec<Arc<str>> {
        match (&self.auto, &self.inline.0) {
            (Some(auto), _) => auto.cannot(runtime),
            (None, Reason::Unsupported { device, .. }) => vec![Arc::clone(device)],
            (None, _) => Vec::new(),
        }
    }

    /// The CPU, unless there are others that may be faster: never a simulator.
    fn automatic(
        runtime: &Core,
        allowed: &Allowed,
        checked: &Checked,
        host: Option<&HostPlan>,
    ) -> Result<Self, Error> {
        let mut against = Vec::new();
        let mut plans = Vec::with_capacity(runtime.devices.len());
        let mut ineligible = Vec::with_capacity(runtime.devices.len());
        for (position, slot) in runtime.devices.iter().enumerate() {
            let (plan, why_not) = match slot.kind {
                DeviceKind::Cpu => (None, None),
                _ if !allowed.permits(runtime, position) => (None, Some(Ineligible::NotGranted)),
                DeviceKind::Simulator => (None, Some(Ineligible::Simulator)),
                _ => {
                    // A batch that placement hands over has its own reason.
                    let plan = DevicePlan::new(runtime, position, checked, Reason::OnlyCandidate)?;
                    match plan.refuses(slot) {
                        Some(lacks) => (None, Some(Ineligible::Unsupported(lacks.to_string()))),
                        None => (Some(Arc::new(plan)), None),
                    }
                }
            };
            if let Some(why_not) = &why_not {
                against.push((Arc::clone(&slot.name), why_not.to_string()));
            }
            plans.push(plan);
            ineligible.push(why_not);
        }
        let has_choice = plans.iter().any(Option::is_some);
        let has_choice = has_choice && host.is_some();
        let auto = has_choice.then(|| AutoRoute::new(plans, ineligible));
        Ok(Route {
            device: None,
            inline: (Reason::OnlyCandidate, Path::Inline),
            auto,
            against,
        })
    }

    fn forced(
        runtime: &Core,
        allowed: &Allowed,
        checked: &Checked,
        name: &Arc<str>,
    ) -> Result<Self, Error> {
        let position = runtime.devices.iter().position(|slot| slot.name == *name);
        let position = position.expect("the builder has checked the name");
        let others = runtime.devices.iter().filter(|slot| slot.name != *name);
        let mut against: Vec<(Arc<str>, String)> = others
            .map(|slot| {
                (
                    Arc::clone(&slot.name),
                    format!("`{name}` was asked for by name"),
                )
            })
            .collect();
        let slot = &runtime.devices[position];
        if !allowed.permits(runtime, position) {
            against.push((Arc::clone(name), Ineligible::NotGranted.to_string()));
            return Err(Unplaceable { reasons: against }.into());
        }
        if slot.kind == DeviceKind::Cpu {
            let inline = (Reason::Forced, Path::Inline);
            return Ok(Route {
                device: None,
                inline,
                auto: None,
                against,
            });
        }
        let plan = DevicePlan::new(runtime, position, checked, Reason::Forced)?;
        let device = Arc::clone(&slot.name);
        let refused = plan.refuses(slot);
        if let Some(lacks) = refused.clone().or_else(|| plan.lacks())
            && runtime.options.fallback == Fallback::Forbid
        {
            against.push((device, format!("it lacks {lacks}")));
            return Err(Unplaceable { reasons: against }.into());
        }
        let Some(lacks) = refused else {
            let inline = (Reason::OnlyCandidate, Path::Fallback);
            return Ok(Route {
                device: Some(Arc::new(plan)),
                inline,
                auto: None,
                against,
            });
        };
        against.push((Arc::clone(&device), format!("it lacks {lacks}")));
        let inline = (Reason::Unsupported { device, lacks }, Path::Fallback);
        Ok(Route {
            device: None,
            inline,
            auto: None,
            against,
        })
    }
}
