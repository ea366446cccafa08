//! Placing labels so that none covers another.

/// Width of one character of the charts' 11 px labels, pixels: a little more than the fonts in use need.
pub(crate) const CHARACTER_WIDTH: f64 = 6.2;

/// Pixels between two labels on one level.
const GAP: f64 = 8.0;

/// Width of `text`, pixels.
pub(crate) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER_WIDTH
}

/// `text` cut to `width` pixels, with an ellipsis where something was cut. Empty when nothing fits.
pub(crate) fn fit(text: &str, width: f64) -> String {
    let room = (width / CHARACTER_WIDTH).floor().max(0.0) as usize;
    if text.chars().count() <= room {
        return text.to_owned();
    }
    if room < 4 {
        return String::new();
    }
    let mut cut: String = text.chars().take(room - 1).collect();
    cut.truncate(cut.trim_end().len());
    cut.push('…');
    cut
}

/// The level of each label above the plot, or `None` where more than `levels` would be needed.
///
/// A label starts at its `x` and runs to the right for its `width`; its leader falls from there through every
/// lower level. So a label must be above every later label whose leader would cross it: levels fall like stairs
/// to the right, and neither text nor leaders meet. `spans` are (x, width) in ascending order of x.
pub(crate) fn stairs(spans: &[(f64, f64)], levels: usize) -> Vec<Option<usize>> {
    let mut placed: Vec<Option<usize>> = vec![None; spans.len()];
    for index in (0..spans.len()).rev() {
        let (x, width) = spans[index];
        let level = spans[index + 1..]
            .iter()
            .zip(&placed[index + 1..])
            .take_while(|((later, _), _)| *later < x + width + GAP)
            .filter_map(|(_, level)| *level)
            .max()
            .map_or(0, |level| level + 1);
        placed[index] = (level < levels).then_some(level);
    }
    placed
}

/// Moves `wanted` centres apart so that each two are at least `distance` away from each other and all lie in
/// `low..=high` as far as there is room; the order is kept, and of equal ones the later is the upper.
pub(crate) fn spread(wanted: &[f64], distance: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]).then(b.cmp(a)));
    let mut placed = vec![0.0; wanted.len()];
    let mut floor = low;
    for index in &order {
        placed[*index] = wanted[*index].max(floor);
        floor = placed[*index] + distance;
    }
    let mut ceiling = high;
    for index in order.iter().rev() {
        placed[*index] = placed[*index].min(ceiling);
        ceiling = placed[*index] - distance;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Without it long names run out of the picture.
    #[test]
    fn text_is_cut_to_its_room() {
        assert_eq!(fit("canary v2", 200.0), "canary v2");
        assert_eq!(fit("canary of the second version", 70.0), "canary of…");
        assert_eq!(fit("canary", 10.0), "");
    }

    proptest! {
        /// Without it event labels print over each other or are struck through by another event's line.
        #[test]
        fn no_label_meets_another(mut spans in prop::collection::vec((0.0_f64..1000.0, 10.0_f64..300.0), 0..20)) {
            spans.sort_by(|a, b| a.0.total_cmp(&b.0));
            let levels = stairs(&spans, 6);
            for (index, (x, width)) in spans.iter().enumerate() {
                let Some(level) = levels[index] else { continue };
                for (later, (later_x, _)) in spans.iter().enumerate().skip(index + 1) {
                    let Some(later_level) = levels[later] else { continue };
                    if *later_x < x + width {
                        prop_assert!(level > later_level);
                    }
                }
            }
        }

        /// Without it the names at the line ends print over each other.
        #[test]
        fn spread_labels_keep_their_distance(wanted in prop::collection::vec(0.0_f64..100.0, 0..8)) {
            let placed = spread(&wanted, 12.0, 0.0, 100.0);
            for a in 0..placed.len() {
                for b in 0..a {
                    prop_assert!((placed[a] - placed[b]).abs() >= 12.0 - 1e-9);
                }
            }
        }
    }
}
