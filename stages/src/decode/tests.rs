use super::*;
use crate::sources::Stdin;
use crate::testing::{read_in, settings};
use proptest::prelude::*;
use serde_json::json;
use std::path::Path;

/// Decodes as a source with this `decode` does, at noon of the first of March 2026 in Berlin.
fn decode(node: &str, line: &str) -> Result<DecodedLine, String> {
    let settings = settings::<Stdin>(node);
    let decoder = settings.decoder.expect("it has fields");
    let globals = Globals { zone: kernel::time::zone("Europe/Berlin"), ..Globals::default() };
    let received = Timestamp::parse("2026-03-01T11:00:00Z").unwrap();
    decoder.decode(line, DecodeMoment { received, globals: &globals })
}

#[track_caller]
fn check(node: &str, rows: &[(&str, Value)]) {
    for (line, expected) in rows {
        let fields = match decode(node, line) {
            Ok(it) => it.fields,
            Err(reason) => Value::String(reason),
        };
        assert_eq!(fields, *expected, "{line}");
    }
}

#[test]
fn logfmt_is_pairs_with_quotes_where_they_are_needed() {
    let rows = [
        ("a=1 b=two", json!({ "a": "1", "b": "two" })),
        (r#"  msg="it \"works\"" ready "#, json!({ "msg": r#"it "works""#, "ready": true })),
        (r#"a="" b= c=x=y"#, json!({ "a": "", "b": "", "c": "x=y" })),
        (r#"a="1\n2\t\\ \u00e9 C:\dir""#, json!({ "a": "1\n2\t\\ é C:\\dir" })),
        ("http.status=200 a=1 a=2", json!({ "http.status": "200", "a": "2" })),
        ("a=é\u{2003}b=1", json!({ "a": "é", "b": "1" })),
        ("starting the server", json!("no `key=value` pair in the line")),
        (r#"a="open"#, json!("a quote is not closed in the line")),
        (r#"a="open\"#, json!("a quote is not closed in the line")),
        (r#"a="x"y b=1"#, json!("text directly after a quote: `y b=1`")),
        ("=1", json!("not a `key=value` pair: `=1`")),
        (r#"a"b=1"#, json!(r#"not a `key=value` pair: `a"b=1`"#)),
        (r#"a="\u12" b=1"#, json!({ "a": "\\u12", "b": "1" })),
        (r#"a="\ud83d\ude00!""#, json!({ "a": "😀!" })),
        (
            r#"a="\ud83d\u0041" b="\ude00" c="\u+123""#,
            json!({ "a": r"\ud83dA", "b": r"\ude00", "c": r"\u+123" }),
        ),
    ];
    check("decode logfmt", &rows);
}

#[test]
fn csv_is_one_record_a_line() {
    let rows = [
        ("1,two,", json!({ "a": "1", "b": "two", "c": "" })),
        (r#""x, y","say ""hi""",3"#, json!({ "a": "x, y", "b": r#"say "hi""#, "c": "3" })),
        (" 1 ,é, ", json!({ "a": " 1 ", "b": "é", "c": " " })),
        ("1,2", json!("2 values in the line, 3 columns")),
        ("1,2,3,4", json!("4 values in the line, 3 columns")),
        (r#"1,2,"3"#, json!("a quote is not closed in the line")),
        (r#"1,2"2",3"#, json!("a quote inside of a value")),
        (r#""1"x,2,3"#, json!("a quote inside of a value")),
    ];
    check("decode csv { columns a b c; }", &rows);
}

#[test]
fn csv_has_the_separator_of_the_file() {
    let rows = [
        ("1;2,5", json!({ "a": "1", "b": "2,5" })),
        (r#""x;y";"z""#, json!({ "a": "x;y", "b": "z" })),
        ("1 2", json!("1 value in the line, 2 columns")),
    ];
    check("decode csv { columns a b; separator \";\"; }", &rows);
    check(
        "decode csv { columns a b; separator \"\\t\"; }",
        &[("1\t2", json!({ "a": "1", "b": "2" }))],
    );
    let other =
        "1 value in the line, 2 columns; for this separator, write `separator \";\"` in `decode`";
    check("decode csv { columns a b; }", &[("1;2", json!(other))]);
}

#[test]
fn the_named_groups_of_a_pattern_are_fields_and_have_types() {
    let access = r##"decode regex #"^(?<client>\S+) \S+ \S+ \[(?<at>[^\]]+)\] "[^"]*" (?<status>[0-9]{3}) (?<bytes>[0-9]+|-)( (?<rest>.*))?$"# {
        number status bytes
        time at "dd/MMM/yyyy:HH:mm:ss Z"
    }"##;
    let line = r#"::1 - - [10/Oct/2026:13:55:36 +0200] "GET / HTTP/1.1" 200 -"#;
    let fields = json!({
        "client": "::1", "at": "2026-10-10T11:55:36.000Z", "status": 200, "bytes": null,
        "rest": null,
    });
    let decoded = decode(access, line).unwrap();
    assert_eq!(decoded.fields, fields);
    assert_eq!(decoded.time, Timestamp::parse("2026-10-10T11:55:36Z"));
    let rows = [
        ("hello", json!("the line does not match the pattern")),
        (
            r#"::1 - - [10/Foo/2026:13:55:36 +0200] "GET /" 200 1"#,
            json!("`at` is not a time as expected: `10/Foo/2026:13:55:36 +0200`"),
        ),
    ];
    check(access, &rows);
}

#[test]
fn numbers_and_times_are_read_and_what_is_absent_is_null() {
    let node = "decode logfmt { number n; time ts; time at \"yyyy-MM-dd HH:mm\"; }";
    let rows = [
        (
            "n=1.50 ts=1767225600 x=1",
            json!({ "n": 1.5, "ts": "2026-01-01T00:00:00.000Z", "x": "1", "at": null }),
        ),
        (
            "n=- at=\"2026-01-01 01:00\"",
            json!({ "n": null, "ts": null, "at": "2026-01-01T00:00:00.000Z" }),
        ),
        (
            "n=12345678901234567890123 ts=2026-01-01T00:00:00+01:00",
            json!({ "n": 1.2345678901234568e22, "ts": "2025-12-31T23:00:00.000Z", "at": null }),
        ),
        ("x=1", json!({ "n": null, "ts": null, "at": null, "x": "1" })),
        ("ts=soon", json!("`ts` is not a time as expected: `soon`")),
    ];
    check(node, &rows);
}

#[test]
fn syslog_is_told_apart_by_the_number_behind_the_priority() {
    let none = json!({
        "facility": null, "severity": null, "time": null, "host": null, "app": null, "pid": null,
        "msg_id": null, "structured": null, "message": "",
    });
    let with = |fields: Value| {
        let mut all = none.clone();
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        all
    };
    let rows = [
        (
            r#"<165>1 2003-10-11T22:14:15.003Z mymachine evntslog 12 ID47 [a@1 iut="3" x="a\"\]"][b] An event"#,
            with(json!({
                "facility": "local4", "severity": "notice", "time": "2003-10-11T22:14:15.003Z",
                "host": "mymachine", "app": "evntslog", "pid": "12", "msg_id": "ID47",
                "structured": { "a@1": { "iut": "3", "x": "a\"]" }, "b": {} }, "message": "An event",
            })),
        ),
        ("<34>1 - - - - - -", with(json!({ "facility": "auth", "severity": "critical" }))),
        (
            "<34>1 - - - - - - \u{feff}it's",
            with(json!({ "facility": "auth", "severity": "critical", "message": "it's" })),
        ),
        (
            "<13>Feb  5 17:32:18 10.0.0.99 sshd[42]: Use: it",
            with(json!({
                "facility": "user", "severity": "notice", "time": "2026-02-05T16:32:18.000Z",
                "host": "10.0.0.99", "app": "sshd", "pid": "42", "message": "Use: it",
            })),
        ),
        (
            "Dec 31 23:59:59 hall cron: done",
            with(json!({
                "time": "2025-12-31T22:59:59.000Z", "host": "hall", "app": "cron", "message": "done",
            })),
        ),
        (
            "Feb 29 12:00:00 ::1 leap day",
            with(
                json!({ "time": "2024-02-29T11:00:00.000Z", "host": "::1", "message": "leap day" }),
            ),
        ),
        (
            "2026-01-02T03:04:05.5+01:00 hall kernel: [1.5] up",
            with(json!({
                "time": "2026-01-02T02:04:05.500Z", "host": "hall", "app": "kernel",
                "message": "[1.5] up",
            })),
        ),
        (
            "Jan  1 00:00:00 app[7]: no host",
            with(json!({
                "time": "2025-12-31T23:00:00.000Z", "app": "app", "pid": "7", "message": "no host",
            })),
        ),
        ("hello", json!("not a syslog line: `hello`")),
        ("<999>x", json!("not a syslog priority: `<999>x`")),
        ("<34>1 - - -", json!("a syslog line of RFC 5424 that ends before its message")),
        ("<34>1 now - - - - - x", json!("not a time: `now`")),
        ("<34>1 - - - - - [a x] y", json!("not structured data: `[a x] y`")),
        ("<34>1 - - - - - -y", json!("text directly after structured data: `y`")),
        ("Jan é 00:00:00 a", json!("not a syslog line: `Jan é 00:00:00 a`")),
    ];
    check("decode syslog", &rows);
}

#[test]
fn what_is_wrong_with_decode_is_told_at_once() {
    let found = |text: &str| read_in::<Stdin>(text, Path::new("/nowhere"), &[]).1;
    for (text, expected) in [
        ("decode csv", vec!["E0018 `decode csv` needs `columns`"]),
        ("decode csv { columns a a; }", vec!["E0016 the column `a` appears twice"]),
        (
            "decode csv { columns a b; number c; time d \"yyy\"; }",
            vec![
                "E0104 there is no column `c`",
                "E0104 there is no column `d`",
                "E0101 `yyy` is not a valid field in the pattern `yyy`",
            ],
        ),
        (
            "decode csv { columns a; separator \";;\"; }",
            vec!["E0016 a separator is one character, and no quote or line end"],
        ),
        (
            "decode csv { columns a; separator \"\"; }",
            vec!["E0016 a separator is one character, and no quote or line end"],
        ),
        (
            "decode logfmt { separator \";\"; }",
            vec!["E0010 `separator` has no effect with `decode logfmt`"],
        ),
        ("decode csv x { columns a; }", vec!["E0016 only `decode regex` takes a pattern"]),
        ("decode regex", vec!["E0015 `decode regex` needs a pattern"]),
        ("decode regex \"(?<a>\"", vec!["E0101 this is not a valid pattern: unclosed group"]),
        ("decode regex \"a(b)\"", vec!["E0101 the pattern names no fields"]),
        ("decode regex \"(?<a>x)\" { number b; }", vec!["E0104 the pattern has no group `b`"]),
        (
            "decode regex \"(?<a>\\\\w{900})\"",
            vec!["E0009 the pattern is larger than 1024 KiB when compiled"],
        ),
        ("decode logfmt { number a; time a; }", vec!["E0016 `a` has a type already"]),
        (
            "decode logfmt { time a \"HH:mm\"; }",
            vec!["E0101 `HH:mm` does not describe a whole time"],
        ),
        ("decode syslog { time time; }", vec!["E0010 `time` has no effect with `decode syslog`"]),
        ("decode json { number a; }", vec!["E0010 `number` has no effect with `decode json`"]),
        ("decode logfmt { header; }", vec!["E0010 `header` has no effect with `decode logfmt`"]),
    ] {
        let mut found = found(text);
        let mut expected = expected;
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{text}");
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for it in text.chars() {
        match it {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '"' | '\\' => quoted.extend(['\\', it]),
            it if it.is_control() => quoted.push_str(&format!("\\u{:04x}", it as u32)),
            it => quoted.push(it),
        }
    }
    quoted + "\""
}

proptest! {
    #[test]
    fn what_is_written_as_logfmt_is_read_back(
        pairs in prop::collection::btree_map("[a-zé.@_-]{1,5}", any::<String>(), 1..6),
    ) {
        let line: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
        let expected: Map<String, Value> =
            pairs.into_iter().map(|(key, value)| (key, Value::String(value))).collect();
        prop_assert_eq!(logfmt::read(&line.join(" ")), Ok(expected));
    }

    #[test]
    fn what_is_written_as_csv_is_read_back(values in prop::collection::vec("[^\r\n]{0,8}", 1..6)) {
        let mut writer = ::csv::WriterBuilder::new().from_writer(Vec::new());
        writer.write_record(&values).unwrap();
        let line = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let columns: Vec<String> = (0..values.len()).map(|it| format!("c{it}")).collect();
        let read = csv::read(line.trim_end_matches('\n'), &columns, ',').unwrap();
        let read: Vec<&str> = columns.iter().map(|column| read[column].as_str().unwrap()).collect();
        prop_assert_eq!(read, values);
    }

    #[test]
    fn every_line_is_fields_or_a_short_reason(line in "\\PC{0,400}|<[0-9]{1,3}>1? ?[-A-Za-z0-9 :\\[\\]\"=\\\\é]{0,60}") {
        for node in ["decode syslog", "decode logfmt", "decode csv { columns a b; }"] {
            let reason = decode(node, &line).err().unwrap_or_default();
            prop_assert!(reason.chars().count() < 150, "{}", reason);
        }
    }
}
