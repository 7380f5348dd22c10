use super::super::{human, testing};
use language::diagnostic::{Diagnostics, Rule};

fn shown(text: &str, labels: &[(&str, &str)], width: usize) -> String {
    let mut found = Diagnostics::new(testing::source("a.kdl", text));
    let it = found.push(Rule::Syntax, "odd");
    let mut last = it;
    for (at, label) in labels {
        let start = text.find(at).expect("it is there");
        last = last.at(start..start + at.len(), *label);
    }
    last.help("do it");
    human(&found.sorted(), false, width)
}

#[track_caller]
fn fits(shown: &str, width: usize) {
    for line in shown.lines() {
        assert!(line.chars().count() <= width, "{} columns: {line}\n{shown}", line.chars().count());
    }
}

#[test]
fn a_long_line_is_cut_around_the_place_and_its_column_is_the_true_one() {
    let text = format!("a\n{} WRONG {}\nb\n", "x".repeat(5000), "y".repeat(5000));
    let shown = shown(&text, &[("WRONG", "this is what is wrong here")], 80);
    fits(&shown, 80);
    assert!(shown.contains("[a.kdl:2:5002]"), "{shown}");
    assert!(shown.contains("x WRONG y"), "{shown}");
    assert!(shown.contains("\n 3 │ b\n"), "{shown}");
}

#[test]
fn what_a_label_says_is_wrapped() {
    let text = format!("a {} b\n", "1 ".repeat(30));
    let label = "a long reason that says in many words why this one is not right at all";
    let shown = shown(&text, &[("b\n", label)], 60);
    fits(&shown, 60);
    for word in label.split(' ') {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}

#[test]
fn the_lines_between_far_places_are_left_out() {
    let text =
        format!("{}first\n{}second\n{}", "x\n".repeat(40), "y\n".repeat(60), "z\n".repeat(9));
    let shown = shown(&text, &[("first", "one"), ("second", "other")], 80);
    assert!(shown.contains("[a.kdl:41:1]") && shown.contains("[a.kdl:102:1]"), "{shown}");
    assert!(shown.lines().count() < 20, "{shown}");
    assert!(shown.contains("41 │ first") && shown.contains("102 │ second"), "{shown}");
}

#[test]
fn a_place_of_many_lines_is_shown_by_its_first() {
    let text = format!("begin\n{}end\n", "x\n".repeat(50));
    let shown = shown(&text, &[(text.trim_end(), "all of this")], 80);
    assert!(shown.lines().count() < 12 && shown.contains("all of this"), "{shown}");
}

#[test]
fn what_could_command_a_terminal_is_escaped() {
    let text = "a \"\u{1b}]0;x\u{7}\u{9b}\u{202e}\u{7f}\" 5s\n";
    let mut found = Diagnostics::new(testing::source("a\u{1b}[2J.kdl", text));
    let start = text.find("5s").expect("it is there");
    let at = start..start + 2;
    found.push(Rule::Syntax, "odd \u{1b}[31m\r").at(at, "here \u{9b}").help("\u{202e}no");
    let shown = human(&found.sorted(), false, 100);
    assert!(
        !shown.chars().any(|letter| letter != '\n' && kernel::health::is_unprintable(letter)),
        "{shown:?}"
    );
    assert!(shown.contains("\\u{1b}]0;x\\u{7}\\u{9b}\\u{202e}\\u{7f}"), "{shown}");
}

proptest::proptest! {
    #[test]
    fn any_text_with_any_places_is_shown(
        text in "[a-c \\n\\t\u{1b}äß…]{0,300}",
        places in proptest::collection::vec((0..320_usize, 0..80_usize), 0..4),
        width in 40..120_usize,
    ) {
        let mut found = Diagnostics::new(testing::source("a.kdl", &text));
        let finding = found.push(Rule::Syntax, "odd");
        let mut last = finding;
        let near = |at: usize| (0..=at.min(text.len())).rev().find(|it| text.is_char_boundary(*it));
        for (start, length) in places {
            let (start, end) = (near(start).unwrap_or(0), near(start + length).unwrap_or(0));
            last = last.at(start..end.max(start), "here");
        }
        let shown = human(&found.sorted(), false, width);
        proptest::prop_assert!(shown.contains("odd"));
        proptest::prop_assert!(!shown.contains('\u{1b}') && !shown.contains("Failed"), "{}", shown);
    }
}
