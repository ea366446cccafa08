//! Storage: fetches models for a pod before its server starts.
