//! The charts of the page: the flight, and the whole load when only a slice was flown.

use windtunnel_scenario::load::Flight;

use crate::Input;
use crate::chart::bins::View;
use crate::chart::readout;
use crate::chart::render::{self, Width};
use crate::chart::timeline::{self, Sources, Timeline};
use crate::markup::Markup;

/// The section.
pub(crate) fn section(out: &mut Markup, input: &Input<'_>) {
    out.element("section", &[("id", &"timeline"), ("aria-labelledby", &"timeline-title")], |section| {
        section.leaf("h2", &[("id", &"timeline-title")], "Timeline");
        let flights = timelines(input);
        if flights.is_empty() {
            section.leaf("p", &[], "There is no recording.");
        }
        let several = flights.len() > 1;
        for (heading, ids, timeline) in flights {
            if several {
                section.leaf("h3", &[], heading);
            }
            charts(section, ids, &timeline);
        }
    });
    out.line();
}

/// The timelines of a run: its flight, and the whole.
pub(crate) fn timelines(input: &Input<'_>) -> Vec<(&'static str, &'static str, Timeline)> {
    let view = |recording: Option<_>| recording.map(View::Kept);
    let flight = input.live.or(input.simulated).map_or(Flight::Whole, |recording| recording.meta.flight);
    let mut flights = Vec::new();
    if let Some(sources) = Sources::new(view(input.live), view(input.simulated)) {
        flights.push(("The flight", "values-flight", timeline::build(input.scenario, flight, &sources)));
    }
    if let Some(sources) = Sources::new(None, view(input.whole)) {
        let whole = timeline::build(input.scenario, Flight::Whole, &sources);
        flights.push(("The whole load, simulated", "values-whole", whole));
    }
    if let Some(sources) = Sources::new(None, input.counted.map(View::Counted)) {
        let counted = timeline::build(input.scenario, Flight::Whole, &sources);
        flights.push(("The whole load, simulated and counted", "values-counted", counted));
    }
    flights
}

fn charts(out: &mut Markup, values: &'static str, timeline: &Timeline) {
    out.element(
        "div",
        &[
            ("class", &"timeline"),
            ("tabindex", &"0"),
            ("role", &"group"),
            ("aria-label", &"Charts. Left and right arrow keys read the values at an instant."),
            ("data-values", &values),
        ],
        |charts| {
            charts.append(&render::inline(timeline, Width::Wide));
            charts.line();
            charts.append(&render::inline(timeline, Width::Narrow));
            charts.line();
        },
    );
    out.data(values, &readout::data(timeline));
    for note in &timeline.omitted {
        out.leaf("p", &[("class", &"soft small")], format!("{note}."));
    }
}
