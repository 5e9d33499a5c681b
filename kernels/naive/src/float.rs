//! The exact remainder of floats, by definition.

/// The remainder `x - n * y`, where `n` is the quotient `x / y` truncated toward zero, computed
/// without rounding: what C calls `fmod`.
///
/// A NaN where either operand is one, where `x` is infinite or where `y` is zero. The sign is
/// that of `x`, of a zero result too.
pub(crate) fn remainder(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() || x.is_infinite() || y == 0.0 {
        return f64::NAN;
    }
    if y.is_infinite() || x == 0.0 {
        return x;
    }
    let (dividend, x_exponent) = decompose(x);
    let (divisor, y_exponent) = decompose(y);
    // Both as multiples of 2^scale.
    let scale = x_exponent.min(y_exponent);
    let divisor_shift = y_exponent - scale;
    let rest = if divisor_shift > 63 {
        // The divisor is beyond the dividend: its least bit is above the dividend's greatest.
        dividend
    } else {
        // The dividend is doubled until it has the common scale. A remainder stays below the
        // divisor, which is below 2^(53 + 63), so that doubling it stays within u128.
        let divisor = divisor << divisor_shift;
        let mut rest = dividend % divisor;
        for _ in scale..x_exponent {
            rest = rest * 2 % divisor;
        }
        rest
    };
    compose(rest, scale).copysign(x)
}

/// The magnitude of a finite float as `significand * 2^exponent`.
fn decompose(value: f64) -> (u128, i32) {
    let bits = value.to_bits();
    let fraction = u128::from(bits & ((1 << 52) - 1));
    match (bits >> 52 & 0x7ff) as i32 {
        0 => (fraction, -1074),
        biased => (fraction | 1 << 52, biased - 1075),
    }
}

/// `significand * 2^exponent`, which must be a float exactly: remainders always are.
fn compose(significand: u128, exponent: i32) -> f64 {
    assert!(significand < 1 << 53, "a remainder fits a significand");
    let mut value = significand as f64;
    // Multiplying by two is exact, and so is halving what stays a multiple of 2^-1074.
    for _ in 0..exponent {
        value *= 2.0;
    }
    for _ in exponent..0 {
        value /= 2.0;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_hand_computed_remainders() {
        for (x, y, wanted) in [
            (5.5, 2.0, 1.5),
            (-5.5, 2.0, -1.5),
            (5.5, -2.0, 1.5),
            (1e300, 1_000_003.0, 177_074.0), // by arbitrary-precision integers
            (4.0, 2.0, 0.0),
            (-4.0, 2.0, -0.0),
            (1.0, f64::INFINITY, 1.0),
            (-0.0, 1.0, -0.0),
            (f64::MAX, f64::MIN_POSITIVE, 0.0),
            (3.0 * 5e-324, 2.0 * 5e-324, 5e-324),
            (0.1, f64::MAX, 0.1),
        ] {
            let found = remainder(x, y);
            assert_eq!(found.to_bits(), f64::to_bits(wanted), "{x} % {y} = {found}");
        }
        for (x, y) in [
            (f64::INFINITY, 1.0),
            (1.0, 0.0),
            (f64::NAN, 1.0),
            (1.0, f64::NAN),
        ] {
            assert!(remainder(x, y).is_nan(), "{x} % {y}");
        }
    }

    #[test]
    fn agrees_with_the_platforms_fmod() {
        let mut rng = crate::generate::Rng::new(7);
        for _ in 0..20_000 {
            let (x, y) = (f64::from_bits(rng.next()), f64::from_bits(rng.next()));
            let (found, wanted) = (remainder(x, y), x % y);
            assert!(
                found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan(),
                "{x:e} % {y:e} is {wanted:e}, found {found:e}"
            );
        }
    }
}
