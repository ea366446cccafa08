//! Path data, with no more points than the picture has columns.

use std::fmt::Write as _;

/// Points of one line in pixels; `None` breaks the line.
pub(crate) type Pixels = Vec<Option<(f64, f64)>>;

/// How points are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    /// By straight lines.
    Straight,
    /// A value holds until the next one.
    Steps,
}

/// At most four points of every pixel column: the first, the lowest, the highest and the last. What a line shows
/// stays the same, spikes included.
pub(crate) fn thin(points: Pixels) -> Pixels {
    let mut thinned: Pixels = Vec::with_capacity(points.len().min(4096));
    let mut column: Vec<(f64, f64)> = Vec::new();
    for point in points {
        match point {
            Some(point) if column.first().is_none_or(|first| first.0.floor() == point.0.floor()) => {
                column.push(point);
            }
            Some(point) => {
                flush(&mut column, &mut thinned);
                column.push(point);
            }
            None => {
                flush(&mut column, &mut thinned);
                if thinned.last().is_some_and(Option::is_some) {
                    thinned.push(None);
                }
            }
        }
    }
    flush(&mut column, &mut thinned);
    thinned
}

/// The `d` of a line. Points are relative to the one before, in whole tenths of a pixel, so that paths are short
/// and rounding does not add up.
pub(crate) fn line(points: &[Option<(f64, f64)>], join: Join) -> String {
    let mut path = String::new();
    for run in points.split(Option::is_none) {
        let run: Vec<(i64, i64)> = run.iter().flatten().map(|(x, y)| (tenths(*x), tenths(*y))).collect();
        let Some(first) = run.first() else { continue };
        let _ = write!(path, "M{} {}", written(first.0), written(first.1));
        if run.len() == 1 {
            // A point between two gaps would be invisible; a dot of no length has round caps.
            path.push_str("h.01");
        }
        let mut before = *first;
        for (index, point) in run.iter().enumerate().skip(1) {
            let is_last = index + 1 == run.len();
            // A value that stays needs no point of its own.
            if join == Join::Steps && point.1 == before.1 && !is_last {
                continue;
            }
            let (right, down) = (written(point.0 - before.0), written(point.1 - before.1));
            match join {
                Join::Straight => {
                    let gap = if down.starts_with('-') { "" } else { " " };
                    let _ = write!(path, "l{right}{gap}{down}");
                }
                Join::Steps if down == "0" => {
                    let _ = write!(path, "h{right}");
                }
                Join::Steps => {
                    let _ = write!(path, "h{right}v{down}");
                }
            }
            before = *point;
        }
    }
    path
}

/// The `d` of the area between a line and `bottom`.
pub(crate) fn area(points: &[Option<(f64, f64)>], join: Join, bottom: f64) -> String {
    let mut path = String::new();
    for run in points.split(Option::is_none) {
        let Some(Some(first)) = run.first() else { continue };
        path.push_str(&line(run, join));
        let _ = write!(path, "V{}H{}Z", pixel(bottom), pixel(first.0));
    }
    path
}

/// A coordinate with a tenth of a pixel.
pub(crate) fn pixel(value: f64) -> String {
    written(tenths(value))
}

fn tenths(value: f64) -> i64 {
    (value * 10.0).round() as i64
}

/// Tenths as a decimal without what can be left out: `-.3`, `12`, `4.5`.
fn written(tenths: i64) -> String {
    let sign = if tenths < 0 { "-" } else { "" };
    let (whole, rest) = (tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10);
    match (whole, rest) {
        (_, 0) => format!("{sign}{whole}"),
        (0, _) => format!("{sign}.{rest}"),
        _ => format!("{sign}{whole}.{rest}"),
    }
}

fn flush(column: &mut Vec<(f64, f64)>, thinned: &mut Pixels) {
    if column.len() <= 4 {
        thinned.extend(column.drain(..).map(Some));
        return;
    }
    let by_height = |a: &usize, b: &usize| column[*a].1.total_cmp(&column[*b].1);
    let lowest = (0..column.len()).min_by(by_height).unwrap_or(0);
    let highest = (0..column.len()).max_by(by_height).unwrap_or(0);
    let mut kept = [0, lowest, highest, column.len() - 1];
    kept.sort_unstable();
    let mut before = None;
    for index in kept {
        if before != Some(index) {
            thinned.push(Some(column[index]));
        }
        before = Some(index);
    }
    column.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Without it a replica that went away still seems to be there for the whole gap.
    #[test]
    fn steps_hold_and_gaps_break() {
        let points = vec![Some((0.0, 10.0)), Some((5.0, 10.0)), Some((8.0, 4.25)), None, Some((20.0, 1.0))];
        assert_eq!(line(&points, Join::Steps), "M0 10h8v-5.7M20 1h.01");
        assert_eq!(line(&points, Join::Straight), "M0 10l5 0l3-5.7M20 1h.01");
        assert_eq!(area(&points[..2], Join::Steps, 30.0), "M0 10h5V30H0Z");
    }

    proptest! {
        /// Without it a spike of one millisecond in an hour is not in the picture.
        #[test]
        fn thinning_keeps_extremes_and_bounds(ys in prop::collection::vec(0.0_f64..100.0, 1..3000)) {
            let step = 100.0 / ys.len() as f64;
            let points: Pixels =
                ys.iter().enumerate().map(|(index, y)| Some((index as f64 * step, *y))).collect();
            let thinned: Vec<(f64, f64)> = thin(points).into_iter().flatten().collect();
            prop_assert!(thinned.len() <= 404);
            let extremes = |values: &mut dyn Iterator<Item = f64>| {
                values.fold((f64::MAX, f64::MIN), |(low, high), y| (low.min(y), high.max(y)))
            };
            prop_assert_eq!(extremes(&mut ys.iter().copied()), extremes(&mut thinned.iter().map(|p| p.1)));
            prop_assert!(thinned.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        }
    }
}
