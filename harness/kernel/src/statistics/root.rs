//! Where a falling function crosses zero.

/// The zero of `f`, which falls from `low` to `high`, to the last bits: regula falsi with the Illinois rule, with a
/// halving whenever that gains too little.
pub(crate) fn falling(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (low, high);
    let (mut at_low, mut at_high) = (f(low), f(high));
    if at_low <= 0.0 {
        return low;
    }
    if at_high >= 0.0 {
        return high;
    }
    for round in 0..200 {
        let middle = low + 0.5 * (high - low);
        if middle <= low || middle >= high {
            break;
        }
        let secant = low + (high - low) * (at_low / (at_low - at_high));
        let guess = if round % 3 == 2 || !(secant > low && secant < high) { middle } else { secant };
        let value = f(guess);
        if value > 0.0 {
            (low, at_low) = (guess, value);
            at_high *= 0.5;
        } else if value < 0.0 {
            (high, at_high) = (guess, value);
            at_low *= 0.5;
        } else {
            return guess;
        }
    }
    low + 0.5 * (high - low)
}
