//! The checks, by the roles of the cards.

mod command;
mod faulty;
mod huge;
mod pair;
mod sound;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use clap::Args;
use unlade_dpu::{CannotOpen, DpuDevice, TransportError, VfioPci, find_cards};
use unlade_tests::cards::Meddler;

use crate::verdicts::Verdicts;

/// What to check.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The role of each card, in the order of their PCI addresses
    #[arg(long, env = "UNLADE_CARDS", value_delimiter = ',', required = true)]
    cards: Vec<String>,
    /// Random programs to run
    #[arg(long, env = "UNLADE_FUZZ_CASES", default_value_t = 200)]
    cases: u64,
    /// Seed of the first
    #[arg(long, env = "UNLADE_FUZZ_SEED", default_value_t = 1)]
    seed: u64,
    /// Do not end after the last verdict: the kernel waits a minute for a card that is gone before
    /// it closes it
    #[arg(long)]
    stay: bool,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let mut verdicts = Verdicts::default();
    let mut found = Vec::new();
    verdicts.check("cards", || {
        found = cards()?;
        match found.len() == options.cards.len() {
            true => Ok(found.join(", ")),
            false => Err(format!(
                "there are {} ({}), not {}",
                found.len(),
                found.join(", "),
                options.cards.len()
            )),
        }
    });
    let mut pair = Vec::new();
    for (role, address) in options.cards.iter().zip(&found) {
        match role.as_str() {
            "sound" => sound::check(address, options, &mut verdicts),
            "pair" => {
                pair.push(address.as_str());
                if let [first, second] = pair[..] {
                    verdicts.check("two cards", || pair::check(first, second));
                }
            }
            fault => verdicts.check(fault, || faulty::check(fault, address)),
        }
    }
    let code = verdicts.end();
    if options.stay {
        loop {
            thread::park();
        }
    }
    code
}

/// Opens a card as another process does, and says what comes of it.
pub(crate) fn open_once(address: &str) -> ExitCode {
    match open(address) {
        Ok(_card) => println!("it is open"),
        Err(why) => println!("{why}"),
    }
    ExitCode::SUCCESS
}

/// Addresses of the machine's cards, from whose way every obstacle has been removed.
fn cards() -> Result<Vec<String>, String> {
    let cards = find_cards(Path::new("/")).into_iter();
    let addresses = cards.map(|card| match &card.obstacles[..] {
        [] => Ok(card.address),
        [obstacle, ..] => Err(format!("{}: {obstacle}", card.address)),
    });
    addresses.collect()
}

/// The card at an address, with the settings that everyone has.
fn open(address: &str) -> Result<Arc<DpuDevice>, String> {
    open_card(address, &unlade_dpu::Options::default()).map_err(|error| error.to_string())
}

/// As [`open`], with other settings; the error as it is.
fn open_card(address: &str, options: &unlade_dpu::Options) -> Result<Arc<DpuDevice>, CannotOpen> {
    #[cfg(feature = "iommufd")]
    use unlade_dpu::open_iommufd as open;
    #[cfg(not(feature = "iommufd"))]
    use unlade_dpu::open_pci as open;
    open(address, options)
}

/// The way to the card at an address, without the driver.
fn function(address: &str) -> Result<VfioPci, TransportError> {
    #[cfg(feature = "iommufd")]
    return VfioPci::open_iommufd(address);
    #[cfg(not(feature = "iommufd"))]
    VfioPci::open(address)
}

/// A device on a way with which somebody can meddle.
fn meddled(address: &str) -> Result<(Arc<Meddler>, Arc<DpuDevice>), String> {
    let card = function(address).map_err(|error| error.to_string())?;
    let meddler = Arc::new(Meddler::new(Arc::new(card)));
    let device = DpuDevice::open(meddler.clone(), &unlade_dpu::Options::default());
    device
        .map(|device| (meddler, device))
        .map_err(|error| error.to_string())
}
