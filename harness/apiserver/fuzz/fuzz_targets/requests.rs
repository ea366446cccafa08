//! Paths and queries: `cargo +nightly fuzz run requests` in `harness/apiserver`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windtunnel_apiserver::fuzzing::requests(data));
