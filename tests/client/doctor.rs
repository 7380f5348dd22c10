//! `engine doctor`, with and without a running engine.

use super::{PIPELINE, Site, run};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn write(folder: &Path, text: &str) {
    fs::create_dir_all(folder.join("pipelines")).expect("a folder");
    fs::write(folder.join("pipelines/home.kdl"), text).expect("it is written");
}

/// The exit code, and what is said about `about`: each with its grade.
fn findings(folder: &Path, more: &[&str], about: &str) -> (i32, Vec<String>) {
    let fixed = ["doctor", "pipelines/home.kdl", "--data", "data", "--format", "json"];
    let answer = run(folder, &[&fixed[..], more].concat(), "");
    let body: Value = serde_json::from_str(&answer.output).expect("it is JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = body["findings"].as_array().expect("a list").iter();
    let found = found.filter(|it| it["about"] == about);
    let line = |value: &Value| {
        let help = value["help"].as_str().map_or_else(String::new, |help| format!("; {help}"));
        format!("{} {}{help}", text(&value["state"]), text(&value["message"]))
    };
    (answer.code, found.map(line).collect())
}

#[test]
fn what_a_first_start_needs_is_looked_at_and_nothing_is_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &format!("{PIPELINE}\nserver {{ listen \"127.0.0.1:0\" }}\n"));
    let about = |name: &str| findings(folder.path(), &[], name);
    assert_eq!(about("file"), (0, vec!["ok pipelines/home.kdl has no errors".to_owned()]));
    assert_eq!(about("data").1, ["ok data is created at the first start"]);
    assert_eq!(about("address").1, ["ok 127.0.0.1:0 is free"]);
    assert!(about("store").1.is_empty() && about("engine").1.is_empty());
    let version = format!("ok engine {}, SQLite ", env!("CARGO_PKG_VERSION"));
    assert!(about("version").1[0].starts_with(&version));
    assert!(about("clock").1[0].starts_with("ok the clock shows 20"));
    assert!(about("disk").1[0].ends_with(" are free on the disk"));
    assert!(!folder.path().join("data").exists());
    let answer = run(folder.path(), &["doctor", "pipelines/home.kdl", "--data", "data"], "");
    assert!(answer.output.contains("\nok       pipelines/home.kdl has no errors\n"));
    assert!(answer.error.starts_with("0 problems, "), "{}", answer.error);
}

#[test]
fn a_certificate_that_cannot_be_served_is_found_before_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let tls = "tls cert=\"../door.pem\" key=\"../door.key\"";
    write(folder.path(), &format!("{PIPELINE}\nserver {{ listen \"127.0.0.1:0\"; {tls} }}\n"));
    let (code, found) = findings(folder.path(), &[], "file");
    assert!(code == 1 && found[0].contains("home.kdl has 2 errors"), "{found:?}");
    let pair = crate::support::root().join("engine/wire/src/testing/localhost.pem");
    for name in ["door.pem", "door.key"] {
        fs::copy(&pair, folder.path().join(name)).expect("it copies");
    }
    fs::set_permissions(folder.path().join("door.key"), PermissionsExt::from_mode(0o600))
        .expect("it sets");
    let (code, found) = findings(folder.path(), &[], "tls");
    assert!(code == 0 && found[0].ends_with("door.pem and its key can be used"), "{found:?}");
}

#[test]
fn problems_are_named_with_what_helps() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it has one");
    write(folder.path(), &format!("{PIPELINE}\nserver {{ listen \"{address}\" }}\n"));
    let found = findings(folder.path(), &[], "address");
    assert_eq!(found.0, 1);
    assert!(found.1[0].starts_with(&format!("problem another program listens on {address}; ")));
    let file = folder.path().join("pipelines/home.kdl");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).expect("it sets");
    let found = findings(folder.path(), &[], "permissions").1;
    assert!(found[0].starts_with("warning pipelines/home.kdl: "), "{found:?}");
    fs::create_dir(folder.path().join("data")).expect("a folder");
    fs::write(folder.path().join("data/home.db"), "x".repeat(5000)).expect("it is written");
    let found = findings(folder.path(), &[], "store").1;
    assert!(found[0].starts_with("problem cannot read data/home.db: "), "{found:?}");
    write(folder.path(), "pipeline home\n");
    let check = "problem pipelines/home.kdl has 1 error; run `engine check pipelines/home.kdl`";
    assert_eq!(findings(folder.path(), &[], "file"), (1, vec![check.to_owned()]));
    let answer = run(folder.path(), &["doctor", "none.kdl"], "");
    assert_eq!((answer.code, &*answer.output), (2, ""));
    assert!(answer.error.starts_with("engine: cannot read none.kdl: "), "{}", answer.error);
    assert_eq!(run(folder.path(), &["doctor"], "").code, 2);
}

#[test]
fn a_running_engine_says_how_it_is() {
    let mut site = Site::start();
    let about = |name: &str| findings(site.folder.path(), &[], name);
    assert_eq!(about("engine"), (0, vec!["ok the engine runs and is ready".to_owned()]));
    assert!(about("address").1.is_empty(), "it is the engine's");
    assert_eq!(about("data").1, ["ok data can be written to"]);
    assert!(about("store").1[0].starts_with("ok the store has version "));
    let quick = ["doctor", "pipelines/home.kdl", "--data", "data", "--quick"];
    let answer = run(site.folder.path(), &quick, "");
    assert_eq!((answer.code, &*answer.output, &*answer.error), (0, "ready\n", ""));
    site.prints(&["doctor", "--quick", "--quiet"], "");
    let json = "{\n  \"format_version\": \"1.0\",\n  \"ready\": true,\n  \"reasons\": []\n}\n";
    site.prints(&["doctor", "--quick", "--format", "json"], json);
    site.prints(&["pause", "lines"], "lines is paused until it is resumed\n");
    let paused = "warning lines is paused until it is resumed: its deliveries wait; \
                  `engine resume lines` ends it";
    assert_eq!(
        about("engine"),
        (0, vec!["ok the engine runs and is ready".to_owned(), paused.to_owned()])
    );
    site.prints(&["resume", "lines"], "lines is resumed\n");
    fs::write(site.path("pipelines/home.kdl"), "pipeline home schema-version=1\nsource x\n")
        .expect("it is written");
    site.engine.wait_for("reload");
    let found = findings(site.folder.path(), &[], "file");
    assert_eq!(found.0, 1, "{found:?}");
    fs::write(site.path("pipelines/home.kdl"), PIPELINE).expect("it is written");
    assert_eq!(site.engine.stop(), 0);
    let answer = run(site.folder.path(), &quick, "");
    assert_eq!((answer.code, &*answer.output), (1, ""));
    assert!(answer.error.starts_with("engine: no engine runs pipelines/home.kdl, "));
    let answer = run(site.folder.path(), &[&quick[..], &["--format", "json"]].concat(), "");
    let body: Value = serde_json::from_str(&answer.output).expect("it is JSON");
    assert_eq!((answer.code, &body["ready"], &*answer.error), (1, &false.into(), ""));
    assert_eq!(body["reasons"].as_array().map(Vec::len), Some(1), "{body}");
    let answer = run(site.folder.path(), &["doctor", "--quick", "--url", &site.engine.address], "");
    assert_eq!(answer.code, 1);
    assert!(answer.error.contains("Connection refused"), "{}", answer.error);
}

#[test]
fn a_health_check_needs_no_token() {
    let auth = "server { auth { token admin (env)\"ADMIN\" scope=read } }";
    let site = Site::of(&format!("{PIPELINE}\n{auth}\n"));
    site.prints(&["doctor", "--quick"], "ready\n");
    site.prints(&["doctor", "--quick", "--token", "env:GOOD"], "ready\n");
}
