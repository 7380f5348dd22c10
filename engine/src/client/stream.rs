//! Server-sent events, taken apart.

/// The longest event, in bytes.
const EVENT_MAX: usize = 64 << 20;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct StreamEvent {
    /// What it is, such as `event` or `gap`.
    pub(crate) name: String,
    /// Where a later request goes on; as it was sent last.
    pub(crate) id: String,
    pub(crate) data: String,
}

/// Reads a stream that comes in any pieces.
#[derive(Debug, Default)]
pub(crate) struct StreamReader {
    /// What has come of a line that is not complete.
    line: Vec<u8>,
    /// What has come of the next event.
    next: StreamEvent,
    has_data: bool,
}

impl StreamReader {
    /// The events that `part` completes; `None` where one is too long.
    pub(crate) fn read(&mut self, part: &[u8]) -> Option<Vec<StreamEvent>> {
        let mut events = Vec::new();
        let mut lines = part.split(|part| *part == b'\n').peekable();
        while let Some(line) = lines.next() {
            self.line.extend_from_slice(line);
            if EVENT_MAX < self.line.len() + self.next.data.len() {
                return None;
            }
            if lines.peek().is_some() {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                events.extend(self.take_line(line.strip_suffix('\r').unwrap_or(&line)));
            }
        }
        Some(events)
    }

    fn take_line(&mut self, line: &str) -> Option<StreamEvent> {
        if line.is_empty() {
            let id = self.next.id.clone();
            let event = std::mem::replace(&mut self.next, StreamEvent { id, ..<_>::default() });
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.next.name),
            "id" => value.clone_into(&mut self.next.id),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.next.data.push('\n');
                }
                self.next.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_means_the_same_in_whatever_pieces() {
        let text = "retry: 2000\n\n:\n\nid: 7\nevent: event\ndata: {\"a\":1}\n\n\
                    event: gap\r\ndata:x\r\ndata: y\r\n\r\ndata\n\nid: 9\n\n";
        let event = |name: &str, id: &str, data: &str| StreamEvent {
            name: name.to_owned(),
            id: id.to_owned(),
            data: data.to_owned(),
        };
        let expected =
            [event("event", "7", "{\"a\":1}"), event("gap", "7", "x\ny"), event("", "7", "")];
        for size in 1..text.len() {
            let mut reader = StreamReader::default();
            let parts = text.as_bytes().chunks(size);
            let events: Vec<_> = parts.flat_map(|part| reader.read(part).unwrap()).collect();
            assert_eq!(events, expected, "in pieces of {size}");
            assert_eq!(reader.next.id, "9");
        }
    }

    #[test]
    fn an_event_without_an_end_is_not_kept() {
        let mut reader = StreamReader::default();
        let part = vec![b'x'; 1 << 20];
        let taken = (0..100).take_while(|_| reader.read(&part).is_some()).count();
        assert_eq!(taken, EVENT_MAX >> 20);
    }
}
