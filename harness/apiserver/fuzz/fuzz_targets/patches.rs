//! The four kinds of patch against a model: `cargo +nightly fuzz run patches` in `harness/apiserver`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| windtunnel_apiserver::fuzzing::patches(data));
