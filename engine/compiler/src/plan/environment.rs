//! What the file takes from outside: variables that must be set, the address to listen on.

use crate::spec::{Name, ServerSettings, Spec};
use language::diagnostic::{Diagnostics, Rule};
use language::spanned::{Span, Spanned};
use language::{Context, Environment, MissingSetting, Setting, is_socket, nearest};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Nodes that are off because something optional is not there, and what that is.
#[derive(Debug, Default)]
pub struct DisabledNodes(BTreeMap<String, String>);

impl DisabledNodes {
    pub(super) fn of(&self, name: &Name) -> Option<String> {
        self.0.get(&name.value).cloned()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(name, reason)| format!("`{name}` is off: {reason}")).collect()
    }
}

/// Reports what must be there and is not; answers what is off without it.
pub(super) fn missing(spec: &Spec, context: &mut Context<'_>) -> DisabledNodes {
    let mut off = DisabledNodes::default();
    for (name, needed) in spec.needed() {
        let Some(unset) = needed.setting.value.missing(context.environment) else { continue };
        if needed.is_optional {
            off.0.insert(name.value.clone(), unset.to_string());
        } else {
            report(&needed.setting, &unset, context.environment, context.diagnostics);
        }
    }
    for setting in spec.server.settings() {
        if let Some(unset) = setting.value.missing(context.environment) {
            report(setting, &unset, context.environment, context.diagnostics);
        }
    }
    tls_files(&spec.server, context);
    off
}

/// Reports a certificate or key that is not there. One whose path is a variable is looked for when
/// the server starts.
fn tls_files(server: &ServerSettings, context: &mut Context<'_>) {
    let Some(tls) = &server.tls else { return };
    for (path, what) in [(&tls.cert, "the certificate"), (&tls.key, "the key")] {
        if let Some(text) = path.value.literal() {
            let written = Spanned::new(text.to_owned(), path.span.clone());
            context.expect_file(&tls.folder, &written, what);
        }
    }
}

/// Everything that must be there: who runs the file without its outside gives stand-ins.
pub fn required(spec: &Spec) -> Vec<Setting> {
    let needed = spec.needed().into_iter().filter(|it| !it.1.is_optional);
    let server = spec.server.settings().map(|setting| setting.value.clone());
    needed.map(|needed| needed.1.setting.value).chain(server).collect()
}

pub(crate) fn report(
    setting: &Spanned<Setting>,
    unset: &MissingSetting,
    environment: &dyn Environment,
    diagnostics: &mut Diagnostics,
) {
    let near = match unset {
        MissingSetting::Variable(name) => {
            let names = environment.names();
            nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
        }
        _ => None,
    };
    let near = near.map(|near| format!("did you mean `{near}`? Or ")).unwrap_or_default();
    let is_part = matches!(setting.value, Setting::Parts(_));
    let otherwise = |name: &str| match is_part {
        true => format!("write `${{{name}:-…}}` with the value to use if it is unset"),
        false => "add `default=\"…\"`, or `optional=#true`".to_owned(),
    };
    let help = match unset {
        MissingSetting::Variable(name) => {
            format!("{near}`export {name}=…`, or {}", otherwise(name))
        }
        MissingSetting::EmptyVariable(name) => {
            format!("give `{name}` a value, or {}", otherwise(name))
        }
        MissingSetting::File(..) => format!("write the file, or {}", otherwise("")),
    };
    let span = match unset {
        MissingSetting::Variable(name) | MissingSetting::EmptyVariable(name) if is_part => {
            part_span(&setting.span, name, diagnostics)
        }
        _ => setting.span.clone(),
    };
    diagnostics.push(Rule::MissingVariable, unset.to_string()).at(span, "needed here").help(help);
}

/// Where `${NAME}` is in a text; all of the text, where it is written otherwise.
fn part_span(whole: &Span, name: &str, diagnostics: &Diagnostics) -> Span {
    let written = format!("${{{name}}}");
    let text = diagnostics.source().text.get(whole.clone());
    match text.and_then(|text| text.find(&written)) {
        Some(at) => whole.start + at..whole.start + at + written.len(),
        None => whole.clone(),
    }
}

/// An address that others can reach needs `auth`.
pub(super) fn check_listen(server: &ServerSettings, context: &mut Context<'_>) {
    check_known_address(&server.listen, context);
    let diagnostics = &mut *context.diagnostics;
    let Some(address) = server.listen.value.literal() else { return };
    if server.has_auth || is_loopback(address) {
        return;
    }
    let is_every = ["0.0.0.0:", "[::]:"].iter().any(|it| address.starts_with(it));
    let label = if is_every { "every address" } else { "others can reach this address" };
    diagnostics
        .push(Rule::OpenListen, "the API would be open to the network")
        .at(server.listen.span.clone(), label)
        .help("add `auth { token NAME (env)\"NAME\" }`, or listen on `127.0.0.1`");
}

/// An address that a variable or a file holds must be one, as in the pipeline file.
fn check_known_address(listen: &Spanned<Setting>, context: &mut Context<'_>) {
    let Ok(address) = listen.value.resolve(context.environment) else { return };
    if listen.value.literal().is_some() || address.is_empty() || is_socket(&address) {
        return;
    }
    let what = match &listen.value {
        Setting::Variable { name, .. } => format!("the value of `{name}`"),
        _ => "the value that `listen` takes from outside the file".to_owned(),
    };
    context
        .diagnostics
        .push(Rule::WrongArgument, format!("{what} must be an address such as `127.0.0.1:8600`"))
        .at(listen.span.clone(), "an address and a port")
        .help("set it to a host and a port, such as `127.0.0.1:8600`");
}

/// Whether only this machine reaches the address.
pub fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |it| it.0);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}
