//! A page for every code: what it means, a file that raises it, how that is repaired.

use language::diagnostic::{Diagnostic, Rule, Severity};

/// A longer example says less than its report.
const LINES_MAX: usize = 60;

/// A file that raises a rule, and what was found in it.
pub struct Example<'a> {
    /// Its path in the project.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// What the terminal shows of it.
    pub report: &'a str,
    /// What was found in it.
    pub found: &'a [Diagnostic],
}

/// What a rule means, as it is told everywhere.
pub(super) fn explanation(rule: Rule) -> String {
    rule.explanation().lines().map(|line| format!("{}\n", line.trim())).collect()
}

/// The page of a code, as Markdown.
pub fn page(rule: Rule, example: &Example<'_>) -> String {
    let code = rule.code();
    let consequence = match rule.severity() {
        _ if rule.is_of_running() => "`engine test` finds this: the test fails.".to_owned(),
        Severity::Error => "This is an error: the file does not run.".to_owned(),
        Severity::Warning => format!(
            "This is a warning: the file runs.\n`engine check --deny {code}` makes it an error, \
             and `--allow {code}` hides it."
        ),
    };
    let (command, mark) = if rule.is_of_running() { ("test", "") } else { ("check", " must-fail") };
    let file = if example.text.lines().count() <= LINES_MAX {
        format!("```kdl{mark}\n{}\n```\n", example.text.trim_end())
    } else {
        "The file is long; the report shows where.\n".to_owned()
    };
    format!(
        "# {code}\n\n{}\n{consequence}\n\n## An example\n\n`{}`:\n\n{file}\n\
         `engine {command}` says:\n\n```text\n{}\n```\n{}",
        explanation(rule),
        example.name,
        example.report.trim_end(),
        repair(rule, example.found)
    )
}

fn repair(rule: Rule, found: &[Diagnostic]) -> String {
    let found: Vec<&Diagnostic> = found.iter().filter(|it| it.rule == rule).collect();
    let mut helps: Vec<&str> = found.iter().filter_map(|it| it.help.as_deref()).collect();
    helps.dedup();
    // What came out instead of what was expected is no repair.
    helps.retain(|_| rule != Rule::FailedExpectation);
    let mut text = String::from("\n## The fix\n\n");
    text.extend(helps.iter().map(|help| format!("- {}\n", help.replace('\n', "\n  "))));
    if found.iter().any(|it| !it.fix.is_empty()) {
        text.push_str("\n`engine check --fix` applies it.\n");
    }
    if helps.is_empty() { String::new() } else { text }
}

/// The list of all codes, as Markdown.
pub fn index() -> String {
    let mut text = String::from(
        "# Codes\n\nEvery diagnostic code, each with a page.\nCodes are never \
         reused: a code in an old log still has the same meaning.\n\n| code | meaning |\n|---|---|\n",
    );
    for rule in Rule::ALL {
        let (code, line) = (rule.code(), first_line(*rule).replace('|', "\\|"));
        text.push_str(&format!("| [{code}]({code}.md) | {line} |\n"));
    }
    text
}

/// The first sentence of what a rule means.
pub fn first_line(rule: Rule) -> String {
    let text = explanation(rule);
    let line = text.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    line.split_once(". ").map_or(line.clone(), |it| format!("{}.", it.0))
}
