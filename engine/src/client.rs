//! What commands share that call a running engine: where it is, one request, and what its answer
//! means.
//!
//! *Never:* a token on the command line, in a message or in a URL. *Never:* an answer of unlimited
//! size or time.

pub(crate) mod address;
pub(crate) mod figures;
pub(crate) mod find;
pub(crate) mod json;
pub(crate) mod metrics;
pub(crate) mod pages;
pub(crate) mod query;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod timeline;
mod token;

use clap::Args;
use kernel::env::Env;
use kernel::fault::{Cause, Fault};
use kernel::health::printable;
use language::parse_duration;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use wire::{Fetch, FetchRequest, FetchResponse, Wire, answer};

pub(crate) use token::token_at;

/// The longest answer that is read, in bytes. A page of events has at most 4 MiB and one event.
const BODY_MAX: usize = 64 << 20;

/// How long a response may take where nothing is said: longer than an engine holds the answer to a
/// wrong token back.
const TIMEOUT: &str = "15s";

/// What is shown of a reason that the engine gives, in bytes.
const REASON_MAX: usize = 2000;

/// How an engine is called.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which engine")]
pub(crate) struct CallArgs {
    /// The address of the running engine.
    /// Default: that of the engine that runs the file, otherwise http://127.0.0.1:8600.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Where the token is: `env:NAME` or `file:PATH`.
    #[arg(long, value_name = "WHERE")]
    token: Option<String>,
    /// Stop waiting for a response after this long.
    #[arg(long, value_name = "DURATION", default_value = TIMEOUT, value_parser = timeout)]
    timeout: Duration,
}

/// Which engine a command calls, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which engine")]
pub(crate) struct EngineArgs {
    /// Find the engine that runs this pipeline file.
    #[arg(short, long, value_name = "FILE", conflicts_with = "url")]
    file: Option<PathBuf>,
    /// With --file: the folder that was passed to `engine run` as --data.
    #[arg(long, value_name = "DIR", requires = "file")]
    data: Option<PathBuf>,
    #[command(flatten)]
    call: CallArgs,
}

impl EngineArgs {
    /// For a command that takes the file as an argument of its own; an address goes before it.
    pub(crate) fn of_file(file: Option<PathBuf>, data: Option<PathBuf>, call: CallArgs) -> Self {
        EngineArgs { file, data, call }
    }

    /// The sources of the file as an engine shows them; `None` where none is given, or it has
    /// errors.
    pub(crate) fn sources_of_file(&self) -> Option<Vec<Value>> {
        let plan = find::plan_of(self.file.as_ref()?, self.data.as_deref(), "").ok()?;
        compiler::graph::plain(&plan).remove("sources")?.as_array().cloned()
    }

    /// The longest wait for a response.
    pub(crate) fn timeout(&self) -> Duration {
        self.call.timeout
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let wanted = || "write a duration from 1ms to 1h, such as 10s".to_owned();
    let duration = parse_duration(text).ok_or_else(wanted)?;
    let is_sensible = Duration::from_millis(1) <= duration && duration <= Duration::from_secs(3600);
    is_sensible.then_some(duration).ok_or_else(wanted)
}

/// Why a command that calls an engine cannot go on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClientFault {
    /// The status of the engine's answer, where it gave one.
    pub(crate) status: Option<u16>,
    /// What is wrong and what to do, for people.
    pub(crate) reason: String,
}

impl ClientFault {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        ClientFault { status: None, reason: reason.into() }
    }

    /// Says it on standard error; the exit code: 1 where the engine has no such thing, else 2.
    pub(crate) fn tell(&self) -> u8 {
        crate::terminal::to_terminal(&format!("engine: {}\n", self.reason));
        if self.status == Some(404) { 1 } else { 2 }
    }
}

/// A running engine to call.
pub(crate) struct EngineClient {
    /// Without a slash at its end.
    url: String,
    /// The file that the address was read from, which a crash may have left.
    found_in: Option<PathBuf>,
    token: Option<String>,
    timeout: Duration,
    wire: Wire,
    pub(crate) env: Env,
}

impl EngineClient {
    /// Finds the engine; nothing is sent yet.
    pub(crate) fn find(args: &EngineArgs) -> Result<Self, ClientFault> {
        let (url, found_in) = find::url(args)?;
        let token =
            args.call.token.as_deref().map(token_at).transpose().map_err(ClientFault::new)?;
        let env = Env::system();
        let wire = Wire::new(&env);
        Ok(EngineClient { url, found_in, token, timeout: args.call.timeout, wire, env })
    }

    /// The JSON that it answers to a GET.
    pub(crate) fn get(&self, path: &str) -> Result<Value, ClientFault> {
        let text = self.get_text(path)?;
        serde_json::from_str(&text).map_err(|_| self.no_engine("its response is not JSON"))
    }

    /// The same, with digits and the order of members as they were sent.
    pub(crate) fn get_text(&self, path: &str) -> Result<String, ClientFault> {
        self.text(&self.request("GET", path, None))
    }

    /// The JSON that it answers to a POST of JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, ClientFault> {
        let text = self.text(&self.request("POST", path, Some(body.to_string().into_bytes())))?;
        serde_json::from_str(&text).map_err(|_| self.no_engine("its response is not JSON"))
    }

    /// Deletes what is at a path.
    pub(crate) fn delete(&self, path: &str) -> Result<(), ClientFault> {
        self.text(&self.request("DELETE", path, None)).map(|_| ())
    }

    /// What a request of this client looks like.
    pub(crate) fn request(
        &self,
        method: &'static str,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> FetchRequest {
        let mut headers = Vec::new();
        if let Some(token) = &self.token {
            headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        }
        if body.is_some() {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        let (url, timeout) = (format!("{}{path}", self.url), self.timeout);
        FetchRequest { method, url, headers, body, timeout, body_max: BODY_MAX }
    }

    /// Whether the engine is ready, and what it says about that. One that does not know the caller
    /// says only whether it is.
    pub(crate) fn readiness(&self) -> Result<EngineReadiness, ClientFault> {
        let answer = self.send(&self.request("GET", "/readyz", None))?;
        let is_ready = answer.status == 200;
        let text = String::from_utf8_lossy(&answer.body);
        if !matches!(answer.status, 200 | 503) {
            return Err(self.refused(&answer));
        }
        if matches!(&*text, "up\n" | "down\n") {
            return Ok(EngineReadiness { is_ready, ..EngineReadiness::default() });
        }
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if body["ready"].as_bool() != Some(is_ready) {
            return Err(self.no_engine("its response does not say whether it is ready"));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
        let problem =
            |value: &Value| (text(&value["part"]), text(&value["reason"]), text(&value["advice"]));
        let pause = |value: &Value| (text(&value["name"]), ends_at(value));
        Ok(EngineReadiness {
            is_ready,
            reasons: list("reasons").iter().map(text).collect(),
            is_stale: body["config"] == "stale",
            degraded: list("degraded").iter().map(problem).collect(),
            paused: list("paused").iter().map(pause).collect(),
        })
    }

    /// The answer, whatever its status.
    pub(crate) fn send(&self, request: &FetchRequest) -> Result<FetchResponse, ClientFault> {
        smol::block_on(self.wire.fetch(request.clone())).map_err(|fault| self.unreachable(&fault))
    }

    /// Takes an endless response part by part; see [`Wire::follow`].
    pub(crate) fn follow(
        &self,
        request: &FetchRequest,
        take: &mut (dyn FnMut(&[u8]) -> bool + Send),
    ) -> Result<FetchResponse, Fault> {
        smol::block_on(self.wire.follow(request, take))
    }

    fn text(&self, request: &FetchRequest) -> Result<String, ClientFault> {
        let answer = self.send(request)?;
        if !(200..300).contains(&answer.status) {
            return Err(self.refused(&answer));
        }
        let text = String::from_utf8(answer.body);
        text.map_err(|_| self.no_engine("its response is not text"))
    }

    pub(crate) fn unreachable(&self, fault: &Fault) -> ClientFault {
        let advice = match (&self.found_in, fault.cause) {
            (_, Cause::Other) => "check --url".to_owned(),
            (_, Cause::Timeout) => "it may be busy; give it longer with --timeout".to_owned(),
            (Some(file), _) => {
                format!(
                    "an engine that was killed may have left {}; start it again",
                    file.display()
                )
            }
            (None, _) => {
                "start it with `engine run FILE`, or give its address with --url".to_owned()
            }
        };
        ClientFault::new(format!("no response from {}: {}; {advice}", self.url, fault.reason))
    }

    /// What an answer other than 2xx says.
    pub(crate) fn refused(&self, answer: &FetchResponse) -> ClientFault {
        let status = answer.status;
        let is_problem = answer::header(answer, "content-type")
            .is_some_and(|header| header.starts_with("application/problem+json"));
        let problem: Option<Value> =
            serde_json::from_slice(&answer.body).ok().filter(|_| is_problem);
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
        let Some(detail) = detail.map(|detail| printable(detail, REASON_MAX)) else {
            return self.no_engine(&format!("it responds with status {status}"));
        };
        let reason = match (status, &self.token) {
            (401, None) => {
                format!("{} requires a token; use --token env:NAME or --token file:PATH", self.url)
            }
            (401, Some(_)) => format!("{} does not accept this token: {detail}", self.url),
            _ => detail,
        };
        ClientFault { status: Some(status), reason }
    }

    /// Something else listens there.
    pub(crate) fn no_engine(&self, why: &str) -> ClientFault {
        ClientFault::new(format!(
            "{} does not respond like an engine: {why}; check --url",
            self.url
        ))
    }
}

/// What an engine says about whether it is ready.
#[derive(Debug, Default)]
pub(crate) struct EngineReadiness {
    pub(crate) is_ready: bool,
    /// Why it is not.
    pub(crate) reasons: Vec<String>,
    /// The file on disk is not the one that runs.
    pub(crate) is_stale: bool,
    /// What does not work: the part, the reason, and what to do.
    pub(crate) degraded: Vec<(String, String, String)>,
    /// What somebody paused, and until when in words.
    pub(crate) paused: Vec<(String, String)>,
}

/// Until when a pause lasts, as an engine shows it, in words.
pub(crate) fn ends_at(pause: &Value) -> String {
    match pause["until"].as_str() {
        Some(until) => format!("until {}", timeline::second_of(until)),
        None => "until it is resumed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HOLD_MAX;

    #[test]
    fn an_answer_about_a_wrong_token_comes_in_time() {
        assert!(timeout(TIMEOUT).is_ok_and(|limit| HOLD_MAX < limit));
    }
}
