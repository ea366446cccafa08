//! Where a flight happens: the embedded cluster with its controllers, scheduler and node.
