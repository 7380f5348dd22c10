//! Misspellings of valid files: each is told at its place, with the word that was meant.
//!
//! Words of the language, names that are referred to, and names in expressions are edited one at
//! a time. What is the user's own is left out: free text, comments, paths, numbers, names that
//! nothing refers to, and what expressions read below `data`, `enrich` and their like; and so is
//! an edit that makes another word of the same place.

mod words;

use crate::support::{Bare, root};
use compiler::files::PipelinePath;
use compiler::grammar;
use compiler::load::{PipelineLoader, PipelineTexts};
use language::diagnostic::Diagnostic;
use language::{Kinds, NodeRole, NodeRow, foreign_kinds, foreign_words};
use stages::catalog::Catalog;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use words::{Sort, Word};

const FILES: [&str; 5] = [
    "tests/corpus/every-word.kdl",
    "tests/corpus/short-store.kdl",
    "pipelines/doorbell.kdl",
    "pipelines/ci-alerts.kdl",
    "pipelines/quiet-camera.kdl",
];

struct File {
    path: PathBuf,
    text: String,
    catalog: Catalog,
}

impl File {
    fn read(name: &str) -> Self {
        let path = root().join(name);
        let text = std::fs::read_to_string(&path).expect("it reads");
        File { path, text, catalog: Catalog::built_in() }
    }

    fn found(&self, text: &str) -> Vec<Diagnostic> {
        let place = &PipelinePath::of(&self.path, Some(&root()), None);
        let loader =
            PipelineLoader { place, overrides: &[], catalog: &self.catalog, environment: &Bare };
        let given = PipelineTexts::read(place, Some(text.as_bytes())).expect("it reads");
        given.map_or_else(|it| *it, |given| loader.check(&given)).diagnostics
    }

    fn edited(&self, word: &Word, new: &str) -> String {
        let mut text = self.text.clone();
        text.replace_range(word.span.clone(), new);
        text
    }
}

/// A letter dropped, doubled, swapped with the next, replaced: as fingers do, in turn.
fn slip(word: &str, turn: usize, random: &mut fastrand::Rng) -> Option<String> {
    let mut letters: Vec<char> = word.chars().collect();
    let places: Vec<usize> = (0..letters.len()).filter(|it| letters[*it].is_alphabetic()).collect();
    let at = *places.get(random.usize(..places.len().max(1)))?;
    match turn % 4 {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        2 if at + 1 < letters.len() => letters.swap(at, at + 1),
        2 => return None,
        _ => letters[at] = random.lowercase(),
    }
    let made: String = letters.into_iter().collect();
    (!made.is_empty() && made != word).then_some(made)
}

/// Whether a text contains a word by itself.
fn says(text: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-');
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

/// Whether a finding offers the word that was meant.
fn offers(found: &Diagnostic, word: &Word) -> bool {
    let help = found.help.as_deref().unwrap_or_default();
    says(help, &word.text)
        || found.fix.iter().any(|it| says(&it.text, &word.text))
        // A name that others refer to is named where they do.
        || word.sort == Sort::Definition && says(&found.message, &word.text)
}

/// Whether it is pointed at rather than listed with all others.
fn points(found: &Diagnostic, word: &Word) -> bool {
    let help = found.help.as_deref().unwrap_or_default();
    let first = help.split(". ").next().unwrap_or_default();
    let first = first.split("? ").next().unwrap_or_default();
    let is_list = first.contains(": ") && !first.starts_with("write");
    says(first, &word.text) && !is_list || found.fix.iter().any(|it| says(&it.text, &word.text))
}

/// Every finding is in our words, has a place in its text and says what to do.
fn is_explained(found: &Diagnostic) -> bool {
    let bare = ["Expected", "Found ", "Unexpected", "Failed to parse"];
    let message = &found.message;
    let has_place =
        found.labels.iter().all(|label| found.source.text.get(label.span.clone()).is_some());
    !bare.iter().any(|it| message.starts_with(it)) && found.help.is_some() && has_place
}

#[derive(Default)]
struct Score {
    tried: usize,
    offered: usize,
    pointed: usize,
    missed: Vec<String>,
}

#[expect(clippy::print_stdout, reason = "the figure is half of its result")]
#[test]
fn misspellings_are_answered_by_the_word_that_was_meant() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut scores: BTreeMap<Sort, Score> = BTreeMap::new();
    let (mut turn, mut all, mut offered, mut pointed) = (0, 0, 0, 0);
    for (index, name) in FILES.iter().enumerate() {
        let file = File::read(name);
        let stride = if index == 0 { 1 } else { 5 };
        for word in words::of(&file.text, &file.catalog).iter().step_by(stride) {
            turn += 1;
            let slip = slip(&word.text, turn, &mut random);
            if let Some(slip) = slip.filter(|slip| !word.known.contains(slip)) {
                let found = file.found(&file.edited(word, &slip));
                for it in &found {
                    assert!(is_explained(it), "{name}, `{slip}`: {it:?}");
                }
                let score = scores.entry(word.sort).or_default();
                let is_offered = found.iter().any(|it| offers(it, word));
                let is_pointed = found.iter().any(|it| points(it, word));
                score.tried += 1;
                score.offered += usize::from(is_offered);
                score.pointed += usize::from(is_pointed);
                if !is_offered {
                    let told: Vec<String> = found
                        .iter()
                        .map(|it| {
                            format!(
                                "{} {} ({})",
                                it.rule.code(),
                                it,
                                it.help.as_deref().unwrap_or("")
                            )
                        })
                        .collect();
                    score.missed.push(format!("{} → {slip}: {}", word.text, told.join(" | ")));
                }
                all += 1;
                offered += usize::from(is_offered);
                pointed += usize::from(is_pointed || is_offered && word.sort == Sort::Definition);
            }
        }
    }
    let mut table = String::new();
    for (sort, score) in &scores {
        writeln!(table, "{sort:?}: {} of {} ({} first)", score.offered, score.tried, score.pointed)
            .expect("a text takes it");
        score.missed.iter().take(40).for_each(|it| writeln!(table, "    {it}").expect("a text"));
    }
    let percent = |part: usize| 100.0 * part as f64 / all as f64;
    println!(
        "{table}{all} misspellings: {:.1} % are answered by the right word, {:.1} % by it first",
        percent(offered),
        percent(pointed)
    );
    assert!(400 < all, "only {all} misspellings were tried");
    assert!(95.0 <= percent(offered), "{:.1} %\n{table}", percent(offered));
}

#[test]
fn a_word_less_is_told_or_still_a_pipeline() {
    for (index, name) in FILES.iter().enumerate() {
        let file = File::read(name);
        let stride = if index == 0 { 2 } else { 7 };
        for word in words::of(&file.text, &file.catalog).iter().step_by(stride) {
            for found in file.found(&file.edited(word, "")) {
                assert!(is_explained(&found), "{name} without `{}`: {found:?}", word.text);
            }
        }
    }
}

#[test]
fn the_corpus_has_every_word_and_no_mistake() {
    for name in FILES {
        let file = File::read(name);
        let found = file.found(&file.text);
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(told.is_empty(), "{name}: {told:?}");
    }
    let (file, other) = (File::read(FILES[0]), File::read(FILES[1]));
    let words = words::of(&file.text, &file.catalog).into_iter();
    let used: BTreeSet<String> = words
        .chain(words::of(&other.text, &other.catalog))
        .filter(|word| matches!(word.sort, Sort::NodeRow | Sort::Property | Sort::Kind))
        .map(|word| words::short(&word.place))
        .collect();
    let all: BTreeSet<String> =
        words::all(&file.catalog).iter().map(|it| words::short(it)).collect();
    let missing: Vec<&String> = all.difference(&used).collect();
    assert!(missing.is_empty(), "add these to {}: {missing:#?}", FILES[0]);
}

/// Blocks in which words of other tools are tried: their headers and what may stand in them.
fn blocks(catalog: &Catalog) -> Vec<(String, Vec<&'static str>)> {
    fn within(
        header: &str,
        groups: &[&'static [NodeRow]],
        blocks: &mut Vec<(String, Vec<&'static str>)>,
    ) {
        let rows: Vec<&NodeRow> = groups.iter().flat_map(|group| group.iter()).collect();
        if !rows.is_empty() {
            blocks.push((header.to_owned(), rows.iter().map(|row| row.name).collect()));
        }
        for row in rows {
            within(&format!("{header} {{\n{}", row.name), row.children, blocks);
        }
    }
    let mut blocks = vec![(String::new(), grammar::TOP.iter().map(|it| it.name).collect())];
    for row in grammar::TOP {
        match NodeRole::ALL.into_iter().find(|it| it.word() == row.name) {
            None => within(row.name, row.children, &mut blocks),
            Some(role) => {
                for kind in catalog.kinds(role) {
                    let groups = [row.children, kind.nodes].concat();
                    within(&format!("{} {} n", row.name, kind.word), &groups, &mut blocks);
                }
            }
        }
    }
    blocks
}

/// Whether the help names what a word means in this block and nowhere else.
fn means_here(header: &str, word: &str, help: &str) -> bool {
    let node = header.rsplit(" {\n").next().and_then(|node| node.split(' ').next());
    let mut words = language::words_in_nodes().iter();
    words.any(|it| Some(it.0) == node && it.1 == word && says(help, it.2))
}

#[test]
fn words_of_other_tools_lead_to_ours() {
    let file = File::read(FILES[0]);
    let mut tried = 0;
    for (header, known) in blocks(&file.catalog) {
        let lines: String = foreign_words()
            .iter()
            .filter(|word| !known.contains(&word.word))
            .map(|word| format!("\"{}\" \"x\"\n", word.word))
            .collect();
        let depth = if header.is_empty() { 0 } else { header.matches('{').count() + 1 };
        let open = if header.is_empty() { "" } else { " {" };
        let found = file.found(&format!("{header}{open}\n{lines}{}", "}\n".repeat(depth)));
        for row in foreign_words() {
            let Some(ours) = row.ours.iter().find(|our| known.contains(our)) else { continue };
            let is_it = |diagnostic: &&Diagnostic| {
                diagnostic.message.ends_with(&format!(" has no `{}`", row.word))
            };
            let Some(found) = found.iter().find(is_it) else { continue };
            let help = found.help.as_deref().unwrap_or_default();
            let is_respelled = known.contains(&row.word.replace('_', "-").as_str());
            let is_here = means_here(&header, row.word, help);
            assert!(
                says(help, ours) || is_respelled || is_here,
                "`{}` in {header}: {help}",
                row.word
            );
            tried += 1;
        }
    }
    assert!(500 < tried, "only {tried} were tried");
}

#[test]
fn every_word_of_another_tool_leads_somewhere() {
    let catalog = Catalog::built_in();
    let all = words::all(&catalog);
    let names: BTreeSet<&str> = all.iter().filter_map(|it| it.rsplit(' ').next()).collect();
    let mut words = BTreeSet::new();
    for row in foreign_words() {
        assert!(!row.ours.is_empty() || !row.elsewhere.is_empty(), "`{}` leads nowhere", row.word);
        assert!(words.insert(row.word), "`{}` appears twice", row.word);
        for ours in row.ours {
            assert!(names.contains(ours), "`{}`: there is no `{ours}`", row.word);
        }
    }
    let kinds: BTreeSet<&str> =
        NodeRole::ALL.into_iter().flat_map(|it| catalog.kinds(it)).map(|it| it.word).collect();
    for row in foreign_kinds() {
        for ours in row.ours {
            assert!(kinds.contains(ours), "`{}`: there is no kind `{ours}`", row.word);
        }
    }
}

#[test]
fn kinds_of_other_tools_lead_to_ours() {
    let file = File::read(FILES[0]);
    for role in NodeRole::ALL {
        let known: Vec<&str> = file.catalog.kinds(role).iter().map(|kind| kind.word).collect();
        for row in foreign_kinds().iter().filter(|kind| !known.contains(&kind.word)) {
            let Some(ours) = row.ours.iter().find(|our| known.contains(our)) else { continue };
            let found = file.found(&format!("{} \"{}\" n\n", role.word(), row.word));
            let told = found.iter().find(|it| it.rule.code() == "E0012").expect("it is told");
            let help = told.help.as_deref().unwrap_or_default();
            assert!(help.starts_with(&format!("did you mean `{ours}`?")), "{}: {help}", row.word);
        }
    }
}

#[test]
fn a_kind_of_another_role_says_which() {
    let file = File::read(FILES[0]);
    let words = |role| {
        let kinds = file.catalog.kinds(role);
        kinds.into_iter().map(|kind| kind.word).collect::<BTreeSet<&str>>()
    };
    let mut count = 0;
    for (role, other) in NodeRole::ALL.into_iter().flat_map(|it| NodeRole::ALL.map(|to| (it, to))) {
        for kind in words(other).difference(&words(role)) {
            let found = file.found(&format!("{} {kind} spare\n", role.word()));
            let told = found.iter().find(|it| it.rule.code() == "E0012").expect("it is told");
            let help = told.help.as_deref().unwrap_or_default();
            // A word that other tools have for a kind of the role leads to that kind.
            let is_foreign = foreign_kinds().iter().any(|it| it.word == *kind);
            let line = help.split('`').nth(3).unwrap_or_default().split(' ').collect::<Vec<_>>();
            let has_kind = |role: &str| words(NodeRole::of(role).expect("a role")).contains(kind);
            let is_right = matches!(line[..], [role, it, "spare"] if it == *kind && has_kind(role));
            assert!(is_right || is_foreign, "{} {kind}: {help}", role.word());
            count += usize::from(is_right);
        }
    }
    assert!(50 < count, "{count} kinds were looked at");
}
