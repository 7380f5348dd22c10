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
    let is_plain = |letter: char| letter.is_ascii_graphic() && !"?#%\"<>\\^`{|}".contains(letter);
    let has_dots = path.value.split('/').any(|part| matches!(part, "." | ".."));
    if path.value.starts_with('/') && path.value.chars().all(is_plain) && !has_dots {
        return Some(path);
    }
    diagnostics
        .push(Rule::WrongArgument, format!("`{}` is not a URL path", path.value))
        .at(path.span, "must begin with `/`, without spaces, `?`, `#`, `.` and `..`")
        .help(format!("write `path \"/{}\"`", path.value.trim_start_matches('/')));
    None
}
