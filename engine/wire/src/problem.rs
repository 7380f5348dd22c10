//! What went wrong with a call, in words without its URL, which may hold a secret.

use futures_rustls::rustls::{self, AlertDescription, CertificateError};
use kernel::fault::{Cause, Fault, FaultClass};
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use ureq_proto::Error as ProtocolError;

/// What a call is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallPhase {
    Waiting,
    Resolving,
    Connecting,
    Securing,
    Sending,
    Awaiting,
    Reading,
}

/// What to say of a call whose time ran out in each phase.
const TOO_LATE: [&str; 7] = [
    "no connection became free in time",
    "the host's name was not resolved in time",
    "no connection in time",
    "the TLS handshake did not end in time",
    "the request was not sent in time",
    "no response in time",
    "the response did not end in time",
];

/// The phase of one call, for whoever finds that its time is up.
#[derive(Debug, Default)]
pub(super) struct CallProgress(AtomicU8);

impl CallProgress {
    pub(super) fn enter(&self, phase: CallPhase) {
        self.0.store(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn too_late(&self) -> Fault {
        let phase = usize::from(self.0.load(Ordering::Relaxed));
        Fault::transient(Cause::Timeout, TOO_LATE[phase])
    }
}

/// The system's words, without the number of the error.
fn system_words(error: &io::Error) -> String {
    let words = error.to_string();
    match words.find(" (os error") {
        Some(end) => words[..end].to_owned(),
        None => words,
    }
}

pub(super) fn connect_fault(error: &io::Error) -> Fault {
    let words = system_words(error);
    match error.kind() {
        io::ErrorKind::TimedOut => Fault::transient(Cause::Timeout, "no connection in time"),
        _ => Fault::transient(Cause::Connect, format!("the connection failed: {words}")),
    }
}

/// The connection broke after it had been made.
pub(super) fn broken_fault(error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::TimedOut {
        return Fault::transient(Cause::Timeout, "the connection broke: no data in time");
    }
    let words = tls_words(error).unwrap_or_else(|| system_words(error));
    Fault::transient(Cause::Connect, format!("the connection broke: {words}"))
}

pub(super) fn closed_fault(when: &str) -> Fault {
    Fault::transient(Cause::Connect, format!("the connection was closed {when}"))
}

pub(super) fn name_fault(words: &str) -> Fault {
    let words = words.strip_prefix("failed to lookup address information: ").unwrap_or(words);
    Fault::transient(Cause::Connect, format!("the host's name could not be resolved: {words}"))
}

/// The answer breaks the rules of HTTP, so that nothing after it can be trusted either.
pub(super) fn malformed(what: impl std::fmt::Display) -> Fault {
    Fault::transient(Cause::Other, format!("the response is not valid HTTP: {what}"))
}

pub(super) fn protocol_fault(error: ProtocolError) -> Fault {
    match error {
        ProtocolError::HttpParseFail(words) => malformed(words),
        ProtocolError::HttpParseTooManyHeaders => malformed("it has too many headers"),
        error => malformed(error),
    }
}

/// TLS calls it an error when a connection is closed without a last word.
pub(super) fn is_close(fault: &io::Error) -> bool {
    matches!(fault.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe)
}

pub(super) fn too_long(length_max: usize) -> Fault {
    Fault::permanent(format!("the response is longer than {length_max} bytes"))
}

pub(super) fn handshake_fault(error: &io::Error) -> Fault {
    if let Some(fault) = identity_fault(error) {
        return fault;
    }
    let words = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
        _ => tls_words(error).unwrap_or_else(|| system_words(error)),
    };
    Fault::transient(Cause::Connect, format!("the TLS handshake failed: {words}"))
}

/// What ended a connection that was [dialled](crate::Fetch::dial). With TLS 1.3 a server says only
/// after the handshake that it does not take our certificate.
pub fn stream_fault(error: &io::Error) -> Fault {
    identity_fault(error).unwrap_or_else(|| broken_fault(error))
}

/// The fault where the server has something against our certificate.
fn identity_fault(error: &io::Error) -> Option<Fault> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::AlertReceived(alert) = error else { return None };
    let reason = match alert {
        AlertDescription::CertificateRequired => "the server requires a certificate of the client",
        AlertDescription::CertificateExpired => {
            "the server says that the client's certificate has expired"
        }
        AlertDescription::UnknownCA => {
            "the server does not know the authority of the client's certificate"
        }
        AlertDescription::CertificateRevoked => "the client's certificate has been revoked",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => "the server does not accept the client's certificate",
        _ => return None,
    };
    Some(Fault { class: FaultClass::Configuration, ..Fault::permanent(reason) })
}

fn tls_words(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(error) => certificate_words(error),
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS".to_owned(),
        rustls::Error::AlertReceived(alert) => format!("the server ended it with {alert:?}"),
        _ => error.to_string(),
    })
}

fn certificate_words(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "the server's certificate is from an unknown issuer".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another name".to_owned()
        }
        // An authority's own certificate, which is what the usual commands for making one give.
        CertificateError::Other(error) if error.0.to_string() == "CaUsedAsEndEntity" => {
            "the server's certificate is self-signed".to_owned()
        }
        CertificateError::Revoked => "the server's certificate has been revoked".to_owned(),
        _ => format!("the server's certificate is not valid: {error}"),
    }
}
