//! What a device's sensors say, for readers.

use unlade::Reading;

/// All readings in a line; a reason that all of them share is said once. `None` for a device that
/// has no sensors.
pub(crate) fn text(readings: &[Reading]) -> Option<String> {
    let first = readings.first()?;
    if let Err(why) = &first.value
        && readings.iter().all(|each| each.value == first.value)
    {
        return Some(format!("no readings: {why}"));
    }
    let readings: Vec<String> = readings.iter().map(Reading::to_string).collect();
    Some(readings.join(", "))
}

#[cfg(test)]
mod tests {
    use unlade::Quantity;

    use super::*;

    #[test]
    fn a_shared_reason_is_said_once_and_others_with_what_they_are_of() {
        assert_eq!(text(&[]), None);
        let unknown = |quantity| Reading::new(quantity, Err("no NVML".to_owned()));
        let none = [unknown(Quantity::Temperature), unknown(Quantity::Power)];
        assert_eq!(text(&none).unwrap(), "no readings: no NVML");
        let some = [
            Reading::new(Quantity::Temperature, Ok(31)),
            unknown(Quantity::Power),
        ];
        let expected = "temperature 31 °C, power unknown: no NVML";
        assert_eq!(text(&some).unwrap(), expected);
        let same = [Quantity::EccCorrected, Quantity::EccUncorrected];
        let same = same.map(|quantity| Reading::new(quantity, Ok(0)));
        let expected = "corrected ECC errors 0, uncorrected ECC errors 0";
        assert_eq!(text(&same).unwrap(), expected);
    }
}
