//! Laws that every kind of server keeps.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::engine::Slab;

/// Keys of `number` requests.
pub(crate) fn all_keys(number: usize) -> Vec<Key> {
    let mut slab = Slab::default();
    (0..number).map(|_| slab.insert(())).collect()
}

/// Keys of a few requests, to be named.
pub(crate) fn keys<const N: usize>() -> [Key; N] {
    all_keys(N).try_into().unwrap()
}

/// A request without tokens.
pub(crate) fn job(key: Key, demand_ns: u64) -> Job {
    Job { key, demand_ns, context_tokens: 0, generated_tokens: 0 }
}

fn servers() -> [Server; 6] {
    let batching =
        BatchingSettings { size: 3, delay_ns: 20, base_ns: 10, per_item_ns: 5, mean_ns: 50.0, instances: 2 };
    let llm = LlmSettings {
        prefill_per_s: 1e9,
        decode_per_s: 1e8,
        slowdown: 0.1,
        slots: 4,
        kv_tokens: 150,
        admission: KvAdmission::Preempt,
    };
    [
        Server::shared(1.5).unwrap(),
        Server::shared(0.3).unwrap(),
        Server::workers(2).unwrap(),
        Server::batching(batching).unwrap(),
        Server::llm(llm).unwrap(),
        Server::llm(LlmSettings { admission: KvAdmission::Reserve, ..llm }).unwrap(),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Start(u64),
    Abandon(usize),
    Drain,
}

fn acts() -> impl Strategy<Value = Vec<(u64, Act)>> {
    let act = prop_oneof![
        12 => (0_u64..150).prop_map(Act::Start),
        3 => (0_usize..60).prop_map(Act::Abandon),
        1 => Just(Act::Drain),
    ];
    prop::collection::vec((0_u64..60, act), 1..60)
}

/// What was seen of a server: ends in the order in which they were told, and who was given back by a drain.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    done: Vec<Finished>,
    abandoned: BTreeSet<Key>,
    drained: BTreeSet<Key>,
    started: BTreeMap<Key, u64>,
}

/// Plays the acts; the server is written down and read again before the act numbered `restore`.
fn play(mut server: Server, acts: &[(u64, Act)], restore: Option<usize>) -> (Seen, Server, u64) {
    let keys = all_keys(acts.len());
    let (mut seen, mut now_ns) = (Seen::default(), 0);
    for (number, (gap_ns, act)) in acts.iter().enumerate() {
        if restore == Some(number) {
            let text = serde_json::to_string(&server).unwrap();
            let restored: Server = serde_json::from_str(&text).unwrap();
            assert_eq!(restored, server);
            server = restored;
        }
        let until_ns = now_ns + gap_ns;
        while let Some(next_ns) = server.next_ns().filter(|next_ns| *next_ns <= until_ns) {
            assert!(next_ns >= now_ns, "time goes back from {now_ns} to {next_ns}");
            now_ns = next_ns;
            server.advance(now_ns, &mut seen.done);
        }
        now_ns = until_ns;
        match *act {
            Act::Start(demand_ns) => {
                let tokens = demand_ns as u32;
                let (context_tokens, generated_tokens) = (tokens / 2, tokens % 50);
                let job = Job { key: keys[number], demand_ns, context_tokens, generated_tokens };
                assert_eq!(server.start(now_ns, job), Started::Within);
                seen.started.insert(job.key, now_ns);
            }
            Act::Abandon(which) => {
                let key = keys[which % keys.len()];
                if server.abandon(now_ns, key) {
                    assert!(seen.abandoned.insert(key));
                }
            }
            Act::Drain => {
                for key in server.drain(now_ns) {
                    assert!(seen.drained.insert(key));
                }
                assert_eq!((server.in_flight(), server.next_ns()), (0, None));
            }
        }
        let left = seen.done.len() + seen.abandoned.len() + seen.drained.len();
        assert_eq!(seen.started.len(), left + server.in_flight(), "requests got lost or doubled");
    }
    while let Some(next_ns) = server.next_ns() {
        now_ns = next_ns;
        server.advance(now_ns, &mut seen.done);
    }
    assert_eq!(server.in_flight(), 0);
    (seen, server, now_ns)
}

proptest! {
    /// A request that a server loses never gets an answer; one that it answers twice breaks every count.
    #[test]
    fn every_request_leaves_once_and_in_order(acts in acts()) {
        for server in servers() {
            let units = server.units().unwrap();
            let (seen, server, end_ns) = play(server, &acts, None);
            prop_assert!(seen.done.is_sorted_by_key(|done| done.end_ns));
            for done in &seen.done {
                prop_assert!(seen.started[&done.key] <= done.begin_ns && done.begin_ns <= done.end_ns);
                let first_ns = done.first_token_ns.unwrap_or(done.begin_ns);
                prop_assert!(done.begin_ns <= first_ns && first_ns <= done.end_ns);
            }
            let left: BTreeSet<Key> = seen.done.iter().map(|done| done.key)
                .chain(seen.abandoned.iter().copied()).chain(seen.drained.iter().copied()).collect();
            prop_assert_eq!(left.len(), seen.started.len());
            prop_assert!(server.busy_ns(end_ns) <= units * end_ns as f64 + 1e-6);
        }
    }

    /// A run that is forked must go on exactly as the one that it was forked from.
    #[test]
    fn a_server_that_is_written_down_goes_on_the_same(acts in acts(), restore in 0_usize..60) {
        for server in servers() {
            let plain = play(server.clone(), &acts, None);
            let restored = play(server, &acts, Some(restore % acts.len()));
            prop_assert_eq!(plain, restored);
        }
    }

    /// Capacity must not appear from nowhere: busy time is exactly the work that was done.
    #[test]
    fn work_is_conserved(demands in prop::collection::vec((0_u64..60, 0_u64..150), 1..60)) {
        let acts: Vec<_> = demands.iter().map(|(gap, demand)| (*gap, Act::Start(*demand))).collect();
        let work: u64 = demands.iter().map(|(_, demand)| demand).sum();
        for (server, slack_ns) in [(Server::workers(3).unwrap(), 0.0), (Server::shared(1.5).unwrap(), 4.0)] {
            let (_, server, end_ns) = play(server, &acts, None);
            // Ends of shared cores are rounded up to whole nanoseconds, each by less than one a core.
            let over = server.busy_ns(end_ns) - work as f64;
            prop_assert!((0.0..=slack_ns * demands.len() as f64).contains(&over), "{over}");
        }
    }

    /// One worker and one core that is never shared are the same thing.
    #[test]
    fn one_worker_keeps_the_order_of_the_line(demands in prop::collection::vec((0_u64..60, 0_u64..150), 1..60)) {
        let acts: Vec<_> = demands.iter().map(|(gap, demand)| (*gap, Act::Start(*demand))).collect();
        let (seen, _, _) = play(Server::workers(1).unwrap(), &acts, None);
        // Lindley's recursion.
        let (mut now_ns, mut free_ns) = (0, 0);
        for ((gap_ns, demand_ns), done) in demands.iter().zip(&seen.done) {
            now_ns += gap_ns;
            free_ns = now_ns.max(free_ns) + demand_ns;
            prop_assert_eq!(done.end_ns, free_ns);
        }
    }
}

/// The fast path keeps nothing but counts: they must be right.
#[test]
fn a_direct_server_tells_the_end_and_counts() {
    let [one, two] = keys();
    let mut server = Server::direct();
    assert_eq!(server.start(0, job(one, 100)), Started::Ends(100));
    assert_eq!(server.start(50, job(two, 100)), Started::Ends(150));
    assert_eq!((server.in_flight(), server.next_ns(), server.units()), (2, None, None));
    assert!(server.finish(100));
    assert!(server.abandon(120, two));
    assert!(!server.finish(130));
    assert_eq!((server.in_flight(), server.busy_ns(200)), (0, 100.0 + 70.0));
    server.start(200, job(one, 10));
    assert_eq!((server.drain(205), server.in_flight()), (vec![], 0));
}
