//! The tests of several pipelines, and what is said about them.

use super::coverage::Coverage;
use super::{Suite, TestVerdict, run};
use compiler::report::{self, CheckedFile, RepositoryPaths, escaped};
use kernel::env::Clock;
use kernel::health::printable;
use language::diagnostic::Diagnostic;
use stages::catalog::Catalog;
use std::time::Duration;

/// What ran.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order in which they were asked for.
    pub pipelines: Vec<SuiteResult>,
}

/// The tests of one pipeline.
#[derive(Debug)]
pub struct SuiteResult {
    /// The file as the user wrote it.
    pub file: String,
    /// What was found in the file itself, where that keeps its tests from running.
    pub broken: Vec<Diagnostic>,
    /// In the order of the files.
    pub tests: Vec<TestResult>,
    /// How much there is to exercise, and a line for each part that no test did.
    pub coverage: (usize, Vec<String>),
}

/// A test that ran.
#[derive(Debug)]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// The file that it is in: the pipeline's, or one beside it.
    pub file: String,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub verdict: TestVerdict,
}

/// Runs those tests of a suite whose name contains `filter`, in their order; `clock` tells how
/// long each takes.
pub fn run_all(
    suite: &mut Suite,
    file: &str,
    filter: &str,
    catalog: &Catalog,
    clock: &dyn Clock,
) -> SuiteResult {
    let mut coverage = Coverage::default();
    let mut tests = Vec::new();
    for test in suite.tests.clone().iter().filter(|test| test.name.value.contains(filter)) {
        let start = clock.monotonic();
        let verdict = run(suite, test, catalog, &mut coverage);
        let took = clock.monotonic().saturating_sub(start);
        let file = suite.texts.file(test.name.span.start).to_owned();
        tests.push(TestResult { name: test.name.value.clone(), file, took, verdict });
    }
    let coverage = coverage.missed(&suite.items, &suite.texts);
    SuiteResult { file: file.to_owned(), broken: Vec::new(), tests, coverage }
}

impl SuiteResult {
    /// A pipeline whose files have errors, so that none of its tests ran.
    pub fn broken(file: &str, broken: Vec<Diagnostic>) -> SuiteResult {
        SuiteResult { file: file.to_owned(), broken, tests: Vec::new(), coverage: (0, Vec::new()) }
    }

    /// How many failed.
    pub fn failed(&self) -> usize {
        self.tests.iter().filter(|test| test.verdict.failed.is_some()).count()
    }

    /// What the terminal shows of it.
    pub fn human(&self, shows_timeline: bool, colour: bool, width: usize) -> String {
        let mut text = format!("{}\n", self.file);
        for TestResult { name, verdict, .. } in &self.tests {
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

    /// How long its tests took.
    fn took(&self) -> Duration {
        self.tests.iter().map(|test| test.took).sum()
    }

    /// What failed with the test's name in front, and what is wrong in the file itself.
    fn findings(&self) -> CheckedFile {
        let mut found = self.broken.clone();
        for test in &self.tests {
            let failed = test.verdict.failed.iter().flat_map(|it| &it.diagnostics);
            found.extend(failed.map(|failed| Diagnostic {
                message: format!("{}: {}", test.name, failed.message),
                ..failed.clone()
            }));
        }
        CheckedFile { name: self.file.clone(), found }
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
    text.lines().map(|line| format!("    {line}\n")).collect()
}

impl Report {
    /// How many tests ran, and how many of them failed.
    pub fn counts(&self) -> (usize, usize) {
        let all = self.pipelines.iter().map(|pipeline| pipeline.tests.len()).sum();
        (all, self.pipelines.iter().map(SuiteResult::failed).sum())
    }

    /// The same for machines: one suite a pipeline, one case a test. Files are named from the root
    /// of their repository.
    pub fn junit(&self, paths: &RepositoryPaths) -> String {
        let (all, failed) = self.counts();
        let broken = self.pipelines.iter().filter(|pipeline| !pipeline.broken.is_empty()).count();
        let all = all + broken;
        let time = seconds(self.pipelines.iter().map(SuiteResult::took).sum());
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"engine test\" \
             tests=\"{all}\" failures=\"{failed}\" errors=\"{broken}\" time=\"{time}\">\n"
        );
        for ran in &self.pipelines {
            let (name, file) = (escaped(&ran.file), named(&ran.file, paths));
            let errors = usize::from(!ran.broken.is_empty());
            let (count, failed) = (ran.tests.len() + errors, ran.failed());
            let time = seconds(ran.took());
            text.push_str(&format!(
                "  <testsuite name=\"{name}\" file=\"{file}\" tests=\"{count}\" \
                 failures=\"{failed}\" errors=\"{errors}\" time=\"{time}\">\n"
            ));
            if !ran.broken.is_empty() {
                let told = escaped(&report::human(&ran.broken, false, 100));
                let headline = escaped(&report::headline(&ran.broken));
                text.push_str(&format!(
                    "    <testcase classname=\"{name}\" name=\"check\" file=\"{file}\" \
                     time=\"0.000\">\n      <error message=\"{headline}\">{told}</error>\n    \
                     </testcase>\n"
                ));
            }
            text.extend(ran.tests.iter().map(|test| test.junit(&name, paths)));
            text.push_str("  </testsuite>\n");
        }
        text.push_str("</testsuites>\n");
        text
    }

    /// What failed, and what is wrong in the files, as annotations of a GitHub workflow.
    pub fn github(&self, paths: &RepositoryPaths) -> String {
        let files: Vec<CheckedFile> = self.pipelines.iter().map(SuiteResult::findings).collect();
        report::github("test", &files, paths)
    }
}

impl TestResult {
    fn junit(&self, class: &str, paths: &RepositoryPaths) -> String {
        let (name, file) = (escaped(&self.name), named(&self.file, paths));
        let time = seconds(self.took);
        let case = format!(
            "    <testcase classname=\"{class}\" name=\"{name}\" file=\"{file}\" time=\"{time}\""
        );
        let Some(failed) = &self.verdict.failed else { return format!("{case}/>\n") };
        let first = failed.diagnostics.first();
        let (code, message) = first.map_or(("", ""), |it| (it.rule.code(), it.message.as_str()));
        let mut whole = report::human(&failed.diagnostics, false, 100);
        whole.push_str(&self.verdict.timeline);
        format!(
            "{case}>\n      <failure type=\"{code}\" message=\"{}\">{}</failure>\n    \
             </testcase>\n",
            escaped(message),
            escaped(&whole)
        )
    }
}

fn named(file: &str, paths: &RepositoryPaths) -> String {
    escaped(&paths.name(file).to_string_lossy())
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::super::TestFailure;
    use super::*;
    use std::path::Path;

    fn result(name: &str, millis: u64) -> TestResult {
        let verdict = TestVerdict { failed: None, timeline: String::new() };
        let (name, took) = (name.to_owned(), Duration::from_millis(millis));
        TestResult { name, file: "/project/home/a.test.kdl".to_owned(), took, verdict }
    }

    fn report(tests: Vec<TestResult>) -> Report {
        let coverage = (0, Vec::new());
        let file = "/project/home/a.kdl".to_owned();
        Report { pipelines: vec![SuiteResult { file, broken: Vec::new(), tests, coverage }] }
    }

    #[test]
    fn times_add_up_and_files_are_named_from_the_root() {
        let mut second = result("<b>", 20);
        second.verdict.failed = Some(TestFailure { diagnostics: Vec::new() });
        let text = report(vec![result("a", 1250), second])
            .junit(&RepositoryPaths::around(Path::new("/project")));
        for part in [
            "<testsuites name=\"engine test\" tests=\"2\" failures=\"1\" errors=\"0\" time=\"1.270\">",
            "<testsuite name=\"/project/home/a.kdl\" file=\"home/a.kdl\" tests=\"2\" failures=\"1\" errors=\"0\" time=\"1.270\">",
            "name=\"a\" file=\"home/a.test.kdl\" time=\"1.250\"/>",
            "name=\"&lt;b&gt;\" file=\"home/a.test.kdl\" time=\"0.020\">",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
    }
}
