//! What a load test does, and doing it.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use goose::GooseAttack;
use goose::config::GooseConfiguration;
use goose::goose::{Scenario, Transaction, TransactionFunction};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use windtunnel_scenario::objective::Objective;
use windtunnel_scenario::requests::RequestSet;

use crate::check::{self, Target};
use crate::users::{MOST_REQUESTS, Users};
use crate::{LoadError, LoadResult};

/// Longest wait for the first connection, which only tells whether anybody listens.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Time between two reminders to goose that it is to end; it forgets those that come while it starts.
const REMIND_EVERY: Duration = Duration::from_millis(50);

/// Goose's switch to end a load is one a process, so loads take turns.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A load test.
#[derive(Clone, Debug)]
pub struct Attack {
    /// The inference endpoint, such as `http://localhost:8080/v1/models/digits:predict`.
    pub url: String,
    /// Headers of every request, name and value, in addition to `Content-Type: application/json`.
    pub headers: Vec<(String, String)>,
    /// What is sent: its rows in turn, over and over.
    pub requests: RequestSet,
    /// Users at once, at least 1. Each sends its next request when it has the answer to the one before.
    pub users: usize,
    /// How fast they start.
    pub increase: Increase,
    /// How long all of them send, in whole seconds; the time until all have started comes before it and is measured too.
    pub run_time: Duration,
    /// How long a user waits for a whole answer before it gives up.
    pub timeout: Duration,
    /// What must hold, over the whole load.
    pub rules: Vec<Objective>,
    /// The model version that answers, as the request set's reference answers name it; `None` compares nothing.
    pub expect: Option<String>,
    /// Ends the load early; what was measured until then is returned, and is never a pass.
    pub cancel: CancellationToken,
}

impl Attack {
    /// Ten users for thirty seconds, all started within the first, who wait up to ten seconds for an answer; no rules.
    #[must_use]
    pub fn new(url: impl Into<String>, requests: RequestSet) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            requests,
            users: 10,
            increase: Increase::default(),
            run_time: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            rules: Vec::new(),
            expect: None,
            cancel: CancellationToken::new(),
        }
    }
}

/// How fast the users of a load start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Increase {
    /// All of them within a second.
    #[default]
    AtOnce,
    /// So many a second; may be a fraction.
    Rate(f64),
    /// Evenly over this time, in whole seconds; for two users or more.
    Over(Duration),
}

impl fmt::Display for Increase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtOnce => f.write_str("all at once"),
            Self::Rate(rate) => write!(f, "{rate} a second"),
            Self::Over(time) => write!(f, "over {} s", time.as_secs()),
        }
    }
}

/// Runs a load test and judges it.
///
/// It needs a runtime of several threads. Loads of one process take turns. Goose takes over Ctrl-C for the process,
/// unless a handler of the crate `ctrlc` is there before.
///
/// # Errors
/// When the attack is not possible as it is stated, or nobody listens at its address: nothing was sent then.
pub async fn attack(attack: Attack) -> Result<LoadResult, LoadError> {
    let target = check::target(&attack)?;
    let configuration = configuration(&attack, &target);
    reach(&target, attack.timeout).await?;
    let _turn = ONE_AT_A_TIME.lock().await;
    let users = Arc::new(Users::new(&attack, target)?);
    let goose = GooseAttack::initialize_with_config(configuration)
        .map_err(|error| LoadError::Goose(Box::new(error)))?
        .register_scenario(scenario(&users));
    let ended = tokio::select! {
        ended = Box::pin(goose.execute()) => ended,
        never = end_early(users.stop()) => match never {},
    };
    ended.map_err(|error| LoadError::Goose(Box::new(error)))?;
    let recording = users.recording(&attack);
    // Goose's own handler of Ctrl-C throws the switch without us.
    let interrupted = attack.cancel.is_cancelled()
        || (goose::is_killswitch_triggered() && recording.requests.len() < MOST_REQUESTS);
    Ok(LoadResult::of(&attack, recording, interrupted))
}

/// Has goose end its users once `stop` fires. Never returns: goose itself says when they have ended.
async fn end_early(stop: &CancellationToken) -> Infallible {
    stop.cancelled().await;
    loop {
        goose::trigger_killswitch("the load was to end");
        tokio::time::sleep(REMIND_EVERY).await;
    }
}

/// Goose as a scheduler of users: it prints, writes, listens and counts nothing.
fn configuration(attack: &Attack, target: &Target) -> GooseConfiguration {
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(target.origin.clone());
    configuration.users = Some(attack.users);
    configuration.run_time = Some(attack.run_time.as_secs().to_string());
    match attack.increase {
        Increase::AtOnce => configuration.increase_rate = Some(attack.users.to_string()),
        Increase::Rate(rate) => configuration.increase_rate = Some(rate.to_string()),
        Increase::Over(time) => configuration.increase_time = Some(time.as_secs().to_string()),
    }
    configuration.quiet = 2;
    configuration.no_metrics = true; // what is measured is in our recording, and judged by our rules
    configuration.no_print_metrics = true;
    configuration.no_error_summary = true;
    configuration.no_telnet = true;
    configuration.no_websocket = true;
    configuration
}

/// What each user does, over and over.
fn scenario(users: &Arc<Users>) -> Scenario {
    let client = users.client().clone();
    let begin: TransactionFunction = Arc::new(move |user| {
        user.client = client.clone();
        Box::pin(async { Ok(()) })
    });
    let users = users.clone();
    let send: TransactionFunction = Arc::new(move |user| {
        let users = users.clone();
        Box::pin(async move {
            users.send_next(user).await;
            Ok(())
        })
    });
    Scenario::new("inference")
        .register_transaction(Transaction::new(begin).set_on_start())
        .register_transaction(Transaction::new(send))
}

/// Whether anybody listens. No request is sent: one would start a service that is scaled to zero.
async fn reach(target: &Target, timeout: Duration) -> Result<(), LoadError> {
    let unreachable =
        |message: String| LoadError::Unreachable { authority: target.authority.clone(), message };
    let deadline = timeout.min(CONNECT_DEADLINE);
    match tokio::time::timeout(deadline, TcpStream::connect((target.host.as_str(), target.port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable(format!("no connection within {deadline:?}"))),
    }
}
