//! One connection to a broker: the protocol's state machine and the socket that it does not have.
//!
//! *Invariant:* every method may be dropped at any await: bytes are either still queued or sent.

use super::reason::ReasonFilter;
use super::{Broker, CONNECT_TIMEOUT, Protocol};
use crate::contract::Services;
use kernel::env::{Clock, within};
use kernel::fault::{Cause, Fault, FaultClass};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event, Sendable};
use mqtt_protocol_core::mqtt::packet::{
    GenericPacketTrait, Packet as AnyPacket, Property, Qos, RetainHandling, SessionExpiryInterval,
    SubEntry, SubOpts, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, SubackReturnCode,
};
use mqtt_protocol_core::mqtt::{ArcPayload, Connection, Version, role};
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use wire::Duplex;

/// Bytes read at once.
const PIECE: usize = 64 << 10;
/// A ping that has no answer after this, and nothing else that came, ends the connection.
const PONG_MAX: Duration = Duration::from_secs(10);
/// How long a goodbye may take.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// What may be on its way to a broker that names no limit of its own.
const IN_FLIGHT_MAX: usize = 256;
/// More than this is not queued before it is sent.
const QUEUED_MAX: usize = 1 << 20;

/// How we introduce ourselves.
#[derive(Debug, Clone)]
pub(crate) struct Hello {
    /// How long the broker keeps the session without us; zero begins a new one each time.
    pub(crate) session: Duration,
    /// The largest packet that is read.
    pub(crate) packet_max: u32,
    /// What the broker publishes when we are gone without a goodbye.
    pub(crate) will: Option<OutMessage>,
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OutMessage {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    /// Whether the broker keeps it for those who subscribe later.
    pub(crate) is_retained: bool,
}

/// A message that came.
#[derive(Debug, Clone)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: ArcPayload,
    pub(crate) qos: u8,
    pub(crate) is_retained: bool,
    /// Whether the broker has sent it before, as far as it knows.
    pub(crate) is_again: bool,
    /// By which it is acknowledged; `None` with QoS 0.
    pub(crate) id: Option<u16>,
}

/// What concerns those who use a connection.
#[derive(Debug)]
pub(crate) enum Packet {
    Message(Publish),
    /// The broker will not send this one again.
    Released(u16),
    /// The answer for each filter.
    Subscribed(Vec<Result<(), String>>),
    Unsubscribed,
    /// What was published with this number has its end.
    Published(u16, Result<(), Fault>),
    /// The broker has what was published with QoS 2 and waits for our word that it may go on.
    Received(u16),
}

/// What the broker said of itself when it greeted.
#[derive(Debug, Clone, Copy)]
struct BrokerLimits {
    packet_max: usize,
    qos_max: u8,
    keeps_retained: bool,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        BrokerLimits { packet_max: usize::MAX, qos_max: 2, keeps_retained: true }
    }
}

/// A filter to subscribe to.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) filter: String,
    pub(crate) qos: u8,
    pub(crate) takes_retained: bool,
}

/// What waiting for the broker comes to.
enum LinkStep {
    /// So many bytes were read.
    Read(usize),
    /// It is time for a ping, or for its answer.
    Due,
}

/// A connection that the broker has greeted.
pub(crate) struct BrokerLink {
    stream: Box<dyn Duplex>,
    core: Connection<role::Client>,
    reasons: ReasonFilter,
    protocol: Protocol,
    clock: Arc<dyn Clock>,
    input: Box<[u8]>,
    /// Queued, of which the first `sent` bytes are sent.
    output: Vec<u8>,
    sent: usize,
    /// What the state machine answers by itself. It is sent with the next acknowledgements, since
    /// it may acknowledge a message again that is not committed yet.
    replies: Vec<u8>,
    keep_alive: Duration,
    last_sent: Duration,
    /// When the ping was sent that has no answer yet.
    pinged: Option<Duration>,
    is_greeted: bool,
    /// What came together with the greeting.
    early: Vec<Packet>,
    /// Whether the broker still has the session of before.
    pub(crate) has_session: bool,
    limits: BrokerLimits,
    /// Whether an exchange is in a state that the state machine does not know.
    pub(crate) is_worn: bool,
}

impl BrokerLink {
    /// Connects and waits for the greeting.
    pub(crate) async fn connect(
        broker: &Broker,
        hello: &Hello,
        services: &Services,
    ) -> Result<BrokerLink, Fault> {
        let unreached = |fault: Fault| {
            let reason = format!("cannot reach the broker at {}: {}", broker.shown, fault.reason);
            Fault { reason, ..fault }
        };
        let stream = services.fetch.dial(broker.target.clone()).await.map_err(unreached)?;
        let clock = services.env.clock.clone();
        let now = clock.monotonic();
        // What holds a broker back is that nothing is read. A lower number would be broken by one that
        // comes back with more messages of a session than that, and a missing one is low at some.
        let options = ConnectionOptions::new()
            .maximum_packet_size_recv(hello.packet_max)
            .receive_maximum(u16::MAX);
        // The older version cannot tell the broker, so what it sends is taken.
        let (version, options) = match broker.protocol {
            Protocol::Five => (Version::V5_0, options),
            Protocol::Three => (Version::V3_1_1, options.receive_maximum(0)),
        };
        let mut link = BrokerLink {
            stream,
            core: Connection::with_options(version, options),
            reasons: ReasonFilter::default(),
            protocol: broker.protocol,
            clock: clock.clone(),
            input: vec![0; PIECE].into(),
            output: Vec::new(),
            sent: 0,
            replies: Vec::new(),
            keep_alive: broker.keep_alive,
            last_sent: now,
            pinged: None,
            is_greeted: false,
            early: Vec::new(),
            has_session: false,
            limits: BrokerLimits::default(),
            is_worn: false,
        };
        let greeted = within(&*clock, CONNECT_TIMEOUT, link.greet(broker, hello)).await;
        let late = || {
            let reason = format!("the broker at {} did not greet in time", broker.shown);
            Err(Fault::transient(Cause::Timeout, reason))
        };
        greeted.unwrap_or_else(late)?;
        Ok(link)
    }

    async fn greet(&mut self, broker: &Broker, hello: &Hello) -> Result<(), Fault> {
        match self.protocol {
            Protocol::Five => self.send(connect_5(broker, hello).map_err(unwritten)?)?,
            Protocol::Three => self.send(connect_3(broker, hello).map_err(unwritten)?)?,
        }
        self.flush().await.map_err(|fault| self.in_greeting(broker, fault))?;
        while !self.is_greeted {
            let read = self.stream.read(&mut self.input).await;
            let count = read.map_err(|error| self.in_greeting(broker, broken(error)))?;
            if count == 0 {
                return Err(self.unheard(broker));
            }
            let packets = self.feed(count).map_err(|fault| self.in_greeting(broker, fault))?;
            self.early.extend(packets);
        }
        Ok(())
    }

    /// The connection ended before the greeting.
    fn unheard(&self, broker: &Broker) -> Fault {
        let reason = format!("the broker at {} closed the connection at once", broker.shown);
        Fault::transient(Cause::Connect, reason + self.advice())
    }

    fn in_greeting(&self, broker: &Broker, fault: Fault) -> Fault {
        let advice = if fault.is_transient() { self.advice() } else { "" };
        let reason = format!("the broker at {}: {}{advice}", broker.shown, fault.reason);
        Fault { reason, ..fault }
    }

    fn advice(&self) -> &'static str {
        match self.protocol {
            Protocol::Five => "; if it only speaks MQTT 3.1.1, write `protocol v3.1.1`",
            Protocol::Three => "",
        }
    }

    /// Waits for something that concerns whoever uses the connection.
    pub(crate) async fn read(&mut self) -> Result<Vec<Packet>, Fault> {
        if !self.early.is_empty() {
            return Ok(std::mem::take(&mut self.early));
        }
        loop {
            match self.step().await? {
                LinkStep::Read(0) => return Err(closed()),
                LinkStep::Read(count) => {
                    self.pinged = None;
                    let packets = self.feed(count)?;
                    if !packets.is_empty() {
                        return Ok(packets);
                    }
                }
                LinkStep::Due if self.pinged.is_some() => {
                    let reason = "the broker no longer responds";
                    return Err(Fault::transient(Cause::Timeout, reason));
                }
                LinkStep::Due => self.ping()?,
            }
        }
    }

    /// What has already arrived; nothing where that is nothing, or only a part.
    pub(crate) fn read_now(&mut self) -> Result<Vec<Packet>, Fault> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.stream).poll_read(&mut context, &mut self.input) {
            Poll::Ready(Ok(count)) if 0 < count => {
                self.pinged = None;
                self.feed(count)
            }
            // Whoever waits next is told.
            _ => Ok(Vec::new()),
        }
    }

    /// Sends what is queued while it waits for the broker: one that is busy sending may not read.
    async fn step(&mut self) -> Result<LinkStep, Fault> {
        let due = match self.pinged {
            Some(since) => since + PONG_MAX,
            None => self.last_sent + self.keep_alive,
        };
        let wait = due.saturating_sub(self.clock.monotonic());
        let mut timer = self.clock.sleep(wait);
        poll_fn(|context| {
            if let Poll::Ready(Err(fault)) = self.poll_flush(context) {
                return Poll::Ready(Err(fault));
            }
            if let Poll::Ready(read) =
                Pin::new(&mut self.stream).poll_read(context, &mut self.input)
            {
                return Poll::Ready(read.map(LinkStep::Read).map_err(broken));
            }
            timer.as_mut().poll(context).map(|()| Ok(LinkStep::Due))
        })
        .await
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        while self.sent < self.output.len() {
            let rest = &self.output[self.sent..];
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, rest));
            let count = count.map_err(broken)?;
            if count == 0 {
                return Poll::Ready(Err(closed()));
            }
            self.sent += count;
            self.last_sent = self.clock.monotonic();
        }
        self.output.clear();
        self.sent = 0;
        Pin::new(&mut self.stream).poll_flush(context).map_err(broken)
    }

    /// What the first `count` bytes that were read complete.
    fn feed(&mut self, count: usize) -> Result<Vec<Packet>, Fault> {
        let mut input = std::mem::take(&mut self.input);
        if self.protocol == Protocol::Five {
            self.reasons.pass(&mut input[..count]);
        }
        let mut packets = Vec::new();
        let mut cursor = Cursor::new(&input[..count]);
        let mut result = Ok(());
        while result.is_ok() && cursor.position() < count as u64 {
            for event in self.core.recv(&mut cursor) {
                result = result.and_then(|()| self.received(event, &mut packets));
            }
        }
        self.input = input;
        result.map(|()| packets)
    }

    fn received(&mut self, event: Event, packets: &mut Vec<Packet>) -> Result<(), Fault> {
        match event {
            Event::NotifyPacketReceived(packet) => packets.extend(self.understood(packet)?),
            Event::RequestSendPacket { packet, .. } => {
                self.replies.extend(packet.to_continuous_buffer());
            }
            Event::NotifyError(error) => return Err(protocol_fault(error)),
            Event::RequestClose => {
                return Err(Fault::transient(Cause::Other, "the broker violates the protocol"));
            }
            // Pings are ours, and numbers are released by what is settled.
            Event::RequestTimerReset { .. }
            | Event::RequestTimerCancel(_)
            | Event::NotifyPacketIdReleased(_) => {}
        }
        Ok(())
    }

    fn understood(&mut self, packet: AnyPacket) -> Result<Option<Packet>, Fault> {
        Ok(Some(match packet {
            AnyPacket::V5_0Connack(it) => {
                self.greeted_5(&it)?;
                return Ok(None);
            }
            AnyPacket::V3_1_1Connack(it) => {
                refused_3(it.return_code())?;
                (self.is_greeted, self.has_session) = (true, it.session_present());
                return Ok(None);
            }
            AnyPacket::V5_0Publish(it) => Packet::Message(Publish {
                topic: it.topic_name().to_owned(),
                payload: it.payload().clone(),
                qos: it.qos() as u8,
                is_retained: it.retain(),
                is_again: it.dup(),
                id: it.packet_id(),
            }),
            AnyPacket::V3_1_1Publish(it) => Packet::Message(Publish {
                topic: it.topic_name().to_owned(),
                payload: it.payload().clone(),
                qos: it.qos() as u8,
                is_retained: it.retain(),
                is_again: it.dup(),
                id: it.packet_id(),
            }),
            AnyPacket::V5_0Pubrel(it) => Packet::Released(it.packet_id()),
            AnyPacket::V3_1_1Pubrel(it) => Packet::Released(it.packet_id()),
            AnyPacket::V5_0Suback(it) => {
                let codes = it.reason_codes().into_iter();
                let result = codes.map(|code| match code.is_success() {
                    true => Ok(()),
                    false => Err(words(&format!("{code:?}"))),
                });
                Packet::Subscribed(result.collect())
            }
            AnyPacket::V3_1_1Suback(it) => {
                let codes = it.return_codes().into_iter();
                let result = codes.map(|code| match code {
                    SubackReturnCode::Failure => Err("the broker gives no reason".to_owned()),
                    _ => Ok(()),
                });
                Packet::Subscribed(result.collect())
            }
            AnyPacket::V5_0Unsuback(_) | AnyPacket::V3_1_1Unsuback(_) => Packet::Unsubscribed,
            AnyPacket::V5_0Puback(it) => {
                let code = it.reason_code().map(|reason_code| reason_code as u8);
                let code = self.reasons.take(it.packet_id()).or(code);
                Packet::Published(it.packet_id(), taken(code, words_of(it.props())))
            }
            AnyPacket::V3_1_1Puback(it) => Packet::Published(it.packet_id(), Ok(())),
            AnyPacket::V5_0Pubrec(it) => {
                match it.reason_code().map_or(0, |reason_code| reason_code as u8) {
                    0 => Packet::Received(it.packet_id()),
                    code => {
                        let code = self.reasons.take(it.packet_id()).unwrap_or(code);
                        let result = taken(Some(code), words_of(it.props()));
                        // By the protocol it goes on after a success; the state machine takes it for over.
                        self.is_worn |= result.is_ok();
                        Packet::Published(it.packet_id(), result)
                    }
                }
            }
            AnyPacket::V3_1_1Pubrec(it) => Packet::Received(it.packet_id()),
            AnyPacket::V5_0Pubcomp(it) => Packet::Published(it.packet_id(), Ok(())),
            AnyPacket::V3_1_1Pubcomp(it) => Packet::Published(it.packet_id(), Ok(())),
            AnyPacket::V5_0Disconnect(it) => return Err(dismissed(it.reason_code())),
            _ => return Ok(None),
        }))
    }

    fn greeted_5(&mut self, greeting: &v5_0::Connack) -> Result<(), Fault> {
        let props = greeting.props();
        refused_5(greeting.reason_code(), reason_of(props))?;
        for property in props {
            match property {
                Property::ServerKeepAlive(seconds) if 0 < seconds.val() => {
                    self.keep_alive = Duration::from_secs(u64::from(seconds.val()));
                }
                Property::MaximumPacketSize(bytes) => {
                    self.limits.packet_max = usize::try_from(bytes.val()).unwrap_or(usize::MAX);
                }
                Property::MaximumQos(qos) => self.limits.qos_max = qos.val(),
                Property::RetainAvailable(flag) => self.limits.keeps_retained = flag.val() != 0,
                _ => {}
            }
        }
        (self.is_greeted, self.has_session) = (true, greeting.session_present());
        Ok(())
    }

    /// Sends everything that is queued.
    pub(crate) async fn flush(&mut self) -> Result<(), Fault> {
        poll_fn(|context| self.poll_flush(context)).await
    }

    /// Queues what the state machine answered by itself.
    pub(crate) fn queue_replies(&mut self) {
        self.output.append(&mut self.replies);
    }

    /// Keeps the connection alive while nothing is read; ends by a fault when it is broken.
    pub(crate) async fn tend(&mut self) -> Fault {
        loop {
            if let Err(fault) = self.tend_once().await {
                return fault;
            }
        }
    }

    async fn tend_once(&mut self) -> Result<(), Fault> {
        self.flush().await?;
        let wait = (self.last_sent + self.keep_alive).saturating_sub(self.clock.monotonic());
        self.clock.sleep(wait).await;
        self.ping()?;
        // Its answer waits like everything else that is not read.
        self.pinged = None;
        Ok(())
    }

    fn ping(&mut self) -> Result<(), Fault> {
        self.pinged = Some(self.clock.monotonic());
        match self.protocol {
            Protocol::Five => self.send(v5_0::Pingreq::builder().build().map_err(unwritten)?),
            Protocol::Three => self.send(v3_1_1::Pingreq::builder().build().map_err(unwritten)?),
        }
    }

    /// Queues the acknowledgement of a message: the broker may forget it.
    pub(crate) fn acknowledge(&mut self, qos: u8, id: u16) -> Result<(), Fault> {
        match (self.protocol, qos) {
            (Protocol::Five, 1) => {
                self.send(v5_0::Puback::builder().packet_id(id).build().map_err(unwritten)?)
            }
            (Protocol::Five, _) => {
                self.send(v5_0::Pubrec::builder().packet_id(id).build().map_err(unwritten)?)
            }
            (Protocol::Three, 1) => {
                self.send(v3_1_1::Puback::builder().packet_id(id).build().map_err(unwritten)?)
            }
            (Protocol::Three, _) => {
                self.send(v3_1_1::Pubrec::builder().packet_id(id).build().map_err(unwritten)?)
            }
        }
    }

    /// Queues the last word about a message of QoS 2.
    pub(crate) fn complete(&mut self, id: u16) -> Result<(), Fault> {
        match self.protocol {
            Protocol::Five => {
                self.send(v5_0::Pubcomp::builder().packet_id(id).build().map_err(unwritten)?)
            }
            Protocol::Three => {
                self.send(v3_1_1::Pubcomp::builder().packet_id(id).build().map_err(unwritten)?)
            }
        }
    }

    /// Whether another message may be published while this many have no end yet.
    pub(crate) fn has_room(&self, in_flight: usize) -> bool {
        let vacancy = self.core.get_receive_maximum_vacancy_for_send();
        in_flight < IN_FLIGHT_MAX && vacancy != Some(0)
    }

    /// Whether so much is queued that it has to be sent first.
    pub(crate) fn is_crowded(&self) -> bool {
        QUEUED_MAX <= self.output.len() - self.sent
    }

    /// Queues a message; its number, by which the broker acknowledges it, where it does. A fault
    /// is the message's own.
    pub(crate) fn publish(&mut self, message: &OutMessage) -> Result<Option<u16>, Fault> {
        self.check_limits(message)?;
        let id = if message.qos == 0 { None } else { Some(self.new_id()?) };
        let sent = match self.protocol {
            Protocol::Five => {
                publish_5(message, id).and_then(|it| self.send_fitting(it.size(), it))
            }
            Protocol::Three => {
                publish_3(message, id).and_then(|it| self.send_fitting(it.size(), it))
            }
        };
        if let (Err(_), Some(id)) = (&sent, id) {
            self.core.release_packet_id(id);
        }
        sent.map(|()| id)
    }

    fn check_limits(&self, message: &OutMessage) -> Result<(), Fault> {
        let qos_max = self.limits.qos_max;
        if qos_max < message.qos {
            return Err(configuration(format!(
                "the broker supports at most QoS {qos_max}; write `qos={qos_max}`"
            )));
        }
        if message.is_retained && !self.limits.keeps_retained {
            let reason = "the broker does not support retained messages; write `retain=#false`";
            return Err(configuration(reason));
        }
        Ok(())
    }

    fn send_fitting<P: Sendable<role::Client, u16>>(
        &mut self,
        size: usize,
        packet: P,
    ) -> Result<(), Fault> {
        let most = self.limits.packet_max;
        if most < size {
            let reason =
                format!("the message has {size} bytes, and the broker takes at most {most}");
            return Err(Fault::permanent(reason));
        }
        self.send(packet)
    }

    /// Queues our word that the broker may go on with a message of QoS 2.
    pub(crate) fn release(&mut self, id: u16) -> Result<(), Fault> {
        match self.protocol {
            Protocol::Five => {
                self.send(v5_0::Pubrel::builder().packet_id(id).build().map_err(unwritten)?)
            }
            Protocol::Three => {
                self.send(v3_1_1::Pubrel::builder().packet_id(id).build().map_err(unwritten)?)
            }
        }
    }

    /// Queues a subscription; its answer has a result for each filter.
    pub(crate) fn subscribe(&mut self, wanted: &[Subscription]) -> Result<(), Fault> {
        let entry = |subscription: &Subscription| {
            let options = SubOpts::new().set_qos(qos_of(subscription.qos));
            // The older version has no such bits.
            let options = match (self.protocol, subscription.takes_retained) {
                (Protocol::Three, _) => options,
                (_, true) => options.set_rh(RetainHandling::SendRetainedIfNotExists),
                (_, false) => options.set_rh(RetainHandling::DoNotSendRetained),
            };
            SubEntry::new(&*subscription.filter, options)
        };
        let entries: Result<Vec<SubEntry>, MqttError> = wanted.iter().map(entry).collect();
        let (entries, id) = (entries.map_err(unwritten)?, self.new_id()?);
        match self.protocol {
            Protocol::Five => {
                let packet = v5_0::Subscribe::builder().entries(entries).packet_id(id);
                self.send(packet.build().map_err(unwritten)?)
            }
            Protocol::Three => {
                let packet = v3_1_1::Subscribe::builder().entries(entries).packet_id(id);
                self.send(packet.build().map_err(unwritten)?)
            }
        }
    }

    /// Queues the end of subscriptions.
    pub(crate) fn unsubscribe(&mut self, filters: &[String]) -> Result<(), Fault> {
        let (filters, id) = (filters.to_vec(), self.new_id()?);
        match self.protocol {
            Protocol::Five => {
                let packet = v5_0::Unsubscribe::builder().entries(filters).map_err(unwritten)?;
                self.send(packet.packet_id(id).build().map_err(unwritten)?)
            }
            Protocol::Three => {
                let packet = v3_1_1::Unsubscribe::builder().entries(filters).map_err(unwritten)?;
                self.send(packet.packet_id(id).build().map_err(unwritten)?)
            }
        }
    }

    /// Says goodbye: the broker keeps the session and says nothing of a will.
    pub(crate) async fn close(mut self) {
        let clock = self.clock.clone();
        let goodbye = async {
            match self.protocol {
                Protocol::Five => {
                    self.send(v5_0::Disconnect::builder().build().map_err(unwritten)?)?;
                }
                Protocol::Three => {
                    self.send(v3_1_1::Disconnect::builder().build().map_err(unwritten)?)?;
                }
            }
            self.flush().await?;
            self.stream.close().await.map_err(broken)
        };
        // Whether it was heard or not, nothing is left to do.
        let _: Option<Result<(), Fault>> = within(&*clock, GOODBYE_MAX, goodbye).await;
    }

    fn new_id(&mut self) -> Result<u16, Fault> {
        self.core.acquire_packet_id().map_err(unwritten)
    }

    fn send<P: Sendable<role::Client, u16>>(&mut self, packet: P) -> Result<(), Fault> {
        for event in self.core.checked_send(packet) {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    self.output.extend(packet.to_continuous_buffer());
                }
                Event::NotifyError(MqttError::PacketTooLarge) => {
                    return Err(Fault::permanent("it exceeds the broker's limit"));
                }
                Event::NotifyError(error) => return Err(unwritten(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn connect_5(broker: &Broker, hello: &Hello) -> Result<v5_0::Connect, MqttError> {
    let seconds = u32::try_from(hello.session.as_secs()).unwrap_or(u32::MAX);
    let mut packet = v5_0::Connect::builder()
        .client_id(broker.client_id.as_str())?
        .clean_start(hello.session.is_zero())
        .keep_alive(seconds_of(broker.keep_alive))
        .props(vec![Property::SessionExpiryInterval(SessionExpiryInterval::new(seconds)?)]);
    if let Some(name) = &broker.username {
        packet = packet.user_name(name.as_str())?;
    }
    if let Some(password) = &broker.password {
        packet = packet.password(password.0.as_bytes().to_vec())?;
    }
    if let Some(will) = &hello.will {
        let (topic, payload) = (will.topic.as_str(), will.payload.clone());
        packet = packet.will_message(topic, payload, qos_of(will.qos), will.is_retained)?;
    }
    packet.build()
}

fn connect_3(broker: &Broker, hello: &Hello) -> Result<v3_1_1::Connect, MqttError> {
    let mut packet = v3_1_1::Connect::builder()
        .client_id(broker.client_id.as_str())?
        .clean_session(hello.session.is_zero())
        .keep_alive(seconds_of(broker.keep_alive));
    if let Some(name) = &broker.username {
        packet = packet.user_name(name.as_str())?;
    }
    if let Some(password) = &broker.password {
        packet = packet.password(password.0.as_bytes().to_vec())?;
    }
    if let Some(will) = &hello.will {
        let (topic, payload) = (will.topic.as_str(), will.payload.clone());
        packet = packet.will_message(topic, payload, qos_of(will.qos), will.is_retained)?;
    }
    packet.build()
}

fn publish_5(message: &OutMessage, id: Option<u16>) -> Result<v5_0::Publish, Fault> {
    v5_0::Publish::builder()
        .topic_name(message.topic.as_str())
        .map_err(unwritten)?
        .qos(qos_of(message.qos))
        .retain(message.is_retained)
        .packet_id(id)
        .payload(message.payload.clone())
        .build()
        .map_err(unwritten)
}

fn publish_3(message: &OutMessage, id: Option<u16>) -> Result<v3_1_1::Publish, Fault> {
    v3_1_1::Publish::builder()
        .topic_name(message.topic.as_str())
        .map_err(unwritten)?
        .qos(qos_of(message.qos))
        .retain(message.is_retained)
        .packet_id(id)
        .payload(message.payload.clone())
        .build()
        .map_err(unwritten)
}

fn seconds_of(duration: Duration) -> u16 {
    u16::try_from(duration.as_secs()).unwrap_or(u16::MAX)
}

fn qos_of(number: u8) -> Qos {
    match number {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        _ => Qos::ExactlyOnce,
    }
}

/// `NotAuthorized` as people write it.
fn words(code: &str) -> String {
    let mut text = String::new();
    for letter in code.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// A broker that ends without its goodbye is told of by the end of the stream, a reset or a broken
/// pipe, whichever the kernel comes to first: for whoever reads of it they are one.
fn broken(error: io::Error) -> Fault {
    match error.kind() {
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => closed(),
        _ => wire::stream_fault(&error),
    }
}

fn closed() -> Fault {
    Fault::transient(Cause::Connect, "the broker closed the connection")
}

fn unwritten(error: MqttError) -> Fault {
    let reason = format!("cannot send this to the broker: {}", words(&error.to_string()));
    Fault::permanent(reason)
}

fn protocol_fault(error: MqttError) -> Fault {
    let reason = match error {
        MqttError::PacketTooLarge => {
            "the broker sent a message that is larger than `max-packet`".to_owned()
        }
        error => format!("the broker violates the protocol: {}", words(&error.to_string())),
    };
    Fault::transient(Cause::Other, reason)
}

fn configuration(reason: impl Into<String>) -> Fault {
    Fault { class: FaultClass::Configuration, ..Fault::permanent(reason) }
}

/// The broker's own words in an acknowledgement.
fn words_of(props: &Option<Vec<Property>>) -> Option<String> {
    reason_of(props.as_deref().unwrap_or_default())
}

/// The broker's own words.
fn reason_of(props: &[Property]) -> Option<String> {
    props.iter().find_map(|prop| match prop {
        Property::ReasonString(reason) => Some(reason.val().to_owned()),
        _ => None,
    })
}

/// What the code of an acknowledgement says about the message; there is none where all is well.
fn taken(code: Option<u8>, reason: Option<String>) -> Result<(), Fault> {
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let refused = |why: &str| format!("the broker refused the message: {why}{reason}");
    Err(match code.unwrap_or_default() {
        // Whether anybody has subscribed is not our concern.
        0..0x80 => return Ok(()),
        0x87 => configuration(refused("this client may not publish on its topic")),
        0x90 => Fault::permanent(refused("it does not accept this topic")),
        0x95 => Fault::permanent(refused("it is too large")),
        0x99 => Fault::permanent(refused("its payload does not match the declared format")),
        0x97 => Fault::transient(Cause::Other, refused("a quota is used up")),
        code => Fault::transient(Cause::Other, refused(&format!("reason code {code:#04x}"))),
    })
}

fn refused_5(code: ConnectReasonCode, reason: Option<String>) -> Result<(), Fault> {
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    Err(match code {
        ConnectReasonCode::Success => return Ok(()),
        ConnectReasonCode::BadUserNameOrPassword => {
            configuration(format!("it refused the user name or the password{reason}"))
        }
        ConnectReasonCode::NotAuthorized | ConnectReasonCode::Banned => configuration(format!(
            "it refused this client: user name, password or client id are not allowed{reason}"
        )),
        ConnectReasonCode::ClientIdentifierNotValid => {
            configuration(format!("it refused the client id{reason}"))
        }
        ConnectReasonCode::UnsupportedProtocolVersion => {
            configuration("it does not speak MQTT 5; write `protocol v3.1.1`")
        }
        code => {
            let words = words(&format!("{code:?}"));
            Fault::transient(Cause::Other, format!("it refused the connection: {words}{reason}"))
        }
    })
}

fn refused_3(code: ConnectReturnCode) -> Result<(), Fault> {
    Err(match code {
        ConnectReturnCode::Accepted => return Ok(()),
        ConnectReturnCode::BadUserNameOrPassword => {
            configuration("it refused the user name or the password")
        }
        ConnectReturnCode::NotAuthorized => configuration(
            "it refused this client: user name, password or client id are not allowed",
        ),
        ConnectReturnCode::IdentifierRejected => configuration("it refused the client id"),
        ConnectReturnCode::UnacceptableProtocolVersion => {
            configuration("it does not speak MQTT 3.1.1; write `protocol v5`")
        }
        ConnectReturnCode::ServerUnavailable => {
            Fault::transient(Cause::Other, "it refused the connection: it is not available")
        }
    })
}

/// The broker says goodbye.
fn dismissed(code: Option<DisconnectReasonCode>) -> Fault {
    let reason = match code {
        Some(DisconnectReasonCode::SessionTakenOver) => {
            "another client has connected with the same client id".to_owned()
        }
        Some(code) => format!("the broker ended the connection: {}", words(&format!("{code:?}"))),
        None => "the broker ended the connection".to_owned(),
    };
    Fault::transient(Cause::Connect, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_goes_is_told_of_alike_however_the_kernel_says_it() {
        let kinds = [
            ErrorKind::ConnectionReset,
            ErrorKind::ConnectionAborted,
            ErrorKind::BrokenPipe,
            ErrorKind::UnexpectedEof,
        ];
        for kind in kinds {
            assert_eq!(broken(kind.into()), closed(), "{kind}");
        }
        let late = broken(ErrorKind::TimedOut.into());
        assert_eq!((late.cause, late.is_transient()), (Cause::Timeout, true));
    }
}
