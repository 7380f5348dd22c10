//! Publishes for one target: one connection, kept between deliveries, on which many messages are
//! under way at once.
//!
//! [`Publisher::tend`] owns the connection, and deliveries are handed to it. So one that is given
//! up half-way leaves no connection of which nobody knows what is under way on it.
//!
//! *Invariant:* a message counts as delivered when the broker has acknowledged it; with QoS 0,
//! when it is sent.

use super::connection::{BrokerLink, Hello, OutMessage, Packet, Subscription};
use super::{Broker, CONNECT_TIMEOUT, connected, disconnected};
use crate::contract::Services;
use kernel::env::{Pending, within};
use kernel::fault::{Cause, Fault, FaultClass};
use kernel::health::HealthProblem;
use smol::channel::{Receiver, Sender, bounded};
use smol::future::or;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The wait before the second attempt to connect while nothing is delivered; it doubles up to
/// [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// What of the time of a delivery is kept for saying which of its messages arrived.
const MARGIN: Duration = Duration::from_millis(250);
/// Nothing large is read: acknowledgements, and what is subscribed to.
const PACKET_MAX: u32 = 1 << 20;
/// Topics of which is known what was last kept there.
const TOPICS_MAX: usize = 10_000;

/// The code of a target whose announcements the broker does not take.
const REFUSED: &str = "announcement-refused";
/// An announcement that was refused is not tried again before this.
const REFUSED_AGAIN: Duration = Duration::from_secs(600);
/// What Home Assistant says when it begins.
const BIRTH: &[u8] = b"online";
/// How long the last word may take.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// How each message ended; `None` as long as it has not.
type MessageEnds = Vec<Option<Result<(), Fault>>>;

/// A message of a delivery, or what is wrong with it.
pub(crate) type MessageDraft = Result<NumberedMessage, Fault>;

/// A message, and the number of its event: a larger one is newer.
pub(crate) struct NumberedMessage {
    pub(crate) pos: u64,
    /// What must be known before it.
    pub(crate) announced: Vec<OutMessage>,
    pub(crate) message: OutMessage,
}

/// What is said of ourselves.
#[derive(Default)]
pub(crate) struct Announcements {
    /// At each connection.
    pub(crate) always: Vec<OutMessage>,
    /// At the end, whether we can say it or the broker must.
    pub(crate) will: Option<OutMessage>,
    /// Where those who listen say that they begin, and want to hear it all again.
    pub(crate) birth_topics: BTreeSet<String>,
}

/// What publishes for one target.
pub(crate) struct Publisher {
    broker: Broker,
    hello: Hello,
    announcements: Announcements,
    /// Whether all messages have one topic: a broker that refuses it refuses them all.
    has_one_topic: bool,
    services: Services,
    jobs: (Sender<PublishJob>, Receiver<PublishJob>),
    kept: Mutex<KeptMessages>,
    /// Hashes of what has been announced on this connection beside what always is.
    announced: Mutex<HashSet<u64>>,
    /// Hashes of announcements that the broker refused, and when.
    refused: Mutex<HashMap<u64, Duration>>,
    /// Whether somebody wants to hear all announcements again.
    is_asked: AtomicBool,
}

/// Messages to publish, and who waits for their ends.
struct PublishJob {
    messages: Vec<OutMessage>,
    /// By the monotonic clock.
    deadline: Duration,
    answer: Sender<MessageEnds>,
}

/// The newest event of which a message is kept, by topic.
#[derive(Default)]
struct KeptMessages(BTreeMap<String, u64>);

/// What the owner of the connection does next.
enum Turn {
    Job(PublishJob),
    Connected(Box<Result<BrokerLink, Fault>>),
    Lost(Fault),
    /// Somebody wants to hear all announcements again.
    Asked,
}

/// What never is.
enum PublisherNever {}

impl Publisher {
    pub(crate) fn new(
        broker: Broker,
        has_one_topic: bool,
        announcements: Announcements,
        services: Services,
    ) -> Self {
        let will = announcements.will.clone();
        Publisher {
            broker,
            hello: Hello { session: Duration::ZERO, packet_max: PACKET_MAX, will },
            announcements,
            has_one_topic,
            services,
            jobs: bounded(1),
            kept: Mutex::default(),
            announced: Mutex::default(),
            refused: Mutex::default(),
            is_asked: AtomicBool::new(false),
        }
    }

    /// Publishes messages in their order, within `timeout`; how each of them ended.
    pub(crate) async fn publish(
        &self,
        drafts: Vec<MessageDraft>,
        timeout: Duration,
    ) -> Vec<Result<(), Fault>> {
        let deadline = self.now() + timeout.saturating_sub(MARGIN).max(timeout / 2);
        let (answer, answered) = bounded(1);
        let mut results = vec![Ok(()); drafts.len()];
        let (mut messages, mut places, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        // What is announced for the first time: its place, and what it was.
        let (mut news, mut hashes) = (Vec::new(), HashSet::new());
        for (index, draft) in drafts.into_iter().enumerate() {
            match draft {
                Ok(NumberedMessage { pos, announced, mut message }) => {
                    for announcement in announced {
                        let hash = hash_of(&announcement);
                        let is_known = self.announced().contains(&hash) || self.is_refused(hash);
                        if !is_known && hashes.insert(hash) {
                            news.push((messages.len(), hash, announcement.topic.clone()));
                            messages.push(announcement);
                            places.push(None);
                        }
                    }
                    if message.is_retained {
                        message.is_retained = self.kept().is_newest(&message.topic, pos);
                        kept.push((index, message.topic.clone(), pos));
                    }
                    messages.push(message);
                    places.push(Some(index));
                }
                Err(fault) => results[index] = Err(fault),
            }
        }
        if messages.is_empty() {
            return results;
        }
        let handed = self.jobs.0.send(PublishJob { messages, deadline, answer }).await;
        assert!(handed.is_ok(), "both ends belong to the publisher");
        let ends = answered.recv().await.unwrap_or_default();
        for (nth, place) in places.into_iter().enumerate() {
            if let Some(index) = place {
                let end = ends.get(nth).cloned().flatten();
                results[index] = end.unwrap_or_else(|| Err(given_up()));
            }
        }
        for (nth, hash, topic) in news {
            let end = ends.get(nth).cloned().flatten();
            self.note_announced(hash, &topic, end.as_ref());
        }
        for (index, topic, pos) in kept {
            if results[index].is_ok() {
                self.kept().note(topic, pos);
            }
        }
        results
    }

    fn announced(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, KeptMessages> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.services.env.clock.monotonic()
    }

    /// Holds the connection until `closed` ends, and says goodbye.
    pub(crate) async fn tend(&self, closed: Pending<'_, ()>) {
        let mut link = None;
        let serving = async { match self.serve(&mut link).await {} };
        or(closed, serving).await;
        let Some(mut link) = link else { return };
        if let Some(will) = &self.announcements.will {
            let (clock, mut ends) = (&*self.services.env.clock, vec![None]);
            let farewell = self.exchange(&mut link, std::slice::from_ref(will), &mut ends);
            // Where it is not heard, the broker still has the will.
            if !matches!(within(clock, FAREWELL_MAX, farewell).await, Some(Ok(()))) {
                return;
            }
        }
        link.close().await;
    }

    async fn serve(&self, link: &mut Option<BrokerLink>) -> PublisherNever {
        let mut wait = Duration::ZERO;
        // A delivery that fails is told of by the engine.
        let mut is_told = false;
        loop {
            let job = async {
                let job = self.jobs.1.recv().await;
                Turn::Job(job.unwrap_or_else(|_| unreachable!("both ends belong to the publisher")))
            };
            let turn = match link {
                Some(link) => or(job, self.idle(link)).await,
                None => or(job, self.reconnect(wait)).await,
            };
            let fault = match turn {
                Turn::Job(job) => {
                    self.work(link, job).await;
                    is_told = true;
                    None
                }
                Turn::Connected(connected) => {
                    let (made, fault) = match *connected {
                        Ok(made) => (Some(made), None),
                        Err(fault) => (None, Some(fault)),
                    };
                    *link = made;
                    fault
                }
                Turn::Lost(fault) => {
                    *link = None;
                    Some(fault)
                }
                Turn::Asked => match link {
                    Some(asked) => self.announce(asked).await.err().inspect(|_| *link = None),
                    None => None,
                },
            };
            wait = match link {
                Some(_) => Duration::ZERO,
                None => (wait * 2).clamp(RETRY_MIN, RETRY_MAX),
            };
            is_told &= link.is_none();
            if let Some(fault) = fault.filter(|_| !is_told) {
                self.complain(&fault, wait);
            }
        }
    }

    /// Connects while there is nothing to publish. A delivery does not wait for it: it connects
    /// within its own time.
    async fn reconnect(&self, wait: Duration) -> Turn {
        let jitter = 0.5 + self.services.env.random.ratio() / 2.0;
        self.services.env.clock.sleep(wait.mul_f64(jitter)).await;
        Turn::Connected(Box::new(self.connect().await))
    }

    async fn connect(&self) -> Result<BrokerLink, Fault> {
        let mut link = BrokerLink::connect(&self.broker, &self.hello, &self.services).await?;
        let subscription = |filter: &String| Subscription {
            filter: filter.clone(),
            qos: 0,
            takes_retained: false,
        };
        let births: Vec<_> = self.announcements.birth_topics.iter().map(subscription).collect();
        if !births.is_empty() {
            link.subscribe(&births)?;
        }
        self.announce(&mut link).await?;
        connected(&self.services.health);
        Ok(link)
    }

    /// Says everything of ourselves; a fault is the connection's.
    async fn announce(&self, link: &mut BrokerLink) -> Result<(), Fault> {
        self.announced().clear();
        let always = self.announcements.always.iter();
        let always: Vec<OutMessage> =
            always.filter(|always| !self.is_refused(hash_of(always))).cloned().collect();
        let (clock, mut ends) = (&*self.services.env.clock, vec![None; always.len()]);
        let exchange = self.exchange(link, &always, &mut ends);
        let late = || Err(self.late());
        within(clock, CONNECT_TIMEOUT, exchange).await.unwrap_or_else(late)?;
        for (announcement, end) in always.iter().zip(&ends) {
            let hash = hash_of(announcement);
            end.iter().for_each(|it| self.note_refused(hash, &announcement.topic, it));
        }
        Ok(())
    }

    /// Whether the broker has refused it a short while ago.
    fn is_refused(&self, hash: u64) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(&hash).is_some_and(|since| self.now() < *since + REFUSED_AGAIN)
    }

    /// An announcement that the broker does not take must not cost the deliveries: some brokers
    /// end the connection for it, so it is left out for a while.
    fn note_refused(&self, hash: u64, topic: &str, end: &Result<(), Fault>) {
        let health = &self.services.health;
        let Err(fault) = end else { return health.clear_about(REFUSED, topic) };
        if fault.is_transient() {
            return;
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if TOPICS_MAX < refused.len() {
            refused.clear();
        }
        refused.insert(hash, self.now());
        drop(refused);
        let reason = format!("cannot publish on {topic}: {}", fault.reason);
        let problem = HealthProblem::degraded(REFUSED, reason).about(topic.to_owned());
        health
            .report(problem.advise("allow the user to publish there; it is retried automatically"));
    }

    fn late(&self) -> Fault {
        let reason = format!("the broker at {} did not answer in time", self.broker.shown);
        Fault::transient(Cause::Timeout, reason)
    }

    fn complain(&self, fault: &Fault, wait: Duration) {
        let advice = match fault.class {
            FaultClass::Configuration => "correct `username`, `password`, `client-id` or `tls`",
            _ => "check the broker and the network; deliveries wait",
        };
        let shown = kernel::time::write_duration(wait);
        let reason = format!("{}; the next attempt is within {shown}", fault.reason);
        disconnected(&self.services.health, fault, reason, advice);
    }

    /// Publishes for a delivery, as long as somebody waits for it.
    async fn work(&self, link: &mut Option<BrokerLink>, job: PublishJob) {
        let PublishJob { messages, deadline, answer } = job;
        let mut ends: MessageEnds = vec![None; messages.len()];
        let clock = &*self.services.env.clock;
        let exchange = async {
            let connected = match link.take() {
                Some(connected) => connected,
                None => self.connect().await?,
            };
            let connected = link.insert(connected);
            self.exchange(connected, &messages, &mut ends).await?;
            Ok(connected.is_worn)
        };
        let left = deadline.saturating_sub(self.now());
        let late = || Err(self.late());
        let ended = async { Some(within(clock, left, exchange).await.unwrap_or_else(late)) };
        let unwanted = async {
            answer.closed().await;
            None
        };
        let ended = or(ended, unwanted).await;
        if !matches!(ended, Some(Ok(false))) {
            *link = None;
        }
        if let Some(Err(fault)) = ended {
            ends.iter_mut().for_each(|it| *it = it.take().or_else(|| Some(Err(fault.clone()))));
        }
        if !self.has_one_topic && link.is_some() {
            ends.iter_mut().flatten().for_each(own_fault);
        }
        // Nobody waits for it any more: the delivery comes again.
        answer.try_send(ends).ok();
    }

    /// Remembers what was announced on this connection.
    fn note_announced(&self, hash: u64, topic: &str, end: Option<&Result<(), Fault>>) {
        let Some(end) = end else { return };
        let mut announced = self.announced();
        if TOPICS_MAX < announced.len() {
            announced.clear();
        }
        if end.is_ok() {
            announced.insert(hash);
        }
        drop(announced);
        self.note_refused(hash, topic, end);
    }

    /// Listens while there is nothing to publish: pings, the end of the connection, and whoever
    /// wants to hear all announcements again.
    async fn idle(&self, link: &mut BrokerLink) -> Turn {
        loop {
            if self.is_asked.swap(false, Ordering::SeqCst) {
                return Turn::Asked;
            }
            match link.read().await {
                Ok(packets) => packets.iter().for_each(|packet| self.hear(packet)),
                Err(fault) => return Turn::Lost(fault),
            }
            link.queue_replies();
        }
    }

    fn hear(&self, packet: &Packet) {
        if let Packet::Message(message) = packet
            && self.announcements.birth_topics.contains(&message.topic)
            && !message.is_retained
            && message.payload.as_slice() == BIRTH
        {
            self.is_asked.store(true, Ordering::SeqCst);
        }
    }

    /// Publishes messages, as many at once as the broker takes. What has its end is noted at once,
    /// so that it counts also where the connection breaks before the others have theirs.
    async fn exchange(
        &self,
        link: &mut BrokerLink,
        messages: &[OutMessage],
        ends: &mut MessageEnds,
    ) -> Result<(), Fault> {
        let mut messages = messages.iter().enumerate().peekable();
        // Numbers of what the broker has to acknowledge, and what is over once it is sent.
        let (mut waiting, mut sending) = (HashMap::new(), Vec::new());
        loop {
            while let Some((index, message)) = messages.next_if(|_| link.has_room(waiting.len())) {
                match link.publish(message) {
                    Ok(Some(id)) => drop(waiting.insert(id, index)),
                    Ok(None) => sending.push(index),
                    Err(fault) => ends[index] = Some(Err(fault)),
                }
                if link.is_crowded() {
                    link.flush().await?;
                }
            }
            if !sending.is_empty() || waiting.is_empty() {
                link.flush().await?;
                sending.drain(..).for_each(|index| ends[index] = Some(Ok(())));
            }
            if waiting.is_empty() {
                assert!(messages.peek().is_none(), "a broker takes one message at least");
                return Ok(());
            }
            for packet in link.read().await? {
                match packet {
                    Packet::Published(id, end) => {
                        if let Some(index) = waiting.remove(&id) {
                            ends[index] = Some(end);
                        }
                    }
                    Packet::Received(id) => link.release(id)?,
                    other => self.hear(&other),
                }
            }
            link.queue_replies();
        }
    }
}

/// A broker that refuses one topic of many says nothing about the others.
fn own_fault(end: &mut Result<(), Fault>) {
    if let Err(fault) = end
        && fault.class == FaultClass::Configuration
    {
        fault.class = FaultClass::Permanent;
    }
}

fn given_up() -> Fault {
    Fault::transient(Cause::Connect, "the connection to the broker was given up")
}

fn hash_of(message: &OutMessage) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&message.topic, &message.payload).hash(&mut hasher);
    hasher.finish()
}

impl KeptMessages {
    /// Whether no message of a newer event is kept there. A delivery that failed comes again after
    /// newer ones; it must not take the place of what is true now.
    fn is_newest(&self, topic: &str, pos: u64) -> bool {
        self.0.get(topic).is_none_or(|newest| *newest <= pos)
    }

    fn note(&mut self, topic: String, pos: u64) {
        let newest = self.0.entry(topic).or_default();
        *newest = pos.max(*newest);
        if TOPICS_MAX < self.0.len() {
            // What is oldest is least likely to be overtaken.
            let mut all: Vec<u64> = self.0.values().copied().collect();
            let (_, middle, _) = all.select_nth_unstable(TOPICS_MAX / 2);
            self.0.retain(|_, pos| *middle <= *pos);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_newer_stays_kept() {
        let mut kept = KeptMessages::default();
        assert!(kept.is_newest("a", 1));
        kept.note("a".to_owned(), 5);
        kept.note("a".to_owned(), 3);
        assert!(kept.is_newest("a", 5) && kept.is_newest("a", 6) && kept.is_newest("b", 1));
        assert!(!kept.is_newest("a", 4));
    }

    #[test]
    fn only_so_many_topics_are_known_and_the_oldest_go() {
        let mut kept = KeptMessages::default();
        for pos in 0..=TOPICS_MAX as u64 {
            kept.note(format!("t/{pos}"), pos + 1);
        }
        assert!(kept.0.len() <= TOPICS_MAX / 2 + 1, "{}", kept.0.len());
        let (old, new) = ("t/0", format!("t/{TOPICS_MAX}"));
        assert!(kept.is_newest(old, 0) && !kept.is_newest(&new, 0));
    }
}
