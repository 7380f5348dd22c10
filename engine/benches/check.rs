//! How long `engine check` takes: the shipped pipeline as a process, large and hostile files in
//! this one. Each figure is the best of several, with the limit that it must keep.
#![expect(clippy::print_stdout, reason = "the figures are its result")]

use compiler::document;
use compiler::files::PipelinePath;
use compiler::load::{PipelineLoader, PipelineTexts};
use compiler::report::{self, CheckedFile};
use language::Environment;
use language::diagnostic::Diagnostic;
use stages::catalog::Catalog;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

struct Bare;

impl Environment for Bare {
    fn is_set(&self, _: &str) -> bool {
        false
    }

    fn value(&self, _: &str) -> Option<String> {
        None
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

fn best<T>(rounds: usize, mut job: impl FnMut() -> T) -> Duration {
    let time = |()| {
        let began = now();
        job();
        began.elapsed()
    };
    std::iter::repeat_n((), rounds).map(time).min().unwrap_or_default()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("engine/ lies in it").to_owned()
}

fn check(bytes: &[u8]) -> Vec<Diagnostic> {
    let place = &PipelinePath::of(&root().join("pipelines/made.kdl"), None, None);
    let loader =
        PipelineLoader { place, overrides: &[], catalog: &Catalog::built_in(), environment: &Bare };
    let given = PipelineTexts::of(bytes, Path::new("made.kdl"));
    given.map_or_else(|it| *it, |given| loader.check(&given)).diagnostics
}

fn show(name: &str, took: Duration, limit: Duration, findings: usize) {
    let verdict = if took <= limit { "" } else { "  <-- OVER ITS LIMIT" };
    let (took, limit) = (took.as_secs_f64() * 1e3, limit.as_secs_f64() * 1e3);
    println!("{name:46} {took:8.1} ms of {limit:6.0}, {findings} findings{verdict}");
}

const HEAD: &str = "pipeline made schema-version=1\nsource http front { path \"/events\"; }\n";
const TAIL: &str =
    "sink sqlite db {\n    path \"../data/made.db\"\n    retention { keep \"30d\"; }\n}\n";

fn stages(count: usize, line: impl Fn(usize) -> String) -> String {
    let lines: String = (0..count).map(line).collect();
    format!("{HEAD}{lines}{TAIL}")
}

/// Graphs of thousands of nodes.
fn graphs() -> Vec<(&'static str, String)> {
    let before = |number: usize| number.saturating_sub(1);
    vec![
        (
            "2,000 stages, each behind the last",
            stages(2000, |it| match it {
                0 => "enrich metadata s0\n".to_owned(),
                _ => format!("enrich metadata s{it} {{ after s{}; }}\n", before(it)),
            }),
        ),
        (
            "2,000 stages, in the wrong order",
            stages(2000, |it| match it {
                1999 => "enrich metadata s1999\n".to_owned(),
                _ => format!("enrich metadata s{it} {{ after s{}; }}\n", it + 1),
            }),
        ),
        (
            "2,000 stages in one circle",
            stages(2000, |it| format!("enrich metadata s{it} {{ after s{}; }}\n", (it + 1) % 2000)),
        ),
        (
            "2,000 stages that wait for nobody",
            stages(2000, |it| format!("enrich metadata s{it} {{ needs gone{it}; }}\n")),
        ),
        (
            "2,000 http stages with a policy",
            stages(2000, |it| {
                format!("enrich http s{it} {{ get \"http://h/{{{{ event.id }}}}\"; policy p; }}\n")
            }) + "policy p { retry 2; }\n",
        ),
        (
            "1,600 nested policies",
            stages(1600, |it| format!("policy p{it} {{ policy p{}; timeout \"1s\"; }}\n", it + 1)),
        ),
    ]
}

/// Files as large as they may be, sound or wrong everywhere.
fn full() -> Vec<(&'static str, String)> {
    vec![
        ("9,900 nodes nobody knows", stages(9900, |it| format!("nod{it} x\n"))),
        ("9,900 misspelt sinks", stages(9900, |it| format!("sikn sqlite n{it}\n"))),
        ("9,000 nodes of one name", stages(9000, |_| "enrich metadata same\n".to_owned())),
        (
            "4,000 files of one path",
            stages(2400, |it| format!("notify file n{it} {{ path \"../data/one.jsonl\"; }}\n")),
        ),
        ("1 MiB of long names", stages(900, |it| format!("{}{it} x\n", "n".repeat(1100)))),
        (
            "1 MiB of expressions",
            stages(250, |it| {
                format!("filter f{it} {{ keep when=\"{}data.x\"; }}\n", "data.x + ".repeat(440))
            }),
        ),
        (
            "1 MiB of unknown roots in expressions",
            stages(250, |it| {
                format!("filter f{it} {{ keep when=\"{}data.x\"; }}\n", "dta.x || ".repeat(440))
            }),
        ),
        ("1 MiB of comment", format!("{HEAD}/*{}*/\n{TAIL}", " /* x */".repeat(130_000))),
        ("1 MiB of stars in a comment", format!("{HEAD}/*{}*/\n{TAIL}", "* ".repeat(500_000))),
        ("1 MiB of escaped line ends", format!("{HEAD}param x{}\n{TAIL}", " \\\n".repeat(300_000))),
        ("9,000 semicolons", format!("{HEAD}{}\n{TAIL}", ";".repeat(9000))),
        ("1 MiB of blank lines", format!("{HEAD}{}\n{TAIL}", "\n".repeat(1_000_000))),
        ("1 MiB of line comments", format!("{HEAD}{}\n{TAIL}", "//\n".repeat(340_000))),
        ("1 MiB of small comments", format!("{HEAD}{}\n{TAIL}", "/**/ ".repeat(200_000))),
        ("400 slashdashed values", format!("{HEAD}limits {}\n{TAIL}", "/-a=1 ".repeat(400))),
        ("1 MiB in one text", format!("{HEAD}param x \"{}\"\n{TAIL}", "é\\n".repeat(250_000))),
        ("1,000 properties of one node", format!("{HEAD}limits {}\n{TAIL}", "a=1 ".repeat(1000))),
        (
            "60 patterns as large as may be",
            stages(60, |it| {
                format!("filter f{it} {{ keep when=\"matches(data.x, '\\\\\\\\w{{200}}')\"; }}\n")
            }),
        ),
    ]
}

/// Files that are refused before they are parsed, or are no KDL.
fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let fill = |piece: &str, length: usize| piece.repeat(length / piece.len()).into_bytes();
    let full = document::SIZE_MAX;
    vec![
        ("more than 1 MiB", vec![b' '; full + 1]),
        ("bytes that are no text", vec![0xFF; full]),
        ("100,000 open blocks", fill("a {", 300_000)),
        ("1 MiB of open comments", fill("/*", full)),
        ("more nodes than are read", fill("a\n", full)),
        ("more values than are read", fill("a=1 ", full)),
        ("1 MiB in brackets", fill("[", full)),
        ("1 MiB of quotes", fill("\"", full)),
    ]
}

/// Texts that are mended and parsed again.
fn broken() -> Vec<(&'static str, String)> {
    vec![
        ("9,000 lines with a slip", "max-age=10m\n".repeat(9000)),
        ("9,000 lines of YAML", "timeout: 5s\n".repeat(9000)),
        ("9,000 comments with #", "a # b\n".repeat(9000)),
        ("60 blocks never closed", "a {\n".repeat(60)),
        ("20,000 braces too many", "}\n".repeat(20_000)),
        ("1 MiB of parentheses", "(".repeat(1 << 19)),
        ("500 KiB of backslashes", "\\ ".repeat(250_000)),
        ("1 MiB of NUL", "\0".repeat(1 << 20)),
    ]
}

fn main() {
    let engine = env!("CARGO_BIN_EXE_engine");
    let file = root().join("pipelines/doorbell.kdl");
    let process = |file: &Path| {
        let mut command = Command::new(engine);
        command.arg("check").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("the engine starts")
    };
    show("doorbell.kdl, whole process", best(20, || process(&file)), Duration::from_millis(20), 0);
    for (name, text) in graphs().into_iter().chain(full()) {
        let found = check(text.as_bytes());
        let took = best(3, || check(text.as_bytes()));
        show(name, took, Duration::from_secs(1), found.len());
        let told = best(1, || report::human(&found, false, 100).len());
        let checked = [CheckedFile { name: "made.kdl".to_owned(), found: found.clone() }];
        let json = best(1, || report::json(&checked).len());
        if 100 < (told + json).as_millis() {
            show("  …and its report", told, Duration::from_millis(500), found.len());
            show("  …as JSON", json, Duration::from_secs(1), found.len());
        }
    }
    for (name, bytes) in refused() {
        let findings = check(&bytes).len();
        show(name, best(3, || check(&bytes)), Duration::from_millis(50), findings);
    }
    for (name, text) in broken() {
        let findings = check(text.as_bytes()).len();
        show(name, best(3, || check(text.as_bytes())), Duration::from_secs(1), findings);
    }
}
