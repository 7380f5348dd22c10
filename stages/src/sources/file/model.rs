//! Writers, rotators and editors at work on one folder, against one promise: every complete line is
//! handed on once, and those of one file in their order.
//!
//! The model does what they do, in random order, with looks, restarts and stalls of the store in
//! between. It never destroys what no look could have seen: where something is about to be lost
//! for good, the source gets its looks first.

use super::tests::{Following, World};
use crate::contract::{Closed, Emit, Message};
use crate::testing::Inbox;
use fastrand::Rng;
use kernel::env::Pending;
use kernel::event::Globals;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

const SEQUENCES: u64 = 200;
const STEPS: usize = 50;
const ROTATIONS: usize = 3;

/// A store that takes its time before and after it commits.
pub(super) struct SlowInbox<'a> {
    inbox: &'a Inbox,
    rng: Mutex<Rng>,
}

impl Emit for SlowInbox<'_> {
    fn emit<'a>(
        &'a self,
        messages: Vec<Message>,
        remember: Vec<(String, String)>,
    ) -> Pending<'a, Result<(), Closed>> {
        let mut rng = self.rng.lock().unwrap();
        let mut pauses = || if rng.u8(..4) == 0 { rng.u8(..5) } else { 0 };
        let (before, after) = (pauses(), pauses());
        Box::pin(async move {
            for _ in 0..before {
                smol::future::yield_now().await;
            }
            let emitted = self.inbox.emit(messages, remember).await;
            for _ in 0..after {
                smol::future::yield_now().await;
            }
            emitted
        })
    }

    fn recall(&self) -> Pending<'_, Result<Vec<(String, String)>, Closed>> {
        self.inbox.recall()
    }

    fn globals(&self) -> Arc<Globals> {
        self.inbox.globals()
    }

    fn closed(&self) -> Pending<'_, ()> {
        self.inbox.closed()
    }
}

/// A log and the program that writes it.
struct Log {
    name: &'static str,
    /// The program still has the file that was renamed.
    late: Option<PathBuf>,
    /// Counts its files; lines of one file come in their order.
    file: usize,
    /// Part of a line was written.
    half: Option<String>,
    lines: Vec<String>,
    /// What the program writes into each new file.
    banner: &'static str,
    /// The source has looked since it was rotated.
    is_seen: bool,
    /// An editor made a new file of it, and the source has not looked since.
    is_edited: bool,
}

struct Model<'a> {
    world: &'a World,
    store: &'a SlowInbox<'a>,
    rng: Rng,
    /// What the source is told to read.
    pattern: &'static str,
    source: Option<Following<'a>>,
    logs: Vec<Log>,
    links: Vec<PathBuf>,
    number: usize,
    clock: u64,
    story: Vec<String>,
}

impl Model<'_> {
    fn step(&mut self) {
        let log = self.rng.usize(..self.logs.len());
        match self.rng.u8(..20) {
            0..=5 => self.append(log),
            6 => self.append_half(log),
            7..=8 => self.rename(log),
            9..=10 => self.copy_and_truncate(log),
            11 => self.save_by_replacing(log),
            12 => self.save_in_place(log),
            13 => self.save_as_vim(log),
            14 => self.delete(log),
            15 => self.link(log),
            16 => self.stop(),
            17 => self.restart(),
            _ => {
                let count = self.rng.usize(1..8);
                self.look(count);
            }
        }
    }

    fn say(&mut self, what: &str, log: usize) {
        let name = self.logs[log].name;
        self.story.push(format!("{what} {name}"));
    }

    fn path(&self, log: usize) -> PathBuf {
        self.world.at(self.logs[log].name)
    }

    /// Writes as a program does that opened the file before.
    fn write(&mut self, path: &PathBuf, text: &str, is_over: bool) {
        let mut options = File::options();
        options.create(true).write(true).append(!is_over).truncate(is_over);
        options.open(path).unwrap().write_all(text.as_bytes()).unwrap();
        self.stamp(path);
    }

    /// Times of files are as coarse as the system's clock ticks, and the model is faster.
    fn stamp(&mut self, path: &PathBuf) {
        self.clock += 1;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + self.clock);
        File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
    }

    fn line(&mut self, log: usize) -> String {
        self.number += 1;
        let filler = if self.rng.u8(..20) == 0 { 3000 } else { self.rng.usize(..40) };
        let Log { name, file, late, .. } = &self.logs[log];
        let file = file - usize::from(late.is_some());
        format!("{name}/{file} {} {}", self.number, "x".repeat(filler))
    }

    /// Where the program writes to, with what it writes into a new file.
    fn target(&mut self, log: usize) -> PathBuf {
        if let Some(late) = self.logs[log].late.clone() {
            if self.rng.bool() {
                return late;
            }
            self.logs[log].late = None;
        }
        let path = self.path(log);
        if !path.exists() {
            self.logs[log].is_seen = false;
        }
        if !path.exists() || fs::metadata(&path).unwrap().len() == 0 {
            let banner = self.logs[log].banner;
            self.write(&path, banner, false);
            self.logs[log].lines.extend(banner.lines().map(str::to_owned));
        }
        path
    }

    fn append(&mut self, log: usize) {
        self.complete(log);
        let path = self.target(log);
        self.logs[log].late = self.logs[log].late.take().filter(|late| *late == path);
        let lines: Vec<String> = (0..self.rng.usize(1..5)).map(|_| self.line(log)).collect();
        self.story.push(format!("append {} lines to {}", lines.len(), path.display()));
        self.write(&path, &lines.iter().map(|line| format!("{line}\n")).collect::<String>(), false);
        self.logs[log].lines.extend(lines);
    }

    fn append_half(&mut self, log: usize) {
        self.complete(log);
        let path = self.target(log);
        self.logs[log].late = self.logs[log].late.take().filter(|late| *late == path);
        let line = self.line(log);
        let (half, rest) = line.split_at(line.len() / 2);
        self.story.push(format!("append half a line to {}", path.display()));
        self.write(&path, half, false);
        self.logs[log].lines.push(line.clone());
        // The rest goes to the same file, whatever it is called by then.
        self.logs[log].half = Some(format!("{rest}\n"));
    }

    /// Writes the rest of a line.
    fn complete(&mut self, log: usize) {
        let Some(rest) = self.logs[log].half.take() else { return };
        let path = self.logs[log].late.clone().unwrap_or_else(|| self.path(log));
        self.story.push(format!("complete a line in {}", path.display()));
        self.write(&path, &rest, false);
    }

    /// Of two files that are both new nobody can tell that one is a copy.
    fn be_seen(&mut self, log: usize) {
        // What is appended may still go to the renamed file.
        while !self.logs[log].is_seen {
            self.append(log);
            self.append(log);
            self.restart();
            self.look(12);
        }
        self.logs[log].is_edited = false;
    }

    /// What an editor wrote has to be seen before it is a rotated file; and so has everything, where
    /// the pattern does not lead to rotated files.
    fn before_rotation(&mut self, log: usize) {
        let is_listed = self.pattern == "*.log*";
        if !is_listed || self.logs[log].is_edited {
            self.be_seen(log);
        }
        self.logs[log].is_seen = false;
        if let Some(late) = self.logs[log].late.take() {
            self.story.push(format!("{} is no longer written", late.display()));
            // Nobody finds a second time what has left the pattern.
            self.look(if is_listed { 0 } else { 12 });
        }
        let last = self.rotated(log, ROTATIONS);
        if last.exists() {
            self.restart();
            self.look(20);
            fs::remove_file(last).unwrap();
        }
        for number in (1..ROTATIONS).rev() {
            let path = self.rotated(log, number);
            if path.exists() {
                fs::rename(path, self.rotated(log, number + 1)).unwrap();
            }
        }
    }

    fn rotated(&self, log: usize, number: usize) -> PathBuf {
        self.world.at(&format!("{}.{number}", self.logs[log].name))
    }

    fn rename(&mut self, log: usize) {
        if !self.path(log).exists() {
            return;
        }
        // The rest of a line goes where its beginning is.
        if self.rng.bool() || self.logs[log].late.is_some() {
            self.complete(log);
        }
        self.before_rotation(log);
        self.say("rename", log);
        let to = self.rotated(log, 1);
        fs::rename(self.path(log), &to).unwrap();
        (self.logs[log].file, self.logs[log].is_seen) = (self.logs[log].file + 1, false);
        self.logs[log].late = (self.logs[log].half.is_some() || self.rng.bool()).then_some(to);
        if self.rng.bool() {
            let path = self.path(log);
            self.write(&path, "", false);
        }
    }

    fn copy_and_truncate(&mut self, log: usize) {
        if fs::metadata(self.path(log)).is_ok_and(|metadata| metadata.len() == 0)
            || !self.path(log).exists()
        {
            return;
        }
        // A line that is torn by the truncation is lost to everybody.
        self.complete(log);
        self.be_seen(log);
        self.before_rotation(log);
        self.say("copy", log);
        let (path, to) = (self.path(log), self.rotated(log, 1));
        self.copy_in_pieces(&path, &to);
        self.say("truncate", log);
        self.write(&path, "", true);
        self.logs[log].file += 1;
        (self.logs[log].banner, self.logs[log].is_seen) = ("", false);
    }

    /// A copy is empty at first and grows; a look may come at any point of it.
    fn copy_in_pieces(&mut self, from: &PathBuf, to: &PathBuf) {
        let text = fs::read_to_string(from).unwrap();
        let (begin, end) = text.split_at(self.rng.usize(..text.len()));
        for piece in ["", begin, end] {
            self.write(to, piece, false);
            if self.rng.bool() {
                let looks = self.rng.usize(1..3);
                self.look(looks);
            }
        }
    }

    /// An editor that makes a new file leaves the old one to who else has a name for it; then there
    /// are two.
    fn has_hard_link(&self, log: usize) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(self.path(log)).is_ok_and(|metadata| 1 < metadata.nlink())
    }

    /// What an editor makes of a file: the same and more.
    fn edited(&mut self, log: usize) -> Option<(PathBuf, String)> {
        self.complete(log);
        let path = self.path(log);
        let before = fs::read_to_string(&path).ok().filter(|string| !string.is_empty())?;
        self.logs[log].late = None;
        let line = self.line(log);
        self.logs[log].lines.push(line.clone());
        Some((path, format!("{before}{line}\n")))
    }

    fn save_by_replacing(&mut self, log: usize) {
        if self.has_hard_link(log) {
            return;
        }
        let Some((path, text)) = self.edited(log) else { return };
        self.say("replace", log);
        let new = self.world.at("new.tmp");
        self.write(&new, &text, true);
        fs::rename(new, path).unwrap();
        (self.logs[log].is_seen, self.logs[log].is_edited) = (false, true);
    }

    fn save_in_place(&mut self, log: usize) {
        let Some((path, text)) = self.edited(log) else { return };
        self.say("save in place", log);
        self.write(&path, "", true);
        let looks = self.rng.usize(..3);
        self.look(looks);
        self.write(&path, &text, true);
    }

    fn save_as_vim(&mut self, log: usize) {
        if self.has_hard_link(log) {
            return;
        }
        self.be_seen(log);
        let Some((path, text)) = self.edited(log) else { return };
        self.say("save as vim does", log);
        let backup = self.world.at(&format!("{}~", self.logs[log].name));
        fs::rename(&path, &backup).unwrap();
        let looks = self.rng.usize(..3);
        self.look(looks);
        self.write(&path, &text, true);
        let looks = self.rng.usize(..3);
        self.look(looks);
        fs::remove_file(backup).unwrap();
        self.logs[log].is_seen = false;
    }

    fn delete(&mut self, log: usize) {
        if !self.path(log).exists() {
            return;
        }
        self.complete(log);
        self.restart();
        self.look(20);
        self.say("delete", log);
        fs::remove_file(self.path(log)).unwrap();
        // What is made right after may be an editor's save.
        self.look(20);
    }

    fn link(&mut self, log: usize) {
        self.say("link", log);
        if let Some(link) = self.links.pop().filter(|_| self.rng.bool()) {
            self.restart();
            self.look(20);
            fs::remove_file(link).unwrap();
        } else if self.path(log).exists() {
            self.number += 1;
            let link = self.world.at(&format!("link{}.log", self.number));
            match self.rng.bool() {
                true => std::os::unix::fs::symlink(self.logs[log].name, &link).unwrap(),
                false => fs::hard_link(self.path(log), &link).unwrap(),
            }
            self.links.push(link);
        }
    }

    fn stop(&mut self) {
        self.story.push("stop".to_owned());
        self.source = None;
    }

    fn restart(&mut self) {
        if self.source.is_none() {
            self.story.push("start".to_owned());
            let text = format!("path \"{}\"\nfollow\ndecode text", self.pattern);
            self.source = Some(self.world.start_into(&text, self.store));
        }
    }

    fn look(&mut self, count: usize) {
        self.story.push(format!("{count} looks"));
        let Some(source) = &mut self.source else { return };
        for _ in 0..count {
            assert_eq!(source.look(), None);
        }
        for log in self.logs.iter_mut().filter(|_| 12 <= count) {
            // What hardly anything was read of cannot be known again.
            let text = fs::read_to_string(self.world.at(log.name)).unwrap_or_default();
            log.is_seen |= 2 <= text.matches('\n').count();
        }
    }

    fn finish(&mut self) {
        (0..self.logs.len()).for_each(|log| self.complete(log));
        self.restart();
        self.look(60);
    }

    /// What is wrong with what was handed on.
    fn complaint(&self) -> Option<String> {
        let bodies = self.world.inbox.bodies();
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        bodies.iter().for_each(|line| *counts.entry(line).or_default() += 1);
        let all = self.logs.iter().flat_map(|log| &log.lines);
        all.for_each(|line| *counts.entry(line).or_default() -= 1);
        counts.retain(|_, count| *count != 0);
        if !counts.is_empty() {
            return Some(format!("too often, or not often enough: {counts:?}"));
        }
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        for line in bodies.iter().filter(|line| line.contains('/')) {
            let mut words = line.split(' ');
            let (file, number) = (words.next().unwrap(), words.next().unwrap());
            let number = number.parse().unwrap();
            if last.insert(file, number).is_some_and(|last| number < last) {
                return Some(format!("in another order: {bodies:?}"));
            }
        }
        None
    }
}

fn run(seed: u64) -> Result<(), String> {
    let world = World::new();
    let mut rng = Rng::with_seed(seed);
    let store = SlowInbox { inbox: &world.inbox, rng: Mutex::new(rng.fork()) };
    let pattern = *rng.choice(&["*.log*", "*.log"]).unwrap();
    let log = |name, banner| Log {
        name,
        late: None,
        file: 1,
        half: None,
        lines: Vec::new(),
        banner,
        is_seen: false,
        is_edited: false,
    };
    let mut model = Model {
        world: &world,
        store: &store,
        rng,
        pattern,
        source: None,
        logs: vec![log("a.log", ""), log("b.log", "== started ==\nversion 1\n")],
        links: Vec::new(),
        number: 0,
        clock: 0,
        story: Vec::new(),
    };
    model.restart();
    for _ in 0..STEPS {
        model.step();
    }
    model.finish();
    match model.complaint() {
        None => Ok(()),
        Some(complaint) => {
            Err(format!("seed {seed}, {pattern}: {complaint}\n{}", model.story.join("\n")))
        }
    }
}

/// `SEED` begins elsewhere, and `SEQUENCES` plays more of them.
#[test]
fn every_complete_line_is_handed_on_once_whatever_happens_to_its_file() {
    let given = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = given("SEED").unwrap_or(0);
    let seeds = first..first + given("SEQUENCES").unwrap_or(SEQUENCES);
    let mut failed: Vec<String> = seeds.filter_map(|seed| run(seed).err()).collect();
    failed.sort_by_key(|story| story.lines().count());
    assert!(failed.is_empty(), "{} failed; the shortest: {}", failed.len(), failed[0]);
}
