//! Power cuts: the engine writes to a disk that is followed write by write, and goes on from what
//! a cut leaves of it.
//!
//! The disk lies between SQLite and the C library, in `power.c`, so that the whole program runs on
//! it. The control runs with `synchronous normal` and must lose: what is acknowledged there is
//! not durable, and a disk that does not notice that proves nothing.

use super::disk::{Disk, FATES, entries};
use super::figures::{Figures, Run};
use super::hook::Hook;
use super::load::{self, Ledger, Load};
use super::share;
use super::topology::{self, Core};
use crate::support::{Engine, PATIENCE, load as store, pause, root};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Cuts of one store, before it is looked at as a whole and another one begins.
const CHAIN: u64 = 20;

#[test]
fn what_was_acknowledged_survives_a_power_cut_and_would_not_without_the_sync() {
    let run = Run::begin();
    let tools = tempfile::tempdir().expect("a folder");
    let Some(library) = library(tools.path()) else { return };
    let mut random = fastrand::Rng::with_seed(run.seed);
    let (cuts, mut done) = (share(1000), 0);
    let mut count = Count::default();
    while done < cuts {
        let mut machine = Machine::new(&library, "full", random.u64(..));
        let chain = CHAIN.min(cuts - done);
        for _ in 0..chain {
            let moment = Moment::any(&mut random);
            machine.live_and_cut(&mut random, moment, &mut count);
        }
        machine.finish(&mut count);
        done += chain;
    }
    let mut control = Count::default();
    let controls = share(100).max(5);
    for _ in 0..controls {
        let mut machine = Machine::new(&library, "normal", random.u64(..));
        let moment = Moment::Change(random.u64(1000..3000));
        machine.live_and_cut(&mut random, moment, &mut control);
    }
    let figures = Figures {
        experiment: "power cuts",
        unit: "cuts",
        count: done,
        acknowledged: count.acknowledged,
        lost: count.lost,
        doubled: count.doubled,
        note: format!(
            "{} before it was ready, {} with pages of the database half written; the control \
             without syncs lost {} of {} in {controls} cuts",
            count.starting, count.checkpointing, control.lost, control.acknowledged
        ),
        seed: run.seed,
        took: run.took(),
    };
    figures.tell();
    assert_eq!((figures.lost, figures.doubled), (0, 0), "lost and doubled");
    assert!(0 < count.acknowledged, "there was load");
    assert!(0 < control.lost, "the control loses");
}

/// Builds the disk; nothing where that cannot be done.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn library(folder: &Path) -> Option<PathBuf> {
    let library = folder.join("power.so");
    let source = root().join("tests/chaos/power.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        eprintln!("skipped: the disk of the power cuts is made for Linux with glibc");
        return None;
    }
    match compiler.arg("-ldl").status() {
        Ok(status) => assert!(status.success(), "power.c can be compiled"),
        Err(fault) => {
            eprintln!("skipped: the disk of the power cuts needs a C compiler: {fault}");
            return None;
        }
    }
    Some(library)
}

#[derive(Default)]
struct Count {
    acknowledged: u64,
    lost: u64,
    doubled: u64,
    starting: u64,
    checkpointing: u64,
}

/// A machine that is switched off again and again.
struct Machine<'a> {
    library: &'a Path,
    folder: tempfile::TempDir,
    file: PathBuf,
    hook: Hook,
    seed: u64,
    lives: u64,
    ledger: Ledger,
}

impl Machine<'_> {
    fn new<'a>(library: &'a Path, synchronous: &'static str, seed: u64) -> Machine<'a> {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, hook) = (topology::place(folder.path()), Hook::start());
        // The log is copied into the database at a sixteenth of the size.
        let core = Core { synchronous, retention: "max-size \"64MiB\"", ..Core::telling(&hook) };
        topology::save(&file, &core.with(0, "", &[]));
        std::fs::create_dir(folder.path().join("data")).expect("a folder");
        Machine { library, folder, file, hook, seed, lives: 0, ledger: Ledger::default() }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One life under load, up to a change of the disk that is drawn; then what is left is held
    /// against what was acknowledged.
    fn live_and_cut(&mut self, random: &mut fastrand::Rng, moment: Moment, count: &mut Count) {
        let data = self.data();
        let mut disk = Disk::of(&data);
        self.lives += 1;
        let (ledger, changes, until) = match moment {
            Moment::Change(number) => self.live_until(number, count),
            Moment::Stop => self.live_and_stop(random),
        };
        count.acknowledged += ledger.acknowledged();
        self.ledger.merge(ledger);
        disk.follow(entries(&changes).take(until));
        count.checkpointing += u64::from(0 < disk.unsure(".db"));
        std::fs::remove_dir_all(&data).expect("the folder goes");
        std::fs::create_dir(&data).expect("a folder");
        let fate = FATES[random.usize(0..FATES.len())];
        disk.cut(fate, random, &data);
        self.look(count);
    }

    /// An engine on the followed disk, which is cut off by its change of this number.
    fn start(&self, cut: u64) -> (Engine, Load, PathBuf) {
        let (data, log) = (self.data(), self.folder.path().join("disk.log"));
        std::fs::remove_file(&log).ok();
        let cut = cut.to_string();
        let variables: [(&str, &OsStr); 4] = [
            ("LD_PRELOAD", self.library.as_os_str()),
            ("DISK_FOLDER", data.as_os_str()),
            ("DISK_LOG", log.as_os_str()),
            ("DISK_CUT", cut.as_ref()),
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
        command.envs(variables);
        let clients = Load::start(self.seed.wrapping_add(self.lives << 8), u64::MAX);
        let engine = Engine::spawn_by(command, &self.file, &data, &["--watch", "off"]);
        (engine, clients, log)
    }

    /// The changes of a life, and how many of them were made.
    fn live_until(&self, cut: u64, count: &mut Count) -> (Ledger, Vec<u8>, usize) {
        let (mut engine, clients, log) = self.start(cut);
        let is_ready = wait_until_ready(&mut engine, &clients);
        while engine.lines.recv_timeout(PATIENCE).is_ok() {}
        drop(engine);
        count.starting += u64::from(!is_ready);
        let ledger = clients.cut();
        (ledger, std::fs::read(log).expect("the disk was followed"), usize::MAX)
    }

    /// The same for a life that ends by itself. The power goes at any change after the clients
    /// left, while the log is moved into the database and the files are closed.
    fn live_and_stop(&self, random: &mut fastrand::Rng) -> (Ledger, Vec<u8>, usize) {
        let (mut engine, clients, log) = self.start(0);
        assert!(wait_until_ready(&mut engine, &clients), "it starts");
        pause(Duration::from_millis(random.u64(0..200)));
        let ledger = clients.end();
        let read = || std::fs::read(&log).expect("the disk was followed");
        let before = entries(&read()).count();
        assert_eq!(engine.stop(), 0);
        let changes = read();
        let after = entries(&changes).count();
        (ledger, changes, random.usize(before..after + 1))
    }

    /// Holds a copy of what is left against the ledger.
    fn look(&self, count: &mut Count) {
        let copy = tempfile::tempdir().expect("a folder");
        for entry in std::fs::read_dir(self.data()).expect("a folder") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("a copy");
        }
        let store = store::open(copy.path());
        let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'events'";
        let tables: &[&str] = match store::number(&store, tables) {
            0 => &[],
            _ => &["events", "inbox"],
        };
        let wrong = self.ledger.against_store(&store, tables);
        count.lost += wrong.lost;
        count.doubled += wrong.doubled;
    }

    /// The power is back for good: everything is finished, stored once and told.
    fn finish(self, count: &mut Count) {
        let data = self.data();
        let mut engine = Engine::start(&self.file, &data, &[]);
        store::settle(&engine);
        self.ledger.wait_for_hook(&self.hook);
        assert_eq!(engine.stop(), 0);
        let store = store::open(&data);
        load::assert_settled(&store);
        let stored = self.ledger.against_store(&store, &["events"]);
        count.lost += stored.lost + self.ledger.against_hook(&self.hook).lost;
        count.doubled += stored.doubled;
    }
}

/// Points the clients at the engine as soon as it is ready, or sees it end before that.
fn wait_until_ready(engine: &mut Engine, clients: &Load) -> bool {
    while let Ok(line) = engine.lines.recv_timeout(PATIENCE) {
        if let Some(rest) = line.split("ready http://").nth(1) {
            engine.address = rest.split(' ').next().unwrap_or_default().to_owned();
            clients.point_at(engine);
            return true;
        }
    }
    false
}

/// When the power goes.
#[derive(Clone, Copy)]
enum Moment {
    /// With a change of the disk, counted from the start.
    Change(u64),
    /// At a change after the engine was asked to stop.
    Stop,
}

impl Moment {
    /// As often among the first changes as among the later ones.
    fn any(random: &mut fastrand::Rng) -> Moment {
        let room = 32_u64 << random.u32(0..8);
        match random.u8(0..4) {
            0 => Moment::Stop,
            _ => Moment::Change(random.u64(1..room)),
        }
    }
}
