//! Whether something grows: the slope of a straight line, and how sure it is.

use serde::{Deserialize, Serialize};

use super::interval::{Interval, tail};
use super::student;

/// A straight line through points.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Where it crosses x = 0.
    pub intercept: f64,
    /// How much y grows with x, and the range that the true slope lies in.
    pub slope: Interval,
}

/// The least-squares line through `points` (x, y), with the interval of its slope by Student's t for independent errors.
/// `None` for fewer than three points, for points of one x only, and for points that are not finite.
#[must_use]
pub fn line(points: &[(f64, f64)], confidence: f64) -> Option<Line> {
    let count = points.len() as f64;
    if points.len() < 3 {
        return None;
    }
    let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let (mut xx, mut xy) = (0.0, 0.0);
    for (x, y) in points {
        xx += (x - x_mean) * (x - x_mean);
        xy += (x - x_mean) * (y - y_mean);
    }
    if xx <= 0.0 {
        return None;
    }
    let slope = xy / xx;
    let intercept = y_mean - slope * x_mean;
    // From the deviations themselves: the difference of two large sums would cancel.
    let residual = |(x, y): &(f64, f64)| (y - y_mean) - slope * (x - x_mean);
    let squares: f64 = points.iter().map(|point| residual(point) * residual(point)).sum();
    let degrees = count - 2.0;
    let half = student::quantile(1.0 - tail(confidence), degrees) * (squares / degrees / xx).sqrt();
    let slope = Interval { estimate: slope, low: slope - half, high: slope + half };
    let is_finite =
        [intercept, slope.estimate, slope.low, slope.high].iter().all(|number| number.is_finite());
    is_finite.then_some(Line { intercept, slope })
}

/// The slope of a series that is correlated with itself, such as requests in flight each second: `values`, `step` apart,
/// are averaged in `batches` batches of equal size, which are nearly independent when they are long. What does not fill
/// the batches is left out at the start, which is warm-up anyway. `None` for fewer than three batches, for fewer values
/// than batches, and for values that are not finite.
#[must_use]
pub fn batch_slope(values: &[f64], step: f64, batches: usize, confidence: f64) -> Option<Interval> {
    if batches < 3 || values.len() < batches {
        return None;
    }
    let size = values.len() / batches;
    let kept = &values[values.len() - size * batches..];
    let points: Vec<(f64, f64)> = kept
        .chunks_exact(size)
        .enumerate()
        .map(|(number, batch)| {
            let middle = (number as f64 + 0.5) * size as f64 * step;
            (middle, batch.iter().sum::<f64>() / size as f64)
        })
        .collect();
    line(&points, confidence).map(|line| line.slope)
}
