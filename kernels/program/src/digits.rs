//! Floats as decimals.

/// A float as a decimal of `scale` digits after the point, unscaled: what [`Inst::Digits`] is
/// defined to compute. The shortest decimal that reads back as the float (of several the nearest,
/// of two as near the even one), times ten to the power of `scale`, rounded half away from zero; at
/// most what an `i128` holds, and 0 of a NaN.
///
/// ```
/// use unlade_program::shortest_decimal;
///
/// // Less than 1.005 in binary, but 1.005 in decimal.
/// assert_eq!(shortest_decimal(1.005, 2), 101);
/// assert_eq!(shortest_decimal(-0.125, 3), -125);
/// assert_eq!(shortest_decimal(f64::INFINITY, 0), i128::MAX);
/// ```
///
/// # Panics
/// Where `scale` is negative.
///
/// [`Inst::Digits`]: crate::Inst::Digits
pub fn shortest_decimal(value: f64, scale: i8) -> i128 {
    assert!(scale >= 0, "a scale of {scale} is none of a decimal's");
    if !value.is_finite() {
        return match value.is_nan() {
            true => 0,
            false => end(value),
        };
    }
    let (digits, exponent) = shortest_digits(value);
    let shift = exponent + i32::from(scale);
    let magnitude = match u32::try_from(shift) {
        Ok(zeros) => match 10_i128.checked_pow(zeros) {
            Some(power) => digits.checked_mul(power),
            None => (digits == 0).then_some(0),
        },
        Err(_) => Some(divided(digits, shift.unsigned_abs())),
    };
    match magnitude {
        None => end(value),
        Some(magnitude) if value.is_sign_negative() => -magnitude,
        Some(magnitude) => magnitude,
    }
}

/// The end of the range of `i128` on the float's side of zero.
fn end(value: f64) -> i128 {
    match value.is_sign_negative() {
        true => i128::MIN,
        false => i128::MAX,
    }
}

/// At most 17 digits divided by a power of ten, rounded half away from zero.
fn divided(digits: i128, power: u32) -> i128 {
    // Nothing is left of so few digits behind so many zeros.
    if power > 18 {
        return 0;
    }
    let divisor = 10_i128.pow(power);
    (digits + divisor / 2) / divisor
}

/// `digits` and `exponent` of the shortest `digits * 10^exponent` that reads back as the float
/// without its sign.
fn shortest_digits(value: f64) -> (i128, i32) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let mut exponent: i32 = exponent
        .parse()
        .expect("an exponent of at most three digits");
    let mut digits = 0;
    let mut after_point = false;
    for byte in mantissa.bytes() {
        match byte {
            b'.' => after_point = true,
            digit => {
                digits = 10 * digits + i128::from(digit - b'0');
                exponent -= i32::from(after_point);
            }
        }
    }
    (digits, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_shortest_text() {
        for (value, scale, unscaled) in [
            (0.0, 5, 0),
            (-0.0, 0, 0),
            (0.1, 1, 1),
            (0.1, 38, 10_i128.pow(37)),
            (0.15, 1, 2),
            (-0.15, 1, -2),
            (0.149_999_999_999_999_97, 1, 1),
            (2.5, 0, 3),
            (1e22, 0, 10_i128.pow(22)),
            (1e23, 0, 10_i128.pow(23)),
            (123_456.789, 2, 12_345_679),
            (4.9, 0, 5),
            (5e-324, 38, 0),
            (1e38, 0, 10_i128.pow(38)),
            (-1e38, 0, -(10_i128.pow(38))),
            (1.8e38, 0, i128::MAX),
            (f64::MIN, 0, i128::MIN),
            (1e300, 38, i128::MAX),
            // A quarter and three quarters: half way between two decimals of as many digits.
            (1_317_458_050_785_642.2, 1, 13_174_580_507_856_422),
            (1_317_458_050_785_642.8, 1, 13_174_580_507_856_428),
            (f64::NAN, 2, 0),
        ] {
            assert_eq!(
                shortest_decimal(value, scale),
                unscaled,
                "{value:e} by {scale}"
            );
        }
    }

    #[test]
    fn halves_round_away_from_zero() {
        for power in 1..18 {
            let half: f64 = format!("5e-{power}").parse().expect("a number");
            let scale = (power - 1) as i8;
            assert_eq!(shortest_decimal(half, scale), 1, "{half}");
            assert_eq!(shortest_decimal(half.next_down(), scale), 0, "{half}");
        }
    }
}
