//! SIGKILL at any moment: under load, while it starts, and while it takes a changed file.

use super::figures::{Figures, Run};
use super::hook::Hook;
use super::load::{self, Ledger, Load};
use super::share;
use super::topology::{self, Core};
use crate::support::{Engine, load as store, pause};
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Kills of one store, before it is looked at and another one begins.
const CHAIN: u64 = 25;

#[test]
fn what_is_killed_at_any_moment_loses_and_doubles_nothing() {
    let run = Run::begin();
    let mut random = fastrand::Rng::with_seed(run.seed);
    let (kills, mut done, mut chains) = (share(1000), 0, 0);
    let (mut figures, mut moments, mut broken) = (Figures::default(), [0; 3], 0);
    // A slow machine needs more kills for as many events.
    while done < kills || figures.acknowledged < share(500_000) {
        let count = CHAIN.min(kills);
        let synchronous = ["full", "normal", "off"][chains % 3];
        let chain = Chain::new(random.u64(..), synchronous);
        let ledger = chain.run(&mut random, count, &mut moments, &mut figures);
        figures.acknowledged += ledger.acknowledged();
        broken += ledger.broken;
        done += count;
        chains += 1;
    }
    let [load, start, reload] = moments;
    let figures = Figures {
        experiment: "kills",
        unit: "kills",
        count: done,
        note: format!(
            "{load} under load, {start} while starting, {reload} while reloading; {chains} stores \
             with `synchronous` full, normal and off; {broken} answers cut off"
        ),
        seed: run.seed,
        took: run.took(),
        ..figures
    };
    figures.tell();
    assert_eq!((figures.lost, figures.doubled), (0, 0), "lost and doubled");
    assert!(0 < broken, "a kill met an answer that was on its way");
}

/// One store that is killed again and again.
struct Chain {
    folder: tempfile::TempDir,
    file: PathBuf,
    hook: Hook,
    core: Core,
    seed: u64,
}

impl Chain {
    fn new(seed: u64, synchronous: &'static str) -> Chain {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, hook) = (topology::place(folder.path()), Hook::start());
        let core = Core { synchronous, follows: true, ..Core::telling(&hook) };
        topology::save(&file, &core.with(0, "", &[]));
        Chain { folder, file, hook, core, seed }
    }

    fn run(
        &self,
        random: &mut fastrand::Rng,
        kills: u64,
        moments: &mut [u64; 3],
        figures: &mut Figures,
    ) -> Ledger {
        let data = self.folder.path().join("data");
        let clients = Load::start(self.seed, u64::MAX);
        let writer = Writer::start(&self.folder.path().join("app.log"), self.seed);
        for round in 1..=kills {
            let moment = [0, 0, 0, 1, 2][random.usize(0..5)];
            moments[moment] += 1;
            let mut engine = match moment {
                1 => Engine::spawn(&self.file, &data, &[]),
                _ => Engine::start(&self.file, &data, &[]),
            };
            if moment == 1 {
                pause(Duration::from_millis(random.u64(0..150)));
            } else {
                clients.point_at(&engine);
                pause(Duration::from_millis(random.u64(20..350)));
            }
            if moment == 2 {
                topology::save(&self.file, &self.core.random(random, round));
                engine.signal(Signal::SIGHUP);
                pause(Duration::from_millis(random.u64(0..80)));
            }
            clients.point_away();
            engine.kill();
        }
        let mut engine = Engine::start(&self.file, &data, &[]);
        clients.point_at(&engine);
        let mut ledger = clients.end();
        ledger.merge(writer.end());
        store::settle(&engine);
        ledger.wait_for_hook(&self.hook);
        ledger.wait_for_store(&data);
        assert_eq!(engine.stop(), 0);
        let store = store::open(&data);
        load::assert_settled(&store);
        let stored = ledger.against_store(&store, &["events"]);
        ledger.tell_lost(&store);
        figures.lost += stored.lost + ledger.against_hook(&self.hook).lost;
        figures.doubled += stored.doubled;
        ledger
    }
}

/// A program that writes a log, through every kill of its reader.
struct Writer {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Ledger>,
}

impl Writer {
    fn start(path: &Path, seed: u64) -> Writer {
        let mut file = File::create(path).expect("the log can be made");
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (mut ledger, mut random) = (Ledger::default(), fastrand::Rng::with_seed(seed));
            for number in 0.. {
                let id = format!("{seed:x}-file-{number}");
                let event = load::event(&mut random, &id, number);
                // In two pieces, so that a look may find half a line.
                let line = format!("{event}\n");
                let (begin, end) = line.as_bytes().split_at(event.len() / 3);
                file.write_all(begin).expect("it is written");
                file.write_all(end).expect("it is written");
                ledger.note(id, &event);
                let pace = Duration::from_millis(random.u64(0..10));
                if stopped.recv_timeout(pace) != Err(mpsc::RecvTimeoutError::Timeout) {
                    break;
                }
            }
            ledger
        });
        Writer { stop, thread }
    }

    fn end(self) -> Ledger {
        self.stop.send(()).expect("it writes");
        self.thread.join().expect("it wrote")
    }
}
