//! Quantiles of sorted samples.

/// The smallest sample that at least a fraction `q` of all samples do not exceed (nearest rank). A sample that
/// really occurred; `None` without samples. `q` is cut to `[0, 1]`.
#[must_use]
pub fn nearest_rank<T: Copy>(sorted: &[T], q: f64) -> Option<T> {
    let last = sorted.len().checked_sub(1)?;
    let exact = q.clamp(0.0, 1.0) * sorted.len() as f64;
    // 0.07 x 100 is 7.000000000000001 in floating point; the rank is 7.
    let rounded = exact.round();
    let rank = if (exact - rounded).abs() <= 1e-9 * exact.max(1.0) { rounded } else { exact.ceil() };
    Some(sorted[(rank as usize).saturating_sub(1).min(last)])
}

/// The quantile between the two neighbouring samples (Hyndman and Fan's definition 7, the usual one); `None`
/// without samples. `q` is cut to `[0, 1]`. Beside an infinite sample the lower neighbour is taken.
#[must_use]
pub fn linear(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = (position.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let fraction = position - below as f64;
    let (low, high) = (sorted[below], sorted[above]);
    if fraction.is_nan() || fraction == 0.0 || low == high {
        return Some(low);
    }
    // From the nearer end, so that it never passes either.
    let width = high - low;
    let between = if fraction < 0.5 { low + width * fraction } else { high - width * (1.0 - fraction) };
    // Between infinities there is nothing; the lower neighbour stands for it.
    Some(if between.is_finite() {
        between
    } else if low.is_finite() && high.is_finite() {
        low * (1.0 - fraction) + high * fraction
    } else {
        low
    })
}
