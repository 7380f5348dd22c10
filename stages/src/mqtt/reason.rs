//! Reads along with what a broker of MQTT 5 sends, and gives an acknowledgement whose reason the
//! standard does not list for it one that is listed.
//!
//! mosquitto refuses what is beyond its `message_size_limit` with such a reason. The state machine
//! takes it for the end of the connection, and the message would end every connection that it is
//! sent on, together with those beside it.

use std::collections::HashMap;

const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
/// Reasons that the standard lists for both, from 0x80 on.
const LISTED: [u8; 7] = [UNSPECIFIED, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const UNSPECIFIED: u8 = 0x80;
/// Bits of the length of a packet: four bytes of seven.
const LENGTH_BITS: u32 = 28;

/// Where in the stream of packets it is, and what it has replaced.
#[derive(Debug, Default)]
pub(super) struct ReasonFilter {
    place: PacketPlace,
    /// The broker's reasons, by the number of the message.
    replaced: HashMap<u16, u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum PacketPlace {
    #[default]
    Head,
    Length {
        kind: u8,
        size: usize,
        bits: u32,
    },
    Body {
        kind: u8,
        /// Bytes of it that came.
        at: usize,
        size: usize,
        id: u16,
    },
    /// What comes is no stream of packets, as the state machine will find.
    Lost,
}

impl ReasonFilter {
    /// Goes over the next bytes, wherever they were cut.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while let Some(first) = rest.first_mut() {
            let mut taken = 1;
            self.place = match self.place {
                PacketPlace::Head => PacketPlace::Length { kind: *first >> 4, size: 0, bits: 0 },
                PacketPlace::Length { bits: LENGTH_BITS, .. } | PacketPlace::Lost => {
                    PacketPlace::Lost
                }
                PacketPlace::Length { kind, size, bits } => {
                    let size = size | usize::from(*first & 0x7f) << bits;
                    match (*first < 0x80, size) {
                        (false, _) => PacketPlace::Length { kind, size, bits: bits + 7 },
                        (true, 0) => PacketPlace::Head,
                        (true, _) => PacketPlace::Body { kind, at: 0, size, id: 0 },
                    }
                }
                PacketPlace::Body { kind: kind @ (PUBACK | PUBREC), at: at @ 0..3, size, id } => {
                    let id = match at {
                        2 => self.checked(id, first),
                        _ => id << 8 | u16::from(*first),
                    };
                    body(kind, at + 1, size, id)
                }
                PacketPlace::Body { kind, at, size, id } => {
                    taken = rest.len().min(size - at);
                    body(kind, at + taken, size, id)
                }
            };
            rest = &mut rest[taken..];
        }
    }

    /// Replaces a reason that is not listed.
    fn checked(&mut self, id: u16, reason: &mut u8) -> u16 {
        if 0x80 <= *reason && !LISTED.contains(reason) {
            self.replaced.insert(id, *reason);
            *reason = UNSPECIFIED;
        }
        id
    }

    /// The broker's own reason for a message, where it was replaced.
    pub(super) fn take(&mut self, id: u16) -> Option<u8> {
        self.replaced.remove(&id)
    }
}

fn body(kind: u8, at: usize, size: usize, id: u16) -> PacketPlace {
    match at == size {
        true => PacketPlace::Head,
        false => PacketPlace::Body { kind, at, size, id },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A packet with as many bytes after its number and reason.
    fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind << 4];
        let mut size = body.len();
        loop {
            let more = if size < 0x80 { 0 } else { 0x80 };
            bytes.push(u8::try_from(size % 0x80).expect("seven bits") | more);
            size /= 0x80;
            if size == 0 {
                break;
            }
        }
        bytes.extend(body);
        bytes
    }

    proptest! {
        #[test]
        fn only_reasons_that_are_not_listed_are_replaced_wherever_it_is_cut(
            packets in prop::collection::vec(
                (2_u8..8, prop::collection::vec(any::<u8>(), 0..300)), 1..12),
            cuts in prop::collection::vec(1_usize..90, 1..20),
        ) {
            let (mut sent, mut expected) = (Vec::new(), Vec::new());
            let mut reasons = HashMap::new();
            for (kind, mut body) in packets {
                sent.extend(packet(kind, &body));
                if [PUBACK, PUBREC].contains(&kind) && 3 <= body.len() {
                    let (id, reason) = (u16::from_be_bytes([body[0], body[1]]), body[2]);
                    if 0x80 <= reason && ![0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99].contains(&reason) {
                        reasons.insert(id, reason);
                        body[2] = 0x80;
                    }
                }
                expected.extend(packet(kind, &body));
            }
            let mut filter = ReasonFilter::default();
            let (mut rest, mut cuts) = (&mut sent[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, later) = rest.split_at_mut(rest.len().min(*cuts.next().expect("more")));
                filter.pass(piece);
                rest = later;
            }
            prop_assert_eq!((sent, filter.place), (expected, PacketPlace::Head));
            for (id, reason) in reasons {
                prop_assert_eq!((filter.take(id), filter.take(id)), (Some(reason), None));
            }
        }

        #[test]
        fn nothing_that_comes_is_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut passed = bytes.clone();
            ReasonFilter::default().pass(&mut passed);
            prop_assert_eq!(passed.len(), bytes.len());
        }
    }
}
