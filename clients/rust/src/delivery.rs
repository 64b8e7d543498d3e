//! Reports on their way: one at a time, oldest first, because an outcome must not overtake the facts of its turns. A report
//! is sent again until it is acknowledged, refused for good, or given up at close; its natural key makes repeats harmless.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::counters::Tally;
use crate::error::{Error, Refused};
use crate::v1::{ReportOutcomeRequest, ReportTurnRequest};

const BACKOFF_BASE: Duration = Duration::from_millis(100);
const BACKOFF_CEILING: Duration = Duration::from_secs(10);

/// The router's receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// "RECORDED", "DUPLICATE" or "LATE".
    pub state: String,
    /// Decisions that an outcome joins; 0 = nothing can be learned from it: was the episode's id right?
    pub joined_decisions: i32,
}

/// A report under way. It is sent whether or not anybody waits.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Acknowledgement, Refused>>);

impl Receipt {
    /// The router's acknowledgement: an outcome is durable then. [`Error::Refused`] if the router refused for good,
    /// [`Error::Dropped`] if the client was closed before.
    pub async fn wait(self) -> Result<Acknowledgement, Error> {
        Ok(self.0.await.map_err(|_| Error::Dropped(1))??)
    }
}

/// A report as it waits.
pub(crate) enum Report {
    Turn(ReportTurnRequest),
    Outcome(ReportOutcomeRequest),
}

/// Carries one report to the router, once.
pub(crate) trait Courier: Send + Sync + 'static {
    fn send(&self, report: &Report, trace: Option<&str>) -> impl Future<Output = Result<Acknowledgement, Refused>> + Send;
}

struct Queued {
    report: Report,
    trace: Option<String>, // of the moment when the caller gave the report
    settled: oneshot::Sender<Result<Acknowledgement, Refused>>,
}

/// A bounded queue and the task that empties it.
pub(crate) struct Delivery {
    queue: mpsc::Sender<Queued>,
    pending: Arc<watch::Sender<usize>>,
    tally: Arc<Tally>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Delivery {
    /// Begins the task; must be called within a Tokio runtime. It ends once the client is gone and the queue is empty.
    pub(crate) fn begin(capacity: usize, tally: Arc<Tally>, sender: impl Courier) -> Self {
        let (queue, reports) = mpsc::channel(capacity.max(1));
        let pending = Arc::new(watch::Sender::new(0));
        let task = tokio::spawn(run(reports, sender, tally.clone(), pending.clone()));
        Self { queue, pending, tally, task: Mutex::new(Some(task)) }
    }

    /// Queues a report. A full queue drops the newest: the older are nearer to the end of their episodes' windows.
    pub(crate) fn offer(&self, report: Report, trace: Option<String>) -> Result<Receipt, Error> {
        let (settled, receipt) = oneshot::channel();
        self.pending.send_modify(|count| *count += 1);
        if self.queue.try_send(Queued { report, trace, settled }).is_err() {
            self.pending.send_modify(|count| *count = count.saturating_sub(1));
            self.tally.count(|c| c.reports_dropped += 1);
            return Err(Error::Dropped(1));
        }
        Ok(Receipt(receipt))
    }

    /// Waits until every report is settled; false if the time ran out first.
    pub(crate) async fn flush(&self, timeout: Duration) -> bool {
        let mut pending = self.pending.subscribe();
        tokio::time::timeout(timeout, pending.wait_for(|count| *count == 0)).await.is_ok()
    }

    /// Gives up what is left.
    pub(crate) async fn stop(&self) {
        let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        task.abort();
        let _ = task.await; // the queue's other end is gone with it, so nothing is queued any more
        let left = self.pending.send_replace(0);
        self.tally.count(|c| c.reports_dropped += left);
    }
}

async fn run(mut reports: mpsc::Receiver<Queued>, sender: impl Courier, tally: Arc<Tally>, pending: Arc<watch::Sender<usize>>) {
    while let Some(Queued { report, trace, settled }) = reports.recv().await {
        let answer = deliver(&report, trace.as_deref(), &sender, &tally).await;
        let _ = settled.send(answer); // nobody has to wait
        pending.send_modify(|count| *count = count.saturating_sub(1));
    }
}

async fn deliver(report: &Report, trace: Option<&str>, sender: &impl Courier, tally: &Tally) -> Result<Acknowledgement, Refused> {
    let mut retries = 0;
    loop {
        match sender.send(report, trace).await {
            Err(refused) if refused.is_transient() => {
                tally.count(|c| c.reports_retried += 1);
                tokio::time::sleep(pause(retries, refused.retry_after)).await;
                retries += 1;
            }
            answer => {
                tally.count(|c| if answer.is_ok() { c.reports_acknowledged += 1 } else { c.reports_refused += 1 });
                return answer;
            }
        }
    }
}

/// The router's wish plus full jitter before retry number `retries`, from 0.
fn pause(retries: u32, wish: Duration) -> Duration {
    let ceiling = BACKOFF_CEILING.min(BACKOFF_BASE * 2_u32.pow(retries.min(16)));
    wish.min(BACKOFF_CEILING) + ceiling.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    /// Refuses as many times as it holds codes, then acknowledges.
    struct Stumbling(Mutex<Vec<Code>>);

    impl Courier for Stumbling {
        async fn send(&self, _: &Report, _: Option<&str>) -> Result<Acknowledgement, Refused> {
            match self.0.lock().unwrap().pop() {
                Some(code) => Err(Refused::by_client(code, "", "told to".into())),
                None => Ok(Acknowledgement { state: "RECORDED".into(), joined_decisions: 0 }),
            }
        }
    }

    fn begin(capacity: usize, codes: &[Code]) -> Delivery {
        Delivery::begin(capacity, Arc::default(), Stumbling(Mutex::new(codes.to_vec())))
    }

    fn report() -> Report {
        Report::Turn(ReportTurnRequest::default())
    }

    #[tokio::test]
    async fn a_report_is_sent_until_it_is_acknowledged() {
        let delivery = begin(1, &[Code::Unavailable, Code::ResourceExhausted]);
        let receipt = delivery.offer(report(), None).unwrap();
        assert_eq!(receipt.wait().await.unwrap().state, "RECORDED");
        assert!(delivery.flush(Duration::from_secs(1)).await);
        assert_eq!((delivery.tally.read().reports_retried, delivery.tally.read().reports_acknowledged), (2, 1));
    }

    #[tokio::test]
    async fn a_report_that_is_refused_for_good_is_not_sent_again() {
        let delivery = begin(1, &[Code::Internal]);
        let told = delivery.offer(report(), None).unwrap().wait().await;
        assert!(matches!(told, Err(Error::Refused(refused)) if refused.code == Code::Internal));
        assert_eq!(delivery.tally.read().reports_refused, 1);
    }

    #[tokio::test]
    async fn what_the_queue_cannot_hold_and_what_is_left_at_the_end_is_dropped_and_counted() {
        let delivery = begin(1, &[Code::Unavailable; 64]);
        let first = delivery.offer(report(), None).unwrap();
        assert!(matches!(delivery.offer(report(), None), Err(Error::Dropped(1))));
        assert!(!delivery.flush(Duration::from_millis(20)).await);
        delivery.stop().await;
        assert!(matches!(first.wait().await, Err(Error::Dropped(1))));
        assert!(delivery.offer(report(), None).is_err());
        assert_eq!(delivery.tally.read().reports_dropped, 3);
    }

    #[test]
    fn a_pause_is_no_shorter_than_the_router_asks_and_has_a_ceiling() {
        let wish = Duration::from_millis(400);
        assert!(pause(0, wish) >= wish && pause(0, wish) <= wish + BACKOFF_BASE);
        assert!(pause(1_000, Duration::MAX) <= 2 * BACKOFF_CEILING);
    }
}
