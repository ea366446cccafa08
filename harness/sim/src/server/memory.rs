//! Memory of a pod, on the host or on its accelerator.

use serde::{Deserialize, Serialize};

use super::impossible::Impossible;

/// What happens when a request does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overflow {
    /// The kernel kills the container, with all its requests: RAM over the container's limit (exit code 137).
    KillsPod,
    /// The allocation fails and the request with it: GPU memory ("CUDA out of memory", answered with 500).
    FailsRequest,
}

/// Whether something fits into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fit {
    /// It does.
    Fits,
    /// The request fails; the others go on.
    RequestFails,
    /// The container is killed; it starts again empty, and its requests are lost.
    PodKilled,
}

/// Memory of one pod: what the model takes and what every request adds while it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    base_bytes: u64,
    per_request_bytes: u64,
    limit_bytes: Option<u64>,
    overflow: Overflow,
    requests: u64,
    most_requests: u64,
}

impl Memory {
    /// Memory without requests; `limit_bytes` of `None` is endless.
    ///
    /// # Errors
    /// A limit of 0.
    pub fn new(
        base_bytes: u64,
        per_request_bytes: u64,
        limit_bytes: Option<u64>,
        overflow: Overflow,
    ) -> Result<Self, Impossible> {
        if limit_bytes == Some(0) {
            return Err(Impossible::new("memory limit of a pod", "0 bytes", "leave it out for no limit"));
        }
        Ok(Self { base_bytes, per_request_bytes, limit_bytes, overflow, requests: 0, most_requests: 0 })
    }

    /// Whether the model itself can be loaded. If not, the container dies while it loads, and again each time it
    /// is started: a crash loop.
    pub fn is_loadable(&self) -> bool {
        self.limit_bytes.is_none_or(|limit_bytes| self.base_bytes <= limit_bytes)
    }

    /// A request comes. It is counted if it fits; a killed container holds none any more.
    pub fn take(&mut self) -> Fit {
        let used_bytes = self.bytes_of(self.requests.saturating_add(1));
        if self.limit_bytes.is_none_or(|limit_bytes| used_bytes <= limit_bytes) {
            self.requests = self.requests.saturating_add(1);
            self.most_requests = self.most_requests.max(self.requests);
            return Fit::Fits;
        }
        match self.overflow {
            Overflow::FailsRequest => Fit::RequestFails,
            Overflow::KillsPod => {
                self.requests = 0;
                Fit::PodKilled
            }
        }
    }

    /// A request that was counted left.
    pub fn release(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }

    /// The container was started again.
    pub fn clear(&mut self) {
        self.requests = 0;
    }

    /// What is in use.
    pub fn used_bytes(&self) -> u64 {
        self.bytes_of(self.requests)
    }

    /// The most that ever was in use.
    pub fn peak_bytes(&self) -> u64 {
        self.bytes_of(self.most_requests)
    }

    fn bytes_of(&self, requests: u64) -> u64 {
        self.base_bytes.saturating_add(self.per_request_bytes.saturating_mul(requests))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Too many requests at once must end as they do in production: a dead pod, or an error for one of them.
    #[test]
    fn ram_kills_the_pod_and_gpu_memory_fails_the_request() {
        let mut ram = Memory::new(100 * MIB, 50 * MIB, Some(200 * MIB), Overflow::KillsPod).unwrap();
        assert_eq!([ram.take(), ram.take(), ram.take()], [Fit::Fits, Fit::Fits, Fit::PodKilled]);
        assert_eq!((ram.used_bytes(), ram.peak_bytes()), (100 * MIB, 200 * MIB));
        let mut gpu = Memory::new(100 * MIB, 50 * MIB, Some(200 * MIB), Overflow::FailsRequest).unwrap();
        assert_eq!([gpu.take(), gpu.take(), gpu.take()], [Fit::Fits, Fit::Fits, Fit::RequestFails]);
        gpu.release();
        assert_eq!(gpu.take(), Fit::Fits);
    }

    /// A model that is larger than its memory never becomes ready.
    #[test]
    fn a_model_over_the_limit_cannot_be_loaded() {
        assert!(!Memory::new(2 * MIB, 0, Some(MIB), Overflow::FailsRequest).unwrap().is_loadable());
        assert!(Memory::new(MIB, 0, Some(MIB), Overflow::FailsRequest).unwrap().is_loadable());
        let mut endless = Memory::new(u64::MAX, u64::MAX, None, Overflow::KillsPod).unwrap();
        assert!(endless.is_loadable());
        assert_eq!(endless.take(), Fit::Fits);
        Memory::new(1, 1, Some(0), Overflow::KillsPod).unwrap_err();
    }
}
