//! The link of a message: what a tap on it opens.

use crate::contract::Services;
use crate::request::{Ready, Text};
use kernel::event::Event;
use kernel::fault::Fault;
use language::expr::{Roots, Scope, percent_encoded};
use language::{Arg, Fields, NodeRow, ValueKind};

/// A longer URL is not one that opens; services refuse it, and the message with it.
const URL_MAX: usize = 2048;

/// The node of every kind that knows of links.
pub(super) const CLICK: &[NodeRow] = &[NodeRow::new("click", "the URL that a tap opens")
    .examples(&[r#"click "{{ server.public_url }}/""#])
    .args(&[Arg::one("url", ValueKind::Template(Roots::EVENT))])
    .otherwise("the event's page, if the server has a `public-url`")];

/// What `click` says, if anything.
pub(super) fn read(fields: &Fields<'_>) -> Option<Text> {
    Text::read_child(fields, "click")
}

/// What a tap opens, ready for events.
pub(super) struct MessageLink(Option<Ready>);

impl MessageLink {
    pub(super) fn open(click: Option<&Text>, services: &Services) -> Result<MessageLink, Fault> {
        Ok(MessageLink(click.map(|click| click.open(services)).transpose()?))
    }

    /// The URL for one event. None where there is nothing that a phone could open.
    pub(super) fn of(&self, event: &Event, scope: &Scope<'_>) -> Option<String> {
        match &self.0 {
            Some(click) => openable(&click.render(scope)),
            None => {
                let page = event.globals.page.as_deref()?;
                Some(format!("{page}/#/event/{}", percent_encoded(&event.envelope.id)))
            }
        }
    }

    /// The same where only web pages can be opened.
    pub(super) fn web_of(&self, event: &Event, scope: &Scope<'_>) -> Option<String> {
        self.of(event, scope).and_then(|it| web_page(&it))
    }
}

/// A URL of any scheme, with what no URL holds percent-encoded.
fn openable(text: &str) -> Option<String> {
    let text = text.trim();
    let (scheme, _) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    // These run what they carry instead of opening something.
    let is_code =
        ["javascript", "data", "vbscript"].iter().any(|it| scheme.eq_ignore_ascii_case(it));
    let url = encoded(text);
    (is_scheme && !is_code && url.len() <= URL_MAX).then_some(url)
}

/// A URL of the web.
pub(super) fn web_page(text: &str) -> Option<String> {
    let url = openable(text)?;
    let (scheme, rest) = url.split_once("://")?;
    let is_web = ["http", "https"].iter().any(|it| scheme.eq_ignore_ascii_case(it));
    let is_of_host =
        rest.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '[');
    (is_web && is_of_host).then_some(url)
}

/// Letters and signs that no URL holds, percent-encoded; the rest, with what is encoded, as it is.
fn encoded(text: &str) -> String {
    let mut url = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii_graphic() && !matches!(letter, '"' | '<' | '>' | '`' | '\\' | '|') {
            url.push(letter);
        } else if !letter.is_control() {
            url.push_str(&percent_encoded(letter.encode_utf8(&mut [0; 4])));
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_opened_is_left_out() {
        for (text, any, web) in [
            ("https://door/büro?q=a b", Some("https://door/b%C3%BCro?q=a%20b"), true),
            (" http://[::1]:8600/ ", Some("http://[::1]:8600/"), true),
            ("https://door/a%20b\n", Some("https://door/a%20b"), true),
            ("https://door/<b>\"|\\", Some("https://door/%3Cb%3E%22%7C%5C"), true),
            ("mailto:eva@example.org", Some("mailto:eva@example.org"), false),
            ("ntfy://door", Some("ntfy://door"), false),
            ("https:///x", Some("https:///x"), false),
            ("javascript:alert(1)", None, false),
            ("JavaScript:alert(1)", None, false),
            ("data:text/html,x", None, false),
            ("/events/1", None, false),
            ("", None, false),
        ] {
            assert_eq!(openable(text).as_deref(), any, "{text}");
            assert_eq!(web_page(text).is_some(), web, "{text}");
        }
        assert_eq!(openable(&format!("https://door/{}", "x".repeat(2048))), None);
    }
}
