//! A browser's side of a stream.

use crate::support::PATIENCE;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A client of `/live`.
pub(super) struct Stream {
    reader: BufReader<Chunks>,
}

/// What came between two empty lines.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: u64,
    pub(super) event: String,
    pub(super) text: String,
}

impl Message {
    pub(super) fn data(&self) -> Value {
        serde_json::from_str(&self.text).expect("`data:` is JSON")
    }
}

impl Stream {
    /// Connects and reads the head of the answer.
    pub(super) fn open(address: &str, path: &str, last_id: Option<u64>) -> Stream {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
        let last =
            last_id.map_or_else(String::new, |last_id| format!("Last-Event-ID: {last_id}\r\n"));
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{last}\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).expect("it answers"), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        Stream { reader: BufReader::new(Chunks { reader, left: 0 }) }
    }

    /// The next message; comments and `retry:` are passed over.
    pub(super) fn next(&mut self) -> Message {
        let mut fields = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.reader.read_line(&mut line).expect("a message comes in time");
            assert_ne!(read, 0, "the stream ended behind {fields:?}");
            match line.trim_end_matches('\n').split_once(": ") {
                Some((name, value)) if name != "retry" => {
                    fields.push((name.to_owned(), value.to_owned()));
                }
                None if line == "\n" && !fields.is_empty() => return message(&fields),
                _ => {}
            }
        }
    }

    /// The positions of so many messages, all of them events.
    pub(super) fn positions(&mut self, count: usize) -> Vec<u64> {
        let read = (0..count).map(|_| {
            let it = self.next();
            assert_eq!((it.event.as_str(), it.data()["pos"].as_u64()), ("message", Some(it.id)));
            it.id
        });
        read.collect()
    }
}

fn message(fields: &[(String, String)]) -> Message {
    let [(id, pos), (event, kind), (data, text)] = fields else { panic!("{fields:?}") };
    assert_eq!([id, event, data], ["id", "event", "data"]);
    let id = pos.parse().expect("the id is a position");
    Message { id, event: kind.clone(), text: text.clone() }
}

/// The body behind the chunks of its transfer.
struct Chunks {
    reader: BufReader<TcpStream>,
    left: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim_end(), 16);
            self.left = size.map_err(std::io::Error::other)?;
            if self.left == 0 {
                return Ok(0);
            }
        }
        let wanted = buffer.len().min(self.left);
        let read = self.reader.read(&mut buffer[..wanted])?;
        self.left -= read;
        if self.left == 0 {
            self.reader.read_exact(&mut [0; 2])?;
        }
        Ok(read)
    }
}
