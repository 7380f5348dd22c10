//! Signatures of webhooks: whether a body comes from who knows the secret, and ours.
//!
//! All schemes are HMAC-SHA-256 (RFC 2104) over the bytes as received, compared in constant time
//! by `ring`. What is asked first is what costs nothing: whether the headers are there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kernel::time::Timestamp;
use ring::{digest, hmac};
use std::fmt;
use std::time::Duration;

/// How a sender signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `X-Hub-Signature-256: sha256=HEX` over the body (GitHub's "Validating webhook deliveries").
    Github,
    /// The bare hex of the body's signature, in a header of the file's choice.
    Hex,
    /// `Stripe-Signature: t=SECONDS,v1=HEX` over `SECONDS.body` (Stripe's "Webhook signatures").
    Stripe,
    /// `webhook-id`, `webhook-timestamp` and `webhook-signature: v1,BASE64` over
    /// `ID.SECONDS.body` (the Standard Webhooks specification).
    StandardWebhooks,
}

impl Scheme {
    /// Every scheme's word in the file.
    pub const WORDS: &'static [&'static str] = &["github", "stripe", "standard-webhooks", "hex"];

    /// Reads its word.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "github" => Scheme::Github,
            "hex" => Scheme::Hex,
            "stripe" => Scheme::Stripe,
            "standard-webhooks" => Scheme::StandardWebhooks,
            _ => return None,
        })
    }

    /// The header that the scheme itself prescribes.
    pub fn header(self) -> Option<&'static str> {
        match self {
            Scheme::Github => Some("x-hub-signature-256"),
            Scheme::Hex => None,
            Scheme::Stripe => Some("stripe-signature"),
            Scheme::StandardWebhooks => Some("webhook-signature"),
        }
    }
}

/// What checks the signatures of one source.
///
/// Never: its secret in `Debug` output.
#[derive(Clone)]
pub struct Signature {
    scheme: Scheme,
    header: String,
    tolerance: Duration,
    allows_replay: bool,
    secret: String,
    key: hmac::Key,
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signature").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        let of = |it: &Self| {
            (it.scheme, it.header.clone(), it.tolerance, it.allows_replay, it.secret.clone())
        };
        of(self) == of(other)
    }
}

/// A request as the check needs it: the value of the only header of a name.
pub type Header<'a> = &'a dyn Fn(&str) -> Option<&'a str>;

/// What is known of a request whose signature is right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signed {
    /// The id that the sender signed, where the scheme has one.
    pub id: Option<String>,
    /// The same for every request that repeats this one, and for no other; `None` where
    /// repetitions are wanted.
    pub once: Option<String>,
}

/// Why a body is not let in, without anything that helps to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsigned {
    /// There is no signature, or it cannot be read.
    Missing,
    /// It was made too long ago, or in the future.
    Old,
    /// It does not fit the body.
    Wrong,
}

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unsigned::Missing => "a signature is needed",
            Unsigned::Old => "the signature is too old",
            Unsigned::Wrong => "the signature does not match",
        })
    }
}

impl Signature {
    /// Checks by `scheme` with `secret`; `header` in lower case. `None` when the secret cannot
    /// be one: empty, or no base64 where the scheme wants it.
    pub fn new(
        scheme: Scheme,
        header: String,
        tolerance: Duration,
        secret: String,
    ) -> Option<Self> {
        let key = key_of(scheme, &secret)?;
        Some(Signature { scheme, header, tolerance, allows_replay: false, secret, key })
    }

    /// Takes requests that repeat an earlier one as new.
    #[must_use]
    pub fn allowing_replay(mut self, allows: bool) -> Self {
        self.allows_replay = allows;
        self
    }

    /// Whether the headers carry what a check needs, before any of the body is read.
    pub fn is_given(&self, header: Header<'_>) -> bool {
        header(&self.header).is_some()
    }

    /// Whether the body is signed by who knows the secret, at most the tolerance from `now`.
    pub fn check(
        &self,
        header: Header<'_>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Signed, Unsigned> {
        let given = header(&self.header).ok_or(Unsigned::Missing)?.trim();
        match self.scheme {
            Scheme::Github => self.one(given.strip_prefix("sha256="), body),
            Scheme::Hex => self.one(Some(given), body),
            Scheme::Stripe => {
                let parts = || given.split(',').filter_map(|part| part.trim().split_once('='));
                let seconds = parts().find(|part| part.0 == "t").ok_or(Unsigned::Missing)?.1;
                self.is_recent(seconds, now)?;
                let signed = [seconds.as_bytes(), b".", body].concat();
                let tags = parts().filter(|part| part.0 == "v1").filter_map(|part| unhex(part.1));
                self.any(tags, &signed)?;
                Ok(self.signed(None, &signed))
            }
            Scheme::StandardWebhooks => {
                let id = header("webhook-id").ok_or(Unsigned::Missing)?;
                let seconds = header("webhook-timestamp").ok_or(Unsigned::Missing)?;
                self.is_recent(seconds, now)?;
                let signed = standard_text(id, seconds, body);
                let tags = given.split_whitespace().filter_map(|word| word.strip_prefix("v1,"));
                self.any(tags.filter_map(|tag| STANDARD.decode(tag).ok()), &signed)?;
                // A sender that tries again signs a new time, and the same id.
                Ok(self.signed(Some(id), id.as_bytes()))
            }
        }
    }

    fn one(&self, hex: Option<&str>, body: &[u8]) -> Result<Signed, Unsigned> {
        self.any(hex.and_then(unhex).into_iter(), body)?;
        Ok(self.signed(None, body))
    }

    /// `told_apart` is what a repetition has in common with the first request.
    fn signed(&self, id: Option<&str>, told_apart: &[u8]) -> Signed {
        let once = || {
            let digest = digest::digest(&digest::SHA256, told_apart);
            digest.as_ref().iter().map(|it| format!("{it:02x}")).collect()
        };
        Signed { id: id.map(str::to_owned), once: (!self.allows_replay).then(once) }
    }

    /// Whether any of some tags fits; senders show two while a secret is being replaced.
    fn any(&self, tags: impl Iterator<Item = Vec<u8>>, signed: &[u8]) -> Result<(), Unsigned> {
        let mut result = Err(Unsigned::Missing);
        for tag in tags.take(8) {
            if hmac::verify(&self.key, signed, &tag).is_ok() {
                return Ok(());
            }
            result = Err(Unsigned::Wrong);
        }
        result
    }

    fn is_recent(&self, seconds: &str, now: Timestamp) -> Result<(), Unsigned> {
        let seconds: u32 = seconds.trim().parse().map_err(|_| Unsigned::Missing)?;
        let made = Timestamp(i64::from(seconds) * 1_000_000);
        let apart = now.since(made).max(made.since(now));
        if apart <= self.tolerance { Ok(()) } else { Err(Unsigned::Old) }
    }
}

/// The key that a secret is; `None` where it cannot be one.
fn key_of(scheme: Scheme, secret: &str) -> Option<hmac::Key> {
    let bytes = match scheme {
        Scheme::StandardWebhooks => {
            STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).ok()?
        }
        _ => secret.as_bytes().to_vec(),
    };
    let is_empty = bytes.is_empty() || secret.trim().is_empty();
    (!is_empty).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// What Standard Webhooks signs.
fn standard_text(id: &str, seconds: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", seconds.as_bytes(), b".", body].concat()
}

/// How we sign what we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignScheme {
    /// See [`Scheme::Github`].
    Github,
    /// See [`Scheme::StandardWebhooks`].
    StandardWebhooks,
}

impl SignScheme {
    /// Every scheme's word in the file.
    pub(crate) const WORDS: &'static [&'static str] = &["github", "standard-webhooks"];

    pub(crate) fn parse(word: &str) -> Option<Self> {
        match Scheme::parse(word)? {
            Scheme::Github => Some(SignScheme::Github),
            Scheme::StandardWebhooks => Some(SignScheme::StandardWebhooks),
            Scheme::Hex | Scheme::Stripe => None,
        }
    }

    fn scheme(self) -> Scheme {
        match self {
            SignScheme::Github => Scheme::Github,
            SignScheme::StandardWebhooks => Scheme::StandardWebhooks,
        }
    }

    /// The headers that it sets.
    pub(crate) fn headers(self) -> &'static [&'static str] {
        match self {
            SignScheme::Github => &["x-hub-signature-256"],
            SignScheme::StandardWebhooks => {
                &["webhook-id", "webhook-timestamp", "webhook-signature"]
            }
        }
    }

    /// Whether a text can be a secret of it.
    pub(crate) fn takes(self, secret: &str) -> bool {
        key_of(self.scheme(), secret).is_some()
    }
}

/// What signs the bodies of one notifier.
///
/// Never: its secrets in any output.
#[derive(Default)]
pub(crate) struct Signer {
    github: Option<hmac::Key>,
    /// Several while one replaces the other: whoever checks needs to know only one of them.
    standard: Vec<hmac::Key>,
}

impl Signer {
    /// Signs with one more secret; false where the text cannot be one.
    pub(crate) fn add(&mut self, scheme: SignScheme, secret: &str) -> bool {
        let Some(key) = key_of(scheme.scheme(), secret) else { return false };
        match scheme {
            SignScheme::Github => self.github = Some(key),
            SignScheme::StandardWebhooks => self.standard.push(key),
        }
        true
    }

    /// The headers of a body that is sent at `now`; `id` is the same for every attempt.
    pub(crate) fn sign(&self, id: &str, body: &[u8], now: Timestamp) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        if let Some(key) = &self.github {
            let tag = hmac::sign(key, body);
            let hex: String = tag.as_ref().iter().map(|it| format!("{it:02x}")).collect();
            headers.push(("X-Hub-Signature-256".to_owned(), format!("sha256={hex}")));
        }
        if !self.standard.is_empty() {
            let seconds = now.0.div_euclid(1_000_000).to_string();
            let text = standard_text(id, &seconds, body);
            let tag = |key| format!("v1,{}", STANDARD.encode(hmac::sign(key, &text)));
            let tags: Vec<String> = self.standard.iter().map(tag).collect();
            headers.push(("webhook-id".to_owned(), id.to_owned()));
            headers.push(("webhook-timestamp".to_owned(), seconds));
            headers.push(("webhook-signature".to_owned(), tags.join(" ")));
        }
        headers
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(scheme: Scheme, secret: &str) -> Signature {
        let header = scheme.header().unwrap_or("x-signature").to_owned();
        let tolerance = Duration::from_secs(300);
        Signature::new(scheme, header, tolerance, secret.to_owned()).expect("a secret")
    }

    #[track_caller]
    fn check(
        signature: &Signature,
        headers: &[(&str, &str)],
        body: &str,
        at: i64,
        expected: Result<(), Unsigned>,
    ) {
        let header =
            |name: &str| headers.iter().find(|header| header.0 == name).map(|header| header.1);
        let now = Timestamp(at * 1_000_000);
        let checked = signature.check(&header, body.as_bytes(), now);
        assert_eq!(checked.map(drop), expected);
    }

    /// The example of GitHub's documentation.
    const GITHUB: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn githubs_own_example_fits_and_nothing_near_it() {
        let github = signature(Scheme::Github, "It's a Secret to Everybody");
        let name = "x-hub-signature-256";
        check(&github, &[(name, GITHUB)], "Hello, World!", 0, Ok(()));
        check(&github, &[(name, GITHUB)], "Hello, World?", 0, Err(Unsigned::Wrong));
        check(&github, &[(name, &GITHUB[..69])], "Hello, World!", 0, Err(Unsigned::Wrong));
        check(&github, &[(name, &GITHUB[7..])], "Hello, World!", 0, Err(Unsigned::Missing));
        check(&github, &[(name, "sha256=")], "Hello, World!", 0, Err(Unsigned::Wrong));
        check(&github, &[(name, "sha256=xyz")], "Hello, World!", 0, Err(Unsigned::Missing));
        check(&github, &[], "Hello, World!", 0, Err(Unsigned::Missing));
        let other = signature(Scheme::Github, "it's a secret to everybody");
        check(&other, &[(name, GITHUB)], "Hello, World!", 0, Err(Unsigned::Wrong));
        let hex = signature(Scheme::Hex, "It's a Secret to Everybody");
        check(&hex, &[("x-signature", &GITHUB[7..].to_uppercase())], "Hello, World!", 0, Ok(()));
    }

    #[test]
    fn a_time_is_part_of_what_is_signed() {
        let stripe = signature(Scheme::Stripe, "key");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), b"1000.{}");
        let hex: String = tag.as_ref().iter().map(|it| format!("{it:02x}")).collect();
        let headers = |seconds: u32| format!("t={seconds},v0=aa,v1=bb,v1={hex}");
        let name = "stripe-signature";
        check(&stripe, &[(name, &headers(1000))], "{}", 1300, Ok(()));
        check(&stripe, &[(name, &headers(1000))], "{}", 1301, Err(Unsigned::Old));
        check(&stripe, &[(name, &headers(1000))], "{}", 699, Err(Unsigned::Old));
        check(&stripe, &[(name, &headers(1001))], "{}", 1000, Err(Unsigned::Wrong));
        check(&stripe, &[(name, "v1=aa")], "{}", 1000, Err(Unsigned::Missing));
    }

    /// The example of the Standard Webhooks specification.
    #[test]
    fn standard_webhooks_own_example_fits() {
        let standard =
            signature(Scheme::StandardWebhooks, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let headers = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ];
        check(&standard, &headers, r#"{"test": 2432232314}"#, 1_614_265_330, Ok(()));
        check(&standard, &headers, r#"{"test": 2432232315}"#, 1_614_265_330, Err(Unsigned::Wrong));
        check(&standard, &headers[1..], r#"{"test": 2432232314}"#, 0, Err(Unsigned::Missing));
    }

    #[test]
    fn what_we_sign_is_what_others_check() {
        let (old, new) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "c2VjcmV0IG9mIHRoZSBuZXc=");
        let mut signer = Signer::default();
        assert!(signer.add(SignScheme::StandardWebhooks, new));
        assert!(signer.add(SignScheme::StandardWebhooks, old));
        assert!(signer.add(SignScheme::Github, "It's a Secret to Everybody"));
        assert!(!signer.add(SignScheme::StandardWebhooks, "no base64!"));
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let now = Timestamp(1_614_265_330_900_000);
        let headers = signer.sign(id, br#"{"test": 2432232314}"#, now);
        // The example of the specification.
        let (_, tags) = headers.last().expect("there are some");
        assert!(tags.ends_with(" v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), "{tags}");
        for secret in [old, new] {
            let named: Vec<(String, &str)> =
                headers.iter().map(|header| (header.0.to_lowercase(), header.1.as_str())).collect();
            let named: Vec<(&str, &str)> = named.iter().map(|it| (it.0.as_str(), it.1)).collect();
            let standard = signature(Scheme::StandardWebhooks, secret);
            check(&standard, &named, r#"{"test": 2432232314}"#, 1_614_265_330, Ok(()));
            check(&standard, &named, "{}", 1_614_265_330, Err(Unsigned::Wrong));
        }
        let hub = signer.sign("", b"Hello, World!", now).remove(0);
        assert_eq!(hub, ("X-Hub-Signature-256".to_owned(), GITHUB.to_owned()));
        assert_eq!(Signer::default().sign("", b"x", now), []);
    }

    #[test]
    fn an_empty_secret_lets_nobody_in_and_none_is_printed() {
        let new = |scheme, secret: &str| {
            Signature::new(scheme, String::new(), Duration::ZERO, secret.to_owned())
        };
        assert!(new(Scheme::Github, "").is_none());
        assert!(new(Scheme::Github, "  ").is_none());
        assert!(new(Scheme::StandardWebhooks, "whsec_").is_none());
        assert!(new(Scheme::StandardWebhooks, "no base64!").is_none());
        let shown = format!("{:?}", new(Scheme::Hex, "hush").expect("a secret"));
        assert!(!shown.contains("hush"), "{shown}");
    }
}
