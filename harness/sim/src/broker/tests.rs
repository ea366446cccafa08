//! Hand-made histories, and the laws of both brokers.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::server::tests::{all_keys, keys};

fn rabbit() -> Broker {
    Broker::rabbit(RabbitSettings { prefetch: 2, visibility_ns: 100, deliveries: 2 }).unwrap()
}

fn kafka(partitions: u32, prefetch: u32) -> Broker {
    let (visibility_ns, deliveries, rebalance_ns) = (100, 0, 10);
    Broker::kafka(KafkaSettings { partitions, prefetch, visibility_ns, deliveries, rebalance_ns }).unwrap()
}

fn counts(broker: &Broker) -> [u64; 5] {
    let counts = broker.counts();
    [counts.published, counts.acked, counts.ready, counts.unacked, counts.dead]
}

fn deliveries(broker: &mut Broker, now_ns: u64) -> Vec<Delivery> {
    std::iter::from_fn(|| broker.dispatch(now_ns)).collect()
}

fn who(deliveries: &[Delivery]) -> Vec<(Key, Key)> {
    deliveries.iter().map(|delivery| (delivery.message, delivery.consumer)).collect()
}

/// Consumers take turns and none gets more than its prefetch: what it cannot take must wait for the others.
#[test]
fn rabbit_deals_messages_out_up_to_the_prefetch() {
    let [one, two, a, b, c, d, e] = keys();
    let mut broker = rabbit();
    [a, b, c, d, e].iter().for_each(|message| assert!(broker.publish(0, *message)));
    assert_eq!(broker.dispatch(0), None);
    broker.consumer_joined(0, one);
    broker.consumer_joined(0, two);
    let got = deliveries(&mut broker, 0);
    assert_eq!(who(&got), [(a, one), (b, two), (c, one), (d, two)]);
    assert_eq!((counts(&broker), broker.lag()), ([5, 0, 1, 4, 0], 5));
    assert!(broker.ack(10, got[1].tag));
    assert!(!broker.ack(10, got[1].tag));
    assert_eq!(who(&deliveries(&mut broker, 10)), [(e, two)]);
    assert_eq!((counts(&broker), broker.lag()), ([5, 1, 0, 4, 0], 4));
}

/// A message whose consumer dies or hangs is computed again, before younger ones, but not for ever.
#[test]
fn rabbit_takes_back_what_is_not_acknowledged_and_gives_up_in_the_end() {
    let [one, two, a, b, c] = keys();
    let mut broker = rabbit();
    broker.consumer_joined(0, one);
    [a, b, c].iter().for_each(|message| assert!(broker.publish(0, *message)));
    let first = deliveries(&mut broker, 0);
    let mut lost = Vec::new();
    broker.consumer_joined(20, two);
    broker.consumer_left(20, one, &mut lost);
    assert_eq!(
        lost.iter().map(|lost| (lost.message, lost.fate)).collect::<Vec<_>>(),
        [(a, Fate::Requeued), (b, Fate::Requeued)]
    );
    let second = deliveries(&mut broker, 30);
    assert_eq!(who(&second), [(a, two), (b, two)]);
    assert_eq!(second[0].deliveries, 2);
    // The answer of the dead consumer comes too late.
    assert!(!broker.ack(40, first[0].tag));
    assert_eq!(broker.reject(50, second[1].tag).map(|lost| lost.fate), Some(Fate::Dead));
    assert_eq!(who(&deliveries(&mut broker, 60)), [(c, two)]);
    assert_eq!(broker.next_timeout_ns(), Some(130));
    lost.clear();
    broker.expire(130, &mut lost);
    assert_eq!(lost.iter().map(|lost| (lost.message, lost.fate)).collect::<Vec<_>>(), [(a, Fate::Dead)]);
    assert_eq!((counts(&broker), broker.next_timeout_ns()), ([3, 0, 0, 1, 2], Some(160)));
}

/// More consumers than partitions are idle: scaling beyond them is money for nothing.
#[test]
fn kafka_gives_each_partition_to_one_consumer_by_range() {
    let consumers = all_keys(4);
    let messages = all_keys(20);
    for (members, expected) in [(1, vec![3]), (2, vec![2, 1]), (3, vec![1, 1, 1]), (4, vec![1, 1, 1, 0])] {
        let mut broker = kafka(3, 10);
        messages.iter().take(9).for_each(|message| assert!(broker.publish(0, *message)));
        for consumer in &consumers[..members] {
            broker.consumer_joined(0, *consumer);
        }
        assert_eq!(broker.dispatch(9), None);
        broker.expire(10, &mut Vec::new());
        let mut partitions: BTreeMap<Key, BTreeSet<u32>> = BTreeMap::new();
        for delivery in deliveries(&mut broker, 10) {
            partitions.entry(delivery.consumer).or_default().insert(delivery.tag.partition);
        }
        let owned = |consumer| partitions.get(consumer).map_or(0, BTreeSet::len);
        assert_eq!(consumers[..members].iter().map(owned).collect::<Vec<_>>(), expected);
    }
}

/// Lag counts what is done behind a gap too, and after a rebalance that work is done twice.
#[test]
fn kafka_commits_only_up_to_the_first_gap() {
    let [one, two, a, b, c, d] = keys();
    let mut broker = kafka(1, 3);
    let mut lost = Vec::new();
    broker.consumer_joined(0, two);
    broker.expire(10, &mut lost);
    [a, b, c, d].iter().for_each(|message| assert!(broker.publish(10, *message)));
    let got = deliveries(&mut broker, 10);
    assert_eq!(who(&got), [(a, two), (b, two), (c, two)]);
    assert!(broker.ack(20, got[1].tag));
    assert!(broker.ack(20, got[2].tag));
    assert_eq!((counts(&broker), broker.lag()), ([4, 0, 1, 3, 0], 4));
    assert_eq!(broker.offsets(), [PartitionOffsets { latest: 4, committed: None }]);
    // The first by key takes the partition over; meanwhile acknowledgements still count.
    broker.consumer_joined(30, one);
    assert_eq!((broker.dispatch(30), broker.next_timeout_ns()), (None, Some(40)));
    broker.expire(40, &mut lost);
    assert_eq!(lost.iter().map(|lost| (lost.message, lost.fate)).collect::<Vec<_>>(), [(a, Fate::Requeued)]);
    let again = deliveries(&mut broker, 40);
    assert_eq!(who(&again), [(a, one), (b, one), (c, one)]);
    assert_eq!(again.iter().map(|delivery| delivery.is_duplicate).collect::<Vec<_>>(), [false, true, true]);
    assert!(!broker.ack(41, got[0].tag));
    assert!(again.iter().all(|delivery| broker.ack(50, delivery.tag)));
    assert_eq!((counts(&broker), broker.lag()), ([4, 3, 1, 0, 0], 1));
    assert_eq!(broker.offsets(), [PartitionOffsets { latest: 4, committed: Some(3) }]);
}

/// A consumer that hangs stops the whole group for a rebalance.
#[test]
fn kafka_puts_a_late_consumer_out_of_the_group() {
    let [one, two, a, b, c] = keys();
    let mut broker = kafka(2, 1);
    let mut lost = Vec::new();
    broker.consumer_joined(0, one);
    broker.consumer_joined(5, two);
    assert_eq!(broker.next_timeout_ns(), Some(15));
    broker.expire(15, &mut lost);
    [a, b, c].iter().for_each(|message| assert!(broker.publish(15, *message)));
    let got = deliveries(&mut broker, 15);
    assert_eq!(who(&got), [(a, one), (b, two)]);
    assert!(broker.ack(30, got[1].tag));
    broker.expire(115, &mut lost);
    assert_eq!(lost.iter().map(|lost| (lost.message, lost.consumer)).collect::<Vec<_>>(), [(a, one)]);
    assert_eq!((broker.dispatch(115), broker.next_timeout_ns()), (None, Some(125)));
    broker.expire(125, &mut lost);
    assert_eq!(who(&deliveries(&mut broker, 125)), [(a, one)]);
    assert_eq!(broker.consumers(), 2);
}

/// Settings that could never work are told apart.
#[test]
fn impossible_settings_are_refused() {
    let settings =
        KafkaSettings { partitions: 0, prefetch: 1, visibility_ns: 1, deliveries: 0, rebalance_ns: 0 };
    assert_eq!(
        Broker::kafka(settings).unwrap_err().to_string(),
        "number of partitions of a topic is 0: take at least 1"
    );
    Broker::kafka(KafkaSettings { partitions: 1, prefetch: 0, ..settings }).unwrap_err();
    Broker::rabbit(RabbitSettings { prefetch: 0, visibility_ns: 0, deliveries: 0 }).unwrap_err();
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Publish,
    Join(usize),
    Leave(usize),
    Poll(usize),
    Dispatch,
    Ack(usize),
    Reject(usize),
}

fn acts() -> impl Strategy<Value = Vec<(u64, Act)>> {
    let act = prop_oneof![
        6 => Just(Act::Publish),
        1 => (0_usize..4).prop_map(Act::Join),
        1 => (0_usize..4).prop_map(Act::Leave),
        2 => (0_usize..4).prop_map(Act::Poll),
        6 => Just(Act::Dispatch),
        4 => (0_usize..8).prop_map(Act::Ack),
        1 => (0_usize..8).prop_map(Act::Reject),
    ];
    prop::collection::vec((0_u64..30, act), 1..150)
}

fn brokers() -> [Broker; 4] {
    let settings =
        KafkaSettings { partitions: 3, prefetch: 2, visibility_ns: 80, deliveries: 3, rebalance_ns: 7 };
    [
        rabbit(),
        Broker::rabbit(RabbitSettings { prefetch: 0, visibility_ns: 50, deliveries: 0 }).unwrap(),
        Broker::kafka(settings).unwrap(),
        Broker::kafka(KafkaSettings { partitions: 1, prefetch: 4, rebalance_ns: 0, ..settings }).unwrap(),
    ]
}

/// Plays the acts, checks the laws after each, and restores the broker from writing before one of them.
fn play(mut broker: Broker, acts: &[(u64, Act)], restore: Option<usize>) -> (Broker, Vec<Delivery>) {
    let (consumers, messages) = (all_keys(4), all_keys(acts.len() + 4));
    let (mut now_ns, mut lost, mut got) = (0, Vec::new(), Vec::new());
    // What is out, as the consumers see it.
    let mut out: Vec<Delivery> = Vec::new();
    let mut ended: BTreeSet<Key> = BTreeSet::new();
    for (number, (gap_ns, act)) in acts.iter().enumerate() {
        if restore == Some(number) {
            broker = serde_json::from_str(&serde_json::to_string(&broker).unwrap()).unwrap();
        }
        now_ns += gap_ns;
        while let Some(due_ns) = broker.next_timeout_ns().filter(|due_ns| *due_ns <= now_ns) {
            broker.expire(due_ns, &mut lost);
        }
        out.retain(|delivery| !lost.iter().any(|lost| lost.tag == delivery.tag));
        lost.clear();
        let mut delivered = None;
        match *act {
            Act::Publish => assert!(broker.publish(now_ns, messages[number + 4])),
            Act::Join(which) => broker.consumer_joined(now_ns, consumers[which]),
            Act::Leave(which) => broker.consumer_left(now_ns, consumers[which], &mut lost),
            Act::Poll(which) => delivered = broker.poll(now_ns, consumers[which]),
            Act::Dispatch => delivered = broker.dispatch(now_ns),
            Act::Ack(which) if which < out.len() => {
                let delivery = out.remove(which);
                assert!(broker.ack(now_ns, delivery.tag), "a delivery that was never taken back is valid");
                assert!(ended.insert(delivery.message) || delivery.is_duplicate);
            }
            Act::Reject(which) if which < out.len() => {
                let gone = broker.reject(now_ns, out.remove(which).tag).unwrap();
                lost.push(gone);
            }
            Act::Ack(_) | Act::Reject(_) => {}
        }
        out.retain(|delivery| !lost.iter().any(|lost| lost.tag == delivery.tag));
        for lost in lost.drain(..).filter(|lost| lost.fate == Fate::Dead) {
            ended.insert(lost.message);
        }
        if let Some(delivery) = delivered {
            assert_eq!(
                ended.contains(&delivery.message),
                delivery.is_duplicate,
                "an ended message comes back"
            );
            out.push(delivery);
            got.push(delivery);
        }
        let counts = broker.counts();
        assert!(counts.is_conserved(), "{counts:?}");
        assert!(counts.unacked >= out.len() as u64);
        assert_eq!(broker.lag(), counts.depth() + broker_gap(&broker));
    }
    (broker, got)
}

/// Dead letters that no commit covers yet: they count as lag.
fn broker_gap(broker: &Broker) -> u64 {
    let counts = broker.counts();
    let committed: u64 = broker.offsets().iter().map(|offsets| offsets.committed.unwrap_or(0)).sum();
    counts.acked + counts.dead - committed
}

proptest! {
    /// A message that is in two places is computed twice for nothing, one that is in none is never computed.
    #[test]
    fn every_message_is_in_one_place_and_forks_go_on_the_same(acts in acts(), restore in 0_usize..150) {
        for broker in brokers() {
            let plain = play(broker.clone(), &acts, None);
            let restored = play(broker, &acts, Some(restore % acts.len()));
            prop_assert_eq!(plain, restored);
        }
    }

    /// Order within a partition is the reason to have partitions.
    #[test]
    fn first_deliveries_keep_the_order_of_their_partition(acts in acts()) {
        for broker in brokers() {
            let (_, got) = play(broker, &acts, None);
            let mut last: BTreeMap<u32, u64> = BTreeMap::new();
            for delivery in got.iter().filter(|delivery| delivery.deliveries == 1) {
                let before = last.insert(delivery.tag.partition, delivery.tag.offset);
                prop_assert!(before.is_none_or(|before| before < delivery.tag.offset));
            }
        }
    }
}
