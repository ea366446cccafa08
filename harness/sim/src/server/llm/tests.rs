//! Traces by hand, and an engine that is stepped token by token as the reference.

use proptest::prelude::*;

use super::*;
use crate::server::tests::{all_keys, keys};

const MS: u64 = 1_000_000;

/// A token of context takes 1 ms, a step 10 ms and `slowdown` more for every further request.
fn engine(slots: u32, kv_tokens: u64, slowdown: f64, admission: KvAdmission) -> Llm {
    let (prefill_per_s, decode_per_s) = (1_000.0, 100.0);
    Llm::new(LlmSettings { prefill_per_s, decode_per_s, slowdown, slots, kv_tokens, admission }).unwrap()
}

fn job(key: Key, context_tokens: u32, generated_tokens: u32) -> Job {
    Job { key, demand_ns: 0, context_tokens, generated_tokens }
}

/// (request, begin, first token, end) in milliseconds.
fn times(done: &[Finished]) -> Vec<(Key, u64, u64, u64)> {
    let ms =
        |done: &Finished| (done.key, done.begin_ns / MS, done.first_token_ns.unwrap() / MS, done.end_ns / MS);
    done.iter().map(ms).collect()
}

/// Time to first token and time per token are what a language model is bought by; by hand, in milliseconds.
#[test]
fn a_second_request_joins_at_the_next_step() {
    let [one, two] = keys();
    let mut engine = engine(2, 1_000, 0.5, KvAdmission::Preempt);
    let mut done = Vec::new();
    // Prefill until 10, steps until 20 and 30.
    engine.start(0, &job(one, 10, 3));
    engine.advance(12 * MS, &mut done);
    engine.start(12 * MS, &job(two, 5, 2));
    assert_eq!(engine.next_ns(), Some(20 * MS));
    assert!((engine.kv_share(20 * MS) - 12.0 / 1_000.0).abs() < 1e-12);
    // At 20 the second's prefill holds the first up until 25; their step together takes 15.
    engine.advance(20 * MS, &mut done);
    assert_eq!(engine.next_ns(), Some(25 * MS));
    engine.advance(25 * MS, &mut done);
    assert_eq!((engine.next_ns(), done.len()), (Some(40 * MS), 0));
    engine.advance(100 * MS, &mut done);
    assert_eq!(times(&done), [(one, 0, 10, 40), (two, 20, 25, 40)]);
    assert_eq!((done[0].per_token_ns(), done[1].per_token_ns()), (Some(15 * MS), Some(15 * MS)));
    assert_eq!(engine.busy_ns(100 * MS), 40e6);
    assert_eq!(engine.kv_share(100 * MS), 0.0);
}

/// Who finds no slot waits for one, and an answer of one token ends with its prefill.
#[test]
fn slots_limit_the_batch() {
    let [one, two] = keys();
    for (slots, expected) in
        [(1, [(one, 0, 10, 20), (two, 20, 30, 30)]), (2, [(two, 10, 20, 20), (one, 0, 10, 30)])]
    {
        let mut engine = engine(slots, 1_000, 0.0, KvAdmission::Preempt);
        engine.start(0, &job(one, 10, 2));
        engine.start(0, &job(two, 10, 1));
        let mut done = Vec::new();
        engine.advance(1_000 * MS, &mut done);
        assert_eq!(times(&done), expected);
        assert_eq!(done.iter().find(|done| done.key == two).unwrap().per_token_ns(), None);
    }
}

/// When the cache is full the last one in loses its part and pays for it: the cause of slow tails under load.
#[test]
fn an_overflow_puts_the_last_admitted_out() {
    let [one, two] = keys();
    let mut engine = engine(8, 20, 0.0, KvAdmission::Preempt);
    engine.start(0, &job(one, 8, 6));
    engine.start(0, &job(two, 5, 6));
    let mut done = Vec::new();
    let mut instants = Vec::new();
    while let Some(next_ns) = engine.next_ns() {
        instants.push(next_ns / MS);
        engine.advance(next_ns, &mut done);
        assert!(engine.kv_share(next_ns) <= 1.0);
    }
    // Prefills until 8 and 13 hold 9 + 6 tokens; two steps make it 19 of 20. At 33 the second goes with its three
    // tokens, the first ends at 63, and then 5 + 3 tokens are computed again, which gives the fourth at 71.
    assert_eq!(instants, [8, 13, 33, 63, 71, 91]);
    assert_eq!(times(&done), [(one, 0, 8, 63), (two, 8, 13, 91)]);
    assert_eq!((done[0].preemptions, done[1].preemptions), (0, 1));
}

/// With reservation nobody is put out: the second waits for the end of the first.
#[test]
fn a_reservation_waits_for_room_for_the_whole_answer() {
    let [one, two] = keys();
    let mut engine = engine(8, 20, 0.0, KvAdmission::Reserve);
    engine.start(0, &job(one, 8, 6));
    engine.start(0, &job(two, 5, 6));
    assert_eq!(engine.kv_share(0), 14.0 / 20.0);
    let mut done = Vec::new();
    engine.advance(1_000 * MS, &mut done);
    assert_eq!(times(&done), [(one, 0, 8, 58), (two, 58, 63, 113)]);
}

/// A request longer than the whole cache could never run: it must be refused, not block the line for ever.
#[test]
fn what_never_fits_is_refused() {
    let [one] = keys();
    let mut engine = engine(8, 20, 0.0, KvAdmission::Preempt);
    assert_eq!(engine.start(0, &job(one, 15, 6)), Started::Refused(Refusal::TooLong));
    assert_eq!(engine.start(0, &job(one, 20, 0)), Started::Refused(Refusal::TooLong));
    assert_eq!(engine.start(0, &job(one, 14, 6)), Started::Within);
}

/// A client that goes away in the middle of a step keeps its place until the step ends, and no longer.
#[test]
fn who_gives_up_leaves_at_the_end_of_the_step() {
    let [one, two, three] = keys();
    let mut engine = engine(1, 1_000, 0.0, KvAdmission::Preempt);
    for key in [one, two, three] {
        engine.start(0, &job(key, 10, 10));
    }
    let mut done = Vec::new();
    engine.advance(25 * MS, &mut done);
    assert!(engine.abandon(25 * MS, one));
    assert!(!engine.abandon(25 * MS, one));
    assert_eq!((engine.running(), engine.waiting(), engine.next_ns()), (0, 2, Some(30 * MS)));
    engine.advance(30 * MS, &mut done);
    // The second is in prefill until 40: that is not interrupted either.
    assert!(engine.abandon(35 * MS, two));
    engine.advance(1_000 * MS, &mut done);
    assert_eq!(times(&done), [(three, 40, 50, 140)]);
}

/// What a warm-up or a tokeniser costs comes before the first token, once.
#[test]
fn a_demand_comes_on_top_of_the_prefill() {
    let [one] = keys();
    let mut engine = engine(1, 1_000, 0.0, KvAdmission::Preempt);
    engine.start(0, &Job { demand_ns: 7 * MS, ..job(one, 10, 2) });
    let mut done = Vec::new();
    engine.advance(1_000 * MS, &mut done);
    assert_eq!(times(&done), [(one, 0, 17, 27)]);
    assert_eq!(engine.settings.alone_ns(10, 2), 20 * MS);
}

/// A request of the reference: context, generated, tokens done, preemptions, first token.
#[derive(Clone)]
struct Plain {
    key: Key,
    context: u64,
    generated: u64,
    done: u64,
    preemptions: u32,
    first_ns: Option<u64>,
}

/// Every iteration on its own, as an engine would really run: (request, first token, end, preemptions).
fn step_by_step(settings: &LlmSettings, arrivals: &[(u64, Job)]) -> Vec<(Key, u64, u64, u32)> {
    let (mut now_ns, mut coming) = (0, arrivals.iter().peekable());
    let (mut waiting, mut running): (VecDeque<Plain>, Vec<Plain>) = (VecDeque::new(), Vec::new());
    let mut ends = Vec::new();
    loop {
        if waiting.is_empty() && running.is_empty() {
            let Some((at_ns, _)) = coming.peek() else { break };
            now_ns = now_ns.max(*at_ns);
        }
        while let Some((_, job)) = coming.next_if(|(at_ns, _)| *at_ns <= now_ns) {
            let (context, generated) = (u64::from(job.context_tokens), u64::from(job.generated_tokens));
            if context + generated.max(1) <= settings.kv_tokens {
                let (key, done, preemptions, first_ns) = (job.key, 0, 0, None);
                waiting.push_back(Plain { key, context, generated, done, preemptions, first_ns });
            }
        }
        let reserves = settings.admission == KvAdmission::Reserve;
        let held = |one: &Plain| one.context + if reserves { one.generated.max(1) } else { one.done };
        let used: u64 = running.iter().map(held).sum();
        let room = settings.kv_tokens - used;
        let fits = |head: &Plain| {
            let margin = running.len() as u64 + 1 + settings.kv_tokens / 100;
            let need = if reserves { held(head) } else { held(head) + 1 + margin };
            running.is_empty() || (running.len() < settings.slots as usize && need <= room)
        };
        if let Some(mut head) = waiting.pop_front_if(|head| fits(head)) {
            now_ns += ((head.context + head.done) as f64 * 1e9 / settings.prefill_per_s).round() as u64;
            head.done += 1;
            head.first_ns = head.first_ns.or(Some(now_ns));
            if head.done >= head.generated {
                ends.push((head.key, head.first_ns.unwrap(), now_ns, head.preemptions));
            } else {
                running.push(head);
            }
            continue;
        }
        while !reserves && running.iter().map(held).sum::<u64>() + running.len() as u64 > settings.kv_tokens {
            let mut last = running.pop().unwrap();
            last.preemptions += 1;
            waiting.push_front(last);
        }
        let further = running.len().saturating_sub(1) as f64;
        if !running.is_empty() {
            now_ns += (1e9 / settings.decode_per_s * (1.0 + settings.slowdown * further)).round() as u64;
        }
        running.iter_mut().for_each(|one| one.done += 1);
        for one in running.extract_if(.., |one| one.done >= one.generated) {
            ends.push((one.key, one.first_ns.unwrap(), now_ns, one.preemptions));
        }
    }
    ends
}

proptest! {
    /// The shortcut over equal steps must give the very nanosecond that stepping through every token gives.
    #[test]
    fn the_engine_ends_as_if_stepped_token_by_token(
        gaps in prop::collection::vec((0_u64..200, 0_u32..60, 0_u32..40), 1..40),
        slots in 1_u32..6,
        kv_tokens in 50_u64..400,
        slowdown in 0.0..0.6,
        reserves: bool,
    ) {
        let admission = if reserves { KvAdmission::Reserve } else { KvAdmission::Preempt };
        let mut engine = engine(slots, kv_tokens, slowdown, admission);
        let mut at_ns = 0;
        let arrivals: Vec<(u64, Job)> = gaps.iter().zip(all_keys(40)).map(|((gap, context, generated), key)| {
            at_ns += gap * MS / 2;
            (at_ns, job(key, *context, *generated))
        }).collect();
        let mut done = Vec::new();
        for (at_ns, job) in &arrivals {
            engine.advance(*at_ns, &mut done);
            engine.start(*at_ns, job);
            prop_assert!(engine.kv_share(*at_ns) <= 1.0);
        }
        engine.advance(u64::MAX, &mut done);
        let got: Vec<_> = done.iter()
            .map(|done| (done.key, done.first_token_ns.unwrap(), done.end_ns, done.preemptions)).collect();
        prop_assert_eq!(got, step_by_step(&engine.settings, &arrivals));
        prop_assert_eq!((engine.kv_used, engine.running(), engine.waiting()), (0, 0, 0));
    }
}
