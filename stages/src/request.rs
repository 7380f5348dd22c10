//! Texts of a request: fixed, from outside the file, or rendered for each event.

use crate::contract::Services;
use kernel::fault::Fault;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::{Roots, Scope, Template};
use language::spanned::{Span, Spanned};
use language::{Context, Fields, MissingSetting, Needed, Scalar, Setting};
use wire::HeaderFault;

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

    /// The value of the child of this name, where there is one.
    pub(crate) fn read_child(fields: &Fields<'_>, name: &str) -> Option<Text> {
        Text::read(&fields.child(name)?.arg(0)?)
    }

    /// Every value of the child of this name, which must be there.
    pub(crate) fn read_all(fields: &Fields<'_>, name: &str) -> Option<Vec<Text>> {
        fields.child(name)?.args().map(|arg| Text::read(&arg)).collect()
    }

    /// Looks at the parts that it takes from outside.
    pub(crate) fn open(&self, services: &Services) -> Result<Ready, Fault> {
        let text = resolve(&self.setting.value, services)?;
        match &self.setting.value {
            Setting::Variable { .. } | Setting::File { .. } => Ok(Ready::Fixed(text)),
            Setting::Literal(_) | Setting::Parts(_) => {
                let template = Template::parse(&text, Roots::NOTICE)
                    .map_err(|_| Fault::permanent("a text of the request is not a template"))?;
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
    /// The text, where it is the same for every event.
    pub(crate) fn fixed(&self) -> Option<&str> {
        match self {
            Ready::Fixed(text) => Some(text),
            Ready::Template(template) => template.is_literal().then(|| template.text()),
        }
    }

    pub(crate) fn render(&self, scope: &Scope<'_>) -> String {
        match self {
            Ready::Fixed(text) => text.clone(),
            Ready::Template(template) => template.render(scope),
        }
    }
}

/// The value of a setting; what is missing is a fault for good.
pub(crate) fn resolve(setting: &Setting, services: &Services) -> Result<String, Fault> {
    setting.resolve(&*services.environment).map_err(|unset| {
        Fault::permanent(match unset {
            MissingSetting::Variable(name) => format!("`{name}` is not set"),
            MissingSetting::EmptyVariable(name) => format!("`{name}` is empty"),
            MissingSetting::File(path, why) => {
                format!("cannot read {}: {why}", path.display())
            }
        })
    })
}

/// Reports what is among the recipients twice: it would get everything twice.
pub(crate) fn check_twice(texts: &[Text], what: &str, diagnostics: &mut Diagnostics) {
    for (at, text) in texts.iter().enumerate() {
        if texts[..at].iter().any(|it| it.setting.value == text.setting.value) {
            diagnostics
                .push(Rule::SamePath, format!("this {what} is given twice"))
                .at(text.setting.span.clone(), "the second one")
                .help("keep one of the two");
        }
    }
}

/// Every `header` child: name and text. Reports a name that no request can have.
pub(crate) fn read_headers(
    fields: &Fields<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<(String, Text)> {
    let read = |fields: Fields<'_>| {
        let name = fields.arg(0)?.text()?;
        report_header(&name, diagnostics);
        let value = Text::read(&fields.arg(1)?)?;
        report_header_value(&value, diagnostics);
        Some((name.value, value))
    };
    fields.children("header").filter_map(read).collect()
}

/// Reports the name of a header that no request can have.
fn report_header(name: &Spanned<String>, diagnostics: &mut Diagnostics) {
    let Some(fault) = wire::header_fault(&name.value) else { return };
    let (message, label, help) = match fault {
        HeaderFault::Reserved(key) => {
            let message = format!("the header `{key}` is set by the engine");
            (message, "it follows from the request", "remove this line".to_owned())
        }
        HeaderFault::NoName(_) => {
            let message = format!("`{}` is not the name of a header", name.value.escape_debug());
            let (name, value) = meant_header(&name.value);
            (message, "no request can have it", format!("write `header \"{name}\" \"{value}\"`"))
        }
    };
    diagnostics.push(Rule::WrongArgument, message).at(name.span.clone(), label).help(help);
}

/// Reports the value of a header that would not end with its line.
fn report_header_value(value: &Text, diagnostics: &mut Diagnostics) {
    let Setting::Literal(text) = &value.setting.value else { return };
    let is_forbidden = |letter: char| letter.is_control() && letter != '\t';
    if !text.contains(is_forbidden) {
        return;
    }
    let words: Vec<&str> = text.split(is_forbidden).filter(|word| !word.is_empty()).collect();
    let line = words.join(" ").replace('\\', "\\\\").replace('"', "\\\"");
    diagnostics
        .push(Rule::WrongArgument, "the value of a header must be one line")
        .at(value.setting.span.clone(), "it has a line end or a control character")
        .help(format!("write `\"{line}\"`"));
}

/// A type such as `text/html; charset=utf-8`, with its parameters where they are allowed.
fn is_content_type(text: &str, may_have_parameters: bool) -> bool {
    let is_token = |text: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(is_part)
    };
    let is_parameter = |text: &str| {
        let Some((name, value)) = text.trim().split_once('=') else { return false };
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let is_quoted = quoted.is_some_and(|text| {
            text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !b"\"\\".contains(&byte))
        });
        is_token(name) && (is_token(value) || is_quoted)
    };
    let mut parts = text.split(';');
    let kind = parts.next().unwrap_or_default().trim_end().split_once('/');
    let mut parameters = parts.peekable();
    kind.is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
        && (may_have_parameters || parameters.peek().is_none())
        && parameters.all(is_parameter)
}

/// Reports what is not a content type. `written` is how it is written: `content-type=`.
pub(crate) fn check_content_type(
    text: &Spanned<String>,
    written: &str,
    may_have_parameters: bool,
    diagnostics: &mut Diagnostics,
) {
    if is_content_type(&text.value, may_have_parameters) {
        return;
    }
    let lower = text.value.to_ascii_lowercase();
    let essence = lower.split(';').next().unwrap_or_default().trim();
    let meant = ["json", "html", "xml", "csv"].into_iter().find(|word| lower.contains(word));
    let meant = match meant {
        _ if is_content_type(essence, false) => essence,
        Some("json") => "application/json",
        Some("html") => "text/html",
        Some("xml") => "application/xml",
        Some("csv") => "text/csv",
        _ => "text/plain",
    };
    let (message, label) = match may_have_parameters {
        false if is_content_type(&text.value, true) => (
            "the parameters of a content type are not compared".to_owned(),
            "no response matches it",
        ),
        _ => {
            let message = format!("`{}` is not a content type", text.value.escape_debug());
            (message, "no response can have it")
        }
    };
    diagnostics
        .push(Rule::WrongArgument, message)
        .at(text.span.clone(), label)
        .help(format!("write `{written}\"{meant}\"`"));
}

/// Reports the name of a header that no request will ever bring.
pub(crate) fn check_header_name(name: &Spanned<String>, diagnostics: &mut Diagnostics) {
    if !matches!(wire::header_fault(&name.value), Some(HeaderFault::NoName(_))) {
        return;
    }
    let message = format!("`{}` is not the name of a header", name.value.escape_debug());
    diagnostics
        .push(Rule::WrongArgument, message)
        .at(name.span.clone(), "no request can have it")
        .help(format!("write `header=\"{}\"`", meant_header(&name.value).0));
}

/// Name and value of `X-A: b` and `X A`, as they should be written.
fn meant_header(name: &str) -> (String, &str) {
    let (name, value) = name.split_once(':').unwrap_or((name, ""));
    let value = if value.trim().is_empty() { "…" } else { value.trim() };
    let words: Vec<&str> = name
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
        .collect();
    let name = if words.is_empty() { "X-Name".to_owned() } else { words.join("-") };
    (name, value)
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
    let rendered = headers.iter().map(|(name, text)| (name.clone(), header_value(text, scope)));
    rendered.filter(|(_, value)| !value.is_empty()).collect()
}

/// A header has no ends of lines and no control characters: each that an event brings becomes a
/// blank. One that the file or a variable has is a mistake, which the request reports.
fn header_value(text: &Ready, scope: &Scope<'_>) -> String {
    let value = text.render(scope);
    match text.fixed() {
        Some(_) => value,
        None => value.replace(|letter: char| letter.is_ascii_control(), " ").trim().to_owned(),
    }
}

/// Reports a URL that cannot be used, as far as it is known: what the file says, and what a
/// variable or a file holds. *Never:* a value from outside in a message.
pub(crate) fn check_url(text: &Text, context: &mut Context<'_>) -> bool {
    check_written_url(text, context.diagnostics) && check_known_url(text, context)
}

/// The URL with what its variables hold, where it is the same for every event.
fn check_known_url(text: &Text, context: &mut Context<'_>) -> bool {
    let setting = &text.setting.value;
    let Ok(url) = setting.resolve(context.environment) else { return true };
    // Of an empty one the environment says that it is missing.
    let is_from_outside = matches!(setting, Setting::Variable { .. } | Setting::File { .. });
    if url.is_empty() || !is_from_outside && url.contains("{{") {
        return true;
    }
    let Err(fault) = wire::check_url(&url) else { return true };
    let message = match setting {
        Setting::Literal(_) => "this is not an HTTP URL".to_owned(),
        Setting::Parts(_) => "with what its variables hold, this is not an HTTP URL".to_owned(),
        Setting::Variable { name, .. } => format!("the value of `{name}` is not an HTTP URL"),
        Setting::File { .. } => "this file does not hold an HTTP URL".to_owned(),
    };
    context
        .diagnostics
        .push(Rule::WrongArgument, message)
        .at(text.setting.span.clone(), fault.reason)
        .help("give the whole URL, such as \"http://127.0.0.1:8700/weather\"");
    false
}

/// Reports a URL that is not HTTP, or whose host an event could choose. A variable inside it may
/// be the host; what an event brings may not.
fn check_written_url(text: &Text, diagnostics: &mut Diagnostics) -> bool {
    let Some(url) = text.setting.value.outline() else { return true };
    // What cannot be read as a template was reported as one.
    let url = Template::parse(&url, Roots::NOTICE).map_or(url, |it| it.with_fixed(stand_in));
    let span = text.setting.span.clone();
    let Some(rest) = after_scheme(&url) else {
        // What begins with a variable may have scheme and host from it.
        let begins_outside = text.setting.value.literal().is_none() && url.starts_with('v');
        if begins_outside && !authority_of(&url).contains("{{") {
            return true;
        }
        if begins_outside {
            return chosen_by_event(span, diagnostics);
        }
        diagnostics
            .push(Rule::WrongArgument, "this is not an HTTP URL")
            .at(span, "does not start with `http://` or `https://`")
            .help("write the whole URL, such as \"http://127.0.0.1:8700/weather\"");
        return false;
    };
    let authority = authority_of(rest);
    if authority.contains("{{") {
        return chosen_by_event(span, diagnostics);
    }
    if !is_authority(authority) {
        diagnostics
            .push(Rule::WrongArgument, "this URL has no host")
            .at(span, "no host and port between `//` and the first `/`")
            .help("write the whole URL, such as \"http://127.0.0.1:8700/weather\"");
        return false;
    }
    true
}

fn chosen_by_event(span: Span, diagnostics: &mut Diagnostics) -> bool {
    diagnostics
        .push(Rule::BadTemplate, "the host of a URL must be a literal in the file")
        .at(span, "an event could send the request anywhere")
        .help(
            "put a `/` between the host and the first `{{ … }}`, or take the whole URL from (env)",
        );
    false
}

/// What follows the scheme of an HTTP URL.
fn after_scheme(url: &str) -> Option<&str> {
    url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))
}

/// User, host and port. Some readers end them at a backslash too, so that one is never among them.
fn authority_of(after_scheme: &str) -> &str {
    after_scheme.split(['/', '?', '#']).next().unwrap_or_default()
}

fn is_authority(text: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%[]".contains(&byte);
    let host = text.rsplit('@').next().unwrap_or_default();
    text.bytes().all(is_plain)
        && text.matches('@').count() <= 1
        && !host.is_empty()
        && !host.starts_with(':')
}

/// What stands for a value of the file itself: a whole beginning where there is none yet.
fn stand_in(before: &str) -> &'static str {
    if before.is_empty() { "http://v" } else { "v" }
}

/// Whether the host of a URL may go on behind what there is of it.
fn is_open(url: &str) -> bool {
    after_scheme(url).is_none_or(|scheme| authority_of(scheme).len() == scheme.len())
}

/// A URL that may take parts from an event, but never its scheme, user, host or port.
#[derive(Debug, Clone)]
pub(crate) struct UrlText(Ready);

impl UrlText {
    /// Looks at the parts that it takes from outside, which must leave the host fixed.
    pub(crate) fn open(text: &Text, services: &Services) -> Result<UrlText, Fault> {
        let text = text.open(services)?;
        if let Ready::Template(template) = &text {
            fixed_host(&template.with_fixed(stand_in), "{{").ok_or_else(unfit)?;
        }
        Ok(UrlText(text))
    }

    /// The URL for one event, every inserted value percent-encoded.
    pub(crate) fn render(&self, scope: &Scope<'_>) -> Result<String, Fault> {
        let template = match &self.0 {
            Ready::Fixed(url) => return Ok(url.clone()),
            Ready::Template(template) => template,
        };
        let (url, fixed) = template.render_url_of(scope, is_open);
        let is_whole = fixed == url.len();
        // Whatever the event gives, the host is over before it.
        match fixed_host(&url[..fixed], "") {
            Some(end) if is_whole || end < fixed => Ok(url),
            _ => Err(unfit()),
        }
    }
}

fn unfit() -> Fault {
    Fault::permanent("the URL has no fixed host")
}

/// Where the host of a URL ends, which must not hold `sign`; `None` where there is no such host.
fn fixed_host(url: &str, sign: &str) -> Option<usize> {
    let behind = after_scheme(url)?;
    let authority = authority_of(behind);
    let is_free = sign.is_empty() || !authority.contains(sign);
    (is_free && is_authority(authority)).then(|| url.len() - behind.len() + authority.len())
}

/// A header is there already, in any case.
pub(crate) fn has_header(headers: &[(String, String)], name: &str) -> bool {
    headers.iter().any(|(it, _)| it.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use kernel::event::Event;
    use language::diagnostic::SourceText;
    use proptest::prelude::*;
    use serde_json::json;
    use std::sync::Arc;

    /// A URL as the file would give it.
    fn text(url: &str) -> Text {
        Text { setting: Spanned::new(Setting::of_text(url), 0..1), is_optional: false }
    }

    /// What `check` says about it.
    fn found(url: &str) -> Vec<String> {
        let source = SourceText { name: "a.kdl".to_owned(), text: url.to_owned() };
        let mut diagnostics = Diagnostics::new(Arc::new(source));
        let is_good = check_written_url(&text(url), &mut diagnostics);
        assert_eq!(is_good, diagnostics.found().is_empty(), "{url}");
        diagnostics.found().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_variable_holds_is_checked_like_what_the_file_says_and_not_shown() {
        let held = [
            ("GOOD", "http://h/x"),
            ("TEMPLATE", "http://h/{{x}}"),
            ("HOST", "h"),
            ("EMPTY", ""),
            ("TEXT", "s3cret"),
            ("FTP", "ftp://s3cret/"),
            ("PORT", "http://s3cret:99999/"),
            ("BLANK", " http://s3cret/"),
        ];
        let environment = testing::TestVariables(held.into());
        let found = |setting: Setting| {
            let source = SourceText { name: "a.kdl".to_owned(), text: "x".to_owned() };
            let mut diagnostics = Diagnostics::new(Arc::new(source));
            let mut context = Context {
                diagnostics: &mut diagnostics,
                files: &mut testing::no_files(),
                environment: &environment,
            };
            let text = Text { setting: Spanned::new(setting, 0..1), is_optional: false };
            let is_good = check_url(&text, &mut context);
            assert_eq!(is_good, diagnostics.found().is_empty());
            diagnostics.found().iter().map(|it| format!("{it:?}")).collect::<Vec<_>>().join("\n")
        };
        let variable = |name: &str| Setting::Variable { name: name.to_owned(), default: None };
        for good in ["GOOD", "TEMPLATE", "EMPTY", "UNSET"] {
            assert_eq!(found(variable(good)), "", "{good}");
        }
        for bad in ["TEXT", "FTP", "PORT", "BLANK"] {
            let found = found(variable(bad));
            assert!(found.contains(&format!("the value of `{bad}` is not an HTTP URL")), "{found}");
            assert!(!found.contains("s3cret"), "{found}");
        }
        for (parts, is_good) in [
            ("http://${HOST}/x", true),
            ("http://${HOST}:8600/{{ data.x }}", true),
            ("${GOOD}/y", true),
            ("http://${UNSET}/x", true),
            ("http://h:${TEXT}/x", false),
            ("${FTP}x", false),
        ] {
            let found = found(Setting::of_text(parts));
            assert_eq!(found.is_empty(), is_good, "{parts}: {found}");
            assert!(!found.contains("s3cret"), "{found}");
        }
        let unreachable = found(Setting::of_text("http://127.0.0.1:99999/"));
        assert!(unreachable.contains("the URL's port is not valid"), "{unreachable}");
    }

    fn render(url: &str, event: &Event) -> Result<String, Fault> {
        let url = UrlText::open(&text(url), &testing::alone())?;
        url.render(&Scope::of(event, kernel::time::Timestamp(0)))
    }

    #[test]
    fn what_the_file_itself_says_may_be_the_beginning() {
        let mut event = testing::event(json!({ "x": "a/b" }));
        event.globals = Arc::new(kernel::event::Globals {
            param: json!({ "base": "http://ha:8123/x", "host": "ha", "bad": "ha b", "name": "a b" }),
            server: json!({ "public_url": "http://door:8600" }),
            ..Default::default()
        });
        for (url, rendered) in [
            ("{{ server.public_url }}/e?s={{ data.x }}", "http://door:8600/e?s=a%2Fb"),
            ("{{ param.base }}/{{ data.x }}", "http://ha:8123/x/a%2Fb"),
            ("{{ param.base }}", "http://ha:8123/x"),
            ("http://{{ param.host }}:80/{{ data.x }}", "http://ha:80/a%2Fb"),
            ("http://{{ param.host }}/{{ param.name }}", "http://ha/a%20b"),
        ] {
            assert_eq!(found(url), Vec::<String>::new(), "{url}");
            assert_eq!(render(url, &event).as_deref(), Ok(rendered));
        }
        for url in [
            "{{ param.base }}{{ data.x }}",
            "http://{{ param.host }}{{ data.x }}/",
            "{{ param.base | lower }}/",
            "{{ param }}/",
        ] {
            assert!(!found(url).is_empty(), "{url} passes the check");
            assert!(render(url, &event).is_err(), "{url} is rendered");
        }
        for url in ["http://{{ param.bad }}/", "{{ param.none }}/{{ data.x }}", "{{ param.host }}/"]
        {
            assert!(render(url, &event).is_err(), "{url} is rendered");
        }
    }

    const HOSTILE: &[&str] = &[
        "http://{{ data.x }}/",
        "http://{{ data.x }}@good/",
        "http://user:{{ data.x }}@good/",
        "http://good{{ data.x }}/",
        "http://good{{ data.x }}",
        "http://good:{{ data.x }}/",
        "http://good:80{{ data.x }}/",
        "http://good\\{{ data.x }}/",
        "http://{{ data.x ?? '/' }}good/",
        "http://good{{ '/' }}x",
        "http{{ data.x }}://good/",
        "{{ data.x }}",
        "{{ data.x }}://good/",
        "http:{{ data.x }}",
        "http:/{{ data.x }}/good",
        "https://good.{{ data.x }}",
    ];

    #[test]
    fn an_event_can_choose_no_part_of_a_host() {
        let event = testing::event(json!({ "x": ".evil.example" }));
        for url in HOSTILE {
            assert!(!found(url).is_empty(), "{url} passes the check");
            assert!(render(url, &event).is_err(), "{url} is rendered");
        }
        for url in
            ["http://", "http:///x", "http://:80/", "http://a@b@c/", "http://a b/", "ftp://a/"]
        {
            assert!(!found(url).is_empty(), "{url} passes the check");
        }
    }

    #[test]
    fn an_event_may_choose_what_follows_the_host() {
        let event = testing::event(json!({ "x": "a/../b?c#d@e\\f" }));
        for (url, rendered) in [
            ("http://good/{{ data.x }}", "http://good/a%2F..%2Fb%3Fc%23d%40e%5Cf"),
            (
                "http://u:p@good:80?q={{ data.x }}",
                "http://u:p@good:80?q=a%2F..%2Fb%3Fc%23d%40e%5Cf",
            ),
            ("https://[::1]:8443#{{ data.x }}", "https://[::1]:8443#a%2F..%2Fb%3Fc%23d%40e%5Cf"),
            ("http://good", "http://good"),
        ] {
            assert_eq!(found(url), Vec::<String>::new(), "{url}");
            assert_eq!(render(url, &event).as_deref(), Ok(rendered));
        }
    }

    #[test]
    fn a_variable_may_be_the_host_and_an_event_beside_it_may_not() {
        assert_eq!(found("http://${HOST:-good}/{{ data.x }}"), Vec::<String>::new());
        assert_eq!(found("${BASE:-http://good}/x/{{ data.x }}"), Vec::<String>::new());
        let event = testing::event(json!({ "x": "a/b" }));
        let rendered = render("${BASE:-http://good}/x/{{ data.x }}", &event);
        assert_eq!(rendered.as_deref(), Ok("http://good/x/a%2Fb"));
        for url in ["http://${HOST:-good}{{ data.x }}/", "${BASE:-http://good}{{ data.x }}"] {
            assert!(!found(url).is_empty(), "{url} passes the check");
            assert!(render(url, &event).is_err(), "{url} is rendered");
        }
    }

    proptest! {
        #[test]
        fn whatever_an_event_brings_the_request_goes_to_the_host_of_the_file(value in "\\PC{0,20}") {
            let event = testing::event(json!({ "x": value }));
            for (url, fixed) in
                [("http://good:81/{{ data.x }}", "http://good:81/"), ("http://g?{{ data.x }}", "http://g?")]
            {
                let rendered = render(url, &event).unwrap();
                prop_assert!(rendered.starts_with(fixed), "{}", rendered);
                prop_assert!(rendered[fixed.len()..].bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
