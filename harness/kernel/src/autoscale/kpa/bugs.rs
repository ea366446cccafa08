//! Likely bugs of upstream's data path, each an option.

use serde::{Deserialize, Serialize};

use crate::Profile;

/// What upstream does that its users did not ask for. All off is the default; [`Bugs::of`] switches all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Bugs {
    /// Two scrapes that land in one second add up, so that the load looks doubled and a calm revision panics
    /// (knative/serving#6743). Off: the later scrape of a second takes the earlier one's place.
    pub double_counted_scrapes: bool,
    /// With a burst capacity of -1 no pod is scraped, so the windows of an autoscaler that has just started are empty
    /// and read as no load: it wants zero pods of a revision under load. Off: silence is no load only after a whole
    /// stable window of it.
    pub silence_is_idle: bool,
    /// While no route leads to a revision its scale-down delay is not fed, so a route that comes back within the delay
    /// finds nothing of what was wanted in between. Off: it is fed, though not asked.
    pub forgetful_delay: bool,
}

impl Bugs {
    /// The bugs of a profile.
    #[must_use]
    pub fn of(profile: Profile) -> Self {
        let on = profile.has_upstream_bugs();
        Self { double_counted_scrapes: on, silence_is_idle: on, forgetful_delay: on }
    }
}
