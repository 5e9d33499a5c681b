//! What a device's own sensors and counters say.

use std::fmt;

/// What one of a device's sensors or counters says at the moment.
///
/// ```
/// use unlade_hal::{Quantity, Reading};
///
/// let power = Reading::new(Quantity::Power, Ok(71_250));
/// assert_eq!(power.to_string(), "power 71.2 W");
/// let hidden = Reading::new(Quantity::Power, Err("no permission".to_owned()));
/// assert_eq!(hidden.to_string(), "power unknown: no permission");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// What is measured.
    pub quantity: Quantity,
    /// How much, in the quantity's [unit](Quantity::unit); or in words why that is not known.
    pub value: Result<u64, String>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Quantity {
    /// Of the chip, in whole degrees Celsius.
    Temperature,
    /// That the whole card draws, in milliwatts.
    Power,
    /// Most power that it may draw before it is slowed down, in milliwatts.
    PowerLimit,
    /// Errors of memory that were corrected, counted since the device's driver was loaded.
    EccCorrected,
    /// Errors of memory that could not be corrected, counted since the device's driver was loaded.
    EccUncorrected,
}

impl Reading {
    /// What was read, or why nothing was.
    pub fn new(quantity: Quantity, value: Result<u64, String>) -> Self {
        Reading { quantity, value }
    }
}

impl Quantity {
    /// Every quantity, in the order in which they are shown.
    pub const ALL: [Quantity; 5] = [
        Quantity::Temperature,
        Quantity::Power,
        Quantity::PowerLimit,
        Quantity::EccCorrected,
        Quantity::EccUncorrected,
    ];

    /// Its name for programs: `power_limit`.
    pub const fn name(self) -> &'static str {
        match self {
            Quantity::Temperature => "temperature",
            Quantity::Power => "power",
            Quantity::PowerLimit => "power_limit",
            Quantity::EccCorrected => "ecc_corrected",
            Quantity::EccUncorrected => "ecc_uncorrected",
        }
    }

    /// What it is counted in: `celsius`, `milliwatt` or `count`.
    pub const fn unit(self) -> &'static str {
        match self {
            Quantity::Temperature => "celsius",
            Quantity::Power | Quantity::PowerLimit => "milliwatt",
            Quantity::EccCorrected | Quantity::EccUncorrected => "count",
        }
    }
}

impl fmt::Display for Quantity {
    /// Its name for readers: `power limit`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Quantity::Temperature => "temperature",
            Quantity::Power => "power",
            Quantity::PowerLimit => "power limit",
            Quantity::EccCorrected => "corrected ECC errors",
            Quantity::EccUncorrected => "uncorrected ECC errors",
        })
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantity = self.quantity;
        match &self.value {
            Err(why) => write!(f, "{quantity} unknown: {why}"),
            Ok(value) => match quantity.unit() {
                "celsius" => write!(f, "{quantity} {value} °C"),
                "milliwatt" => {
                    write!(f, "{quantity} {}.{} W", value / 1000, value % 1000 / 100)
                }
                _ => write!(f, "{quantity} {value}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn readings_for_reading() {
        let text = |quantity, value| Reading::new(quantity, Ok(value)).to_string();
        assert_eq!(text(Quantity::Temperature, 31), "temperature 31 °C");
        assert_eq!(text(Quantity::Power, 999), "power 0.9 W");
        assert_eq!(text(Quantity::PowerLimit, 700_000), "power limit 700.0 W");
        assert_eq!(text(Quantity::EccCorrected, 0), "corrected ECC errors 0");
        assert_eq!(
            text(Quantity::EccUncorrected, 2),
            "uncorrected ECC errors 2"
        );
    }

    #[test]
    fn no_two_quantities_have_one_name() {
        let names: BTreeSet<_> = Quantity::ALL.iter().map(|each| each.name()).collect();
        let words: BTreeSet<_> = Quantity::ALL.iter().map(Quantity::to_string).collect();
        assert_eq!((names.len(), words.len()), (5, 5));
    }
}
