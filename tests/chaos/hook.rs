//! The outside of the experiments: a server that remembers what it was told, and that can be made
//! to behave badly.

use crate::support::{PATIENCE, pause};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What the server does with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manner {
    /// It answers.
    Good,
    /// It accepts and never answers.
    Silent,
    /// It answers a byte at a time, and never to the end.
    Dripping,
    /// It hangs up in the middle of the request.
    Reset,
}

/// A server on a port of its own, which ends with the tests.
#[derive(Clone)]
pub(super) struct Hook {
    /// `http://127.0.0.1:PORT`.
    pub(super) url: String,
    inner: Arc<Inner>,
}

struct Inner {
    manner: Mutex<Manner>,
    changed: Condvar,
    /// How often the event of this id was taken, at `/hook`.
    told: Mutex<HashMap<String, u32>>,
}

impl Hook {
    pub(super) fn start() -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (manner, told) = (Mutex::new(Manner::Good), Mutex::default());
        let inner = Arc::new(Inner { manner, changed: Condvar::new(), told });
        let hook = Hook { url, inner: inner.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let inner = inner.clone();
                // Whoever asked may be gone by now.
                std::thread::spawn(move || inner.serve(stream).ok());
            }
        });
        hook
    }

    /// From now on it behaves like this; requests that hang are let go.
    pub(super) fn behave(&self, manner: Manner) {
        *self.inner.manner.lock().expect("nobody panics with it") = manner;
        self.inner.changed.notify_all();
    }

    /// How often each event was taken.
    pub(super) fn told(&self) -> HashMap<String, u32> {
        self.inner.told.lock().expect("nobody panics with it").clone()
    }
}

impl Inner {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        loop {
            let (path, size) = head(&mut reader)?;
            let manner = *self.manner.lock().expect("nobody panics with it");
            if manner == Manner::Reset {
                // The body is left unread, so the close is a reset.
                return Ok(());
            }
            let mut body = vec![0; size];
            reader.read_exact(&mut body)?;
            match manner {
                Manner::Good => self.answer(reader.get_mut(), &path, &body)?,
                Manner::Dripping => return self.drip(reader.get_mut()),
                _ => return self.hold(PATIENCE),
            }
        }
    }

    /// Taken is what was answered to its end; who cannot read the answer will ask again.
    fn answer(&self, stream: &mut TcpStream, path: &str, body: &[u8]) -> std::io::Result<()> {
        if path.starts_with("/hook") {
            let event: Value = serde_json::from_slice(body).map_err(|_| ErrorKind::InvalidData)?;
            let id = event["data"]["id"].as_str().unwrap_or_default().to_owned();
            *self.told.lock().expect("nobody panics with it").entry(id).or_default() += 1;
        }
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        )
    }

    fn drip(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".iter().cycle() {
            stream.write_all(&[*byte])?;
            if self.is_good() {
                break;
            }
            pause(Duration::from_millis(20));
        }
        Ok(())
    }

    fn is_good(&self) -> bool {
        *self.manner.lock().expect("nobody panics with it") == Manner::Good
    }

    /// Holds the connection open until the server behaves again.
    fn hold(&self, time: Duration) -> std::io::Result<()> {
        let manner = self.manner.lock().expect("nobody panics with it");
        let held = self.changed.wait_timeout_while(manner, time, |manner| *manner != Manner::Good);
        drop(held.expect("nobody panics with it"));
        Ok(())
    }
}

/// The path of the next request and the size of its body.
fn head(reader: &mut BufReader<TcpStream>) -> std::io::Result<(String, usize)> {
    let (mut path, mut size) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            return Ok((path, size));
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            size = value.trim().parse().map_err(|_| ErrorKind::InvalidData)?;
        }
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        }
    }
}
