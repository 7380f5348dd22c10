//! How a service is called, and what its answers mean.

use super::text::{TextLimit, one_line};
use crate::contract::{Notice, Services};
use kernel::fault::{Fault, FaultClass};
use serde_json::Value;
use std::time::Duration;
use wire::{FetchRequest, FetchResponse, answer};

/// The answer to a message is short; a longer one is a fault.
pub(super) const ANSWER_MAX: usize = 64 << 10;

/// What of a service's own words is shown.
const REASON_LIMIT: TextLimit = TextLimit::bytes(200);

/// How a service says what it did not take: where its JSON has what, as JSON pointers.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerForm {
    /// Why, in words. Where there is nothing, a short answer as plain text says it.
    pub(super) reason: &'static [&'static str],
    /// After how many seconds to come again, beside `Retry-After`.
    pub(super) wait: &'static str,
    /// Whether no message will be taken until somebody changes the settings: by status and words.
    pub(super) is_setting: fn(u16, &str) -> bool,
    /// For a service whose status is good whatever it says, and whose JSON has `"ok": true` where
    /// it is: the status that other answers mean, by their words.
    pub(super) meant: Option<fn(&str) -> u16>,
}

impl AnswerForm {
    /// Whether the message was taken. `secrets` are never shown, whoever says them.
    fn settled(
        &self,
        response: &FetchResponse,
        services: &Services,
        secrets: &[&str],
    ) -> Result<(), Fault> {
        let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let mut fault = match answer::settled(response, services.env.clock.wall()) {
            Err(fault) => fault,
            Ok(()) => match self.meant.filter(|_| body["ok"] != true) {
                Some(meant) => self.refused(response, meant, &body, services),
                None => return Ok(()),
            },
        };
        if let Some(seconds) = body.pointer(self.wait).and_then(Value::as_f64) {
            // A negative number asks for nothing.
            let wait = (0.0 <= seconds).then(|| {
                let wait = Duration::try_from_secs_f64(seconds);
                wait.unwrap_or(answer::RETRY_AFTER_MAX).min(answer::RETRY_AFTER_MAX)
            });
            fault.retry_after = fault.retry_after.max(wait);
        }
        if let Some(words) = self.words(response, &body) {
            if !fault.is_transient() && (self.is_setting)(response.status, &words) {
                fault.class = FaultClass::Configuration;
            }
            let words = REASON_LIMIT.cut(&masked(&words, secrets));
            fault.reason = format!("{}: {words}", fault.reason);
        }
        Err(fault)
    }

    /// The fault of an answer whose status hides it. `Retry-After` counts as it does elsewhere.
    fn refused(
        &self,
        response: &FetchResponse,
        meant: fn(&str) -> u16,
        body: &Value,
        services: &Services,
    ) -> Fault {
        let status = meant(&self.words(response, body).unwrap_or_default());
        let meant = FetchResponse { status, ..response.clone() };
        let fault = answer::fault_of(&meant, services.env.clock.wall());
        Fault { reason: "the service did not accept it".to_owned(), ..fault }
    }

    fn words(&self, response: &FetchResponse, body: &Value) -> Option<String> {
        let told = self.reason.iter().find_map(|it| body.pointer(it)?.as_str());
        let plain = || std::str::from_utf8(&response.body).ok().filter(|_| body.is_null());
        // What is markup is a page for people, and says nothing here.
        let words = told.or_else(plain).map(one_line).filter(|it| !it.starts_with('<'))?;
        (!words.is_empty()).then_some(words)
    }
}

/// A service that is called, and what of its settings is never shown.
pub(super) struct ServiceCall<'a> {
    pub(super) answers: &'a AnswerForm,
    pub(super) services: &'a Services,
    pub(super) secrets: &'a [&'a str],
}

impl ServiceCall<'_> {
    /// One request, and what its answer means: the JSON of the answer, if it is JSON.
    pub(super) async fn send(&self, request: FetchRequest) -> Result<Value, Fault> {
        let answer = self.services.fetch.fetch(request).await?;
        self.answers.settled(&answer, self.services, self.secrets)?;
        Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// A request that changes a message; `unmade` reads the status and the words of a refusal.
    pub(super) async fn edit(
        &self,
        request: FetchRequest,
        unmade: fn(u16, &str) -> Option<UnmadeEdit>,
    ) -> Result<Edited, Fault> {
        let answer = self.services.fetch.fetch(request).await?;
        let Err(fault) = self.answers.settled(&answer, self.services, self.secrets) else {
            return Ok(Edited::Changed);
        };
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let words = self.answers.words(&answer, &body).unwrap_or_default();
        match unmade(answer.status, &words) {
            Some(UnmadeEdit::Same) => Ok(Edited::Changed),
            Some(UnmadeEdit::Gone) => Ok(Edited::Gone),
            None => Err(fault),
        }
    }
}

/// Why a service does not change a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnmadeEdit {
    /// It says so already.
    Same,
    /// It is not there any more, or will never be changed.
    Gone,
}

/// What became of a message that was to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edited {
    /// It is as it should be.
    Changed,
    /// There is none: the next one is a new one.
    Gone,
}

/// A text without secrets.
pub(super) fn masked(text: &str, secrets: &[&str]) -> String {
    let secrets = secrets.iter().filter(|secret| !secret.is_empty());
    secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

/// A request that posts JSON.
pub(super) fn posting(url: String, body: &Value, notice: &Notice) -> FetchRequest {
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    posting_bytes(url, headers, body.to_string().into_bytes(), notice)
}

/// A request that posts something else, which the headers name.
pub(super) fn posting_bytes(
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    notice: &Notice,
) -> FetchRequest {
    FetchRequest {
        method: "POST",
        url,
        headers,
        body: Some(body),
        timeout: notice.outgoing.timeout,
        body_max: ANSWER_MAX,
    }
}

/// A field of a message as text, for a form or a header; `None` where it has none.
pub(super) fn field_text(field: &Value) -> Option<String> {
    match field {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const FORM: AnswerForm = AnswerForm {
        reason: &["/description"],
        wait: "/parameters/retry_after",
        is_setting: |status, words| status == 400 && words.contains("chat not found"),
        meant: None,
    };

    fn fault(status: u16, headers: &[(&str, &str)], body: &str) -> Fault {
        let headers =
            headers.iter().map(|header| (header.0.to_owned(), header.1.to_owned())).collect();
        let response = FetchResponse { status, headers, body: body.as_bytes().to_vec() };
        FORM.settled(&response, &testing::alone(), &["hush", ""]).unwrap_err()
    }

    #[test]
    fn the_longer_of_two_waits_is_kept_up_to_an_hour() {
        let wait = |headers, body| fault(429, headers, body).retry_after.map(|it| it.as_millis());
        assert_eq!(wait(&[], r#"{"parameters":{"retry_after":3.5}}"#), Some(3500));
        let both = wait(&[("retry-after", "7")], r#"{"parameters":{"retry_after":3}}"#);
        assert_eq!(both, Some(7000));
        assert_eq!(wait(&[], r#"{"parameters":{"retry_after":1e9}}"#), Some(3_600_000));
        assert_eq!(wait(&[], r#"{"parameters":{"retry_after":1e300}}"#), Some(3_600_000));
        assert_eq!(wait(&[], r#"{"parameters":{"retry_after":-1}}"#), None);
        assert_eq!(wait(&[("retry-after", "7")], r#"{"retry_after":-1}"#), Some(7000));
        assert_eq!(wait(&[], "{}"), None);
    }

    #[test]
    fn the_reason_is_the_service_s_own_without_secrets() {
        let reason = |body| fault(400, &[], body).reason;
        assert_eq!(reason(r#"{"description":"bad hush\n!"}"#), "the response is 400: bad *** !");
        assert_eq!(reason("no_text"), "the response is 400: no_text");
        assert_eq!(reason("<html>"), "the response is 400");
        assert_eq!(reason(""), "the response is 400");
        let long = fault(400, &[], &"x".repeat(5000)).reason;
        assert!(long.len() < 250 && long.ends_with('…'), "{long}");
    }

    #[test]
    fn what_only_new_settings_can_change_is_not_the_event_s_fault() {
        let class = |status, body| fault(status, &[], body).class;
        let unknown = r#"{"description":"Bad Request: chat not found"}"#;
        assert_eq!(class(400, unknown), FaultClass::Configuration);
        assert_eq!(class(400, "{}"), FaultClass::Permanent);
        assert_eq!(class(500, unknown), FaultClass::Transient);
    }
}
