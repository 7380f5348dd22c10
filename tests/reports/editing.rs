//! Ways in which a running pipeline's files change.

use super::{Site, pipeline, until_added, until_stale};
use crate::support::Engine;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

/// A pipeline that adds this word.
fn saying(word: &str) -> String {
    pipeline(&format!("enrich set said {{ set \"word\" \"{word}\" }}"))
}

fn said(engine: &Engine, word: &str) {
    until_added(engine, &[&format!("\"{word}\"")]);
}

#[test]
fn a_mounted_folder_that_is_swapped_behind_its_links_is_taken_over_each_time() {
    let site = Site::new();
    let mount = |number: u32, word: &str, colour: &str| {
        let of = |name: &str| format!("pipelines/..{number}/{name}");
        let whole = format!(
            "include \"part.kdl\"\nenrich set said {{ set \"word\" \"{word}\" }}\n\
             enrich lookup who {{ table \"people.csv\" key=id; match \"data.who\" }}"
        );
        site.write(&of("small.kdl"), pipeline(&whole));
        site.write(&of("part.kdl"), format!("enrich set part {{ set \"c\" \"{colour}\" }}\n"));
        site.write(&of("people.csv"), format!("id,name\na,{word}-name\n"));
        let beside = site.path("pipelines/..data-new");
        symlink(format!("..{number}"), &beside).expect("a link");
        fs::rename(&beside, site.path("pipelines/..data")).expect("the swap");
    };
    mount(1, "first", "red");
    for name in ["small.kdl", "part.kdl", "people.csv"] {
        symlink(format!("..data/{name}"), site.path("pipelines").join(name)).expect("a link");
    }
    let engine = Engine::start(&site.file(), &site.data(), &[]);
    until_added(&engine, &["\"first\"", "\"red\"", "\"first-name\""]);
    for (number, word, colour) in [(2, "second", "green"), (3, "third", "blue")] {
        mount(number, word, colour);
        fs::remove_dir_all(site.path(&format!("pipelines/..{}", number - 1))).expect("it goes");
        let name = format!("\"{word}-name\"");
        until_added(&engine, &[&format!("\"{word}\""), &format!("\"{colour}\""), &name]);
    }
}

#[test]
fn however_an_editor_saves_the_file_is_taken() {
    let site = Site::new();
    let engine = site.start(&saying("start"));
    let (file, backup) = (site.file(), site.path("pipelines/small.kdl~"));
    for word in ["aside", "aside-again"] {
        fs::rename(&file, &backup).expect("it is set aside");
        fs::write(&file, saying(word)).expect("it is written");
        fs::remove_file(&backup).expect("it goes");
        said(&engine, word);
    }
    fs::write(&backup, saying("over")).expect("it is written");
    fs::rename(&backup, &file).expect("it is renamed over the other");
    said(&engine, "over");
    fs::write(&file, saying("place")).expect("it is written in place");
    said(&engine, "place");
    // As long as the one before, and as old.
    let modified = fs::metadata(&file).and_then(|metadata| metadata.modified()).expect("a time");
    fs::write(&file, saying("PLACE")).expect("it is written in place");
    let opened = fs::File::options().write(true).open(&file).expect("it opens");
    opened.set_modified(modified).expect("the time can be set");
    said(&engine, "PLACE");
    fs::rename(site.path("pipelines"), site.path("before")).expect("the folder goes");
    site.write("pipelines/small.kdl", saying("elsewhere"));
    said(&engine, "elsewhere");
    fs::write(&file, saying("later")).expect("it is written");
    said(&engine, "later");
}

#[test]
fn half_a_file_or_none_leaves_what_ran_and_the_whole_one_is_taken() {
    let site = Site::new();
    let engine = site.start(&saying("start"));
    let whole = saying("whole");
    fs::write(site.file(), &whole[..whole.len() - 10]).expect("half of it is written");
    until_stale(&engine);
    said(&engine, "start");
    fs::write(site.file(), &whole).expect("all of it is written");
    said(&engine, "whole");
    fs::remove_file(site.file()).expect("it goes");
    until_stale(&engine);
    said(&engine, "whole");
    fs::write(site.file(), saying("back")).expect("it is written");
    said(&engine, "back");
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn where_the_kernel_has_no_watch_left_the_file_is_followed_all_the_same() {
    let in_namespace = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user"]);
        command
    };
    let limits = ["max_inotify_instances", "max_inotify_watches"];
    for limit in limits.map(|name| format!("/proc/sys/user/{name}")) {
        let set = format!("echo 0 > {limit}");
        let tried = in_namespace().args(["sh", "-c", &set]).output();
        if !tried.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: no user namespace in which {limit} can be set");
            continue;
        }
        let site = Site::new();
        site.write("pipelines/small.kdl", saying("first"));
        let mut command = in_namespace();
        command.args(["sh", "-c", &format!("{set} && exec \"$@\""), "sh"]);
        command.arg(env!("CARGO_BIN_EXE_engine"));
        let engine = Engine::spawn_by(command, &site.file(), &site.data(), &[]).ready();
        said(&engine, "first");
        fs::write(site.file(), saying("second")).expect("it is written");
        said(&engine, "second");
    }
}

#[test]
fn included_files_and_tables_come_and_go_one_by_one_and_together() {
    let site = Site::new();
    let main = |word: &str| {
        pipeline(&format!(
            "include \"more/*.kdl\" optional=#true\nenrich set said {{ set \"word\" \"{word}\" }}\n\
             enrich lookup who {{ table \"people.csv\" key=id; match \"data.who\" }}"
        ))
    };
    let part =
        |name: &str, value: &str| format!("enrich set {name} {{ set \"{name}\" \"{value}\" }}");
    site.write("pipelines/people.csv", "id,name\na,Anna\n");
    site.write("pipelines/more/one.kdl", part("one", "1"));
    let engine = site.start(&main("start"));
    until_added(&engine, &["\"1\"", "Anna"]);
    site.write("pipelines/more/two.kdl", part("two", "2"));
    until_added(&engine, &["\"1\"", "\"2\""]);
    fs::rename(site.path("pipelines/more/two.kdl"), site.path("pipelines/more/two.off"))
        .expect("it is renamed");
    engine.wait_for("closed enrich two");
    fs::remove_dir_all(site.path("pipelines/more")).expect("the folder goes");
    engine.wait_for("closed enrich one");
    site.write("pipelines/more/three.kdl", part("three", "3"));
    until_added(&engine, &["\"3\""]);
    site.write("pipelines/people.csv", "id,name\na,Beate\n");
    site.write("pipelines/small.kdl", main("together"));
    until_added(&engine, &["\"3\"", "Beate", "together"]);
    site.write("pipelines/more/four.kdl", part("three", "4"));
    until_stale(&engine);
    until_added(&engine, &["\"3\"", "Beate"]);
}
