//! Findings as annotations of a GitHub workflow, errors first.

use super::{CheckedFile, RepositoryPaths, all, count, primary, word};
use kernel::health::printable;
use language::diagnostic::{Diagnostic, Severity};

/// GitHub shows so many errors and so many warnings of one step, and drops the rest silently.
const SHOWN_MAX: usize = 10;

/// One workflow command a finding, and a notice in the name of `command` of how many will not be
/// shown.
pub fn github(command: &str, files: &[CheckedFile], paths: &RepositoryPaths) -> String {
    let mut text = String::new();
    for severity in [Severity::Error, Severity::Warning] {
        for it in all(files).filter(|it| it.severity == severity) {
            text.push_str(&annotation(it, paths));
        }
    }
    let hidden = |severity| count(files, severity).saturating_sub(SHOWN_MAX);
    let (errors, warnings) = (hidden(Severity::Error), hidden(Severity::Warning));
    if 0 < errors + warnings {
        text.push_str(&format!(
            "::notice title=engine {command}::{errors} more errors and {warnings} more warnings are \
             not shown here; the log of this step has them all\n"
        ));
    }
    text
}

fn annotation(it: &Diagnostic, paths: &RepositoryPaths) -> String {
    let (start, end) = primary(it);
    let file = paths.name(&it.source.name);
    let mut place = format!("file={},line={}", property(&file.to_string_lossy()), start.line);
    // Columns are for places within one line; with others the annotation is refused.
    if start.line == end.line {
        place.push_str(&format!(",col={},endColumn={}", start.column, end.column));
    } else {
        place.push_str(&format!(",endLine={}", end.line));
    }
    let label = it.labels.first().map(|label| format!(": {}", label.text));
    let help = it.help.as_ref().map(|help| format!("\nhelp: {help}"));
    let message = [Some(it.message.clone()), label, help].into_iter().flatten();
    format!(
        "::{} {place},title={}::{}\n",
        word(it.severity),
        it.rule.code(),
        data(&message.collect::<String>())
    )
}

/// A message as workflow commands take it.
fn data(text: &str) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    printable(&text, usize::MAX)
}

/// A property as workflow commands take it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::testing::source;
    use super::*;
    use language::diagnostic::{Diagnostics, Rule};
    use std::path::Path;

    fn shown(name: &str, text: &str, count: usize, label: &str) -> String {
        let mut found = Diagnostics::new(source(name, text));
        for _ in 0..count {
            found.push(Rule::NoStore, "no store").at(0..text.len(), label).help("add one\nor not");
        }
        found.push(Rule::Cycle, "a cycle").at(0..1, "here");
        let paths = RepositoryPaths::around(Path::new("/project"));
        github("check", &[CheckedFile { name: name.to_owned(), found: found.sorted() }], &paths)
    }

    #[test]
    fn errors_come_first_and_signs_are_escaped() {
        let expected = "::error file=a%2Cb%3A1.kdl,line=1,col=1,endColumn=2,title=E0203::a cycle: here\n\
            ::warning file=a%2Cb%3A1.kdl,line=1,col=1,endColumn=3,title=W0506::no store: 100%25%0A\
            help: add one%0Aor not\n";
        assert_eq!(shown("a,b:1.kdl", "xy", 1, "100%"), expected);
    }

    #[test]
    fn a_place_of_several_lines_has_no_columns() {
        let text = shown("./a.kdl", "x\ny", 1, "here");
        assert!(text.contains("::warning file=a.kdl,line=1,endLine=2,title=W0506::"), "{text}");
    }

    #[test]
    fn what_github_drops_is_counted() {
        assert!(!shown("a.kdl", "x", 10, "here").contains("::notice"));
        let text = shown("a.kdl", "x", 13, "here");
        assert!(
            text.contains(
                "title=engine check::0 more errors and 3 more warnings are not shown here"
            ),
            "{text}"
        );
        assert_eq!(text.matches("::warning").count(), 13);
    }
}
