//! Tables, secrets and variables that are missing, empty or broken: at the start, and while the
//! engine runs.

use crate::support::world::World;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const PIPELINE: &str = r#"
pipeline small schema-version=1

source http bell {
    path "/bell"
    auth bearer=(file)"token"
}

enrich lookup who {
    table "people.csv" key=id
    match "data.who"
}

sink sqlite db {
    path "db.sqlite"
    retention {
        keep "30d"
    }
}
"#;

fn world() -> World {
    let folder = tempfile::tempdir().expect("a folder");
    write_secret(&folder.path().join("token"), "one\n");
    std::fs::write(folder.path().join("people.csv"), "id,name\na,Anna\n").expect("it writes");
    let mut world = World::start(folder, PIPELINE, 1).expect("it starts");
    assert_eq!(world.health_changes(), [""; 0]);
    assert_eq!(parts(&world), ["table people.csv", "secret token"]);
    world
}

/// The parts that this is about, wrong or not.
fn parts(world: &World) -> Vec<String> {
    let folder = format!("{}/", world.folder.path().display());
    let reports = world.simulation.env.health.report();
    let names = reports.iter().map(|report| report.part.to_string().replace(&folder, ""));
    names.filter(|name| name.starts_with("table ") || name.starts_with("secret ")).collect()
}

/// What changes at a look at the files, without what is said of the pipeline file.
fn look(world: &mut World) -> Vec<String> {
    world.reload(PIPELINE);
    let mut changes = world.health_changes();
    changes.retain(|it| !it.starts_with("config "));
    changes
}

#[test]
fn a_table_that_cannot_be_used_is_named_until_it_can() {
    let mut world = world();
    let path = world.path("people.csv");
    std::fs::write(&path, "id,name\na\n").expect("it writes");
    let broken = "table people.csv is degraded: line 2 of the table has 1 field, not 2";
    assert_eq!(look(&mut world), [broken]);
    std::fs::remove_file(&path).expect("it is there");
    let missing = "table people.csv is degraded: cannot read the table: file not found";
    assert_eq!(look(&mut world), [missing]);
    assert_eq!(world.engine.generation().number, 1, "it keeps the rows that it has");
    std::fs::write(&path, "id,name\na,Anne\n").expect("it writes");
    assert_eq!(look(&mut world), ["table people.csv is ok"]);
    assert_eq!(world.engine.generation().number, 2);
    std::fs::write(&path, "id,name\n").expect("it writes");
    assert_eq!(look(&mut world), [] as [&str; 0], "a table may have no rows");
    std::fs::write(&path, "").expect("it writes");
    let empty = "table people.csv is degraded: the table has no header: its first line must name \
                 the columns";
    assert_eq!(look(&mut world), [empty]);
    assert_eq!(world.engine.generation().number, 3, "it keeps the table that it has");
    std::fs::write(&path, "name\n").expect("it writes");
    let keyless = "table people.csv is degraded: the table has no column `id`";
    assert_eq!(look(&mut world), [keyless]);
    // A mistake in the file itself says nothing about its tables.
    std::fs::write(&path, "id,id\n").expect("it writes");
    let twice = "table people.csv is degraded: two columns of the table are called `id`";
    assert_eq!(look(&mut world), [twice]);
    world.reload("pipeline small {");
    assert!(!world.health_changes().iter().any(|it| it.starts_with("table ")));
    let without: String = PIPELINE.replace("enrich lookup who", "enrich lookup other");
    world.reload(&without.replace("people.csv", "others.csv"));
    assert!(world.health_changes().contains(
        &"table others.csv is degraded: cannot read the table: file not found".to_owned()
    ));
    std::fs::write(world.path("others.csv"), "id,name\n").expect("it writes");
    world.reload(&without.replace("people.csv", "others.csv"));
    assert_eq!(parts(&world), ["table others.csv", "secret token"], "only what is read");
}

/// A secret that others may read would be a problem of its own.
fn write_secret(path: &Path, text: &str) {
    std::fs::write(path, text).expect("it writes");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("it is set");
}

#[test]
fn a_secret_that_vanishes_is_named_until_it_is_back_and_a_rotated_one_is_taken() {
    let mut world = world();
    let path = world.path("token");
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(look(&mut world), ["secret token is degraded: file not found"]);
    write_secret(&path, "\n");
    assert_eq!(look(&mut world), ["secret token is degraded: it is empty"]);
    assert_eq!(world.engine.generation().number, 1, "it keeps the secret that it has");
    let post = |world: &World, token: &str| {
        let head = format!("POST /bell HTTP/1.1\r\nAuthorization: Bearer {token}");
        world.request(&head, r#"{"type":"x","who":"a"}"#).0
    };
    assert_eq!((post(&world, "one"), post(&world, "")), (202, 401));
    write_secret(&path, "one\n");
    assert_eq!(look(&mut world), ["secret token is ok"]);
    assert_eq!(world.engine.generation().number, 1, "nothing has changed");
    write_secret(&path, "two\n");
    assert_eq!(look(&mut world), [] as [&str; 0]);
    assert_eq!(world.engine.generation().number, 2);
    assert_eq!((post(&world, "one"), post(&world, "two")), (401, 202));
}

/// Runs a pipeline to its end with `E` set to nothing; the exit code and what it says.
fn run_with_empty(folder: &Path, target: &str) -> (i32, String) {
    with_value(folder, &["run", "--once", "--set", "server.listen=127.0.0.1:0"], "", target)
}

/// Calls the engine for a pipeline with a value in `E`; the exit code and all that it says.
fn with_value(folder: &Path, arguments: &[&str], value: &str, target: &str) -> (i32, String) {
    let text = format!(
        "pipeline small schema-version=1\nsource file in {{ path \"in.jsonl\" }}\n\
         sink sqlite db {{ path \"db.sqlite\"; retention {{ keep \"1d\" }} }}\n{target}\n"
    );
    std::fs::write(folder.join("small.kdl"), text).expect("it writes");
    std::fs::write(folder.join("in.jsonl"), "{\"type\":\"x\"}\n").expect("it writes");
    let run = Command::new(env!("CARGO_BIN_EXE_engine"))
        .args(arguments)
        .arg("small.kdl")
        .current_dir(folder)
        .env_clear()
        .env("E", value)
        .output()
        .expect("it runs");
    let said = String::from_utf8([run.stdout, run.stderr].concat()).expect("it is text");
    (run.status.code().expect("it exits"), said)
}

#[test]
fn a_variable_that_holds_what_the_file_could_not_say_is_refused_by_check_and_at_the_start() {
    let url = "notify webhook t { url (env)\"E\" }";
    let listen = "server { listen (env)\"E\" }";
    for (target, value) in [
        (url, "not a s3cret"),
        (url, "ftp://s3cret/"),
        (url, "http://127.0.0.1:99999/s3cret"),
        (url, " http://127.0.0.1:1/s3cret"),
        ("notify slack t { url (env)\"E\" }", "s3cret"),
        ("enrich http t { get (env)\"E\" }", "s3cret"),
        (listen, "abc"),
        (listen, "8600"),
        (listen, "127.0.0.1:99999"),
    ] {
        let folder = TempDir::new().expect("a folder");
        for arguments in [&["check"][..], &["run", "--once"]] {
            let (code, said) = with_value(folder.path(), arguments, value, target);
            assert_eq!((code, said.contains("the value of `E`")), (1, true), "{value}: {said}");
            assert!(!said.contains("s3cret"), "{said}");
        }
    }
}

#[test]
fn a_stage_is_off_without_an_optional_variable_also_when_it_is_set_to_nothing() {
    for target in [
        "notify ntfy t { topic (env)\"E\" optional=#true }",
        "notify webhook t { url (env)\"E\" optional=#true }",
        "enrich http t { get (env)\"E\" optional=#true }",
        "enrich http t { get \"http://127.0.0.1:1/\"; header \"x\" (env)\"E\" optional=#true }",
    ] {
        let folder = TempDir::new().expect("a folder");
        let (code, said) = run_with_empty(folder.path(), target);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("`t` is off: environment variable `E` is empty"), "{said}");
        assert!(said.contains("stored=1"), "{said}");
        assert!(said.contains("dead=0") && said.contains("delivered=0"), "{said}");
    }
}

#[test]
fn a_needed_variable_that_is_set_to_nothing_is_an_error() {
    let folder = TempDir::new().expect("a folder");
    let target = "notify webhook t { url (env)\"E\" }";
    let (code, said) = run_with_empty(folder.path(), target);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("environment variable `E` is empty"), "{said}");
    assert!(said.contains("give `E` a value"), "{said}");
}
