//! What an HTTP status says about trying again.

use crate::FetchResponse;
use kernel::fault::{Cause, Fault, FaultClass};
use kernel::time::Timestamp;
use std::time::Duration;

/// A wish to be left alone for longer is cut to this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A response with a status outside 2xx is a fault.
pub fn settled(response: &FetchResponse, now: Timestamp) -> Result<(), Fault> {
    match response.status {
        200..=299 => Ok(()),
        _ => Err(fault_of(response, now)),
    }
}

/// The fault that an unwanted status is. `now` is for a `Retry-After` that names a date.
pub fn fault_of(response: &FetchResponse, now: Timestamp) -> Fault {
    let status = response.status;
    let reason = match status {
        300..=399 => format!("the response is {status}; redirects are not followed"),
        _ => format!("the response is {status}"),
    };
    let retry_after = header(response, "retry-after").and_then(|header| wait_of(header, now));
    Fault {
        class: FaultClass::of_status(status),
        reason,
        cause: Cause::Status(status),
        retry_after,
    }
}

/// The value of the first header with this name, given in lower case.
pub fn header<'a>(response: &'a FetchResponse, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
}

fn wait_of(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let wait = match is_number {
        // One that is too large for us is too long for us.
        true => text.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs),
        false => {
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Timestamp(at.as_microsecond()).since(now)
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> FetchResponse {
        let headers = headers.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        FetchResponse { status, headers, body: Vec::new() }
    }

    #[test]
    fn only_some_statuses_are_worth_another_try() {
        let of = |class| {
            (100..600).filter(|it| FaultClass::of_status(*it) == class).collect::<Vec<u16>>()
        };
        let tried = of(FaultClass::Transient);
        assert!([408, 425, 429, 500, 502, 503, 504, 599].iter().all(|it| tried.contains(it)));
        assert!(![400, 401, 404, 409, 501, 505, 301].iter().any(|it| tried.contains(it)));
        assert_eq!(of(FaultClass::Configuration), [401, 403, 407]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_an_hour() {
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let wait = |text| fault_of(&answer(503, &[("retry-after", text)]), now).retry_after;
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Thu, 01 Jan 2026 00:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(wait("999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(wait("999999999999999999999999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(wait("Wed, 31 Dec 2025 23:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!((wait("-1"), wait("")), (None, None));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn a_redirect_is_permanent() {
        let fault = settled(&answer(302, &[]), Timestamp(0)).unwrap_err();
        assert!(!fault.is_transient() && fault.cause == Cause::Status(302), "{fault:?}");
        assert_eq!(settled(&answer(204, &[]), Timestamp(0)), Ok(()));
    }
}
