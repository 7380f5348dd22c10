//! Style that a machine can check: lists against folders, directions, the manual's examples.

use crate::support::{Bare, Full, root};
use language::{Environment, Kinds, NodeRole};
use stages::catalog::Catalog;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("it reads")
}

#[test]
fn every_source_file_says_what_it_owns() {
    let all = ["engine", "stages", "tests"].map(|it| files(it, "rs")).concat();
    let silent: Vec<_> = all
        .iter()
        .filter(|it| it.file_name().is_some_and(|name| name != "tests.rs"))
        .filter(|it| !text(it).starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "without a word on top: {silent:?}");
}

#[test]
fn every_kind_in_a_folder_is_in_its_list() {
    for role in ["sources", "transforms", "sinks", "notifiers"] {
        let list = text(&root().join(format!("stages/src/{role}.rs")));
        let folder = fs::read_dir(root().join(format!("stages/src/{role}"))).expect("a folder");
        for entry in folder {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            if path.extension().is_some_and(|extension| extension == "rs")
                && text(&path).contains("const WORD")
            {
                let line = format!("{name}::");
                assert!(list.contains(&line), "stages/src/{role}.rs does not list `{name}`");
            }
        }
    }
}

/// Each crate with those of ours that it may build on. No arrow leads back.
const ARROWS: &[(&str, &[&str])] = &[
    ("engine/kernel", &[]),
    ("engine/language", &["kernel"]),
    ("engine/store", &["kernel"]),
    ("engine/wire", &["kernel"]),
    ("stages", &["kernel", "language", "store", "wire"]),
    ("engine/compiler", &["kernel", "language", "store", "stages"]),
    ("engine", &["compiler", "kernel", "language", "store", "wire", "stages"]),
];

/// The names of the dependencies of a manifest, without those of its tests.
fn dependencies(manifest: &str) -> Vec<&str> {
    let (_, after) = manifest.split_once("[dependencies]\n").expect("it has some");
    let own = after.split("\n[").next().unwrap_or_default();
    own.lines()
        .filter_map(|line| line.split(['.', ' ']).next().filter(|part| !part.is_empty()))
        .collect()
}

#[test]
fn each_crate_keeps_its_direction() {
    let members = text(&root().join("Cargo.toml"));
    let members = members.lines().find(|line| line.starts_with("members")).expect("members");
    assert_eq!(members.matches('"').count() / 2, ARROWS.len(), "{members}");
    let ours: Vec<&str> = ARROWS.iter().filter_map(|arrow| arrow.0.rsplit('/').next()).collect();
    for (folder, allowed) in ARROWS {
        let manifest = text(&root().join(folder).join("Cargo.toml"));
        let wanted = dependencies(&manifest);
        let wanted = wanted.iter().filter(|it| ours.contains(it));
        for name in wanted.clone() {
            assert!(allowed.contains(name), "{folder} must not build on {name}");
        }
        assert_eq!(wanted.count(), allowed.len(), "{folder} does not need all of {allowed:?}");
        for word in ["tide", "notify", "async-signal", "clap"] {
            let is_free = *folder == "engine" || !dependencies(&manifest).contains(&word);
            assert!(is_free, "{folder} must not know {word}");
        }
    }
    let outside_http = files("engine/src", "rs")
        .into_iter()
        .filter(|file| !file.components().any(|part| part.as_os_str() == "http"));
    for file in outside_http {
        assert!(!text(&file).contains("tide::"), "{} names tide", file.display());
    }
}

#[test]
fn the_engine_names_no_kind_and_no_event() {
    let words =
        ["\"sqlite\"", "\"ntfy\"", "\"webhook\"", "\"lookup\"", "DOORBELL", "FACE_", "doorbell"];
    for file in ["engine/src", "engine/compiler/src"].map(|it| files(it, "rs")).concat() {
        let whole = text(&file);
        let code = whole.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in lines {
            let found = words.iter().find(|word| line.contains(**word));
            let path = file.to_string_lossy();
            let is_sample = path.contains("tests") || path.contains("templates");
            let is_sample = is_sample || line.contains("help");
            assert!(found.is_none() || is_sample, "{}: {line}", file.display());
        }
    }
}

#[test]
fn no_word_of_one_runtime_is_in_the_lock_file_of_the_other() {
    let lock = text(&root().join("Cargo.lock"));
    for name in ["hyper", "reqwest", "openssl-sys"] {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name} is in Cargo.lock");
    }
}

/// Every document of the repository with its path from there.
fn documents() -> Vec<(String, String)> {
    let top = fs::read_dir(root()).expect("a folder").map(|dir| dir.expect("an entry").path());
    let own = top.filter(|top| top.extension().is_some_and(|extension| extension == "md"));
    let folders = ["docs", "tests", "engine", "stages", "pipelines", "schemas"];
    let below = folders.map(|folder| files(folder, "md")).concat();
    let name =
        |path: &Path| path.strip_prefix(root()).expect("it lies there").display().to_string();
    own.chain(below).map(|it| (name(&it), text(&it))).collect()
}

#[test]
fn every_block_of_kdl_in_the_documents_is_right_or_says_that_it_is_not() {
    let (mut right, mut wrong) = (0, 0);
    for (name, page) in documents() {
        for block in page.split("```kdl").skip(1) {
            let block = block.split("\n```").next().expect("a block has an end");
            let (mark, block) = block.split_once('\n').expect("a block begins a line");
            let environment: &dyn Environment = if mark == " with-env" { &Full } else { &Bare };
            let complaints = crate::check::complaints(&name, block, environment);
            match mark {
                "" | " with-env" => {
                    assert_eq!(complaints, "", "{name}:\n{block}");
                    runs_its_tests(&name, block);
                    right += 1;
                }
                // They need permission, and nothing else is said of them.
                " with-programs" => {
                    let is_code = |text: &&str| text.len() == 5 && text[1..].parse::<u16>().is_ok();
                    let mut codes = complaints.lines().filter(is_code).peekable();
                    assert!(codes.peek().is_some(), "{name} starts no program:\n{block}");
                    assert!(codes.all(|code| code == "W0402"), "{name}:\n{complaints}");
                    right += 1;
                }
                " must-fail" => {
                    assert!(!complaints.is_empty(), "{name} has nothing wrong:\n{block}");
                    wrong += 1;
                }
                _ => panic!("{name}: a block of KDL is marked `{mark}`"),
            }
        }
    }
    assert!(5 < right && 20 < wrong, "the documents show {right} and {wrong} blocks");
}

/// A file of tests is only an example where its tests pass.
fn runs_its_tests(name: &str, block: &str) {
    // What the page of a code shows may be a test that fails.
    if !block.contains("\ntest \"") || name.starts_with("docs/codes/") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["pipelines", "schemas"] {
        crate::shell::copy(&root().join(name), &folder.path().join(name));
    }
    let file = folder.path().join("pipelines/shown.kdl");
    fs::write(&file, block).expect("it can be written");
    let output = Command::new(env!("CARGO_BIN_EXE_engine")).arg("test").arg(&file).output();
    let output = output.expect("it runs");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{name}:\n{report}");
}

#[test]
fn every_link_of_the_documents_leads_to_a_file() {
    let mut checked = 0;
    for (name, page) in documents() {
        let folder = root().join(&name).parent().expect("a folder").to_owned();
        for link in page.split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            let target = link.split('#').next().unwrap_or_default();
            if link.contains("://") || target.is_empty() {
                continue;
            }
            assert!(folder.join(target).exists(), "{name} links to {link}");
            checked += 1;
        }
    }
    assert!(0 < checked, "no document links to another");
}

#[test]
fn the_contents_of_the_manual_name_every_page() {
    let contents = text(&root().join("docs/README.md"));
    for page in fs::read_dir(root().join("docs")).expect("a folder") {
        let name = page.expect("an entry").file_name().to_string_lossy().into_owned();
        let link = if name.ends_with(".md") { name.clone() } else { format!("{name}/README.md") };
        let is_named = name == "README.md" || contents.contains(&format!("({link})"));
        assert!(is_named, "docs/README.md does not name {name}");
    }
}

#[test]
fn the_tables_of_the_documents_name_every_kind() {
    let table = |page: &str, heading: &str| -> String {
        let whole = text(&root().join(page));
        let (_, below) = whole.split_once(heading).expect("the heading");
        let lines = below.lines().skip_while(|line| !line.starts_with('|'));
        lines.take_while(|line| line.starts_with('|')).collect()
    };
    let (terms, notifiers) =
        (table("README.md", "\n## Terms\n"), table("docs/guide.md", "\n## Notifications\n"));
    let catalog = Catalog::built_in();
    for kind in NodeRole::ALL.into_iter().flat_map(|role| catalog.kinds(role)) {
        assert!(terms.contains(&format!("`{}`", kind.word)), "README: `{}`", kind.word);
    }
    for kind in catalog.kinds(NodeRole::Notify) {
        assert!(notifiers.contains(&format!("`{}`", kind.word)), "the guide: `{}`", kind.word);
    }
}

#[test]
fn migrations_that_were_released_stay_as_they_are() {
    // A changed migration would give new stores other tables than old ones have.
    let names: Vec<String> = files("migrations", "sql")
        .iter()
        .map(|file| file.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    let known = [
        "0001-store.sql",
        "0002-checksums.sql",
        "0003-volume.sql",
        "0004-letters.sql",
        "0005-memory.sql",
        "0006-reasons.sql",
        "0007-counts.sql",
        "0008-manners.sql",
        "0009-ids.sql",
        "0010-relays.sql",
        "0011-messages.sql",
        "0012-alerts.sql",
        "0013-search.sql",
        "0014-attempts.sql",
    ];
    assert_eq!(names, known);
}

/// Words that read as a translation, each with what to write instead.
const BANNED: &[(&str, &str)] = &[
    ("stand", "be, appear"),
    ("stands", "is, appears"),
    ("is no", "is not a"),
    ("is told", "is notified, is reported"),
    ("are told", "are notified, are reported"),
    ("for ever", "forever, without limit"),
    ("anew", "again"),
    ("one behind the other", "in sequence"),
    ("behind", "after"),
    ("goes on", "continues, keeps running"),
    ("let go", "dropped"),
    ("lets it go", "drops it"),
    ("taken over", "reloaded"),
    ("takes over", "is loaded"),
    ("taken in", "ingested"),
    ("takes in", "ingests"),
    ("asked", "called"),
    ("asks", "calls"),
    ("sort of", "type of"),
    ("sorts of", "types of"),
];

/// Phrases with such a word that are good English, each with the reason.
const ALLOWED: &[(&str, &str)] = &[
    ("there is no", "says that something is missing"),
    ("is no longer", "says that something has ended"),
    ("behind a proxy", "the usual word of networks"),
    ("look behind", "the name of a part of patterns"),
];

/// The lower-case words of a text, one blank around each; what a program fills in is left out.
fn words(text: &str) -> String {
    let mut depth = 0;
    let own = text.replace("\\n", " ").chars().fold(String::new(), |mut own, letter| {
        depth += i32::from(letter == '{');
        own.push(if depth == 0 && letter.is_alphanumeric() { letter } else { ' ' });
        depth = (depth - i32::from(letter == '}')).max(0);
        own
    });
    let words: Vec<&str> = own.split_whitespace().collect();
    format!(" {} ", words.join(" ").to_lowercase())
}

/// The texts in double quotes of a source file, without its tests and comments.
fn literals(code: &str) -> Vec<String> {
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let (mut rest, mut found) = (code, Vec::new());
    while let Some(at) = rest.find(['"', '/', '\'', 'r']) {
        let from = &rest[at..];
        let hashes = from[1..].len() - from[1..].trim_start_matches('#').len();
        let is_raw = from.starts_with('r') && from[1 + hashes..].starts_with('"');
        let (open, close) = match from {
            _ if is_raw => (hashes + 2, format!("\"{}", "#".repeat(hashes))),
            _ if from.starts_with("//") => (2, "\n".to_owned()),
            _ if from.starts_with('"') => (1, "\"".to_owned()),
            // A quote as a single letter opens no text.
            _ if from.starts_with("'\"'") => (2, "'".to_owned()),
            _ if from.starts_with("'\\\"'") => (3, "'".to_owned()),
            _ => (1, String::new()),
        };
        let body = &from[open..];
        let is_escaped = |end: usize| {
            let before = &body[..end];
            (before.len() - before.trim_end_matches('\\').len()) % 2 == 1
        };
        let mut ends = body.match_indices(&close).map(|index| index.0);
        let end = ends.find(|it| !from.starts_with('"') || !is_escaped(*it));
        let end = end.unwrap_or(body.len());
        if from.starts_with('"') || is_raw {
            found.push(body[..end].replace("\\\n", ""));
        }
        rest = &body[(end + close.len()).min(body.len())..];
    }
    found
}

/// A page without its blocks of code, in paragraphs.
fn paragraphs(page: &str) -> Vec<String> {
    let prose = page.split("\n```").step_by(2);
    prose.flat_map(|it| it.split("\n\n")).map(str::to_owned).collect()
}

#[test]
fn texts_for_users_are_in_plain_english() {
    let pages = documents()
        .into_iter()
        .filter(|document| document.0 == "README.md" || document.0.starts_with("docs/"));
    let mut texts: Vec<(String, String)> = pages
        .flat_map(|(name, page)| {
            paragraphs(&page).into_iter().map(move |paragraph| (name.clone(), paragraph))
        })
        .collect();
    for file in ["engine", "stages"].map(|it| files(it, "rs")).concat() {
        let path = file.strip_prefix(root()).expect("it is there").display().to_string();
        let is_of_tests = ["test", "benches", "against_cel", "model.rs"];
        if path.contains("/src/test/") || !is_of_tests.iter().any(|test| path.contains(test)) {
            texts.extend(literals(&text(&file)).into_iter().map(|literal| (path.clone(), literal)));
        }
    }
    assert!(3000 < texts.len(), "only {} texts were found", texts.len());
    let mut found = Vec::new();
    for (name, whole) in texts {
        let mut own = words(&whole);
        for (phrase, _) in ALLOWED {
            own = own.replace(&format!(" {phrase} "), " … ");
        }
        for (word, natural) in BANNED.iter().filter(|it| own.contains(&format!(" {} ", it.0))) {
            found.push(format!("{name}: write \"{natural}\" for \"{word}\": {own}"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_banned_word_is_seen_in_a_text_and_not_in_a_comment() {
    let code =
        "// it stands\nlet a = '\"'; f(\"it \\\"stands\\\" \\\n there {stands}\", r#\"an\"ew\"#);";
    let found: Vec<String> = literals(code).iter().map(|literal| words(literal)).collect();
    assert_eq!(found, [" it stands there ", " an ew "]);
    assert_eq!(paragraphs("a\n\nb\n```kdl\nstands\n```\nc"), ["a", "b", "\nc"]);
}
