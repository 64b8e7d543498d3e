//! Failed calls: first a plain value, then, for the caller's own mistakes alone, an error of a decision.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt;

/// What this crate's functions fail with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The router refused a request for good, or the client did before it was sent.
    Refused(Refused),
    /// The router did not answer, for this reason, and no model that may serve the turn is known to the client.
    NoFallback(Code),
    /// So many reports were given up without an acknowledgement.
    Dropped(usize),
    /// A report or a retry came before the first decision.
    NoTurn,
    /// The target or the TLS settings are of no use.
    Target(String),
}

/// A call that the router did not carry out.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The gRPC status.
    pub code: Code,
    /// A name of `ErrorReason`, such as "PAYLOAD_CONFLICT", or "".
    pub reason: String,
    /// The status' own words.
    pub message: String,
    /// The malformed fields.
    pub violations: Vec<FieldViolation>,
    pub(crate) retry_after: Duration,
}

/// One malformed field of a request.
#[derive(Debug, Clone)]
pub struct FieldViolation {
    /// Its path, such as "context.prompt_tokens".
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Refused {
    /// A refusal that the client makes by itself.
    pub(crate) fn by_client(code: Code, reason: &str, message: String) -> Self {
        let reason = reason.to_owned();
        Self { code, reason, message, violations: Vec::new(), retry_after: Duration::ZERO }
    }

    /// Reads a status with the details beside it.
    pub(crate) fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
        Self {
            code: code_of(status),
            reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
            violations: violations.into_iter().map(|v| FieldViolation { field: v.field, description: v.description }).collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay).unwrap_or_default(),
        }
    }

    /// Tells the caller's mistakes, which fail a decision too; all else is answered by a fallback.
    pub(crate) fn is_mistake(&self) -> bool {
        matches!(self.code, Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists | Code::NotFound)
    }

    /// Tells what a report is sent again for. Cancelled: the server went away during the call.
    pub(crate) fn is_transient(&self) -> bool {
        use Code::{Aborted, Cancelled, DeadlineExceeded, ResourceExhausted, Unavailable};
        matches!(self.code, Unavailable | DeadlineExceeded | ResourceExhausted | Aborted | Cancelled)
    }
}

/// The code of a status that the router sent; one with a source was made here, because the transport failed.
fn code_of(status: &Status) -> Code {
    let mut source = status.source();
    if source.is_none() {
        return status.code();
    }
    while let Some(error) = source {
        if error.is::<TimeoutExpired>() {
            return Code::DeadlineExceeded;
        }
        source = error.source();
    }
    Code::Unavailable
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({}): {}", self.code, self.reason, self.message)?;
        self.violations.iter().try_for_each(|v| write!(f, "; {}: {}", v.field, v.description))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(refused) => refused.fmt(f),
            Error::NoFallback(code) => {
                write!(f, "the router did not decide ({code:?}), and no incumbent and no fallback model may serve this turn")
            }
            Error::Dropped(count) => write!(f, "{count} report(s) dropped without an acknowledgement"),
            Error::NoTurn => f.write_str("no turn has been decided"),
            Error::Target(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}
impl std::error::Error for Refused {}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Error::Refused(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_transport_says_is_not_the_routers_word() {
        let broken = Status::from_error(Box::new(std::io::Error::other("broken pipe")));
        assert_eq!(Refused::from_status(&broken).code, Code::Unavailable);
        let late = Status::from_error(Box::new(TimeoutExpired(())));
        assert_eq!(Refused::from_status(&late).code, Code::DeadlineExceeded);
        let told = Status::internal("a fault");
        assert_eq!(Refused::from_status(&told).code, Code::Internal);
    }
}
