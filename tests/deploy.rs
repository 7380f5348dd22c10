//! What is shipped beside the program: each file is run or linted as its tool would do it.

use crate::support::{Engine, engine, root};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).expect("the file is there")
}

/// The names of our metrics in a text, without what histograms add to theirs.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| word.starts_with("engine_"));
    let plain = ours.map(|our| {
        let ends = ["_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| our.strip_suffix(end)).unwrap_or(our).to_owned()
    });
    plain.collect()
}

#[test]
fn every_metric_of_alerts_and_dashboard_exists() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = root().join("pipelines/doorbell.kdl");
    let engine = Engine::start(&file, &folder.path().join("data"), &[]);
    let (status, body) = engine.ask("GET", "/metrics", b"");
    assert_eq!(status, 200);
    let shown = String::from_utf8(body).expect("it is text");
    let families = shown.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let families: BTreeSet<String> =
        families.filter_map(|family| Some(family.split(' ').next()?.to_owned())).collect();
    for (name, least) in
        [("docs/deploy/prometheus-alerts.yml", 9), ("docs/deploy/grafana-dashboard.json", 15)]
    {
        let named = metrics(&text(name));
        let unknown: Vec<_> = named
            .iter()
            .filter(|it| {
                // OpenMetrics calls the family of a counter without its ending.
                let family = it.strip_suffix("_total").unwrap_or(it);
                !families.contains(*it) && !families.contains(family)
            })
            .collect();
        assert!(unknown.is_empty(), "{name} has {unknown:?}, which are not in:\n{families:?}");
        assert!(least <= named.len(), "{name} names {} metrics", named.len());
    }
}

#[test]
fn the_dashboard_is_json_and_its_panels_do_not_overlap() {
    let dashboard: Value =
        serde_json::from_str(&text("docs/deploy/grafana-dashboard.json")).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("it has panels");
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let number = |value: &Value| value.as_u64().expect("a number");
        let place = &panel["gridPos"];
        assert!(number(&place["x"]) + number(&place["w"]) <= 24, "{panel}");
        assert!(ids.insert(number(&panel["id"])), "{panel}");
        assert!(places.insert((number(&place["x"]), number(&place["y"]))), "{panel}");
        for target in panel["targets"].as_array().expect("queries") {
            let query = target["expr"].as_str().expect("a query");
            assert_eq!(query.matches('(').count(), query.matches(')').count(), "{query}");
            assert!(query.contains("instance=~\"$instance\""), "{query}");
        }
    }
}

#[test]
fn the_unit_is_hardened_and_starts_what_the_command_line_takes() {
    let unit = text("docs/deploy/engine.service");
    for line in [
        "Type=notify-reload",
        "WatchdogSec=30",
        "RestartPreventExitStatus=1 65 77 78",
        "DynamicUser=yes",
        "StateDirectory=engine",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
    ] {
        assert!(unit.lines().any(|it| it == line), "{line}");
    }
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/engine "));
    let words: Vec<&str> = start.expect("it starts the engine").split(' ').collect();
    let ["run", "/etc/engine/pipelines/main.kdl", "--data", "/var/lib/engine"] = words[..] else {
        panic!("{words:?}")
    };
    let path = root().join("docs/deploy/engine.service");
    let analysis =
        Command::new("systemd-analyze").args(["security", "--offline=true"]).arg(path).output();
    // The tool is part of systemd, which not every machine has.
    let Ok(analysis) = analysis else { return };
    let said = String::from_utf8_lossy(&analysis.stdout).into_owned();
    if let Some(level) = said.split("Overall exposure level for engine.service: ").nth(1) {
        let level = level.split(' ').next().and_then(|part| part.parse::<f64>().ok());
        assert!(level.is_some_and(|level| level <= 2.0), "{said}");
    }
}

#[test]
fn the_pipelines_of_package_and_container_are_right() {
    for name in ["docs/deploy/main.kdl", "docs/deploy/container.kdl"] {
        let check = ["check", name, "--allow-missing-env", "--deny", "warnings", "--quiet"];
        let answer = engine(&root(), &check, "");
        assert_eq!((answer.code, answer.output.as_str(), answer.error.as_str()), (0, "", ""));
        let answer = engine(&root(), &["fmt", "--check", name], "");
        assert_eq!(answer.code, 0, "{name}");
    }
}

/// A folder with one pipeline, good or bad.
fn folder(is_good: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::create_dir(folder.path().join("pipelines")).expect("the folder can be made");
    let good = text("docs/deploy/main.kdl");
    let pipeline = if is_good { good } else { good.replace("keep \"30d\"", "kep \"30d\"") };
    std::fs::write(folder.path().join("pipelines/main.kdl"), pipeline).expect("it writes");
    let test = "test \"an event is stored\" {\n    given source=events {\n        body #\"{ \"type\": \
                \"ring\" }\"#\n    }\n    expect sink=store count=1\n}\n";
    std::fs::write(folder.path().join("pipelines/main.test.kdl"), test).expect("it writes");
    folder
}

#[test]
fn every_hook_passes_a_good_file_and_stops_a_bad_one() {
    let hooks = text(".pre-commit-hooks.yaml");
    let entries: Vec<&str> =
        hooks.lines().filter_map(|line| line.strip_prefix("  entry: engine ")).collect();
    let ids = hooks.lines().filter(|line| line.starts_with("- id: ")).count();
    assert_eq!((entries.len(), ids), (3, 3));
    for entry in entries {
        for is_good in [true, false] {
            let folder = folder(is_good);
            let mut arguments: Vec<&str> = entry.split(' ').collect();
            arguments.push("pipelines/main.kdl");
            let answer = engine(folder.path(), &arguments, "");
            // Formatting is not checking: what cannot be read as KDL is all that it refuses.
            let passes = is_good || entry == "fmt";
            assert_eq!(answer.code == 0, passes, "{entry}: {}{}", answer.output, answer.error);
        }
    }
}

/// The scripts of an action's steps by the steps' names.
fn steps(action: &str) -> Vec<(&str, String)> {
    let steps = action.split("    - name: ").skip(1);
    let steps = steps.filter_map(|step| {
        let name = step.lines().next()?;
        let script = step.split("      run: |\n").nth(1)?;
        Some((name, script.lines().map(|line| line.trim_start().to_owned() + "\n").collect()))
    });
    steps.collect()
}

#[test]
fn the_action_passes_good_pipelines_and_fails_on_bad_ones() {
    let action = text("docs/deploy/engine-check/action.yml");
    let steps = steps(&action);
    assert_eq!(steps.iter().map(|step| step.0).collect::<Vec<_>>(), ["Check", "Test"]);
    let run = |script: &str, folder: &Path, deny: &str| {
        let output = Command::new("bash")
            .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script])
            .current_dir(folder)
            .env("ENGINE", env!("CARGO_BIN_EXE_engine"))
            .env("PATHS", "pipelines")
            .env("FORMAT", "github")
            .env("DENY", deny)
            .output();
        let output = output.expect("bash is there");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said)
    };
    let (good, bad) = (folder(true), folder(false));
    for (_, script) in &steps {
        for deny in ["warnings", ""] {
            assert!(run(script, good.path(), deny).0, "{script}");
            assert!(!run(script, bad.path(), deny).0, "{script}");
        }
    }
    let (_, said) = run(&steps[0].1, bad.path(), "warnings");
    assert!(said.contains("::error file=pipelines/main.kdl,line="), "{said}");
}

#[test]
fn the_container_does_not_run_as_root_and_its_health_check_works() {
    let file = text("docs/deploy/Dockerfile");
    let user = file.lines().rfind(|line| line.starts_with("USER ")).expect("it has a user");
    assert_eq!(user, "USER 10001:10001");
    let copied = file
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|it| !it.starts_with("--"));
    for line in copied {
        let words: Vec<&str> = line.split(' ').collect();
        let (_, from) = words.split_last().expect("it copies something");
        from.iter().for_each(|it| assert!(root().join(it).exists(), "{it}"));
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let pipeline = root().join("docs/deploy/container.kdl");
    let fill = |words: Vec<String>| -> Vec<String> {
        let (pipeline, data) = (pipeline.display().to_string(), folder.path().join("data"));
        let fill = |text: String| match text.as_str() {
            "/etc/engine/pipelines/main.kdl" => pipeline.clone(),
            "/data" => data.display().to_string(),
            _ => text,
        };
        words.into_iter().map(fill).collect()
    };
    let health =
        file.lines().find(|line| line.trim().starts_with("CMD [\"engine\"")).expect("a check");
    let health: Vec<String> =
        serde_json::from_str(health.trim().trim_start_matches("CMD ")).expect("a list");
    let health = fill(health[1..].to_vec());
    let look = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
        command.args(&health).env("ENGINE_TOKEN", "a-token-of-the-test");
        let output = command.output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(look(), (Some(1), String::new()));
    let start = file.lines().find(|line| line.starts_with("CMD [\"run\"")).expect("a command");
    let start: Vec<String> =
        serde_json::from_str(start.trim_start_matches("CMD ")).expect("a list");
    assert_eq!(start, ["run", "/etc/engine/pipelines/main.kdl", "--data", "/data"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
    command.env("ENGINE_TOKEN", "a-token-of-the-test");
    let running = Engine::spawn_by(command, &pipeline, &folder.path().join("data"), &[]).ready();
    assert_eq!(look(), (Some(0), "ready\n".to_owned()));
    drop(running);
}

#[test]
fn everything_that_the_package_contains_is_there_or_is_built() {
    let manifest = text("engine/Cargo.toml");
    let (_, deb) = manifest.split_once("[package.metadata.deb]").expect("it has a package");
    let script = text("docs/deploy/build-deb");
    let sources: Vec<&str> =
        deb.lines().filter_map(|line| line.trim().strip_prefix("[\"")?.split('"').next()).collect();
    assert!(8 < sources.len(), "{sources:?}");
    for source in sources {
        match source.strip_prefix("../") {
            Some(built) if built.starts_with("target/deb/") => {
                let folder = built.split('/').nth(2).expect("a folder");
                assert!(script.contains(&format!("target/deb/{folder}")), "{built}");
            }
            Some(own) => assert!(root().join(own).exists(), "{own}"),
            None => assert_eq!(source, "target/release/engine"),
        }
    }
    // The commands that get a page, as the script finds them.
    let list =
        script.lines().find(|line| line.starts_with("commands=")).expect("it lists commands");
    let list = format!("{list}; echo $commands");
    let output = Command::new("bash")
        .args(["-c", &list])
        .env("engine", env!("CARGO_BIN_EXE_engine"))
        .output()
        .expect("bash is there");
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    for command in ["run", "check", "doctor", "dlq"] {
        assert!(found.split_whitespace().any(|word| word == command), "{found}");
    }
    let syntax = Command::new("bash").arg("-n").arg(root().join("docs/deploy/build-deb")).status();
    assert!(syntax.expect("bash is there").success());
}
