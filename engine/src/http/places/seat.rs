//! How far one connection has come.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// A body or an answer under way for less than this is not slow.
const SLOW_AFTER: Duration = Duration::from_secs(2);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeatPhase {
    /// Waits for a request, or for the rest of its head.
    Waiting,
    /// Sends a body.
    Body,
    /// Its request is being answered.
    Answering,
    /// Takes a long answer.
    Writing,
    /// Listens to a stream.
    Streaming,
    /// Showed a wrong token; the answer is held back.
    Held,
    /// Was refused and is heard out.
    Leaving,
}

impl SeatPhase {
    const ALL: [SeatPhase; 7] = [
        SeatPhase::Waiting,
        SeatPhase::Body,
        SeatPhase::Answering,
        SeatPhase::Writing,
        SeatPhase::Streaming,
        SeatPhase::Held,
        SeatPhase::Leaving,
    ];
}

/// One connection's place. It is written by the connection and read by whoever looks for room.
#[derive(Debug)]
pub(crate) struct Seat {
    id: u64,
    address: IpAddr,
    phase: AtomicU8,
    /// When the phase began, in microseconds of the monotonic clock.
    since: AtomicU64,
    has_asked: AtomicBool,
    is_known: AtomicBool,
    bytes: AtomicUsize,
}

impl Seat {
    pub(super) fn new(id: u64, address: IpAddr, now: Duration) -> Self {
        Seat {
            id,
            address,
            phase: AtomicU8::new(SeatPhase::Waiting as u8),
            since: AtomicU64::new(micros(now)),
            has_asked: AtomicBool::new(false),
            is_known: AtomicBool::new(false),
            bytes: AtomicUsize::new(0),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// The connection now does something else.
    pub(crate) fn enter(&self, phase: SeatPhase, now: Duration) {
        self.since.store(micros(now), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// A request was answered.
    pub(crate) fn note_answer(&self) {
        self.has_asked.store(true, Ordering::Relaxed);
    }

    /// The sender has shown a right token or a right signature.
    pub(crate) fn vouch(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    fn phase(&self) -> SeatPhase {
        SeatPhase::ALL[usize::from(self.phase.load(Ordering::Acquire))]
    }

    pub(super) fn is_held(&self) -> bool {
        self.phase() == SeatPhase::Held
    }

    pub(super) fn since(&self) -> u64 {
        self.since.load(Ordering::Relaxed)
    }

    /// How little it would be missed, the least first; `None` when it keeps its place.
    pub(super) fn rank(&self, now: Duration) -> Option<u8> {
        let has_asked = self.has_asked.load(Ordering::Relaxed);
        match self.phase() {
            SeatPhase::Held | SeatPhase::Leaving => Some(0),
            _ if self.is_known() => None,
            SeatPhase::Waiting if !has_asked => Some(1),
            SeatPhase::Waiting => Some(2),
            SeatPhase::Body | SeatPhase::Writing => self.may_be_cut(now).then_some(3),
            SeatPhase::Answering | SeatPhase::Streaming => None,
        }
    }

    /// Whether it has been sending a body or taking an answer for a while.
    pub(super) fn may_be_cut(&self, now: Duration) -> bool {
        matches!(self.phase(), SeatPhase::Body | SeatPhase::Writing)
            && SLOW_AFTER.as_micros() as u64 <= micros(now).saturating_sub(self.since())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add_bytes(&self, more: usize) {
        self.bytes.fetch_add(more, Ordering::AcqRel);
    }

    pub(super) fn take_bytes(&self) -> usize {
        self.bytes.swap(0, Ordering::AcqRel)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
