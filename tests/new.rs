//! `engine new`: what it writes is right from the start, and nothing is overwritten.

use crate::support::broker::Broker;
use crate::support::{Engine, engine, until};
use std::fs;
use std::path::{Path, PathBuf};

const TEMPLATES: [&str; 5] = ["minimal", "doorbell", "webhooks", "sensors", "frigate"];

/// Every file below a folder, as paths from there.
fn files(folder: &Path) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).expect("a folder") {
            let path: PathBuf = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let path = path.strip_prefix(folder).expect("it lies below");
                    found.push(path.display().to_string());
                }
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_template_checks_clean_and_is_in_our_layout() {
    for template in TEMPLATES {
        let folder = tempfile::tempdir().expect("a folder");
        let run = |arguments: &[&str]| {
            let answer = engine(folder.path(), arguments, "");
            (answer.code, answer.output, answer.error)
        };
        let (code, listed, _) = run(&["new", "my-house", "--template", template]);
        assert_eq!(code, 0, "{template}");
        let mut listed: Vec<&str> = listed.lines().collect();
        listed.sort_unstable();
        assert_eq!(listed, files(folder.path()), "{template}");
        for path in listed {
            let text = fs::read_to_string(folder.path().join(path)).expect("it reads");
            assert!(!text.contains("my-pipeline") && !path.contains("my-pipeline"), "{path}");
        }
        let clean = "1 file checked, no problems found\n".to_owned();
        let checked = run(&["check", "pipelines/my-house.kdl"]);
        assert_eq!(checked, (0, clean, String::new()), "{template}");
        let laid_out = run(&["fmt", "--check", "pipelines"]);
        assert_eq!(laid_out, (0, String::new(), String::new()), "{template}");
    }
}

#[test]
fn every_template_takes_its_sample_where_it_says() {
    for template in TEMPLATES.into_iter().filter(|template| *template != "frigate") {
        let folder = tempfile::tempdir().expect("a folder");
        let answer = engine(folder.path(), &["new", "house", "--template", template], "");
        let address = answer.error.split("http://127.0.0.1:8600").nth(1).expect("it says where");
        let path = address.lines().next().expect("a line");
        let sample = fs::read(folder.path().join("samples/house.json")).expect("it reads");
        let file = folder.path().join("pipelines/house.kdl");
        let mut engine = Engine::start(&file, &folder.path().join("data"), &[]);
        let (status, body) = engine.ask("POST", path, &sample);
        assert_eq!(status, 202, "{template}: {}", String::from_utf8_lossy(&body));
        let stats = engine.get("/api/events");
        assert_eq!(stats["events"].as_array().map(Vec::len), Some(1), "{template}");
        assert_eq!(engine.stop(), 0, "{template}");
    }
}

#[test]
fn the_template_of_frigate_takes_what_its_broker_has_and_proves_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let answer = engine(folder.path(), &["new", "house", "--template", "frigate"], "");
    assert!(answer.error.contains("-t frigate/events -f samples/house.json"), "{}", answer.error);
    let file = folder.path().join("pipelines/house.kdl");
    let tested = engine(folder.path(), &["test", "pipelines/house.kdl"], "");
    assert!(tested.code == 0 && tested.output.contains(": all ok"), "{}", tested.output);
    let Some(broker) = Broker::start("the template of Frigate") else { return };
    let sample = fs::read(folder.path().join("samples/house.json")).expect("it reads");
    let url = format!("source.frigate.url={}", broker.url());
    // At any hour of the day: nobody is told at night.
    let text = fs::read_to_string(&file).expect("it reads").replace("    quiet-hours", "    //");
    fs::write(&file, text).expect("it writes");
    let data = folder.path().join("data");
    let mut engine = Engine::start(&file, &data, &["--set", &url]);
    until("it has subscribed", || broker.log().contains("Sending SUBACK"));
    broker.publish("frigate/events", &sample, &["-q", "1"]);
    let told = || fs::read_to_string(data.join("house-told.jsonl")).unwrap_or_default();
    until("somebody is told", || told().contains("A person at the front door"));
    let listed = engine.get("/api/events");
    assert_eq!(listed["events"][0]["enrich"]["visit"]["phase"], "start", "{listed}");
    assert_eq!(engine.stop(), 0);
}

#[test]
fn the_files_and_what_to_do_with_them_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let answer = engine(folder.path(), &["new", "notes"], "");
    let output = "pipelines/notes.kdl\nschemas/notes.json\nsamples/notes.json\n";
    let error = "run it:        engine run pipelines/notes.kdl\n\
                 send to it:    curl --json @samples/notes.json http://127.0.0.1:8600/events\n\
                 look at it:    http://127.0.0.1:8600/\n";
    assert_eq!((answer.code, answer.output.as_str(), answer.error.as_str()), (0, output, error));
}

#[test]
fn what_is_already_there_is_left_and_nothing_else_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("samples")).expect("it makes a folder");
    fs::write(folder.path().join("samples/notes.json"), "mine").expect("it writes");
    let answer = engine(folder.path(), &["new", "notes"], "");
    let error = "engine: samples/notes.json already exists; nothing was written\n";
    assert_eq!((answer.code, answer.output.as_str(), answer.error.as_str()), (2, "", error));
    assert_eq!(files(folder.path()), ["samples/notes.json"]);
    let text = fs::read_to_string(folder.path().join("samples/notes.json")).expect("it reads");
    assert_eq!(text, "mine");
}

#[test]
fn a_name_that_no_pipeline_can_have_is_refused_with_one_that_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let answer = engine(folder.path(), &["new", "My House"], "");
    let error = "engine: `My House` cannot be the name of a pipeline; names are lower case \
                 letters, digits and dashes: `my-house`\n";
    assert_eq!((answer.code, answer.output.as_str(), answer.error.as_str()), (2, "", error));
    assert_eq!(files(folder.path()), Vec::<String>::new());
    let answer = engine(folder.path(), &["new", "../x"], "");
    assert_eq!((answer.code, files(folder.path())), (2, Vec::new()));
}
