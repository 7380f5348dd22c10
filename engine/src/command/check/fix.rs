//! `--fix`: the repairs that findings carry, written into the files.
//!
//! Never: a text is written that was not checked before. A repair that makes a new finding was a
//! guess, and stays a help.

use compiler::files;
use compiler::load::LoadedPipeline;
use language::diagnostic::{Diagnostic, Edit, Rule, Severity, SourceText};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A repair may uncover the next mistake; after this many rounds the rest is left to the user.
const ROUNDS_MAX: usize = 10;

/// Texts that files do not hold yet.
type Texts = BTreeMap<PathBuf, String>;

/// Repairs a pipeline file and what it includes, as long as there is something to repair, and
/// answers what is left. `told` gets a line for every file that was changed.
///
/// `load` checks the files with some of their texts replaced.
pub(super) fn repair(
    main: &Path,
    told: &mut Vec<String>,
    load: impl Fn(&Texts) -> std::io::Result<LoadedPipeline>,
) -> std::io::Result<LoadedPipeline> {
    let mut loaded = load(&Texts::new())?;
    let (mut texts, mut originals) = (Texts::new(), BTreeMap::new());
    let mut done: BTreeMap<PathBuf, Vec<&'static str>> = BTreeMap::new();
    let mut refused = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let found: Vec<&Diagnostic> = loaded
            .diagnostics
            .iter()
            .filter(|diagnostic| !refused.contains(&identity(diagnostic)))
            .collect();
        let repairs = chosen(&found);
        let Some(made) = tried(&repairs, main, &loaded, &texts, &load, &mut refused)? else {
            break;
        };
        for it in made.repairs {
            let Some(path) = path_of(it, main, &loaded) else { continue };
            originals.entry(path.clone()).or_insert_with(|| it.source.text.clone());
            done.entry(path).or_default().push(it.rule.code());
        }
        (texts, loaded) = (made.texts, made.loaded);
    }
    for (path, text) in &texts {
        // What someone else has changed since it was read is not ours to overwrite.
        if files::read_pipeline(path)? != originals[path].as_bytes() {
            done.remove(path);
            continue;
        }
        files::replace(path, text)?;
    }
    told.extend(done.iter().map(|(path, codes)| {
        let noun = if codes.len() == 1 { "mistake" } else { "mistakes" };
        let place = path.display();
        format!("repaired {} {noun} in {place}: {}", codes.len(), codes.join(", "))
    }));
    if done.len() < texts.len() { load(&Texts::new()) } else { Ok(loaded) }
}

/// What makes a finding the same one after something else was repaired.
fn identity(found: &Diagnostic) -> (String, &'static str, String) {
    (found.source.name.clone(), found.rule.code(), found.message.clone())
}

/// Repairs that were tried and found good, and what the files come to with them.
struct Made<'f> {
    repairs: Vec<&'f Diagnostic>,
    texts: Texts,
    loaded: LoadedPipeline,
}

/// Tries the repairs together, and one after another when that makes a new finding. Nothing when
/// none of them is good.
fn tried<'f>(
    repairs: &[&'f Diagnostic],
    main: &Path,
    before: &LoadedPipeline,
    texts: &Texts,
    load: &impl Fn(&Texts) -> std::io::Result<LoadedPipeline>,
    refused: &mut BTreeSet<(String, &'static str, String)>,
) -> std::io::Result<Option<Made<'f>>> {
    let with = |repairs: &[&'f Diagnostic]| {
        let texts = applied(repairs, main, before, texts);
        load(&texts).map(|loaded| (texts, loaded))
    };
    if repairs.is_empty() {
        return Ok(None);
    }
    let (all, loaded) = with(repairs)?;
    if is_better(&before.diagnostics, &loaded.diagnostics, repairs) {
        return Ok(Some(Made { repairs: repairs.to_vec(), texts: all, loaded }));
    }
    let mut made: Option<Made<'f>> = None;
    let mut good: Vec<&Diagnostic> = Vec::new();
    for it in repairs {
        good.push(it);
        let (texts, loaded) = with(&good)?;
        if is_better(&before.diagnostics, &loaded.diagnostics, &good) {
            made = Some(Made { repairs: good.clone(), texts, loaded });
        } else {
            refused.insert(identity(it));
            good.pop();
        }
    }
    Ok(made)
}

/// Whether what was repaired is no longer found, and nothing else is.
fn is_better(before: &[Diagnostic], after: &[Diagnostic], repaired: &[&Diagnostic]) -> bool {
    let mut left: BTreeMap<_, isize> = BTreeMap::new();
    let before_all = before.iter().filter(|it| it.rule != Rule::MissingVariable);
    before_all.for_each(|it| *left.entry(identity(it)).or_default() += 1);
    repaired.iter().for_each(|it| *left.entry(identity(it)).or_default() -= 1);
    let lines: BTreeSet<&str> = before.iter().flat_map(|it| it.source.text.lines()).collect();
    // Some warnings are only given of a file without errors: one on a line that was not touched
    // has nothing to do with the repair.
    let is_late = |diagnostic: &&Diagnostic| {
        diagnostic.rule.severity() == Severity::Warning && lines.contains(line_of(diagnostic))
    };
    // A variable that is missing here was not read before, and says nothing of the repair.
    for it in after.iter().filter(|it| it.rule != Rule::MissingVariable) {
        let count = left.entry(identity(it)).or_default();
        if 0 < *count || !is_late(&it) {
            *count -= 1;
        }
    }
    left.values().all(|value| 0 <= *value)
}

fn line_of(found: &Diagnostic) -> &str {
    let (text, at) = (&found.source.text, found.position());
    let before = text.get(..at).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |it| it + 1);
    text[start..].lines().next().unwrap_or_default()
}

/// The file that a finding lies in, where it may be written.
fn path_of(found: &Diagnostic, main: &Path, loaded: &LoadedPipeline) -> Option<PathBuf> {
    let mut known = loaded.files.iter().map(PathBuf::as_path).chain([main]);
    known.find(|it| it.display().to_string() == found.source.name).map(Path::to_owned)
}

fn applied(repairs: &[&Diagnostic], main: &Path, loaded: &LoadedPipeline, texts: &Texts) -> Texts {
    let mut new = texts.clone();
    let mut edits: BTreeMap<PathBuf, (Arc<SourceText>, Vec<&Edit>)> = BTreeMap::new();
    for it in repairs {
        let Some(path) = path_of(it, main, loaded) else { continue };
        let entry = edits.entry(path).or_insert_with(|| (it.source.clone(), Vec::new()));
        entry.1.extend(&it.fix);
    }
    for (path, (source, mut edits)) in edits {
        edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
        new.insert(path, edited(&source.text, &edits));
    }
    new
}

fn edited(text: &str, edits: &[&Edit]) -> String {
    let mut text = text.to_owned();
    for edit in edits.iter().rev() {
        text.replace_range(edit.span.clone(), &edit.text);
    }
    text
}

/// What can be repaired at once: of two findings whose edits touch, the first.
fn chosen<'f>(found: &[&'f Diagnostic]) -> Vec<&'f Diagnostic> {
    let mut repairs: Vec<&Diagnostic> = Vec::new();
    for it in found.iter().filter(|it| !it.fix.is_empty()) {
        let length = it.source.text.len();
        let is_within = it.fix.iter().all(|edit| edit.span.end <= length);
        let same = repairs.iter().filter(|other| other.source.name == it.source.name);
        let mut edits = same.flat_map(|it| &it.fix);
        if is_within && !edits.any(|other| it.fix.iter().any(|edit| touch(edit, other))) {
            repairs.push(it);
        }
    }
    repairs
}

/// Whether the order of two edits would matter.
fn touch(one: &Edit, other: &Edit) -> bool {
    one.span.start == other.span.start
        || (one.span.start < other.span.end && other.span.start < one.span.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use language::diagnostic::{Diagnostics, Rule};

    type Edits<'a> = &'a [(std::ops::Range<usize>, &'a str)];

    #[track_caller]
    fn check(text: &str, findings: &[Edits<'_>], expected: &str) {
        let source = SourceText { name: "a.kdl".to_owned(), text: text.to_owned() };
        let mut found = Diagnostics::new(Arc::new(source));
        for edits in findings {
            let finding = found.push(Rule::Syntax, "wrong").at(edits[0].0.clone(), "here");
            for (span, text) in *edits {
                finding.fix(span.clone(), *text);
            }
        }
        let found = found.sorted();
        let repairs = chosen(&found.iter().collect::<Vec<_>>());
        let mut edits: Vec<&Edit> = repairs.iter().flat_map(|repair| &repair.fix).collect();
        edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
        assert_eq!(edited(&found[0].source.text, &edits), expected);
    }

    #[test]
    fn edits_apart_are_all_made() {
        check("a b c", &[&[(0..1, "x")], &[(4..5, "zz")]], "x b zz");
        check("abc", &[&[(0..1, "x")], &[(1..2, "y")]], "xyc");
    }

    #[test]
    fn of_edits_that_touch_the_first_is_made() {
        check("a b c", &[&[(0..3, "x")], &[(2..5, "y")]], "x c");
        check("ab", &[&[(1..1, "x")], &[(1..2, "y")]], "axb");
    }

    #[test]
    fn the_edits_of_a_finding_are_made_together_or_not_at_all() {
        check("a b c", &[&[(0..1, "x")], &[(0..1, "y"), (4..5, "z")]], "x b c");
        check("a b", &[&[(0..1, "\""), (3..3, "\"")]], "\" b\"");
    }
}
