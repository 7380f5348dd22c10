//! The outside: a server whose answers wait until the test gives them.

use crate::support::PATIENCE;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

/// Listens on a port of its own.
pub(super) struct Server {
    /// `http://127.0.0.1:PORT/`.
    pub(super) url: String,
    asked: mpsc::Receiver<Asked>,
}

/// A request that waits for its answer.
pub(super) struct Asked {
    /// In lower case.
    pub(super) head: String,
    pub(super) body: String,
    stream: TcpStream,
}

impl Server {
    pub(super) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
        let (sender, asked) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(asked) = stream.ok().and_then(Asked::read) else { continue };
                if sender.send(asked).is_err() {
                    return;
                }
            }
        });
        Server { url, asked }
    }

    /// The next request.
    pub(super) fn next(&self) -> Asked {
        self.asked.recv_timeout(PATIENCE).expect("somebody asks")
    }

    /// Whether somebody asked and was not looked at yet.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.try_recv().is_ok()
    }
}

impl Asked {
    fn read(stream: TcpStream) -> Option<Asked> {
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let head = head.to_ascii_lowercase();
        let size = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; size.map_or(Some(0), |size| size.parse().ok())?];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        Some(Asked { head, body, stream: reader.into_inner() })
    }

    /// A header; its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Answers and hangs up.
    pub(super) fn answer(self, status: u16, body: &str) {
        self.answer_with(status, "Content-Type: application/json", body);
    }

    /// The same with a header of one's own.
    pub(super) fn answer_with(mut self, status: u16, header: &str, body: &str) {
        let text = format!(
            "HTTP/1.1 {status} Said\r\n{header}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(text.as_bytes()).expect("the engine listens");
    }
}
