//! Tests of the cluster autoscaler, against upstream's rules by hand.

use proptest::prelude::*;

use super::super::demand::{Demand, PodId, Workload};
use super::super::pool::Pool;
use super::super::score::Scheduling;
use super::*;

const SECOND: u64 = 1_000_000_000;
const GIB: u64 = 1 << 30;

fn cpu(cpu_m: u64) -> Demand {
    Demand { cpu_m, memory: GIB, ..Demand::default() }
}

/// A fleet, its autoscaler and a clock that follows their wake-ups.
struct World {
    fleet: Fleet,
    autoscaler: Autoscaler,
    now_ns: u64,
    actions: Vec<(u64, Action)>,
    steps: u32,
}

impl World {
    fn new(pools: Vec<Pool>, settings: AutoscalerSettings) -> Self {
        let fleet = Fleet::new(pools, Scheduling::Spread).unwrap();
        let autoscaler = Autoscaler::new(settings, 0).unwrap();
        Self { fleet, autoscaler, now_ns: 0, actions: Vec::new(), steps: 0 }
    }

    fn submit(&mut self, pods: std::ops::Range<u64>, demand: &Demand) {
        for pod in pods {
            self.fleet.submit(self.now_ns, PodId(pod), Workload(0), demand.clone()).unwrap();
        }
        self.fleet.schedule(&mut Vec::new());
    }

    /// Runs until `until_s`. Evicted pods go at once and come back as others.
    fn run(&mut self, until_s: u64) {
        while let Some(wake_ns) =
            self.autoscaler.wake_ns(&self.fleet, self.now_ns).filter(|wake_ns| *wake_ns <= until_s * SECOND)
        {
            self.now_ns = wake_ns;
            self.steps += 1;
            assert!(self.steps < 2_000, "the autoscaler never rests");
            let mut actions = Vec::new();
            self.autoscaler.step(wake_ns, &mut self.fleet, &mut actions);
            for action in &actions {
                if let Action::Drained { evict, .. } = action {
                    for pod in evict {
                        let demand = self.fleet.demand_of(*pod).unwrap().clone();
                        self.fleet.release(*pod);
                        self.fleet.submit(wake_ns, PodId(pod.0 + 1_000), Workload(0), demand).unwrap();
                    }
                }
            }
            self.fleet.schedule(&mut Vec::new());
            self.actions.extend(actions.into_iter().map(|action| (wake_ns / SECOND, action)));
        }
        self.now_ns = self.now_ns.max(until_s * SECOND);
    }

    fn take(&mut self) -> Vec<(u64, String)> {
        let text = |action| match action {
            Action::Ordered { pool, .. } => format!("order {pool}"),
            Action::Joined { node, .. } => format!("join {}", node.0),
            Action::Drained { node, evict } => format!("drain {} of {}", node.0, evict.len()),
            Action::Removed { node, .. } => format!("remove {}", node.0),
        };
        self.actions.drain(..).map(|(at_s, action)| (at_s, text(action))).collect()
    }
}

fn expect(world: &mut World, expected: &[(u64, &str)]) {
    let expected: Vec<(u64, String)> =
        expected.iter().map(|(at_s, text)| (*at_s, (*text).to_owned())).collect();
    assert_eq!(world.take(), expected);
}

/// A burst would be planned with more or fewer nodes, or at other times, than in a real cluster.
#[test]
fn pending_pods_order_nodes_and_idle_ones_go() {
    let pool = Pool { least: 1, most: 4, ..Pool::new("cpu", 1, 4_000, 16 * GIB) };
    let mut world = World::new(vec![pool], AutoscalerSettings::default());
    world.run(15);
    expect(&mut world, &[]);
    // Five pods of 1.5 cores: two fit at once, two on each new node, so two nodes.
    world.submit(0..5, &cpu(1_500));
    world.run(100);
    expect(&mut world, &[(20, "order 0"), (20, "order 0")]);
    // Nothing is ordered twice for pods that will fit on what is on its way.
    world.run(200);
    expect(&mut world, &[(110, "join 1"), (110, "join 2")]);
    assert_eq!(world.fleet.pending().len(), 0);
    // Spread: node 1 and 2 have pods 2, 4 and 3. All but pod 0 go.
    for pod in 1..5 {
        world.fleet.release(PodId(pod));
    }
    world.run(3_000);
    // The change is seen at 200 s, more than 10 min later is 810 s; the cool-down ended at 620 s.
    expect(&mut world, &[(810, "remove 1"), (810, "remove 2")]);
    // The last node stays, and nothing is computed for it.
    let steps = world.steps;
    world.run(1_000_000);
    assert_eq!(world.steps, steps);
    assert_eq!(world.fleet.wanted(0), 1);
}

/// A half-empty cluster would be paid for ever; or two nodes would be emptied onto each other.
#[test]
fn little_used_nodes_are_drained_one_after_the_other() {
    let pool = Pool { least: 0, most: 4, ..Pool::new("cpu", 3, 4_000, 16 * GIB) };
    let settings = AutoscalerSettings { idle_ns: 60 * SECOND, ..AutoscalerSettings::default() };
    let mut world = World::new(vec![pool], settings);
    world.submit(0..3, &cpu(1_500));
    world.run(60);
    // Each node has one pod of 1.5 of 4 cores. Node 0's fits on node 1. Of the two there then one fits on node 2,
    // and node 2's does not fit on node 1: only node 0 goes, after more than 60 s.
    assert_eq!(world.autoscaler.unneeded().collect::<Vec<_>>(), [(NodeId(0), 0)]);
    world.run(10_000);
    expect(&mut world, &[(70, "drain 0 of 1"), (70, "remove 0")]);
    assert_eq!(world.fleet.pending().len(), 0);
    assert_eq!(world.fleet.ready(0), 2);
}

/// Nodes would be removed right after they were added, and cold starts begin anew.
#[test]
fn scale_down_waits_after_a_scale_up() {
    let pool = Pool { least: 0, most: 3, ..Pool::new("cpu", 1, 4_000, 16 * GIB) };
    let settings = AutoscalerSettings { idle_ns: 0, ..AutoscalerSettings::default() };
    let mut world = World::new(vec![pool], settings);
    world.submit(0..2, &cpu(3_000));
    world.run(95);
    expect(&mut world, &[(0, "order 0"), (90, "join 1")]);
    world.fleet.release(PodId(0));
    world.fleet.release(PodId(1));
    world.run(10_000);
    expect(&mut world, &[(600, "remove 0"), (600, "remove 1")]);
}

/// The bill would be that of another kind of node.
#[test]
fn expanders_choose_as_upstream_does() {
    let priced = |name: &str, cpu_m, memory, price| Pool {
        most: 10,
        price_micro_per_hour: price,
        ..Pool::new(name, 0, cpu_m, memory)
    };
    // Three pods of 1 core and 1 GiB. Pool 0: one node, wastes 5/8 and 13/16. Pool 1: three nodes, wastes
    // 0 and 1/2. Pool 2: two nodes of 2 cores, wastes 1/4 and 1/4.
    let pools = vec![
        priced("large", 8_000, 16 * GIB, 100_000),
        priced("small", 1_000, 2 * GIB, 90_000),
        priced("medium", 2_000, 2 * GIB, 140_000),
        priced("tiny", 500, GIB, 1),
    ];
    for (expander, expected) in
        [(Expander::LeastWaste, vec!["order 1"; 3]), (Expander::Cheapest, vec!["order 0"])]
    {
        let settings = AutoscalerSettings { expander, ..AutoscalerSettings::default() };
        let mut world = World::new(pools.clone(), settings);
        world.submit(0..3, &cpu(1_000));
        world.run(50);
        let expected: Vec<(u64, &str)> = expected.into_iter().map(|text| (0, text)).collect();
        expect(&mut world, &expected);
    }
    let pods = [&cpu(1_000), &cpu(1_000), &cpu(1_000)];
    let medium = scale_up::expand(2, &pools[2], 10, &pods).unwrap();
    assert_eq!((medium.nodes, medium.pods), (2, 3));
    assert!((medium.waste - 0.5).abs() < 1e-12);
    let one = scale_up::expand(2, &pools[2], 1, &pods).unwrap();
    assert_eq!((one.nodes, one.pods), (1, 2));
    assert_eq!(scale_up::expand(3, &pools[3], 10, &pods), None);
}

/// Bin packing would order more nodes than upstream for pods of different sizes. First-fit decreasing of 3, 3,
/// 2, 2, 1, 1 cores into nodes of 4: (3, 1), (3, 1), (2, 2).
#[test]
fn large_pods_are_packed_first() {
    let pool = Pool { most: 10, ..Pool::new("cpu", 0, 4_000, 16 * GIB) };
    let demands: Vec<Demand> = [1, 2, 3, 1, 2, 3].into_iter().map(|cores| cpu(cores * 1_000)).collect();
    let pods: Vec<&Demand> = demands.iter().collect();
    let expansion = scale_up::expand(0, &pool, 10, &pods).unwrap();
    assert_eq!((expansion.nodes, expansion.pods), (3, 6));
}

/// A pod that no pool can take would order nodes for ever, or a full pool go beyond its limit.
#[test]
fn hopeless_pods_order_nothing() {
    let gpu = Pool { gpus: 1, gpu_memory: 24 * GIB, most: 2, ..Pool::new("gpu", 1, 8_000, 32 * GIB) };
    let mut world = World::new(vec![gpu], AutoscalerSettings::default());
    world.submit(0..1, &Demand { gpus: 2, ..cpu(1) });
    world.submit(1..2, &cpu(9_000));
    world.run(1_000);
    expect(&mut world, &[]);
    let steps = world.steps;
    world.run(100_000);
    assert_eq!(world.steps, steps);
    world.submit(2..9, &Demand { gpus: 1, ..cpu(1) });
    world.run(200_000);
    expect(&mut world, &[(100_000, "order 0"), (100_090, "join 1")]);
    assert_eq!(world.fleet.pending().len(), 7);
    let why = world.fleet.why_pending(PodId(8)).unwrap();
    assert_eq!(why.to_string(), "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.");
}

/// A lost node would be paid for ever, or its place not be filled.
#[test]
fn lost_nodes_are_removed_and_replaced() {
    let pool = Pool { least: 1, most: 3, ..Pool::new("cpu", 2, 4_000, 16 * GIB) };
    let settings = AutoscalerSettings { restore_least: true, ..AutoscalerSettings::default() };
    let mut world = World::new(vec![pool], settings);
    world.submit(0..2, &cpu(3_000));
    world.run(100);
    assert_eq!(world.fleet.lose(NodeId(0)), [PodId(0)]);
    assert_eq!(world.fleet.give_up(NodeId(0)), [PodId(0)]);
    world.submit(2..3, &cpu(3_000));
    world.run(5_000);
    // A third node for the pod at 100 s, within `most`; unneeded since the next scan at 110 s, so that the lost
    // one goes more than 20 min later.
    expect(&mut world, &[(100, "order 0"), (190, "join 2"), (1_320, "remove 0")]);
    world.fleet.release(PodId(1));
    world.fleet.release(PodId(2));
    for node in [NodeId(1), NodeId(2)] {
        world.fleet.remove(node);
    }
    world.run(6_000);
    expect(&mut world, &[(5_000, "order 0"), (5_090, "join 3")]);
}

/// A wrong setting would give a plan for a cluster that cannot be.
#[test]
fn impossible_settings_are_refused() {
    let refused = |settings: AutoscalerSettings| Autoscaler::new(settings, 0).unwrap_err().to_string();
    let default = AutoscalerSettings::default;
    assert!(refused(AutoscalerSettings { scan_ns: 0, ..default() }).contains("scan is 0"));
    assert!(refused(AutoscalerSettings { utilisation_threshold: f64::NAN, ..default() }).contains("NaN"));
    assert!(refused(AutoscalerSettings { most_removed_at_once: 0, ..default() }).contains("scale-down"));
}

proptest! {
    /// Pools would leave their limits, or what a snapshot continues would differ from what was interrupted.
    #[test]
    fn limits_hold_and_snapshots_continue_alike(
        least in 0_u32..3,
        more in 0_u32..3,
        changes in proptest::collection::vec((1_u64..400, 0_u64..20, 200_u64..5_000, any::<bool>()), 1..40),
        idle_s in 0_u64..700,
    ) {
        let pools = vec![
            Pool { least, most: least + more + 2, ..Pool::new("a", least + more, 4_000, 16 * GIB) },
            Pool { most: 3, gpus: 1, ..Pool::new("b", 0, 8_000, 64 * GIB) },
        ];
        let settings = AutoscalerSettings {
            idle_ns: idle_s * SECOND,
            delay_after_add_ns: idle_s / 2 * SECOND,
            ..AutoscalerSettings::default()
        };
        let mut world = World::new(pools, settings);
        let mut until_s = 0;
        let mut last = None;
        for (wait_s, pod, cpu_m, lose) in changes {
            until_s += wait_s;
            world.steps = 0;
            world.run(until_s);
            if last.take().is_some() || world.fleet.node_of(PodId(pod)).is_some() {
                world.fleet.release(PodId(pod));
                world.fleet.release(PodId(pod + 1_000));
            } else if world.fleet.why_pending(PodId(pod)).is_none() {
                world.fleet.release(PodId(pod + 1_000));
                world.submit(pod..pod + 1, &Demand { gpus: u32::from(lose), ..cpu(cpu_m) });
                last = Some(pod);
            }
            for (index, pool) in world.fleet.pools().iter().enumerate() {
                prop_assert!(world.fleet.billed(index) <= pool.most);
                prop_assert!(world.fleet.wanted(index) >= pool.least);
            }
            // Interrupted and continued, it is the same.
            let text = serde_json::to_string(&(&world.fleet, &world.autoscaler)).unwrap();
            let (fleet, autoscaler): (Fleet, Autoscaler) = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&fleet, &world.fleet);
            prop_assert_eq!(&autoscaler, &world.autoscaler);
        }
    }
}
