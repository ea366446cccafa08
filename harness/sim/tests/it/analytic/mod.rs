//! Queueing theory: what the simulator measures against formulas that others have proved.
//!
//! A simulator that draws convincing curves from a wrong queue is worse than none. Each test here takes a system whose
//! answer is known in closed form, simulates it through the whole data path (gateway, activator, pods, servers) and asks
//! whether the answer lies in the interval of 99 % confidence ([`estimate`]) of independent replications ([`station`]).
//!
//! | system | where |
//! | --- | --- |
//! | M/M/1, M/D/1, M/G/1 | [`single_server`] |
//! | M/M/c: waiting; M/M/c/K and M/G/c/c: losses | [`many_servers`] |
//! | M/G/1 and M/G/c processor sharing | [`shared_cores`] |
//! | users in a closed loop | [`closed_network`] |
//! | choice of a pod: the better of two at random, in turn | [`balance`] |
//! | Little's law, for every run | [`littles_law`] |
//! | the formulas, checked against published values | [`formulas`] |

mod balance;
mod closed_network;
mod estimate;
mod formulas;
mod littles_law;
mod many_servers;
mod shared_cores;
mod single_server;
mod station;
