use super::*;

/// What a document says, with the place of every name and value.
fn told(document: &KdlDocument) -> String {
    let mut out = String::new();
    for node in document.nodes() {
        let named = |name: &KdlIdentifier| format!("{:?}@{}", name.value(), name.span().offset());
        out += &format!("{}{} ", node.ty().map(named).unwrap_or_default(), named(node.name()));
        for entry in node.entries() {
            let format = entry.format().expect("a format");
            out += &format!(
                "[{} {} {:?} {:?} @{} {:?} {:?}]",
                entry.name().map(named).unwrap_or_default(),
                entry.ty().map(named).unwrap_or_default(),
                entry.value(),
                format.value_repr,
                entry.span().offset(),
                entry.span().len(),
                (&format.before_ty_name, &format.after_ty_name, &format.after_ty),
            );
        }
        if let Some(children) = node.children() {
            out += &format!("{{{}}}", told(children));
        }
        out.push(';');
    }
    out
}

/// The crate reads the same.
#[track_caller]
fn agrees(text: &str) {
    let theirs = KdlDocument::parse_v2(text).expect("the crate reads it");
    let ours = document(text).expect("it is read");
    assert_eq!(told(&ours), told(&theirs), "{text}");
}

#[track_caller]
fn fails(text: &str, at: &str, kind: FaultKind) {
    let fault = document(text).expect_err("it is no KDL");
    assert_eq!((&text[fault.span], fault.kind), (at, kind), "{text:?}");
}

#[test]
fn a_document_is_what_the_crate_makes_of_it() {
    agrees(include_str!("../sample.kdl"));
    for text in [
        "",
        "\u{FEFF}a",
        "a;b;c d",
        "a{}",
        "a {b;c}",
        "a /-1 2 /-b=3 c=4",
        "a /-{ x } { y }",
        "a { y } /-{ x }",
        "a /-1 { y }",
        "/- a {\n b\n}\nc",
        "/-\n\n a\nb",
        "a { b\n /- c\n}",
        "a \\\n 1 \\ // c\n 2",
        "a /* x */ 1 /* /* y */ */ {\n}",
        "(t)a ( \"u\" ) 1 k=(v)\"w\"",
        "\"a b\" \"c d\"=1 #\"e\"#=2",
        "a 0xff -1.5e3 1_000 #inf #-inf #true #null",
        "a \"\"\"\n    x\n      y\n    \"\"\" #\"\"\"\n  z\"\n  \"\"\"#",
        "a \"\\u{e4}\\n\\s\\\n   b\"",
        "a + - . -a .b",
        "ä ö=\"ü\"",
        "a // c",
        "a b = 1",
        "// c",
    ] {
        agrees(text);
    }
}

#[test]
fn what_is_no_kdl_is_a_fault_at_its_place() {
    let other = |text, at| fails(text, at, FaultKind::Other);
    other("a }", "}");
    other("a { b", "{");
    other("a 10m", "10m");
    other("a b=", "");
    other("a \"x\"\"y\"", "\"y\"");
    other("a (x 1", "1");
    other("a () 1", ")");
    other("a true", "true");
    other("a #True", "#True");
    other("; a", ";");
    other("a \\ b", "\\");
    other("a /- \n", "");
    other("a\u{FEFF} b", "\u{FEFF}");
    other("a {} {}", "{");
    other("/- 1", "1");
    other("/- /- a", "/-");
    fails("a {} b", "b", FaultKind::SecondNode(4));
    fails("a { b {} \"c\" }", "\"c\"", FaultKind::SecondNode(8));
    fails("a {} /- b", "/-", FaultKind::SecondNode(4));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 2000, ..Default::default() })]

    /// Short texts, so that the crate answers too; it takes some that the specification refuses.
    #[test]
    fn what_is_read_is_what_the_crate_reads(
        text in r#"([ab]|[ \n;={}()\\#"]|/-|//|/\*|\*/|#true|"a"| 1){0,14}"#
    ) {
        if let (Ok(ours), Ok(theirs)) = (document(&text), KdlDocument::parse_v2(&text)) {
            proptest::prop_assert_eq!(told(&ours), told(&theirs));
        }
    }

    /// What is read without the crate, too, and its place and spelling with it.
    #[test]
    fn a_value_is_what_the_crate_reads(
        written in r#"([a-c][a-c0-9_.-]{0,4}|true|null|inf|0?[0-9_]{1,20}|-?[0-9.e]{1,5}|"[ -~]{0,5}"|[ -~]{1,5})"#
    ) {
        let theirs = KdlEntry::parse(&written).ok().filter(|it| it.name().is_none());
        let is_one = theirs.as_ref().is_some_and(|theirs| theirs.ty().is_none() && theirs.to_string() == written);
        if let Some(theirs) = theirs.filter(|_| is_one) {
            proptest::prop_assert_eq!(value_of(&written), Some(theirs.value().clone()));
        }
        if let Ok(theirs) = KdlIdentifier::parse(&written) {
            proptest::prop_assert_eq!(name_of(&written), Some(theirs));
        }
    }
}
