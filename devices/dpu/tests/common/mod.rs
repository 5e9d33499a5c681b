//! A model of a card, a device on it, and what the tests of all cards share.
#![allow(dead_code, unreachable_pub)] // each test uses some of it

pub mod in_process;
#[path = "../../../../sim/card/tests/card/limit.rs"]
mod limit;

use std::ops::Deref;
use std::sync::Arc;

pub(crate) use limit::Limit;
use unlade_dpu::{DpuDevice, Options, connect};
use unlade_sim_card::{Config, Fault, FaultPlan, Served};
pub use unlade_tests::cards::*;

/// A card that is served, whose end is waited for so long and no longer.
pub struct Model {
    served: Served,
    _limit: Limit,
}

impl Model {
    pub fn start(config: Config) -> Model {
        let limit = Limit::start();
        Model {
            served: Served::start(config).expect("a socket can be made"),
            _limit: limit,
        }
    }
}

impl Deref for Model {
    type Target = Served;

    fn deref(&self) -> &Served {
        &self.served
    }
}

/// A card on which these faults strike these jobs, and the device that drives it.
pub fn card(faults: impl IntoIterator<Item = (u64, Fault)>) -> (Model, Arc<DpuDevice>) {
    let plan = FaultPlan::none();
    let faults = faults
        .into_iter()
        .fold(plan, |plan, (job, fault)| plan.at(job, fault));
    let config = Config {
        faults,
        ..Config::default()
    };
    let card = Model::start(config);
    let device =
        connect(card.path(), &Options::default()).unwrap_or_else(|error| panic!("{error}"));
    (card, device)
}
