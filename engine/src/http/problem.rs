//! Bad news as RFC 9457 problem details.

use crate::http::wire::response::{BodyContent, Reply, reason};
use serde_json::{Value, json};

/// Why a request was not done, for programs and people.
#[derive(Debug, Clone, PartialEq)]
pub struct ProblemDetails {
    /// The status.
    pub status: u16,
    /// What is wrong with this request.
    pub detail: String,
    /// Each single fault, where there may be several.
    pub errors: Vec<Value>,
    /// After how many seconds to try again.
    pub retry_after: Option<u64>,
}

impl ProblemDetails {
    /// A problem of a kind; its title is the status in words.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        ProblemDetails { status, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// With each fault.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<Value>) -> Self {
        self.errors = errors;
        self
    }

    /// Worth trying again after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl From<ProblemDetails> for Reply {
    fn from(problem: ProblemDetails) -> Reply {
        let title = reason(problem.status);
        let mut body = json!({
            "type": "about:blank", "title": title, "status": problem.status,
            "detail": problem.detail,
        });
        if !problem.errors.is_empty() {
            body["errors"] = Value::Array(problem.errors);
        }
        let content = BodyContent::Full(body.to_string().into_bytes());
        let reply = Reply::new(problem.status, "application/problem+json", content);
        match problem.retry_after {
            Some(seconds) => reply.with("retry-after", seconds.to_string()),
            None => reply,
        }
    }
}
