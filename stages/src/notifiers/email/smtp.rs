//! One conversation with a mail server: connect, secure, sign in, hand letters over.
//!
//! It runs on a thread of the pool for the outside. *Invariant:* no step begins after the deadline,
//! and none waits for the server beyond it, so a server that says nothing more costs a thread until
//! then. One that drips single bytes costs it longer; the kind lets few conversations run at once.
//!
//! *Never:* a password over a connection that others can read, unless the file says so.

use crate::notifiers::service::masked;
use crate::notifiers::text::{TextLimit, one_line};
use kernel::env::Clock;
use kernel::fault::{Cause, Fault, FaultClass};
use lettre::Address;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::response::Severity;
use std::error::Error;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// A farewell is not waited for any longer: the letters are delivered.
const QUIT_MAX: Duration = Duration::from_millis(500);
/// What of the server's words is shown.
const REASON_LIMIT: TextLimit = TextLimit::bytes(200);

/// How the connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// TLS from the first byte.
    Tls,
    /// TLS before anything is said that matters.
    StartTls,
    /// None.
    Plain,
}

/// Where letters are handed over.
pub(super) struct MailServer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) tls: TlsParameters,
    /// User name and password.
    pub(super) login: Option<(String, String)>,
    /// Who we say that we are.
    pub(super) hello: ClientId,
}

/// A letter, ready to be sent.
pub(super) struct Letter {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) bytes: Vec<u8>,
}

/// A conversation and its limit.
struct MailSession<'a> {
    connection: SmtpConnection,
    deadline: Deadline<'a>,
}

#[derive(Clone, Copy)]
struct Deadline<'a> {
    clock: &'a dyn Clock,
    /// By the monotonic clock.
    at: Duration,
}

/// Why a step has failed, and whether the conversation is over with it.
struct StepFault {
    fault: Fault,
    is_over: bool,
}

impl Deadline<'_> {
    fn left(self) -> Result<Duration, StepFault> {
        let left = self.at.saturating_sub(self.clock.monotonic());
        let late = || Fault::transient(Cause::Timeout, "the mail server did not respond in time");
        if left < Duration::from_millis(1) {
            return Err(StepFault { fault: late(), is_over: true });
        }
        Ok(left)
    }
}

impl MailServer {
    /// Hands letters over in one conversation; how each of them ended, in their order.
    pub(super) fn post(
        &self,
        letters: &[Letter],
        clock: &dyn Clock,
        at: Duration,
    ) -> Vec<Result<(), Fault>> {
        let mut results = Vec::with_capacity(letters.len());
        let mut session = match self.open(Deadline { clock, at }) {
            Ok(session) => session,
            Err(step) => return vec![Err(step.fault); letters.len()],
        };
        for letter in letters {
            match session.send(letter) {
                Ok(()) => results.push(Ok(())),
                Err(step) if !step.is_over && session.reset().is_ok() => {
                    results.push(Err(step.fault));
                }
                Err(step) => {
                    results.push(Err(step.fault.clone()));
                    // The rest was not sent at all.
                    let unsent = Fault::transient(step.fault.cause, step.fault.reason);
                    results.resize(letters.len(), Err(unsent));
                    return results;
                }
            }
        }
        session.connection.set_timeout(Some(QUIT_MAX)).ok();
        session.connection.quit().ok();
        results
    }

    fn open<'a>(&self, deadline: Deadline<'a>) -> Result<MailSession<'a>, StepFault> {
        let mut session = MailSession { connection: self.connect(deadline)?, deadline };
        if self.security == Security::StartTls {
            if !session.connection.can_starttls() {
                let reason = "the mail server offers no STARTTLS";
                return Err(StepFault { fault: of_settings(reason), is_over: true });
            }
            session.step("STARTTLS", |session| session.starttls(&self.tls, &self.hello))?;
        }
        if let Some((user, password)) = &self.login {
            let ways = [Mechanism::Plain, Mechanism::Login];
            if session.connection.server_info().get_auth_mechanism(&ways).is_none() {
                let reason = "the mail server offers no sign-in by password";
                return Err(StepFault { fault: of_settings(reason), is_over: true });
            }
            let credentials = Credentials::new(user.clone(), password.clone());
            let signed_in = session.step("sign-in", |session| session.auth(&ways, &credentials));
            signed_in.map_err(|mut step| {
                step.fault.reason = masked(&step.fault.reason, &[password]);
                step
            })?;
        }
        Ok(session)
    }

    fn connect(&self, deadline: Deadline<'_>) -> Result<SmtpConnection, StepFault> {
        let over = |fault| StepFault { fault, is_over: true };
        let unknown = |fault: std::io::Error| {
            let reason = format!("the mail server's name could not be resolved: {fault}");
            over(Fault::transient(Cause::Connect, reason))
        };
        let found = (self.host.as_str(), self.port).to_socket_addrs().map_err(unknown)?;
        let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
        let tls = (self.security == Security::Tls).then_some(&self.tls);
        let mut last = over(Fault::transient(Cause::Connect, "the mail server has no address"));
        for (at, address) in addresses.iter().enumerate() {
            // An address that does not answer leaves time for the others.
            let share = u32::try_from(addresses.len() - at).unwrap_or(1);
            let timeout = Some(deadline.left()? / share);
            match SmtpConnection::connect(address, timeout, &self.hello, tls, None) {
                Ok(connection) => return Ok(connection),
                Err(fault) => last = fault_of(&fault, "connection"),
            }
        }
        Err(last)
    }
}

impl MailSession<'_> {
    fn step<T>(
        &mut self,
        what: &str,
        act: impl FnOnce(&mut SmtpConnection) -> Result<T, SmtpError>,
    ) -> Result<T, StepFault> {
        let left = self.deadline.left()?;
        let set = self.connection.set_timeout(Some(left));
        set.map_err(|fault| StepFault {
            fault: Fault::transient(Cause::Connect, fault.to_string()),
            is_over: true,
        })?;
        act(&mut self.connection).map_err(|fault| fault_of(&fault, what))
    }

    fn send(&mut self, letter: &Letter) -> Result<(), StepFault> {
        let mut options = Vec::new();
        if ![&letter.from, &letter.to].iter().all(|it| it.user().is_ascii()) {
            if !self.connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                let reason = "the mail server does not accept addresses with such characters";
                return Err(StepFault { fault: Fault::permanent(reason), is_over: false });
            }
            options.push(MailParameter::SmtpUtfEight);
        }
        let (from, to) = (letter.from.clone(), letter.to.clone());
        self.step("sender", |it| it.command(Mail::new(Some(from), options)))?;
        self.step("recipient", |it| it.command(Rcpt::new(to, Vec::new())))?;
        self.step("message", |it| it.command(Data))?;
        self.step("message", |it| it.message(&letter.bytes)).map(drop)
    }

    /// Begins again after a letter that was not taken.
    fn reset(&mut self) -> Result<(), StepFault> {
        self.step("reset", |it| it.command(Rset)).map(drop)
    }
}

/// Nothing will be sent there until somebody changes something.
fn of_settings(reason: &str) -> Fault {
    Fault { class: FaultClass::Configuration, ..Fault::permanent(reason) }
}

/// By RFC 5321, 4yz may be tried again and 5yz may not; some of these are about who we are, and not
/// about the letter.
fn fault_of(error: &SmtpError, what: &str) -> StepFault {
    let words = error.source().map(ToString::to_string).unwrap_or_default();
    let words = REASON_LIMIT.cut(&one_line(&words));
    let Some(code) = error.status() else {
        // A socket whose time is up says that it would have to wait.
        let is_late = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
        let is_late = is_late.is_some_and(|it| it.kind() == std::io::ErrorKind::WouldBlock);
        let fault = match is_late || error.is_timeout() {
            true => Fault::transient(Cause::Timeout, "the mail server did not respond in time"),
            false if error.is_tls() => {
                Fault::transient(Cause::Connect, format!("the TLS handshake failed: {words}"))
            }
            false => Fault::transient(
                Cause::Connect,
                format!("the mail server's {what} failed: {words}"),
            ),
        };
        return StepFault { fault, is_over: true };
    };
    let reason = format!("the mail server rejected the {what}: {code} {words}");
    let number: u16 = code.to_string().parse().unwrap_or(0);
    let fault = match (code.severity, number) {
        // RFC 4954: no or no right password, or none of a kind that is allowed.
        (_, 530 | 534 | 535 | 538) => of_settings(&reason),
        (Severity::PermanentNegativeCompletion, _) => Fault::permanent(reason),
        _ => Fault::transient(Cause::Other, reason),
    };
    // 421: the server closes the connection.
    StepFault { fault, is_over: number == 421 || matches!(what, "connection" | "sign-in") }
}
