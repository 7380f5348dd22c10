use super::*;

fn source(text: &str) -> Arc<SourceText> {
    Arc::new(SourceText { name: "a.kdl".to_owned(), text: text.to_owned() })
}

fn found(text: &str) -> Vec<language::diagnostic::Diagnostic> {
    let source = source(text);
    let mut diagnostics = Diagnostics::new(source.clone());
    let document = parse(&source, &mut diagnostics);
    assert_eq!(document.is_none(), diagnostics.has_errors(), "{text}");
    diagnostics.sorted()
}

/// Every finding in one line: code, message, the labelled text and what stands at it, help.
fn told(text: &str) -> String {
    let lines: Vec<String> = found(text)
        .iter()
        .map(|it| {
            let labels: Vec<String> = it
                .labels
                .iter()
                .map(|label| format!("[{}] {}", &text[label.span.clone()], label.text))
                .collect();
            let help = it.help.as_deref().unwrap_or_default();
            format!("{} {} · {} · {help}", it.rule.code(), it.message, labels.join(" · "))
        })
        .collect();
    lines.join("\n")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(told(text), expected);
}

#[test]
fn the_usual_slips_are_explained_at_their_place() {
    let mut all = String::new();
    for text in SLIPS {
        all.push_str(&crate::report::human(&found(text), false, 100));
        all.push_str("────\n");
    }
    insta::assert_snapshot!(all);
}

const SLIPS: &[&str] = &[
    "enrich http weather {\n    enabled=true\n}\n",
    "enrich http weather enabled=true {\n}\n",
    "server {\n    ui false\n}\n",
    "sink sse live {\n    replay 500 max-age=10m\n    x 5s\n}\n",
    "a 10/min\nb 22:00-07:00\nc 5xx,\nd 127.0.0.1:80\n",
    "source http a {\n    path \"/x\"\n\nsink sse b {\n    path \"/y\"\n}\n",
    "source http a {\n    map {\n        id \"x\"\n}\nsink sse b {\n}\n",
    "source http a {\n    title \"abc\n    path \"/x\"\n}\n",
    "n \"a\nb\"\nm 1\n",
    "n \"\"\"\n a\n",
    "n /* a\nm 1\n",
    "# comment\n# two\na 1 # three\n",
    "a #True\n",
    "filter f {\n    keep when=event.type == \"x\"\n}\n",
    "enrich http w {\n    when event.type == \"x\"\n}\n",
    "enrich http w {\n    when \"event.type == \"x\"\"\n}\n",
    "enrich http w {\n    when event.type in ['a', 'b']\n}\n",
    "quiet-hours \"22:00-07:00\" days=[sat, sun]\n",
    "n {\n    days [sat, sun]\n}\n",
    "to [\n    a,\n    b,\n]\nx 1\n",
    "match \"\\d+\"\n",
    "match \"\\d+\" x=true\n",
    "n {\n timeout: \"5s\"\n timeout= \"5s\"\n timeout: 5s\n}\n",
    "{ \"a\": 1, \"b\": [1, 2] }",
    "a 'single quoted x=1'\nb 'x' = 3\n",
    "to \"a\", \"b\"\n",
    "to a, b,\nm 5, 6\n",
    "to:\n  - a b\n  - c=\nz true\n",
    "a => b\n",
    "source http a\n{\n    path \"/x\"\n    x true\n}\n",
    "a }\nb true\n",
    "token env(\"X\")\n",
    "path /events\nget http://x/y=true\n",
    "a (env \"X\"\n",
    "a b=\n",
    "retry max=\"3\"\"4\"\n",
    "a \\ b\n",
    "a \u{1} b\n",
    "a b{c\n}\n} else {\n}\n",
    "n \"\"\"abc\n  \"\"\"\n",
    "n \"\"\"\n  a\n b\n  \"\"\"\nm true\n",
    "(x n 1\n",
    "a=1\n",
    "a { b { c 1 } d 2 }; e {} \"f\" {} /- g\n",
    "a {}b\nc {} /* x */ d\n",
];

#[test]
fn a_valid_file_is_a_document_without_findings() {
    check("", "");
    check("\u{FEFF}a 1 // c\n/- b {\n  c\n}\n", "");
    check("a #true k=#\"x\"# {\n  b \"\"\"\n    { \" x\n    \"\"\"; c (env)\"X\"\n}\n", "");
    check("a \\\n  1 2 /* { */ \"\\u{e4}\\s\"\n", "");
}

#[test]
fn mistakes_that_have_nothing_to_do_with_each_other_come_in_one_run() {
    let found = found("a true\nb 5s\n# c\nd [x]\ne \"\\d\"\nf = 1\ng \u{1}\nh )\n");
    let codes: Vec<&str> = found.iter().map(|it| it.rule.code()).collect();
    let expected = ["E0001", "E0003", "E0005", "E0007", "E0008", "E0011", "E0002", "E0002"];
    assert_eq!(codes, expected);
}

#[test]
fn what_is_too_large_is_refused_before_it_is_parsed() {
    let started = now();
    for bomb in [
        "a {".repeat(100_000),
        "a {\n".repeat(100_000),
        "{".repeat(100_000),
        "/*".repeat(100_000),
        "a\n".repeat(100_000),
        "a;".repeat(10_001),
        ";".repeat(10_001),
        format!("a {}", "b=1 ".repeat(10_000)),
        format!("a {}", "1 ".repeat(10_000)),
        "/-a {".repeat(100),
        "a /-{ b ".repeat(100),
        "x".repeat(SIZE_MAX + 1),
    ] {
        assert!(told(&bomb).starts_with("E0009"), "{}", &bomb[..10]);
    }
    // What is read to its end would take minutes; a loaded machine takes seconds for the rest.
    assert!((now() - started).as_secs() < 30);
}

#[test]
fn what_is_within_the_limits_is_parsed() {
    let deep = format!("{}{}", "a {\n".repeat(64), "}\n".repeat(64));
    assert_eq!(told(&deep), "");
    assert_eq!(told(&"a 1\n".repeat(10_000)), "");
    assert_eq!(told(&format!("a {}", "b=(x)1 ".repeat(800))), "");
    for inner in ["/* x */ ", "* ", "/ ", "é*", "/**/"] {
        let comment = format!("a 1 /*{}*/ 2\n", inner.repeat(100_000));
        assert_eq!(told(&comment), "");
    }
    for text in ["}".repeat(20_000), "(".repeat(20_000), "\\".repeat(20_000), "\"".repeat(999)] {
        assert!(!told(&text).is_empty());
    }
}

#[test]
fn bytes_that_are_no_text_are_reported_at_their_place() {
    let found = text(b"a 1\nb \xFF\n", "a.kdl").expect_err("no text").sorted();
    assert_eq!(found[0].rule, Rule::Syntax);
    assert_eq!(found[0].labels[0].span, 6..9);
    let large = text(&vec![b' '; SIZE_MAX + 1], "a.kdl").expect_err("too large").sorted();
    assert_eq!(large[0].rule, Rule::TooLarge);
    assert!(text(b"a 1", "a.kdl").is_ok());
}

const SAMPLE: &str = include_str!("sample.kdl");

#[test]
fn the_sample_is_valid() {
    check(SAMPLE, "");
}

fn now() -> std::time::Duration {
    std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock")
}

/// A small text whose blocks are switched off at every level, alone and beside each other.
#[test]
fn the_time_does_not_double_with_each_level() {
    let started = now();
    let units = [
        "a /-{#true",
        "a /-{ true\n",
        "a /-{\n",
        "/- a {\n b\n",
        "/- a /-{\n b\n",
        "a /-b {\n",
        "a /-b /-{ c /-{}\n",
        "/-a {}\n/-b {",
        "a {} /-{",
        "a (/-{",
        "a \"/-{",
        "{/-",
        "/-{",
        "a /-(b)c=1 /-{ (",
        "/*/-{*/ /-a {",
        "a b=/-{",
        "a \\\n /-{",
        "[/-{",
        "a /-/*x*/{",
        "; /-{",
        "a /-b=#\"x\"# {/-\n",
        "}{/-",
        "a /-{}/-{}/-{",
        "// /-{\n/-a{",
    ];
    for unit in units {
        for close in ["", "}", "\n}", "} /-{}"] {
            let text = format!("{}{}", unit.repeat(40), close.repeat(40));
            told(&text);
            told(&text[..text.len().min(190)]);
        }
    }
    assert!((now() - started).as_secs() < 20);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 64, ..Default::default() })]

    #[test]
    fn no_text_makes_the_parser_panic(bytes: Vec<u8>) {
        if let Ok(source) = text(&bytes, "a.kdl") {
            found(&source.text);
        }
    }

    #[test]
    fn no_soup_of_tokens_makes_the_parser_panic(
        text in r#"([a-z]{1,3}|[ \n;={}()\[\]\\/#"',:]|/-|"""|//|/\*|\*/|#true|5s|ä){0,60}"#
    ) {
        crate::report::human(&found(&text), false, 80);
    }

    #[test]
    fn no_soup_of_blocks_that_are_off_takes_long(
        text in r#"([ab]|[ \n;={}()\\#"]|/-|/-\{|\{|#true|/-a \{){0,120}"#
    ) {
        let started = now();
        found(&text);
        proptest::prop_assert!((now() - started).as_secs() < 2);
    }

    #[test]
    fn a_slip_of_the_finger_is_a_finding_or_a_document(
        at in 0..SAMPLE.len(), change in 0..3_u8, new in r##"[ \n;={}()\[\]\\/#"',:x5]"##
    ) {
        let at = (0..=at).rev().find(|it| SAMPLE.is_char_boundary(*it)).unwrap_or(0);
        let width = SAMPLE[at..].chars().next().map_or(0, char::len_utf8);
        let (before, own, behind) = (&SAMPLE[..at], &SAMPLE[at..at + width], &SAMPLE[at + width..]);
        let text = match change {
            0 => format!("{before}{behind}"),
            1 => format!("{before}{own}{own}{behind}"),
            _ => format!("{before}{new}{behind}"),
        };
        crate::report::human(&found(&text), false, 80);
    }
}
