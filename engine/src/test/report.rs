//! The tests of several pipelines, and what is said about them.

use super::coverage::Coverage;
use super::{Suite, TestVerdict, run};
use compiler::report::{self, escaped};
use kernel::health::printable;
use stages::catalog::Catalog;

/// What ran.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order in which they were asked for.
    pub pipelines: Vec<Ran>,
}

/// The tests of one pipeline.
#[derive(Debug)]
pub struct Ran {
    /// The file as the user wrote it.
    pub file: String,
    /// Each test by its name.
    pub tests: Vec<(String, TestVerdict)>,
    /// How much there is to exercise, and a line for each part that no test did.
    pub coverage: (usize, Vec<String>),
}

/// Runs those tests of a suite whose name contains `filter`, in their order.
pub fn run_all(suite: &mut Suite, file: &str, filter: &str, catalog: &Catalog) -> Ran {
    let mut coverage = Coverage::default();
    let mut tests = Vec::new();
    for test in suite.tests.clone().iter().filter(|it| it.name.value.contains(filter)) {
        tests.push((test.name.value.clone(), run(suite, test, catalog, &mut coverage)));
    }
    let coverage = coverage.missed(&suite.items, &suite.texts);
    Ran { file: file.to_owned(), tests, coverage }
}

impl Ran {
    /// How many failed.
    pub fn failed(&self) -> usize {
        self.tests.iter().filter(|it| it.1.failed.is_some()).count()
    }

    /// What the terminal shows of it.
    pub fn human(&self, shows_timeline: bool, colour: bool, width: usize) -> String {
        let mut text = format!("{}\n", self.file);
        for (name, verdict) in &self.tests {
            let (word, code) = if verdict.failed.is_some() { ("FAILED", 31) } else { ("ok", 32) };
            let (on, off) = match colour {
                true => (format!("\x1b[{code}m"), "\x1b[0m"),
                false => (String::new(), ""),
            };
            let name = printable(name, usize::MAX);
            text.push_str(&format!("  {on}{word:<7}{off} {name}\n"));
            if let Some(failed) = &verdict.failed {
                text.push('\n');
                text.push_str(&report::human(&failed.diagnostics, colour, width));
            }
            if shows_timeline || verdict.failed.is_some() {
                text.push_str(&indented(&verdict.timeline));
            }
            if verdict.failed.is_some() {
                text.push('\n');
            }
        }
        text
    }

    /// What no test exercises.
    pub fn human_coverage(&self) -> String {
        let (all, missed) = &self.coverage;
        let mut text =
            format!("{}: {} of {all} parts are exercised\n", self.file, all - missed.len());
        for line in missed {
            text.push_str(&format!("  {line}\n"));
        }
        text
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|it| format!("    {it}\n")).collect()
}

impl Report {
    /// How many tests ran, and how many of them failed.
    pub fn counts(&self) -> (usize, usize) {
        let all = self.pipelines.iter().map(|it| it.tests.len()).sum();
        (all, self.pipelines.iter().map(Ran::failed).sum())
    }

    /// The same for machines: one suite a pipeline, one case a test.
    pub fn junit(&self) -> String {
        let (all, failed) = self.counts();
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        line(format!("<testsuites name=\"engine test\" tests=\"{all}\" failures=\"{failed}\">"));
        for ran in &self.pipelines {
            let (file, count, failed) = (escaped(&ran.file), ran.tests.len(), ran.failed());
            line(format!("  <testsuite name=\"{file}\" tests=\"{count}\" failures=\"{failed}\">"));
            for (name, verdict) in &ran.tests {
                let case = format!("    <testcase classname=\"{file}\" name=\"{}\"", escaped(name));
                let Some(failed) = &verdict.failed else {
                    line(format!("{case}/>"));
                    continue;
                };
                line(format!("{case}>"));
                let first = failed.diagnostics.first();
                let (code, message) =
                    first.map_or(("", ""), |it| (it.rule.code(), it.message.as_str()));
                let mut whole = report::human(&failed.diagnostics, false, 100);
                whole.push_str(&verdict.timeline);
                line(format!(
                    "      <failure type=\"{code}\" message=\"{}\">{}</failure>",
                    escaped(message),
                    escaped(&whole)
                ));
                line("    </testcase>".to_owned());
            }
            line("  </testsuite>".to_owned());
        }
        line("</testsuites>".to_owned());
        text
    }
}
