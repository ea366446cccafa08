//! Starts whose length comes from sizes and bandwidths.

use super::{CANARY, fixed, phases, values};
use crate::setting::{S, Setting, fly, fly_at};

/// A second revision of two pods from 10 s on; a model has 10 Gbit.
fn pair(nodes: &str, bandwidth: &str, faults: &str) -> Setting {
    Setting {
        predictor: "minReplicas: 2, maxReplicas: 10".to_owned(),
        events: format!("[{CANARY}]"),
        pod_start: "schedule: 100ms, image-pull: 200ms, download: {size: 1250MB}, load: 300ms, probe: 60ms, \
                    propagate: 40ms"
            .to_owned(),
        environment_keys: format!(
            "nodes: {{pools: [{{name: cpu, memory: 64GiB, cpu: 16, {nodes}}}]}}\n{bandwidth}"
        ),
        faults: faults.to_owned(),
        ..Setting::default()
    }
}

/// Two pods that start at once on one machine are half as fast as one: 2 x 10 Gbit through a card of 10 Gbit/s take two
/// seconds each.
#[test]
fn two_pods_share_the_card_of_their_node() {
    let (recording, _) = fly(&pair("count: 1, bandwidth: 10Gbit/s", "", "").plan(), 1);
    assert_eq!(phases(&recording), [[100, 200, 2_000, 300, 60, 40], [100, 200, 2_000, 300, 60, 40]]);
    assert!(recording.cold_starts.iter().all(|start| start.t_ns == 10 * S));
}

/// Machines of their own do not help where the storage is the limit, and do where it is not.
#[test]
fn two_nodes_share_the_storage() {
    let nodes = "count: 2, bandwidth: 10Gbit/s";
    for (storage, length_ms) in [("10Gbit/s", 2_000), ("20Gbit/s", 1_000), ("5Gbit/s", 4_000)] {
        let bandwidth = format!("bandwidth: {{storage: {{'s3://': {storage}}}}}");
        let (recording, _) = fly(&pair(nodes, &bandwidth, "").plan(), 1);
        let lengths: Vec<u64> = phases(&recording).iter().map(|phases| phases[2]).collect();
        assert_eq!(lengths, [length_ms; 2], "{storage}");
        let used = values(&recording, "storage.utilisation", &[("prefix", "s3://")], &[9, 11, 20]);
        // Two cards of 10 Gbit/s fill any of them.
        assert_eq!(used, [0.0, 1.0, 0.0], "{storage}");
    }
}

/// Slow storage is felt exactly as long as it is slow. One pod's 10 Gbit begin at 10.3 s at 5 Gbit/s (both pods share 10).
/// From 11.3 s on a quarter of it for 2 s: 5 Gbit are there, 2.5 come, 2.5 are left, which take 0.5 s: 3.5 s.
#[test]
fn slow_storage_is_slow_by_its_factor() {
    let faults = "{at: 11300ms, fault: slow-storage, prefix: 's3://models', factor: 4, for: 2s}";
    let bandwidth = "bandwidth: {storage: {'s3://': 10Gbit/s}}";
    let (recording, _) = fly(&pair("count: 2", bandwidth, faults).plan(), 1);
    let lengths: Vec<u64> = phases(&recording).iter().map(|phases| phases[2]).collect();
    assert_eq!(lengths, [3_500; 2]);
}

/// A storage that fails holds up every start until it is back, and not one byte is transferred twice: 1 s, 2 s of nothing,
/// 1 s. A fault of another prefix is none.
#[test]
fn failing_storage_holds_starts_up() {
    let bandwidth = "bandwidth: {storage: {'s3://': 10Gbit/s}}";
    for (prefix, length_ms) in
        [("s3://", 4_000), ("s3://models/digits/v2", 4_000), ("s3://models/digits/v1", 2_000)]
    {
        let faults = format!("{{at: 11300ms, fault: storage-failure, prefix: '{prefix}', for: 2s}}");
        let (recording, _) = fly(&pair("count: 2", bandwidth, &faults).plan(), 1);
        let lengths: Vec<u64> = phases(&recording).iter().map(|phases| phases[2]).collect();
        assert_eq!(lengths, [length_ms; 2], "{prefix}");
    }
}

/// Images have sizes of their own: a list that is longer than a prefix decides, the first entry that matches, and
/// `image-pull` where none does. 10 Gbit and 20 Gbit at 10 Gbit/s, two pods that share one transfer.
#[test]
fn images_have_sizes_of_their_own() {
    let image = windtunnel_api::runtimes::PREDICTOR_IMAGE;
    for (images, length_ms) in [
        (format!("[{{match: '{image}', size: 2500MB}}]"), 2_000),
        (format!("[{{match: elsewhere/server, size: 5GB}}, {{match: '{image}', size: 1250MB}}]"), 1_000),
        ("[{match: elsewhere/server, size: 5GB}]".to_owned(), 200),
    ] {
        let bandwidth = format!(
            "bandwidth: {{registry: 10Gbit/s, storage: {{'s3://': 10Gbit/s}}}}\nimages: {images}\nlocal-model-cache: \
             ['s3://']"
        );
        let mut setting = pair("count: 1", &bandwidth, "");
        // What was pulled for the first revision is there for the second one.
        setting.predictor = "minReplicas: 0, maxReplicas: 10".to_owned();
        setting.annotations = "autoscaling.knative.dev/initial-scale: '0'".to_owned();
        setting.autoscaler = "allow-zero-initial-scale: 'true'".to_owned();
        setting.events = "[]".to_owned();
        let recording = fly_at(&setting.plan(), &[20 * S]);
        assert_eq!(phases(&recording)[0][1], length_ms, "{images}");
    }
}

/// A storage that fails is nothing to models that lie on the nodes, and a prefix without any model is a mistake.
#[test]
fn failing_storage_is_nothing_to_local_models() {
    let bandwidth = "bandwidth: {storage: {'s3://': 10Gbit/s}}\nlocal-model-cache: ['s3://models/']";
    let faults = "{at: 9s, fault: storage-failure, prefix: 's3://', for: 30s}";
    let (recording, _) = fly(&pair("count: 2", bandwidth, faults).plan(), 1);
    let lengths: Vec<u64> = phases(&recording).iter().map(|phases| phases[2]).collect();
    assert_eq!(lengths, [0; 2]);
    let text = "storage-failure for 30s: downloads stand still; without effect: all models from there lie on the nodes \
                already";
    assert_eq!(super::told(&recording, "fault"), [(9_000, "s3://", text)]);
    let elsewhere = "{at: 9s, fault: storage-failure, prefix: 'gs://', for: 30s}";
    let error = pair("count: 2", bandwidth, elsewhere).read().expect_err("no model from there");
    assert!(error.contains("gs://"), "{error}");
}

/// A cold start of a language model is a minute and a half, and the report has to say of what. By hand: image 8 GiB =
/// 68.719476736 Gbit at the registry's 2 Gbit/s, model 14 GiB = 120.259084288 Gbit at the storage's 4 Gbit/s, load 14 GiB
/// at 1 GiB/s, probes every 25 ms from the container's start, as Knative's queue-proxy does: 14 s is a whole number.
#[test]
fn a_long_cold_start_is_the_sum_of_its_parts() {
    let setting = Setting {
        annotations: "autoscaling.knative.dev/initial-scale: '0'".to_owned(),
        autoscaler: "allow-zero-initial-scale: 'true'".to_owned(),
        duration: "200s".to_owned(),
        timeout: "180s".to_owned(),
        load: "process: constant, phases: [{for: 200s, rate: 1/s}]".to_owned(),
        pod_start:
            "schedule: 100ms, image-pull: {size: 8GiB}, download: {size: 14GiB}, load: {rate: 1GiB/s}, \
                    probe: period, propagate: 40ms"
                .to_owned(),
        environment_keys:
            "nodes: {pools: [{name: gpu, count: 1, cpu: 16, memory: 64GiB, bandwidth: 10Gbit/s}]}\n\
                           bandwidth: {registry: 2Gbit/s, storage: {'s3://': 4Gbit/s}}"
                .to_owned(),
        ..Setting::default()
    };
    let recording = fly_at(&setting.plan(), &[20 * S]);
    let start = &recording.cold_starts[0];
    let lengths: Vec<u64> = start.phases.iter().map(|(_, length_ns)| *length_ns).collect();
    assert_eq!(lengths, [100_000_000, 34_359_738_368, 30_064_771_072, 14_000_000_000, 0, 40_000_000]);
    assert_eq!(recording.requests[0].status, 200);
}

/// The next pod on a machine finds the image there, and pays for its model again, as KServe's storage initializer does.
#[test]
fn an_image_is_pulled_once_a_node() {
    let mut setting = pair("count: 1, bandwidth: 10Gbit/s", "", "");
    setting.pod_start = setting.pod_start.replace("image-pull: 200ms", "image-pull: {size: 2500MB}");
    let (recording, _) = fly(&setting.plan(), 1);
    let both: Vec<(u64, u64)> = phases(&recording).iter().map(|phases| (phases[1], phases[2])).collect();
    assert_eq!(both, [(0, 2_000); 2]);
}

/// Users who have put their models on volumes or into the local cache have paid for this.
#[test]
fn local_models_need_no_download() {
    for (uri, cache) in
        [("pvc://claim/digits", ""), ("s3://models/digits/v2", "local-model-cache: ['s3://models']")]
    {
        let mut setting = pair("count: 1, bandwidth: 1Mbit/s", cache, "");
        setting.events = setting.events.replace("s3://models/digits/v2", uri);
        if uri.starts_with("pvc") {
            // Only the new one is on a volume: the old one's files are small.
            setting.environment_keys.push_str("\nmodels: [{match: 's3://', size: 1kB}]");
        }
        let (recording, _) = fly(&setting.plan(), 1);
        let lengths: Vec<u64> = phases(&recording).iter().map(|phases| phases[2]).collect();
        assert_eq!(lengths, [0; 2], "{uri}");
    }
}

/// A service that is not ready when its load comes would fail for reasons that no live flight has: whatever a start takes,
/// it is over a second before.
#[test]
fn services_are_ready_when_the_load_comes() {
    let mut setting = pair("count: 1, bandwidth: 1Gbit/s", "", "");
    setting.events = "[]".to_owned();
    let (recording, summary) = fly(&setting.plan(), 1);
    assert_eq!(summary.failed, 0);
    assert!(recording.cold_starts.is_empty());
    assert!(recording.requests.iter().all(|request| request.held_ns == 0));
    // 20 Gbit through 1 Gbit/s, the constant parts, a second of lead.
    let until_ns = 20 * S + 700_000_000 + S;
    assert_eq!(summary.virtual_ns, until_ns + 60 * S);
}

/// A probe every ten seconds is often the longest part of a start. The model is loaded 300 ms after its container was
/// started; the kubelet's readiness probe comes with the container and every ten seconds.
#[test]
fn probes_lie_on_the_manifests_grid() {
    let mut setting = fixed(1, "");
    setting.pod_start = setting.pod_start.replace("probe: 60ms", "probe: period");
    setting.events = format!("[{}]", super::scaled(10, 2));
    let plan = setting.plan();
    let template =
        &plan.services[0].versions[0].standard.as_ref().expect("Standard mode").stable.revision.template;
    let (first_ns, period_ns) = (template.probe_delay_ns, template.probe_period_ns);
    let (recording, _) = fly(&plan, 1);
    let loaded_ns = 300_000_000_u64;
    let periods = loaded_ns.saturating_sub(first_ns).div_ceil(period_ns);
    let ready_ns = first_ns + periods * period_ns;
    assert_eq!(recording.cold_starts[0].phases[4].1, ready_ns - loaded_ns);
}
