//! `engine reload`.

use super::{PIPELINE, Site, run};
use std::fs;

/// An engine that does not look at its file by itself.
fn unwatched(text: &str) -> Site {
    Site::with(text, &["--watch", "off"])
}

#[test]
fn a_reload_is_over_when_the_command_ends_and_says_what_it_came_to() {
    let site = unwatched(PIPELINE);
    let write = |text: &str| fs::write(site.path("pipelines/home.kdl"), text).expect("it writes");
    site.prints(&["reload"], "generation 1 runs\n");
    write(&PIPELINE.replace("text\"", "said\""));
    site.prints(&["reload"], "generation 2 runs: replaced enrich sentence (set)\n");
    write(&PIPELINE.replace("enrich set", "enrich sett"));
    let answer = site.run(&["reload"]);
    assert_eq!((answer.code, &*answer.output), (1, ""));
    for part in [
        "E0012",
        "did you mean `set`?",
        "\n\nthe file could not be applied; generation 2 still runs\n",
    ] {
        assert!(answer.error.contains(part), "{}", answer.error);
    }
    write(&PIPELINE.replace("text\"", "said\""));
    site.prints(&["reload"], "generation 2 runs\n");
}

#[test]
fn many_who_ask_at_once_all_get_an_answer() {
    let site = unwatched(PIPELINE);
    fs::write(site.path("pipelines/home.kdl"), PIPELINE.replace("30d", "31d")).expect("it writes");
    let (folder, url) = (site.folder.path(), format!("http://{}", site.engine.address));
    let outputs: Vec<String> = std::thread::scope(|scope| {
        let ask = || run(folder, &["reload", "--url", &url], "").output;
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asked.into_iter().map(|it| it.join().expect("no thread panics")).collect()
    });
    assert!(outputs.iter().all(|output| output.starts_with("generation 2 runs")), "{outputs:?}");
}

#[test]
fn a_reload_needs_its_scope() {
    let guarded = format!(
        "{PIPELINE}server {{ auth {{ token admin (env)\"ADMIN\" scope=\"reload\"; token viewer (env)\"VIEWER\" scope=\"read\" }} }}\n"
    );
    let site = unwatched(&guarded);
    let token = |name: &str, secret: &str| {
        let file = site.path(name);
        fs::write(&file, secret).expect("it is written");
        format!("file:{}", file.display())
    };
    let (admin, viewer) = (token("admin", "s3cret"), token("viewer", "viewer"));
    site.prints(&["reload", "--token", &admin], "generation 1 runs\n");
    let answer = site.run(&["reload", "--token", &viewer]);
    assert_eq!((answer.code, &*answer.output), (2, ""));
    assert!(answer.error.contains("reload"), "{}", answer.error);
}
