//! The same seed is the same flight; only what differs between two scenarios differs between their flights.

use std::collections::BTreeMap;
use std::path::Path;

use crate::setting::{Setting, bytes, fly};
use crate::shipped;

fn busy() -> Setting {
    Setting {
        predictor: "minReplicas: 0, maxReplicas: 20, scaleTarget: 2".to_owned(),
        load: "process: poisson, phases: [{for: 20s, rate: 20/s}, {for: 10s, rate: 20/s, to: 400/s}, \
               {for: 30s, rate: 50/s}]"
            .to_owned(),
        service_time: "distribution: lognormal, mean: 20ms, cv: 0.8".to_owned(),
        events: "[{at: 15s, name: canary, patch: {kind: InferenceService, name: digits, merge: {spec: {predictor: \
                 {canaryTrafficPercent: 30, model: {storageUri: 's3://models/digits/v2'}}}}}}]"
            .to_owned(),
        ..Setting::default()
    }
}

/// A failure in CI that cannot be reproduced from its seed cannot be fixed.
#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (first, _) = fly(&busy().plan(), 42);
    let (second, _) = fly(&busy().plan(), 42);
    assert!(first.requests.len() > 3_000 && !first.decisions.is_empty() && first.revisions.len() == 2);
    assert_eq!(bytes(&first), bytes(&second));
    let (other, _) = fly(&busy().plan(), 43);
    assert_ne!(bytes(&first), bytes(&other));
}

/// Two variants are compared on the same load: what is asked of them must not change what comes.
#[test]
fn objectives_and_limits_leave_the_arrivals_alone() {
    let strict = Setting { objectives: "[p99<1ms, cold-starts<=0]".to_owned(), ..busy() };
    let small = Setting {
        predictor: "minReplicas: 1, maxReplicas: 2, scaleTarget: 2".to_owned(),
        service_time: "distribution: constant, mean: 3ms".to_owned(),
        ..busy()
    };
    let arrivals = |setting: &Setting| {
        let (recording, _) = fly(&setting.plan(), 42);
        let mut arrivals: Vec<(u64, u32)> =
            recording.requests.iter().map(|request| (request.intended_ns, request.row)).collect();
        arrivals.sort_unstable();
        arrivals
    };
    let expected = arrivals(&busy());
    assert_eq!(arrivals(&strict), expected);
    assert_eq!(arrivals(&small), expected);
}

/// Everything a live flight observes must be there, or the comparison of the two is empty.
#[test]
fn a_recording_holds_every_kind_of_observation() {
    let (recording, summary) = fly(&busy().plan(), 42);
    assert_eq!(recording.requests.len() as u64, summary.requests);
    assert_eq!(summary.answered + summary.failed, summary.requests);
    for kind in ["scenario", "revision", "traffic", "pod"] {
        assert!(recording.events.iter().any(|event| event.kind == kind), "no event of kind {kind}");
    }
    for name in ["replicas.wanted", "replicas.ready", "traffic.percent"] {
        for revision in ["digits-predictor-00001", "digits-predictor-00002"] {
            assert!(!recording.points(name, &[("revision", revision)]).is_empty(), "{name} of {revision}");
        }
    }
    assert!(recording.cold_starts.iter().all(|start| start.phases.len() == 6));
    assert!(recording.events.is_sorted_by_key(|event| event.t_ns));
}

/// Replications run side by side: whatever they shared would make a capacity plan depend on how busy the machine is. Catches
/// global state, such as a cache of draws or a counter.
#[test]
fn two_threads_give_the_bytes_of_one() {
    let alone: Vec<Vec<u8>> = (40..44).map(|seed| bytes(&fly(&busy().plan(), seed).0)).collect();
    let together: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let halves: Vec<_> = [40_u64..42, 42..44]
            .into_iter()
            .map(|seeds| {
                scope
                    .spawn(|| seeds.map(|seed| bytes(&fly(&busy().plan(), seed).0)).collect::<Vec<Vec<u8>>>())
            })
            .collect();
        halves.into_iter().flat_map(|half| half.join().expect("no panic")).collect()
    });
    assert!(alone == together, "a simulation depends on the one beside it");
    // The same one twice at the same time.
    let [one, other] = std::thread::scope(|scope| {
        [(); 2]
            .map(|()| scope.spawn(|| bytes(&fly(&busy().plan(), 42).0)))
            .map(|run| run.join().expect("no panic"))
    });
    assert!(one == other && one == alone[2], "a simulation depends on the one beside it");
}

/// FNV-1a with 64 bits.
fn digest(recording: &[u8]) -> String {
    let hash = recording.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Where the digests are: a line each, name and digest.
const DIGESTS: &str = "tests/it/digests.txt";

/// A seed is only worth quoting if it gives the same bytes on every machine, in debug and in release builds: so the digests
/// are part of the repository, and whoever builds in whatever way must get them. Catches logarithms of the machine's own
/// library, sums whose order the optimiser chooses, and maps that are walked in a random order.
///
/// A change of the model or of the recording's form changes them too. If it was meant to, `WINDTUNNEL_BLESS=1` writes them
/// anew; say in the commit why.
#[test]
fn recordings_are_the_committed_ones() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DIGESTS);
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    found.insert("a test's own".to_owned(), digest(&bytes(&fly(&busy().plan(), 42).0)));
    for (name, plan) in shipped::plans() {
        found.insert(name, digest(&bytes(&fly(&plan, plan.scenario.seed).0)));
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let mut known: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, digest)| (name.to_owned(), digest.to_owned()))
        .collect();
    let differing: Vec<&String> = found
        .iter()
        .filter(|(name, digest)| known.get(*name) != Some(*digest))
        .map(|(name, _)| name)
        .collect();
    if std::env::var_os("WINDTUNNEL_BLESS").is_some() {
        // What could not be flown on this machine keeps its digest.
        known.extend(found);
        let lines: Vec<String> = known.iter().map(|(name, digest)| format!("{name} {digest}\n")).collect();
        std::fs::write(&path, lines.concat()).expect("written");
    } else {
        assert!(
            differing.is_empty(),
            "the recordings of {differing:?} are not those of {DIGESTS}; if a change was meant to change them, run this \
             test with WINDTUNNEL_BLESS=1"
        );
    }
}
