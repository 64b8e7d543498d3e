//! What a client counts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tonic::Code;

/// What a client has counted so far.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Turns that were decided, by the router or by the client.
    pub decisions: usize,
    /// Turns that the client decided by itself, by the reason.
    pub fallbacks: HashMap<Code, usize>,
    /// Reports that the router has acknowledged.
    pub reports_acknowledged: usize,
    /// Times that a report was to be sent again.
    pub reports_retried: usize,
    /// Reports that the router refused for good.
    pub reports_refused: usize,
    /// Reports that were given up: the queue was full, or the client was closed.
    pub reports_dropped: usize,
}

/// Guards the counters.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counters>);

impl Tally {
    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn read(&self) -> Counters {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
