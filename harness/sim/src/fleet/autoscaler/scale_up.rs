//! Which nodes to order for the pods that are pending.

use std::cmp::Ordering;

use super::super::demand::Demand;
use super::super::node::NodeState;
use super::super::nodes::Fleet;
use super::super::pool::Pool;
use super::super::room::Room;
use super::{AutoscalerSettings, Expander};

/// What a pool could do for the pending pods.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expansion {
    pub(super) pool: usize,
    pub(super) nodes: u32,
    pub(super) pods: u64,
    pub(super) waste: f64,
}

/// How many nodes to order of which pool. At most one pool is expanded for pods, as upstream does in one scan.
pub(super) fn orders(settings: &AutoscalerSettings, fleet: &Fleet) -> Vec<(usize, u32)> {
    let mut orders = Vec::new();
    if settings.restore_least {
        for (index, pool) in fleet.pools().iter().enumerate() {
            let missing = pool.least.saturating_sub(fleet.wanted(index));
            if missing > 0 {
                orders.push((index, missing));
            }
        }
    }
    let homeless = homeless(fleet);
    if homeless.is_empty() || !orders.is_empty() {
        return orders;
    }
    let expansions = fleet.pools().iter().enumerate().filter_map(|(index, pool)| {
        let room = pool.most.saturating_sub(fleet.billed(index));
        expand(index, pool, room, &homeless)
    });
    let best = expansions.min_by(|one, other| compare(settings.expander, fleet.pools(), one, other));
    orders.extend(best.map(|best| (best.pool, best.nodes)));
    orders
}

/// Unschedulable pods that fit neither on a ready node nor on one that is on its way.
fn homeless(fleet: &Fleet) -> Vec<&Demand> {
    let mut rooms: Vec<(usize, Room)> = fleet
        .nodes()
        .filter(|(_, node)| matches!(node.state, NodeState::Ready | NodeState::Provisioning { .. }))
        .map(|(_, node)| (node.pool, node.room.clone()))
        .collect();
    let mut homeless = Vec::new();
    let mut hopeless: Option<&Demand> = None;
    for waiting in fleet.pending().filter(|waiting| waiting.unschedulable) {
        let demand = &waiting.demand;
        // Rooms only get smaller, so what did not fit does not fit.
        let found = if hopeless == Some(demand) {
            None
        } else {
            rooms
                .iter_mut()
                .find(|(pool, room)| room.fits(demand) && fleet.pools()[*pool].refuses(demand).is_none())
        };
        if let Some((_, room)) = found {
            room.take(demand);
        } else {
            hopeless = Some(demand);
            homeless.push(demand);
        }
    }
    homeless
}

/// First-fit decreasing: the largest pods first, each on the first new node that has room, and at most `most`
/// nodes. `None` when that helps nobody.
pub(super) fn expand(index: usize, pool: &Pool, most: u32, pods: &[&Demand]) -> Option<Expansion> {
    let empty = Room::of(pool);
    let size =
        |demand: &Demand| demand.cpu_m as f64 / pool.cpu_m as f64 + demand.memory as f64 / pool.memory as f64;
    let mut pods: Vec<&Demand> =
        pods.iter().copied().filter(|demand| pool.refuses(demand).is_none() && empty.fits(demand)).collect();
    pods.sort_by(|one, other| size(other).total_cmp(&size(one)));
    let mut rooms: Vec<Room> = Vec::new();
    let (mut placed, mut cpu_m, mut memory) = (0_u64, 0_u128, 0_u128);
    let mut before: Option<(&Demand, usize)> = None;
    for demand in pods {
        // A pod like the one before fits no earlier than that one.
        let from = before.filter(|(like, _)| *like == demand).map_or(0, |(_, from)| from);
        let found = (from..rooms.len()).find(|room| rooms[*room].fits(demand));
        let room = match found {
            Some(room) => room,
            None if rooms.len() < most as usize => {
                rooms.push(empty.clone());
                rooms.len() - 1
            }
            None => {
                before = Some((demand, rooms.len()));
                continue;
            }
        };
        rooms[room].take(demand);
        before = Some((demand, room));
        placed += 1;
        cpu_m += u128::from(demand.cpu_m);
        memory += u128::from(demand.memory);
    }
    let nodes = u32::try_from(rooms.len()).ok().filter(|nodes| *nodes > 0)?;
    let wasted = |used: u128, of_node: u64| {
        let available = u128::from(of_node) * u128::from(nodes);
        available.saturating_sub(used) as f64 / available as f64
    };
    let waste = wasted(cpu_m, pool.cpu_m) + wasted(memory, pool.memory);
    Some(Expansion { pool: index, nodes, pods: placed, waste })
}

fn compare(expander: Expander, pools: &[Pool], one: &Expansion, other: &Expansion) -> Ordering {
    let price = |expansion: &Expansion| {
        u128::from(pools[expansion.pool].price_micro_per_hour) * u128::from(expansion.nodes)
    };
    let cheaper = (price(one) * u128::from(other.pods)).cmp(&(price(other) * u128::from(one.pods)));
    match expander {
        Expander::LeastWaste => one.waste.total_cmp(&other.waste).then(cheaper),
        Expander::Cheapest => cheaper.then(one.nodes.cmp(&other.nodes)),
    }
    .then(one.pool.cmp(&other.pool))
}
