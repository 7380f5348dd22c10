//! What a page that somebody opened in a browser may do here.
//!
//! A browser sends requests for any page to any address that it reaches, loopback and the home
//! network included. It says for which page: in `Origin`, which a page cannot change, and in
//! `Sec-Fetch-Site`. Pages of our own address may use the engine; other pages may only be followed
//! to it by a link. What is not a browser sends neither header and is not concerned.

use crate::http::problem::ProblemDetails;
use crate::http::wire::head::{Head, Method};
use crate::http::wire::hosts::Hosts;

/// Longest origin that is repeated to the client.
const ORIGIN_SHOWN: usize = 100;

/// What the path of a request leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathKind {
    /// A source: a request makes an event.
    Source,
    /// A stream: a request holds a place.
    Stream,
    /// Anything else: what a link leads to is shown and changes nothing.
    Page,
}

/// Refuses what a foreign page has a browser send.
pub(crate) fn check(head: &Head, hosts: &Hosts, kind: PathKind) -> Result<(), ProblemDetails> {
    check_origin(head, hosts)?;
    let site = match sole(head, "sec-fetch-site") {
        Sole::None => return Ok(()),
        Sole::One(site) => site,
        Sole::Unclear => "cross-site",
    };
    // `none` is what the person did: an address that was typed, a bookmark.
    if matches!(site, "same-origin" | "none") || is_link(head, kind) {
        return Ok(());
    }
    Err(foreign("a page of another origin"))
}

fn check_origin(head: &Head, hosts: &Hosts) -> Result<(), ProblemDetails> {
    match sole(head, "origin") {
        Sole::None => Ok(()),
        Sole::One(origin) if hosts.is_own_page(origin, head.host()) => Ok(()),
        Sole::One(origin) => {
            let shown: String = origin.chars().filter(|letter| letter.is_ascii_graphic()).collect();
            let shown = shown.get(..ORIGIN_SHOWN).unwrap_or(&shown);
            Err(foreign(&format!("a page of `{shown}`")))
        }
        Sole::Unclear => Err(foreign("a page without a clear origin")),
    }
}

/// Whether a person followed a link: the answer replaces the foreign page, which cannot read it.
fn is_link(head: &Head, kind: PathKind) -> bool {
    kind == PathKind::Page
        && matches!(head.method(), Method::Get | Method::Head)
        && sole(head, "sec-fetch-mode") == Sole::One("navigate")
        && sole(head, "sec-fetch-dest") == Sole::One("document")
}

fn foreign(who: &str) -> ProblemDetails {
    ProblemDetails::new(
        403,
        format!(
            "{who} may not use this engine; only pages of its own origin may; if that page is the \
             engine's own, served by a proxy, write its address as `server {{ public-url \"…\" }}`"
        ),
    )
}

/// A header that decides something counts only where it is there once.
#[derive(Debug, PartialEq, Eq)]
enum Sole<'h> {
    None,
    One(&'h str),
    Unclear,
}

fn sole<'h>(head: &'h Head, name: &str) -> Sole<'h> {
    let mut all = head.headers().filter(|header| header.0.eq_ignore_ascii_case(name));
    match (all.next(), all.next()) {
        (None, _) => Sole::None,
        (Some((_, value)), None) => std::str::from_utf8(value).map_or(Sole::Unclear, Sole::One),
        (Some(_), Some(_)) => Sole::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::request_head;

    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    const KINDS: [PathKind; 3] = [PathKind::Source, PathKind::Stream, PathKind::Page];

    fn allows(method: &str, fields: &str, kind: PathKind) -> bool {
        let host = "Host: localhost:8600\r\n";
        let head = request_head(&format!("{method} /a HTTP/1.1\r\n{host}{fields}\r\n"));
        let hosts = Hosts::new(Vec::new(), Some("https://door.example/"));
        match check(&head, &hosts, kind) {
            Ok(()) => true,
            Err(problem) => {
                assert_eq!(problem.status, 403);
                false
            }
        }
    }

    #[track_caller]
    fn every(fields: &str, allowed: bool) {
        for method in METHODS {
            for kind in KINDS {
                assert_eq!(allows(method, fields, kind), allowed, "{method} {kind:?} {fields:?}");
            }
        }
    }

    #[test]
    fn what_is_not_a_browser_is_not_concerned() {
        every("", true);
        every("User-Agent: camera\r\nReferer: http://elsewhere.example/\r\n", true);
    }

    #[test]
    fn pages_of_our_own_address_may_do_everything() {
        every("Origin: http://localhost:8600\r\n", true);
        every("Origin: http://localhost:8600\r\nSec-Fetch-Site: same-origin\r\n", true);
        every("Origin: https://door.example\r\nSec-Fetch-Site: same-origin\r\n", true);
        every("Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n", true);
        every("Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n", true);
    }

    #[test]
    fn foreign_pages_may_do_nothing_whatever_the_method_and_the_path() {
        for origin in [
            "http://evil.example",
            "https://localhost.evil.example",
            "http://localhost",
            "http://localhost:3000",
            "null",
            "",
            "http://127.0.0.1:8600",
            "http://door.example",
            "chrome-extension://abcdef",
            "http://localhost:8600, http://evil.example",
        ] {
            every(&format!("Origin: {origin}\r\n"), false);
            // The browser says both; the one that refuses decides.
            every(&format!("Origin: {origin}\r\nSec-Fetch-Site: same-origin\r\n"), false);
        }
        let twice = "Origin: http://localhost:8600\r\norigin: http://localhost:8600\r\n";
        every(twice, false);
        for site in ["cross-site", "same-site", "", "Same-Origin", "none, cross-site"] {
            for mode in ["no-cors", "cors", "websocket", ""] {
                every(&format!("Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: {mode}\r\n"), false);
            }
        }
        every("Sec-Fetch-Site: none\r\nSec-Fetch-Site: none\r\n", false);
        let sent = "Origin: http://localhost:8600\r\nSec-Fetch-Site: cross-site\r\n";
        every(sent, false);
    }

    #[test]
    fn a_link_leads_to_pages_and_never_to_a_source_or_a_stream() {
        let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n";
        let document = format!("{link}Sec-Fetch-Dest: document\r\n");
        for method in METHODS {
            for kind in KINDS {
                let is_read = matches!(method, "GET" | "HEAD") && kind == PathKind::Page;
                assert_eq!(allows(method, &document, kind), is_read, "{method} {kind:?}");
            }
        }
        for dest in ["iframe", "frame", "embed", "object", "empty"] {
            every(&format!("{link}Sec-Fetch-Dest: {dest}\r\n"), false);
        }
        every(link, false);
        // A form that a foreign page submits brings its origin.
        every(&format!("{document}Origin: http://evil.example\r\n"), false);
    }
}
