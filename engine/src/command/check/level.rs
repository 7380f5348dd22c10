//! Which warnings count as errors, and which are not told.

use language::diagnostic::{Diagnostic, Rule, Severity};
use language::nearest;

/// What `--deny` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    Warnings,
    One(Rule),
}

/// Reads the value of `--deny`.
pub(super) fn denied(text: &str) -> Result<Denied, String> {
    match text {
        "warnings" => Ok(Denied::Warnings),
        code => Ok(Denied::One(warning(code)?)),
    }
}

/// Reads the value of `--allow`.
pub(super) fn allowed(text: &str) -> Result<Rule, String> {
    warning(text)
}

fn warning(code: &str) -> Result<Rule, String> {
    let rule = Rule::ALL.iter().find(|it| it.code().eq_ignore_ascii_case(code));
    match rule {
        Some(rule) if rule.severity() == Severity::Warning => Ok(*rule),
        Some(rule) => Err(format!("{} is an error and cannot be allowed", rule.code())),
        None => {
            let warnings = Rule::ALL.iter().filter(|it| it.severity() == Severity::Warning);
            let near = nearest(code, warnings.map(|warning| warning.code()));
            Err(near.map_or_else(
                || "unknown code; `engine explain --list` lists them".to_owned(),
                |near| format!("unknown code; did you mean {near}?"),
            ))
        }
    }
}

/// What the command line says about warnings.
pub(super) struct Levels<'a> {
    pub(super) denied: &'a [Denied],
    pub(super) allowed: &'a [Rule],
}

impl Levels<'_> {
    /// Takes out what is allowed and makes errors of what is denied.
    pub(super) fn apply(&self, found: &mut Vec<Diagnostic>) {
        found.retain(|it| !self.allowed.contains(&it.rule));
        for it in found {
            let one = Denied::One(it.rule);
            if self.denied.iter().any(|denied| *denied == Denied::Warnings || *denied == one) {
                it.severity = Severity::Error;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_of_ours_and_a_warning() {
        assert_eq!(denied("warnings"), Ok(Denied::Warnings));
        assert_eq!(allowed("w0506"), Ok(Rule::NoStore));
        let reason = denied("W0560").expect_err("no such code");
        assert_eq!(reason, "unknown code; did you mean W0506?");
        assert!(allowed("E0203").expect_err("an error").contains("cannot be allowed"));
        assert!(allowed("everything").expect_err("no code").contains("--list"));
    }
}
