//! The list of sources. Adding one: a file here, a `mod` line, a line in `all`.

mod demo;
mod exec;
mod file;
mod http;
mod lines;
mod mqtt;
mod stdin;
mod timer;

pub(crate) use lines::Codec;
#[cfg(test)]
pub(crate) use stdin::Stdin;

use crate::catalog::Catalog;
use language::diagnostic::{Diagnostics, Rule};
use language::spanned::Spanned;

pub(crate) fn all(catalog: Catalog) -> Catalog {
    catalog
        .source::<demo::Demo>()
        .source::<exec::ExecSource>()
        .source::<file::File>()
        .source::<http::HttpSource>()
        .source::<mqtt::MqttSource>()
        .source::<stdin::Stdin>()
        .source::<timer::TimerSource>()
}

/// A path that the HTTP server can serve; reports one that it cannot.
pub(crate) fn route_of(
    path: Spanned<String>,
    diagnostics: &mut Diagnostics,
) -> Option<Spanned<String>> {
    let mut parts = path.value.split('/');
    if path.value.split('?').next().is_some_and(|it| it.split('/').any(is_pattern)) {
        diagnostics
            .push(
                Rule::WrongArgument,
                format!("`{}` is a pattern, and paths are literal", path.value),
            )
            .at(path.span, "matches no other path")
            .help(format!(
                "write `path \"{}\"`, and send what differs in the message",
                plain_route(&path.value)
            ));
        return None;
    }
    let has_dots = parts.any(|part| matches!(part, "." | ".."));
    if path.value.starts_with('/') && path.value.chars().all(is_in_route) && !has_dots {
        return Some(path);
    }
    let message = format!("`{}` is not a URL path", path.value);
    let label = "must begin with `/`, without spaces, `?`, `#`, `.` and `..`";
    let help = format!("write `path \"{}\"`", plain_route(&path.value));
    diagnostics.push(Rule::WrongArgument, message).at(path.span, label).help(help);
    None
}

fn is_in_route(letter: char) -> bool {
    letter.is_ascii_graphic() && !"?#%\"<>\\^`{|}".contains(letter)
}

/// `{id}`, `:id` and `*` stand for any text in the routes of other tools.
fn is_pattern(part: &str) -> bool {
    part.starts_with(':') || part.contains(['{', '}', '*'])
}

/// The nearest path that can be served: without query, dots and patterns.
fn plain_route(text: &str) -> String {
    let text = text
        .split_once("://")
        .map_or(text, |(_, rest)| &rest[rest.find('/').unwrap_or(rest.len())..]);
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let parts = path.split('/').take_while(|part| !is_pattern(part));
    let parts = parts.filter(|part| !matches!(*part, "" | "." | ".."));
    let plain = |part: &str| -> String {
        part.trim().chars().map(|letter| if is_in_route(letter) { letter } else { '-' }).collect()
    };
    parts.map(|part| format!("/{}", plain(part))).collect::<String>()
}
