//! The credentials that senders of one source present, and how they are verified.
//!
//! A source may have several credentials, so that one can be replaced while senders still use it:
//! whoever shows any of them is let in. They are checked as early as what they are about is there:
//! headers before the body, a signature with the body, a field with the message.
//!
//! *Never:* a credential in `Debug` output, or a comparison that takes longer the more of it is right.

use crate::signature::{Header, Signature, Signed, Unsigned};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kernel::time::Timestamp;
use ring::hmac;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// A text that only those who may send know.
#[derive(Clone)]
pub struct Secret {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Secret {
    /// Keeps what is needed to know the text again.
    pub fn new(text: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
        let tag = hmac::sign(&key, text.as_bytes());
        Secret { key, tag }
    }

    /// Whether it is the text.
    pub fn is(&self, text: &[u8]) -> bool {
        hmac::verify(&self.key, text, self.tag.as_ref()).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.tag.as_ref() == other.tag.as_ref()
    }
}

/// Where a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenPlace {
    /// `Authorization: Bearer TOKEN`.
    Bearer,
    /// The value of this header.
    Header(String),
    /// This field of the message.
    Field(String),
}

/// One way to show who sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Credential {
    /// A token.
    Token(TokenPlace, Secret),
    /// `USER:PASSWORD`, sent as HTTP Basic (RFC 7617).
    Basic(Secret),
    /// The signature of the body.
    Signature(Arc<Signature>),
}

/// Every credential of a source; none where the server's own tokens decide.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Credentials(Vec<Credential>);

/// What is known of a sender before the body was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderState {
    /// It has shown a right credential.
    Known,
    /// The body may still show one.
    Unclear,
}

/// Why a sender is not let in, without anything that helps to guess.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderRefusal {
    /// It shows nothing; this is what to send.
    Missing(String),
    /// It shows a token, or a user and password, that is not known.
    Unknown,
    /// Its signature is not good.
    Unsigned(Unsigned),
}

impl fmt::Display for SenderRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SenderRefusal::Missing(wanted) => f.write_str(wanted),
            SenderRefusal::Unknown => f.write_str("unknown token, or wrong user or password"),
            SenderRefusal::Unsigned(why) => why.fmt(f),
        }
    }
}

impl Credential {
    /// The text that it compares with what this header shows; `None` where the header shows none.
    fn shown(&self, header: Header<'_>) -> Option<Vec<u8>> {
        match self {
            Credential::Token(TokenPlace::Bearer, _) => {
                Some(after_scheme(header("authorization")?, "bearer")?.as_bytes().to_vec())
            }
            Credential::Token(TokenPlace::Header(name), _) => {
                Some(header(name)?.trim().as_bytes().to_vec()).filter(|it| !it.is_empty())
            }
            Credential::Basic(_) => {
                STANDARD.decode(after_scheme(header("authorization")?, "basic")?).ok()
            }
            Credential::Token(TokenPlace::Field(_), _) | Credential::Signature(_) => None,
        }
    }

    fn secret(&self) -> Option<&Secret> {
        match self {
            Credential::Token(_, secret) | Credential::Basic(secret) => Some(secret),
            Credential::Signature(_) => None,
        }
    }

    /// What to send.
    fn wanted(&self) -> String {
        match self {
            Credential::Token(TokenPlace::Bearer, _) => {
                "send a token: `Authorization: Bearer TOKEN`".to_owned()
            }
            Credential::Token(TokenPlace::Header(name), _) => {
                format!("send the token in the header `{name}`")
            }
            Credential::Token(TokenPlace::Field(name), _) => {
                format!("send the token in the field `{name}` of the message")
            }
            Credential::Basic(_) => "send the user and the password as HTTP Basic".to_owned(),
            Credential::Signature(_) => Unsigned::Missing.to_string(),
        }
    }
}

impl Credentials {
    /// Any of these lets in.
    pub fn new(all: Vec<Credential>) -> Self {
        Credentials(all)
    }

    /// Whether the server's own tokens decide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether user and password may be asked for in a browser's own form.
    pub fn has_basic(&self) -> bool {
        self.0.iter().any(|it| matches!(it, Credential::Basic(_)))
    }

    /// The headers that hold a credential, which nothing of a request may show later.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|it| match it {
            Credential::Token(TokenPlace::Header(name), _) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Before any of the body is read: lets in, waits for the body, or refuses.
    pub fn check_headers(&self, header: Header<'_>) -> Result<SenderState, SenderRefusal> {
        let (mut is_known, mut is_shown, mut is_unclear) = (false, false, false);
        // Each is looked at, so that the time says nothing about which of them is right.
        for credential in &self.0 {
            if let (Some(shown), Some(secret)) = (credential.shown(header), credential.secret()) {
                is_shown = true;
                is_known |= secret.is(&shown);
            }
            is_unclear |= match credential {
                Credential::Signature(signature) => signature.is_given(header),
                Credential::Token(TokenPlace::Field(_), _) => true,
                _ => false,
            };
        }
        match (is_known, is_unclear, is_shown) {
            (true, _, _) => Ok(SenderState::Known),
            (_, true, _) => Ok(SenderState::Unclear),
            (_, _, true) => Err(SenderRefusal::Unknown),
            _ => Err(self.missing()),
        }
    }

    fn missing(&self) -> SenderRefusal {
        let mut wanted: Vec<String> = self.0.iter().map(Credential::wanted).collect();
        wanted.dedup();
        SenderRefusal::Missing(wanted.join("; or "))
    }

    /// With the body as received: what its signature proves; `None` where a field of the message
    /// has to show the rest.
    pub fn check_body(
        &self,
        header: Header<'_>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Option<Signed>, SenderRefusal> {
        let mut refused = None;
        for credential in &self.0 {
            let Credential::Signature(signature) = credential else { continue };
            match signature.check(header, body, now) {
                Ok(signed) => return Ok(Some(signed)),
                // Of several keys one may fit; what the last one says is as good as any.
                Err(why) => refused = Some(why),
            }
        }
        match refused {
            _ if self.has_field() => Ok(None),
            Some(why) => Err(SenderRefusal::Unsigned(why)),
            None => Err(self.missing()),
        }
    }

    fn has_field(&self) -> bool {
        self.fields().next().is_some()
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().filter_map(|it| match it {
            Credential::Token(TokenPlace::Field(name), secret) => Some((name.as_str(), secret)),
            _ => None,
        })
    }

    /// Takes the fields that hold a token out of a message, so that no token is stored; whether it
    /// had one. Every message of a source loses them, whoever let it in.
    pub fn take_fields(&self, message: &mut Value) -> Result<(), SenderRefusal> {
        let Some(message) = message.as_object_mut() else { return Err(self.missing()) };
        let (mut is_known, mut is_shown) = (false, false);
        for (name, secret) in self.fields() {
            if let Some(Value::String(shown)) = message.get(name) {
                is_shown = true;
                is_known |= secret.is(shown.as_bytes());
            }
        }
        self.fields().for_each(|(name, _)| drop(message.remove(name)));
        match (is_known, is_shown) {
            (true, _) => Ok(()),
            (false, true) => Err(SenderRefusal::Unknown),
            (false, false) => Err(self.missing()),
        }
    }

    /// Whether messages have fields that hold a token.
    pub fn take_from_message(&self) -> bool {
        self.has_field()
    }
}

/// What follows the scheme in the field `Authorization`.
fn after_scheme<'h>(value: &'h str, scheme: &str) -> Option<&'h str> {
    let (given, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    (given.eq_ignore_ascii_case(scheme) && !rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token(place: TokenPlace, text: &str) -> Credential {
        Credential::Token(place, Secret::new(text))
    }

    #[track_caller]
    fn check(all: &[Credential], headers: &[(&str, &str)], expected: Result<SenderState, &str>) {
        let header =
            |name: &str| headers.iter().find(|header| header.0 == name).map(|header| header.1);
        let checked = Credentials::new(all.to_vec()).check_headers(&header);
        let checked = checked.map_err(|fault| fault.to_string());
        assert_eq!(checked, expected.map_err(str::to_owned));
    }

    #[test]
    fn any_of_several_credentials_lets_in() {
        let header = TokenPlace::Header("x-gitlab-token".to_owned());
        let all = [
            token(TokenPlace::Bearer, "new"),
            token(TokenPlace::Bearer, "old"),
            token(header, "lab"),
            Credential::Basic(Secret::new("door:p:w")),
        ];
        let known = Ok(SenderState::Known);
        check(&all, &[("authorization", "Bearer new")], known);
        check(&all, &[("authorization", "bearer  old")], known);
        check(&all, &[("x-gitlab-token", "lab")], known);
        check(&all, &[("authorization", "Basic ZG9vcjpwOnc=")], known);
        let unknown = Err("unknown token, or wrong user or password");
        check(&all, &[("authorization", "Bearer ne")], unknown);
        check(&all, &[("x-gitlab-token", "new")], unknown);
        check(&all, &[("authorization", "Basic ZG9vcjpwOng=")], unknown);
        let missing =
            Err("send a token: `Authorization: Bearer TOKEN`; or send the token in the header \
             `x-gitlab-token`; or send the user and the password as HTTP Basic");
        check(&all, &[], missing);
        check(&all, &[("authorization", "Basic no-base64!")], missing);
        check(&all, &[("authorization", "Digest x"), ("x-gitlab-token", " ")], missing);
    }

    #[test]
    fn a_field_is_compared_and_then_gone() {
        let place = TokenPlace::Field("token".to_owned());
        let all = Credentials::new(vec![token(place.clone(), "new"), token(place, "old")]);
        assert_eq!(all.check_headers(&|_| None), Ok(SenderState::Unclear));
        assert_eq!(all.check_body(&|_| None, b"{}", Timestamp(0)), Ok(None));
        for (given, expected) in [
            (json!({ "a": 1, "token": "old" }), Ok(())),
            (json!({ "a": 1, "token": "ol" }), Err(SenderRefusal::Unknown)),
            (json!({ "a": 1, "token": 7 }), Err(all.missing())),
            (json!({ "a": 1 }), Err(all.missing())),
        ] {
            let mut message = given;
            assert_eq!(all.take_fields(&mut message), expected, "{message}");
            assert_eq!(message, json!({ "a": 1 }));
        }
        assert!(all.take_fields(&mut json!(["new"])).is_err());
    }

    #[test]
    fn a_secret_is_not_printed() {
        let shown = format!("{:?}", token(TokenPlace::Bearer, "hush"));
        assert!(!shown.contains("hush"), "{shown}");
    }
}
