//! Did it keep up, and the figures: latency, errors by reason, cold starts by phase, cost, both futures.

use windtunnel_record::Point;
use windtunnel_record::futures::Futures;
use windtunnel_record::result::RunResult;

use crate::chart::axis::Scale;
use crate::chart::bins::Grid;
use crate::chart::panel::{Layer, Origin, Panel, Shape, Tone, Unit, Weight};
use crate::chart::path::Join;
use crate::chart::render::{self, Width};
use crate::chart::timeline::{EventMark, Timeline};
use crate::markup::Markup;
use crate::tables;

/// The sections; nothing when nothing was described.
pub(crate) fn sections(out: &mut Markup, result: &RunResult) {
    if let Some((word, sentences)) = tables::stability(result) {
        out.element("section", &[("id", &"stability"), ("aria-labelledby", &"stability-title")], |section| {
            section.leaf("h2", &[("id", &"stability-title")], "Did it keep up");
            section.element("div", &[("class", &"figure")], |figure| {
                figure.leaf("b", &[], word);
                figure.element("span", &[], |text| {
                    for sentence in &sentences {
                        text.text(sentence);
                        text.text(" ");
                    }
                });
            });
        });
        out.line();
    }
    for table in tables::of(result) {
        let title = format!("{}-title", table.id);
        out.element("section", &[("id", &table.id), ("aria-labelledby", &title)], |section| {
            section.leaf("h2", &[("id", &title)], table.title);
            section.leaf("p", &[("class", &"soft")], &table.lead);
            tables::html(section, &table);
            if let (Some(futures), "futures") = (&result.futures, table.id) {
                charts(section, futures);
            }
        });
        out.line();
    }
}

fn charts(out: &mut Markup, futures: &Futures) {
    let timeline = timeline(futures);
    out.element("div", &[("class", &"timeline")], |charts| {
        charts.append(&render::inline(&timeline, Width::Wide));
        charts.line();
        charts.append(&render::inline(&timeline, Width::Narrow));
        charts.line();
    });
}

fn timeline(futures: &Futures) -> Timeline {
    let layer = |name: &str, origin, points: &[Point], tone| Layer {
        name: name.to_owned(),
        origin,
        tone,
        weight: Weight::Medium,
        shape: Shape::Line(Join::Steps),
        dashed: origin == Origin::Changed,
        points: points.iter().map(|point| Some((point.t_ns, point.value))).collect(),
        end_label: None,
    };
    let most = |sides: [&[Point]; 2]| {
        sides
            .into_iter()
            .flatten()
            .map(|point| point.value)
            .filter(|value| *value > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)))
    };
    let panel = |title: &str, subtitle: &str, unit, scale, sides: [&[Point]; 2], tone| Panel {
        title: title.to_owned(),
        subtitle: subtitle.to_owned(),
        readout_prefix: String::new(),
        height: 84.0,
        scale,
        unit,
        layers: vec![
            layer(&title.to_lowercase(), Origin::Changed, sides[1], tone),
            layer(&title.to_lowercase(), Origin::Original, sides[0], tone),
        ],
        limits: Vec::new(),
    };
    let replicas = [futures.replicas.original.as_slice(), futures.replicas.changed.as_slice()];
    let p99 = [futures.p99.original.as_slice(), futures.p99.changed.as_slice()];
    let (least, longest) = most(p99);
    let mut events = vec![EventMark { t_ns: futures.fork_ns, label: format!("fork: {}", futures.change) }];
    events.extend(
        futures
            .divergence
            .iter()
            .map(|divergence| EventMark { t_ns: divergence.t_ns, label: "they part".to_owned() }),
    );
    let end_ns = futures.to_ns.max(1);
    Timeline {
        title: "Both futures".to_owned(),
        summary: "Ready replicas and the 99th percentile of the latency over time, original and changed. The numbers are \
                  in the table above."
            .to_owned(),
        end_ns,
        grid: Grid::new(end_ns, 320),
        origins: vec![Origin::Original, Origin::Changed],
        panels: vec![
            panel("Replicas", "ready, all revisions", Unit::Number, Scale::whole(most(replicas).1, 4), replicas, Tone::Hue(0)),
            panel("p99", "latency, log scale", Unit::Duration, Scale::logarithmic(least, longest), p99, Tone::Hue(3)),
        ],
        events,
        omitted: Vec::new(),
    }
}
