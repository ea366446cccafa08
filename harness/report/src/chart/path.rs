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

/// The `d` of a line.
pub(crate) fn line(points: &Pixels, join: Join) -> String {
    let mut path = String::new();
    for run in points.split(Option::is_none) {
        let run: Vec<(String, String)> =
            run.iter().flatten().map(|(x, y)| (pixel(*x), pixel(*y))).collect();
        let Some((x, y)) = run.first() else { continue };
        let _ = write!(path, "M{x} {y}");
        if run.len() == 1 {
            // A point between two gaps would be invisible; a dot of no length has round caps.
            path.push_str("h.01");
        }
        for (index, (x, y)) in run.iter().enumerate().skip(1) {
            match join {
                Join::Straight => {
                    let _ = write!(path, "L{x} {y}");
                }
                // A value that stays needs no point of its own.
                Join::Steps if *y != run[index - 1].1 => {
                    let _ = write!(path, "H{x}V{y}");
                }
                Join::Steps if index + 1 == run.len() => {
                    let _ = write!(path, "H{x}");
                }
                Join::Steps => {}
            }
        }
    }
    path
}

/// The `d` of the area between a line and `bottom`.
pub(crate) fn area(points: &Pixels, join: Join, bottom: f64) -> String {
    let mut path = String::new();
    for run in points.split(Option::is_none) {
        let (Some(Some(first)), Some(Some(last))) = (run.first(), run.last()) else { continue };
        path.push_str(&line(&run.to_vec(), join));
        let _ = write!(path, "L{} {}H{}Z", pixel(last.0), pixel(bottom), pixel(first.0));
    }
    path
}

/// A coordinate with a tenth of a pixel.
pub(crate) fn pixel(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
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
        assert_eq!(line(&points, Join::Steps), "M0 10H8V4.2M20 1h.01");
        assert_eq!(line(&points, Join::Straight), "M0 10L5 10L8 4.2M20 1h.01");
        assert_eq!(area(&points[..2].to_vec(), Join::Steps, 30.0), "M0 10H5L5 30H0Z");
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
