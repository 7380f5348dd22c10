//! `--fix`: the repairs that findings carry, written into the files.

use compiler::files;
use compiler::load::Loaded;
use language::diagnostic::{Diagnostic, Edit, SourceText};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A repair may uncover the next mistake; after this many rounds the rest is left to the user.
const ROUNDS_MAX: usize = 10;

/// Repairs a pipeline file and what it includes, as long as there is something to repair, and
/// answers what is left. `told` gets a line for every file that was changed.
pub(super) fn repair(
    main: &Path,
    told: &mut Vec<String>,
    load: impl Fn() -> std::io::Result<Loaded>,
) -> std::io::Result<Loaded> {
    let mut done: BTreeMap<PathBuf, Vec<&'static str>> = BTreeMap::new();
    let mut loaded = load()?;
    for _ in 0..ROUNDS_MAX {
        let repairs = chosen(&loaded.diagnostics);
        let mut is_changed = false;
        for repair in repairs {
            let known = loaded.files.iter().map(PathBuf::as_path).chain([main]);
            let name = &repair.source.name;
            let Some(path) = known.into_iter().find(|it| it.display().to_string() == *name) else {
                continue;
            };
            // What someone else has changed since it was read is not ours to overwrite.
            let text = std::fs::read_to_string(path)?;
            let new = repair.applied();
            if text != repair.source.text || new == text {
                continue;
            }
            files::replace(path, &new)?;
            is_changed = true;
            done.entry(path.to_owned()).or_default().extend(repair.codes);
        }
        if !is_changed {
            break;
        }
        loaded = load()?;
    }
    told.extend(done.iter().map(|(path, codes)| {
        let noun = if codes.len() == 1 { "mistake" } else { "mistakes" };
        let place = path.display();
        format!("repaired {} {noun} in {place}: {}", codes.len(), codes.join(", "))
    }));
    Ok(loaded)
}

/// Edits of one text that do not touch each other, in order.
struct Repair {
    source: Arc<SourceText>,
    edits: Vec<Edit>,
    /// The code of every finding that is repaired.
    codes: Vec<&'static str>,
}

/// What can be repaired at once: of two findings whose edits touch, the first.
fn chosen(found: &[Diagnostic]) -> Vec<Repair> {
    let mut repairs: Vec<Repair> = Vec::new();
    for it in found.iter().filter(|it| !it.fix.is_empty()) {
        let index = repairs.iter().position(|repair| repair.source.name == it.source.name);
        let index = index.unwrap_or_else(|| {
            repairs.push(Repair {
                source: it.source.clone(),
                edits: Vec::new(),
                codes: Vec::new(),
            });
            repairs.len() - 1
        });
        let repair = &mut repairs[index];
        let length = repair.source.text.len();
        let is_within = it.fix.iter().all(|edit| edit.span.end <= length);
        let touches = |edit: &Edit| repair.edits.iter().any(|other| touch(edit, other));
        if is_within && !it.fix.iter().any(touches) {
            repair.edits.extend(it.fix.iter().cloned());
            repair.codes.push(it.rule.code());
        }
    }
    for repair in &mut repairs {
        repair.edits.sort_by_key(|it| (it.span.start, it.span.end));
    }
    repairs
}

/// Whether the order of two edits would matter.
fn touch(one: &Edit, other: &Edit) -> bool {
    one.span.start == other.span.start
        || (one.span.start < other.span.end && other.span.start < one.span.end)
}

impl Repair {
    fn applied(&self) -> String {
        let mut text = self.source.text.clone();
        for edit in self.edits.iter().rev() {
            text.replace_range(edit.span.clone(), &edit.text);
        }
        text
    }
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
        let repairs = chosen(&found.sorted());
        assert_eq!(repairs[0].applied(), expected);
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
