//! Which nodes are not needed.

use std::collections::BTreeMap;

use super::super::demand::Demand;
use super::super::node::{Node, NodeId, NodeState};
use super::super::nodes::Fleet;
use super::super::pool::Pool;
use super::super::room::Room;

/// Nodes of pools above their `least` that could go, and since when: lost ones, empty ones, and those that are
/// little used and whose pods fit on the nodes that stay. Candidates are looked at in the order empty, unneeded
/// before, oldest; what moves away from one takes room on the next and has to move on with it.
pub(super) fn unneeded(
    threshold: f64,
    before: &BTreeMap<NodeId, u64>,
    now_ns: u64,
    fleet: &Fleet,
) -> BTreeMap<NodeId, u64> {
    let shrinkable: Vec<bool> =
        fleet.pools().iter().enumerate().map(|(index, pool)| fleet.wanted(index) > pool.least).collect();
    let mut rooms: BTreeMap<NodeId, (usize, Room)> = fleet
        .nodes()
        .filter(|(_, node)| node.state == NodeState::Ready)
        .map(|(id, node)| (id, (node.pool, node.room.clone())))
        .collect();
    let mut candidates: Vec<(bool, bool, NodeId)> = fleet
        .nodes()
        .filter(|(_, node)| {
            shrinkable[node.pool] && is_little_used(threshold, node, &fleet.pools()[node.pool])
        })
        .map(|(id, node)| (node.pods().len() > 0, !before.contains_key(&id), id))
        .collect();
    candidates.sort_unstable();
    let mut unneeded = BTreeMap::new();
    let mut guests: BTreeMap<NodeId, Vec<&Demand>> = BTreeMap::new();
    for (occupied, _, id) in candidates {
        let Some(own) = rooms.remove(&id) else {
            // A lost node has nothing to move.
            unneeded.insert(id, before.get(&id).copied().unwrap_or(now_ns));
            continue;
        };
        if occupied && !move_pods(id, fleet, &mut rooms, &mut guests) {
            rooms.insert(id, own);
            continue;
        }
        unneeded.insert(id, before.get(&id).copied().unwrap_or(now_ns));
    }
    unneeded
}

/// Moves a node's pods, and those that have moved there before, to other nodes. False, with nothing moved, when
/// they do not fit there.
fn move_pods<'a>(
    id: NodeId,
    fleet: &'a Fleet,
    rooms: &mut BTreeMap<NodeId, (usize, Room)>,
    guests: &mut BTreeMap<NodeId, Vec<&'a Demand>>,
) -> bool {
    let Some(node) = fleet.node(id) else { return false };
    let own = node.pods().filter_map(|pod| fleet.demand_of(pod));
    let demands: Vec<&Demand> = own.chain(guests.get(&id).into_iter().flatten().copied()).collect();
    let mut moved: Vec<(NodeId, &Demand, Vec<u32>)> = Vec::new();
    for demand in demands {
        let found = rooms
            .iter_mut()
            .find(|(_, (pool, room))| room.fits(demand) && fleet.pools()[*pool].refuses(demand).is_none());
        if let Some((to, (_, room))) = found {
            moved.push((*to, demand, room.take(demand)));
            continue;
        }
        for (to, demand, gpus) in moved {
            if let Some((_, room)) = rooms.get_mut(&to) {
                room.give(demand, &gpus);
            }
        }
        return false;
    }
    for (to, demand, _) in moved {
        guests.entry(to).or_default().push(demand);
    }
    true
}

fn is_little_used(threshold: f64, node: &Node, pool: &Pool) -> bool {
    match node.state {
        NodeState::Lost => true,
        NodeState::Provisioning { .. } | NodeState::Draining => false,
        NodeState::Ready => node.pods().len() == 0 || utilisation(node, pool) < threshold,
    }
}

/// Of the GPUs where there are some, otherwise the larger of CPU and memory.
fn utilisation(node: &Node, pool: &Pool) -> f64 {
    let share = |free: u64, all: u64| all.saturating_sub(free) as f64 / all.max(1) as f64;
    if pool.gpus > 0 {
        let free = node.room.gpus.iter().flatten().map(|gpu| u64::from(gpu.slots)).sum();
        return share(free, u64::from(pool.gpu_slots()));
    }
    share(node.room.cpu_m, pool.cpu_m).max(share(node.room.memory, pool.memory))
}
