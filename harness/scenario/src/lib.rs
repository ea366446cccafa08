//! Scenario files, load shapes, traces and objectives, with source positions.
