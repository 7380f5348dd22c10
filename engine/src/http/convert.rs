//! The way to tide's router and back, on which nothing can panic.
//!
//! `http-types` panics on header values outside ASCII when asked the easy way, and takes its URL
//! from `Host` as it comes. Here every step may fail, and what is not ASCII stays outside.

use crate::http::problem::ProblemDetails;
use crate::http::wire::head::{Head, Method, Version};
use crate::http::wire::response::{BodyContent, Reply};
use tide::http::headers::{HeaderName, HeaderValue};
use tide::http::{self, Url};

/// Fields that belong to one connection; the other side makes its own.
const OF_THE_WIRE: [&str; 9] = [
    "connection",
    "content-length",
    "date",
    "expect",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Lets the router answer. The body was read before, under its limit, by the one reader it has.
pub async fn through_tide<S>(server: &tide::Server<S>, head: &Head, body: Vec<u8>) -> Reply
where
    S: Clone + Send + Sync + 'static,
{
    let Some(request) = request(head, body) else {
        return ProblemDetails::new(400, "the target is not a URL").into();
    };
    match server.respond::<http::Request, http::Response>(request).await {
        Ok(response) => reply(response).await,
        Err(error) => ProblemDetails::new(u16::from(error.status()), error.to_string()).into(),
    }
}

fn request(head: &Head, body: Vec<u8>) -> Option<http::Request> {
    let host = head.host().unwrap_or("localhost");
    let url = Url::parse(&format!("http://{host}{}", head.target())).ok()?;
    let mut request = http::Request::new(method(head.method()), url);
    request.set_version(Some(match head.version() {
        Version::Http10 => http::Version::Http1_0,
        Version::Http11 => http::Version::Http1_1,
    }));
    // First the body, which brings a type of its own, then what the client says about it.
    request.set_body(body);
    request.remove_header("content-type");
    for (name, value) in head.headers() {
        if is_of_the_wire(name) {
            continue;
        }
        let name = HeaderName::from_string(name.to_owned());
        let value = HeaderValue::from_bytes(value.to_owned());
        if let (Ok(name), Ok(value)) = (name, value) {
            request.append_header(name, value);
        }
    }
    Some(request)
}

fn method(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::Get,
        Method::Head => http::Method::Head,
        Method::Post => http::Method::Post,
        Method::Put => http::Method::Put,
        Method::Patch => http::Method::Patch,
        Method::Delete => http::Method::Delete,
        Method::Options => http::Method::Options,
    }
}

async fn reply(mut response: http::Response) -> Reply {
    let status = u16::from(response.status());
    let Ok(body) = response.take_body().into_bytes().await else {
        return ProblemDetails::new(500, "the response could not be read").into();
    };
    if body.is_empty() && 400 <= status {
        // The router's own refusals say nothing.
        return kept(&response, ProblemDetails::new(status, said_by_status(status)).into(), false);
    }
    // The router gives a type also to what is not there.
    let has_type = !body.is_empty();
    kept(&response, Reply::bare(status, BodyContent::Full(body)), has_type)
}

/// The reply with the fields of the response.
fn kept(response: &http::Response, reply: Reply, content_type: bool) -> Reply {
    let mut reply = reply;
    for (name, values) in response.iter() {
        if is_of_the_wire(name.as_str()) || (name.as_str() == "content-type" && !content_type) {
            continue;
        }
        for value in values {
            reply = reply.with(name.as_str().to_owned(), value.as_str().to_owned());
        }
    }
    reply
}

fn said_by_status(status: u16) -> &'static str {
    match status {
        404 => "there is nothing at this path",
        405 => "this path does not support this method",
        _ => "the request was not processed",
    }
}

fn is_of_the_wire(name: &str) -> bool {
    OF_THE_WIRE.iter().any(|it| name.eq_ignore_ascii_case(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::request_head;

    fn server() -> tide::Server<()> {
        let mut server = tide::new();
        server.at("/events/:id").get(|request: tide::Request<()>| async move {
            let id = request.param("id")?.to_owned();
            let seen: Vec<_> =
                request.header_names().map(|name| name.as_str().to_owned()).collect();
            Ok(tide::Response::builder(200)
                .header("x-seen", format!("{} {}", seen.contains(&"x-a".into()), id))
                .content_type("text/html")
                .body("<p>")
                .build())
        });
        server
            .at("/events")
            .post(|mut request: tide::Request<()>| async move { request.body_string().await });
        server
    }

    #[track_caller]
    fn ask(line: &str, fields: &str, body: &str) -> (u16, Reply, String) {
        let head = request_head(&format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
        let reply = smol::block_on(through_tide(&server(), &head, body.into()));
        let text = String::from_utf8_lossy(reply.content().bytes().unwrap()).into_owned();
        (reply.status(), reply, text)
    }

    #[test]
    fn a_route_is_found_and_its_answer_kept() {
        let (status, reply, text) = ask("GET /events/4%2F1?x=1", "X-A: plain\r\n", "");
        assert_eq!((status, text.as_str()), (200, "<p>"));
        assert_eq!(reply.header("x-seen"), Some("true 4%2F1"));
        assert!(reply.header("content-type").unwrap().starts_with("text/html"));
        let (status, _, text) = ask("POST /events", "Content-Type: application/json\r\n", "{}");
        assert_eq!((status, text.as_str()), (200, "{}"));
    }

    #[test]
    fn a_header_beyond_ascii_is_left_out_and_nothing_panics() {
        let (status, reply, _) = ask("GET /events/1", "X-A: café\r\n", "");
        assert_eq!((status, reply.header("x-seen")), (200, Some("false 1")));
    }

    #[test]
    fn what_the_router_does_not_know_is_a_problem_in_words() {
        let (status, reply, text) = ask("GET /nowhere", "", "");
        assert_eq!((status, reply.header("content-type")), (404, Some("application/problem+json")));
        assert!(text.contains("there is nothing at this path"), "{text}");
        assert_eq!(ask("DELETE /events", "", "").0, 405);
    }
}
