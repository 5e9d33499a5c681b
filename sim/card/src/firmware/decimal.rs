//! Decimals: an i128 is the unscaled value.

/// RESCALE. Variant 0 multiplies, the others divide and round.
pub(super) fn rescale(x: i128, variant: u8, digits: i32) -> i128 {
    let power = power_of_ten(digits.unsigned_abs());
    match variant {
        0 => x.wrapping_mul(power),
        1 => divide_half_away(x, power),
        2 => x / power,
        _ => x.div_euclid(power),
    }
}

/// RESCALE_FAILS.
pub(super) fn rescale_fails(x: i128, digits: i32) -> bool {
    x.checked_mul(power_of_ten(digits.unsigned_abs())).is_none()
}

/// DIGITS: the float as a decimal of so many digits after the point.
pub(super) fn digits(x: f64, digits: i32) -> i128 {
    if x.is_nan() || x == 0.0 {
        return 0;
    }
    let limit = if x < 0.0 { i128::MIN } else { i128::MAX };
    if x.is_infinite() {
        return limit;
    }
    let (shortest, exponent) = shortest_decimal(x.abs());
    // Its sign goes on before it is multiplied: min has no positive counterpart.
    let signed = if x < 0.0 { -shortest } else { shortest };
    let shift = exponent + digits;
    match shift {
        // Below 10^17 / 10^18, which rounds to 0.
        ..=-18 => 0,
        -17..0 => divide_half_away(signed, power_of_ten(shift.unsigned_abs())),
        0..=38 => signed
            .checked_mul(power_of_ten(shift.unsigned_abs()))
            .unwrap_or(limit),
        39.. => limit,
    }
}

/// Of a positive, finite float the shortest decimal that reads back as it, as `d` and `e` of
/// `d * 10^e`; of several so short the nearest, of two so near the even one.
fn shortest_decimal(x: f64) -> (i128, i32) {
    // The least number of digits is that of the standard library's shortest form, which does not
    // promise which of several decimals it gives: that is decided here.
    let count = scientific(&format!("{x:e}")).2;
    let (digits, exponent, _) = scientific(&format!("{x:.*e}", count - 1));
    if reads_back(digits, exponent, x) {
        return (digits, exponent);
    }
    // Below a power of two floats lie closer than above it. There the nearest decimal may read back
    // as a neighbour below, while the next one above reads back as x.
    (digits + 1, exponent)
}

fn reads_back(digits: i128, exponent: i32, x: f64) -> bool {
    format!("{digits}e{exponent}").parse() == Ok(x)
}

/// `d`, `e` and the number of digits of a text like `1.25e-3`, which is `125 * 10^-5`.
fn scientific(text: &str) -> (i128, i32, usize) {
    let (mantissa, exponent) = text.split_once('e').expect("this is how {:e} writes");
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent
        .parse()
        .expect("an exponent of f64 has three digits");
    let behind_point = i32::try_from(digits.len() - 1).expect("there are 17 digits at most");
    let value = digits.parse().expect("17 digits are an i128");
    (value, exponent - behind_point, digits.len())
}

/// To the nearest integer, ties away from zero.
fn divide_half_away(x: i128, power: i128) -> i128 {
    let (quotient, remainder) = (x / power, x % power);
    // Twice a remainder below 10^38 is above i128, but not above u128.
    if 2 * remainder.unsigned_abs() >= power.unsigned_abs() {
        quotient + x.signum()
    } else {
        quotient
    }
}

/// 10 to a power of at most 38.
fn power_of_ten(exponent: u32) -> i128 {
    10i128.pow(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of docs/CARD.md, section 10.
    #[test]
    fn digits_of_the_document() {
        assert_eq!(digits(1.005, 2), 101);
        assert_eq!(digits(5e-324, 38), 0);
        assert_eq!(digits(1e23, 0), 10i128.pow(23));
        assert_eq!(digits(-0.125, 3), -125);
        assert_eq!(
            digits(1_317_458_050_785_642.0 + 0.25, 1),
            13_174_580_507_856_422
        );
    }

    /// Below each power of two floats lie twice as close as above it, so the nearest decimal of the
    /// least length need not read back as the power.
    #[test]
    fn every_power_of_two_reads_back() {
        let mut nearest_fails = 0;
        for exponent in 1..2047u64 {
            let x = f64::from_bits(exponent << 52);
            let (digits, ten) = shortest_decimal(x);
            assert!(
                reads_back(digits, ten, x),
                "2^{}: {digits}e{ten}",
                exponent as i32 - 1023
            );
            let (nearest, ten, _) =
                scientific(&format!("{x:.*e}", scientific(&format!("{x:e}")).2 - 1));
            nearest_fails += u32::from(!reads_back(nearest, ten, x));
        }
        assert!(
            nearest_fails > 0,
            "the case that shortest_decimal mends does not exist"
        );
    }
}
