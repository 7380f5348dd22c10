//! What must be known again after a restart: what the broker still has of us, and which of its
//! messages were committed though it may not have heard so.
//!
//! A message has no id in MQTT. Within a session the broker sends an unacknowledged one again under
//! the same number and marked as sent before, so it is known again by number and content. Only the
//! last ones can come again: the broker hears acknowledgements in their order.

use crate::mqtt::connection::Publish;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hasher;

/// Commits whose messages are remembered; more than can be on their way to the broker.
const COMMITS_MAX: usize = 128;
/// The key of what is subscribed.
const SESSION: &str = "session";
/// The key of each commit begins so.
const COMMIT: &str = "commit:";
/// Bytes of a number and a hash.
const PRINT_SIZE: usize = 10;

/// A key and its value.
pub(super) type Row = (String, String);

/// By which a message is known when it comes again: its number, and a hash of topic and content.
type MessagePrint = (u16, u64);

/// What is remembered of one session.
#[derive(Debug)]
pub(super) struct SessionMemory {
    /// Whose session it is: the broker and the client id.
    owner: String,
    /// Filters that the broker has, with their QoS; `None` while there is no session.
    subscribed: Option<BTreeMap<String, u8>>,
    /// The last commits with their numbers, the oldest first.
    commits: VecDeque<(u64, Vec<MessagePrint>)>,
    /// Committed over an earlier connection, and perhaps not acknowledged.
    unsure: HashMap<u16, u64>,
}

impl SessionMemory {
    /// From the rows of before.
    pub(super) fn of(rows: &[Row], owner: String) -> Self {
        let session = rows.iter().find(|row| row.0 == SESSION);
        let session: Option<Value> =
            session.and_then(|session| serde_json::from_str(&session.1).ok());
        let own = session.filter(|session| session["owner"] == owner.as_str());
        let subscribed = own.and_then(|it| serde_json::from_value(it["topics"].clone()).ok());
        let rows = rows.iter().filter(|row| row.0.starts_with(COMMIT));
        let mut commits: Vec<_> = rows.filter_map(|row| read_commit(&row.1)).collect();
        commits.sort_by_key(|commit| commit.0);
        let unsure = HashMap::new();
        SessionMemory { owner, subscribed, commits: commits.into(), unsure }
    }

    /// Whether there was a session.
    pub(super) fn is_known(&self) -> bool {
        self.subscribed.is_some()
    }

    /// What the broker has subscribed for us.
    pub(super) fn subscribed(&self) -> BTreeMap<String, u8> {
        self.subscribed.clone().unwrap_or_default()
    }

    /// A new connection to the same session: what was committed before may come again.
    pub(super) fn resume(&mut self) {
        // A number that was used twice means the later message.
        self.unsure = self.commits.iter().flat_map(|commit| &commit.1).copied().collect();
    }

    /// A new session: nothing of before can come again.
    pub(super) fn begin(&mut self) -> Vec<Row> {
        self.unsure.clear();
        self.subscribed = None;
        let rows = self.commits.drain(..).map(|commit| (key_of(commit.0), String::new()));
        rows.chain([(SESSION.to_owned(), String::new())]).collect()
    }

    /// The broker has these subscriptions from now on.
    pub(super) fn subscribe(&mut self, topics: BTreeMap<String, u8>) -> Vec<Row> {
        let session = json!({ "owner": self.owner, "topics": topics });
        self.subscribed = Some(topics);
        vec![(SESSION.to_owned(), session.to_string())]
    }

    /// Whether a message was committed before. Where it was not, its number has a new meaning.
    pub(super) fn is_committed(&mut self, message: &Publish) -> bool {
        let known = message.id.and_then(|id| self.unsure.remove(&id));
        known.is_some_and(|hash| message.is_again && hash == hash_of(message))
    }

    /// The row to commit together with these messages, which are remembered from then on.
    pub(super) fn commit(&mut self, prints: Vec<MessagePrint>) -> Vec<Row> {
        if prints.is_empty() {
            return Vec::new();
        }
        let number = self.commits.back().map_or(0, |commit| commit.0 + 1);
        let row = (key_of(number), write_commit(number, &prints));
        self.commits.push_back((number, prints));
        if COMMITS_MAX < self.commits.len() {
            self.commits.pop_front();
        }
        vec![row]
    }
}

/// How it is known when it comes again; a message with QoS 0 never does.
pub(super) fn print_of(message: &Publish) -> Option<MessagePrint> {
    Some((message.id?, hash_of(message)))
}

fn hash_of(message: &Publish) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(message.topic.as_bytes());
    // No topic has it, so that topic and content are apart.
    hasher.write_u8(0);
    hasher.write(message.payload.as_slice());
    hasher.finish()
}

/// The row of a commit takes the place of one that is old enough.
fn key_of(number: u64) -> String {
    format!("{COMMIT}{}", number % COMMITS_MAX as u64)
}

fn write_commit(number: u64, prints: &[MessagePrint]) -> String {
    let mut bytes = Vec::with_capacity(prints.len() * PRINT_SIZE);
    for (id, hash) in prints {
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&hash.to_be_bytes());
    }
    format!("{number}:{}", STANDARD.encode(bytes))
}

fn read_commit(text: &str) -> Option<(u64, Vec<MessagePrint>)> {
    let (number, prints) = text.split_once(':')?;
    let bytes = STANDARD.decode(prints).ok()?;
    let read = |it: &[u8]| {
        let (id, hash) = it.split_at(2);
        Some((u16::from_be_bytes(id.try_into().ok()?), u64::from_be_bytes(hash.try_into().ok()?)))
    };
    Some((number.parse().ok()?, bytes.chunks_exact(PRINT_SIZE).filter_map(read).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_protocol_core::mqtt::IntoPayload;

    fn message(id: u16, payload: &str, is_again: bool) -> Publish {
        Publish {
            topic: "a".to_owned(),
            payload: payload.into_payload(),
            qos: 1,
            is_retained: false,
            is_again,
            id: Some(id),
        }
    }

    /// What the rows of several commits leave.
    fn stored(batches: &[Vec<Row>]) -> Vec<Row> {
        let mut rows = BTreeMap::new();
        for (key, value) in batches.iter().flatten() {
            match value.is_empty() {
                true => rows.remove(key),
                false => rows.insert(key.clone(), value.clone()),
            };
        }
        rows.into_iter().collect()
    }

    fn session() -> (SessionMemory, Vec<Row>) {
        let mut memory = SessionMemory::of(&[], "broker me".to_owned());
        let rows = memory.subscribe(BTreeMap::from([("a".to_owned(), 1)]));
        (memory, rows)
    }

    #[test]
    fn a_message_that_was_committed_is_known_again_after_a_restart() {
        let (mut memory, session) = session();
        let prints = ["one", "two"].iter().zip(1..);
        let prints = prints.filter_map(|(it, id)| print_of(&message(id, it, false))).collect();
        let rows = stored(&[session, memory.commit(prints)]);
        let mut memory = SessionMemory::of(&rows, "broker me".to_owned());
        assert!(memory.is_known());
        memory.resume();
        assert!(memory.is_committed(&message(1, "one", true)));
        assert!(!memory.is_committed(&message(1, "one", true)), "its number is free now");
        assert!(!memory.is_committed(&message(3, "one", true)), "another number");
        assert!(!memory.is_committed(&message(2, "other", true)), "another content");
        assert!(!memory.is_committed(&message(2, "two", true)), "its number had a new meaning");
    }

    #[test]
    fn what_the_broker_sends_for_the_first_time_is_new() {
        let (mut memory, _) = session();
        memory.commit(vec![print_of(&message(1, "on", false)).unwrap()]);
        assert!(!memory.is_committed(&message(1, "on", true)), "no connection has broken");
        memory.resume();
        assert!(!memory.is_committed(&message(1, "on", false)), "the number is used again");
    }

    #[test]
    fn the_later_meaning_of_a_number_counts_and_old_ones_are_forgotten() {
        let (mut memory, session) = session();
        let mut rows = vec![session];
        for number in 0..300_u16 {
            let print = print_of(&message(number % 200, &number.to_string(), false)).unwrap();
            rows.push(memory.commit(vec![print]));
        }
        let rows = stored(&rows);
        assert_eq!(rows.len(), COMMITS_MAX + 1);
        let mut memory = SessionMemory::of(&rows, "broker me".to_owned());
        memory.resume();
        assert!(memory.is_committed(&message(99, "299", true)));
        assert!(memory.is_committed(&message(172, "172", true)));
        assert!(!memory.is_committed(&message(171, "171", true)));
        let next = memory.commit(vec![(7, 7)]);
        assert_eq!(next[0].0, key_of(300));
    }

    #[test]
    fn another_session_knows_nothing() {
        let (mut memory, session) = session();
        let rows = stored(&[session, memory.commit(vec![(1, 1)])]);
        let mut other = SessionMemory::of(&rows, "broker you".to_owned());
        assert!(!other.is_known());
        let cleared = other.begin();
        assert_eq!(stored(&[rows, cleared]), [], "nothing of it is left");
        let begun = memory.begin();
        memory.resume();
        assert_eq!((begun.len(), memory.unsure.len(), memory.is_known()), (2, 0, false));
    }
}
