//! HTTP over the real network: ureq on threads that may block.

use super::{Fetch, FetchRequest, FetchResponse};
use crate::contract::{Cause, Fault};
use crate::env::{Env, Pending, ThreadPool};
use std::io::Read;
use std::sync::Arc;
use ureq::http;

/// Makes requests over the network. Connections are reused; the roots are the bundled ones.
///
/// Never: a redirect followed, or a proxy taken from the environment.
#[derive(Debug)]
pub struct Wire {
    agent: ureq::Agent,
    threads: Arc<ThreadPool>,
}

impl Wire {
    /// Makes its requests on the threads of `env` for the outside.
    pub fn new(env: &Env) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("engine/", env!("CARGO_PKG_VERSION")))
            .build();
        Wire { agent: config.new_agent(), threads: env.pools.outside.clone() }
    }
}

impl Fetch for Wire {
    fn fetch(&self, request: FetchRequest) -> Pending<'static, Result<FetchResponse, Fault>> {
        let (agent, threads) = (self.agent.clone(), self.threads.clone());
        Box::pin(async move { threads.run(move || exchange(&agent, request)).await? })
    }
}

fn exchange(agent: &ureq::Agent, request: FetchRequest) -> Result<FetchResponse, Fault> {
    let mut builder = http::Request::builder().method(request.method).uri(&request.url);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let answer = match request.body {
        Some(body) => builder
            .body(body)
            .map_err(ureq::Error::from)
            .and_then(|it| agent.run(limited(agent, it, request.timeout))),
        None => builder
            .body(())
            .map_err(ureq::Error::from)
            .and_then(|it| agent.run(limited(agent, it, request.timeout))),
    };
    let mut answer = answer.map_err(|it| fault_of(&it))?;
    let body = read_body(answer.body_mut(), request.body_max)?;
    let headers = answer.headers().iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    Ok(FetchResponse { status: answer.status().as_u16(), headers: headers.collect(), body })
}

fn limited<B: ureq::AsSendBody>(
    agent: &ureq::Agent,
    request: http::Request<B>,
    timeout: std::time::Duration,
) -> http::Request<B> {
    agent.configure_request(request).timeout_global(Some(timeout)).build()
}

fn read_body(body: &mut ureq::Body, length_max: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let mut reader = body.as_reader().take(length_max as u64 + 1);
    reader.read_to_end(&mut bytes).map_err(|it| fault_of(&ureq::Error::from(it)))?;
    if length_max < bytes.len() {
        return Err(Fault::permanent(format!("the answer is longer than {length_max} bytes")));
    }
    Ok(bytes)
}

/// Words without the URL, which may hold a secret.
fn fault_of(error: &ureq::Error) -> Fault {
    match error {
        ureq::Error::Timeout(_) => Fault::transient(Cause::Timeout, "no answer in time"),
        ureq::Error::Io(fault) if fault.kind() == std::io::ErrorKind::TimedOut => {
            Fault::transient(Cause::Timeout, "no answer in time")
        }
        ureq::Error::Io(fault) => {
            Fault::transient(Cause::Connect, format!("the connection failed: {fault}"))
        }
        ureq::Error::HostNotFound => {
            Fault::transient(Cause::Connect, "the host's name leads nowhere")
        }
        ureq::Error::ConnectionFailed => Fault::transient(Cause::Connect, "the connection failed"),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => {
            Fault::transient(Cause::Connect, format!("the TLS handshake failed: {error}"))
        }
        ureq::Error::BadUri(_) => Fault::permanent("the URL cannot be used"),
        ureq::Error::Http(fault) => Fault::permanent(format!("the request is not valid: {fault}")),
        _ => Fault::transient(Cause::Other, format!("the exchange failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    /// Answers each connection with the next of `answers` and hands back what was asked.
    fn serve(answers: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            answers.iter().map(|answer| talk(listener.accept().unwrap().0, answer)).collect()
        });
        (url, asked)
    }

    fn talk(mut stream: TcpStream, answer: &str) -> String {
        let mut asked = Vec::new();
        let mut buffer = [0; 4096];
        let is_whole = |asked: &[u8]| {
            let text = String::from_utf8_lossy(asked);
            text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let length = head.lines().find_map(|it| {
                    it.to_lowercase().strip_prefix("content-length: ").map(str::to_owned)
                });
                length.is_none_or(|it| it.parse::<usize>().unwrap() <= body.len())
            })
        };
        while !is_whole(&asked) {
            let count = stream.read(&mut buffer).unwrap();
            assert!(0 < count, "the request ended early");
            asked.extend_from_slice(&buffer[..count]);
        }
        if answer == "silence" {
            while stream.read(&mut buffer).is_ok_and(|it| 0 < it) {}
        } else {
            stream.write_all(answer.as_bytes()).unwrap();
        }
        String::from_utf8(asked).unwrap()
    }

    fn request(url: &str, body: Option<&str>) -> FetchRequest {
        FetchRequest {
            method: if body.is_some() { "POST" } else { "GET" },
            url: url.to_owned(),
            headers: vec![("X-Key".to_owned(), "k".to_owned())],
            body: body.map(|it| it.as_bytes().to_vec()),
            timeout: Duration::from_secs(20),
            body_max: 8,
        }
    }

    fn fetch(request: FetchRequest) -> Result<FetchResponse, Fault> {
        smol::block_on(Wire::new(&Env::system()).fetch(request))
    }

    #[test]
    fn a_bad_status_and_a_redirect_are_answers() {
        let (url, asked) = serve(&[
            "HTTP/1.1 503 No\r\nRetry-After: 3\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
            "HTTP/1.1 302 Go\r\nLocation: /y\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ]);
        let answer = fetch(request(&url, Some("{}"))).unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (503, b"no".as_slice()));
        assert!(answer.headers.contains(&("retry-after".to_owned(), "3".to_owned())));
        assert_eq!(fetch(request(&url, None)).unwrap().status, 302);
        let asked = asked.join().unwrap();
        assert!(asked[0].starts_with("POST /x ") && asked[0].ends_with("{}"), "{asked:?}");
        assert!(asked[0].to_lowercase().contains("x-key: k"), "{asked:?}");
    }

    #[test]
    fn a_body_may_be_as_long_as_allowed_and_no_longer() {
        let (url, _asked) = serve(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n12345678",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n123456789",
        ]);
        assert_eq!(fetch(request(&url, None)).unwrap().body.len(), 8);
        let fault = fetch(request(&url, None)).unwrap_err();
        assert!(!fault.is_transient(), "{fault}");
    }

    #[test]
    fn silence_is_a_timeout_and_a_closed_port_no_connection() {
        let (url, _asked) = serve(&["silence"]);
        let mut slow = request(&url, None);
        slow.timeout = Duration::from_millis(50);
        assert_eq!(fetch(slow).unwrap_err().cause, Cause::Timeout);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let fault = fetch(request(&format!("http://{port}/?token=s3cret"), None)).unwrap_err();
        assert_eq!(fault.cause, Cause::Connect);
        assert!(fault.is_transient() && !fault.reason.contains("s3cret"), "{fault}");
    }
}
