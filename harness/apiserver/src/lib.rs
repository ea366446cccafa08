//! Embedded Kubernetes API server: a pure store and request pipeline under a thin HTTP layer.
