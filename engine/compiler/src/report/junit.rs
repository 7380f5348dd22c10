//! Findings as a JUnit report: a suite a file, a failure an error.

use super::{CheckedFile, count, place};
use kernel::health::is_unprintable;
use language::diagnostic::{Diagnostic, Severity};

/// One `testsuite` a file. Errors are failures, warnings the output of a case that passes, and a
/// file without findings is one case that passes.
pub fn junit(files: &[CheckedFile]) -> String {
    let tests: usize = files.iter().map(|file| file.found.len().max(1)).sum();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"engine check\" tests=\"{tests}\" failures=\"{}\" errors=\"0\">\n",
        count(files, Severity::Error)
    );
    files.iter().for_each(|file| suite(&mut text, file));
    text.push_str("</testsuites>\n");
    text
}

fn suite(text: &mut String, file: &CheckedFile) {
    let failures = count(std::slice::from_ref(file), Severity::Error);
    let (name, tests) = (escaped(&file.name), file.found.len().max(1));
    text.push_str(&format!(
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">\n"
    ));
    if file.found.is_empty() {
        text.push_str(&format!("    <testcase classname=\"{name}\" name=\"check\"/>\n"));
    }
    text.extend(file.found.iter().map(|it| case(&name, it)));
    text.push_str("  </testsuite>\n");
}

fn case(class: &str, it: &Diagnostic) -> String {
    let (code, at, told) = (it.rule.code(), escaped(&place(it)), escaped(&told(it)));
    let outcome = match it.severity {
        Severity::Error => {
            let message = escaped(&it.message);
            format!("<failure type=\"{code}\" message=\"{message}\">{told}</failure>")
        }
        Severity::Warning => format!("<system-out>{told}</system-out>"),
    };
    format!(
        "    <testcase classname=\"{class}\" name=\"{code} {at}\">\n      {outcome}\n    \
         </testcase>\n"
    )
}

fn told(it: &Diagnostic) -> String {
    let labels = it.labels.iter().map(|label| {
        let start = super::position(&it.source, label.span.start);
        format!("\n{}:{}:{}: {}", it.source.name, start.line, start.column, label.text)
    });
    let help = it.help.as_ref().map(|help| format!("\nhelp: {help}"));
    [it.message.clone()].into_iter().chain(labels).chain(help).collect()
}

/// Text as XML takes it; what XML 1.0 cannot hold at all becomes a replacement character.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(it),
            '\r' => escaped.push_str("&#13;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            it if is_unprintable(it) => escaped.push_str(&format!("&#{};", u32::from(it))),
            _ => escaped.push(it),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn every_file_is_a_suite() {
        let text = junit(&testing::found());
        assert!(text.contains("<testsuites name=\"engine check\" tests=\"3\" failures=\"1\""));
        assert!(text.contains("<testsuite name=\"a.kdl\" tests=\"2\" failures=\"1\""), "{text}");
        assert!(text.contains("<testcase classname=\"fine.kdl\" name=\"check\"/>"), "{text}");
        assert_eq!(text.matches("<failure").count(), 1);
    }

    #[test]
    fn no_text_breaks_the_xml() {
        let expected = "&lt;a b=&quot;1&quot;&gt;&amp;\u{fffd}\n";
        assert_eq!(escaped("<a b=\"1\">&\u{8}\n"), expected);
    }
}
