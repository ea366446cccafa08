//! Tests of the nodes and the scheduler.

use proptest::prelude::*;

use super::*;

fn cpu(cpu_m: u64) -> Demand {
    Demand { cpu_m, memory: 1 << 30, ..Demand::default() }
}

fn fleet(pools: &[Pool], scheduling: Scheduling) -> Fleet {
    Fleet::new(pools.to_vec(), scheduling).unwrap()
}

fn place(fleet: &mut Fleet, pod: u64, workload: u32, demand: &Demand) -> Option<u32> {
    fleet.submit(0, PodId(pod), Workload(workload), demand.clone()).unwrap();
    let mut bound = Vec::new();
    fleet.schedule(&mut bound);
    bound.first().map(|bound| bound.node.0)
}

/// Replicas of one model would sit on one node and fall with it.
#[test]
fn spread_puts_pods_of_a_workload_on_different_nodes() {
    let mut fleet = fleet(&[Pool::new("cpu", 3, 8_000, 32 << 30)], Scheduling::Spread);
    // Equal nodes: the oldest wins. Then topology (weight 2) outweighs all else.
    assert_eq!(place(&mut fleet, 1, 0, &cpu(1_000)), Some(0));
    assert_eq!(place(&mut fleet, 2, 0, &cpu(1_000)), Some(1));
    assert_eq!(place(&mut fleet, 3, 0, &cpu(1_000)), Some(2));
    // Another workload goes where most is free.
    fleet.release(PodId(2));
    assert_eq!(place(&mut fleet, 4, 1, &cpu(1_000)), Some(1));
}

/// Replicas of one model would all be in the zone that fails.
#[test]
fn spread_counts_zones() {
    let zone = |name: &str, zone: &str, count| Pool {
        zone: zone.to_owned(),
        ..Pool::new(name, count, 8_000, 32 << 30)
    };
    let mut fleet = fleet(&[zone("a", "a", 2), zone("b", "b", 1)], Scheduling::Spread);
    assert_eq!(place(&mut fleet, 1, 0, &cpu(1_000)), Some(0));
    assert_eq!(place(&mut fleet, 2, 0, &cpu(1_000)), Some(2));
    // Now both zones have one pod: the host decides.
    assert_eq!(place(&mut fleet, 3, 0, &cpu(1_000)), Some(1));
}

/// Nodes would never become empty, so that the autoscaler could not remove them.
#[test]
fn pack_fills_the_fullest_node_first() {
    let mut fleet = fleet(&[Pool::new("cpu", 3, 4_000, 32 << 30)], Scheduling::Pack);
    let nodes: Vec<_> = (0..6).map(|pod| place(&mut fleet, pod, 0, &cpu(1_500))).collect();
    assert_eq!(nodes, [Some(0), Some(0), Some(1), Some(1), Some(2), Some(2)]);
    assert_eq!(place(&mut fleet, 6, 0, &cpu(1_500)), None);
    fleet.release(PodId(3));
    let mut bound = Vec::new();
    fleet.schedule(&mut bound);
    assert_eq!(bound, [Bound { pod: PodId(6), node: NodeId(1) }]);
}

/// A user could not tell why a pod is pending, or would be told what no scheduler says.
#[test]
fn reasons_for_pending_are_the_schedulers_words() {
    let gpu =
        Pool { gpus: 1, gpu_memory: 24 << 30, only_for_gpus: true, ..Pool::new("gpu", 1, 64_000, 32 << 30) };
    let mut fleet = fleet(&[Pool::new("cpu", 2, 2_000, 32 << 30), gpu], Scheduling::Spread);
    assert_eq!(place(&mut fleet, 1, 0, &Demand { gpus: 1, ..cpu(1_000) }), Some(2));
    assert_eq!(place(&mut fleet, 2, 0, &Demand { gpus: 1, ..cpu(4_000) }), None);
    assert_eq!(
        fleet.why_pending(PodId(2)).unwrap().to_string(),
        "0/3 nodes are available: 2 Insufficient cpu, 3 Insufficient nvidia.com/gpu."
    );
    assert_eq!(
        fleet.why(&cpu(4_000)).to_string(),
        "0/3 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: present}, \
         2 Insufficient cpu."
    );
    assert_eq!(
        fleet.why(&cpu(1).with_label("pool", "tpu")).to_string(),
        "0/3 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: present}, \
         2 node(s) didn't match Pod's node affinity/selector."
    );
    fleet.cordon(NodeId(0));
    fleet.lose(NodeId(1));
    fleet.give_up(NodeId(1));
    assert_eq!(
        fleet.why(&cpu(1)).to_string(),
        "0/3 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, \
         1 node(s) had untolerated taint {nvidia.com/gpu: present}, 1 node(s) were unschedulable."
    );
    assert_eq!(fleet.pending_by_reason(), BTreeMap::from([("Insufficient nvidia.com/gpu".to_owned(), 1)]));
    for node in [NodeId(0), NodeId(1), NodeId(2)] {
        fleet.remove(node);
    }
    assert_eq!(fleet.why(&cpu(1)).to_string(), "no nodes available to schedule pods");
}

/// A node would be known as lost when it is not, its pods be forgotten, or others be sent where nobody answers for ever.
#[test]
fn a_lost_node_takes_pods_until_that_is_known_and_keeps_them_until_they_are_released() {
    let mut fleet = fleet(&[Pool::new("cpu", 1, 4_000, 32 << 30)], Scheduling::Spread);
    assert_eq!(place(&mut fleet, 1, 0, &cpu(2_000)), Some(0));
    assert_eq!(fleet.give_up(NodeId(0)), [], "it answers");
    assert_eq!(fleet.lose(NodeId(0)), [PodId(1)]);
    assert_eq!(fleet.lose(NodeId(0)), []);
    assert_eq!((fleet.ready(0), fleet.wanted(0), fleet.billed(0)), (1, 1, 1));
    assert_eq!(place(&mut fleet, 2, 0, &cpu(1_000)), Some(0), "nobody knows yet");
    assert_eq!(fleet.give_up(NodeId(0)), [PodId(1), PodId(2)]);
    assert_eq!(fleet.give_up(NodeId(0)), []);
    assert_eq!((fleet.ready(0), fleet.wanted(0), fleet.billed(0)), (0, 1, 1));
    assert_eq!(place(&mut fleet, 3, 0, &cpu(1_000)), None);
    fleet.release(PodId(2));
    assert!(fleet.recover(NodeId(0)));
    assert!(!fleet.recover(NodeId(0)));
    let mut bound = Vec::new();
    fleet.schedule(&mut bound);
    assert_eq!(bound.len(), 1);
    assert!((fleet.allocation(0).cpu - 0.75).abs() < f64::EPSILON, "one pod never went");
}

/// A scenario without nodes would leave pods pending.
#[test]
fn a_node_without_limits_takes_everything() {
    let mut fleet = Fleet::unlimited();
    let huge = Demand { cpu_m: 1 << 40, memory: 1 << 50, gpus: 8, gpu_memory: 1 << 40, ..Demand::default() };
    for pod in 0..300 {
        assert_eq!(place(&mut fleet, pod, 0, &huge), Some(0));
    }
    assert_eq!(fleet.pools(), [Pool::unlimited()]);
    assert!(Pool::unlimited().check().is_ok());
}

/// A typing error in a scenario would be a cluster that nobody has.
#[test]
fn impossible_pools_are_refused() {
    let refused = |pools: Vec<Pool>| Fleet::new(pools, Scheduling::Spread).unwrap_err().to_string();
    let pool = Pool::new("cpu", 1, 1, 1);
    assert!(refused(vec![]).contains("pools"));
    assert!(refused(vec![pool.clone(), pool.clone()]).contains("another pool's"));
    assert!(refused(vec![Pool { most: 0, ..pool.clone() }]).contains("must not decrease"));
    assert!(refused(vec![Pool { cpu_m: 0, ..pool.clone() }]).contains("no pod ever fits"));
    assert!(refused(vec![Pool { gpu_shares: 0, ..pool.clone() }]).contains("gpu-shares is 0"));
    assert!(refused(vec![Pool { bandwidth_bits: Some(0), ..pool.clone() }]).contains("bandwidth"));
    assert!(refused(vec![Pool { only_for_gpus: true, ..pool }]).contains("without a GPU"));
}

#[derive(Clone, Debug)]
enum Step {
    Submit(u64, u32, Demand),
    Schedule,
    Release(u64),
    Lose(u32),
    GiveUp(u32),
    Recover(u32),
    Cordon(u32),
    Remove(u32),
    Order(usize),
}

fn demands() -> impl Strategy<Value = Demand> {
    (0_u64..5_000, 0_u64..100, 0_u32..4, 0_u64..60).prop_map(|(cpu_m, memory, gpus, gpu_memory)| Demand {
        cpu_m,
        memory,
        gpus,
        gpu_memory,
        selector: BTreeMap::new(),
    })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u64..30, 0_u32..3, demands()).prop_map(|(pod, work, demand)| Step::Submit(pod, work, demand)),
        6 => Just(Step::Schedule),
        4 => (0_u64..30).prop_map(Step::Release),
        1 => (0_u32..8).prop_map(Step::Lose),
        1 => (0_u32..8).prop_map(Step::GiveUp),
        1 => (0_u32..8).prop_map(Step::Recover),
        1 => (0_u32..8).prop_map(Step::Cordon),
        1 => (0_u32..8).prop_map(Step::Remove),
        1 => (0_usize..3).prop_map(Step::Order),
    ]
}

fn check(fleet: &Fleet) {
    for (id, node) in fleet.nodes() {
        let pool = &fleet.pools[node.pool];
        let demands: Vec<&Demand> = node.pods().map(|pod| &fleet.placed[&pod].demand).collect();
        let sum = |of: fn(&Demand) -> u64| demands.iter().map(|demand| of(demand)).sum::<u64>();
        assert_eq!(node.room.cpu_m + sum(|demand| demand.cpu_m), pool.cpu_m, "{id:?}");
        assert_eq!(node.room.memory + sum(|demand| demand.memory), pool.memory, "{id:?}");
        let slots: u32 = node.room.gpus.iter().flatten().map(|gpu| gpu.slots).sum();
        assert_eq!(
            u64::from(slots) + sum(|demand| u64::from(demand.gpu_slots())),
            u64::from(pool.gpu_slots())
        );
        assert_eq!(node.pods().len() + node.room.pods as usize, pool.most_pods as usize);
        assert_eq!(node.workloads.values().sum::<u32>() as usize, node.pods().len());
        if matches!(node.state, NodeState::Provisioning { .. }) {
            assert_eq!(node.pods().len(), 0);
        }
    }
    assert_eq!(fleet.waiting.len(), fleet.pending.len());
    assert_eq!(fleet.untried, fleet.pending().filter(|waiting| !waiting.unschedulable).count());
    let on_nodes: usize = fleet.nodes().map(|(_, node)| node.pods().len()).sum();
    assert_eq!(on_nodes, fleet.placed.len());
}

proptest! {
    /// Nodes would hold more than they have, or pods would vanish from the books.
    #[test]
    fn no_node_is_over_allocated(
        steps in proptest::collection::vec(steps(), 1..80),
        shares in 1_u32..4,
        pack in any::<bool>(),
    ) {
        let gpu = Pool { gpus: 2, gpu_memory: 40, gpu_shares: shares, most: 9, ..Pool::new("gpu", 1, 8_000, 200) };
        let cpu = Pool { most_pods: 3, ..Pool::new("cpu", 2, 6_000, 150) };
        let how = if pack { Scheduling::Pack } else { Scheduling::Spread };
        let mut fleet = Fleet::new(vec![gpu, cpu], how).unwrap();
        let mut bound = Vec::new();
        for (now_ns, step) in (0_u64..).zip(steps) {
            match step {
                Step::Submit(pod, workload, demand) => {
                    let known = fleet.node_of(PodId(pod)).is_some() || fleet.why_pending(PodId(pod)).is_some();
                    let submitted = fleet.submit(now_ns, PodId(pod), Workload(workload), demand);
                    prop_assert_eq!(submitted.is_err(), known);
                }
                Step::Schedule => {
                    fleet.schedule(&mut bound);
                    // Nothing that fits is left waiting.
                    for waiting in fleet.pending() {
                        prop_assert!(fleet.best_node(&waiting.demand, waiting.workload).is_none());
                        let why = fleet.why(&waiting.demand);
                        prop_assert!(why.nodes == 0 || !why.reasons.is_empty());
                    }
                }
                Step::Release(pod) => drop(fleet.release(PodId(pod))),
                Step::Lose(node) => drop(fleet.lose(NodeId(node))),
                Step::GiveUp(node) => drop(fleet.give_up(NodeId(node))),
                Step::Recover(node) => drop(fleet.recover(NodeId(node))),
                Step::Cordon(node) => drop(fleet.cordon(NodeId(node))),
                Step::Remove(node) => drop(fleet.remove(NodeId(node))),
                Step::Order(pool) => drop(fleet.order(pool, now_ns + 3)),
            }
            fleet.provisioned(now_ns, &mut Vec::new());
            check(&fleet);
        }
        let text = serde_json::to_string(&fleet).unwrap();
        prop_assert_eq!(serde_json::from_str::<Fleet>(&text).unwrap(), fleet);
    }
}
