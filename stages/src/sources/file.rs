//! Reads events out of files, and remembers how far, so that nothing is read twice.
//!
//! What is remembered stands under the file's device and inode: a rotated file keeps its place
//! under its new name. How one file is read stands in [`tail`].

mod tail;

use super::lines::{BATCH_MAX, Codec, DECODE};
use crate::contract::{
    Brings, Cause, Closed, Emit, Fault, Kind, OpenSource, Services, Source, SourceKind,
};
use crate::env::NoThread;
use crate::expr::Shape;
use crate::language::{Arg, Context, Fields, Node, Type};
use crate::literal::literal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tail::{Read, Tail};

/// Time between two looks at the files that are followed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

const NODES: &[Node] = &[
    Node::new("path", "the files, `*` for any run of characters; read in the order of their names")
        .args(&[Arg::one("path", Type::Glob)])
        .required(),
    Node::flag("follow", "waits for more, like tail -F"),
    DECODE,
    Node::new("type", "the type of every event, where `map` gives none")
        .args(&[Arg::one("type", Type::Text)]),
];

/// The kind `file`.
pub(super) struct File {
    settings: Settings,
    tails: Vec<Tail>,
    services: Services,
}

/// Which files, and what an event is in them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pattern: PathBuf,
    follow: bool,
    codec: Codec,
    kind: Option<Arc<str>>,
}

impl Kind for File {
    const WORD: &'static str = "file";
    const SUMMARY: &'static str = "reads events out of files";
    const NODES: &'static [&'static [Node]] = &[NODES];
    type Settings = Settings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Settings> {
        let path = fields.child("path").and_then(|it| literal(&it.arg(0)?, context.diagnostics));
        let kind = fields.child("type").and_then(|it| literal(&it.arg(0)?, context.diagnostics));
        let path = path?;
        if let Err(fault) = glob::Pattern::new(&path.value) {
            context
                .diagnostics
                .push(crate::diagnostic::Rule::WrongArgument, "this pattern cannot be read")
                .at(path.span, fault.msg);
            return None;
        }
        Some(Settings {
            pattern: fields.folder().join(path.value),
            follow: fields.is_on("follow"),
            codec: Codec::read(fields)?,
            kind: kind.map(|it| it.value.into()),
        })
    }
}

impl SourceKind for File {
    fn brings(settings: &Settings) -> Brings {
        Brings { message: Shape::any(), kind: settings.kind.clone() }
    }

    fn ends(settings: &Settings) -> bool {
        !settings.follow
    }

    async fn open(settings: Settings, services: Services) -> Result<OpenSource, Fault> {
        Ok(OpenSource::Task(Box::new(File { settings, tails: Vec::new(), services })))
    }
}

/// Why a look at the files ended early.
enum Stop {
    Closed,
    Fault(Fault),
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Stop::Closed
    }
}

impl From<std::io::Error> for Stop {
    fn from(fault: std::io::Error) -> Self {
        Stop::Fault(Fault::transient(Cause::Other, format!("cannot read a file: {fault}")))
    }
}

impl From<NoThread> for Stop {
    fn from(fault: NoThread) -> Self {
        Stop::Fault(fault.into())
    }
}

impl Source for File {
    async fn run(&mut self, emit: &dyn Emit) -> Result<(), Fault> {
        let clock = self.services.env.clock.clone();
        loop {
            match self.look(emit).await {
                Ok(()) if self.settings.follow => {}
                Ok(()) | Err(Stop::Closed) => return Ok(()),
                Err(Stop::Fault(fault)) => return Err(fault),
            }
            let is_open = async {
                clock.sleep(LOOK_EVERY).await;
                true
            };
            let closed = async {
                emit.closed().await;
                false
            };
            if !smol::future::or(closed, is_open).await {
                return Ok(());
            }
        }
    }
}

impl File {
    /// Reads all that is there, in the order of the names.
    async fn look(&mut self, emit: &dyn Emit) -> Result<(), Stop> {
        let threads = self.services.env.pools.files.clone();
        let pattern = self.settings.pattern.clone();
        let is_follow = self.settings.follow;
        let paths = threads.run(move || paths_of(&pattern, is_follow)).await?;
        let paths = paths.map_err(Stop::Fault)?;
        let mut tails = Vec::new();
        // What was rotated away is read to its end before what took its name.
        for tail in std::mem::take(&mut self.tails) {
            let (tail, is_current) = threads.run(move || tail.looked_up()).await?;
            match is_current {
                true => tails.push(tail),
                false => drop(self.drain(tail, emit, true).await?),
            }
        }
        for path in paths {
            if !tails.iter().any(|it| it.path == path)
                && let Some(tail) = threads.run(move || Tail::open(path)).await??
            {
                let state = emit.recall(&tail.key).await;
                tails.push(threads.run(move || tail.resumed(state.as_deref())).await??);
            }
        }
        tails.sort_by(|a, b| a.path.cmp(&b.path));
        let follow = self.settings.follow;
        for tail in tails {
            let tail = self.drain(tail, emit, !follow).await?;
            self.tails.push(tail);
        }
        Ok(())
    }

    /// Hands on what a file holds behind its place. `is_final`: its end ends its last line.
    async fn drain(&self, tail: Tail, emit: &dyn Emit, is_final: bool) -> Result<Tail, Stop> {
        let (codec, kind) = (self.settings.codec, self.settings.kind.clone());
        let mut tail = tail;
        loop {
            let kind = kind.clone();
            let read = move || {
                let read = tail.read(codec, kind.as_ref(), is_final);
                (tail, read)
            };
            let (back, read) = self.services.env.pools.files.run(read).await?;
            tail = back;
            let Read { mut lines, is_end } = read?;
            while !lines.is_empty() {
                let rest = lines.split_off(lines.len().min(BATCH_MAX));
                let end = lines.last().map_or(tail.offset, |it| it.1);
                let messages = lines.into_iter().filter_map(|it| it.0).collect();
                emit.emit(messages, vec![(tail.key.clone(), tail.state(end))]).await?;
                tail.offset = end;
                lines = rest;
            }
            if is_end {
                return Ok(tail);
            }
        }
    }
}

/// The files that fit, by name. A single file that is not there is a fault, unless it is waited
/// for.
fn paths_of(pattern: &Path, is_follow: bool) -> Result<Vec<PathBuf>, Fault> {
    let text = pattern.to_string_lossy();
    let found = glob::glob(&text)
        .map_err(|it| Fault::permanent(format!("the pattern cannot be read: {it}")))?;
    let mut paths: Vec<PathBuf> = found.flatten().filter(|it| it.is_file()).collect();
    paths.sort();
    if paths.is_empty() && !is_follow && !text.contains(['*', '?', '[']) {
        return Err(Fault::permanent(format!("there is no file {text}")));
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Inbox};
    use std::fs;

    fn run(text: &str, folder: &Path, inbox: &Inbox) {
        let text = format!("{text}\ntype t");
        let (settings, found) = testing::read_in::<File>(&text, folder, &[]);
        assert_eq!(found, Vec::<String>::new());
        let opened = smol::block_on(File::open(settings.unwrap(), testing::alone())).unwrap();
        let OpenSource::Task(mut source) = opened else { panic!("it runs by itself") };
        smol::block_on(source.run(inbox)).unwrap();
    }

    #[test]
    fn files_are_read_by_name_and_not_twice() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.jsonl"), "3\n").unwrap();
        fs::write(folder.path().join("a.jsonl"), "1\n\n2\n").unwrap();
        let inbox = Inbox::open();
        run("path \"*.jsonl\"", folder.path(), &inbox);
        assert_eq!(inbox.bodies(), ["1", "2", "3"]);
        run("path \"*.jsonl\"", folder.path(), &inbox);
        assert_eq!(inbox.bodies().len(), 3);
        fs::write(folder.path().join("a.jsonl"), "1\n\n2\n4\n").unwrap();
        run("path \"*.jsonl\"", folder.path(), &inbox);
        assert_eq!(inbox.bodies(), ["1", "2", "3", "4"]);
        fs::write(folder.path().join("a.jsonl"), "5\n6\n7\n8\n9\n").unwrap();
        run("path \"*.jsonl\"", folder.path(), &inbox);
        assert_eq!(inbox.bodies()[4..], ["5", "6", "7", "8", "9"]);
    }

    #[test]
    fn a_source_that_was_stopped_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let text: String = (0..1300).map(|it| format!("{it}\n")).collect();
        fs::write(folder.path().join("f"), text).unwrap();
        let mut inbox = Inbox::closing_after(1);
        run("path \"f\"", folder.path(), &inbox);
        assert_eq!(inbox.bodies().len(), 512);
        inbox.batches_max = usize::MAX;
        run("path \"f\"", folder.path(), &inbox);
        let expected: Vec<String> = (0..1300).map(|it| it.to_string()).collect();
        assert_eq!(inbox.bodies(), expected);
    }

    #[test]
    fn a_whole_file_can_be_one_event() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "{\n\"a\":1}\n").unwrap();
        let inbox = Inbox::open();
        run("path \"f\"\ndecode json", folder.path(), &inbox);
        run("path \"f\"\ndecode json", folder.path(), &inbox);
        assert_eq!(inbox.bodies(), ["{\n\"a\":1}\n"]);
    }

    #[test]
    fn a_followed_file_may_be_rotated_and_truncated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let settings = Settings {
            pattern: path.clone(),
            follow: true,
            codec: Codec::Ndjson,
            kind: Some("t".into()),
        };
        let inbox = Inbox::open();
        let mut source = File { settings, tails: Vec::new(), services: testing::alone() };
        let mut look = |inbox: &Inbox| smol::block_on(source.look(inbox)).is_ok();
        assert!(look(&inbox));
        fs::write(&path, "1\n2").unwrap();
        assert!(look(&inbox) && inbox.bodies() == ["1"]);
        fs::write(&path, "1\n2\n3\n").unwrap();
        fs::rename(&path, folder.path().join("f.1")).unwrap();
        fs::write(&path, "4\n").unwrap();
        assert!(look(&inbox) && look(&inbox));
        assert_eq!(inbox.bodies(), ["1", "2", "3", "4"]);
        fs::write(&path, "5\n").unwrap();
        assert!(look(&inbox));
        assert_eq!(inbox.bodies()[4..], ["5"]);
    }
}
