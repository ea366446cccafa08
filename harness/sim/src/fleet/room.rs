//! What is still free on a node, and whether a pod fits into it.

use serde::{Deserialize, Serialize};

use super::demand::Demand;
use super::pool::Pool;

/// What is still free on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Room {
    pub(super) cpu_m: u64,
    pub(super) memory: u64,
    pub(super) pods: u32,
    /// By GPU; `None` is no limit.
    pub(super) gpus: Option<Vec<GpuRoom>>,
}

/// What is still free on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GpuRoom {
    pub(super) slots: u32,
    pub(super) memory: u64,
}

/// What is short, in the scheduler's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shortage(pub(super) Vec<&'static str>);

impl Room {
    /// An empty node.
    pub(super) fn of(pool: &Pool) -> Self {
        let gpu = GpuRoom { slots: pool.gpu_shares, memory: pool.gpu_memory };
        Self {
            cpu_m: pool.cpu_m,
            memory: pool.memory,
            pods: pool.most_pods,
            gpus: (!pool.unlimited).then(|| vec![gpu; pool.gpus as usize]),
        }
    }

    /// Kubernetes' `NodeResourcesFit`: every request that is not zero must be free. All that is short is
    /// reported, not only the first.
    pub(super) fn fit(&self, demand: &Demand) -> Result<(), Shortage> {
        if self.fits(demand) {
            return Ok(());
        }
        let mut short = Vec::new();
        if self.pods == 0 {
            short.push("Too many pods");
        }
        if demand.cpu_m > self.cpu_m {
            short.push("Insufficient cpu");
        }
        if demand.memory > self.memory {
            short.push("Insufficient memory");
        }
        if let Some(gpus) = &self.gpus {
            let free: u64 = gpus.iter().map(|gpu| u64::from(gpu.slots)).sum();
            if u64::from(demand.gpu_slots()) > free {
                short.push("Insufficient nvidia.com/gpu");
            } else if !self.fits_gpus(demand) {
                short.push("Insufficient nvidia.com/gpumem");
            }
        }
        Err(Shortage(short))
    }

    /// Whether the pod fits.
    pub(super) fn fits(&self, demand: &Demand) -> bool {
        self.pods > 0 && demand.cpu_m <= self.cpu_m && demand.memory <= self.memory && self.fits_gpus(demand)
    }

    fn fits_gpus(&self, demand: &Demand) -> bool {
        let Some(gpus) = &self.gpus else { return true };
        let wanted = u64::from(demand.gpu_slots());
        let each = demand.memory_per_slot();
        let free: u64 = gpus
            .iter()
            .map(|gpu| u64::from(gpu.slots).min(gpu.memory.checked_div(each).unwrap_or(u64::MAX)))
            .sum();
        wanted <= free
    }

    /// Takes what a pod that fits asks for and says which GPUs it got, by their numbers. A pod with several
    /// shares gets them on different GPUs as far as possible: always the GPU with the most free shares, then
    /// memory, then the first.
    pub(super) fn take(&mut self, demand: &Demand) -> Vec<u32> {
        self.cpu_m = self.cpu_m.saturating_sub(demand.cpu_m);
        self.memory = self.memory.saturating_sub(demand.memory);
        self.pods = self.pods.saturating_sub(1);
        let each = demand.memory_per_slot();
        let mut taken = Vec::new();
        let Some(gpus) = &mut self.gpus else { return taken };
        for _ in 0..demand.gpu_slots() {
            let best = gpus
                .iter_mut()
                .zip(0_u32..)
                .filter(|(gpu, _)| gpu.slots > 0 && gpu.memory >= each)
                .max_by_key(|(gpu, index)| (gpu.slots, gpu.memory, std::cmp::Reverse(*index)));
            let Some((gpu, index)) = best else { break };
            gpu.slots -= 1;
            gpu.memory -= each;
            taken.push(index);
        }
        taken
    }

    /// Gives back what [`Room::take`] took.
    pub(super) fn give(&mut self, demand: &Demand, taken: &[u32]) {
        self.cpu_m = self.cpu_m.saturating_add(demand.cpu_m);
        self.memory = self.memory.saturating_add(demand.memory);
        self.pods = self.pods.saturating_add(1);
        let each = demand.memory_per_slot();
        let Some(gpus) = &mut self.gpus else { return };
        for index in taken {
            if let Some(gpu) = gpus.get_mut(*index as usize) {
                gpu.slots += 1;
                gpu.memory = gpu.memory.saturating_add(each);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_gpus(shares: u32) -> Room {
        Room::of(&Pool { gpus: 2, gpu_memory: 24, gpu_shares: shares, ..Pool::new("gpu", 1, 8_000, 1_000) })
    }

    /// Two models of 14 GiB would be packed on one GPU of 24 GiB and be killed for memory.
    #[test]
    fn pods_that_share_a_gpu_share_its_memory() {
        let mut room = two_gpus(4);
        let model = Demand { gpus: 1, gpu_memory: 14, ..Demand::default() };
        assert_eq!(room.take(&model), [0]);
        assert_eq!(room.take(&model), [1]);
        assert_eq!(room.fit(&model), Err(Shortage(vec!["Insufficient nvidia.com/gpumem"])));
        let small = Demand { gpu_memory: 10, ..model.clone() };
        assert_eq!(room.take(&small), [0]);
        room.give(&model, &[0]);
        assert_eq!(room.gpus, Some(vec![GpuRoom { slots: 3, memory: 14 }, GpuRoom { slots: 3, memory: 10 }]));
    }

    /// A pod that wants two GPUs would get twice the same one although another is free.
    #[test]
    fn several_shares_are_on_different_gpus_when_possible() {
        let mut room = two_gpus(2);
        assert_eq!(room.take(&Demand { gpus: 2, ..Demand::default() }), [0, 1]);
        let mut room = two_gpus(1);
        assert!(!room.fits(&Demand { gpus: 3, ..Demand::default() }));
        assert!(!room.fits(&Demand { gpus: 2, gpu_memory: 49, ..Demand::default() }));
        assert_eq!(room.take(&Demand { gpus: 2, gpu_memory: 48, ..Demand::default() }), [0, 1]);
    }
}
