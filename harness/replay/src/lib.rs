//! Takes a scenario to a live cluster: applies, drives open-loop load, injects events, records.
