//! How many requests may read the store at once, and how many may wait to.

use crate::http::api;
use crate::http::problem::ProblemDetails;
use smol::lock::{Semaphore, SemaphoreGuardArc};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Requests that read the store or make text of what they read. Each holds at most a page of it.
const READING_MAX: usize = 4;
/// Requests that wait to; further ones are refused.
const WAITING_MAX: usize = 64;

/// Paths of the API that do not read the store, or little: what they wait for must not keep others
/// from reading it.
const STORELESS: [&str; 6] = [
    "/api/pipeline",
    "/api/pipeline/graph",
    "/api/figures",
    "/api/notifications/test",
    "/api/pause",
    "/api/resume",
];

/// Lets a limited number of requests read the store.
pub(crate) struct QueryGate {
    reading: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A request that reads the store, until it is dropped. It holds nothing where the path needs no
/// store.
pub(crate) struct QueryPermit {
    _permit: Option<SemaphoreGuardArc>,
}

impl Default for QueryGate {
    fn default() -> Self {
        let reading = Arc::new(Semaphore::new(READING_MAX));
        QueryGate { reading, waiting: AtomicUsize::new(0) }
    }
}

impl QueryGate {
    /// Waits for a turn, if `path` reads the store.
    pub(crate) async fn enter(&self, path: &str) -> Result<QueryPermit, ProblemDetails> {
        if !path.starts_with("/api/") || STORELESS.contains(&path) || api::is_file(path) {
            return Ok(QueryPermit { _permit: None });
        }
        let Some(_waiting) = GateWaiting::begin(&self.waiting) else {
            let detail = format!("{WAITING_MAX} requests already wait to read the store");
            return Err(ProblemDetails::new(503, detail).retry_after(1));
        };
        Ok(QueryPermit { _permit: Some(self.reading.acquire_arc().await) })
    }

    /// Requests that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Counts one that waits, also when it is dropped meanwhile.
struct GateWaiting<'a>(&'a AtomicUsize);

impl<'a> GateWaiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Option<Self> {
        let one_more = |number: usize| (number < WAITING_MAX).then_some(number + 1);
        count.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(GateWaiting(count))
    }
}

impl Drop for GateWaiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::poll_once;

    #[test]
    fn some_read_some_wait_and_the_rest_is_refused() {
        let gate = QueryGate::default();
        let enter = || poll_once(gate.enter("/api/events"));
        let reading: Vec<_> = (0..READING_MAX).map(|_| enter().unwrap().unwrap()).collect();
        let mut waiting: Vec<_> =
            (0..WAITING_MAX).map(|_| Box::pin(gate.enter("/api/stats"))).collect();
        for it in &mut waiting {
            assert!(poll_once(it.as_mut()).is_none());
        }
        let refused = enter().unwrap().err().unwrap();
        assert_eq!((refused.status, refused.retry_after), (503, Some(1)));
        assert!(poll_once(gate.enter("/api/pipeline")).unwrap().is_ok(), "it reads no store");
        // Whoever loses interest leaves the line.
        waiting.truncate(1);
        assert_eq!(gate.waiting(), 1);
        drop(reading);
        assert!(poll_once(waiting[0].as_mut()).unwrap().is_ok());
        waiting.clear();
        assert_eq!(gate.waiting(), 0);
        assert!(enter().unwrap().is_ok());
    }
}
