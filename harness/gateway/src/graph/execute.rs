//! A request in a node: which steps are called, and what the node answers.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use windtunnel_api::kserve::Routing;

use super::{
    Graph, Profile,
    client::StepClient,
    ensemble,
    error::Failure,
    plan::{Step, Target},
    sequence,
    splitter::{self, Dice},
    switch,
};

/// What a step or a node answers.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// What all nodes share on the way of one request.
pub(super) struct Run<'a> {
    pub(super) graph: &'a Graph,
    pub(super) client: &'a StepClient,
    /// For every step.
    pub(super) headers: HeaderMap,
    pub(super) dice: &'a Dice,
    pub(super) profile: Profile,
}

/// A step or node on its way; dropping it breaks its calls off.
pub(super) type Running<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

impl Run<'_> {
    /// Answers from a node. Failures of nodes inside of it are 500s.
    pub(super) fn node(&self, index: usize, input: Bytes) -> Running<'_> {
        let node = &self.graph.nodes[index];
        match node.routing {
            Routing::Sequence => Box::pin(sequence::run(self, node, input)),
            Routing::Ensemble => Box::pin(ensemble::run(self, node, input)),
            Routing::Splitter => Box::pin(async move {
                let step = splitter::choose(&node.steps, self.dice.percent())?;
                self.step(step, input).await
            }),
            Routing::Switch => Box::pin(async move {
                let step = switch::choose(&node.steps, &input)?;
                self.step(step, input).await
            }),
        }
    }

    /// Answers from a step: a node, or a service.
    pub(super) async fn step(&self, step: &Step, input: Bytes) -> Result<Answer, Failure> {
        tracing::debug!(step = step.key, "step begins");
        let answered = match &step.target {
            Target::Node(node) => self.node(*node, input).await,
            Target::Service(service) => {
                self.client.call(service, &self.headers, input, self.graph.timeouts.call).await
            }
        };
        answered.map_err(Failure::inside)
    }
}
