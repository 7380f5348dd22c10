//! Reloads as cases of data, on the virtual clock: `tests/reload/NAME/` holds the versions of a
//! pipeline file and a transcript. Lines that begin with `>` are what is done, the lines after
//! them what happened. `UPDATE_CASES=1` writes what happened.
//!
//! ```text
//! > start 1.kdl                  > reload 2.kdl
//! > post SOURCE JSON             > advance 10s
//! > outside HOST 200 after 2s    > outside HOST hangs        > outside HOST refuses
//! > connect PATH as NAME         > connect PATH from 3 as NAME
//! > write FILE TEXT              > append FILE TEXT          > remove FILE
//! > address HOST:PORT is taken   > deliveries                > stop
//! ```

use crate::support::root;
use crate::support::world::{Behaviour, World};
use language::parse_duration;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

#[test]
fn every_reload_happens_as_its_transcript_says() {
    let mut wrong = Vec::new();
    let mut cases: Vec<_> =
        fs::read_dir(root().join("tests/reload")).expect("a folder").flatten().collect();
    cases.sort_by_key(std::fs::DirEntry::path);
    assert!(!cases.is_empty(), "there are cases");
    for case in cases {
        let file = case.path().join("transcript");
        let expected = fs::read_to_string(&file).expect("a transcript");
        let happened = play(&case.path(), &expected);
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&file, &happened).expect("it writes");
        } else if happened != expected {
            wrong.push(format!("{}:\n{happened}", case.file_name().display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Does what the transcript says and writes what happens.
fn play(case: &Path, transcript: &str) -> String {
    let (mut world, mut text) = (None, String::new());
    for line in transcript.lines() {
        if line.starts_with('#') || line.is_empty() {
            text.push_str(&format!("{line}\n"));
        } else if let Some(command) = line.strip_prefix("> ") {
            text.push_str(&format!("{line}\n"));
            for happened in step(case, &mut world, command) {
                text.push_str(&format!("{happened}\n"));
            }
        }
    }
    if let Some(world) = world {
        world.close();
    }
    text
}

/// Does one thing; what happened meanwhile.
fn step(case: &Path, world: &mut Option<World>, command: &str) -> Vec<String> {
    let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
    let mut said = Vec::new();
    if word == "start" {
        let text = fs::read_to_string(case.join(rest)).expect("a pipeline");
        match World::start(folder(), &text, 1) {
            Ok(started) => *world = Some(started),
            Err(why) => said.push(format!("does not start: {why}")),
        }
    }
    if word == "stop" {
        let stopped = world.take().expect("it runs");
        let journal = stopped.journal.clone();
        stopped.close();
        return journal.take();
    }
    let Some(world) = world else { return said };
    match word {
        "start" => {}
        "reload" => {
            world.reload(&fs::read_to_string(case.join(rest)).expect("a pipeline"));
            said.push(world.last_reload());
        }
        "post" => {
            let (source, body) = rest.split_once(' ').expect("post SOURCE JSON");
            said.push(world.post(source, body));
        }
        "advance" => world.simulation.advance(parse_duration(rest).expect("a duration")),
        "outside" => {
            let (host, how) = rest.split_once(' ').expect("outside HOST HOW");
            world.outside.behave(host, behaviour(how));
        }
        "connect" => {
            let (place, name) = rest.split_once(" as ").expect("connect PATH as NAME");
            let (path, from) = place.split_once(" from ").unwrap_or((place, ""));
            world.connect(path, from.parse().ok(), name);
        }
        "write" | "append" | "remove" => edit(world, word, rest),
        "address" => match rest.strip_suffix(" is taken") {
            Some(address) => world.take_address(address),
            None => world.free_address(rest.strip_suffix(" is free").expect("is taken or free")),
        },
        "deliveries" => said.extend(deliveries(world)),
        other => panic!("`{other}` is not a step"),
    }
    world.simulation.settle();
    // What happened, then what was said about it, then what works less or better than before.
    let mut lines = world.journal.take();
    lines.extend(said);
    lines.extend(world.health_changes());
    lines
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("in")).expect("a folder");
    folder
}

fn behaviour(how: &str) -> Behaviour {
    match how {
        "hangs" => Behaviour::Hang,
        "refuses" => Behaviour::Refuse,
        _ => {
            let (status, after) = how.split_once(" after ").unwrap_or((how, "0s"));
            let after = parse_duration(after).unwrap_or(Duration::ZERO);
            Behaviour::Status(status.parse().expect("a status"), after)
        }
    }
}

fn edit(world: &World, word: &str, rest: &str) {
    let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let path = world.path(name);
    let text = format!("{}\n", text.replace("\\n", "\n"));
    match word {
        "write" => {
            fs::write(&path, text).expect("it writes");
            // As a secret is to be; others are told of.
            fs::set_permissions(path, Permissions::from_mode(0o600)).expect("it is ours");
        }
        "append" => {
            let mut whole = fs::read_to_string(&path).unwrap_or_default();
            whole.push_str(&text);
            fs::write(path, whole).expect("it writes");
        }
        _ => fs::remove_file(path).expect("it is there"),
    }
}

/// Every delivery with its state: `chat 1 pending after 2 attempts: reason`.
fn deliveries(world: &World) -> Vec<String> {
    let seqs: Vec<u64> = world.stored.lock().expect("no panic").iter().map(|it| it.seq).collect();
    let rows = world.read(move |reader| {
        seqs.iter().map(|seq| reader.deliveries_of(*seq)).collect::<Result<Vec<_>, _>>()
    });
    let rows = rows.into_iter().flatten();
    rows.map(|row| {
        let error = row.last_error.map_or_else(String::new, |last_error| format!(": {last_error}"));
        let (sink, seq, state, attempts) = (row.sink, row.seq, row.state.word(), row.attempts);
        format!("{sink} {seq} {state} after {attempts} attempts{error}")
    })
    .collect()
}
