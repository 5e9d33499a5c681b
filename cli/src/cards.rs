//! Cards, which are opened where one is asked for by name, and those on the PCI bus.

#[cfg(feature = "dpu")]
mod process;

use std::path::Path;
use std::sync::Arc;

use unlade::Device;

use crate::error::Failure;

/// The simulated card's name.
const SIMULATED: &str = "sim-dpu";

/// The card of this name; nothing where the name is that of no card.
pub(crate) fn open(name: &str) -> Result<Option<Arc<dyn Device>>, Failure> {
    match name {
        SIMULATED => simulated().map(Some),
        _ if name.starts_with("dpu:") => {
            unlade::check_card_name(name).map_err(Failure::usage)?;
            let card = unlade::open_card(name).map_err(Failure::resource)?;
            Ok(Some(card))
        }
        _ => Ok(None),
    }
}

/// Ends the processes of simulated cards, as this one is about to.
pub(crate) fn end() {
    #[cfg(feature = "dpu")]
    process::end();
}

/// Whether a machine's file system can be looked at there.
pub(crate) fn check_root(root: &Path) -> Result<(), Failure> {
    match root.is_dir() {
        true => Ok(()),
        false => {
            let what = format!("{}: no such folder", root.display());
            Err(Failure::usage(what))
        }
    }
}

/// A card on the PCI bus.
#[derive(Debug)]
pub(crate) struct OnBus {
    /// Its PCI address.
    pub(crate) address: String,
    /// Whether it is one for certain; root sees that of every function.
    pub(crate) certain: bool,
    /// The node of memory that it is nearest to.
    pub(crate) numa_node: Option<u32>,
    /// What keeps it from being opened by its group.
    pub(crate) by_group: Vec<Blocked>,
    /// The same of iommufd; nothing where the kernel has none.
    pub(crate) by_iommufd: Option<Vec<Blocked>>,
}

/// Something that keeps a card from being opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) why: String,
    /// What to do about it.
    pub(crate) advice: String,
}

/// Whether this build of the command opens cards through iommufd.
#[cfg(feature = "dpu")]
pub(crate) const IOMMUFD: bool = unlade::IOMMUFD;

#[cfg(not(feature = "dpu"))]
pub(crate) const IOMMUFD: bool = false;

impl OnBus {
    /// The name by which it can be opened, if it can: by its group, or else through iommufd.
    pub(crate) fn way(&self) -> Option<String> {
        let by_iommufd = IOMMUFD && self.by_iommufd.as_ref().is_some_and(Vec::is_empty);
        match self.by_group.is_empty() {
            true => Some(format!("dpu:{}", self.address)),
            false => by_iommufd.then(|| format!("dpu:iommufd:{}", self.address)),
        }
    }
}

/// The cards on the bus of the machine whose file system begins there.
#[cfg(feature = "dpu")]
pub(crate) fn on_bus(root: &Path) -> Vec<OnBus> {
    let cards = unlade::find_cards(root).into_iter();
    let known = cards.map(|card| OnBus {
        address: card.address,
        certain: card.certain,
        numa_node: card.numa_node,
        by_group: card.obstacles.iter().map(blocked).collect(),
        by_iommufd: card.iommufd.map(|way| way.iter().map(blocked).collect()),
    });
    known.collect()
}

#[cfg(feature = "dpu")]
fn blocked(obstacle: &unlade::Obstacle) -> Blocked {
    Blocked {
        why: obstacle.to_string(),
        advice: obstacle.advice(),
    }
}

/// A command without cards looks for none.
#[cfg(not(feature = "dpu"))]
pub(crate) fn on_bus(_: &Path) -> Vec<OnBus> {
    Vec::new()
}

/// A simulated card, where the command was built with cards.
pub(crate) fn simulated_if_built() -> Result<Option<Arc<dyn Device>>, Failure> {
    cfg!(feature = "dpu").then(simulated).transpose()
}

/// A simulated card in a process of its own.
#[cfg(feature = "dpu")]
fn simulated() -> Result<Arc<dyn Device>, Failure> {
    process::start(SIMULATED).map_err(|why| Failure::resource(format!("{SIMULATED}: {why}")))
}

#[cfg(not(feature = "dpu"))]
fn simulated() -> Result<Arc<dyn Device>, Failure> {
    Err(Failure::resource(format!(
        "{SIMULATED}: this build of the command is without feature `dpu`"
    )))
}
