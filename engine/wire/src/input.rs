//! Bytes that have arrived and are not understood yet.

/// Room for the first bytes; enough for most answers.
const LENGTH_MIN: usize = 4 << 10;
/// Most bytes kept; what cannot be understood with as many is not valid.
pub(super) const LENGTH_MAX: usize = 64 << 10;

/// A buffer that grows up to [`LENGTH_MAX`].
pub(super) struct InputBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    is_untouched: bool,
}

impl InputBuffer {
    pub(super) fn new() -> Self {
        InputBuffer { bytes: vec![0; LENGTH_MIN], start: 0, end: 0, is_untouched: true }
    }

    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.end, "consumed more than there is");
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Whether nothing has ever arrived.
    pub(super) fn is_untouched(&self) -> bool {
        self.is_untouched
    }

    /// Room for more; empty when the buffer is full of what nobody could consume.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    /// So many bytes were put into [`space`](Self::space); gives them back.
    pub(super) fn filled(&mut self, count: usize) -> &[u8] {
        let start = self.end;
        self.end += count;
        assert!(self.end <= self.bytes.len(), "more bytes than there was room for");
        self.is_untouched &= count == 0;
        // A read that fills the room promises more of the same.
        if self.end == self.bytes.len() && self.end < LENGTH_MAX {
            self.bytes.resize(self.end * 2, 0);
        }
        &self.bytes[start..self.end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_its_limit_and_then_has_no_room() {
        let mut input = InputBuffer::new();
        assert!(input.is_untouched());
        let mut length = 0;
        while !input.space().is_empty() {
            let count = input.space().len();
            input.space().fill(b'x');
            assert_eq!(input.filled(count).len(), count);
            length += count;
        }
        assert_eq!((length, input.unread().len()), (LENGTH_MAX, LENGTH_MAX));
        assert!(!input.is_untouched());
    }

    #[test]
    fn what_is_consumed_makes_room_and_the_rest_stays_in_order() {
        let mut input = InputBuffer::new();
        let (mut sent, mut seen) = (0_u8, 0_u8);
        for round in 0..200_000 {
            let count = input.space().len().min(round % 7);
            for byte in &mut input.space()[..count] {
                (*byte, sent) = (sent, sent.wrapping_add(1));
            }
            input.filled(count);
            let taken = input.unread().len().min(round % 5);
            for byte in &input.unread()[..taken] {
                assert_eq!(*byte, seen);
                seen = seen.wrapping_add(1);
            }
            input.consume(taken);
        }
    }
}
