//! `environment.control` and `environment.drift`: the control plane's clocks, and what watches predictions.

use windtunnel_kernel::autoscale::hpa;

use super::distribution::distribution;
use crate::quantity::Duration;
use crate::reader::Reader;
use crate::scenario::{
    Activator, Control, ControlPhases, Drift, DriftDetector, DriftShift, DriftTest, FlaggerControl,
    FlaggerVersion, HpaTiming, KedaTiming, KpaTiming, LateConnections,
};
use crate::yaml::{Node, Value};

/// The longest window of a detector.
const MAX_WINDOW: u32 = 1_000_000;

/// The farthest shift, in standard deviations.
const MAX_SHIFT: f64 = 1_000.0;

/// The highest index that a detector may wait for.
const MAX_PSI: f64 = 100.0;

pub(super) fn control(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Control> {
    let mut fields = reader.fields(node, path)?;
    let kpa = fields.or(reader, "kpa", KpaTiming::default(), |reader, node, path| {
        let mut fields = reader.fields(node, path)?;
        let scrape_time = fields.maybe(reader, "scrape-time", distribution);
        fields.finish(reader);
        Some(KpaTiming { scrape_time: scrape_time? })
    });
    let activator = fields.or(reader, "activator", Activator::default(), activator);
    let hpa = fields.or(reader, "hpa", HpaTiming::default(), |reader, node, path| {
        let default = HpaTiming::default();
        let mut fields = reader.fields(node, path)?;
        let sync = fields.or(reader, "sync", default.sync, Reader::positive_duration);
        let scrape = fields.or(reader, "scrape", default.scrape, Reader::positive_duration);
        let delay = fields.or(reader, "delay", default.delay, Reader::duration);
        let version = fields.or(reader, "version", default.version, kubernetes);
        fields.finish(reader);
        Some(HpaTiming { sync: sync?, scrape: scrape?, delay: delay?, version: version? })
    });
    let keda = fields.or(reader, "keda", KedaTiming::default(), |reader, node, path| {
        let default = KedaTiming::default();
        let mut fields = reader.fields(node, path)?;
        let polling = fields.or(reader, "polling", default.polling, Reader::positive_duration);
        let delay = fields.or(reader, "delay", default.delay, Reader::duration);
        fields.finish(reader);
        Some(KedaTiming { polling: polling?, delay: delay? })
    });
    let flagger = fields.or(reader, "flagger", FlaggerControl::default(), |reader, node, path| {
        let default = FlaggerControl::default();
        let mut fields = reader.fields(node, path)?;
        let version = fields.or(reader, "version", default.version, |reader, node, path| {
            release(reader, node, path, &[("1.0", FlaggerVersion::V1_0), ("1.44", FlaggerVersion::V1_44)])
        });
        fields.finish(reader);
        Some(FlaggerControl { version: version? })
    });
    let phases = fields.or(reader, "phases", ControlPhases::default(), |reader, node, path| {
        let mut fields = reader.fields(node, path)?;
        let keys = ["kpa", "scrape", "hpa", "keda", "canary", "nodes"];
        let [kpa, scrape, hpa, keda, canary, nodes] =
            keys.map(|key| fields.maybe(reader, key, Reader::duration));
        fields.finish(reader);
        Some(ControlPhases {
            kpa: kpa?,
            scrape: scrape?,
            hpa: hpa?,
            keda: keda?,
            canary: canary?,
            nodes: nodes?,
        })
    });
    fields.finish(reader);
    Some(Control {
        kpa: kpa?,
        activator: activator?,
        hpa: hpa?,
        keda: keda?,
        flagger: flagger?,
        phases: phases?,
    })
}

fn activator(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<Activator> {
    let default = Activator::default();
    let mut fields = reader.fields(node, path)?;
    let probe_timeout = fields.or(reader, "probe-timeout", default.probe_timeout, Reader::positive_duration);
    let late_connections =
        fields.or(reader, "late-connections", default.late_connections, |reader, node, path| {
            let words = [("kept", LateConnections::Kept), ("dropped", LateConnections::Dropped)];
            reader.choice(node, path, &words)
        });
    fields.finish(reader);
    Some(Activator { probe_timeout: probe_timeout?, late_connections: late_connections? })
}

/// A release; one without quotation marks is a number in YAML.
fn release<T: Copy>(reader: &mut Reader<'_>, node: &Node, path: &str, releases: &[(&str, T)]) -> Option<T> {
    let mut node = node.clone();
    if let Value::Float(number) = node.value {
        node.value = Value::Text(format!("{number:?}"));
    }
    reader.choice(&node, path, releases)
}

fn kubernetes(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<hpa::Version> {
    let releases = hpa::Version::ALL.map(|version| (version.name(), version));
    release(reader, node, path, &releases)
}

pub(super) fn drift(
    reader: &mut Reader<'_>,
    node: &Node,
    path: &str,
    duration: Option<Duration>,
) -> Option<Drift> {
    let mut fields = reader.fields(node, path)?;
    let nothing = ["feature", "predictions"].into_iter().all(|key| fields.optional(key).is_none());
    if nothing && !fields.mistyped(&["feature", "predictions"]) {
        reader.fault(
            node.place,
            format!("{path}: nothing drifts"),
            "add feature: {at: 10m, shift: 0.5} or predictions with the same keys",
        );
    }
    let feature = fields.maybe(reader, "feature", |reader, node, path| shift(reader, node, path, duration));
    let predictions =
        fields.maybe(reader, "predictions", |reader, node, path| shift(reader, node, path, duration));
    let detector = fields.or(reader, "detector", DriftDetector::default(), detector);
    fields.finish(reader);
    Some(Drift { feature: feature?, predictions: predictions?, detector: detector? })
}

fn shift(reader: &mut Reader<'_>, node: &Node, path: &str, duration: Option<Duration>) -> Option<DriftShift> {
    let mut fields = reader.fields(node, path)?;
    let at =
        fields.need(reader, "at", "at: 10m", |reader, node, path| reader.before_end(node, path, duration));
    let shift = fields.need(reader, "shift", "shift: 0.5", |reader, node, path| {
        let shift = reader.number_in(node, path, -MAX_SHIFT..=MAX_SHIFT)?;
        if shift == 0.0 {
            reader.fault(
                node.place,
                format!("{path} is zero: nothing would drift"),
                "write how far the mean moves in standard deviations, such as 0.5 or -0.5",
            );
            return None;
        }
        Some(shift)
    });
    let over = fields.or(reader, "over", Duration::ZERO, Reader::duration);
    fields.finish(reader);
    Some(DriftShift { at: at?, shift: shift?, over: over? })
}

fn detector(reader: &mut Reader<'_>, node: &Node, path: &str) -> Option<DriftDetector> {
    let default = DriftDetector::default();
    let mut fields = reader.fields(node, path)?;
    let test = fields.or(reader, "test", default.test, |reader, node, path| {
        reader.choice(node, path, &[("ks", DriftTest::Ks), ("psi", DriftTest::Psi)])
    });
    let window = fields
        .or(reader, "window", default.window, |reader, node, path| reader.count(node, path, 2..=MAX_WINDOW));
    let threshold = fields.maybe(reader, "threshold", |reader, node, path| {
        let threshold = reader.number(node, path)?;
        let (most, hint) = match test? {
            DriftTest::Ks => (1.0, "write the p-value below which it raises the alarm, such as 0.01"),
            DriftTest::Psi => (MAX_PSI, "write the index above which it raises the alarm, such as 0.2"),
        };
        if threshold > 0.0 && threshold < most {
            return Some(threshold);
        }
        reader.fault(node.place, format!("{path} cannot be {threshold}"), hint);
        None
    });
    fields.finish(reader);
    let test = test?;
    let threshold = threshold?.unwrap_or(DriftDetector::default_threshold(test));
    Some(DriftDetector { test, window: window?, threshold })
}
