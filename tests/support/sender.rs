//! A client of a broker that publishes with QoS 1 at a rate, and knows what the broker has.
//!
//! mosquitto's own client waits after twenty messages, and cannot be held to a rate.

use super::{PATIENCE, pause};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Unacknowledged messages; fewer than there are numbers for them.
const IN_FLIGHT_MAX: usize = 20_000;
/// Bytes that wait for the socket.
const OUTPUT_MAX: usize = 256 << 10;
/// Between two looks at the clock and at the socket.
const TURN: Duration = Duration::from_millis(1);

/// Publishes `{"n":0}`, `{"n":1}`, … on one topic.
pub(crate) struct BrokerSender {
    address: (&'static str, u16),
    topic: &'static str,
    /// Whether the broker keeps each, on a topic of its own below that one.
    is_retained: bool,
    /// Messages a second while there is a connection; `None` as fast as the broker takes them.
    rate: Option<u64>,
    link: Option<SenderLink>,
    /// How often each message was sent: more than once where nobody knows whether it arrived.
    sent: Vec<u8>,
    /// Numbers of messages to send once more.
    again: VecDeque<u32>,
    acknowledged: usize,
    /// How long messages were sent, without the waits for the last acknowledgements.
    busy: Duration,
}

/// One connection.
struct SenderLink {
    stream: TcpStream,
    output: Vec<u8>,
    input: Vec<u8>,
    /// What has no acknowledgement yet, in the order of the protocol's numbers.
    waiting: VecDeque<u32>,
    /// The protocol's number of the first that waits.
    oldest: u16,
    /// How many may have been sent by now, for the rate.
    started: Instant,
    count: u64,
}

#[expect(clippy::disallowed_methods, reason = "a rate is kept in real time")]
fn now() -> Instant {
    Instant::now()
}

impl BrokerSender {
    pub(crate) fn new(port: u16, topic: &'static str, rate: Option<u64>) -> BrokerSender {
        let address = ("127.0.0.1", port);
        BrokerSender {
            address,
            topic,
            is_retained: false,
            rate,
            link: None,
            sent: Vec::new(),
            again: VecDeque::new(),
            acknowledged: 0,
            busy: Duration::ZERO,
        }
    }

    /// The same for messages that the broker keeps, each on a topic of its own below that one.
    pub(crate) fn keeping(port: u16, topic: &'static str) -> BrokerSender {
        BrokerSender { is_retained: true, ..BrokerSender::new(port, topic, None) }
    }

    /// Publishes until there are so many messages and the broker has acknowledged them all. Where
    /// it goes away meanwhile, it is waited for, and what it has not acknowledged is sent again.
    pub(crate) fn publish_up_to(&mut self, count: usize) {
        self.link.iter_mut().for_each(SenderLink::start);
        let started = now();
        while self.acknowledged < count {
            assert!(started.elapsed() < 5 * PATIENCE, "the broker takes {count} messages");
            let Some(mut link) = self.link.take().or_else(|| self.connect()) else {
                pause(TURN);
                continue;
            };
            let began = now();
            let has_more = self.sent.len() < count || !self.again.is_empty();
            self.fill(&mut link, count);
            let alive = link.turn(&mut self.acknowledged);
            pause(TURN);
            if has_more {
                self.busy += began.elapsed();
            }
            match alive {
                Ok(()) => self.link = Some(link),
                Err(_) => self.again.extend(link.waiting),
            }
        }
    }

    fn connect(&self) -> Option<SenderLink> {
        SenderLink::connect(self.address).ok()
    }

    /// Queues what is due.
    fn fill(&mut self, link: &mut SenderLink, count: usize) {
        let due = self.rate.map_or(u64::MAX, |rate| {
            u64::try_from(link.started.elapsed().as_micros()).unwrap_or(u64::MAX) * rate / 1_000_000
        });
        while link.count < due && link.has_room() {
            let next = u32::try_from(self.sent.len()).expect("few enough");
            let number = match self.again.pop_front() {
                Some(number) => number,
                None if self.sent.len() < count => {
                    self.sent.push(0);
                    next
                }
                None => return,
            };
            self.sent[number as usize] += 1;
            match self.is_retained {
                true => link.publish(0x33, &format!("{}/{number}", self.topic), number),
                false => link.publish(0x32, self.topic, number),
            }
        }
    }

    /// How often each message was sent.
    pub(crate) fn sent(&self) -> &[u8] {
        &self.sent
    }

    /// Messages a second, repeated ones too, while there was a broker.
    pub(crate) fn held(&self) -> u64 {
        let all: u64 = self.sent.iter().map(|times| u64::from(*times)).sum();
        (all as f64 / self.busy.as_secs_f64()) as u64
    }
}

impl SenderLink {
    fn connect(address: (&str, u16)) -> std::io::Result<SenderLink> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // Version 3.1.1, a new session, no keep-alive, and no name.
        stream.write_all(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00")?;
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting)?;
        assert_eq!(greeting, [0x20, 2, 0, 0], "the broker greets");
        stream.set_nonblocking(true)?;
        let (output, input, waiting) = (Vec::new(), Vec::new(), VecDeque::new());
        Ok(SenderLink { stream, output, input, waiting, oldest: 1, started: now(), count: 0 })
    }

    /// A pause before does not make the rate higher.
    fn start(&mut self) {
        (self.started, self.count) = (now(), 0);
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < IN_FLIGHT_MAX && self.output.len() < OUTPUT_MAX
    }

    fn publish(&mut self, head: u8, topic: &str, number: u32) {
        let id = self.nth(self.waiting.len());
        let payload = format!("{{\"n\":{number}}}");
        let size = 2 + topic.len() + 2 + payload.len();
        self.output.extend([head, u8::try_from(size).expect("a short packet")]);
        self.output.extend(u16::try_from(topic.len()).expect("a short topic").to_be_bytes());
        self.output.extend(topic.bytes().chain(id.to_be_bytes()).chain(payload.bytes()));
        self.waiting.push_back(number);
        self.count += 1;
    }

    /// The protocol's number of what is sent so many after the oldest; there is no zero.
    fn nth(&self, index: usize) -> u16 {
        let index = (usize::from(self.oldest) - 1 + index) % usize::from(u16::MAX);
        u16::try_from(index + 1).expect("it is a remainder")
    }

    /// Writes what the socket takes, and reads acknowledgements.
    fn turn(&mut self, acknowledged: &mut usize) -> std::io::Result<()> {
        let written = some(self.stream.write(&self.output))?.unwrap_or(0);
        self.output.drain(..written);
        let mut piece = [0; 64 << 10];
        while let Some(count) = some(self.stream.read(&mut piece))? {
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.input.extend(&piece[..count]);
        }
        let whole = self.input.len() / 4 * 4;
        let input = self.input.drain(..whole).collect::<Vec<u8>>();
        for packet in input.chunks_exact(4) {
            let [first, second] = self.oldest.to_be_bytes();
            assert_eq!(packet, [0x40, 2, first, second], "each is acknowledged in its turn");
            self.waiting.pop_front().expect("it was sent");
            self.oldest = self.nth(1);
            *acknowledged += 1;
        }
        Ok(())
    }
}

/// What a socket that does not block has done; `None` where it would.
fn some(result: std::io::Result<usize>) -> std::io::Result<Option<usize>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}
