//! Kubernetes resource types of the serving stack, their defaulting, validation and rendering.
