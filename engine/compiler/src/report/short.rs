//! Findings as one line each, for editors and `grep`.

use super::{CheckedFile, all, place};
use kernel::health::printable;

/// One line a finding: `a.kdl:4:9: E0201 message`.
pub fn short(files: &[CheckedFile]) -> String {
    let line = |it| {
        let message: &language::diagnostic::Diagnostic = it;
        let text = printable(&message.message.replace('\n', " "), usize::MAX);
        format!("{}: {} {text}\n", place(message), message.rule.code())
    };
    all(files).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn a_finding_is_a_line() {
        let expected = "a.kdl:1:1: E0011 no node is called `ä:`\n\
                        a.kdl:2:1: W0401 this looks like a secret\n";
        assert_eq!(short(&testing::found()), expected);
    }
}
