//! Fixtures, seeds and golden helpers for tests.
