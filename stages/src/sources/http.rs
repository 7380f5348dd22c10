//! Receives events over HTTP. The engine's server serves the route; this says how.

mod auth;

use super::lines::{DECODE_TEXT, Decoding};
use crate::contract::{
    BodyForm, Brings, Claim, CloudEvents, HttpRoute, Kind, OpenSource, Respond, Services,
    SourceKind, TextBody,
};
use crate::credential::Credentials;
use crate::decode::LineDecoder;
use crate::request::{check_content_type, check_header_name};
use auth::Auth;
use kernel::choice::Choice;
use kernel::fault::Fault;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::{Roots, Template, ValueType};
use language::literal::literal;
use language::spanned::Spanned;
use language::{Arg, Context, Fields, Needed, NodeRow, Prop, Scalar, ValueKind};
use std::sync::Arc;

/// How a test's file of messages is read.
const JSON_LINES: TextBody = TextBody::Lines { has_header: false };

const METHODS: &[&str] = &["POST", "PUT", "GET"];

const NODES: &[NodeRow] = &[
    NodeRow::new("path", "the route, unique per server")
        .examples(&[r#"path "/rings""#])
        .args(&[Arg::one("path", ValueKind::Text)])
        .required(),
    NodeRow::new(
        "method",
        "the methods accepted; a GET without a body is its query: an object of texts, with a list \
         for a name that is repeated",
    )
    .examples(&["method POST PUT"])
    .args(&[Arg::some("method", ValueKind::Word(METHODS))])
    .default("POST"),
    NodeRow::new(
        "accept",
        "the body types accepted, each also compressed with gzip; `text` is JSON sent as \
         `text/plain` or without a type; `form` is an object of texts, as for a query; \
         `cloudevents` (structured, binary and batched) fills the event's fields where `map` does not",
    )
    .examples(&["accept json text", "accept form", "accept json cloudevents"])
    .args(&[Arg::some("form", ValueKind::Word(BodyForm::WORDS))])
    .default("json ndjson"),
    DECODE_TEXT,
    auth::NODE,
    NodeRow::new(
        "idempotency",
        "the header with the id, when `map` sets none; the events of a batch have the id `ID#0`, \
         `ID#1` and so on",
    )
    .examples(&[r#"idempotency header="X-Request-Id""#])
    .props(&[Prop::required("header", ValueKind::Text)])
    .otherwise("off"),
    NodeRow::new("respond", "how to respond to a single event that is accepted or is a duplicate")
        .examples(&[
            "respond 200",
            r#"respond 200 { body "Deploying {{ data.text }}" }"#,
            r##"respond 201 { body #"{ "ok": {{ event.id | json }} }"#; content-type "application/json" }"##,
        ])
        .args(&[Arg::one("status", ValueKind::Int(200, 299))])
        .children(&[RESPOND])
        .otherwise("202, or 200 for a repeated event, with its id and number as JSON"),
];

const RESPOND: &[NodeRow] = &[
    NodeRow::new("body", "the text of the response")
        .examples(&[r#"body "Thank you, {{ data.user_name }}""#])
        .args(&[Arg::one("text", ValueKind::OwnTemplate(Roots::REPLY))]),
    NodeRow::new("content-type", "the type of the body")
        .examples(&[r#"content-type "application/json""#])
        .args(&[Arg::one("type", ValueKind::Literal)])
        .default("\"text/plain; charset=utf-8\""),
];

/// The kind `http`.
pub(super) struct HttpSource;

/// What the route takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HttpSourceSettings {
    path: Spanned<String>,
    methods: Vec<String>,
    accepts: Vec<BodyForm>,
    /// How bodies are read that are text.
    decoding: Option<Decoding>,
    auth: Vec<Auth>,
    idempotency_header: Option<String>,
    respond: Respond,
}

impl Kind for HttpSource {
    const WORD: &'static str = "http";
    const SUMMARY: &'static str = "receives events over HTTP";
    const EXAMPLE: &'static str = r#"source http gate { path "/gate" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = HttpSourceSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<HttpSourceSettings> {
        let path =
            fields.child("path").and_then(|child| literal(&child.arg(0)?, context.diagnostics));
        let path = path.and_then(|path| super::route_of(path, context.diagnostics));
        let header = match fields.child("idempotency") {
            Some(it) => Some(literal(&it.prop("header")?, context.diagnostics)?.value),
            None => None,
        };
        let idempotency = fields.child("idempotency");
        let auth_nodes = fields.children("auth");
        for node in idempotency.into_iter().chain(auth_nodes) {
            if let Some(name) = node.prop("header").and_then(|prop| prop.text()) {
                check_header_name(&name, context.diagnostics);
            }
        }
        check_idempotency(fields, context.diagnostics);
        let nodes = fields.children("auth");
        let auth: Option<Vec<Auth>> =
            nodes.map(|node| Auth::read(&node, context.diagnostics)).collect();
        let respond = match fields.child("respond") {
            Some(it) => respond_of(&it, context.diagnostics)?,
            None => Respond::default(),
        };
        let methods = fields.setting("method").args(|setting| Some(setting.text()?.value));
        let accepts = fields.setting("accept").args(Scalar::choice);
        let decoding = match fields.child("decode") {
            Some(decode) => {
                check_decode(fields, context.diagnostics);
                Some(Decoding::read_node(decode.arg(0)?.choice()?, &decode, context)?)
            }
            None => None,
        };
        let (path, auth) = (path?, auth?);
        Some(HttpSourceSettings {
            path,
            methods,
            accepts,
            decoding,
            auth,
            idempotency_header: header,
            respond,
        })
    }

    fn needed(settings: &HttpSourceSettings) -> Vec<Needed> {
        settings.auth.iter().map(|it| it.secret().needed()).collect()
    }

    fn claims(settings: &HttpSourceSettings) -> Vec<Spanned<Claim>> {
        let route = |method: &String| {
            let path = settings.path.clone();
            path.map(|path| Claim::Route { method: method.clone(), path })
        };
        settings.methods.iter().map(route).collect()
    }
}

/// Reports an id that would be a credential: ids are stored and shown.
fn check_idempotency(fields: &Fields<'_>, diagnostics: &mut Diagnostics) {
    let header = |node: Fields<'_>| node.prop("header")?.text();
    let Some(name) = fields.child("idempotency").and_then(header) else { return };
    let is_same = |other: &str| name.value.eq_ignore_ascii_case(other);
    let is_usual = ["authorization", "proxy-authorization", "cookie"].into_iter().any(is_same);
    let is_own = fields.children("auth").filter_map(header).any(|own| is_same(&own.value));
    if is_usual || is_own {
        diagnostics
            .push(Rule::WrongArgument, format!("the header `{}` holds a credential", name.value))
            .at(name.span, "whoever may read events would see it, as their id")
            .help("write `header=\"X-Request-Id\"`, or another header that is different each time");
    }
}

/// Reports what cannot be written beside `decode`.
fn check_decode(fields: &Fields<'_>, diagnostics: &mut Diagnostics) {
    if let Some(accept) = fields.child("accept") {
        diagnostics
            .push(Rule::WrongArgument, "`accept` and `decode` cannot be combined")
            .at(accept.head(), "says what the body is, and so does `decode`")
            .help("remove it: with `decode`, the body is text of any type");
    }
    let methods = fields.child("method");
    let mut methods = methods.iter().flat_map(Fields::args);
    if let Some(get) = methods.find(|method| method.text().is_some_and(|it| it.value == "GET")) {
        diagnostics
            .push(Rule::WrongArgument, "`decode` needs a body, and a GET has none")
            .at(get.span(), "no body")
            .help("remove `GET`, or `decode`: the query of a GET is its message");
    }
    for field in fields.children("auth").filter_map(|auth| auth.prop("field")) {
        diagnostics
            .push(Rule::WrongArgument, "`field` does not work with `decode`")
            .at(field.span(), "a field of JSON or of a form")
            .help("write `header=` with the name of a header that has the token");
    }
}

fn respond_of(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<Respond> {
    let status = fields.arg(0)?;
    let body = match fields.child("body") {
        // What cannot be read as a template was reported as one.
        Some(it) => Some(Arc::new(Template::parse(&it.arg(0)?.text()?.value, Roots::REPLY).ok()?)),
        None => None,
    };
    if let (204 | 205, Some(_)) = (status.int()?.value, &body) {
        diagnostics
            .push(Rule::WrongArgument, "a response with this status cannot have a body")
            .at(status.span(), "here")
            .help("write `respond 200`");
        return None;
    }
    if let Some(own) = fields.child("content-type") {
        if let Some(text) = own.arg(0).and_then(|arg| arg.text()) {
            check_content_type(&text, "content-type ", true, diagnostics);
        }
        if body.is_none() {
            diagnostics
                .push(Rule::WrongArgument, "`content-type` has no effect without `body`")
                .at(own.head(), "the type of a body that is not given")
                .help("remove it, or write a `body` too");
        }
    }
    let content_type = fields.setting("content-type").arg(0, |scalar| Some(scalar.text()?.value));
    Some(Respond { status: u16::try_from(status.int()?.value).ok(), body, content_type })
}

impl SourceKind for HttpSource {
    const IS_SERVED: bool = true;

    fn ends(_: &HttpSourceSettings) -> bool {
        false
    }

    fn brings(settings: &HttpSourceSettings) -> Brings {
        match &settings.decoding {
            Some(decoding) => Brings { has_file: false, ..decoding.brings() },
            None => Brings::message(ValueType::any()),
        }
    }

    fn decoder(settings: &HttpSourceSettings) -> Option<&LineDecoder> {
        settings.decoding.as_ref()?.decoder.as_deref()
    }

    fn is_text(settings: &HttpSourceSettings) -> bool {
        settings.decoding.is_some()
    }

    fn messages<'a>(settings: &HttpSourceSettings, text: &'a str) -> Vec<&'a str> {
        let body = settings.decoding.as_ref().map_or(JSON_LINES, Decoding::body);
        body.messages(text).map(str::trim).collect()
    }

    fn cloud_events(settings: &HttpSourceSettings) -> CloudEvents {
        match &settings.accepts[..] {
            [BodyForm::CloudEvents] => CloudEvents::All,
            forms if forms.contains(&BodyForm::CloudEvents) => CloudEvents::Some,
            _ => CloudEvents::Never,
        }
    }

    /// An empty token would let everyone in: it is left out where there is another one, as while
    /// one is replaced, and a fault where it is the only one.
    async fn open(settings: HttpSourceSettings, services: Services) -> Result<OpenSource, Fault> {
        let mut credentials = Vec::new();
        for auth in &settings.auth {
            credentials.extend(auth.open(&services)?);
        }
        if credentials.is_empty() && !settings.auth.is_empty() {
            return Err(Fault::permanent("the secret of `auth` is empty"));
        }
        Ok(OpenSource::Route(HttpRoute {
            path: settings.path.value,
            methods: settings.methods,
            accepts: match settings.decoding {
                Some(_) => Vec::new(),
                None => settings.accepts,
            },
            text: settings.decoding.as_ref().map(Decoding::body),
            credentials: Credentials::new(credentials),
            idempotency_header: settings.idempotency_header,
            body_max: None,
            respond: settings.respond,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn route(text: &str) -> Result<HttpRoute, Fault> {
        let settings = testing::settings::<HttpSource>(text);
        match smol::block_on(HttpSource::open(settings, testing::alone()))? {
            OpenSource::Route(route) => Ok(route),
            OpenSource::Task(_) => panic!("the server serves it"),
        }
    }

    #[test]
    fn a_path_alone_takes_posts_from_whom_the_server_trusts() {
        let route = route("path \"/e\"").unwrap();
        assert_eq!((route.path.as_str(), route.methods), ("/e", vec!["POST".to_owned()]));
        assert!(route.credentials.is_empty() && route.idempotency_header.is_none());
    }

    #[test]
    fn its_own_credentials_rule_and_are_never_all_empty() {
        let open = |auth: &str| route(&format!("path \"/e\"\n{auth}"));
        let shows = |auth: &str, name: &'static str, value: &'static str| {
            let header = move |text: &str| (text == name).then_some(value);
            open(auth).unwrap().credentials.check_headers(&header).is_ok()
        };
        let bearer = "auth bearer=(env)\"TOKEN\"";
        assert!(shows(bearer, "authorization", "Bearer t0k"));
        assert!(!shows(bearer, "authorization", "Bearer tok"));
        assert!(shows("auth token=(env)\"TOKEN\" header=\"X-T\"", "x-t", "t0k"));
        assert!(shows("auth basic=\"a:b\"", "authorization", "Basic YTpi"));
        let empty = "auth bearer=(env)\"NONE\" default=\"\"";
        assert!(open(empty).is_err());
        assert!(shows(&format!("{empty}\n{bearer}"), "authorization", "Bearer t0k"));
        assert!(!shows(&format!("{empty}\n{bearer}"), "authorization", "Bearer "));
        let text = "path \"/e\"\nauth bearer=(env)\"NONE\" optional=#true";
        assert!(HttpSource::needed(&testing::settings::<HttpSource>(text))[0].is_optional);
    }

    #[test]
    fn what_auth_needs_beside_its_secret_is_named() {
        assert!(route("path \"/e\"\nauth hmac=(env)\"TOKEN\" scheme=github").is_ok());
        for (auth, told) in [
            ("auth hmac=(env)\"T\"", "`hmac` needs `scheme=`"),
            ("auth hmac=(env)\"T\" scheme=hex", "`scheme=hex` needs `header=`"),
            (
                "auth hmac=(env)\"T\" bearer=(env)\"T\" scheme=github",
                "`bearer` and `hmac` cannot be combined",
            ),
            ("auth bearer=(env)\"T\" scheme=github", "`scheme` does not work with `bearer`"),
            ("auth basic=(env)\"T\" field=\"x\"", "`field` does not work with `basic`"),
            ("auth token=(env)\"T\"", "`token` needs `header=` or `field=`"),
            (
                "auth token=(env)\"T\" header=\"X\" field=\"x\"",
                "`header` and `field` cannot be combined",
            ),
            ("auth basic=\"user\"", "`basic` needs a user and a password"),
            ("auth", "`auth` needs `bearer=`, `token=`, `basic=` or `hmac=`"),
        ] {
            let found = testing::findings::<HttpSource>(&format!("path \"/e\"\n{auth}"));
            assert_eq!(found, [format!("E0016 {told}")], "{auth}");
        }
    }

    #[test]
    fn a_response_without_content_has_no_body() {
        let found = testing::findings::<HttpSource>("path \"/e\"\nrespond 204 { body \"x\" }");
        assert_eq!(found, ["E0016 a response with this status cannot have a body"]);
        let route = route("path \"/e\"\nrespond 204").unwrap();
        assert_eq!((route.respond.status, route.respond.body), (Some(204), None));
    }

    #[test]
    fn a_text_is_taken_apart_and_what_contradicts_that_is_named() {
        let text = |decode: &str| route(&format!("path \"/e\"\n{decode}")).unwrap().text;
        assert_eq!(text(""), None);
        assert_eq!(text("decode raw"), Some(TextBody::Whole));
        assert_eq!(text("decode text"), Some(TextBody::Lines { has_header: false }));
        let csv = text("decode csv { columns a; header }");
        assert_eq!(csv, Some(TextBody::Lines { has_header: true }));
        for (more, told) in [
            ("accept json text", "`accept` and `decode` cannot be combined"),
            ("method POST GET", "`decode` needs a body, and a GET has none"),
            ("auth token=\"x\" field=\"y\"", "`field` does not work with `decode`"),
        ] {
            let found =
                testing::findings::<HttpSource>(&format!("path \"/e\"\ndecode raw\n{more}"));
            assert_eq!(found, [format!("E0016 {told}")], "{more}");
        }
    }

    #[test]
    fn every_method_is_claimed() {
        let settings = testing::settings::<HttpSource>("path \"/e\"\nmethod GET POST");
        assert_eq!(HttpSource::claims(&settings).len(), 2);
        let found = testing::findings::<HttpSource>("path \"events here\"");
        assert_eq!(found, ["E0016 `events here` is not a URL path"]);
    }
}
