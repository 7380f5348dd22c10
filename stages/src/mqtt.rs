//! What every kind that speaks MQTT shares: where the broker is, and how it is spoken to.
//!
//! The protocol is that of `mqtt-protocol-core`, which has no sockets; [`connection`] gives it one.

pub(crate) mod connection;
pub(crate) mod discovery;
pub(crate) mod publisher;
mod reason;
pub(crate) mod target;
pub(crate) mod topic;

use crate::contract::{Claim, Services};
use crate::request::{Text, resolve};
use kernel::choice;
use kernel::choice::Choice;
use kernel::fault::{Fault, FaultClass};
use kernel::health::{HealthProblem, PartHealth};
use kernel::regular_file;
use language::diagnostic::{Diagnostics, Rule};
use language::spanned::{Span, Spanned};
use language::{Arg, Context, Fields, Needed, NodeRow, Prop, Scalar, ValueKind};
use std::path::PathBuf;
use std::time::Duration;
use wire::{DialTarget, TlsSetup};

/// For the connection, its TLS handshake, and the broker's greeting, each.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A certificate file larger than this is refused.
const PEM_MAX: u64 = 1 << 20;
/// The longest client id: more than any broker takes.
const CLIENT_ID_MAX: usize = 256;

choice! {
    /// How the protocol is spoken.
    pub(crate) enum Protocol {
        /// The newer one, which says why.
        Five = "v5",
        /// The older one.
        Three = "v3.1.1",
    }
}

/// The nodes that say where the broker is.
/// The code of a part that is not connected.
const DISCONNECTED: &str = "disconnected";
/// The code of a part that the broker does not let in, until somebody corrects something.
const UNAUTHORIZED: &str = "unauthorized";

/// There is no connection. What keeps it away has one of two codes, so that a change from one to
/// the other is news, and is logged.
pub(crate) fn disconnected(health: &PartHealth, fault: &Fault, reason: String, advice: &str) {
    let (code, other) = match fault.class {
        FaultClass::Configuration => (UNAUTHORIZED, DISCONNECTED),
        FaultClass::Transient | FaultClass::Permanent => (DISCONNECTED, UNAUTHORIZED),
    };
    health.report(HealthProblem::failed(code, reason).advise(advice));
    health.clear(other);
}

/// There is a connection.
pub(crate) fn connected(health: &PartHealth) {
    health.clear(DISCONNECTED);
    health.clear(UNAUTHORIZED);
}

pub(crate) const BROKER: &[NodeRow] = &[
    NodeRow::new("url", "the broker: `mqtt://HOST`, or `mqtts://HOST` with TLS; the ports are 1883 and 8883 unless it names one")
        .examples(&[r#"url "mqtt://127.0.0.1:1883""#, r#"url (env)"MQTT_URL""#])
        .args(&[Arg::one("url", ValueKind::BrokerUrl)])
        .required(),
    NodeRow::new("tls", "for `mqtts://`: which authorities to trust, and the client's own certificate")
        .examples(&[
            r#"tls ca="certs/ca.pem""#,
            r#"tls ca="certs/ca.pem" cert="certs/engine.pem" key=(env)"MQTT_KEY""#,
        ])
        .props(&[
            Prop::new("ca", ValueKind::Path),
            Prop::new("cert", ValueKind::Path),
            Prop::new("key", ValueKind::Secret),
        ])
        .otherwise("the bundled authorities"),
    NodeRow::new("username", "the user name")
        .examples(&[r#"username (env)"MQTT_USER" default="""#])
        .args(&[Arg::one("name", ValueKind::Text)])
        .otherwise("none"),
    NodeRow::new("password", "the password")
        .examples(&[r#"password (env)"MQTT_PASSWORD""#])
        .args(&[Arg::one("password", ValueKind::Secret)])
        .otherwise("none"),
    NodeRow::new("client-id", "the client id at the broker; two clients must not share one")
        .examples(&[r#"client-id "engine-garage""#])
        .args(&[Arg::one("id", ValueKind::Text)])
        .otherwise("`engine-PIPELINE-NAME`"),
    NodeRow::new("keep-alive", "tests a connection on which nothing was sent for this long")
        .examples(&[r#"keep-alive "30s""#])
        .args(&[Arg::one("duration", ValueKind::Duration(Duration::from_secs(5), Duration::from_secs(3600)))])
        .default("\"60s\""),
    NodeRow::new("protocol", "the version of MQTT")
        .examples(&["protocol v3.1.1"])
        .args(&[Arg::one("version", ValueKind::Word(Protocol::WORDS))])
        .default("v5"),
];

/// Where the broker is and who we are, as the file says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BrokerSettings {
    url: Text,
    tls: Option<MqttTlsFiles>,
    username: Option<Text>,
    password: Option<Text>,
    client_id: Option<Text>,
    keep_alive: Duration,
    protocol: Protocol,
}

/// Where certificates are.
#[derive(Debug, Clone, PartialEq, Default)]
struct MqttTlsFiles {
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, Text)>,
}

/// A broker, ready to be connected to.
#[derive(Debug, Clone)]
pub(crate) struct Broker {
    pub(crate) target: DialTarget,
    /// As it is shown to people: without user and password.
    pub(crate) shown: String,
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    /// *Never:* shown.
    pub(crate) password: Option<MqttSecret>,
    pub(crate) keep_alive: Duration,
    pub(crate) protocol: Protocol,
}

/// A text that no `Debug` output has.
#[derive(Clone)]
pub(crate) struct MqttSecret(pub(crate) String);

impl std::fmt::Debug for MqttSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MqttSecret")
    }
}

impl BrokerSettings {
    pub(crate) fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Self> {
        let text = |name: &str| fields.child(name).and_then(|child| Text::read(&child.arg(0)?));
        let url = fields.child("url").and_then(|child| child.arg(0));
        let is_tls = url.as_ref().and_then(|url| check_url(url, context.diagnostics));
        let tls = match fields.child("tls") {
            Some(tls) => MqttTlsFiles::read(&tls, is_tls.as_ref(), context).map(Some),
            None => Some(None),
        };
        let client_id = text("client-id");
        let is_named = check_client_id(client_id.as_ref(), context.diagnostics);
        is_tls.filter(|_| is_named)?;
        Some(BrokerSettings {
            url: Text::read(&url?)?,
            tls: tls?,
            username: text("username"),
            password: text("password"),
            client_id,
            keep_alive: fields
                .setting("keep-alive")
                .arg(0, |scalar| Some(scalar.duration()?.value)),
            protocol: fields.setting("protocol").arg(0, Scalar::choice),
        })
    }

    pub(crate) fn needed(&self) -> Vec<Needed> {
        let key = self.tls.iter().filter_map(|it| Some(&it.identity.as_ref()?.1));
        let texts = [&self.username, &self.password, &self.client_id].into_iter().flatten();
        [&self.url].into_iter().chain(texts).chain(key).map(Text::needed).collect()
    }

    /// The name at the broker, where the file gives one.
    pub(crate) fn claims(&self) -> Vec<Spanned<Claim>> {
        let place = self.url.setting.value.literal().and_then(|url| BrokerPlace::parse(url).ok());
        // The same variable is the same broker.
        let broker = place.map_or_else(
            || format!("{:?}", self.url.setting.value),
            |place| format!("{}:{}", place.host.to_lowercase(), place.port),
        );
        let named = self.client_id.iter().filter_map(|text| {
            let id = text.setting.value.literal()?.to_owned();
            let claim = Claim::Client { broker: broker.clone(), id };
            Some(text.setting.clone().map(|_| claim))
        });
        named.collect()
    }

    /// Looks at what comes from outside the file.
    pub(crate) async fn open(self, services: &Services) -> Result<Broker, Fault> {
        let value = |text: &Text| resolve(&text.setting.value, services);
        let given = |text: &Option<Text>| {
            let value = text.as_ref().map(value).transpose()?;
            Ok::<_, Fault>(value.filter(|value| !value.is_empty()))
        };
        let url = value(&self.url)?;
        let place = BrokerPlace::parse(&url).map_err(|wrong| Fault::permanent(wrong.message))?;
        let tls = match (place.is_tls, self.tls) {
            (false, None) => None,
            (false, Some(_)) => return Err(Fault::permanent("`tls` needs a URL with mqtts://")),
            (true, None) => Some(TlsSetup::default()),
            (true, Some(files)) => Some(files.open(services).await?),
        };
        let name = &services.health.part().name;
        let own = || format!("engine-{}-{name}", services.pipeline);
        let client_id = given(&self.client_id)?.unwrap_or_else(own);
        let scheme = if place.is_tls { "mqtts" } else { "mqtt" };
        let shown = format!("{scheme}://{}", url.split("://").nth(1).unwrap_or_default());
        Ok(Broker {
            target: DialTarget {
                host: place.host,
                port: place.port,
                tls,
                timeout: CONNECT_TIMEOUT,
            },
            shown: shown.trim_end_matches('/').to_owned(),
            client_id,
            username: given(&self.username)?,
            password: given(&self.password)?.map(MqttSecret),
            keep_alive: self.keep_alive,
            protocol: self.protocol,
        })
    }
}

/// Reports what is wrong with `tls`, which then says nothing.
fn wrong<T>(
    context: &mut Context<'_>,
    span: Span,
    message: &str,
    label: &str,
    help: &str,
) -> Option<T> {
    context.diagnostics.push(Rule::WrongArgument, message).at(span, label).help(help);
    None
}

impl MqttTlsFiles {
    fn read(
        fields: &Fields<'_>,
        url: Option<&UrlScheme>,
        context: &mut Context<'_>,
    ) -> Option<Self> {
        let given = |name: &str| fields.prop(name).and_then(|prop| prop.text());
        let path = |name: &str| {
            let given = given(name)?;
            Some((fields.folder().join(&given.value), given.span))
        };
        let (ca, cert) = (path("ca"), path("cert"));
        let key = fields.prop("key");
        if url == Some(&UrlScheme::Plain) {
            let message = "`tls` has no effect with `mqtt://`";
            return wrong(
                context,
                fields.head(),
                message,
                "not used",
                "write `mqtts://` in `url`, or remove `tls`",
            );
        }
        for name in ["ca", "cert"] {
            if let Some(file) = given(name) {
                context.expect_file(fields.folder(), &file, &format!("`{name}`"));
            }
        }
        let identity = match (cert, key) {
            (Some((cert, _)), Some(key)) => Some((cert, Text::read(&key)?)),
            (None, None) => None,
            (Some((_, span)), None) => {
                let help = "add `key=(file)\"engine.key\"`";
                return wrong(context, span, "a certificate needs its key", "no `key=`", help);
            }
            (None, Some(key)) => {
                let help = "add `cert=\"engine.pem\"`";
                return wrong(
                    context,
                    key.span(),
                    "a key needs its certificate",
                    "no `cert=`",
                    help,
                );
            }
        };
        if ca.is_none() && identity.is_none() && !fields.has_block() {
            let help = "write `tls ca=\"ca.pem\"`, or remove it: `mqtts://` alone speaks TLS";
            return wrong(
                context,
                fields.head(),
                "`tls` has no settings",
                "no `ca=` and no `cert=`",
                help,
            );
        }
        Some(MqttTlsFiles { ca: ca.map(|ca| ca.0), identity })
    }

    async fn open(self, services: &Services) -> Result<TlsSetup, Fault> {
        let key =
            self.identity.as_ref().map(|identity| resolve(&identity.1.setting.value, services));
        let key = key.transpose()?;
        let read = move || {
            let identity = self.identity.zip(key);
            Ok::<_, Fault>(TlsSetup {
                authorities: self.ca.map(read_pem).transpose()?,
                identity: match identity {
                    Some(((cert, _), key)) => Some((read_pem(cert)?, key.into_bytes())),
                    None => None,
                },
            })
        };
        services.env.pools.files.run(read).await?
    }
}

fn read_pem(path: PathBuf) -> Result<Vec<u8>, Fault> {
    regular_file::read(&path, PEM_MAX)
        .map_err(|fault| Fault::permanent(format!("cannot read {}: {fault}", path.display())))
}

/// What is known of a URL before its variables are.
#[derive(Debug, PartialEq)]
enum UrlScheme {
    Plain,
    Secure,
    /// It comes from outside the file.
    Unknown,
}

/// A URL of a broker, read.
#[derive(Debug, PartialEq)]
struct BrokerPlace {
    is_tls: bool,
    host: String,
    port: u16,
}

/// What is wrong with a URL, and where.
#[derive(Debug)]
struct UrlError {
    at: Span,
    message: String,
    label: &'static str,
    help: String,
}

impl BrokerPlace {
    fn parse(url: &str) -> Result<BrokerPlace, UrlError> {
        let wrong = |at: Span, message: &str, label, help: &str| {
            Err(UrlError { at, message: message.to_owned(), label, help: help.to_owned() })
        };
        let Some((scheme, rest)) = url.split_once("://") else {
            let help = format!("write `mqtt://{url}`, or `mqtts://{url}` for TLS");
            return wrong(0..url.len(), "this is not a URL of a broker", "no `mqtt://`", &help);
        };
        let is_tls = match scheme {
            "mqtt" => false,
            "mqtts" => true,
            _ => {
                let own = if matches!(scheme, "ssl" | "tls" | "https" | "wss") {
                    "mqtts"
                } else {
                    "mqtt"
                };
                let message = format!("`{scheme}://` is not a scheme of a broker");
                let help = format!("write `{own}://{rest}`; MQTT over WebSockets is not supported");
                return wrong(0..scheme.len(), &message, "not `mqtt` or `mqtts`", &help);
            }
        };
        let start = scheme.len() + 3;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if let Some((who, _)) = authority.rsplit_once('@') {
            let help = "write `username` and `password` instead, best from `(env)` or `(file)`";
            let at = start..start + who.len();
            return wrong(at, "a URL of a broker has no user name", "here", help);
        }
        if !matches!(path, "" | "/") {
            let at = start + authority.len()..url.len();
            return wrong(
                at,
                "a URL of a broker has no path",
                "here",
                "remove the path; `topic` says what to read",
            );
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let at = start..start + host.len();
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._:%".contains(letter);
        if name.is_empty()
            || !name.chars().all(is_plain)
            || (name.contains(':') && !host.starts_with('['))
        {
            let help = "write the broker's host, such as \"mqtt://127.0.0.1:1883\"";
            return wrong(at, "this URL has no valid host", "here", help);
        }
        let own = if is_tls { 8883 } else { 1883 };
        let Some(port) = port.map_or(Some(own), port_of) else {
            let at = start + host.len() + 1..start + authority.len();
            let help = "write a number from 1 to 65535";
            return wrong(at, "this is not a port", "here", help);
        };
        Ok(BrokerPlace { is_tls, host: name.to_owned(), port })
    }
}

fn port_of(text: &str) -> Option<u16> {
    text.parse().ok().filter(|it| 0 < *it)
}

/// Reports a URL that is not a broker's; `None` where it is not one.
fn check_url(scalar: &Scalar<'_>, diagnostics: &mut Diagnostics) -> Option<UrlScheme> {
    let text = Text::read(scalar)?;
    let setting = text.setting.value;
    let Some(url) = setting.outline() else { return Some(UrlScheme::Unknown) };
    let is_whole = setting.literal().is_some();
    if !is_whole && !url.contains("://") {
        return Some(UrlScheme::Unknown);
    }
    // A variable stands for a port as well as for a host.
    let url = if is_whole { url } else { url.replace(":v", ":1") };
    match BrokerPlace::parse(&url) {
        Ok(place) if place.is_tls => Some(UrlScheme::Secure),
        Ok(_) => Some(UrlScheme::Plain),
        Err(wrong) => {
            let at = if is_whole { scalar.part_span(wrong.at) } else { scalar.span() };
            diagnostics
                .push(Rule::WrongArgument, wrong.message)
                .at(at, wrong.label)
                .help(wrong.help);
            None
        }
    }
}

fn check_client_id(text: Option<&Text>, diagnostics: &mut Diagnostics) -> bool {
    let Some(text) = text else { return true };
    let Some(id) = text.setting.value.literal() else { return true };
    let reason = match id {
        "" => "a client id must not be empty: the session could not be found again",
        _ if CLIENT_ID_MAX < id.len() => "a client id has at most 256 bytes",
        _ if id.chars().any(char::is_control) => "a client id has no control characters",
        _ => return true,
    };
    diagnostics
        .push(Rule::WrongArgument, reason)
        .at(text.setting.span.clone(), "here")
        .help("write a name of your own, or remove it for `engine-PIPELINE-NAME`");
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_host_and_port() {
        for (url, is_tls, host, port) in [
            ("mqtt://broker", false, "broker", 1883),
            ("mqtts://broker.lan/", true, "broker.lan", 8883),
            ("mqtt://10.0.0.2:2883", false, "10.0.0.2", 2883),
            ("mqtt://[::1]:1884", false, "::1", 1884),
            ("mqtts://[fe80::1]", true, "fe80::1", 8883),
        ] {
            let expected = BrokerPlace { is_tls, host: host.to_owned(), port };
            assert_eq!(BrokerPlace::parse(url).unwrap(), expected);
        }
    }

    #[test]
    fn a_wrong_url_has_its_place() {
        for (url, at, message) in [
            ("broker:1883", "broker:1883", "this is not a URL of a broker"),
            ("tcp://broker", "tcp", "`tcp://` is not a scheme of a broker"),
            ("wss://broker", "wss", "`wss://` is not a scheme of a broker"),
            ("mqtt://me:secret@broker", "me:secret", "a URL of a broker has no user name"),
            ("mqtt://broker/frigate", "/frigate", "a URL of a broker has no path"),
            ("mqtt://:1883", "", "this URL has no valid host"),
            ("mqtt://a b", "a b", "this URL has no valid host"),
            ("mqtt://broker:0", "0", "this is not a port"),
            ("mqtt://broker:x", "x", "this is not a port"),
        ] {
            let wrong = BrokerPlace::parse(url).unwrap_err();
            assert_eq!((&url[wrong.at], wrong.message.as_str()), (at, message));
        }
    }
}
