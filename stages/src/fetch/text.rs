//! Texts of a request: fixed, from outside the file, or rendered for each event.

use crate::contract::{Fault, Services};
use crate::diagnostic::{Diagnostics, Rule};
use crate::expr::{Roots, Scope, Template};
use crate::language::{Fields, Needed, Scalar, Setting, Unset};
use crate::spanned::Spanned;

/// A text as the file gives it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Text {
    /// What the file says; the literal is a template.
    pub(crate) setting: Spanned<Setting>,
    /// Whether the stage is off without it.
    pub(crate) is_optional: bool,
}

/// A text, ready for events. What came whole from outside the file is taken as it stands: a
/// variable never holds a template.
#[derive(Debug, Clone)]
pub(crate) enum Ready {
    Fixed(String),
    Template(Template),
}

impl Text {
    /// Reads what the table has checked.
    pub(crate) fn read(scalar: &Scalar<'_>) -> Option<Text> {
        Some(Text { setting: scalar.setting()?, is_optional: scalar.is_optional() })
    }

    /// Looks at the parts that it takes from outside.
    pub(crate) fn open(&self, services: &Services) -> Result<Ready, Fault> {
        let text = resolve(&self.setting.value, services)?;
        match &self.setting.value {
            Setting::Variable { .. } | Setting::File { .. } => Ok(Ready::Fixed(text)),
            Setting::Literal(_) | Setting::Parts(_) => {
                let template = Template::parse(&text, Roots::EVENT)
                    .map_err(|_| Fault::permanent("a text of the request is no template"))?;
                Ok(Ready::Template(template))
            }
        }
    }

    /// For [`Kind::needed`](crate::contract::Kind::needed).
    pub(crate) fn needed(&self) -> Needed {
        Needed { setting: self.setting.clone(), is_optional: self.is_optional }
    }
}

impl Ready {
    pub(crate) fn render(&self, scope: &Scope<'_>) -> String {
        match self {
            Ready::Fixed(text) => text.clone(),
            Ready::Template(template) => template.render(scope),
        }
    }

    /// Every inserted value is percent-encoded.
    pub(crate) fn render_url(&self, scope: &Scope<'_>) -> String {
        match self {
            Ready::Fixed(text) => text.clone(),
            Ready::Template(template) => template.render_url(scope),
        }
    }
}

/// The value of a setting; what is missing is a fault for good.
pub(crate) fn resolve(setting: &Setting, services: &Services) -> Result<String, Fault> {
    setting.resolve(&*services.environment).map_err(|unset| {
        Fault::permanent(match unset {
            Unset::Variable(name) => format!("`{name}` is not set"),
            Unset::File(path, why) => {
                format!("cannot read {}: {why}", path.display())
            }
        })
    })
}

/// Every `header` child: name and text.
pub(crate) fn read_headers(fields: &Fields<'_>) -> Vec<(String, Text)> {
    let read = |it: Fields<'_>| Some((it.arg(0)?.text()?.value, Text::read(&it.arg(1)?)?));
    fields.children("header").filter_map(read).collect()
}

/// The headers, ready for events; one that renders to nothing is left out.
pub(crate) fn open_headers(
    headers: &[(String, Text)],
    services: &Services,
) -> Result<Vec<(String, Ready)>, Fault> {
    headers.iter().map(|(name, text)| Ok((name.clone(), text.open(services)?))).collect()
}

/// The headers of one request.
pub(crate) fn render_headers(
    headers: &[(String, Ready)],
    scope: &Scope<'_>,
) -> Vec<(String, String)> {
    let rendered = headers.iter().map(|(name, text)| (name.clone(), text.render(scope)));
    rendered.filter(|(_, value)| !value.is_empty()).collect()
}

/// Reports a literal URL that is not HTTP, or whose host an event could choose.
pub(crate) fn check_url(text: &Text, diagnostics: &mut Diagnostics) -> bool {
    let Some(url) = text.setting.value.literal() else { return true };
    let span = text.setting.span.clone();
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest else {
        diagnostics
            .push(Rule::WrongArgument, "this is no HTTP URL")
            .at(span, "begins with neither `http://` nor `https://`")
            .help("write the whole URL, such as \"http://127.0.0.1:8700/weather\"");
        return false;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains("{{") || host.is_empty() {
        diagnostics
            .push(Rule::BadTemplate, "the host of a URL must stand in the file")
            .at(span, "an event could send the request anywhere")
            .help("use `{{ … }}` behind the host only, or take the whole URL by (env)");
        return false;
    }
    true
}

/// A header is there already, in any case.
pub(crate) fn has_header(headers: &[(String, String)], name: &str) -> bool {
    headers.iter().any(|(it, _)| it.eq_ignore_ascii_case(name))
}
