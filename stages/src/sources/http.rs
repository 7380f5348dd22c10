//! Takes events over HTTP. The engine's server serves the route; this says how.

use crate::contract::{Claim, Fault, Kind, OpenSource, Route, Services, SourceKind};
use crate::fetch::text::{Text, resolve};
use crate::language::{Arg, Context, Fields, Needed, Node, Prop, Type};
use crate::literal::literal;
use crate::spanned::Spanned;

const METHODS: &[&str] = &["POST", "PUT", "GET"];

const NODES: &[Node] = &[
    Node::new("path", "the route, unique per server")
        .args(&[Arg::one("path", Type::Path)])
        .required(),
    Node::new("method", "the methods taken")
        .args(&[Arg::some("method", Type::Word(METHODS))])
        .default("POST"),
    Node::new("auth", "the token that senders must show")
        .props(&[Prop::required("bearer", Type::Secret)])
        .default("the server's `auth`, scope send"),
    Node::new("idempotency", "where the id comes from when `map` gives none")
        .props(&[Prop::required("header", Type::Text)])
        .default("off"),
];

/// The kind `http`.
pub(super) struct Http;

/// What the route takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    path: Spanned<String>,
    methods: Vec<String>,
    bearer: Option<Text>,
    idempotency_header: Option<String>,
}

impl Kind for Http {
    const WORD: &'static str = "http";
    const SUMMARY: &'static str = "takes events over HTTP";
    const NODES: &'static [&'static [Node]] = &[NODES];
    type Settings = Settings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Settings> {
        let path = fields.child("path").and_then(|it| literal(&it.arg(0)?, context.diagnostics));
        let path = path.and_then(|it| super::route_of(it, context.diagnostics));
        let header = match fields.child("idempotency") {
            Some(it) => Some(literal(&it.prop("header")?, context.diagnostics)?.value),
            None => None,
        };
        let bearer = match fields.child("auth") {
            Some(it) => Some(Text::read(&it.prop("bearer")?)?),
            None => None,
        };
        let methods: Vec<String> = match fields.child("method") {
            Some(it) => it.args().filter_map(|it| Some(it.text()?.value)).collect(),
            None => vec!["POST".to_owned()],
        };
        Some(Settings { path: path?, methods, bearer, idempotency_header: header })
    }

    fn needed(settings: &Settings) -> Vec<Needed> {
        settings.bearer.iter().map(Text::needed).collect()
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
    fn ends(_: &Settings) -> bool {
        false
    }

    /// An empty token would let everyone in: it is a fault.
    async fn open(settings: Settings, services: Services) -> Result<OpenSource, Fault> {
        let bearer = settings.bearer.as_ref().map(|it| resolve(&it.setting.value, &services));
        let bearer = bearer.transpose()?;
        if bearer.as_ref().is_some_and(|it| it.trim().is_empty()) {
            return Err(Fault::permanent("the token of `auth` is empty"));
        }
        Ok(OpenSource::Route(Route {
            path: settings.path.value,
            methods: settings.methods,
            bearer,
            idempotency_header: settings.idempotency_header,
            body_max: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn route(text: &str) -> Result<Route, Fault> {
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
    fn every_method_is_claimed() {
        let settings = testing::settings::<Http>("path \"/e\"\nmethod GET POST");
        assert_eq!(Http::claims(&settings).len(), 2);
        let found = testing::findings::<Http>("path \"events here\"");
        assert_eq!(found, ["E0016 `events here` is no path of a URL"]);
    }
}
