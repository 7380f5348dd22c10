use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn source(text: &str) -> Arc<SourceText> {
    Arc::new(SourceText { name: "a.kdl".to_owned(), text: text.to_owned() })
}

fn formatted(text: &str) -> String {
    match format(&source(text)) {
        Ok(formatted) => formatted,
        Err(fault) => panic!("{text:?} is left as it is: {fault:?}"),
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let once = formatted(text);
    assert_eq!(once, expected);
    assert_eq!(formatted(&once), once, "formatted again");
}

#[test]
fn blocks_are_indented_by_four() {
    check("a {\nb {\n c\n  }\n\t}", "a {\n    b {\n        c\n    }\n}\n");
    check("a { b {\nc } }", "a {\n    b {\n        c\n    }\n}\n");
    check("a{}\nb {\n\n}", "a {}\nb {}\n");
}

#[test]
fn a_block_of_one_line_stays_on_it() {
    check("a  {b;c   1 ;}", "a { b; c 1; }\n");
    check("a {b { c }}; d", "a { b { c } }; d\n");
    check("a { /* b */ }", "a { /* b */ }\n");
}

#[test]
fn one_blank_stands_between_entries() {
    check("a   1\t\"b\"   c = 2  \n", "a 1 \"b\" c=2\n");
    check("( t ) a (t)  1 b=(t) 2", "(t)a (t)1 b=(t)2\n");
    check("a /*b*/1/*c*/ d /*e*/ = /*f*/ 2", "a /*b*/ 1 /*c*/ d /*e*/ = /*f*/ 2\n");
}

#[test]
fn blank_lines_come_alone_and_never_at_an_edge() {
    check("\n\na\n\n\n\nb {\n\n  c\n\n}\n\n\n", "a\n\nb {\n    c\n}\n");
    check("", "");
    check(" \n\n", "");
}

#[test]
fn comments_keep_their_line() {
    check("a // b  \n// c\n\n\n/* d */ e\n", "a // b\n// c\n\n/* d */ e\n");
    check("a { // b\n\nc // d\n// e\n}", "a { // b\n    c // d\n    // e\n}\n");
    check("a { /* b */ c\n}", "a {\n    /* b */ c\n}\n");
    check("a {\n  /* b\n     c */\n}", "a {\n    /* b\n       c */\n}\n");
    check("/* a /* b */ c */", "/* a /* b */ c */\n");
}

#[test]
fn what_is_switched_off_is_formatted_like_the_rest() {
    check(
        "/- kdl-version 2\n/-a {\nb 1  /-2 /- c = 3\n}",
        "/- kdl-version 2\n/-a {\n    b 1 /-2 /- c=3\n}\n",
    );
    check("/-\n\na\n/- // b\n\nc", "/- a\n/- // b\nc\n");
    check("a /-{ b } {\nc\n} /- { d }", "a /-{ b } {\n    c\n} /- { d }\n");
    check("a /- // b\n1 2", "a /- // b\n    1 2\n");
}

#[test]
fn a_continued_line_is_indented_once_more() {
    check(
        "a {\nb \\\n 1 \\ // c\n2\nd\n}",
        "a {\n    b \\\n        1 \\ // c\n        2\n    d\n}\n",
    );
    check("a \\\n\n\n\nb \\", "a \\\n\nb \\\n");
    check("a { b \\\n}", "a {\n    b \\\n}\n");
}

#[test]
fn strings_of_several_lines_keep_their_value() {
    check(
        "a {\nb \"\"\"\n  c\n    d\n\n  \"\"\"\n}",
        "a {\n    b \"\"\"\n      c\n        d\n\n      \"\"\"\n}\n",
    );
    check("\ta #\"\"\"\r\n\t\t b \r\n\t\t\"\"\"#", "a #\"\"\"\n     b \n    \"\"\"#\n");
}

#[test]
fn what_no_text_shows_stays() {
    check("\u{FEFF}a\r\nb\u{85}c", "\u{FEFF}a\nb\nc\n");
    check("\u{FEFF}", "\u{FEFF}");
}

#[test]
fn what_is_no_kdl_is_told_and_left() {
    let Err(Unformatted::Findings(found)) = format(&source("a {\n  b\n")) else {
        panic!("it is no KDL");
    };
    assert_eq!(found[0].rule.code(), "E0004");
}

#[test]
fn another_value_name_type_or_child_is_noticed() {
    let parsed = |text: &str| KdlDocument::parse_v2(text).expect(text);
    let first = parsed("(t)a 1 b=2 c=#nan { d; }");
    assert!(same_document(&first, &parsed("(t)a   1 b=2 c=#nan {\n d\n}")));
    for other in [
        "a 1 b=2 c=#nan { d; }",
        "(u)a 1 b=2 c=#nan { d; }",
        "(t)A 1 b=2 c=#nan { d; }",
        "(t)a 1.0 b=2 c=#nan { d; }",
        "(t)a 1 (t)b=2 c=#nan { d; }".trim_start_matches("(t)"),
        "(t)a 1 B=2 c=#nan { d; }",
        "(t)a 1 b=2 c=#inf { d; }",
        "(t)a b=2 c=#nan { d; }",
        "(t)a 1 b=2 c=#nan { d; d; }",
        "(t)a 1 b=2 c=#nan {}",
        "(t)a 1 b=2 c=#nan",
    ] {
        assert!(
            !same_document(&first, &KdlDocument::parse_v2(other).unwrap_or_default()),
            "{other}"
        );
    }
    assert!(same_tokens("a /-b // c d", "a /- b//c d"));
    assert!(!same_tokens("a /-b", "a b"));
    assert!(!same_tokens("a // b", "a // c"));
    assert!(!same_tokens("a", "a;"));
}

/// Every shape that KDL has, as text, with blanks and comments wherever they may stand.
mod shapes {
    use super::*;

    pub(super) type Text = BoxedStrategy<String>;

    fn of(words: &'static [&'static str]) -> Text {
        select(words).prop_map(str::to_owned).boxed()
    }

    fn joined(parts: Vec<Text>) -> Text {
        parts.prop_map(|scalar| scalar.concat()).boxed()
    }

    fn some(part: &Text, range: std::ops::Range<usize>) -> Text {
        vec(part.clone(), range).prop_map(|scalar| scalar.concat()).boxed()
    }

    fn maybe(part: &Text) -> Text {
        prop_oneof![3 => Just(String::new()), 1 => part.clone()].boxed()
    }

    fn newline() -> Text {
        prop_oneof![8 => Just("\n"), 2 => Just("\r\n"), 1 => select(&["\r", "\u{85}", "\u{B}", "\u{C}", "\u{2028}", "\u{2029}"][..])]
            .prop_map(str::to_owned)
            .boxed()
    }

    fn line_comment() -> Text {
        joined(vec![
            of(&["//", "// a", "// {\"", "//\tb  ", "/// /* */ \\", "// /- ; ü"]),
            newline(),
        ])
    }

    fn block_comment() -> Text {
        of(&[
            "/**/",
            "/* a */",
            "/* \" { // */",
            "/* a /* b */ c */",
            "/*\n  a\n\tb\r\n\n*/",
            "/***/",
            "/* a\n   */",
        ])
    }

    fn blank() -> Text {
        prop_oneof![
            6 => of(&[" ", "  ", "\t", "\u{A0}", "\u{3000}"]),
            1 => block_comment(),
            1 => joined(vec![of(&["\\", "\\ ", "\\ /* a */ ", "\\\t"]), prop_oneof![3 => newline(), 1 => line_comment()].boxed()]),
        ]
        .boxed()
    }

    fn blanks0() -> Text {
        prop_oneof![3 => Just(String::new()), 1 => some(&blank(), 1..3)].boxed()
    }

    fn blanks1() -> Text {
        prop_oneof![3 => Just(" ".to_owned()), 1 => some(&blank(), 1..4)].boxed()
    }

    fn line_space() -> Text {
        prop_oneof![2 => blank(), 3 => newline(), 1 => line_comment()].boxed()
    }

    fn dash() -> Text {
        let behind = prop_oneof![2 => Just(String::new()), 1 => some(&line_space(), 0..3)].boxed();
        joined(vec![Just("/-".to_owned()).boxed(), behind])
    }

    /// A string of several lines, each of them beginning as the last one does.
    fn lines(quotes: (&'static str, &'static str), content: Text, last: Text) -> Text {
        let line = prop_oneof![5 => content.prop_map(Some), 2 => Just(None)];
        let prefix = select(&["", "  ", "\t", "    ", " \t ", "\u{3000}", "        "][..]);
        let empty = select(&["", " ", "\t\t", "          "][..]);
        (vec((line, newline(), empty), 0..5), prefix, newline(), last)
            .prop_map(move |(lines, prefix, first, last)| {
                let mut text = format!("{}{first}", quotes.0);
                for (line, end, empty) in lines {
                    let line = line.map_or(empty.to_owned(), |line| format!("{prefix}{line}"));
                    text.push_str(&line);
                    text.push_str(&end);
                }
                text + prefix + &last + quotes.1
            })
            .boxed()
    }

    fn quoted_lines() -> Text {
        let content = of(&[
            "a",
            "  b  ",
            "c \\\n   d",
            "\\n\\t\\s\\\\",
            "\\\"\"\"",
            "e\\  f",
            "\"g\"",
            "\\\n\n\th",
            "ü\\u{1F600}",
            "x \\ \r\n y",
        ]);
        let last = prop_oneof![6 => Just(String::new()), 1 => of(&["\\\n  ", "\\ "])].boxed();
        lines(("\"\"\"", "\"\"\""), content, last)
    }

    fn raw_lines() -> Text {
        let none = || Just(String::new()).boxed();
        let content = of(&["a", "  b  ", "\\n \\", "\"c\"", "\"\"\" d", "{ // }", "\\"]);
        let more = prop_oneof![content.clone(), of(&["\"# e", "\"\"\"# f"])].boxed();
        let one = lines(("#\"\"\"", "\"\"\"#"), content, none());
        prop_oneof![one, lines(("##\"\"\"", "\"\"\"##"), more, none())].boxed()
    }

    fn string() -> Text {
        prop_oneof![
            6 => of(&["a", "b-c", "-", "+", ".", "-.x", "ü", "<x>", "truex", "😀", "é,"]),
            2 => of(&["\"\"", "\"a b\"", "\"\\\"\\\\\\u{e9}\\b\\f\\n\\r\\t\\s\"", "\"a\\   b\"", "\"a \\\n   b\"", "\"{ // }\"", "\"a\\\r\n\n\tb\"", "\" x \""]),
            2 => of(&["#\"\"#", "#\"a \\ b\"#", "##\"a\"#b\"##", "#\"\"a\"\"#", "#\"{ /* }\"#"]),
            1 => quoted_lines(),
            1 => raw_lines(),
        ]
        .boxed()
    }

    fn value() -> Text {
        let bare = prop_oneof![
            3 => string(),
            2 => of(&["1", "-1", "+1", "1_000", "1.5", "-1.5e10", "1E-3", "0x1F_a", "-0xff", "0o17", "0b1_0", "0", "-0.0", "12e3"]),
            1 => of(&["#true", "#false", "#null", "#inf", "#-inf", "#nan"]),
        ]
        .boxed();
        joined(vec![maybe(&type_name()), bare])
    }

    fn type_name() -> Text {
        joined(vec![of(&["("]), blanks0(), string(), blanks0(), of(&[")"]), blanks0()])
    }

    fn entry() -> Text {
        let property = joined(vec![string(), blanks0(), of(&["="]), blanks0(), value()]);
        let entry = prop_oneof![value(), property].boxed();
        joined(vec![blanks1(), maybe(&dash()), entry])
    }

    fn node(children: &Text) -> Text {
        let off = joined(vec![blanks1(), dash(), children.clone()]);
        joined(vec![
            maybe(&dash()),
            maybe(&type_name()),
            string(),
            some(&entry(), 0..4),
            maybe(&off),
            maybe(&joined(vec![blanks1(), children.clone()])),
            maybe(&off),
            blanks0(),
        ])
    }

    fn nodes(children: &Text) -> Text {
        let end = prop_oneof![4 => newline(), 2 => of(&[";"]), 1 => line_comment()].boxed();
        let spaces = some(&line_space(), 0..3);
        let one = joined(vec![spaces.clone(), node(children), end]);
        let last = joined(vec![spaces.clone(), node(children)]);
        joined(vec![some(&one, 0..4), maybe(&last), spaces])
    }

    pub(super) fn document() -> Text {
        let empty = of(&["{}", "{ }", "{\n}", "{ /* a */ }", "{ // a\n}"]);
        let children = empty.prop_recursive(3, 24, 3, |inner| {
            joined(vec![of(&["{", "{ "]), nodes(&inner.boxed()), of(&["}", " }", "\n}"])])
        });
        let start = of(&["", "", "", "\u{FEFF}", "/- kdl-version 2\n", "\n\n"]);
        joined(vec![start, nodes(&children.boxed())])
    }
}

/// The comments as they read, whatever their lines are indented by.
fn comments(text: &str) -> Vec<String> {
    let lines = |text: &str| {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.join("\n")
    };
    Lexer::new(text)
        .filter(|it| matches!(it.kind, Kind::Line | Kind::Block))
        .map(|it| lines(&text[it.span]))
        .collect()
}

/// What a document says, with nothing left of how it was written.
fn meaning(document: &KdlDocument) -> String {
    let mut said = String::new();
    for node in document.nodes() {
        let types = |identifier: Option<&KdlIdentifier>| {
            format!("{:?}", identifier.map(KdlIdentifier::value))
        };
        said += &format!("{} {:?}", types(node.ty()), node.name().value());
        for it in node.entries() {
            said += &format!(" {} {} {:?}", types(it.name()), types(it.ty()), it.value());
        }
        said += &format!(" {:?};", node.children().map(meaning));
    }
    said
}

const BYTE_ORDER_MARK: char = '\u{FEFF}';

fn has_trailing_blanks(text: &str) -> bool {
    // Inside of a string a blank at the end of a line may be meant.
    let strings: Vec<_> =
        Lexer::new(text).filter(|it| matches!(it.kind, Kind::Text | Kind::Raw)).collect();
    text.match_indices([' ', '\t']).any(|(at, _)| {
        let is_last = text[at + 1..].chars().next().is_none_or(|letter| letter == '\n');
        is_last && !strings.iter().any(|string| string.span.contains(&at))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 8192, ..ProptestConfig::default() })]

    #[test]
    fn formatting_changes_neither_meaning_nor_comments_and_happens_once(text in shapes::document()) {
        let before = KdlDocument::parse_v2(&text);
        prop_assume!(before.is_ok());
        let once = match format(&source(&text)) {
            Ok(once) => once,
            Err(fault) => return Err(TestCaseError::fail(format!("{fault:?}"))),
        };
        let after = KdlDocument::parse_v2(&once).map(|it| meaning(&it));
        prop_assert_eq!(after.ok(), before.map(|it| meaning(&it)).ok());
        prop_assert_eq!(comments(&once), comments(&text));
        prop_assert!(!has_trailing_blanks(&once), "{:?}", once);
        let is_empty = once.trim_start_matches(BYTE_ORDER_MARK).is_empty();
        prop_assert!(!once.contains('\r'));
        prop_assert_eq!(once.ends_with('\n'), !is_empty);
        prop_assert!(!once.ends_with("\n\n"));
        prop_assert_eq!(formatted(&once), once);
    }
}
