//! Reads events from standard input until it ends.

use super::lines::{BATCH_MAX, DECODE, Decoding, LineSplitter, SplitLine, is_utf16};
use crate::contract::{
    Brings, Emit, Kind, Message, MessageOrigin, OpenSource, Services, Source, SourceKind,
};
use crate::decode::LineDecoder;
use kernel::env::ThreadPool;
use kernel::fault::{Cause, Fault};
use language::{Context, Fields, NodeRow};
use std::io::Read;
use std::sync::Arc;

/// Bytes asked for at once; what is there is handed on at once.
const PIECE: usize = 64 << 10;

const NODES: &[NodeRow] = &[DECODE];

/// The kind `stdin`.
pub(crate) struct Stdin<R = std::io::Stdin> {
    decoding: Decoding,
    /// Lent to the thread that reads.
    input: Option<R>,
    /// Its own: a read of standard input may never return.
    thread: ThreadPool,
    /// As it is named to people.
    name: Arc<str>,
}

impl Kind for Stdin {
    const WORD: &'static str = "stdin";
    const SUMMARY: &'static str = "reads events from standard input";
    const EXAMPLE: &'static str = "source stdin piped { decode ndjson }";
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = Decoding;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Decoding> {
        Decoding::read(fields, context)
    }
}

impl SourceKind for Stdin {
    fn brings(decoding: &Decoding) -> Brings {
        decoding.brings()
    }

    fn decoder(decoding: &Decoding) -> Option<&LineDecoder> {
        decoding.decoder.as_deref()
    }

    fn is_text(decoding: &Decoding) -> bool {
        decoding.codec.is_text()
    }

    fn messages<'a>(decoding: &Decoding, text: &'a str) -> Vec<&'a str> {
        decoding.messages(text)
    }

    fn ends(_: &Decoding) -> bool {
        true
    }

    async fn open(decoding: Decoding, _: Services) -> Result<OpenSource, Fault> {
        Ok(OpenSource::Task(Box::new(Stdin::new(decoding, std::io::stdin()))))
    }
}

impl<R: Read + Send + 'static> Source for Stdin<R> {
    async fn run(&mut self, emit: &dyn Emit) -> Result<(), Fault> {
        let mut splitter = LineSplitter::default();
        // When it is time to stop, the thread stays in its read until something comes: a read of
        // standard input cannot be taken back.
        while let Some(mut input) = self.input.take() {
            let mut piece = vec![0; PIECE];
            let read = self.thread.run(move || {
                let count = read_some(&mut input, &mut piece);
                (input, piece, count)
            });
            let read = smol::future::or(async { Some(read.await) }, async {
                emit.closed().await;
                None
            });
            let Some(read) = read.await else { return Ok(()) };
            let (input, piece, count) = read?;
            let count = count.map_err(|fault| {
                Fault::transient(Cause::Other, format!("cannot read standard input: {fault}"))
            })?;
            let messages = self.messages(&mut splitter, &piece[..count]);
            if hand_on(messages, emit).await.is_err() {
                return Ok(());
            }
            self.input = (0 < count).then_some(input);
        }
        Ok(())
    }
}

impl<R> Stdin<R> {
    fn new(decoding: Decoding, input: R) -> Self {
        let (thread, name) = (ThreadPool::new("stdin", 1), "standard input".into());
        Stdin { decoding, input: Some(input), thread, name }
    }

    /// What a piece completes; an empty one is the end.
    fn messages(&self, splitter: &mut LineSplitter, piece: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        let take = |line: SplitLine<'_>| messages.extend(self.message(&line));
        match (piece.is_empty(), self.decoding.codec.is_by_line()) {
            (true, _) => splitter.finish(take),
            (false, true) => splitter.push(piece, take),
            (false, false) => splitter.push_whole(piece),
        }
        messages
    }

    fn message(&self, line: &SplitLine<'_>) -> Option<Message> {
        let is_header = self.decoding.has_header && line.number == 1;
        let codec = self.decoding.codec;
        let is_undecodable = line.is_cut || is_utf16(line.text);
        let mut message = codec.message(line.text, is_undecodable)?;
        message.origin = Some(MessageOrigin {
            name: self.name.clone(),
            line: codec.is_by_line().then_some(line.number),
            offset: line.offset,
        });
        (!is_header).then_some(message)
    }
}

async fn hand_on(
    mut messages: Vec<Message>,
    emit: &dyn Emit,
) -> Result<(), crate::contract::Closed> {
    while !messages.is_empty() {
        let rest = messages.split_off(messages.len().min(BATCH_MAX));
        emit.emit(messages, Vec::new()).await?;
        messages = rest;
    }
    Ok(())
}

fn read_some(input: &mut impl Read, piece: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match input.read(piece) {
            Err(fault) if fault.kind() == std::io::ErrorKind::Interrupted => {}
            settled => return settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Inbox};

    fn bodies(decode: &str, input: &'static [u8]) -> Vec<String> {
        let inbox = Inbox::open();
        let mut source = Stdin::new(testing::settings::<Stdin>(decode), input);
        smol::block_on(Source::run(&mut source, &inbox)).unwrap();
        inbox.bodies()
    }

    #[test]
    fn each_line_is_an_event_and_the_end_ends_the_last() {
        assert_eq!(bodies("decode ndjson", b"{\"a\":1}\n\n{\"a\":2}"), ["{\"a\":1}", "{\"a\":2}"]);
        assert_eq!(bodies("decode json", b"{\n\"a\":1}\n"), ["{\n\"a\":1}\n"]);
        assert_eq!(bodies("decode ndjson", b""), Vec::<String>::new());
    }

    #[test]
    fn a_mark_is_skipped_and_each_line_knows_its_place() {
        assert_eq!(bodies("decode json", b"\xef\xbb\xbf{}"), ["{}"]);
        let inbox = Inbox::open();
        let mut source =
            Stdin::new(testing::settings::<Stdin>("decode text"), &b"\xef\xbb\xbfone\n\ntwo"[..]);
        smol::block_on(Source::run(&mut source, &inbox)).unwrap();
        let batches = inbox.batches.lock().unwrap();
        let origins =
            batches.iter().flatten().map(|batch| batch.origin.as_ref().unwrap().to_string());
        let expected = ["standard input, line 1, byte 3", "standard input, line 3, byte 8"];
        assert_eq!(origins.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_header_is_not_a_message() {
        let csv = "decode csv {\ncolumns a b\nheader\n}";
        assert_eq!(bodies(csv, b"a,b\n1,2\na,b\n"), ["1,2", "a,b"]);
    }

    #[test]
    fn many_lines_go_on_in_batches() {
        let inbox = Inbox::open();
        let input: &[u8] = Box::leak("1\n".repeat(1200).into_bytes().into_boxed_slice());
        let codec = testing::settings::<Stdin>("decode ndjson");
        let mut source = Stdin::new(codec, input);
        smol::block_on(Source::run(&mut source, &inbox)).unwrap();
        let sizes: Vec<usize> = inbox.batches.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(sizes, [512, 512, 176]);
    }
}
