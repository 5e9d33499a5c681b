//! The health log: docs/CARD.md, section 6, page `0x01`.

use unlade_hal::{Quantity, Reading};

use crate::fields::Fields;

/// How the card is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HealthLog {
    /// Millidegrees Celsius.
    temperature: Option<i32>,
    /// Milliwatts.
    power: Option<u32>,
    /// Milliwatts.
    power_limit: Option<u32>,
    /// Errors of its memory that were corrected.
    corrected: u64,
    /// Errors of its memory that were not.
    uncorrected: u64,
}

impl HealthLog {
    /// Bytes of the page. A later minor version may have more.
    const LEN: usize = 144;

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < HealthLog::LEN {
            let (len, least) = (bytes.len(), HealthLog::LEN);
            return Err(format!("its health log has {len} bytes, not {least}"));
        }
        let fields = Fields(bytes);
        let known = |bit: u32| fields.u32(0) & 1 << bit != 0;
        Ok(HealthLog {
            temperature: known(0).then(|| fields.i32(4)),
            power: known(1).then(|| fields.u32(16)),
            power_limit: known(2).then(|| fields.u32(20)),
            corrected: fields.u64(80),
            uncorrected: fields.u64(88),
        })
    }

    /// The same as readings.
    pub(crate) fn readings(&self) -> Vec<Reading> {
        let has_none = || "the card has no sensor for it".to_owned();
        let power = |value: Option<u32>| value.map(u64::from).ok_or_else(has_none);
        let temperature = match self.temperature.map(|value| u64::try_from(value / 1000)) {
            Some(Ok(degrees)) => Ok(degrees),
            Some(Err(_)) => Err("the card says that it is below zero".to_owned()),
            None => Err(has_none()),
        };
        vec![
            Reading::new(Quantity::Temperature, temperature),
            Reading::new(Quantity::Power, power(self.power)),
            Reading::new(Quantity::PowerLimit, power(self.power_limit)),
            Reading::new(Quantity::EccCorrected, Ok(self.corrected)),
            Reading::new(Quantity::EccUncorrected, Ok(self.uncorrected)),
        ]
    }
}

/// Every quantity, with the reason why it is not known.
pub(crate) fn unknown(why: &str) -> Vec<Reading> {
    Quantity::ALL
        .map(|quantity| Reading::new(quantity, Err(why.to_owned())))
        .into()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::vectors::Vector;

    pub(crate) fn reads(vector: &Vector) {
        let known = |bit: u32| vector.u32("flags") & 1 << bit != 0;
        let temperature = vector.text("temperature").parse().unwrap();
        let wanted = HealthLog {
            temperature: known(0).then_some(temperature),
            power: known(1).then(|| vector.u32("power")),
            power_limit: known(2).then(|| vector.u32("power_limit")),
            corrected: vector.u64("memory_errors_corrected"),
            uncorrected: vector.u64("memory_errors_not_corrected"),
        };
        assert_eq!(HealthLog::decode(&vector.hex), Ok(wanted));
    }

    #[test]
    fn what_is_known_is_read() {
        let mut bytes = [0; 144];
        bytes[0] = 0b011;
        bytes[4..8].copy_from_slice(&45_678_i32.to_le_bytes());
        bytes[16..20].copy_from_slice(&31_000_u32.to_le_bytes());
        bytes[80] = 7;
        let readings = HealthLog::decode(&bytes).unwrap().readings();
        let value = |quantity| {
            let reading = readings.iter().find(|each| each.quantity == quantity);
            reading.unwrap().value.clone()
        };
        assert_eq!(value(Quantity::Temperature), Ok(45));
        assert_eq!(value(Quantity::Power), Ok(31_000));
        assert!(value(Quantity::PowerLimit).is_err());
        assert_eq!(value(Quantity::EccCorrected), Ok(7));
        assert!(HealthLog::decode(&bytes[..143]).is_err());
        assert_eq!(unknown("gone").len(), readings.len());
    }
}
