//! What somebody tells the controllers of canaries while the load runs: every time is computed by hand.

use windtunnel_record::Recording;
use windtunnel_sim::{Snapshot, resume, simulate_until};

use crate::delivery::{BUILT_IN, V2, answered, canary, owned, phases, rollout, standard, texts};
use crate::setting::{S, Setting, bytes, fly};

/// One of two pods with a fifth of the requests from 13 s on, until somebody comes.
const WAITING: &str = "[{setWeight: 20}, {pause: {}}, {setWeight: 50}, {pause: {}}]";

fn told(setting: Setting, commands: &[(u64, &str, &str)]) -> Setting {
    let events: Vec<String> = commands
        .iter()
        .map(|(at_s, kind, verb)| {
            format!("{{at: {at_s}s, command: {{kind: {kind}, name: digits, verb: {verb}}}}}")
        })
        .collect();
    Setting { events: format!("[{V2}, {}]", events.join(", ")), ..setting }
}

fn argo(commands: &[(u64, &str)]) -> Setting {
    let commands: Vec<_> = commands.iter().map(|(at_s, verb)| (*at_s, "Rollout", *verb)).collect();
    told(standard(&rollout(WAITING)), &commands)
}

fn flagger(webhook: &str, commands: &[(u64, &str)]) -> Setting {
    let objects =
        canary(BUILT_IN).replace("maxWeight: 20,", &format!("maxWeight: 20, webhooks: [{webhook}],"));
    let commands: Vec<_> = commands.iter().map(|(at_s, verb)| (*at_s, "Canary", *verb)).collect();
    told(standard(&objects), &commands)
}

fn traffic(recording: &Recording) -> Vec<(u64, &str)> {
    texts(recording, "traffic")
}

/// A release would go another way than the team's runbook says.
#[test]
fn argo_does_what_it_is_told() {
    // Each pause ends with a word.
    let (recording, summary) = fly(&argo(&[(30, "promote"), (40, "promote")]).plan(), 3);
    assert_eq!(summary.failed, 0);
    let shares = traffic(&recording);
    assert_eq!(
        shares[..2],
        [
            (13_000, "digits-predictor-00002 20 %, digits-predictor-00001 80 %"),
            (30_000, "digits-predictor-00002 50 %, digits-predictor-00001 50 %"),
        ]
    );
    assert_eq!(
        shares.last().map(|(t_ms, text)| (t_ms / 1_000, *text)),
        Some((41, "digits-predictor-00002 100 %"))
    );
    assert_eq!(answered(&recording, "00002", 14, 30), 160, "a fifth of 800");

    // In full: the second pod starts at once and serves a second later, and no step is left.
    let (recording, summary) = fly(&argo(&[(30, "promote-full")]).plan(), 3);
    assert_eq!(summary.failed, 0);
    let shares = traffic(&recording);
    assert_eq!(
        shares.last().map(|(t_ms, text)| (t_ms / 1_000, *text)),
        Some((31, "digits-predictor-00002 100 %"))
    );
    assert_eq!(
        phases(&recording, "rollout").last().map(|(_, text)| text.as_str()),
        Some("Progressing -> Healthy")
    );

    // Back, and once more: the pod is still there.
    let (recording, summary) = fly(&argo(&[(30, "abort"), (40, "retry")]).plan(), 3);
    assert_eq!(summary.failed, 0);
    assert_eq!(
        traffic(&recording),
        [
            (13_000, "digits-predictor-00002 20 %, digits-predictor-00001 80 %"),
            (30_000, "digits-predictor-00001 100 %"),
            (40_000, "digits-predictor-00002 20 %, digits-predictor-00001 80 %"),
        ]
    );
    let changes = phases(&recording, "rollout");
    assert!(changes.contains(&(30_000, "Paused -> Degraded".to_owned())), "{changes:?}");
    assert_eq!(changes.last().map(|(t_ms, _)| *t_ms), Some(40_000), "{changes:?}");
    assert_eq!(answered(&recording, "00002", 30, 40), 0);
    assert_eq!(answered(&recording, "00002", 40, 90), 500, "a fifth of 2500");
    let words = texts(&recording, "scenario");
    assert_eq!(words[1..], [(30_000, "abort Rollout digits"), (40_000, "retry Rollout digits")]);
}

/// What a user holds must stay as it is, whatever its steps say: a pause of ten seconds that began at 13 s ends at 40 s.
#[test]
fn a_held_rollout_stays() {
    let steps = "[{setWeight: 20}, {pause: {duration: 10s}}, {setWeight: 50}, {pause: {}}]";
    let setting = told(standard(&rollout(steps)), &[(15, "Rollout", "pause"), (40, "Rollout", "resume")]);
    let (recording, _) = fly(&setting.plan(), 3);
    assert_eq!(
        traffic(&recording),
        [
            (13_000, "digits-predictor-00002 20 %, digits-predictor-00001 80 %"),
            (40_000, "digits-predictor-00002 50 %, digits-predictor-00001 50 %"),
        ]
    );
}

/// A gate is closed until somebody opens it: asked at 50 s and 60 s, promoted at 70 s.
#[test]
fn flagger_waits_at_its_gate() {
    let gate = "{name: gate, type: confirm-promotion, url: 'http://flagger-loadtester.test/gate/check'}";
    let (recording, _) = fly(&flagger(gate, &[(65, "open-gate")]).plan(), 3);
    assert_eq!(
        phases(&recording, "canary")[1..],
        owned(&[
            (50_000, "Progressing -> WaitingPromotion"),
            (70_000, "WaitingPromotion -> Promoting"),
            (80_000, "Promoting -> Finalising"),
            (90_000, "Finalising -> Succeeded"),
        ])
    );
    // Opened and closed again before anybody asked.
    let (recording, _) = fly(&flagger(gate, &[(41, "open-gate"), (42, "close-gate")]).plan(), 3);
    assert_eq!(
        phases(&recording, "canary").last(),
        Some(&(50_000, "Progressing -> WaitingPromotion".to_owned()))
    );
    let hook = "{name: back, type: rollback, url: 'http://flagger-loadtester.test/rollback/check'}";
    let (recording, _) = fly(&flagger(hook, &[(35, "open-rollback")]).plan(), 3);
    assert_eq!(phases(&recording, "canary").last(), Some(&(40_000, "Progressing -> Failed".to_owned())));
    let (recording, _) = fly(&flagger(hook, &[(35, "open-rollback"), (36, "close-rollback")]).plan(), 3);
    assert_eq!(phases(&recording, "canary").last(), Some(&(70_000, "Finalising -> Succeeded".to_owned())));
}

/// A Canary that is suspended looks at nothing: its walk goes on at the tick at 60 s.
#[test]
fn a_held_canary_stays() {
    let hook = "{name: yes, type: rollout, url: 'http://flagger-loadtester.test/'}";
    let (recording, _) = fly(&flagger(hook, &[(25, "pause"), (55, "resume")]).plan(), 3);
    assert_eq!(
        traffic(&recording),
        [
            (60_000, "digits-predictor-primary 90 %, digits-predictor 10 %"),
            (70_000, "digits-predictor-primary 80 %, digits-predictor 20 %"),
            (90_000, "digits-predictor-primary 100 %"),
        ]
    );
}

/// What was said before a snapshot must hold after it, and what is said later must be heard.
#[test]
fn words_outlast_a_snapshot() {
    let gate = "{name: gate, type: confirm-promotion, url: 'http://flagger-loadtester.test/gate/check'}";
    let cases = [
        (flagger(gate, &[(25, "open-gate"), (31, "pause"), (45, "resume")]), [28, 33, 50]),
        (argo(&[(20, "pause"), (30, "resume"), (35, "promote")]), [15, 25, 40]),
    ];
    for (setting, cuts) in cases {
        let plan = setting.plan();
        let (whole, _) = fly(&plan, 3);
        for cut_s in cuts {
            let mut recording = plan.recording(3);
            let snapshot = simulate_until(&plan, 3, cut_s * S, &mut recording).expect("a sound simulation");
            let read = Snapshot::from_json(&snapshot.to_json().expect("storable")).expect("what was stored");
            resume(&plan, read, &mut recording).expect("a sound simulation");
            assert!(bytes(&recording) == bytes(&whole), "cut at {cut_s} s");
        }
    }
}

/// A command that changes nothing would be a team's mistake that nobody sees.
#[test]
fn commands_to_nobody_are_refused() {
    let hook = "{name: yes, type: rollout, url: 'http://flagger-loadtester.test/'}";
    let refusal = flagger(hook, &[(25, "open-gate")]).read().expect_err("no gate");
    assert!(
        refusal
            .contains("no webhook of Canary \"digits\" asks /gate/check, so that open-gate changes nothing"),
        "{refusal}"
    );
    let other = argo(&[(30, "open-gate")]).read().expect_err("a Canary's word");
    assert!(other.contains("a Rollout cannot be told to open-gate"), "{other}");
    let missing = told(standard(&canary(BUILT_IN)), &[(30, "Rollout", "abort")]);
    let missing = missing.read().expect_err("no Rollout");
    assert!(missing.contains("the manifests hold no \"Rollout\""), "{missing}");
}
