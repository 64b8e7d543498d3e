//! A connection to the router. A decision waits for it at most its deadline; reports are sent in the background.

use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::counters::{Counters, Tally};
use crate::delivery::{Acknowledgement, Courier, Delivery, Receipt, Report};
use crate::episode::{Episode, EpisodeOptions};
use crate::error::{Error, Refused};
use crate::fallback::FallbackTable;
use crate::turn::short;
use crate::v1::router_service_client::RouterServiceClient;
use crate::v1::{DecideRequest, DecideResponse, ReportOutcomeRequest, ReportState, ReportTurnRequest};

const MAX_MESSAGE_BYTES: usize = 64 * 1024;
const MAX_ID_BYTES: usize = 128;
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Text that is asked for when it is needed, such as a token that is renewed from time to time.
pub type TextSource = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// What a client may be made with; [`Options::default`] is a plaintext client without a fallback table.
pub struct Options {
    /// Which policy decides; "default" unless given.
    pub policy: String,
    /// Serves a turn without an incumbent that the router does not answer.
    pub fallback: FallbackTable,
    /// Longest wait for a decision, 50 ms unless given.
    pub decide_deadline: Duration,
    /// Longest wait for one sending of a report, 5 s unless given.
    pub report_deadline: Duration,
    /// Reports that may wait, 1,024 unless given.
    pub queue_size: usize,
    /// Makes the channel TLS, such as `ClientTlsConfig::new().with_native_roots()`; plaintext unless given.
    pub tls: Option<ClientTlsConfig>,
    /// Asked before each call for the bearer token. It travels in the clear without `tls`.
    pub token: Option<TextSource>,
    /// The W3C header of the caller's current span, asked when a call or report is made.
    pub traceparent: Option<TextSource>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: "default".to_owned(),
            fallback: FallbackTable::default(),
            decide_deadline: Duration::from_millis(50),
            report_deadline: Duration::from_secs(5),
            queue_size: 1024,
            tls: None,
            token: None,
            traceparent: None,
        }
    }
}

/// A connection to the router; a clone is the same connection.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    line: Arc<Line>,
    delivery: Delivery,
    tally: Arc<Tally>,
}

/// The channel and how calls are made on it.
struct Line {
    stub: RouterServiceClient<Channel>,
    options: Options,
}

impl Client {
    /// A client of `target`, "host:port". It connects at its first call, and must be made within a Tokio runtime.
    /// Fails with [`Error::Target`] alone.
    pub fn new(target: &str, mut options: Options) -> Result<Self, Error> {
        let channel = channel(target, options.tls.take()).map_err(|error| Error::Target(format!("{target:?}: {error}")))?;
        let queue_size = options.queue_size;
        let line = Arc::new(Line { stub: RouterServiceClient::new(channel), options });
        let tally = Arc::new(Tally::default());
        let delivery = Delivery::begin(queue_size, tally.clone(), line.clone());
        Ok(Self(Arc::new(Shared { line, delivery, tally })))
    }

    /// An episode; its id is 1 to 128 bytes and never reused.
    pub fn episode(&self, id: impl Into<String>, mut options: EpisodeOptions) -> Episode {
        if options.policy.is_empty() {
            options.policy.clone_from(&self.0.line.options.policy);
        }
        Episode::new(self.clone(), id.into(), options)
    }

    /// Queues the facts of one turn.
    pub fn report_turn(&self, request: ReportTurnRequest) -> Result<Receipt, Error> {
        check_size(&request)?;
        self.0.delivery.offer(Report::Turn(request), self.0.line.trace())
    }

    /// Queues the outcome of an episode that was left open, here or in another process.
    pub fn report_outcome(&self, request: ReportOutcomeRequest) -> Result<Receipt, Error> {
        check_size(&request)?;
        self.0.delivery.offer(Report::Outcome(request), self.0.line.trace())
    }

    /// Waits until every report is settled; false if the time ran out first.
    pub async fn flush(&self, timeout: Duration) -> bool {
        self.0.delivery.flush(timeout).await
    }

    /// Flushes for at most `timeout`, then takes no more reports. Those not acknowledged by then are dropped:
    /// [`Error::Dropped`] says so, for all that were ever dropped.
    pub async fn close(&self, timeout: Duration) -> Result<(), Error> {
        self.flush(timeout).await;
        self.0.delivery.stop().await;
        match self.counters().reports_dropped {
            0 => Ok(()),
            dropped => Err(Error::Dropped(dropped)),
        }
    }

    /// What the client has counted so far.
    pub fn counters(&self) -> Counters {
        self.0.tally.read()
    }

    pub(crate) async fn decide(&self, request: DecideRequest) -> Result<DecideResponse, Refused> {
        let Line { stub, options } = &*self.0.line;
        let episode = request.episode_id.clone();
        let request = self.0.line.outgoing(request, options.decide_deadline, &episode, self.0.line.trace().as_deref());
        answer_within(options.decide_deadline, stub.clone().decide(request)).await
    }

    pub(crate) fn count_decision(&self, fallback: Option<Code>) {
        self.0.tally.count(|counters| {
            counters.decisions += 1;
            if let Some(because) = fallback {
                *counters.fallbacks.entry(because).or_default() += 1;
            }
        });
    }

    pub(crate) fn fallback(&self) -> &FallbackTable {
        &self.0.line.options.fallback
    }
}

impl Line {
    fn trace(&self) -> Option<String> {
        self.options.traceparent.as_ref()?()
    }

    fn outgoing<T>(&self, message: T, deadline: Duration, episode: &str, trace: Option<&str>) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(deadline);
        let token = self.options.token.as_ref().and_then(|ask| ask());
        put(request.metadata_mut(), "sojourn-episode", episode_header(episode).as_deref());
        put(request.metadata_mut(), "traceparent", trace);
        put(request.metadata_mut(), "authorization", token.map(|token| format!("Bearer {token}")).as_deref());
        request
    }
}

impl Courier for Arc<Line> {
    async fn send(&self, report: &Report, trace: Option<&str>) -> Result<Acknowledgement, Refused> {
        let deadline = self.options.report_deadline;
        let mut stub = self.stub.clone();
        let (state, joined_decisions) = match report {
            Report::Turn(request) => {
                let call = stub.report_turn(self.outgoing(request.clone(), deadline, &request.episode_id, trace));
                (answer_within(deadline, call).await?.state(), 0)
            }
            Report::Outcome(request) => {
                let call = stub.report_outcome(self.outgoing(request.clone(), deadline, &request.episode_id, trace));
                let answer = answer_within(deadline, call).await?;
                (answer.state(), answer.joined_decisions)
            }
        };
        Ok(Acknowledgement { state: state_name(state), joined_decisions })
    }
}

fn state_name(state: ReportState) -> String {
    short(state.as_str_name(), "REPORT_STATE_")
}

/// A call's answer. The transport counts the deadline from the connection on, this from the beginning.
async fn answer_within<T>(deadline: Duration, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Refused> {
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Refused::from_status(&status)),
        Err(_) => Err(Refused::by_client(Code::DeadlineExceeded, "", format!("no answer within {deadline:?}"))),
    }
}

fn channel(target: &str, tls: Option<ClientTlsConfig>) -> Result<Channel, tonic::transport::Error> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{target}"))?.connect_timeout(CONNECT_WITHIN);
    let endpoint = if let Some(tls) = tls { endpoint.tls_config(tls)? } else { endpoint };
    Ok(endpoint.connect_lazy())
}

/// An episode's id as the header by which a proxy keeps its turns together: visible ASCII but for "%" stays, any other
/// byte becomes "%" and two hexadecimal digits. An id that the router refuses for its length is left out, as a header may
/// be too long for the transport, which says less clearly why.
fn episode_header(id: &str) -> Option<String> {
    let written = |byte: u8| match byte {
        b'%' => "%25".to_owned(),
        b'!'..=b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    (1..=MAX_ID_BYTES).contains(&id.len()).then(|| id.bytes().map(written).collect())
}

/// A value that is no header is left out: the call goes on without it, and the router says what is missing.
fn put(metadata: &mut MetadataMap, key: &'static str, value: Option<&str>) {
    if let Some(value) = value.and_then(|value| MetadataValue::<Ascii>::try_from(value).ok()) {
        metadata.insert(key, value);
    }
}

/// Refuses what is too long to be accepted. The transport answers that with RESOURCE_EXHAUSTED, which would look like an
/// overloaded router and be retried for ever.
pub(crate) fn check_size(request: &impl prost::Message) -> Result<(), Error> {
    let size = request.encoded_len();
    if size > MAX_MESSAGE_BYTES {
        let message = format!("the request takes {size} bytes; {MAX_MESSAGE_BYTES} are allowed");
        return Err(Refused::by_client(Code::InvalidArgument, "INVALID_FIELD", message).into());
    }
    Ok(())
}
