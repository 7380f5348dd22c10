//! What rotators, editors and writers do to files, one after the other.

use super::*;
use crate::sources::file::state::key_of;
use crate::testing::{self, Inbox};
use kernel::health::PartRole;
use std::fs;
use std::path::PathBuf;
use std::pin::Pin;
use tempfile::TempDir;

/// A folder, and what was handed on from it.
pub(super) struct World {
    folder: TempDir,
    pub(super) inbox: Inbox,
    services: Services,
}

/// A source that runs; each look is one step.
pub(super) struct Following<'a>(Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>);

impl Following<'_> {
    pub(super) fn look(&mut self) -> Option<Result<(), Fault>> {
        smol::block_on(smol::future::poll_once(&mut self.0))
    }

    fn looks(&mut self, count: usize) {
        for _ in 0..count {
            assert_eq!(self.look(), None);
        }
    }

    /// Looks for a while: longer than anything is waited for but renamed files.
    fn settle(&mut self) {
        self.looks(25);
    }
}

impl World {
    pub(super) fn new() -> Self {
        let mut services = testing::alone();
        services.env.pools = kernel::env::Pools::inline();
        services.health = services.env.health.part(PartRole::Source, "logs");
        World { folder: tempfile::tempdir().unwrap(), inbox: Inbox::open(), services }
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.at(name), text).unwrap();
    }

    fn append(&self, name: &str, text: &str) {
        append(&self.at(name), text);
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.at(name)).unwrap();
    }

    /// What an editor or `sed -i` does: a new file is renamed over the old one.
    fn replace(&self, name: &str, text: &str) {
        self.write("new.tmp", text);
        self.rename("new.tmp", name);
    }

    fn start(&self, text: &str) -> Following<'_> {
        self.start_into(text, &self.inbox)
    }

    pub(super) fn start_into<'a>(&self, text: &str, emit: &'a dyn Emit) -> Following<'a> {
        let Ok(OpenSource::Task(mut source)) = self.open(text) else { panic!("it runs by itself") };
        Following(Box::pin(async move { source.run(emit).await }))
    }

    fn open(&self, text: &str) -> Result<OpenSource, Fault> {
        let text = format!("{text}\ntype t");
        let (settings, found) = testing::read_in::<File>(&text, self.folder.path(), &[]);
        assert_eq!(found, Vec::<String>::new());
        smol::block_on(File::open(settings.unwrap(), self.services.clone()))
    }

    /// Why it cannot be opened, or nothing.
    fn fault_at_open(&self, text: &str) -> String {
        let reason = self.open(text).err().map_or(String::new(), |fault| fault.reason);
        reason.replace(&self.folder.path().display().to_string(), "")
    }

    fn follow(&self, pattern: &str) -> Following<'_> {
        let mut following = self.start(&format!("path \"{pattern}\"\nfollow\ndecode text"));
        following.look();
        following
    }

    /// Runs a source that does not follow to its end.
    fn run(&self, text: &str) -> Result<(), Fault> {
        let mut running = self.start(text);
        (0..100).find_map(|_| running.look()).expect("it ends")
    }

    /// Everything so far, as one text.
    fn lines(&self) -> String {
        self.inbox.bodies().join(" ")
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let report = self.services.env.health.of(self.services.health.part()).unwrap();
        let problems = report.problems.into_iter().map(|problem| problem.problem);
        let folder = self.folder.path().display().to_string();
        problems
            .map(|problem| format!("{}: {}", problem.code, problem.reason.replace(&folder, "")))
            .collect()
    }

    fn origins(&self) -> Vec<String> {
        let batches = self.inbox.batches.lock().unwrap();
        let folder = format!("{}/", self.folder.path().display());
        let origins =
            batches.iter().flatten().map(|batch| batch.origin.as_ref().unwrap().to_string());
        origins.map(|origin| origin.replace(&folder, "")).collect()
    }
}

fn append(path: &std::path::Path, text: &str) {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn files_are_read_by_name_and_not_twice() {
    let world = World::new();
    world.write("b.jsonl", "3\n");
    world.write("a.jsonl", "1\n\n2\n");
    let text = "path \"*.jsonl\"";
    for _ in 0..2 {
        world.run(text).unwrap();
        assert_eq!(world.lines(), "1 2 3");
    }
    world.write("a.jsonl", "1\n\n2\n4\n");
    world.run(text).unwrap();
    assert_eq!(world.lines(), "1 2 3 4");
    world.write("a.jsonl", "5\n6\n7\n8\n9\n");
    world.run(text).unwrap();
    assert_eq!(world.lines(), "1 2 3 4 5 6 7 8 9");
}

#[test]
fn a_source_that_was_stopped_continues_where_it_was() {
    let mut world = World::new();
    let text: String = (0..1300).map(|it| format!("{it}\n")).collect();
    world.write("f", &text);
    // The first batch says that there is a file.
    world.inbox.batches_max = 1;
    world.run("path \"f\"").unwrap();
    assert_eq!(world.inbox.bodies().len(), 512);
    world.inbox.batches_max = usize::MAX;
    world.run("path \"f\"").unwrap();
    let expected: Vec<String> = (0..1300).map(|it| it.to_string()).collect();
    assert_eq!(world.inbox.bodies(), expected);
}

#[test]
fn a_run_that_is_dropped_anywhere_loses_and_doubles_nothing() {
    let world = World::new();
    let mut following = world.follow("f*");
    for number in 0..20 {
        world.append("f", &format!("{number}\n"));
        if number % 3 == 0 {
            following = world.follow("f*");
        }
        following.looks(1);
    }
    let expected: Vec<String> = (0..20).map(|it| it.to_string()).collect();
    assert_eq!(world.inbox.bodies(), expected);
}

#[test]
fn what_a_writer_puts_into_a_renamed_file_is_read() {
    for pattern in ["app.log", "app.log*"] {
        let world = World::new();
        world.write("app.log", "1\n");
        let mut following = world.follow(pattern);
        world.rename("app.log", "app.log.1");
        world.write("app.log", "");
        following.looks(10);
        world.append("app.log.1", "2\nha");
        following.looks(10);
        world.append("app.log.1", "lf\n");
        following.looks(2);
        world.append("app.log", "4\n");
        following.looks(2);
        assert_eq!(world.lines(), "1 2 half 4", "{pattern}");
    }
}

#[test]
fn two_rotations_before_a_look_lose_nothing_that_the_pattern_leads_to() {
    let world = World::new();
    let mut following = world.follow("app.log*");
    world.append("app.log", "1\n");
    following.looks(1);
    world.append("app.log", "2\n");
    world.rename("app.log", "app.log.1");
    world.write("app.log", "3\n");
    world.rename("app.log.1", "app.log.2");
    world.rename("app.log", "app.log.1");
    world.write("app.log", "4\n");
    following.settle();
    assert_eq!(world.lines(), "1 2 4 3");
}

#[test]
fn a_rotation_while_the_source_was_stopped_loses_nothing() {
    let world = World::new();
    world.write("app.log", "1\n");
    world.follow("app.log").looks(1);
    world.append("app.log", "2\n");
    world.rename("app.log", "app.log.1");
    world.write("app.log", "3\n");
    let mut following = world.follow("app.log");
    following.settle();
    assert_eq!(world.lines(), "1 2 3");
    // And what was read of it stays known under its new name.
    world.append("app.log.1", "late\n");
    world.follow("app.log*").settle();
    assert_eq!(world.lines(), "1 2 3 late");
}

#[test]
fn files_that_begin_alike_are_told_apart() {
    let banner = "started\nversion 1\nlistening\n";
    let world = World::new();
    world.write("app.log", banner);
    let mut following = world.follow("app.log");
    world.rename("app.log", "app.log.1");
    world.write("app.log", format!("{banner}2\n"));
    following.settle();
    assert_eq!(world.lines(), "started version 1 listening started version 1 listening 2");
}

#[test]
fn an_inode_that_is_used_again_is_another_file() {
    let world = World::new();
    world.write("a.log", "1\n2\n");
    let mut following = world.follow("*.log");
    world.remove("a.log");
    following.settle();
    world.write("b.log", "1\n2\n3\n");
    following.settle();
    assert_eq!(world.lines(), "1 2 1 2 3");
    drop(following);
    world.remove("b.log");
    world.write("c.log", "1\n2\n3\n4\n");
    world.follow("*.log").settle();
    assert_eq!(world.lines(), "1 2 1 2 3 1 2 3 4");
}

#[test]
fn a_copy_that_is_truncated_after_is_read_where_it_was_left() {
    for pattern in ["app.log", "app.log*"] {
        let world = World::new();
        world.write("app.log", "1\n2\n");
        let mut following = world.follow(pattern);
        world.append("app.log", "3\n");
        fs::copy(world.at("app.log"), world.at("app.log.1")).unwrap();
        fs::File::options().write(true).open(world.at("app.log")).unwrap().set_len(0).unwrap();
        world.append("app.log", "4\n");
        following.settle();
        assert_eq!(world.lines(), "1 2 3 4", "{pattern}");
        // The same with a look between the copy and the truncation, and one after it.
        world.append("app.log", "5\n");
        fs::rename(world.at("app.log.1"), world.at("app.log.2")).unwrap();
        fs::copy(world.at("app.log"), world.at("app.log.1")).unwrap();
        following.looks(1);
        fs::File::options().write(true).open(world.at("app.log")).unwrap().set_len(0).unwrap();
        following.settle();
        // It grows beyond the old place before the next look.
        world.append("app.log", "6\n7\n8\n9\n");
        following.settle();
        assert_eq!(world.lines(), "1 2 3 4 5 6 7 8 9", "{pattern}");
        drop(following);
        world.follow("app.log*").settle();
        assert_eq!(world.lines(), "1 2 3 4 5 6 7 8 9", "{pattern}, again");
    }
}

#[test]
fn a_copy_made_while_the_store_takes_its_time_is_known_for_one() {
    let world = World::new();
    let text = testing::settings::<File>("path \"*.log*\"\nfollow\ndecode text");
    let pattern = PathPattern::new(world.folder.path(), "*.log*").unwrap();
    let health = world.services.health.clone();
    let mut roster =
        FileRoster::new(pattern, ReadSettings::of(&text.read, text.grouping), true, health, &[]);
    let (mut lines, mut second) = (Vec::new(), 0);
    let mut look = |roster: &mut FileRoster| {
        second += 1;
        roster.look(Duration::from_secs(second));
        Duration::from_secs(second)
    };
    let mut take = |batch: &FileBatch| {
        let bodies = batch
            .messages
            .iter()
            .map(|message| String::from_utf8_lossy(&message.body).into_owned());
        lines.extend(bodies);
    };
    // One was rotated already, so that the next copy takes the name of another file.
    world.write("a.log.1", "1\n2\n");
    world.write("a.log", "3\n4\n");
    let mut now = look(&mut roster);
    while let Some(batch) = roster.next(now) {
        take(&batch);
        if lines_are_handed_on(&batch, "3") {
            // It is handed on, and the store has not answered.
            world.rename("a.log.1", "a.log.2");
            fs::copy(world.at("a.log"), world.at("a.log.1")).unwrap();
            world.write("a.log", "");
            now = look(&mut roster);
        }
        roster.commit(batch.number, batch.place);
    }
    world.write("a.log", "5\n6\n");
    for _ in 0..20 {
        now = look(&mut roster);
        while let Some(batch) = roster.next(now) {
            take(&batch);
            roster.commit(batch.number, batch.place);
        }
    }
    lines.sort();
    assert_eq!(lines, ["1", "2", "3", "4", "5", "6"]);
}

fn lines_are_handed_on(batch: &FileBatch, first: &str) -> bool {
    batch.messages.first().is_some_and(|message| message.body == first.as_bytes())
}

#[test]
fn a_copy_made_while_the_source_was_stopped_is_read_where_it_was_left() {
    for pattern in ["app.log", "app.log*"] {
        let world = World::new();
        world.write("app.log", "1\n2\n");
        world.follow(pattern).looks(1);
        world.append("app.log", "3\n");
        fs::copy(world.at("app.log"), world.at("app.log-20261128")).unwrap();
        world.write("app.log", "4\n5\n6\n7\n");
        world.follow(pattern).settle();
        assert_eq!(world.lines(), "1 2 3 4 5 6 7", "{pattern}");
    }
}

#[test]
fn a_backup_of_a_file_is_not_read_again() {
    let world = World::new();
    world.write("app.log", "1\n2\n");
    let mut following = world.follow("app.log*");
    fs::copy(world.at("app.log"), world.at("app.log.bak")).unwrap();
    world.append("app.log", "3\n");
    following.settle();
    fs::copy(world.at("app.log"), world.at("app.log.bak")).unwrap();
    following.settle();
    assert_eq!(world.lines(), "1 2 3");
    drop(following);
    world.follow("app.log*").settle();
    assert_eq!(world.lines(), "1 2 3");
}

#[test]
fn a_hole_of_zeros_is_passed_with_one_warning() {
    let world = World::new();
    world.write("app.log", "1\n2\n");
    let mut following = world.follow("app.log");
    let hole = "\0".repeat(5000);
    world.write("app.log", format!("{hole}3\n4\n"));
    following.settle();
    assert_eq!(world.lines(), "1 2 3 4");
    assert_eq!(world.problems(), ["nul-bytes: passed 5000 NUL bytes at byte 0 of /app.log"]);
    world.write("app.log", "5\n");
    following.settle();
    assert_eq!((world.lines().as_str(), world.problems()), ("1 2 3 4 5", vec![]));
}

#[test]
fn lines_that_are_written_again_after_a_truncation_are_new() {
    let world = World::new();
    world.write("app.log", "tick\ntick\ntick\n");
    let mut following = world.follow("app.log");
    world.write("app.log", "tick\n");
    following.settle();
    assert_eq!(world.lines(), "tick tick tick tick");
}

#[test]
fn an_editors_save_reads_only_what_is_new() {
    let world = World::new();
    world.write("app.log", "1\n2\n3");
    let mut following = world.follow("app.log*");
    assert_eq!(world.lines(), "1 2");
    // A new file is renamed over the old one, or the old one is set aside and deleted later.
    world.replace("app.log", "1\n2\n3\n4\n");
    following.settle();
    assert_eq!(world.lines(), "1 2 3 4");
    world.rename("app.log", "app.log~");
    following.looks(1);
    world.write("app.log", "1\n2\n");
    following.looks(1);
    world.write("app.log", "1\n2\n3\n4\n5\n");
    following.looks(1);
    world.remove("app.log~");
    following.settle();
    assert_eq!(world.lines(), "1 2 3 4 5");
    // The backup stays.
    world.rename("app.log", "app.log.bak");
    world.write("app.log", "1\n2\n3\n4\n5\n6\n");
    following.settle();
    assert_eq!(world.lines(), "1 2 3 4 5 6");
    // It is written in place, after a copy was made, with a moment in which it is empty.
    fs::copy(world.at("app.log"), world.at("app.log~")).unwrap();
    world.write("app.log", "");
    following.looks(2);
    world.write("app.log", "1\n2\n3\n4\n5\n6\n7\n");
    following.settle();
    assert_eq!(world.lines(), "1 2 3 4 5 6 7");
    drop(following);
    world.replace("app.log", "1\n2\n3\n4\n5\n6\n7\n8\n");
    world.follow("app.log*").settle();
    assert_eq!(world.lines(), "1 2 3 4 5 6 7 8");
}

#[test]
fn lines_that_an_editor_takes_out_are_no_reason_to_read_the_rest_again() {
    let world = World::new();
    world.write("app.log", "1\n2\n3\n4\n5\n6\n");
    let mut following = world.follow("app.log");
    world.replace("app.log", "3\n4\n5\n6\n7\n");
    following.settle();
    assert_eq!(world.lines(), "1 2 3 4 5 6 7");
    world.write("app.log", "4\n5\n6\n7\n8\n");
    following.settle();
    assert_eq!(world.lines(), "1 2 3 4 5 6 7 8");
    // The last two.
    fs::File::options().write(true).open(world.at("app.log")).unwrap().set_len(6).unwrap();
    following.settle();
    world.append("app.log", "9\n");
    following.settle();
    assert_eq!(world.lines(), "1 2 3 4 5 6 7 8 9");
    assert_eq!(world.origins().last().unwrap(), "app.log, line 4, byte 6");
}

#[test]
fn a_file_that_is_deleted_and_made_again_later_is_new() {
    let world = World::new();
    world.write("app.log", "1\n2\n");
    let mut following = world.follow("app.log");
    world.remove("app.log");
    following.settle();
    world.write("app.log", "1\n2\n");
    following.settle();
    assert_eq!(world.lines(), "1 2 1 2");
}

#[test]
fn a_deleted_file_is_read_to_its_end_and_closed() {
    let world = World::new();
    world.write("app.log", "1\n");
    let mut following = world.follow("app.log");
    let mut file = fs::File::options().append(true).open(world.at("app.log")).unwrap();
    std::io::Write::write_all(&mut file, b"2\nhalf").unwrap();
    world.remove("app.log");
    following.looks(3);
    assert_eq!(world.lines(), "1 2 half");
}

#[cfg(target_os = "linux")]
fn open_below(folder: &std::path::Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter(|it| fs::read_link(it.path()).is_ok_and(|to| to.starts_with(folder))).count()
}

#[cfg(target_os = "linux")]
#[test]
fn many_files_are_read_in_turn_with_few_open() {
    let world = World::new();
    let name = |number: usize| format!("{number:04}.log");
    (0..1300).for_each(|number| world.write(&name(number), format!("{number}\n")));
    let mut following = world.follow("*.log");
    let first: Vec<String> = (0..1300).map(|it| it.to_string()).collect();
    assert_eq!(world.inbox.bodies(), first);
    for round in 0..3 {
        for number in (round..1300).step_by(100) {
            world.append(&name(number), &format!("more {number} {round}\n"));
        }
        following.looks(2);
        assert!(open_below(world.folder.path()) <= 128);
    }
    assert_eq!(world.inbox.bodies().len(), 1300 + 3 * 13);
    // A file that was written before and is closed meanwhile is found under its new name.
    world.append("0100.log", "last\n");
    world.rename("0100.log", "0100.old");
    following.looks(1);
    assert_eq!(world.inbox.bodies().last().unwrap(), "last");
}

#[test]
fn a_renamed_file_is_closed_when_nobody_writes_to_it_for_long() {
    let world = World::new();
    world.write("app.log", "1\nhalf");
    let mut following = world.follow("app.log");
    world.rename("app.log", "app.log.1");
    following.looks(100);
    assert_eq!(world.lines(), "1");
    following.looks(3100);
    assert_eq!(world.lines(), "1 half");
    assert_eq!(open_below(world.folder.path()), 0);
}

#[test]
fn links_beside_their_target_are_one_file() {
    use std::os::unix::fs::symlink;
    for is_link_first in [true, false] {
        let world = World::new();
        let (target, link) = if is_link_first { ("b.log", "a.log") } else { ("a.log", "b.log") };
        world.write(target, "1\n");
        let mut following = world.follow("*.log");
        symlink(target, world.at(link)).unwrap();
        fs::hard_link(world.at(target), world.at("c.log")).unwrap();
        following.looks(2);
        world.append(link, "2\n");
        following.looks(2);
        world.remove(target);
        following.looks(3);
        drop(following);
        following = world.follow("*.log");
        following.looks(3);
        world.append("c.log", "3\n");
        following.looks(2);
        assert_eq!(world.lines(), "1 2 3", "{is_link_first}");
    }
}

#[test]
fn a_link_to_another_file_leads_to_a_new_file() {
    use std::os::unix::fs::symlink;
    let world = World::new();
    world.write("27", "1\n");
    world.write("28", "2\n");
    symlink("27", world.at("current")).unwrap();
    let mut following = world.follow("current");
    world.append("27", "late\n");
    symlink("28", world.at("next")).unwrap();
    world.rename("next", "current");
    following.settle();
    assert_eq!(world.lines(), "1 late 2");
}

#[test]
fn compressed_files_are_skipped_with_one_note() {
    let world = World::new();
    world.write("app.log", "1\n");
    let mut following = world.follow("app.log*");
    world.rename("app.log", "app.log.1");
    world.write("app.log", "2\n");
    world.write("app.log.2.gz", b"\x1f\x8b\x08\x00\n\n");
    world.write("app.log.packed", b"\x28\xb5\x2f\xfd\n\n");
    following.settle();
    assert_eq!(world.lines(), "1 2");
    let note = "compressed-files: skips compressed files, /app.log.2.gz and 1 more";
    assert_eq!(world.problems(), [note]);
    world.remove("app.log.2.gz");
    world.remove("app.log.packed");
    following.looks(2);
    assert_eq!(world.problems(), Vec::<String>::new());
}

#[test]
fn utf_16_is_named() {
    let world = World::new();
    world.write("app.log", b"\xff\xfe1\x00\n\x00");
    let mut following = world.follow("app.log");
    following.looks(1);
    let named = "not-utf8: /app.log is UTF-16 text, its lines are rejected";
    assert_eq!(world.problems(), [named]);
    assert_eq!(world.inbox.batches.lock().unwrap().concat()[0].decoded, None);
}

#[test]
fn every_message_knows_where_it_was_read() {
    let world = World::new();
    world.write("app.log", "\u{feff}one\n\ntwo\n");
    world.follow("app.log*").looks(1);
    world.rename("app.log", "app.log.1");
    world.append("app.log.1", "three\n");
    world.write("app.log", "four\n");
    world.follow("app.log*").looks(2);
    let expected = [
        "app.log, line 1, byte 3",
        "app.log, line 3, byte 8",
        "app.log.1, line 4, byte 12",
        "app.log, line 1, byte 0",
    ];
    assert_eq!(world.origins(), expected);
}

#[test]
fn a_file_that_cannot_be_read_holds_up_no_other() {
    let world = World::new();
    world.write("a.log", "1\n");
    world.write("c.log", "3\n");
    // A link that leads to itself cannot be read by anybody, whoever runs the test.
    std::os::unix::fs::symlink("b.log", world.at("b.log")).unwrap();
    let mut following = world.follow("*.log");
    assert_eq!(world.lines(), "1 3");
    let [problem] = &world.problems()[..] else { panic!() };
    assert!(problem.starts_with("file-unreadable: cannot read /b.log: "), "{problem}");
    world.remove("b.log");
    world.write("b.log", "2\n");
    following.settle();
    assert_eq!((world.lines().as_str(), world.problems()), ("1 3 2", vec![]));
}

/// Root may read everything, so what a test of rights looks at is done by nobody in particular.
/// Only the thread that asks for it changes, and it ends with the test.
fn without_rights(test: impl FnOnce() + Send) {
    use rustix::process::{Uid, geteuid};
    std::thread::scope(|scope| {
        let test = scope.spawn(|| {
            if geteuid().is_root() {
                let nobody = Uid::from_raw(65_534);
                rustix::thread::set_thread_res_uid(None, nobody, None).unwrap();
            }
            test();
        });
        test.join().unwrap();
    });
}

#[test]
fn a_file_that_may_not_be_read_is_in_trouble_while_the_one_before_it_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    fs::set_permissions(world.folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    without_rights(|| {
        world.write("app.log", "1\n");
        let mut following = world.follow("app.log");
        world.rename("app.log", "app.log.1");
        world.write("app.log", "3\n");
        fs::set_permissions(world.at("app.log"), PermissionsExt::from_mode(0o0)).unwrap();
        let named = "file-unreadable: cannot read /app.log: Permission denied (os error 13)";
        following.looks(1);
        for _ in 0..10 {
            world.append("app.log.1", "2\n");
            following.looks(3);
            assert_eq!(world.problems(), [named]);
        }
        let report = world.services.env.health.of(world.services.health.part()).unwrap();
        assert!(3 < report.problems[0].count, "it is one trouble, not one after the other");
        fs::set_permissions(world.at("app.log"), PermissionsExt::from_mode(0o600)).unwrap();
        following.looks(60);
        assert_eq!(world.problems(), [""; 0]);
    });
    assert_eq!(world.lines(), "1 2 2 2 2 2 2 2 2 2 2 3");
}

#[test]
fn a_source_that_does_not_follow_reads_what_it_can_and_says_what_it_could_not() {
    let world = World::new();
    world.write("a.log", "1\nhalf");
    assert_eq!(world.run("path \"*.log\""), Ok(()));
    assert_eq!(world.lines(), "1 half");
    std::os::unix::fs::symlink("b.log", world.at("b.log")).unwrap();
    world.write("c.log", "3\n");
    let fault = world.run("path \"*.log\"").unwrap_err();
    assert!(fault.is_transient() && fault.reason.contains("b.log"), "{fault}");
    assert_eq!(world.lines(), "1 half 3");
}

#[test]
fn a_path_under_which_nothing_can_be_read_is_a_fault_at_open() {
    let world = World::new();
    world.write("app.log", "1\n");
    fs::create_dir(world.at("folder")).unwrap();
    let pipe = world.at("pipe");
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    for (text, expected) in [
        ("path app.log", ""),
        ("path later.log; follow", ""),
        ("path later.log", "there is no file /later.log"),
        ("path \"nowhere/app.log\"; follow", "there is no folder /nowhere"),
        ("path \"app.log/x.log\"; follow", "there is no folder /app.log"),
        ("path folder; follow", "/folder is a folder, not a file"),
        ("path pipe; follow", "/pipe is a pipe, a socket or a device, not a file"),
        // What fits a pattern may come at any time, and its folder as well.
        ("path \"nowhere/*.log\"; follow", ""),
    ] {
        assert_eq!(world.fault_at_open(text), expected, "{text}");
    }
}

#[test]
fn a_path_that_was_never_there_is_named_until_it_is() {
    let world = World::new();
    let mut following = world.follow("app.log");
    assert_eq!(world.problems(), ["file-missing: there is no /app.log yet"]);
    world.write("app.log", "1\n");
    following.looks(1);
    assert_eq!((world.lines().as_str(), world.problems()), ("1", vec![]));
    // Rotation may leave a moment without it.
    world.remove("app.log");
    following.settle();
    assert_eq!(world.problems(), Vec::<String>::new());
}

#[test]
fn a_whole_file_is_one_message_whenever_it_changes() {
    let world = World::new();
    world.write("f", "{\n\"a\":1}\n");
    let text = "path \"f*\"\ndecode json";
    world.run(text).unwrap();
    world.run(text).unwrap();
    assert_eq!(world.inbox.bodies(), ["{\n\"a\":1}\n"]);
    let mut following = world.start(&format!("{text}\nfollow"));
    following.looks(2);
    // Half of it is not a message.
    world.write("f", "{\n\"a\":");
    following.looks(1);
    world.write("f", "{\n\"a\":2}\n");
    following.looks(1);
    assert_eq!(world.inbox.bodies().len(), 1);
    following.looks(1);
    assert_eq!(world.inbox.bodies()[1..], ["{\n\"a\":2}\n"]);
    // The same again, under another inode or another name, is nothing new.
    world.replace("f", "{\n\"a\":2}\n");
    following.looks(5);
    world.rename("f", "f2");
    following.looks(5);
    assert_eq!(world.inbox.bodies().len(), 2);
    world.write("f", "{}");
    following.looks(5);
    assert_eq!(world.inbox.bodies()[2..], ["{}"]);
    assert_eq!(world.origins()[2], "f, byte 0");
}

#[test]
fn what_the_first_version_remembered_is_not_read_again() {
    use std::hash::Hasher as _;
    use std::os::unix::fs::MetadataExt as _;
    let world = World::new();
    world.write("a.log", "1\n2\n3\n");
    world.write("b.log", "4\n");
    let row = |name: &str, offset: usize, device: u64| {
        let (bytes, metadata) =
            (fs::read(world.at(name)).unwrap(), fs::metadata(world.at(name)).unwrap());
        let mut hasher = siphasher::sip::SipHasher13::new();
        hasher.write(&bytes[..offset]);
        let key = format!("{}:{}", metadata.dev() + device, metadata.ino());
        (key, format!("{offset} {:016x}", hasher.finish()))
    };
    // The device of one of them has another number since.
    let rows = [row("a.log", 4, 0), row("b.log", 2, 1)];
    world.inbox.remembered.lock().unwrap().extend(rows);
    world.follow("*.log").looks(2);
    assert_eq!(world.lines(), "3");
    assert_eq!(world.origins(), ["a.log, line 3, byte 4"]);
    let keys: Vec<String> = world.inbox.remembered.lock().unwrap().keys().cloned().collect();
    assert_eq!(keys, [key_of(1), key_of(2)]);
    world.append("b.log", "5\n");
    world.follow("*.log").looks(2);
    assert_eq!(world.lines(), "3 5");
}

#[test]
fn a_device_with_another_number_changes_nothing() {
    let world = World::new();
    world.write("a.log", "1\n2\n");
    world.follow("*.log").looks(2);
    let mut remembered = world.inbox.remembered.lock().unwrap();
    for value in remembered.values_mut() {
        *value = value.replace("\"device\":", "\"device\":9");
    }
    drop(remembered);
    world.append("a.log", "3\n");
    world.rename("a.log", "b.log");
    world.follow("*.log").looks(2);
    assert_eq!(world.lines(), "1 2 3");
}

#[test]
fn new_names_are_looked_for_while_a_long_file_is_read() {
    let world = World::new();
    // Several times what is read before others have their turn.
    let long: String = (0..20).map(|it| format!("{it} {}\n", "x".repeat(1 << 20))).collect();
    world.write("a.log", &long);
    world.write("b.log", "short\n");
    let mut following = world.follow("*.log");
    following.looks(1);
    let bodies = world.inbox.bodies();
    let short = bodies.iter().position(|body| body == "short").unwrap();
    assert!((10..20).contains(&short), "{short}");
    assert_eq!(bodies.len(), 21);
}

/// An exception with its stack is one event; a look is at least 200 ms, and `flush` 2 s.
const GROUPED: &str = "path \"app.log\"\nfollow\ndecode text\nlines begin=#\"^\\S\"#";

#[test]
fn lines_that_belong_together_are_one_event_when_nothing_comes_any_more() {
    let world = World::new();
    world.write("app.log", "one\n at a\n");
    let mut following = world.start(GROUPED);
    following.looks(3);
    assert_eq!(world.lines(), "");
    world.append("app.log", " at b\ntwo\n");
    following.looks(3);
    assert_eq!(world.lines(), "one\n at a\n at b");
    following.looks(3);
    world.append("app.log", " at c\n");
    following.looks(3);
    assert_eq!(world.inbox.bodies().len(), 1, "each line begins the wait anew");
    following.settle();
    assert_eq!(world.inbox.bodies()[1..], ["two\n at c"]);
    world.append("app.log", " late\nthree\n");
    following.settle();
    assert_eq!(world.inbox.bodies()[2..], [" late", "three"]);
}

#[test]
fn a_restart_reads_an_open_group_again_and_a_rotation_ends_it_before_the_next_file() {
    let world = World::new();
    world.write("app.log", "one\n at a\ntwo\n");
    let mut following = world.start(GROUPED);
    following.looks(3);
    drop(following);
    world.append("app.log", " at b\n");
    let text = GROUPED.replace("app.log", "app.log*");
    let mut following = world.start(&text);
    following.looks(3);
    assert_eq!(world.inbox.bodies(), ["one\n at a"]);
    world.rename("app.log", "app.log.1");
    world.write("app.log", "three\n at c\nfour\n");
    following.settle();
    let rest = ["two\n at b", "three\n at c", "four"];
    assert_eq!(world.inbox.bodies()[1..], rest);
    drop(following);
    world.start(&text).settle();
    assert_eq!(world.inbox.bodies().len(), 4, "each once");
}

#[test]
fn a_rotated_file_that_is_still_written_does_not_keep_the_next_one_waiting() {
    let world = World::new();
    world.write("app.log", "one\n at a\n");
    let mut following = world.start(GROUPED);
    following.looks(3);
    world.rename("app.log", "old.log");
    world.write("app.log", "new\nnewer\n");
    for number in 0..40 {
        world.append("old.log", &format!("{number}\n"));
        following.looks(1);
    }
    assert!(world.inbox.bodies().contains(&"new".to_owned()), "{}", world.lines());
}

#[test]
fn without_following_the_end_of_the_file_ends_the_last_group() {
    let world = World::new();
    world.write("app.log", "one\n at a\ntwo\n at b");
    world.run(&GROUPED.replace("follow\n", "")).unwrap();
    assert_eq!(world.inbox.bodies(), ["one\n at a", "two\n at b"]);
}

#[test]
fn groups_need_lines_and_a_pattern() {
    let found = |text: &str| testing::findings::<File>(&format!("path \"f\"\n{text}\ntype t"));
    let whole = ["E0010 `lines` has no effect with `decode raw`"];
    assert_eq!(found("decode raw\nlines begin=\"a\""), whole);
    let broken = found("decode text\nlines begin=\"(\"");
    assert_eq!(broken, ["E0101 this is not a valid pattern: unclosed group"]);
    assert_eq!(found("lines begin=\"^x\" max=7 flush=\"1s\""), Vec::<String>::new());
}
