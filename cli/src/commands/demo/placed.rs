//! Why a query of the demonstration would run where, if nobody named a device.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use unlade::{Candidate, Device, Explain, Query, Runtime, RuntimeBuilder, Semantics};

use crate::error::Failure;
use crate::report::table::duration;

/// What placement makes of the query with all devices, these among them.
pub(super) fn explain(
    query: &Query,
    devices: &[Arc<dyn Device>],
    schema: &SchemaRef,
) -> Result<Explain, Failure> {
    let mut all = unlade::discover();
    for device in devices {
        if !all
            .iter()
            .any(|other| other.info().name == device.info().name)
        {
            all.push(Arc::clone(device));
        }
    }
    let builder = all
        .into_iter()
        .fold(Runtime::builder(), RuntimeBuilder::device);
    let kernel = builder
        .build()?
        .compile(query, schema, &Semantics::arrow())?;
    Ok(kernel.explain())
}

/// Why this device runs it, or only does because it is named.
pub(super) fn why(explain: &Explain, device: &str) -> String {
    let Some(own) = { explain.candidates.iter() }.find(|each| *each.device == *device) else {
        return "only by name".to_owned();
    };
    if let Some(against) = &own.against {
        return format!("only by name: {against}");
    }
    let rivals = explain
        .candidates
        .iter()
        .filter(|each| each.against.is_none());
    let fastest = rivals.clone().min_by_key(|each| total(each)).unwrap_or(own);
    let predicted = |each: &Candidate| duration(std::time::Duration::from_nanos(total(each)));
    match rivals.count() {
        0 | 1 => "auto picks it: nothing else but simulators".to_owned(),
        _ if fastest.device == own.device => {
            format!("auto picks it: the fastest, predicted {}", predicted(own))
        }
        _ => format!(
            "only by name: auto picks {}, predicted {}, here {}",
            fastest.device,
            predicted(fastest),
            predicted(own)
        ),
    }
}

/// Nanoseconds that a batch is predicted to take; none where there is nothing to choose.
fn total(candidate: &Candidate) -> u64 {
    let mut terms = candidate.cost.iter();
    terms
        .find(|term| term.term == "total")
        .map_or(0, |term| term.nanos)
}

#[cfg(test)]
mod tests {
    use unlade::{CostTerm, EXPLAIN_VERSION};

    use super::*;

    fn candidate(device: &str, against: Option<&str>, nanos: Option<u64>) -> Candidate {
        let terms = nanos.map(|nanos| CostTerm {
            term: "total",
            nanos,
            clock: "wall",
        });
        Candidate {
            device: device.into(),
            against: against.map(str::to_owned),
            cost: terms.into_iter().collect(),
            clock: "wall",
        }
    }

    fn explain(candidates: Vec<Candidate>) -> Explain {
        Explain {
            version: EXPLAIN_VERSION,
            shape: String::new(),
            reads: Vec::new(),
            calls: Vec::new(),
            parts: Vec::new(),
            pinned: Vec::new(),
            candidates,
            notes: Vec::new(),
        }
    }

    #[test]
    fn each_device_is_told_what_placement_makes_of_it() {
        let sim = || candidate("sim", Some("simulators are never picked by auto"), None);
        let alone = explain(vec![candidate("cpu", None, None), sim()]);
        assert_eq!(
            why(&alone, "cpu"),
            "auto picks it: nothing else but simulators"
        );
        let said = "only by name: simulators are never picked by auto";
        assert_eq!(why(&alone, "sim"), said);
        assert_eq!(why(&alone, "other"), "only by name");
        let chosen = explain(vec![
            candidate("cpu", None, Some(4000)),
            candidate("cuda:0", None, Some(9000)),
            sim(),
        ]);
        assert_eq!(
            why(&chosen, "cpu"),
            "auto picks it: the fastest, predicted 4000 ns"
        );
        let said = "only by name: auto picks cpu, predicted 4000 ns, here 9000 ns";
        assert_eq!(why(&chosen, "cuda:0"), said);
    }
}
