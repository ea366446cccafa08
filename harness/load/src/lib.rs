//! Load tests of any V1 or V2 inference endpoint, with [goose](https://docs.rs/goose) in this process.
//!
//! - [`Attack`] says what to send, where to, with how many users and for how long, and which rules must hold.
//! - [`attack`] runs it and returns a [`LoadResult`]: counts, failures by status, latency quantiles and a verdict a rule.
//! - [`LoadError`] is why nothing could be run. A request that fails is an observation, not an error.
//!
//! Rules are judged as everywhere else, by [`windtunnel_record::judge`] on a [`Recording`](windtunnel_record::Recording)
//! of the answers: a percentile passes only on enough samples, nothing measured is never a pass, and a load of which
//! every request failed has failed whatever its rules say.
//!
//! # Closed loop
//! A user sends its next request when it has the answer to the one before, so the service sets the pace. While the
//! service stands still for a second, each user sends one request and not the many that would have arrived meanwhile:
//! the wait of those is never measured, and percentiles look better than what real clients would have seen. This is
//! coordinated omission. Use such a load to find the throughput that a number of users gets; whether a service keeps
//! its latency under a given arrival rate is what `windtunnel run` finds, where load is open loop.
//!
//! ```no_run
//! use std::time::Duration;
//! use windtunnel_load::{Attack, attack};
//! use windtunnel_scenario::{objective::Objective, requests::RequestSet};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let requests = RequestSet::load("requests.jsonl".as_ref())?;
//! let mut load = Attack::new("http://localhost:8080/v1/models/digits:predict", requests);
//! load.users = 20;
//! load.run_time = Duration::from_secs(60);
//! load.rules = vec![Objective::parse("p99<300ms")?, Objective::parse("error-rate<1%")?];
//! let result = attack(load).await?;
//! println!("{result}\n{}", result.outcome.verdict);
//! # Ok(())
//! # }
//! ```

mod answer;
mod attack;
mod check;
mod error;
mod result;
mod users;

pub use attack::{Attack, Increase, attack};
pub use error::LoadError;
pub use result::{Failed, Latency, LoadResult};
