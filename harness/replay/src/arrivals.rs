//! The clock of an open-loop load: a thread that lets each request go at its intended moment.

use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use windtunnel_scenario::load::Arrival;

/// Requests that may wait to be picked up before the clock itself is held up. It is never reached unless the machine stands
/// still, and then the lag shows in every request's `sent_ns`.
const DUE_QUEUE: usize = 65_536;

/// Longest sleep between two looks at the cancellation token.
const NAP: Duration = Duration::from_millis(50);

/// Starts the clock. Each arrival comes out of the receiver when its moment has come; the channel closes after the last one,
/// or soon after `cancel`. A thread of its own, because a runtime's timers round to milliseconds and wait for busy workers.
pub(crate) fn start(
    arrivals: Box<dyn Iterator<Item = Arrival> + Send>,
    epoch: Instant,
    cancel: CancellationToken,
) -> mpsc::Receiver<Arrival> {
    let (due, receiver) = mpsc::channel(DUE_QUEUE);
    thread::Builder::new()
        .name("arrivals".into())
        .spawn(move || {
            for arrival in arrivals {
                let moment = epoch + Duration::from_nanos(arrival.at_ns);
                loop {
                    if cancel.is_cancelled() {
                        return;
                    }
                    let left = moment.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    thread::sleep(left.min(NAP));
                }
                if due.blocking_send(arrival).is_err() {
                    return;
                }
            }
        })
        .expect("the system can start a thread");
    receiver
}
