use super::*;
use crate::diagnostic::SourceText;
use crate::expr::Roots;
use crate::{Arg, ValueKind};
use std::sync::Arc;
use std::time::Duration;

const SHORT: ValueKind = ValueKind::Duration(Duration::from_millis(10), Duration::from_secs(600));

const COMMON: &[NodeRow] = &[
    NodeRow::new("when", "whether it runs").args(&[Arg::one("e", ValueKind::Expr(Roots::EVENT))]),
    NodeRow::new("needs", "what must have succeeded").args(&[Arg::some("stage", ValueKind::Ref)]),
    NodeRow::new("timeout", "how long").args(&[Arg::one("d", SHORT)]),
    NodeRow::new("retry", "how often")
        .args(&[Arg::optional("number", ValueKind::Int(0, 200))])
        .props(&[Prop::new("on", ValueKind::Words(&["timeout", "connect", "5xx"]))])
        .children(&[&[NodeRow::new("backoff", "how long between")
            .args(&[Arg::one("curve", ValueKind::Word(&["exponential", "linear"]))])
            .props(&[Prop::new("base", SHORT)])]]),
    NodeRow::flag("disabled", "off"),
];

const NTFY: &[NodeRow] = &[
    NodeRow::new("url", "where").args(&[Arg::one("url", ValueKind::Url)]).required(),
    NodeRow::new("token", "who").args(&[Arg::one("token", ValueKind::Secret)]),
    NodeRow::new("title", "what").args(&[Arg::one("text", ValueKind::Template(Roots::EVENT))]),
    NodeRow::new("cooldown", "rest").args(&[Arg::one("d", SHORT)]),
    NodeRow::new("rate", "how fast").args(&[Arg::one("r", ValueKind::Rate)]),
    NodeRow::new("size", "how large").args(&[Arg::one("size", ValueKind::Bytes(1024, 1 << 20))]),
    NodeRow::new("labels", "names").open(ValueKind::Text),
];

const TOP: &[NodeRow] = &[NodeRow::new("notify", "tells")
    .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)])
    .children(&[COMMON])
    .repeated()];

struct Ntfy;

impl Kinds for Ntfy {
    fn kinds(&self, role: NodeRole) -> Vec<KindRow> {
        let row = |word| KindRow { word, summary: "", example: "", nodes: &[NTFY] };
        if role == NodeRole::Notify { vec![row("file"), row("ntfy")] } else { Vec::new() }
    }
}

fn told(text: &str) -> Option<String> {
    let document = KdlDocument::parse_v2(text).ok()?;
    let source = Arc::new(SourceText { name: "a.kdl".to_owned(), text: text.to_owned() });
    let mut diagnostics = Diagnostics::new(source);
    super::check(&document, TOP, &Ntfy, &mut diagnostics);
    let lines: Vec<String> = diagnostics
        .sorted()
        .iter()
        .map(|diagnostic| {
            let label = &diagnostic.labels[0];
            let shown = text.get(label.span.clone()).expect("whole characters");
            let help = diagnostic.help.as_deref().unwrap_or_default();
            format!(
                "{} {} [{shown}] {} · {help}",
                diagnostic.rule.code(),
                diagnostic.message,
                label.text
            )
        })
        .collect();
    Some(lines.join("\n"))
}

/// What is said about the content of `notify ntfy phone`.
#[track_caller]
fn inside(text: &str, expected: &str) {
    let whole = format!("notify ntfy phone {{\n    url \"http://h\"\n    {text}\n}}\n");
    assert_eq!(told(&whole).expect("KDL"), expected);
}

#[track_caller]
fn whole(text: &str, expected: &str) {
    assert_eq!(told(text).expect("KDL"), expected);
}

#[test]
fn what_the_table_has_is_right() {
    inside("timeout \"5s\"; retry 3 on=\"timeout 5xx\" { backoff linear base=\"1s\"; }", "");
    inside("token (env)\"T\" default=\"\" optional=#true; labels a=b c=d; disabled", "");
    inside("timeout (ms)250; cooldown (duration)\"PT5S\"; size (KiB)10; rate \"10/min\"", "");
    inside("when \"event.type == 'x'\"; title \"{{ event.type }}\"", "");
}

#[test]
fn unknown_words_have_a_neighbour() {
    let text = "E0010 `notify ntfy` has no `cooldwn` [cooldwn] unknown here · \
        did you mean `cooldown`?";
    inside("cooldwn \"3m\"", text);
    let text = "E0012 there is no kind `nfty` of notify [nfty] unknown kind · \
        did you mean `ntfy`? The kinds are: file, ntfy";
    whole("notify nfty phone\n", text);
    let text = "E0023 `5x` is not a valid value of `on` of `retry` [5x] unknown word · \
        did you mean `5xx`? The words are: timeout, connect, 5xx";
    inside("retry 3 on=\"timeout 5x\"", text);
}

#[test]
fn a_value_in_the_wrong_form_is_told_in_the_right_one() {
    let text = "E0011 no node is called `timeout:` [timeout:] this colon is YAML · \
        write `timeout \"5s\"`";
    inside("timeout: \"5s\"", text);
    let text = "E0013 `timeout` is a child, not a property [timeout] move it into the block · \
        write `{ timeout \"5s\" }`";
    whole("notify ntfy phone timeout=\"5s\" { url \"http://h\"; }\n", text);
    let text = "E0013 `on` is a property, not a child [on] move it out of the block · \
        write `on=timeout` after `retry`";
    inside("retry 3 { on timeout; }", text);
    let text = "E0014 `retry` takes its number first [max] unknown property `max` · \
        write `retry 3`";
    inside("retry max=3", text);
    let text = "E0016 `retry` must be a whole number [\"3\"] this is text · \
        write `3` without quotes";
    inside("retry \"3\"", text);
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    for text in ["notify ntfy phone token=\"tk_1\"\n", "notify ntfy phone Token=\"tk_1\"\n"] {
        let document = KdlDocument::parse_v2(text).expect("KDL");
        let source = Arc::new(SourceText { name: "a.kdl".to_owned(), text: text.to_owned() });
        let mut diagnostics = Diagnostics::new(source);
        super::check(&document, TOP, &Ntfy, &mut diagnostics);
        assert!(!diagnostics.masked().contains("tk_1"), "{text}");
        for it in diagnostics.sorted() {
            assert!(!it.help.as_deref().unwrap_or_default().contains("tk_1"), "{it:?}");
            assert!(it.fix.iter().all(|it| !it.text.contains("tk_1")), "{it:?}");
        }
    }
}

#[test]
fn habits_of_other_formats_are_known() {
    let text = "E0006 an expression must be one quoted string [data.a < 5] \
        quote from here to the end of the line · \
        write `when \"data.a < 5\"`: single quotes inside";
    inside("when data.a < 5", text);
    let text = "E0002 use double quotes for text ['a b'] these quotes are for expressions · \
        write `\"a b\"`";
    inside("title 'a b'", text);
    let text = "E0002 separate values with spaces [,] no comma here · \
        write `a` without the comma";
    inside("needs a, b", text);
    let text = "E0016 the text of `title` must be in quotes [at the door] \
        several words are several values · write `title \"at the door\"`";
    inside("title at the door", text);
    let text = "E0011 a property is written `on=` [on:] this colon is YAML · \
        write `on=timeout`";
    inside("retry on: timeout", text);
    let text = "E0002 KDL has no lists with `-` [-] this dash is YAML · \
        write several values after one name, separated by spaces";
    inside("- a", text);
}

#[test]
fn a_url_without_quotes_is_half_a_comment() {
    let text = "E0002 a URL must be written in quotes [http://h/x] `//` begins a comment · \
        write `\"http://h/x\"`";
    whole("notify ntfy phone {\n    url http://h/x\n}\n", text);
}

#[test]
fn durations_and_sizes_that_cannot_be_read_are_put_right() {
    let text = "E0020 not a valid duration [\"5 min\"] \
        expected a number and a unit without a space · write `\"5m\"`; units: ms s m h d w";
    inside("cooldown \"5 min\"", text);
    // What is proposed is allowed.
    let text = "E0020 not a valid duration [\"30 days\"] \
        expected a number and a unit without a space · write `\"10m\"`; units: ms s m h d w; \
        allowed: 10ms to 10m";
    inside("cooldown \"30 days\"", text);
    let text = "E0019 `cooldown` must be between 10ms and 10m [\"99999999999999999999d\"] out of \
        range · allowed: 10ms to 10m";
    inside("cooldown \"99999999999999999999d\"", text);
    let text = "E0020 not a valid duration [3] \
        expected a number and a unit · write `\"3s\"`; units: ms s m h d w";
    inside("cooldown 3", text);
    let text = "E0021 not a valid size [\"10kb\"] expected a number and a unit · \
        write `\"10kB\"`; units: B KiB MiB GiB kB MB GB";
    inside("size \"10kb\"", text);
    let text = "E0021 not a valid size [\"10mb\"] expected a number and a unit · \
        write `\"1MiB\"`; units: B KiB MiB GiB kB MB GB; allowed: 1KiB to 1MiB";
    inside("size \"10mb\"", text);
    let text = "E0022 not a valid rate [\"2 per second\"] \
        expected a number, a slash and a unit · write `\"2/s\"`; units: s min h d";
    inside("rate \"2 per second\"", text);
    let text = "E0019 `timeout` must be between 10ms and 10m [\"2h\"] out of range · \
        allowed: 10ms to 10m";
    inside("timeout \"2h\"", text);
    let text = "E0025 `(s)` is not allowed here [(s)] not for this value · \
        remove `(s)`: units are for durations and sizes";
    inside("retry (s)5", text);
    let text = "E0025 `(sec)` is not allowed here [(sec)] not for this value · \
        there are `(env)`, `(file)`, `(param)`, and units such as `(s)5` or `(MiB)10`";
    inside("timeout (sec)5", text);
}

#[test]
fn what_is_missing_or_twice_is_named() {
    let text = "E0018 `notify ntfy` needs `url` [notify] `url` is missing · \
        add `url \"url\"` — where";
    whole("notify ntfy phone\n", text);
    let text = "E0017 `timeout` appears twice in `notify ntfy` [timeout] again · keep one of them";
    inside("timeout \"1s\"; timeout \"2s\"", text);
    let text = "W0012 `on` appears twice [on] this one wins · delete one of them";
    inside("retry 1 on=timeout on=connect", text);
}

#[test]
fn expressions_are_blamed_inside_their_string() {
    let check = |text: &str, shown: &str| {
        let told = told(&format!("notify ntfy p {{\n  url \"http://h\"\n  {text}\n}}\n"));
        let told = told.expect("KDL");
        assert!(told.contains(&format!("[{shown}]")), "{told}");
    };
    check("when \"'ä' == frob(data.x)\"", "frob");
    check("when \"data.x == \\\"\\u{e4}\\\" && frob(1)\"", "frob");
    check("when #\"frob(1)\"#", "frob");
    check("when \"event.priority == 'hihg'\"", "'hihg'");
}

proptest::proptest! {
    #[test]
    fn no_document_makes_the_check_panic(
        text in r#"notify ntfy p \{\n((when|title|retry|timeout|-|url:|x) ?([a-z'",=(){}\[\]#ä.]{0,4} ?){0,4}\n){0,4}\}"#
    ) {
        told(&text);
    }

    #[test]
    fn no_expression_makes_the_check_panic(text in r#"([a-z.'{}|=()ä ]|\\\\|\\n|\\"|\\u\{e4\}){0,30}"#) {
        told(&format!("notify ntfy p {{\n  when \"{text}\"\n  title \"{{{{{text}}}}}\"\n}}\n"));
    }
}
