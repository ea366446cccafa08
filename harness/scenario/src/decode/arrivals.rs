//! `arrivals`: phases, users or a trace.

use super::distribution::distribution;
use super::traces::traces;
use crate::quantity::Duration;
use crate::reader::{Fields, Reader};
use crate::scenario::{Arrivals, Burst, Phase, Process, Shape, TraceFormat, UserPhase};
use crate::yaml::Node;

/// The shortest mean stay in a state of a bursty process: what changes faster is hardly a burst.
const LEAST_STAY: Duration = Duration::from_ms(1);

/// The most users of one load.
const MAX_USERS: u32 = 1_000_000;

pub(super) fn arrivals(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    duration: Option<Duration>,
) -> Option<Arrivals> {
    let mut fields = reader.fields(node, path)?;
    let process_node = fields.optional("process");
    let process = process(reader, &mut fields);
    let phases = fields.optional("phases");
    let users = fields.optional("users");
    let think_time = fields.optional("think-time");
    let trace = fields.optional("trace");
    if let (Some(node), None) = (think_time, users)
        && !fields.mistyped(&["users"])
    {
        reader.fault(
            node.place,
            format!("{path}.think-time goes with users only"),
            "leave it out: a rate says itself when requests are sent",
        );
    }
    let arrivals = match (phases, users, trace) {
        (Some(node), None, None) => phased(reader, node, &fields.path("phases"), process, duration),
        (None, Some(node), None) => {
            no_process(reader, process_node, path, "users", "a user sends when it has thought");
            let phases = user_phases(reader, node, &fields.path("users"), duration);
            let example = "think-time: {distribution: exponential, mean: 1s}";
            let think_time = fields.need(reader, "think-time", example, distribution);
            phases.zip(think_time).map(|(phases, think_time)| Arrivals::Users { phases, think_time })
        }
        (None, None, Some(node)) => {
            let spread = process.unwrap_or(Process::Poisson);
            let traces = traces(reader, node, &fields.path("trace"), spread, duration);
            let counts = |traces: &Vec<_>| {
                traces.iter().any(|trace: &crate::Trace| trace.format == TraceFormat::AzureFunctions2019)
            };
            if traces.as_ref().is_some_and(|traces| !counts(traces)) {
                no_process(reader, process_node, path, "a trace", "a trace says itself when requests arrive");
            }
            traces.map(Arrivals::Trace)
        }
        (None, None, None) if fields.mistyped(&["phases", "users", "trace"]) => None,
        (None, None, None) => {
            reader.fault(
                node.place,
                format!("{path} has neither phases nor users nor a trace"),
                "add phases: [{for: 60s, rate: 20/s}] or trace: {file: arrivals.csv, format: timestamps}",
            );
            None
        }
        (first, second, third) => {
            let extra = third.or(second).or(first).map_or(node.place, |node| node.place);
            reader.fault(
                extra,
                format!("{path} has more than one of phases, users and trace"),
                "keep one of them: phases make up a load, users wait for their answers, a trace replays a \
                 recorded load",
            );
            None
        }
    };
    fields.finish(reader);
    process.and(arrivals)
}

fn no_process(reader: &mut Reader<'_>, node: Option<&Node>, path: &str, what: &str, why: &str) {
    if let Some(node) = node {
        reader.fault(
            node.place,
            format!("{path}.process does not go with {what}"),
            format!("leave it out: {why}"),
        );
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Spread {
    Constant,
    Poisson,
    Bursty,
}

/// `process` and the `burst` that goes with one of them.
fn process(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<Process> {
    let spread = fields.or(reader, "process", Spread::Poisson, |reader, node, path| {
        reader.choice(
            node,
            path,
            &[("constant", Spread::Constant), ("poisson", Spread::Poisson), ("bursty", Spread::Bursty)],
        )
    });
    let burst_node = fields.optional("burst");
    match (spread, burst_node) {
        (Some(Spread::Bursty), _) => {
            fields.need(reader, "burst", "burst: {factor: 5, on: 2s, off: 18s}", burst).map(Process::Bursty)
        }
        (Some(_), Some(node)) => {
            let path = fields.path("burst");
            reader.fault(
                node.place,
                format!("{path} goes with process: bursty only"),
                "leave it out or write process: bursty",
            );
            None
        }
        (Some(Spread::Constant), None) => Some(Process::Constant),
        (Some(Spread::Poisson), None) => Some(Process::Poisson),
        (None, node) => {
            if let Some(node) = node {
                let path = fields.path("burst");
                burst(reader, node, &path);
            }
            None
        }
    }
}

fn burst(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Burst> {
    let mut fields = reader.fields(node, path)?;
    let factor_node = fields.optional("factor");
    let factor = fields.need(reader, "factor", "factor: 5", |reader, node, path| {
        let factor = reader.number(node, path)?;
        if factor > 1.0 {
            return Some(factor);
        }
        reader.fault(
            node.place,
            format!("{path} cannot be {factor}"),
            "write how many times the mean rate a burst has, above 1, such as 5",
        );
        None
    });
    let on = fields.need(reader, "on", "on: 2s", stay);
    let off = fields.need(reader, "off", "off: 18s", stay);
    fields.finish(reader);
    let burst = Burst { factor: factor?, on: on?, off: off? };
    // A hair's breadth for factors such as 1/0.3 that cannot be written exactly.
    if burst.share() * burst.factor > 1.0 + 1e-9 {
        let most = (burst.most() * 1_000.0).floor() / 1_000.0;
        reader.fault(
            factor_node.map_or(node.place, |node| node.place),
            format!(
                "{path}.factor {} cannot keep the mean: bursts fill {:.3}% of the time",
                burst.factor,
                burst.share() * 100.0
            ),
            format!(
                "write at most {most} (then there is silence between bursts), a shorter on or a longer off"
            ),
        );
        return None;
    }
    Some(burst)
}

fn stay(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Duration> {
    let stay = reader.duration(node, path)?;
    if stay < LEAST_STAY {
        reader.fault(
            node.place,
            format!("{path} is shorter than {LEAST_STAY}"),
            "write how long a stay lasts on average, such as 2s; shorter ones are hardly bursts",
        );
        return None;
    }
    Some(stay)
}

fn phased(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    process: Option<Process>,
    duration: Option<Duration>,
) -> Option<Arrivals> {
    let phases = reader.items(node, path, "{for: 60s, rate: 20/s}", phase)?;
    let total = within(reader, node, phases.iter().map(|phase| phase.length), duration)?;
    let mut start = Duration::ZERO;
    let mut expected = 0.0;
    for phase in &phases {
        expected += phase.expected(start);
        start = Duration::from_ns(start.as_ns().saturating_add(phase.length.as_ns()));
    }
    if expected <= 0.0 {
        reader.fault(
            node.place,
            "the load never sends a request",
            "give at least one phase a rate above zero",
        );
        return None;
    }
    if expected > f64::from(u32::MAX) {
        reader.fault(
            node.place,
            format!("the phases ask for {expected:.3e} requests in {total}"),
            "a load has at most 4 294 967 295; lower a rate or shorten a phase",
        );
        return None;
    }
    Some(Arrivals::Phases { process: process?, phases })
}

/// The length of all phases together, which must not be longer than the scenario.
fn within(
    reader: &mut Reader<'_>,
    node: &Node,
    lengths: impl Iterator<Item = Duration>,
    duration: Option<Duration>,
) -> Option<Duration> {
    // Each is below 100 years; the file's size bounds how many there are.
    let total = Duration::from_ns(lengths.fold(0, |sum: u64, length| sum.saturating_add(length.as_ns())));
    if let Some(duration) = duration
        && total > duration
    {
        reader.fault(
            node.place,
            format!("the phases last {total}, longer than the scenario"),
            format!("the scenario lasts {duration}; shorten the phases or write duration: {total}"),
        );
        return None;
    }
    Some(total)
}

fn phase(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Phase> {
    let mut fields = reader.fields(node, path)?;
    let length = fields.need(reader, "for", "for: 60s", Reader::positive_duration);
    let rate = fields.need(reader, "rate", "rate: 20/s", Reader::rate);
    let shapes = ["to", "spike", "diurnal"].map(|key| (key, fields.optional(key)));
    let ramp = fields.maybe(reader, "to", Reader::rate);
    let spike = fields.maybe(reader, "spike", |reader, node, path| spike(reader, node, path, length));
    let diurnal = fields.maybe(reader, "diurnal", diurnal);
    fields.finish(reader);
    let mut given = shapes.into_iter().filter_map(|(key, node)| Some((key, node?)));
    if let (Some((first, _)), Some((second, node))) = (given.next(), given.next()) {
        reader.fault(
            node.place,
            format!("{path} has both {first} and {second}"),
            "a phase has one shape; write two phases, one after the other",
        );
        return None;
    }
    let ramp = ramp?.map(|to| Shape::Ramp { to });
    let shape = ramp.or(spike?).or(diurnal?).unwrap_or(Shape::Flat);
    Some(Phase { length: length?, rate: rate?, shape })
}

fn spike(reader: &mut Reader<'_>, node: &Node, path: &str, length: Option<Duration>) -> Option<Shape> {
    let mut fields = reader.fields(node, path)?;
    let to = fields.need(reader, "to", "to: 200/s", Reader::rate);
    let at = fields.need(reader, "at", "at: 60s", Reader::duration);
    let rise = fields.or(reader, "rise", Duration::ZERO, Reader::duration);
    let hold = fields.or(reader, "hold", Duration::ZERO, Reader::duration);
    let fall = fields.or(reader, "fall", Duration::ZERO, Reader::duration);
    fields.finish(reader);
    let (at, rise, hold, fall) = (at?, rise?, hold?, fall?);
    let lasts = Duration::from_ns(rise.as_ns() + hold.as_ns() + fall.as_ns());
    if lasts == Duration::ZERO {
        reader.fault(
            node.place,
            format!("{path} lasts no time"),
            "add at least one of rise, hold and fall, such as hold: 5s",
        );
        return None;
    }
    let end = Duration::from_ns(at.as_ns() + lasts.as_ns());
    if let Some(length) = length
        && end > length
    {
        reader.fault(
            node.place,
            format!("{path} ends {end} after the start of its phase, which lasts {length}"),
            format!("choose an earlier at, a shorter spike or write for: {end}"),
        );
        return None;
    }
    Some(Shape::Spike { to: to?, at, rise, hold, fall })
}

fn diurnal(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Shape> {
    let mut fields = reader.fields(node, path)?;
    let amplitude = fields.need(reader, "amplitude", "amplitude: 80%", |reader, node, path| {
        let amplitude = reader.percent(node, path)?;
        if amplitude == 0.0 {
            reader.fault(
                node.place,
                format!("{path} is zero: the rate would not change"),
                "leave diurnal out or write how far the rate swings around its mean, such as 80%",
            );
            return None;
        }
        Some(amplitude)
    });
    let period = fields.or(reader, "period", Duration::from_s(86_400), Reader::positive_duration);
    let peak_node = fields.optional("peak-at");
    let peak_at = fields.need(reader, "peak-at", "peak-at: 14h", Reader::duration);
    fields.finish(reader);
    let (period, peak_at) = (period?, peak_at?);
    if peak_at >= period {
        reader.fault(
            peak_node.map_or(node.place, |node| node.place),
            format!("{path}.peak-at ({peak_at}) is not within the period ({period})"),
            "write when in the period the rate is highest, such as 14h of 24h",
        );
        return None;
    }
    Some(Shape::Diurnal { amplitude: amplitude?, period, peak_at })
}

fn user_phases(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    duration: Option<Duration>,
) -> Option<Vec<UserPhase>> {
    let phases = reader.items(node, path, "{for: 60s, count: 50}", |reader, node, path| {
        let mut fields = reader.fields(node, path)?;
        let length = fields.need(reader, "for", "for: 60s", Reader::positive_duration);
        let count = fields.need(reader, "count", "count: 50", users);
        let to = fields.maybe(reader, "to", users);
        fields.finish(reader);
        Some(UserPhase { length: length?, count: count?, to: to? })
    })?;
    within(reader, node, phases.iter().map(|phase| phase.length), duration)?;
    if phases.iter().all(|phase| phase.count == 0 && phase.to.unwrap_or(0) == 0) {
        reader.fault(
            node.place,
            format!("{path} never has a user"),
            "give at least one phase a count above 0",
        );
        return None;
    }
    Some(phases)
}

fn users(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<u32> {
    reader.count(node, path, 0..=MAX_USERS)
}
