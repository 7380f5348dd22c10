//! An HTTP server that hears what notifiers send, and answers as a service does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Heard {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// An answer: its status and its body.
pub(crate) type Reply = (u16, String);

/// The server. It ends with the test's process.
pub(crate) struct Receiver {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Receiver {
    /// Answers each request by itself and by how many came before it.
    pub(crate) fn start(answer: impl Fn(&Heard, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let (all, answer) = (heard.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (all, answer) = (all.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &all, &*answer));
            }
        });
        Receiver { url, heard }
    }

    /// Everything so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no answer panics").clone()
    }
}

fn serve(
    mut stream: TcpStream,
    all: &Mutex<Vec<Heard>>,
    answer: &dyn Fn(&Heard, usize) -> Reply,
) -> Option<()> {
    let heard = read(&mut BufReader::new(stream.try_clone().ok()?))?;
    let (status, body) = {
        let mut all = all.lock().ok()?;
        let reply = answer(&heard, all.len());
        all.push(heard);
        reply
    };
    let head =
        format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}", body.len());
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).ok()
}

fn read(input: &mut impl BufRead) -> Option<Heard> {
    let mut line = || {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let start = line()?;
    let mut start = start.split(' ').map(str::to_owned);
    let (method, path) = (start.next()?, start.next()?);
    let mut headers = Vec::new();
    while let Some(header) = line().filter(|line| !line.is_empty()) {
        let (name, value) = header.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|header| header.0 == "content-length");
    let length = length.and_then(|length| length.1.parse().ok()).unwrap_or(0);
    let mut body = Vec::new();
    input.take(length).read_to_end(&mut body).ok()?;
    Some(Heard { method, path, headers, body })
}
