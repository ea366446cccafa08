//! Who listens to external scalers that tell of activity by themselves (`external-push`): one task a trigger.

use std::collections::BTreeMap;

use kube::Client;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::Question;
use super::sources::Sources;
use crate::world::ObjectKey;

/// Words that may wait for the loop before scalers wait.
const QUEUED: usize = 64;

/// The tasks that listen. They end with it.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// By object and trigger, with the state of the object that each is about.
    tasks: BTreeMap<(ObjectKey, usize), (String, AbortOnDropHandle<()>)>,
    sender: mpsc::Sender<Question>,
    receiver: mpsc::Receiver<Question>,
}

impl Default for Listeners {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUED);
        Self { tasks: BTreeMap::new(), sender, receiver }
    }
}

impl Listeners {
    /// Listens to exactly the scalers that these questions are about.
    pub(crate) fn follow(&mut self, client: &Client, wanted: Vec<Question>) {
        let mut before = std::mem::take(&mut self.tasks);
        for question in wanted {
            let Some(index) = question.pushed else { continue };
            let at = (question.key.clone(), index);
            let stamp = question.stamp.clone();
            let same = before.remove(&at).filter(|(known, task)| *known == stamp && !task.is_finished());
            let task = same.unwrap_or_else(|| {
                let listening = Sources::listen(client.clone(), question, self.sender.clone());
                (stamp, AbortOnDropHandle::new(tokio::spawn(listening)))
            });
            self.tasks.insert(at, task);
        }
    }

    /// The question that follows from the next word that somebody is active.
    pub(crate) async fn next(&mut self) -> Option<Question> {
        self.receiver.recv().await
    }
}
