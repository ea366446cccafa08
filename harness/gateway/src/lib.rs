//! Data plane: host routing, exact traffic split, activator and concurrency metering.
