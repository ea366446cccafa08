//! Canaries that some requests meet, by what they carry (A/B tests), and canaries that get copies: numbers by hand from
//! Flagger's rules.

use windtunnel_sim::{Snapshot, resume, simulate_until};

use crate::delivery::{BUILT_IN, answered, canary, owned, phases, standard, texts};
use crate::setting::{MS, S, Setting, bytes, fly};

const BROKEN: &str =
    "control: {phases: {canary: 0s}}\nmodels: [{match: 's3://models/digits/v2', error-rate: 100%}]";

const SLOW: &str = "control: {phases: {canary: 0s}}\nmodels: [{match: 's3://models/digits/v2', service-time: \
                    {distribution: constant, mean: 15ms}}]";

/// Two ticks of a test of whoever is an insider.
fn insiders() -> Setting {
    let objects = canary(BUILT_IN).replace(
        "stepWeight: 10, maxWeight: 20,",
        "iterations: 2, match: [{headers: {x-insider: {exact: 'yes'}}}],",
    );
    Setting { load_keys: "matching: 10%".to_owned(), ..standard(&objects) }
}

/// The walk of [`canary`], with half of the requests mirrored before.
fn mirrored() -> Setting {
    standard(&canary(BUILT_IN).replace("maxWeight: 20,", "maxWeight: 20, mirror: true, mirrorWeight: 50,"))
}

/// Those who match, and nobody else, meet the canary: a tenth of 1500 between the ticks at 30 s and 60 s.
#[test]
fn those_who_match_meet_the_canary() {
    let (recording, summary) = fly(&insiders().plan(), 3);
    assert_eq!(summary.failed, 0);
    assert_eq!(
        phases(&recording, "canary"),
        owned(&[
            (20_000, "Initialized -> Progressing"),
            (50_000, "Progressing -> Promoting"),
            (60_000, "Promoting -> Finalising"),
            (70_000, "Finalising -> Succeeded"),
        ])
    );
    assert_eq!(
        texts(&recording, "traffic"),
        [
            (30_000, "digits-predictor-primary 100 %; those who match: digits-predictor 100 %"),
            (60_000, "digits-predictor-primary 100 %"),
        ]
    );
    assert_eq!(answered(&recording, "digits-predictor-0", 0, 30), 0);
    assert_eq!(answered(&recording, "digits-predictor-0", 30, 60), 150);
    assert_eq!(answered(&recording, "digits-predictor-0", 60, 90), 0);
    let name = |revision: u16| recording.revisions[usize::from(revision)].name.as_str();
    let met = recording.requests.iter().filter(|request| {
        request.revision.is_some_and(|revision| name(revision).starts_with("digits-predictor-0"))
    });
    assert!(met.map(|request| request.row % 10).all(|digit| digit == 9), "every tenth");
    let percent = recording.points("traffic.percent", &[("revision", "digits-predictor-00002")]);
    let at = |t_ns: u64| percent.iter().find(|point| point.t_ns == t_ns).map(|point| point.value);
    assert_eq!((at(29 * S), at(45 * S), at(61 * S)), (Some(0.0), Some(10.0), Some(0.0)));
}

/// Only those who match have failures of a broken canary, until it has failed twice.
#[test]
fn a_broken_canary_is_met_by_those_who_match_only() {
    let setting = Setting { environment_keys: BROKEN.to_owned(), ..insiders() };
    let (recording, summary) = fly(&setting.plan(), 3);
    assert_eq!(phases(&recording, "canary").last(), Some(&(60_000, "Progressing -> Failed".to_owned())));
    assert_eq!(summary.failed, 150);
}

/// A user who is an insider is one with every request: two of four, who send in step, each second.
#[test]
fn users_stay_on_their_side() {
    let users = "users: [{for: 90s, count: 4}], think-time: {distribution: constant, mean: 995ms}".to_owned();
    let setting = Setting { load: users, load_keys: "matching: 50%".to_owned(), ..insiders() };
    let (recording, summary) = fly(&setting.plan(), 3);
    assert_eq!(summary.failed, 0);
    assert_eq!(answered(&recording, "digits-predictor-0", 31, 60), 58);
    assert_eq!(answered(&recording, "digits-predictor-primary", 31, 60), 58);
}

/// Copies are measured and thrown away: half of the 500 requests between 30 s and 40 s, then the walk, each step a tick
/// later than without copies.
#[test]
fn copies_come_before_requests() {
    let (recording, summary) = fly(&mirrored().plan(), 3);
    assert_eq!((summary.failed, recording.requests.len()), (0, 4_500));
    assert_eq!(
        texts(&recording, "traffic"),
        [
            (30_000, "digits-predictor-primary 100 %; 50 % are mirrored to digits-predictor"),
            (40_000, "digits-predictor-primary 90 %, digits-predictor 10 %"),
            (50_000, "digits-predictor-primary 80 %, digits-predictor 20 %"),
            (70_000, "digits-predictor-primary 100 %"),
        ]
    );
    assert_eq!(phases(&recording, "canary").last(), Some(&(80_000, "Finalising -> Succeeded".to_owned())));
    let copies = recording.points("requests.mirrored", &[("revision", "digits-predictor-00002")]);
    let count = |from_s: u64, to_s: u64| -> f64 {
        let within = copies.iter().filter(|point| (from_s * S..to_s * S).contains(&point.t_ns));
        within.map(|point| point.value).sum()
    };
    assert_eq!((count(0, 90), count(41, 90)), (250.0, 0.0));
    assert_eq!(answered(&recording, "digits-predictor-0", 0, 40), 0);
    assert_eq!(answered(&recording, "digits-predictor-0", 40, 50), 50);
}

/// A canary that is slow, or broken, must be found by its copies, before anybody has met it.
#[test]
fn nobody_meets_a_canary_that_its_copies_show_to_be_bad() {
    for keys in [SLOW, BROKEN] {
        let setting = Setting { environment_keys: keys.to_owned(), ..mirrored() };
        let (recording, summary) = fly(&setting.plan(), 3);
        assert_eq!(summary.failed, 0);
        assert_eq!(phases(&recording, "canary").last(), Some(&(60_000, "Progressing -> Failed".to_owned())));
        let halts = texts(&recording, "canary").into_iter().filter(|(_, text)| text.contains("Halt"));
        assert_eq!(halts.map(|(t_ms, _)| t_ms).collect::<Vec<_>>(), [40_000, 50_000]);
        assert_eq!(answered(&recording, "digits-predictor-0", 0, 90), 0);
        assert!(
            recording.requests.iter().all(|request| request.latency_ns == 5 * MS),
            "all from the primary"
        );
    }
}

/// A run that is stopped in the middle of a test, or of copies, goes on as if it had not been.
#[test]
fn tests_and_copies_go_on_from_a_snapshot() {
    let slow = Setting { environment_keys: SLOW.to_owned(), ..mirrored() };
    for setting in [insiders(), mirrored(), slow] {
        let plan = setting.plan();
        let (whole, _) = fly(&plan, 3);
        for cut_ms in [33_333, 39_990, 41_000] {
            let mut recording = plan.recording(3);
            let snapshot = simulate_until(&plan, 3, cut_ms * MS, &mut recording).expect("a sound simulation");
            let read = Snapshot::from_json(&snapshot.to_json().expect("storable")).expect("what was stored");
            resume(&plan, read, &mut recording).expect("a sound simulation");
            assert!(bytes(&recording) == bytes(&whole), "cut at {cut_ms} ms");
        }
    }
}

/// What no provider could route must not be simulated as if one could.
#[test]
fn what_cannot_be_routed_is_refused() {
    let refused = |setting: Setting| setting.read().expect_err("not sound");
    let silent = refused(Setting { load_keys: String::new(), ..insiders() });
    assert!(
        silent.contains("A/B test of Canary \"digits\" without a word on who meets its analysis.match is not simulated; add")
            && silent.contains("matching: 10%"),
        "{silent}"
    );
    let idle = refused(Setting { load_keys: "matching: 10%".to_owned(), ..mirrored() });
    assert!(idle.contains("there is none; leave it out"), "{idle}");
    let with_provider = |setting: Setting, provider: &str| {
        let objects = setting.objects.replace("  analysis:", &format!("  provider: {provider}\n  analysis:"));
        Setting { objects, ..setting }
    };
    let other = refused(with_provider(insiders(), "traefik"));
    assert!(other.contains("the provider traefik, which would send every request to the canary"), "{other}");
    let other = refused(with_provider(mirrored(), "nginx"));
    assert!(other.contains("the provider nginx, with which a canary never gets further"), "{other}");
    let knative = |setting: Setting| Setting { annotations: String::new(), ..setting };
    for setting in [insiders(), mirrored()] {
        let other = refused(knative(setting));
        assert!(other.contains("the provider knative"), "{other}");
    }
    let many = Setting {
        objects: mirrored().objects.replace("mirrorWeight: 50", "mirrorWeight: 150"),
        ..mirrored()
    };
    assert!(refused(many).contains("analysis.mirrorWeight is 150; write a percentage"));

    // The Gateway API's router has no weight for copies: it makes one of every request.
    let all = with_provider(mirrored(), "gatewayapi:v1");
    let (recording, _) = fly(&all.plan(), 3);
    assert_eq!(
        texts(&recording, "traffic")[0],
        (30_000, "digits-predictor-primary 100 %; 100 % are mirrored to digits-predictor")
    );
}
