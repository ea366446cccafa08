//! Controllers of the serving stack: KServe and Knative reconcilers and the autoscaler loop.
