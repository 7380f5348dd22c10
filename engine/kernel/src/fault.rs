//! What went wrong outside, and what it says about trying again.

use crate::env::NoThread;
use std::fmt;
use std::time::Duration;

/// Why a stage could not do its work.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What it says about trying again.
    pub class: FaultClass,
    /// What went wrong, in words, without secrets.
    pub reason: String,
    /// What kind of trouble it was, for `retry on=`.
    pub cause: Cause,
    /// The other side's wish when to be called again.
    pub retry_after: Option<Duration>,
}

/// What a fault says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultClass {
    /// Trying again may help: a timeout, a broken connection, a busy service.
    Transient,
    /// Trying again will not help: the other side rejects this event.
    Permanent,
    /// Nothing sent there will be taken until somebody changes something: a wrong token, a missing
    /// permission. It says nothing about the event.
    Configuration,
}

/// What kind of trouble a fault was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No answer in time.
    Timeout,
    /// No connection, or one that broke.
    Connect,
    /// An HTTP status.
    Status(u16),
    /// A path of this machine that cannot be used as it is.
    Path,
    /// Anything else.
    Other,
}

impl Cause {
    /// The code of a part whose calls end like this.
    pub const fn code(self) -> &'static str {
        match self {
            Cause::Timeout => "timeout",
            Cause::Connect => "unreachable",
            Cause::Status(_) => "bad-answer",
            Cause::Path => "path-unusable",
            Cause::Other => "fault",
        }
    }
}

impl Fault {
    /// Trying again may help.
    pub fn transient(cause: Cause, reason: impl Into<String>) -> Self {
        Fault { class: FaultClass::Transient, reason: reason.into(), cause, retry_after: None }
    }

    /// Trying again will not help.
    pub fn permanent(reason: impl Into<String>) -> Self {
        let (class, cause) = (FaultClass::Permanent, Cause::Other);
        Fault { class, reason: reason.into(), cause, retry_after: None }
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        self.class == FaultClass::Transient
    }
}

impl FaultClass {
    /// Every class, in the order of its code.
    pub const ALL: [FaultClass; 3] =
        [FaultClass::Transient, FaultClass::Permanent, FaultClass::Configuration];

    /// What an HTTP status says about trying again, where `retry on=` says nothing else.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 | 403 | 407 => FaultClass::Configuration,
            501 | 505 => FaultClass::Permanent,
            408 | 425 | 429 | 500..=599 => FaultClass::Transient,
            _ => FaultClass::Permanent,
        }
    }

    /// Its word in dead letters, the log and the API.
    pub fn word(self) -> &'static str {
        ["transient", "permanent", "configuration"][self as usize]
    }
}

impl From<NoThread> for Fault {
    fn from(fault: NoThread) -> Self {
        Fault::transient(Cause::Other, fault.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
