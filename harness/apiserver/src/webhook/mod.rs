//! Admission webhooks: configurations, which requests they want, what they are sent and what they answer.
//!
//! Calls leave the process, and a write holds the state's lock. So a write that needs an answer which is not there
//! yet is given up before it has changed anything; the calls are made without the lock, and the same request starts
//! again with the same time and the same random numbers, now with the answers in its [`Transcript`]. Answers are
//! remembered by the whole text of the review, so an object that has changed meanwhile is reviewed anew.

pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod policy;
pub(crate) mod response;

use std::collections::HashMap;

pub(crate) use client::{Call, Clients, Destination};
pub(crate) use config::{Hook, Hooks};
pub(crate) use response::Outcome;

/// The answers that one request has got from webhooks so far.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    answers: HashMap<String, Outcome>,
    pending: Vec<Call>,
    /// What the webhooks warn of, in the order of their calls.
    pub(crate) warnings: Vec<String>,
}

impl Transcript {
    /// Forgets what one attempt has noted; the answers stay.
    pub(crate) fn begin(&mut self) {
        self.pending.clear();
        self.warnings.clear();
    }

    /// The answer to a call; without one the call is noted as pending.
    pub(crate) fn ask(&mut self, call: Call) -> Option<&Outcome> {
        let key = call.key();
        if self.answers.contains_key(&key) {
            return self.answers.get(&key);
        }
        self.pending.push(call);
        None
    }

    /// The calls that the last attempt waits for.
    pub(crate) fn take_pending(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.pending)
    }

    pub(crate) fn store(&mut self, key: String, outcome: Outcome) {
        self.answers.insert(key, outcome);
    }
}
