//! What a user sees of each mistake: `tests/check/*.kdl` beside the exact text of the terminal.
//!
//! `UPDATE_CASES=1 cargo test` writes the texts anew.

use crate::support::{Bare, checked, root};
use compiler::files::PipelinePath;
use compiler::load::{LoadedPipeline, PipelineLoader, PipelineTexts};
use compiler::report::{self, CheckedFile};
use language::Environment;
use language::diagnostic::{Diagnostic, Edit, Rule, Severity, SourceText};
use stages::catalog::Catalog;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn cases() -> Vec<PathBuf> {
    let folder = root().join("tests/check");
    let entries = std::fs::read_dir(folder).expect("the cases are there");
    let mut cases: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "kdl"))
        .filter(|path| !path.to_string_lossy().ends_with(".test.kdl"))
        .collect();
    cases.sort();
    cases
}

/// The finding's names are relative to the project, so that texts are the same everywhere.
fn loaded(file: &Path) -> LoadedPipeline {
    let place = &PipelinePath::of(file, None, None);
    let name = file.strip_prefix(root()).expect("it lies in the project").display().to_string();
    let bytes = std::fs::read(file).expect("it reads");
    let catalog = Catalog::built_in();
    let tests = file.with_extension("test.kdl");
    let beside = std::fs::read_to_string(&tests).ok().map(|text| {
        let name = tests.strip_prefix(root()).expect("it lies beside").display().to_string();
        Arc::new(SourceText { name, text })
    });
    let loader = PipelineLoader { place, overrides: &[], catalog: &catalog, environment: &Bare };
    let given = PipelineTexts::of(&bytes, Path::new(&name));
    given.map_or_else(|it| *it, |given| loader.check(&PipelineTexts { beside, ..given }))
}

/// Every case with what is found in it.
pub(crate) fn every_case() -> Vec<CheckedFile> {
    let checked = |path: &PathBuf| {
        let found = loaded(path).diagnostics;
        CheckedFile { name: path.display().to_string(), found }
    };
    cases().iter().map(checked).collect()
}

/// What the terminal shows of a text, as if it lay in `pipelines/`.
pub(crate) fn complaints(name: &str, text: &str, environment: &dyn Environment) -> String {
    let place = &PipelinePath::of(&root().join("pipelines/shown.kdl"), None, None);
    let given = PipelineTexts::of(text.as_bytes(), Path::new(name)).expect("it is text");
    let loader =
        PipelineLoader { place, overrides: &[], catalog: &Catalog::built_in(), environment };
    report::human(&loader.check(&given).diagnostics, false, 100)
}

fn shown(file: &Path) -> String {
    let text = report::human(&loaded(file).diagnostics, false, 100);
    let root = format!("{}/", root().display());
    // Inside a sentence a path would break lines where the checkout's own path is long.
    let told = text.lines().find(|line| line.contains(&root) && !line.contains("─["));
    assert_eq!(told, None, "only the heads of frames show paths");
    text.replace(&root, "")
}

#[test]
fn every_case_shows_exactly_its_text() {
    let mut wrong = Vec::new();
    for case in cases() {
        let (text, expected) = (shown(&case), case.with_extension("txt"));
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&expected, &text).expect("it writes");
        }
        if std::fs::read_to_string(&expected).ok().as_ref() != Some(&text) {
            wrong.push(format!("{}:\n{text}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_a_case_of_its_name() {
    let cases: Vec<(String, Vec<&str>)> = cases()
        .iter()
        .map(|case| {
            let codes =
                loaded(case).diagnostics.iter().map(|diagnostic| diagnostic.rule.code()).collect();
            (case.file_name().expect("a name").to_string_lossy().into_owned(), codes)
        })
        .collect();
    // What only a running test finds has its cases in `tests/test/`.
    for rule in Rule::ALL.iter().filter(|it| !it.is_of_running()) {
        let name = rule.code().to_lowercase();
        let case = cases.iter().find(|case| case.0.starts_with(&name));
        let (file, codes) = case.unwrap_or_else(|| panic!("no case for {}", rule.code()));
        assert!(codes.contains(&rule.code()), "{file} finds {codes:?}");
    }
}

/// A text with edits made; nothing when two of them meet.
fn edited(text: &str, edits: &[Edit]) -> Option<String> {
    let mut edits: Vec<&Edit> = edits.iter().collect();
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let (mut made, mut at) = (String::new(), 0);
    for edit in edits {
        made.push_str(text.get(at..edit.span.start)?);
        made.push_str(&edit.text);
        at = edit.span.end;
    }
    made.push_str(text.get(at..)?);
    Some(made)
}

/// The findings of a case's text with edits made.
fn repaired(case: &Path, text: String) -> Vec<Diagnostic> {
    checked(case, &name_of(case), text.as_bytes(), &Bare).diagnostics
}

#[test]
fn what_a_finding_would_write_takes_the_finding_away() {
    let mut repairs = BTreeMap::new();
    for case in cases() {
        let found = loaded(&case).diagnostics;
        let is_alone = found.len() == 1;
        for finding in found.iter().filter(|it| !it.fix.is_empty()) {
            let text = edited(&finding.source.text, &finding.fix).expect("edits do not meet");
            let left = repaired(&case, text.clone());
            let same = |diagnostic: &&Diagnostic| {
                diagnostic.rule == finding.rule && diagnostic.message == finding.message
            };
            let (before, after) = (found.iter().filter(same), left.iter().filter(same));
            let shown = report::human(&left, false, 100);
            let case = case.display();
            assert!(after.count() < before.count(), "{case} with its fix:\n{text}\n{shown}");
            assert!(!is_alone || left.is_empty(), "{case} with its fix:\n{text}\n{shown}");
            *repairs.entry(finding.rule.code()).or_insert(0) += 1;
        }
    }
    let certain = [
        "E0001", "E0003", "E0005", "E0006", "E0007", "E0008", "E0010", "E0011", "E0013", "E0014",
        "E0020", "E0023", "W0012",
    ];
    let without: Vec<_> = certain.iter().filter(|it| !repairs.contains_key(*it)).collect();
    assert!(without.is_empty(), "no case of these is repaired: {without:?}");
}

/// What a help says to write, where that is a whole value or the line of a node without
/// placeholders: the place that it replaces, and the text.
fn advised(finding: &Diagnostic) -> Option<Edit> {
    const PLACEHOLDERS: [&str; 9] =
        ["…", "NAME", "KIND", "VALUE", "PORT", "NOTIFIER", "\"file\"", "[", "|"];
    let help = finding.help.as_deref()?;
    let (meant, rest) = help.strip_prefix("write `")?.split_once('`')?;
    // `write … after`, `write … in the source`: it belongs elsewhere.
    let is_here = rest.is_empty() || rest.starts_with([';', ':', ',']);
    let meant = Some(meant).filter(|_| is_here)?;
    let (text, span) = (&finding.source.text, finding.labels.first()?.span.clone());
    if PLACEHOLDERS.iter().any(|it| meant.contains(it)) || meant.contains('{') {
        return None;
    }
    let labelled = text.get(span.clone())?;
    let is_value = |text: &str| text.starts_with(['"', '#', '\'']) || text.parse::<f64>().is_ok();
    if meant.starts_with('"') && is_value(labelled) {
        return Some(Edit { span, text: meant.to_owned() });
    }
    let ends = ['\n', ';', '{', '}'];
    let start = text[..span.start].rfind(ends).map_or(0, |it| it + 1);
    let end = text[span.end..].find(ends).map_or(text.len(), |it| span.end + it);
    let line = text.get(start..end)?;
    let start = start + line.len() - line.trim_start().len();
    let word = |text: &str| text.split([' ', '=', ':']).next().map(str::to_owned);
    // A quote or brace within a text would end the line too early.
    let is_whole = line.matches('"').count() % 2 == 0;
    let is_node = word(meant) == word(line.trim_start()) && meant.contains(' ');
    (is_whole && is_node)
        .then(|| Edit { span: start..start + line.trim().len(), text: meant.to_owned() })
}

#[test]
fn what_a_help_says_to_write_takes_the_finding_away() {
    let (mut applied, mut wrong) = (0, Vec::new());
    for case in cases() {
        let found = loaded(&case).diagnostics;
        let own = found.iter().filter(|it| it.source.name.ends_with(&*name_of(&case)));
        for (finding, edit) in own.filter_map(|it| Some((it, advised(it)?))) {
            let text = edited(&finding.source.text, std::slice::from_ref(&edit)).expect("one edit");
            let left = repaired(&case, text.clone());
            let same =
                |it: &&Diagnostic| (it.rule, &it.message) == (finding.rule, &finding.message);
            let place = edit.span.start..edit.span.start + edit.text.len();
            // Neither the same again, nor the next mistake in what was just written.
            let is_here = |it: &&Diagnostic| {
                let is_new =
                    !found.iter().any(|old| (old.rule, &old.message) == (it.rule, &it.message));
                let at = it.labels.first().map_or(0, |label| label.span.start);
                is_new && it.severity == Severity::Error && place.contains(&at)
            };
            let is_gone = left.iter().filter(same).count() < found.iter().filter(same).count();
            let next = left.iter().find(is_here).map(|it| it.message.clone());
            applied += 1;
            if !is_gone || next.is_some() {
                let (case, message) = (case.display(), &finding.message);
                wrong.push(format!("{case}: {message}\n  {}\n  {next:?}", edit.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {applied}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(50 < applied, "only {applied} are whole nodes or values");
}

fn name_of(case: &Path) -> String {
    case.file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn every_finding_says_what_to_do() {
    for case in cases() {
        for finding in loaded(&case).diagnostics {
            let message = &finding.message;
            assert!(finding.help.is_some(), "{}: {message} has no help", case.display());
            assert!(!finding.labels.is_empty(), "{}: {message} has no place", case.display());
        }
    }
}

#[test]
fn the_shipped_pipelines_have_nothing_to_complain_about() {
    for name in ["doorbell.kdl", "ci-alerts.kdl", "frigate.kdl", "quiet-camera.kdl"] {
        assert_eq!(shown(&root().join("pipelines").join(name)), "");
    }
}

#[test]
fn no_part_of_a_shipped_file_aborts_the_check() {
    let file = root().join("pipelines/doorbell.kdl");
    let text = std::fs::read_to_string(&file).expect("it reads");
    let words: Vec<(usize, &str)> = text
        .match_indices(|letter: char| letter.is_whitespace())
        .map(|index| index.0 + 1)
        .filter_map(|at| text[at..].split_whitespace().next().map(|word| (at, word)))
        .collect();
    for (at, word) in words.iter().step_by(31) {
        let mut changed = text.clone();
        changed.replace_range(*at..(at + word.len()).min(text.len()), "");
        checked(&file, "doorbell.kdl", changed.as_bytes(), &Bare);
    }
}
