//! What a source says of who may send to it: `auth`, once for each credential.

use crate::contract::Services;
use crate::credential::{Credential, Secret, TokenPlace};
use crate::request::{Text, resolve};
use crate::signature::{Scheme, Signature};
use kernel::choice;
use kernel::choice::Choice;
use kernel::fault::Fault;
use language::diagnostic::{Diagnostics, Rule};
use language::spanned::Span;
use language::{Fields, NodeRow, Prop, Scalar, ValueKind};
use std::sync::Arc;
use std::time::Duration;

choice! {
    /// What becomes of a signed request that comes again, with whatever id.
    enum Replay {
        /// It is refused.
        Refuse = "refuse",
        /// It is taken.
        Allow = "allow",
    }
}

const TOLERANCE: ValueKind =
    ValueKind::Duration(Duration::from_secs(1), Duration::from_secs(86_400));

pub(super) const NODE: NodeRow = NodeRow::new(
    "auth",
    "what senders must show: a token, a user and password, or a signature; with several `auth`, any \
     of them",
)
.examples(&[
    r#"auth bearer=(env)"BELL_TOKEN""#,
    r#"auth token=(env)"GITLAB_TOKEN" header="X-Gitlab-Token""#,
    r#"auth token=(env)"SLACK_TOKEN" field="token""#,
    r#"auth basic=(env)"USER_AND_PASSWORD""#,
    r#"auth hmac=(env)"HOOK_SECRET" scheme=github replay=allow"#,
    r#"auth hmac=(env)"HOOK_SECRET" scheme=stripe tolerance="10m""#,
    r#"auth hmac=(env)"HOOK_SECRET" scheme=hex header="X-Signature""#,
])
.props(&[
    Prop::new("bearer", ValueKind::Secret),
    Prop::new("token", ValueKind::Secret),
    Prop::new("basic", ValueKind::Secret),
    Prop::new("hmac", ValueKind::Secret),
    Prop::new("scheme", ValueKind::Word(Scheme::WORDS)),
    Prop::new("header", ValueKind::Text),
    Prop::new("field", ValueKind::Literal),
    Prop::new("tolerance", TOLERANCE).default("\"5m\""),
    Prop::new("replay", ValueKind::Word(Replay::WORDS)).default("refuse"),
])
.repeated()
.otherwise("the server's `auth` with scope `send`");

/// One credential that lets in.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Auth {
    Token(TokenPlace, Text),
    Basic(Text),
    Signed(SignedAuth),
}

/// How senders sign.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SignedAuth {
    secret: Text,
    scheme: Scheme,
    header: String,
    tolerance: Duration,
    replay: Replay,
}

/// The ways to show who sends, each with the properties that work with it.
const WAYS: &[(&str, &[&str])] = &[
    ("bearer", &[]),
    ("token", &["header", "field"]),
    ("basic", &[]),
    ("hmac", &["scheme", "header", "tolerance", "replay"]),
];

const QUALIFIERS: &[&str] = &["scheme", "header", "field", "tolerance", "replay"];

/// Reads one `auth` and reports what a table cannot know.
struct AuthReader<'a, 'd> {
    fields: &'a Fields<'a>,
    diagnostics: &'d mut Diagnostics,
}

impl Auth {
    pub(super) fn secret(&self) -> &Text {
        match self {
            Auth::Token(_, secret) | Auth::Basic(secret) => secret,
            Auth::Signed(signed) => &signed.secret,
        }
    }

    pub(super) fn read(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<Auth> {
        AuthReader { fields, diagnostics }.read()
    }

    /// What it comes to; `None` where its secret is empty.
    pub(super) fn open(&self, services: &Services) -> Result<Option<Credential>, Fault> {
        let secret = resolve(&self.secret().setting.value, services)?;
        if secret.trim().is_empty() {
            return Ok(None);
        }
        Ok(Some(match self {
            Auth::Token(place, _) => Credential::Token(place.clone(), Secret::new(secret.trim())),
            Auth::Basic(_) if !secret.contains(':') => {
                let reason = "the secret of `auth basic` is not `USER:PASSWORD`";
                return Err(Fault::permanent(reason));
            }
            Auth::Basic(_) => Credential::Basic(Secret::new(&secret)),
            Auth::Signed(signed) => Credential::Signature(Arc::new(signed.open(secret)?)),
        }))
    }
}

impl SignedAuth {
    fn open(&self, secret: String) -> Result<Signature, Fault> {
        let checks = Signature::new(self.scheme, self.header.clone(), self.tolerance, secret);
        let unfit = || Fault::permanent("the secret of `auth` is not base64");
        Ok(checks.ok_or_else(unfit)?.allowing_replay(self.replay == Replay::Allow))
    }
}

impl AuthReader<'_, '_> {
    fn wrong(&mut self, span: Span, message: &str, help: &str) -> Option<Auth> {
        self.diagnostics.push(Rule::WrongArgument, message).at(span, "here").help(help);
        None
    }

    fn read(&mut self) -> Option<Auth> {
        let fields = self.fields;
        let given = WAYS.iter().filter_map(|(way, with)| Some((*way, *with, fields.prop(way)?)));
        let given: Vec<(&str, &[&str], Scalar<'_>)> = given.collect();
        let (way, with, secret) = match &given[..] {
            [(way, with, secret)] => (*way, *with, secret),
            // Properties that were written as children have been reported.
            [] if fields.has_block() => return None,
            [] => {
                let message = "`auth` needs `bearer=`, `token=`, `basic=` or `hmac=`";
                return self.wrong(fields.name().span, message, SIGNED);
            }
            [(first, _, secret), (second, ..), ..] => {
                let message = format!("`{first}` and `{second}` cannot be combined");
                let help = "keep the one that the sender uses, or write `auth` once for each";
                return self.wrong(secret.span(), &message, help);
            }
        };
        let other = QUALIFIERS
            .iter()
            .find(|qualifier| fields.prop(qualifier).is_some() && !with.contains(qualifier));
        if let Some(other) = other {
            let span = fields.prop(other)?.span();
            let message = format!("`{other}` does not work with `{way}`");
            return self.wrong(span, &message, HELP_OF[way_index(way)]);
        }
        match way {
            "bearer" => Some(Auth::Token(TokenPlace::Bearer, Text::read(secret)?)),
            "token" => self.token(secret),
            "basic" => self.basic(secret),
            _ => self.signed(secret),
        }
    }

    fn token(&mut self, secret: &Scalar<'_>) -> Option<Auth> {
        let text =
            |name: &str| self.fields.prop(name).and_then(|prop| prop.text()).map(|text| text.value);
        let place = match (text("header"), text("field")) {
            (Some(header), None) => TokenPlace::Header(header.to_ascii_lowercase()),
            (None, Some(field)) => TokenPlace::Field(field),
            (None, None) => {
                let message = "`token` needs `header=` or `field=`";
                return self.wrong(secret.span(), message, TOKEN);
            }
            (Some(_), Some(_)) => {
                let message = "`header` and `field` cannot be combined";
                let help = "keep the one that the sender uses, or write `auth` once for each";
                return self.wrong(secret.span(), message, help);
            }
        };
        Some(Auth::Token(place, Text::read(secret)?))
    }

    fn basic(&mut self, secret: &Scalar<'_>) -> Option<Auth> {
        let text = Text::read(secret)?;
        if text.setting.value.literal().is_some_and(|literal| !literal.contains(':')) {
            let message = "`basic` needs a user and a password";
            let help =
                "write `auth basic=(env)\"USER_AND_PASSWORD\"` and set it to `USER:PASSWORD`";
            return self.wrong(secret.span(), message, help);
        }
        Some(Auth::Basic(text))
    }

    fn signed(&mut self, secret: &Scalar<'_>) -> Option<Auth> {
        let fields = self.fields;
        let word = fields.prop("scheme").and_then(|prop| prop.text());
        let Some(scheme) = word.and_then(|word| Scheme::parse(&word.value)) else {
            return self.wrong(secret.span(), "`hmac` needs `scheme=`", SIGNED);
        };
        let given = fields.prop("header").and_then(|prop| prop.text()).map(|text| text.value);
        let header = given.or_else(|| scheme.header().map(str::to_owned));
        let Some(header) = header else {
            let help = "write `header=\"X-Signature\"`";
            return self.wrong(secret.span(), "`scheme=hex` needs `header=`", help);
        };
        let filled = fields.filled();
        Some(Auth::Signed(SignedAuth {
            secret: Text::read(secret)?,
            scheme,
            header: header.to_ascii_lowercase(),
            tolerance: filled.prop("tolerance", |scalar| Some(scalar.duration()?.value)),
            replay: filled.prop("replay", Scalar::choice),
        }))
    }
}

const BEARER: &str = "write `auth bearer=(env)\"TOKEN\"`";
const TOKEN: &str = "write `auth token=(env)\"TOKEN\" header=\"X-Token\"`";
const BASIC: &str = "write `auth basic=(env)\"USER_AND_PASSWORD\"`";
const SIGNED: &str = "write `auth hmac=(env)\"SECRET\" scheme=github`";

/// For each of the [`WAYS`].
const HELP_OF: [&str; 4] = [BEARER, TOKEN, BASIC, SIGNED];

fn way_index(way: &str) -> usize {
    WAYS.iter().position(|it| it.0 == way).unwrap_or_default()
}
