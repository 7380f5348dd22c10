//! Receives events over HTTP. The engine's server serves the route; this says how.

use crate::contract::{BodyForm, Claim, HttpRoute, Kind, OpenSource, Services, SourceKind};
use crate::request::{Text, resolve};
use crate::signature::{Scheme, Signature};
use kernel::choice;
use kernel::choice::Choice;
use kernel::fault::Fault;
use language::diagnostic::{Diagnostics, Rule};
use language::literal::literal;
use language::spanned::{Span, Spanned};
use language::{Arg, Context, Fields, Needed, NodeRow, Prop, Scalar, ValueKind};
use std::sync::Arc;
use std::time::Duration;

const METHODS: &[&str] = &["POST", "PUT", "GET"];

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

const NODES: &[NodeRow] = &[
    NodeRow::new("path", "the route, unique per server")
        .examples(&[r#"path "/rings""#])
        .args(&[Arg::one("path", ValueKind::Text)])
        .required(),
    NodeRow::new("method", "the methods accepted")
        .examples(&["method POST PUT"])
        .args(&[Arg::some("method", ValueKind::Word(METHODS))])
        .default("POST"),
    NodeRow::new(
        "accept",
        "the body types accepted; `text` is JSON sent as `text/plain` or without a type",
    )
    .examples(&["accept json text"])
    .args(&[Arg::some("form", ValueKind::Word(BodyForm::WORDS))])
    .default("json ndjson"),
    NodeRow::new("auth", "the token that senders must send, or how they sign")
        .examples(&[
            r#"auth bearer=(env)"BELL_TOKEN""#,
            r#"auth hmac=(env)"HOOK_SECRET" scheme=github replay=allow"#,
            r#"auth hmac=(env)"HOOK_SECRET" scheme=stripe tolerance="10m""#,
            r#"auth hmac=(env)"HOOK_SECRET" scheme=hex header="X-Signature""#,
        ])
        .props(&[
            Prop::new("bearer", ValueKind::Secret),
            Prop::new("hmac", ValueKind::Secret),
            Prop::new("scheme", ValueKind::Word(Scheme::WORDS)),
            Prop::new("header", ValueKind::Text),
            Prop::new("tolerance", TOLERANCE).default("\"5m\""),
            Prop::new("replay", ValueKind::Word(Replay::WORDS)).default("refuse"),
        ])
        .otherwise("the server's `auth` with scope `send`"),
    NodeRow::new("idempotency", "the header with the id, when `map` sets none")
        .examples(&[r#"idempotency header="X-Request-Id""#])
        .props(&[Prop::required("header", ValueKind::Text)])
        .otherwise("off"),
];

/// The kind `http`.
pub(super) struct Http;

/// What the route takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    path: Spanned<String>,
    methods: Vec<String>,
    accepts: Vec<BodyForm>,
    auth: Option<Auth>,
    idempotency_header: Option<String>,
}

/// Who may send.
#[derive(Debug, Clone, PartialEq)]
enum Auth {
    Bearer(Text),
    Signed(SignedAuth),
}

/// How senders sign.
#[derive(Debug, Clone, PartialEq)]
struct SignedAuth {
    secret: Text,
    scheme: Scheme,
    header: String,
    tolerance: Duration,
    replay: Replay,
}

impl Auth {
    fn secret(&self) -> &Text {
        match self {
            Auth::Bearer(secret) => secret,
            Auth::Signed(signed) => &signed.secret,
        }
    }

    fn read(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<Auth> {
        let mut wrong = |span: Span, message: &str, help: &str| {
            diagnostics.push(Rule::WrongArgument, message).at(span, "here").help(help);
            None
        };
        let signed = "write `auth hmac=(env)\"SECRET\" scheme=github`";
        match (fields.prop("bearer"), fields.prop("hmac")) {
            (Some(bearer), None) => {
                let others = ["scheme", "header", "tolerance", "replay"];
                match others.iter().find_map(|it| fields.prop(it)) {
                    Some(other) => wrong(other.span(), "this works only with `hmac`", signed),
                    None => Some(Auth::Bearer(Text::read(&bearer)?)),
                }
            }
            (None, Some(hmac)) => {
                let word = fields.prop("scheme").and_then(|it| it.text());
                let Some(scheme) = word.and_then(|it| Scheme::parse(&it.value)) else {
                    return wrong(hmac.span(), "`hmac` needs `scheme=`", signed);
                };
                let given = fields.prop("header").and_then(|it| it.text()).map(|it| it.value);
                let header = given.or_else(|| scheme.header().map(str::to_owned));
                let Some(header) = header else {
                    let help = "write `header=\"X-Signature\"`";
                    return wrong(hmac.span(), "`scheme=hex` needs `header=`", help);
                };
                let signed = fields.filled();
                Some(Auth::Signed(SignedAuth {
                    secret: Text::read(&hmac)?,
                    scheme,
                    header: header.to_ascii_lowercase(),
                    tolerance: signed.prop("tolerance", |it| Some(it.duration()?.value)),
                    replay: signed.prop("replay", Scalar::choice),
                }))
            }
            (Some(bearer), Some(_)) => {
                let help = "keep the one that the sender uses";
                wrong(bearer.span(), "`bearer` and `hmac` cannot be combined", help)
            }
            // Properties that were written as children have been reported.
            (None, None) if fields.has_block() => None,
            (None, None) => wrong(fields.name().span, "`auth` needs `bearer=` or `hmac=`", signed),
        }
    }
}

impl Kind for Http {
    const WORD: &'static str = "http";
    const SUMMARY: &'static str = "receives events over HTTP";
    const EXAMPLE: &'static str = r#"source http gate { path "/gate" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = Settings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Settings> {
        let path = fields.child("path").and_then(|it| literal(&it.arg(0)?, context.diagnostics));
        let path = path.and_then(|it| super::route_of(it, context.diagnostics));
        let header = match fields.child("idempotency") {
            Some(it) => Some(literal(&it.prop("header")?, context.diagnostics)?.value),
            None => None,
        };
        let auth = match fields.child("auth") {
            Some(it) => Some(Auth::read(&it, context.diagnostics)?),
            None => None,
        };
        let methods = fields.setting("method").args(|it| Some(it.text()?.value));
        let accepts = fields.setting("accept").args(Scalar::choice);
        Some(Settings { path: path?, methods, accepts, auth, idempotency_header: header })
    }

    fn needed(settings: &Settings) -> Vec<Needed> {
        settings.auth.iter().map(|it| it.secret().needed()).collect()
    }

    fn claims(settings: &Settings) -> Vec<Spanned<Claim>> {
        let route = |method: &String| {
            let path = settings.path.clone();
            path.map(|path| Claim::Route { method: method.clone(), path })
        };
        settings.methods.iter().map(route).collect()
    }
}

impl SourceKind for Http {
    const IS_SERVED: bool = true;

    fn ends(_: &Settings) -> bool {
        false
    }

    /// An empty token would let everyone in: it is a fault.
    async fn open(settings: Settings, services: Services) -> Result<OpenSource, Fault> {
        let (mut bearer, mut signature) = (None, None);
        if let Some(auth) = settings.auth {
            let secret = resolve(&auth.secret().setting.value, &services)?;
            if secret.trim().is_empty() {
                return Err(Fault::permanent("the secret of `auth` is empty"));
            }
            match auth {
                Auth::Bearer(_) => bearer = Some(secret),
                Auth::Signed(signed) => {
                    let SignedAuth { scheme, header, tolerance, replay, .. } = signed;
                    let checks = Signature::new(scheme, header, tolerance, secret);
                    let unfit = || Fault::permanent("the secret of `auth` is not base64");
                    let checks = checks.ok_or_else(unfit)?.allowing_replay(replay == Replay::Allow);
                    signature = Some(Arc::new(checks));
                }
            }
        }
        Ok(OpenSource::Route(HttpRoute {
            path: settings.path.value,
            methods: settings.methods,
            accepts: settings.accepts,
            bearer,
            signature,
            idempotency_header: settings.idempotency_header,
            body_max: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn route(text: &str) -> Result<HttpRoute, Fault> {
        let settings = testing::settings::<Http>(text);
        match smol::block_on(Http::open(settings, testing::alone()))? {
            OpenSource::Route(route) => Ok(route),
            OpenSource::Task(_) => panic!("the server serves it"),
        }
    }

    #[test]
    fn a_path_alone_takes_posts_from_whom_the_server_trusts() {
        let route = route("path \"/e\"").unwrap();
        assert_eq!((route.path.as_str(), route.methods), ("/e", vec!["POST".to_owned()]));
        assert_eq!((route.bearer, route.idempotency_header), (None, None));
    }

    #[test]
    fn its_own_token_rules_and_is_never_empty() {
        let text = |token: &str| format!("path \"/e\"\nauth bearer={token}");
        let own = route(&text("(env)\"TOKEN\"")).unwrap();
        assert_eq!(own.bearer.as_deref(), Some("t0k"));
        assert!(route(&format!("{} default=\"\"", text("(env)\"NONE\""))).is_err());
        let settings = testing::settings::<Http>(&text("(env)\"NONE\" optional=#true"));
        assert!(Http::needed(&settings)[0].is_optional);
    }

    #[test]
    fn senders_that_sign_need_no_token() {
        let route = route("path \"/e\"\nauth hmac=(env)\"TOKEN\" scheme=github").unwrap();
        assert!(route.signature.is_some() && route.bearer.is_none());
        let found = |auth: &str| testing::findings::<Http>(&format!("path \"/e\"\n{auth}"));
        assert_eq!(found("auth hmac=(env)\"T\""), ["E0016 `hmac` needs `scheme=`"]);
        let hex = found("auth hmac=(env)\"T\" scheme=hex");
        assert_eq!(hex, ["E0016 `scheme=hex` needs `header=`"]);
        let both = found("auth hmac=(env)\"T\" bearer=(env)\"T\" scheme=github");
        assert_eq!(both, ["E0016 `bearer` and `hmac` cannot be combined"]);
        let other = found("auth bearer=(env)\"T\" scheme=github");
        assert_eq!(other, ["E0016 this works only with `hmac`"]);
        assert_eq!(found("auth"), ["E0016 `auth` needs `bearer=` or `hmac=`"]);
    }

    #[test]
    fn every_method_is_claimed() {
        let settings = testing::settings::<Http>("path \"/e\"\nmethod GET POST");
        assert_eq!(Http::claims(&settings).len(), 2);
        let found = testing::findings::<Http>("path \"events here\"");
        assert_eq!(found, ["E0016 `events here` is not a URL path"]);
    }
}
