//! Reads events from files and remembers how far, so that each complete line is an event once.
//!
//! Files are looked at several times a second: the pattern is walked, and what has changed is read.
//! Polling misses nothing and works on every file system; hints of the kernel would need it as a
//! net anyway.
//!
//! # What a file is
//!
//! A file has a number, under which its place is remembered. Everything else about it may change:
//! rotation renames it or copies it, an editor writes it again under the same name with another
//! inode, a restart changes the number of its device, and a deleted file's inode is used again at
//! once. So each place carries two hashes: of the file's first bytes, and of the last lines before
//! the place. Whoever meets a file compares them before a byte is read.
//!
//! - A known device and inode, with the same content: the same file, whatever its name.
//! - Content that is not what was read: the file was truncated and begun again, or an editor wrote
//!   it anew. It is judged when it has stopped changing: where the last lines that were read are
//!   found, reading goes on after them; else from the beginning. What was not read before may be
//!   in a copy beside it, which then goes on at the old place.
//! - A file at the path of another one: read from the beginning where the other one lives on under a
//!   rotated name, and on from its place where it was deleted or became an editor's backup and the
//!   content is the same. Either way after the other one was read to its end.
//! - A new file whose name is a rotated one's, and whose content is what was read: a copy. Its lines
//!   come from the original for as long as that is there.
//!
//! [`decide`] is the table of all that. [`roster`] tells files apart, [`judge`] settles what had to
//! wait, [`work`] reads and keeps files open, [`read`] reads one, [`state`] is what is remembered.
//!
//! # When a line is complete
//!
//! When its line end is there. With `lines`, an event of several lines is complete when the next one
//! begins or nothing was written for a while; until then its place is its first line, so a restart
//! reads it again. The rest at the end of a file is a line only when nobody can
//! complete it: the source does not follow, the file was deleted, or it left the pattern and was
//! not written for ten minutes.
//!
//! # What is not promised
//!
//! Rotation by copying loses what is written between the copy and the truncation. A file that moves
//! to another folder, outside the pattern, while the engine is stopped is not found again.

mod decide;
mod encoding;
mod grouping;
mod identity;
mod judge;
mod names;
mod place;
mod read;
mod roster;
mod state;
mod track;
mod trouble;
mod walk;
mod work;

use super::lines::{DECODE, Decoding};
use crate::contract::{
    Brings, Closed, Emit, Kind, Message, OpenSource, Services, Source, SourceKind,
};
use crate::decode::LineDecoder;
use grouping::{LINES, LineGrouping};
use kernel::env::{Env, NoThread};
use kernel::fault::{Cause, Fault};
use kernel::health::HealthProblem;
use language::diagnostic::Rule;
use language::literal::literal;
use language::spanned::Spanned;
use language::{Arg, Context, Fields, NodeRow, Scalar, ValueKind};
use place::FilePlace;
use read::ReadSettings;
use roster::FileRoster;
use smol::future::or;
use std::time::Duration;
use walk::PathPattern;
use work::FileBatch;

/// The shortest time between two looks at the files.
const LOOK_MIN: Duration = Duration::from_millis(200);
/// The longest.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// Looks take at most this share of the time: one in so many.
const LOOK_SHARE: u32 = 100;
/// A file system that does not answer for this long is reported.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const NO_ANSWER: &str = "no-answer";

const NODES: &[NodeRow] = &[
    NodeRow::new(
        "path",
        "the files, where `*` matches any characters; read in the order of their names",
    )
    .examples(&[r#"path "inbox/*.ndjson""#])
    .args(&[Arg::one("path", ValueKind::Glob)])
    .required(),
    NodeRow::flag("follow", "keeps reading as the files grow, like `tail -F`")
        .examples(&["follow", "follow #false"]),
    DECODE,
    LINES,
];

/// The kind `file`.
pub(super) struct File {
    settings: FileSourceSettings,
    services: Services,
}

/// Which files, and what an event is in them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FileSourceSettings {
    pattern: PathPattern,
    follow: bool,
    read: Decoding,
    grouping: Option<LineGrouping>,
}

impl Kind for File {
    const WORD: &'static str = "file";
    const SUMMARY: &'static str = "reads events from files";
    const EXAMPLE: &'static str = r#"source file log { path "inbox/*.ndjson"; follow }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = FileSourceSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<FileSourceSettings> {
        // Both are read before either is unwrapped, so one check reports both mistakes.
        let decoding = Decoding::read(fields, context);
        let codec = fields.setting("decode").arg(0, Scalar::choice);
        let grouping = LineGrouping::read(fields, codec, context);
        let path =
            fields.child("path").and_then(|child| literal(&child.arg(0)?, context.diagnostics));
        let path = path?;
        let pattern = match PathPattern::new(fields.folder(), &path.value) {
            Ok(pattern) => pattern,
            Err(fault) => {
                context
                    .diagnostics
                    .push(Rule::WrongArgument, "this pattern cannot be read")
                    .at(path.span, fault.msg);
                return None;
            }
        };
        if let Some(only) = pattern.exact() {
            context.expect_no_folder(&only, &path.span, "inbox/*.ndjson");
        }
        report_braces(&path, context);
        let follow = fields.is_on("follow");
        Some(FileSourceSettings { pattern, follow, read: decoding?, grouping: grouping.ok()? })
    }
}

/// `{a,b}` is a choice for a shell, and a name here.
fn report_braces(path: &Spanned<String>, context: &mut Context<'_>) {
    let Some((_, behind)) = path.value.split_once('{') else { return };
    let Some((inside, _)) = behind.split_once('}') else { return };
    if inside.contains(',') {
        context
            .diagnostics
            .push(Rule::WrongArgument, format!("`{{{inside}}}` is not a choice here"))
            .at(path.span.clone(), "no shell expands it")
            .help("write a `source file` for each, or a pattern with `*`");
    }
}

impl SourceKind for File {
    fn brings(settings: &FileSourceSettings) -> Brings {
        settings.read.brings()
    }

    fn decoder(settings: &FileSourceSettings) -> Option<&LineDecoder> {
        settings.read.decoder.as_deref()
    }

    fn is_text(settings: &FileSourceSettings) -> bool {
        settings.read.codec.is_text()
    }

    fn messages<'a>(settings: &FileSourceSettings, text: &'a str) -> Vec<&'a str> {
        match &settings.grouping {
            Some(grouping) => grouping.groups(text, settings.read.has_header),
            None => settings.read.messages(text),
        }
    }

    fn ends(settings: &FileSourceSettings) -> bool {
        !settings.follow
    }

    async fn open(settings: FileSourceSettings, services: Services) -> Result<OpenSource, Fault> {
        let pattern = settings.pattern.apart_from(services.store.clone());
        let settings = FileSourceSettings { pattern, ..settings };
        let (pattern, is_follow) = (settings.pattern.clone(), settings.follow);
        let fault = services.env.pools.files.run(move || pattern.fault(is_follow)).await?;
        if let Some(reason) = fault {
            return Err(Fault::permanent(reason));
        }
        Ok(OpenSource::Task(Box::new(File { settings, services })))
    }
}

/// Why a run ends early.
#[derive(Debug)]
enum ReadStop {
    Closed,
    Fault(Fault),
}

impl From<Closed> for ReadStop {
    fn from(_: Closed) -> Self {
        ReadStop::Closed
    }
}

impl From<NoThread> for ReadStop {
    fn from(fault: NoThread) -> Self {
        ReadStop::Fault(fault.into())
    }
}

impl Source for File {
    async fn run(&mut self, emit: &dyn Emit) -> Result<(), Fault> {
        // What is remembered is read at every run: one that was dropped midway leaves nothing
        // behind but what was committed.
        let run = async {
            let rows = emit.recall().await?;
            FileRun::new(&self.settings, &self.services, emit, &rows).run().await
        };
        match run.await {
            Ok(()) | Err(ReadStop::Closed) => Ok(()),
            Err(ReadStop::Fault(fault)) => Err(fault),
        }
    }
}

/// One run of the source.
struct FileRun<'a> {
    services: &'a Services,
    emit: &'a dyn Emit,
    is_follow: bool,
    /// Lent to the thread that looks and reads.
    roster: Option<FileRoster>,
    next_look: Duration,
}

/// What is handed on at once, and the place after it.
struct FileStep {
    messages: Vec<Message>,
    rows: Vec<(String, String)>,
    after: Option<(u64, FilePlace)>,
}

impl<'a> FileRun<'a> {
    fn new(
        settings: &FileSourceSettings,
        services: &'a Services,
        emit: &'a dyn Emit,
        rows: &[(String, String)],
    ) -> Self {
        let FileSourceSettings { pattern, follow, read, grouping } = settings.clone();
        let read = ReadSettings::of(&read, grouping);
        let health = services.health.clone();
        let roster = Some(FileRoster::new(pattern, read, follow, health, rows));
        FileRun { services, emit, is_follow: follow, roster, next_look: Duration::ZERO }
    }

    async fn run(&mut self) -> Result<(), ReadStop> {
        loop {
            self.look().await?;
            while let Some(step) = self.work(next_step).await? {
                self.hand_on(step).await?;
                // Otherwise a long file would keep others from being noticed.
                if self.is_follow && self.next_look <= self.now() {
                    self.look().await?;
                }
            }
            if !self.is_follow
                && let Some(result) = self.work(|roster, _| end_of(roster)).await?
            {
                return result.map_err(ReadStop::Fault);
            }
            self.pause().await?;
        }
    }

    /// Looks which files there are. Looks are rarer where they take long.
    async fn look(&mut self) -> Result<(), ReadStop> {
        let clock = self.services.env.clock.clone();
        let took = self.work(move |roster, now| {
            roster.look(now);
            clock.monotonic().saturating_sub(now)
        });
        let pause = (took.await? * LOOK_SHARE).clamp(LOOK_MIN, LOOK_MAX);
        self.next_look = self.now() + pause;
        Ok(())
    }

    /// Hands on, and looks while the store takes its time: files are rotated meanwhile.
    async fn hand_on(&mut self, step: FileStep) -> Result<(), ReadStop> {
        let mut emission = self.emit.emit(step.messages, step.rows);
        loop {
            let taken = async { Some((&mut emission).await) };
            let wait = async {
                match self.is_follow {
                    true => self.until_look().await,
                    false => std::future::pending().await,
                }
                None
            };
            match or(taken, wait).await {
                Some(taken) => break taken?,
                None => self.look().await?,
            }
        }
        if let Some((number, place)) = step.after {
            self.work(move |roster, _| roster.commit(number, place)).await?;
        }
        Ok(())
    }

    async fn pause(&self) -> Result<(), ReadStop> {
        let closed = async {
            self.emit.closed().await;
            Err(ReadStop::Closed)
        };
        let over = async {
            self.until_look().await;
            Ok(())
        };
        or(closed, over).await
    }

    async fn until_look(&self) {
        let pause = self.next_look.saturating_sub(self.now());
        self.services.env.clock.sleep(pause).await;
    }

    fn now(&self) -> Duration {
        self.services.env.clock.monotonic()
    }

    /// Does something with the files, on a thread that may block.
    async fn work<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&mut FileRoster, Duration) -> T + Send + 'static,
    ) -> Result<T, ReadStop> {
        let mut roster = self.roster.take().expect("it is lent to one job at a time");
        let Env { clock, pools, .. } = self.services.env.clone();
        let job = async {
            let done = pools.files.run(move || {
                let output = job(&mut roster, clock.monotonic());
                (roster, output)
            });
            Ok(done.await?)
        };
        let closed = async {
            self.emit.closed().await;
            Err(ReadStop::Closed)
        };
        let (roster, output) = or(job, or(closed, self.complain())).await?;
        self.services.health.clear(NO_ANSWER);
        self.roster = Some(roster);
        Ok(output)
    }

    /// Says so when the file system does not answer. Never ends.
    async fn complain<T>(&self) -> Result<T, ReadStop> {
        self.services.env.clock.sleep(ANSWER_MAX).await;
        let reason = format!("the file system has not answered for {} s", ANSWER_MAX.as_secs());
        let problem = HealthProblem::failed(NO_ANSWER, reason);
        self.services.health.report(problem.advise("check the disk or the network share"));
        std::future::pending().await
    }
}

/// What is to be handed on next; `None` when there is nothing for now.
fn next_step(roster: &mut FileRoster, now: Duration) -> Option<FileStep> {
    let batch = roster.next(now);
    let mut rows = roster.rows();
    let Some(batch) = batch else {
        let step = FileStep { messages: Vec::new(), rows, after: None };
        return Some(step).filter(|step| !step.rows.is_empty());
    };
    rows.extend(roster.row_of(&batch));
    let FileBatch { number, messages, place, .. } = batch;
    Some(FileStep { messages, rows, after: Some((number, place)) })
}

/// How a source ends that does not follow its files; `None` when there is more to wait for.
fn end_of(roster: &FileRoster) -> Option<Result<(), Fault>> {
    if let Some(path) = roster.missing() {
        return Some(Err(Fault::permanent(format!("there is no file {}", path.display()))));
    }
    let is_done = roster.is_done();
    is_done.then(|| match roster.troubles.unread() {
        None => Ok(()),
        Some((first, count)) => {
            let reason = format!("could not read {count} of the files, such as {first}");
            Err(Fault::transient(Cause::Other, reason))
        }
    })
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
