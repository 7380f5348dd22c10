//! URLs whose beginning comes from a `param`: the parameter is known, so the URL is as well.

use super::template;
use crate::spec::Spec;
use language::ExprSite;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::Root;
use serde_json::Value;

pub(super) fn check(spec: &Spec, sites: &[ExprSite<'_>], diagnostics: &mut Diagnostics) {
    for site in sites.iter().filter(|site| site.name == "url") {
        let Some(template) = template(site) else { continue };
        let mut used = None;
        let beginning = template.fixed_beginning(|root, path| {
            let [name] = path else { return None };
            let (name, value) = spec
                .params
                .iter()
                .find(|param| root == Root::Param && param.0.value.replace('-', "_") == *name)?;
            used = Some(name);
            match value {
                Value::String(text) => Some(text.clone()),
                value => Some(value.to_string()),
            }
        });
        let Some(param) = used.filter(|_| !beginning.contains("${")) else { continue };
        let Some(label) = fault_of(&beginning) else { continue };
        diagnostics
            .push(Rule::WrongArgument, format!("this is not an HTTP URL: `{beginning}`"))
            .at(site.span(), label)
            .at(param.span.clone(), "from this `param`")
            .help("a URL begins with `http://` or `https://` and a host, such as `http://127.0.0.1:8700`");
    }
}

/// What is wrong with the beginning of a URL, up to its host.
fn fault_of(url: &str) -> Option<&'static str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest else { return Some("does not start with `http://` or `https://`") };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-._~:%[]".contains(letter);
    match host {
        "" => Some("has no host"),
        host if host.starts_with(':') => Some("has no host before the port"),
        host if !host.chars().all(is_plain) => {
            Some("has characters that are not allowed in a host")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::fault_of;

    #[test]
    fn a_host_is_needed_and_plain() {
        for url in
            ["http://a", "https://10.0.0.1:80/x y", "http://u:p@h.example/", "http://[::1]:1"]
        {
            assert_eq!(fault_of(url), None, "{url}");
        }
        for url in ["a", "ftp://a", "http:/a", "http://", "http:///x", "http://a b/", "http://:80"]
        {
            assert!(fault_of(url).is_some(), "{url}");
        }
    }
}
