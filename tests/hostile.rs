//! Any bytes as a pipeline file: findings or a plan, in bounded time, never a panic.

use crate::support::{Bare, checked, root};
use compiler::document;
use compiler::load::LoadedPipeline;
use compiler::report::{self, CheckedFile};
use language::diagnostic::Diagnostic;
use proptest::prelude::*;
use proptest::test_runner::Config;
use std::sync::LazyLock;

static SHIPPED: LazyLock<Vec<String>> = LazyLock::new(|| {
    ["pipelines/doorbell.kdl", "pipelines/ci-alerts.kdl", "tests/corpus/every-word.kdl"]
        .map(|it| std::fs::read_to_string(root().join(it)).expect("it reads"))
        .to_vec()
});

/// What any bytes come to.
fn hostile(bytes: &[u8]) -> LoadedPipeline {
    checked(&root().join("pipelines/hostile.kdl"), "hostile.kdl", bytes, &Bare)
}

/// The findings of any bytes, each of which can be shown.
fn found(bytes: &[u8]) -> Vec<Diagnostic> {
    let found = hostile(bytes).diagnostics;
    report::human(&found, false, 80);
    report::json(&[CheckedFile { name: "hostile.kdl".to_owned(), found: found.clone() }]);
    for it in &found {
        assert!(it.help.is_some(), "{it:?}");
        for span in
            it.labels.iter().map(|label| &label.span).chain(it.fix.iter().map(|it| &it.span))
        {
            assert!(it.source.text.get(span.clone()).is_some(), "{it:?}");
        }
    }
    found
}

/// A pipeline around a part.
fn around(part: &str) -> String {
    format!(
        "pipeline made schema-version=1\nsource http front {{\n    path \"/x\"\n}}\n{part}\nsink \
         sqlite db {{\n    path \"../data/x.db\"\n    retention {{\n        keep \"30d\"\n    \
         }}\n}}\n"
    )
}

#[track_caller]
fn refused(bytes: &[u8], code: &str) {
    let codes: Vec<&str> = found(bytes).iter().map(|it| it.rule.code()).collect();
    assert!(codes.contains(&code), "{codes:?}");
}

#[test]
fn what_no_editor_would_save_is_told() {
    let valid = around("");
    assert!(found(valid.as_bytes()).is_empty());
    assert!(
        found(format!("\u{FEFF}{valid}").as_bytes()).is_empty(),
        "a mark of byte order is fine"
    );
    assert!(found(valid.replace('\n', "\r\n").as_bytes()).is_empty(), "so are these line ends");
    refused(b"", "E0018");
    refused(b"\xFF\xFEp\0i\0p\0", "E0002");
    refused(b"pipeline \xED\xA0\x80 schema-version=1", "E0002");
    refused(&[0; 4096], "E0002");
    refused(around("param x \"\\u{D800}\"").as_bytes(), "E0008");
    refused(around("param x \"a\0b\"").as_bytes(), "E0002");
    refused(around("param x\u{202E} 1").as_bytes(), "E0002");
    refused(around(&"a {".repeat(65)).as_bytes(), "E0009");
    refused(around(&"/- a {".repeat(65)).as_bytes(), "E0009");
    refused(around(&"a\n".repeat(10_000)).as_bytes(), "E0009");
    refused(around(&format!("a {}", "1 ".repeat(6000))).as_bytes(), "E0009");
    refused(&vec![b'x'; document::SIZE_MAX + 1], "E0009");
}

#[test]
fn huge_names_and_texts_are_told_like_small_ones() {
    let name = "n".repeat(200_000);
    refused(around(&format!("{name} 1")).as_bytes(), "E0010");
    refused(around(&format!("enrich metadata {name}")).as_bytes(), "E0024");
    refused(around(&format!("sink {name} x")).as_bytes(), "E0012");
    refused(around(&format!("limits {name}=1")).as_bytes(), "E0014");
    refused(around(&format!("priority default={name}")).as_bytes(), "E0023");
    refused(around(&format!("enrich metadata m {{ needs {name}; }}")).as_bytes(), "E0201");
    refused(around(&format!("limits {{ event-timeout \"{name}\"; }}")).as_bytes(), "E0020");
}

#[test]
fn hostile_expressions_are_refused_and_bounded() {
    let keep = |expression: &str| around(&format!("filter f {{\n    keep when={expression}\n}}"));
    let refused = |expression: &str| refused(keep(expression).as_bytes(), "E0101");
    refused(&format!("\"{}1{}\"", "(".repeat(33), ")".repeat(33)));
    refused(&format!("\"{}1\"", "!".repeat(33)));
    refused(&format!("\"{}1\"", "-".repeat(2000)));
    refused(&format!("\"data{}\"", ".a".repeat(2000)));
    refused(&format!("\"data{}\"", "[0]".repeat(1300)));
    refused(&format!("\"{}\"", "1 + ".repeat(1100)));
    refused(&format!("\"{}1\"", "true ? 1 : ".repeat(300)));
    refused(&format!("\"{}\"", "[".repeat(4000)));
    refused("\"matches(data.x, '(a{1000}){1000}{1000}')\"");
    refused("#\"matches(data.x, '((((\\\\w{200}){200}){200}){200})')\"#");
    refused("\"matches(data.x, '(')\"");
    let steep = format!("\"{}\"", vec!["data.x"; 400].join(" + "));
    assert!(found(keep(&steep).as_bytes()).is_empty(), "long and flat is fine");
    let many = (0..1000).map(|it| format!("{{{{ data.x{it} }}}}")).collect::<String>();
    let template = around(&format!("enrich set s {{\n    set \"x\" \"{many}\"\n}}"));
    assert!(found(template.as_bytes()).is_empty());
}

#[test]
fn thousands_of_stages_keep_their_order() {
    let stages: String = (0..2000)
        .map(|it| match it {
            1999 => "enrich metadata s1999\n".to_owned(),
            _ => format!("enrich metadata s{it} {{ after s{}; }}\n", it + 1),
        })
        .collect();
    let plan = hostile(around(&stages).as_bytes()).plan.expect("a plan");
    let names: Vec<&str> = plan.stages.iter().map(|stage| &*stage.name).collect();
    assert_eq!((names.len(), names[0], names[1999]), (2000, "s1999", "s0"));
    let circle = found(around(&stages.replace("s1999\n", "s1999 { after s0; }\n")).as_bytes());
    assert_eq!(circle.len(), 1);
    assert!(circle[0].labels.len() <= 12, "{}", circle[0].labels.len());
}

#[test]
fn a_ladder_of_policies_ends() {
    let policies: String =
        (0..1000).map(|it| format!("policy p{it} {{ policy p{}; }}\n", it + 1)).collect();
    let found = found(around(&format!("{policies}policy p1000\n")).as_bytes());
    assert!(found.iter().any(|it| it.message.contains("too deeply")), "{found:?}");
}

/// Words of the language and signs of KDL, in any order.
const SOUP: &str = r##"(pipeline|source|http|sink|sqlite|enrich|set|lookup|filter|keep|route|case|to|notify|retry|policy|limits|param|include|validate|schema|rule|when|after|x|x-y| name|"a"|'b'|"event.type == 'x'"|"\{\{ data.x \| json \}\}"|5|5s|"5s"|-1|1e400|#true|true|#null|\(env\)"X"|\(param\)x|\(s\)5|=|==|:|,|;|\{|\}|\[|\]|\(|\)|\\|/-|//|/\*|\*/|"|"""|#"|"#|#|\n| |\u{FEFF}|é|🚪|\x00){0,80}"##;

proptest! {
    #![proptest_config(Config { cases: 200, ..Config::default() })]

    #[test]
    fn no_bytes_make_the_check_panic(bytes: Vec<u8>) {
        found(&bytes);
    }

    #[test]
    fn no_soup_of_words_makes_the_check_panic(text in SOUP) {
        found(text.as_bytes());
        found(around(&text).as_bytes());
    }

    #[test]
    fn no_expression_makes_the_check_panic(
        text in r#"(event|data|enrich|now\(\)|len|\.|\[|\]|\(|\)|'|\+|-|!|&&|\|\||\?|:|==|<|in|not|1|1\.5|x|,|\{|\}| |\||round|é){0,40}"#
    ) {
        found(around(&format!("filter f {{\n    keep when=#\"{text}\"#\n}}")).as_bytes());
        found(around(&format!("enrich set s {{\n    set \"x\" #\"{{{{{text}}}}}\"#\n}}")).as_bytes());
    }
}

proptest! {
    #![proptest_config(Config { cases: 60, ..Config::default() })]

    /// A piece of a shipped file cut out, put in twice, or overwritten with any bytes.
    #[test]
    fn no_mutation_of_a_shipped_file_makes_the_check_panic(
        which in 0..3_usize, from: prop::sample::Index, length in 0..40_usize,
        to: prop::sample::Index, change in 0..3_u8, bytes in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let text = SHIPPED[which].as_bytes();
        let from = from.index(text.len());
        let end = (from + length).min(text.len());
        let to = to.index(text.len());
        let mut made = text.to_vec();
        match change {
            0 => drop(made.drain(from..end)),
            1 => drop(made.splice(to..to, text[from..end].iter().copied())),
            _ => drop(made.splice(from..end, bytes)),
        }
        found(&made);
    }
}
