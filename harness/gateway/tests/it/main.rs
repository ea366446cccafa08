//! The gateway against real sockets: real clients on one side, pods that come, go and misbehave on the other.

mod activation;
mod failures;
mod graph;
mod metering;
mod pods;
mod routing;
mod rules;
mod scaling;
