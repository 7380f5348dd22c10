//! The tests of the shipped pipelines see what breaks: each part of a file is taken out or turned
//! around, and then a test of the file fails, or the file no longer checks.
//!
//! What survives stands in a list with the reason; what is in the list and does not survive is
//! taken out of it.

use crate::support::root;
use compiler::files::PipelinePath;
use compiler::load::PipelineTexts;
use engine::test::{self, Coverage};
use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};
use language::diagnostic::SourceText;
use stages::catalog::Catalog;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A pipeline with one part broken.
struct Mutant {
    what: String,
    text: String,
}

/// Children whose arguments are a list.
const LISTS: &[&str] = &["after", "needs", "to", "include-fields", "select", "redact"];
/// Properties and nodes that hold a condition.
const CONDITIONS: &[&str] = &["when", "check", "except"];
/// Properties and nodes that hold another expression.
const EXPRESSIONS: &[&str] = &["key", "match", "set", "aggregate"];
/// Nodes that end in a template.
const TEMPLATES: &[&str] = &["title", "message", "body", "set"];
/// Nodes whose number counts.
const NUMBERS: &[&str] =
    &["cooldown", "timeout", "retry", "concurrency", "silent", "tumbling", "warm-up"];
/// Words that stand for another behaviour: node or property, the word, what takes its place.
const WORDS: &[(&str, &str, &str)] = &[
    ("mode", "first", "all"),
    ("default", "normal", "high"),
    ("case", "critical", "low"),
    ("case", "high", "low"),
    ("case", "low", "high"),
    ("on-invalid", "dead-letter", "reject"),
    ("on-unknown-type", "drop", "accept"),
    ("on-unknown-type", "dead-letter", "accept"),
    ("on-error", "continue", "dead-letter"),
    ("on-miss", "continue", "drop"),
];

/// Every way to break one part.
fn mutants(document: &KdlDocument) -> Vec<Mutant> {
    let mut all = Vec::new();
    let mut path = Vec::new();
    walk(document, document, &mut path, "", &mut all);
    all
}

fn walk(
    document: &KdlDocument,
    block: &KdlDocument,
    path: &mut Vec<usize>,
    above: &str,
    all: &mut Vec<Mutant>,
) {
    for (index, node) in block.nodes().iter().enumerate() {
        path.push(index);
        let name =
            if above.is_empty() { named(node) } else { format!("{above} > {}", named(node)) };
        let (last, parents) = path.split_last().expect("a node has a place");
        let mut less = document.clone();
        block_at(&mut less, parents).nodes_mut().remove(*last);
        all.push(Mutant { what: format!("{name}: deleted"), text: less.to_string() });
        for (entry, (how, new)) in entries(node) {
            let mut other = document.clone();
            let node = &mut block_at(&mut other, parents).nodes_mut()[*last];
            match new {
                Some(value) => replace(&mut node.entries_mut()[entry], value),
                None => drop(node.entries_mut().remove(entry)),
            }
            all.push(Mutant { what: format!("{name}: {how}"), text: other.to_string() });
        }
        if let Some(children) = node.children() {
            walk(document, children, path, &name, all);
        }
        path.pop();
    }
}

fn block_at<'d>(document: &'d mut KdlDocument, path: &[usize]) -> &'d mut KdlDocument {
    path.iter().fold(document, |block, index| {
        block.nodes_mut()[*index].children_mut().as_mut().expect("the path leads through blocks")
    })
}

fn replace(entry: &mut KdlEntry, value: KdlValue) {
    let name = entry.name().cloned();
    *entry = match name {
        Some(name) => KdlEntry::new_prop(name, value),
        None => KdlEntry::new(value),
    };
}

/// `enrich http weather`, `case urgent`.
fn named(node: &KdlNode) -> String {
    let is_short = |text: &&str| text.len() <= 24 && !text.contains(' ');
    let texts = node.entries().iter().filter(|entry| entry.name().is_none());
    let texts = texts.filter_map(|text| text.value().as_string()).filter(is_short).take(2);
    let words: Vec<&str> = [node.name().value()].into_iter().chain(texts).collect();
    words.join(" ")
}

/// Each way to break an entry: what it is called, and the value that takes the place of the old
/// one, or `None` where the entry goes.
type Broken = (String, Option<KdlValue>);

fn entries(node: &KdlNode) -> Vec<(usize, Broken)> {
    let kind = node.name().value();
    let mut all = Vec::new();
    let arguments = node.entries().iter().filter(|entry| entry.name().is_none()).count();
    for (index, entry) in node.entries().iter().enumerate() {
        let shown = entry.to_string().trim().to_owned();
        let mut add =
            |how: &str, value: Option<KdlValue>| all.push((index, (how.to_owned(), value)));
        let place = entry.name().map_or(kind, |name| name.value());
        if entry.name().is_some() || (LISTS.contains(&kind) && 1 < arguments) {
            add(&format!("without {}", cut(&shown)), None);
        }
        let text = |text: String| Some(KdlValue::String(text));
        if let Some(old) = entry.value().as_string() {
            let is_last = index + 1 == node.entries().len();
            if CONDITIONS.contains(&place) {
                add(&format!("{place} turned around"), text(format!("!({old})")));
            } else if EXPRESSIONS.contains(&place)
                && kind != "table"
                && (entry.name().is_some() || kind == "match")
            {
                add(&format!("{place} is null"), text("null".to_owned()));
            } else if TEMPLATES.contains(&kind) && is_last && entry.name().is_none() {
                add("another text", text("broken".to_owned()));
            }
            for (_, _, new) in WORDS.iter().filter(|word| word.0 == place && word.1 == old) {
                add(&format!("{new} instead of {old}"), text((*new).to_owned()));
            }
        }
        if NUMBERS.contains(&kind) && entry.name().is_none() {
            for change in [-1, 1] {
                if let Some(value) = changed(entry.value(), change) {
                    let shown = value.to_string();
                    add(&format!("{shown} instead of {}", entry.value()), Some(value));
                }
            }
        }
    }
    all
}

fn cut(text: &str) -> String {
    let text = text.replace(['\n', '\\'], " ");
    match text.char_indices().nth(32) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// `3` as `2`, `"60s"` as `"59s"`.
fn changed(value: &KdlValue, change: i128) -> Option<KdlValue> {
    if let Some(number) = value.as_integer() {
        return Some(KdlValue::Integer(number + change));
    }
    let text = value.as_string()?;
    let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let number = digits.parse::<i128>().ok()? + change;
    Some(KdlValue::String(format!("{number}{unit}")))
}

/// Whether the pipeline's own tests see that something is broken.
fn is_seen(mutant: &Mutant, file: &str, tests: &Arc<SourceText>, catalog: &Catalog) -> bool {
    let name = format!("pipelines/{file}.kdl");
    let place = PipelinePath::of(&root().join(&name), None, None);
    let source = Arc::new(SourceText { name, text: mutant.text.clone() });
    let mut suite =
        test::of(PipelineTexts { source, beside: Some(tests.clone()) }, &place, catalog);
    if !suite.is_sound() {
        return true;
    }
    let mut coverage = Coverage::default();
    let tests = suite.tests.clone();
    tests.iter().any(|it| test::run(&mut suite, it, catalog, &mut coverage).failed.is_some())
}

/// What breaks of a pipeline, and no test of it sees.
fn survivors(file: &str) -> Vec<String> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(root().join(name)).expect("it reads");
        Arc::new(SourceText { name: name.to_owned(), text })
    };
    let source = read(&format!("pipelines/{file}.kdl"));
    let tests = read(&format!("pipelines/{file}.test.kdl"));
    let document = KdlDocument::parse_v2(&source.text).expect("it is KDL");
    let whole = Mutant { what: "nothing".to_owned(), text: document.to_string() };
    assert!(!is_seen(&whole, file, &tests, &Catalog::built_in()), "the tests hold as it is");
    let mutants = mutants(&document);
    assert!(50 < mutants.len(), "there is much to break: {}", mutants.len());
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let catalog = Catalog::built_in();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mutant) = mutants.get(index) else { return };
                    if !is_seen(mutant, file, &tests, &catalog) {
                        found
                            .lock()
                            .expect("no thread panics")
                            .insert((index, mutant.what.clone()));
                    }
                }
            });
        }
    });
    let found = found.into_inner().expect("no thread panics");
    found.into_iter().map(|it| it.1).collect()
}

/// What may survive: how its name begins, and why no test can see it.
type Reasons = &'static [(&'static str, &'static str)];

fn check(file: &str, reasons: Reasons) {
    let survivors = survivors(file);
    let fits = |survivor: &str, reason: &str| survivor.starts_with(reason);
    let unknown: Vec<&String> = survivors
        .iter()
        .filter(|survivor| !reasons.iter().any(|reason| fits(survivor, reason.0)))
        .collect();
    assert!(unknown.is_empty(), "no test of {file} sees these:\n{unknown:#?}");
    let stale: Vec<_> = reasons
        .iter()
        .filter(|reason| !survivors.iter().any(|survivor| fits(survivor, reason.0)))
        .collect();
    assert!(stale.is_empty(), "these are seen and need no reason: {stale:#?}");
}

const DEFAULT: &str = "it says the default";
const WORDS_ONLY: &str = "it is there for people";
const SERVER: &str = "no request comes over the network";
const LIMITS: &str = "what a limit does under load is tested with the engine";
const RETENTION: &str = "what is taken away in the end is tested with the store";
const STREAM: &str = "what leaves over a stream is tested over HTTP";
const ORDER: &str = "the stage stands behind it in the file anyway";
const DEMO: &str = "only `--demo` runs it";

const FRONT_DOOR: Reasons = &[
    ("pipeline doorbell > description", WORDS_ONLY),
    ("pipeline doorbell > labels", WORDS_ONLY),
    ("server", SERVER),
    ("limits", LIMITS),
    ("source demo generator > disabled", DEMO),
    ("source demo generator > rate", DEMO),
    ("source demo generator > seed", DEMO),
    ("source demo generator > emit", DEMO),
    ("source demo generator > map > type data.type: deleted", DEFAULT),
    ("validate > on-invalid dead-letter: deleted", DEFAULT),
    ("validate > on-unknown-type dead-letter", "the message's schema refuses such a type first"),
    ("policy lan-http > timeout 2s: deleted", DEFAULT),
    ("policy lan-http > retry > backoff exponential: deleted", "three waits never reach its `max`"),
    ("policy lan-http > retry > backoff exponential: without base", DEFAULT),
    ("policy lan-http > retry > backoff exponential: without max", "three waits never reach it"),
    ("enrich lookup people > needs meta", "`meta` cannot fail"),
    ("enrich lookup people > on-miss continue: deleted", DEFAULT),
    ("enrich http weather > after meta", "the two have nothing to do with each other"),
    ("enrich http weather > on-error continue: deleted", DEFAULT),
    ("enrich set summary > after meta people", ORDER),
    ("priority: without default=normal", DEFAULT),
    ("route main: without mode=first", DEFAULT),
    ("route main: all instead of first", "there is one case"),
    ("sink sqlite events-db > store raw", "no test looks into the database"),
    ("sink sqlite events-db > retention", RETENTION),
    ("sink sse live >", STREAM),
    ("dead-letter", RETENTION),
];

const ALERTS: Reasons = &[
    ("pipeline ci-alerts > description", WORDS_ONLY),
    ("server", SERVER),
    ("limits", LIMITS),
    ("source http github > auth", SERVER),
    ("validate > on-invalid dead-letter: deleted", DEFAULT),
    ("enrich metadata meta > include-fields timestamps event-age: deleted", DEFAULT),
    ("enrich lookup owner > after meta", "the two have nothing to do with each other"),
    ("enrich set verdict > after owner", ORDER),
    ("priority: without default=normal", DEFAULT),
    ("route main: without mode=first", DEFAULT),
    ("route main: all instead of first", "there is one case"),
    ("sink sqlite ci-db > retention", RETENTION),
    ("sink sse live >", STREAM),
    ("notify webhook team-chat > message", "its `body` is what is sent"),
    ("dead-letter", RETENTION),
];

#[test]
fn the_tests_of_the_front_door_see_what_breaks() {
    check("doorbell", FRONT_DOOR);
}

const CAMERAS: Reasons = &[
    ("pipeline quiet-camera > description", WORDS_ONLY),
    ("server", SERVER),
    ("source http cameras > map > type data.type: deleted", DEFAULT),
    ("enrich baseline usual > when", "no other event has such a number"),
    ("enrich set words > after usual", ORDER),
    ("route main: without mode=first", DEFAULT),
    ("route main: all instead of first", "no event matches both cases"),
    ("sink sqlite camera-db > retention", RETENTION),
];

#[test]
fn the_tests_of_the_cameras_see_what_breaks() {
    check("quiet-camera", CAMERAS);
}

const BROKER: &str = "no message comes from a broker";
const SENDING: &str = "nothing is sent, so no address is needed";

const FRIGATE: Reasons = &[
    ("pipeline frigate > description", WORDS_ONLY),
    ("server", SERVER),
    ("source mqtt objects > username", BROKER),
    ("source mqtt objects > password", BROKER),
    ("source mqtt objects > topic frigate/events: without qos", BROKER),
    ("source mqtt details > username", BROKER),
    ("source mqtt details > password", BROKER),
    ("source mqtt details > topic: without qos", BROKER),
    ("source mqtt reviews > username", BROKER),
    ("source mqtt reviews > password", BROKER),
    ("source mqtt reviews > topic frigate/reviews: without qos", BROKER),
    ("source mqtt availability > username", BROKER),
    ("source mqtt availability > password", BROKER),
    ("source mqtt availability > topic frigate/available: without qos", BROKER),
    ("validate > on-invalid dead-letter: deleted", DEFAULT),
    ("validate > on-invalid dead-letter: reject", "a broker hears no answer: it is kept anyway"),
    ("validate > on-unknown-type dead-letter", "each source has types with a schema only"),
    ("lifecycle visit > start: when turned", "whatever comes first begins the visit"),
    ("changes state > key event.subject: deleted", "there is one subject"),
    ("enrich previous object > select type data: deleted", "whatever is read is added"),
    ("enrich previous outage > when", "no other event has such a subject"),
    ("enrich previous outage > type", "the one before is the other one, or `changes` drops it"),
    ("enrich set words > after facts camera: without camera", "they do not read each other"),
    ("store ../data/frigate.db", "no test looks into the database"),
    ("sink sse live", STREAM),
    ("notify ntfy phone > url", SENDING),
    ("notify ntfy phone > attach", "an attachment is not among what is recorded"),
    ("notify ntfy service > url", SENDING),
    ("dead-letter", RETENTION),
];

#[test]
fn the_tests_of_the_house_with_frigate_see_what_breaks() {
    check("frigate", FRIGATE);
}

#[test]
fn the_tests_of_the_alerts_see_what_breaks() {
    check("ci-alerts", ALERTS);
}
