use super::*;
use proptest::prelude::*;
use serde_json::json;

fn data() -> Value {
    json!({
        "confidence": 0.9, "n": 3, "name": "Ines", "empty": null, "yes": true,
        "list": [1, 2.5, "x"], "deep": {"a": [{"b": "c"}]}, "when": "2026-01-01T00:00:00Z"
    })
}

fn scope(data: &Value) -> Scope<'_> {
    Scope { data: Some(data), ..Scope::without_pipeline(Timestamp(1_767_225_600_000_000)) }
}

#[track_caller]
fn check(text: &str, expected: Value) {
    let data = data();
    let expr = Expr::parse(text, Roots::EVENT).expect(text);
    assert_eq!(expr.eval(&scope(&data)).to_json(), expected, "{text}");
}

#[track_caller]
fn refused(text: &str, span: &str, message: &str, help: &str) {
    let problems = Expr::parse(text, Roots::EVENT).expect_err(text);
    let first = &problems[0];
    assert_eq!(
        (&text[first.span.clone()], first.message.as_str(), first.help.as_deref().unwrap_or("")),
        (span, message, help),
    );
}

#[test]
fn operators_bind_as_in_cel() {
    check("1 + 2 * 3", json!(7));
    check("(1 + 2) * 3", json!(9));
    check("7 / 2", json!(3));
    check("7.0 / 2", json!(3.5));
    check("-7 % 3", json!(-1));
    check("true || false && false", json!(true));
    check("!data.yes || data.n > 2", json!(true));
    check("data.n > 2 ? 'many' : 'few'", json!("many"));
    check("1 == 1.0", json!(true));
    check("'a' < 'b'", json!(true));
    check("data.n in [1, 2, 3]", json!(true));
    check("data.n not in [1, 2]", json!(true));
    check("'name' in data", json!(true));
    check("data.deep.a[0].b", json!("c"));
    check("data['name']", json!("Ines"));
    check("data.deep[data.empty ?? 'a'][0].b", json!("c"));
    check("'a' + 'b'", json!("ab"));
    check("[1, data.n]", json!([1, 3]));
    check("{'a': data.n, 'b': {'c': 1}}", json!({"a": 3, "b": {"c": 1}}));
}

#[test]
fn what_is_missing_is_null() {
    check("data.nothing.at.all", json!(null));
    check("data.nothing ?? 'x'", json!("x"));
    check("data.nothing + 1", json!(null));
    check("data.nothing > 1", json!(null));
    check("data.nothing == null", json!(true));
    check("data.nothing > 1 || true", json!(true));
    check("data.nothing > 1 && false", json!(false));
    check("data.nothing > 1 && true", json!(null));
    check("1 / 0", json!(null));
    check("9223372036854775807 + 1", json!(null));
    check("data.list[9]", json!(null));
    check("data == data.list", json!(false));
}

#[test]
fn functions_do_what_they_say() {
    check("len(data.list)", json!(3));
    check("upper(data.name)", json!("INES"));
    check("starts_with(data.name, 'In')", json!(true));
    check("matches(data.name, '^I.*s$')", json!(true));
    check("regex_capture('a-12', '([a-z])-([0-9]+)', 2)", json!("12"));
    check("round(2.567, 1)", json!(2.6));
    check("max(1, 2.5, 2)", json!(2.5));
    check("get(data, 'zzz', 7)", json!(7));
    check("time(data.when) == now()", json!(true));
    check("now() - time('2025-12-31T23:58:30Z')", json!("1m30s"));
    check("now() + duration('5m')", json!("2026-01-01T00:05:00.000Z"));
    check("coalesce(data.empty, data.n)", json!(3));
    check("contains(data.list, 'x')", json!(true));
}

#[test]
fn problems_name_the_place_and_the_remedy() {
    refused("data.n = 3", "=", "`=` means nothing in an expression", "`==` compares");
    refused("data.n > 1 and true", "and", "the expression should end here", "`&&` means and");
    refused("dta.n > 1", "dta", "`dta` is unknown", "did you mean `data`?");
    refused("event.typ == 'x'", "event.typ", "an event has no `typ`", "did you mean `event.type`?");
    refused(
        "startsWith(data.name, 'x')",
        "startsWith",
        "there is no function `startsWith`",
        "did you mean `starts_with`?",
    );
    refused("len()", "len()", "`len` takes 1 argument, not 0", "as in `len(data.name)`");
    refused(
        "event.priority == 'hihg'",
        "'hihg'",
        "`'hihg'` is not a priority",
        "did you mean `'high'`? low normal high critical",
    );
    refused("'open", "'open", "this text is never closed", "put a ' at its end");
    refused(
        "a < 1 && b < 2",
        "a",
        "`a` is unknown",
        "use single quotes for text; a path starts with event, data, raw, enrich, param, server, pipeline",
    );
    refused("1 < 2 < 3", "<", "comparisons cannot be chained", "write `a < b && b < c`");
}

#[test]
fn independent_names_are_reported_together() {
    let problems = Expr::parse("foo.a && bar.b", Roots::EVENT).expect_err("two unknown roots");
    assert_eq!(problems.len(), 2);
}

#[test]
fn depth_and_size_have_limits() {
    let deep = "(".repeat(4000);
    let problems = Expr::parse(&deep, Roots::EVENT).expect_err("too deep");
    assert_eq!(problems[0].kind, ProblemKind::TooLarge);
    let long = "1+".repeat(4000) + "1";
    assert_eq!(
        Expr::parse(&long, Roots::EVENT).expect_err("too long")[0].kind,
        ProblemKind::TooLarge
    );
}

/// Runs on a stack as small as the smallest thread that evaluates.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(work);
    thread.expect("a thread starts").join().expect("the stack is large enough");
}

#[test]
fn nesting_up_to_the_limit_fits_a_small_stack() {
    on_a_small_stack(|| {
        for (open, close) in
            [("(", ")"), ("[", "]"), ("len(", ")"), ("data[", "]"), ("{'a':", "}"), ("!", "")]
        {
            let nested = |depth| format!("{}data.n{}", open.repeat(depth), close.repeat(depth));
            let data = data();
            let deepest = Expr::parse(&nested(31), Roots::EVENT).expect(open);
            deepest.clone().eval(&scope(&data)).to_json();
            let problems = Expr::parse(&nested(32), Roots::EVENT).expect_err(open);
            assert_eq!(problems[0].kind, ProblemKind::TooLarge, "{open}");
        }
    });
}

#[test]
fn a_long_run_of_operators_is_not_deep() {
    on_a_small_stack(|| {
        let mut text = "1".to_owned();
        for _ in 0..7 {
            text = format!("({text}{})", "+1".repeat(255));
        }
        check(&text, json!(1 + 7 * 255));
        check(&format!("data.yes{}", " && data.yes".repeat(300)), json!(true));
    });
}

#[test]
fn a_tree_that_leans_to_the_left_is_no_way_around_the_limit() {
    on_a_small_stack(|| {
        let mut text = "1".to_owned();
        for _ in 0..30 {
            text = format!("({text}*1+1==1&&1||1)");
        }
        let problems = Expr::parse(&text, Roots::EVENT).expect_err("too tall");
        assert_eq!(problems[0].kind, ProblemKind::TooLarge);
    });
}

#[test]
fn a_hundred_thousand_brackets_are_refused_at_once() {
    for bomb in ["(", "[", "!", "-", "data[", "{{"] {
        let text = bomb.repeat(100_000);
        let problems = Expr::parse(&text, Roots::EVENT).expect_err(bomb);
        assert_eq!(problems[0].kind, ProblemKind::TooLarge);
        assert!(Template::parse(&text, Roots::EVENT).is_err() || bomb != "{{");
    }
}

#[test]
fn what_an_expression_makes_is_limited() {
    let data = json!({"text": "x".repeat(400_000), "list": ["x".repeat(400_000)]});
    let made = |text: &str| {
        let expr = Expr::parse(text, Roots::EVENT).expect(text);
        expr.eval(&scope(&data)).is_null()
    };
    assert!(!made("data.text + data.text") && made("data.text + data.text + data.text"));
    assert!(!made("data.list + data.list") && made("data.list + data.list + data.list"));
    assert!(!made("[data.list, data.text]") && made("[data.list, data.text, data.list]"));
    assert!(
        !made("{'a': data.list}") && made("{'a': data.list, 'b': [data.list], 'c': data.text}")
    );
}

#[test]
fn habits_from_other_languages_are_understood() {
    refused("not data.yes", "not", "`not` is allowed only before `in`", "`!` negates");
    refused("(data.yes or data.n)", "or", "`or` is not an operator", "`||` means or");
    refused("data.n === 3", "===", "`===` means nothing in an expression", "`==` compares");
    refused("data.n <> 3", "<>", "`<>` means nothing in an expression", "`!=` compares");
    refused(
        "‘a’",
        "‘",
        "`‘` means nothing in an expression",
        "use straight quotes for text: `'text'`",
    );
    refused("data.name.lower()", "lower", "`lower` is not a method", "write `lower(data.name)`");
    refused("data.list.0", "0", "a number is not a name", "an item of a list is read as `[0]`");
    refused("(data.n", "(", "`(` has no `)`", "put a `)` where it ends");
    refused(
        "data.n > 5m",
        "5m",
        "a number ends in a letter",
        "a duration is `duration('5m')`, a text `'5m'`",
    );
    refused(
        "data.front-door",
        "door",
        "`door` is unknown",
        "write a name with a hyphen in brackets: `data['front-door']`; a parameter is read with `_`: `param.min_score`",
    );
}

#[test]
fn what_could_never_have_an_answer_is_refused() {
    refused(
        "lower(5)",
        "lower(5)",
        "`lower` takes text, not `5`",
        "use single quotes for text; a path has no quotes: `data.name`",
    );
    refused(
        "round('x')",
        "round('x')",
        "`round` takes a number, not `'x'`",
        "write numbers without quotes, and paths without quotes: `data.count`",
    );
    refused(
        "event.time.year",
        "event.time.year",
        "`event.time` has no fields",
        "write `event.time`",
    );
    refused("1e999", "1e999", "this number is too large", "decimals go up to about 1.8e308");
    refused(
        "event.priority == 3",
        "3",
        "`3` is not a priority",
        "the levels are low normal high critical",
    );
    refused(
        "event.priority == (data.yes ? 'hihg' : 'low')",
        "'hihg'",
        "`'hihg'` is not a priority",
        "did you mean `'high'`? low normal high critical",
    );
    refused(
        "regex_capture(data.name, '(a)', 2)",
        "2",
        "`(a)` has no group `2`",
        "0 is the whole match; the groups go up to 1",
    );
    let large = Expr::parse(r"matches(data.name, '(\\w{50}){50}')", Roots::EVENT);
    assert_eq!(large.expect_err("it is too large")[0].kind, ProblemKind::TooLarge);
}

#[test]
fn literals_are_written_as_in_cel() {
    check("0x1F + -0X0a", json!(21));
    check(".5 + 1e2", json!(100.5));
    check("-9223372036854775808 % 10", json!(-8));
    check("3 - -9223372036854775808 == null", json!(true));
    check("--3", json!(3));
    check("9223372036854775807 == 9223372036854775808.0", json!(true));
    check("!!data.yes", json!(true));
    check(r"r'\d+' + R'\\'", json!(r"\d+\\"));
    check(r#"'''it's''' + """a "b" c""""#, json!("it'sa \"b\" c"));
    check(r"'\x41\102\u0043\U00000044\a\b\f\v\?\`'", json!("ABCD\u{7}\u{8}\u{c}\u{b}?`"));
    refused(
        "9223372036854775808",
        "9223372036854775808",
        "this number is too large",
        "whole numbers go up to 9223372036854775807; add `.0` for a decimal",
    );
    refused("7u", "7u", "a number ends in a letter", "there is only one integer type: `7`");
    refused("{1: 2}", "1", "a key is text, not `1`", "write `'1'`");
    refused("{'a': 1, 'a': 2}", "'a'", "`'a'` is given twice", "");
}

#[test]
fn a_key_that_is_no_text_is_in_no_map() {
    check("1 in data.deep", json!(false));
    check("data.nothing not in data.deep", json!(true));
    check("{data.n: 1}", json!(null));
}

#[test]
fn text_may_hold_any_character() {
    check(r"'it\'s \u00e9 \ud83d\ude00\n'", json!("it's é 😀\n"));
    refused(r"'\ud83d'", r"\u", "not a supported escape", r"there are \\ \' \n \t \r and \uXXXX");
}

#[test]
fn a_list_is_never_a_map() {
    check("data.list == data.deep", json!(false));
    check("[[1], {'a': 1}] == [{'a': 1}, [1]]", json!(false));
    check("data.deep in [[1], 'x']", json!(false));
    check("[1, {'a': 2.0}] == [1.0, {'a': 2}]", json!(true));
}

#[test]
fn a_time_that_no_calendar_has_is_null() {
    check("time(253402300799) + duration('1d')", json!(null));
    check("time(0) - duration('1d')", json!("1969-12-31T00:00:00.000Z"));
}

#[test]
fn reads_name_the_field_as_written() {
    let expr = Expr::parse("event.key + event.attempt + data.a.b[0].c", Roots::EVENT);
    let paths: Vec<String> =
        expr.expect("it parses").reads().iter().map(|it| it.path.join(".")).collect();
    assert_eq!(paths, ["key", "attempt", "a.b"]);
}

#[test]
fn a_path_with_a_default_is_plain() {
    let plain = |text| Expr::parse(text, Roots::EVENT).expect(text).plain_path();
    let path = Some((Root::Data, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(plain("data.a.b"), path);
    assert_eq!(plain("data.a.b ?? 'x'"), path);
    assert_eq!(plain("data.a.b ?? data.c"), None);
    assert_eq!(plain("data.a.b ?? 'x' ?? 'y'"), None);
}

#[track_caller]
fn renders(text: &str, expected: &str) {
    let data = data();
    let template = Template::parse(text, Roots::EVENT).expect(text);
    assert_eq!(template.render(&scope(&data)), expected);
}

#[test]
fn templates_render() {
    renders("{{ data.name }} has {{ data.n }}", "Ines has 3");
    renders("{{ data.nothing | default('nobody') }}", "nobody");
    renders("{{ data.name | json }} {{ data.nothing | json }}", "\"Ines\" null");
    renders("{{ 'front_door' | humanize | upper }}", "FRONT DOOR");
    renders("{{ data.when | time('HH:mm') }}", "00:00");
    renders("{{ now() | date('yyyy-MM-dd') }}", "2026-01-01");
    renders("{{ data.confidence | round(2) }}", "0.90");
    renders("{{ '}}' }}", "}}");
    renders(r"{{ r'\' + '|' }}{{ data.name in['}}'] }}", r"\|false");
    renders("{{ '''}}'s''' }}", "}}'s");
    renders("{{ data.yes || false }}", "true");
    renders("{{ 'a b&c' | urlencode }}", "a%20b%26c");
    renders("{{ [1, 2] | join('-') }}", "1-2");
    renders("{{ {'a': {'b': 1}} | json }}", r#"{"a":{"b":1}}"#);
    renders("{{ data.nothing | upper | default('nobody') }}", "nobody");
    renders("{{ 'DOORBELL_PRESSED' | humanize }}", "doorbell pressed");
    renders("{{ 21.0 }} {{ 1e300 }}", "21 1e300");
}

#[test]
fn times_are_shown_in_the_zone_of_the_pipeline() {
    let zone = kernel::time::zone("Europe/Berlin").expect("a zone");
    let data = data();
    let scope = Scope { zone: Some(&zone), ..scope(&data) };
    let template = Template::parse("{{ data.when | time('HH:mm') }}", Roots::EVENT);
    assert_eq!(template.expect("it parses").render(&scope), "01:00");
}

#[test]
fn a_number_is_rounded_alike_by_functions_and_filters() {
    renders("{{ 2.5 | round }} {{ 0.5 | round }} {{ -2.5 | round }}", "3 1 -3");
    renders("{{ -0.4 | round }} {{ -0.04 | round(1) }}", "0 0.0");
    renders("{{ 9007199254740993 | round }}", "9007199254740993");
    renders("{{ 7 | round(2) }} {{ 0.125 | round(2) }}", "7.00 0.13");
    renders("{{ 1e300 | round(15) }}", &format!("{:.15}", 1e300));
    check("fixed(2.5)", json!("3"));
    check("[round(2.5), round(-0.4), round(-0.04, 1)]", json!([3, 0, 0.0]));
    check("fixed(9007199254740993, 1)", json!("9007199254740993.0"));
}

#[test]
fn a_time_is_shown_in_a_zone_of_its_own() {
    renders("{{ data.when | time('HH:mm', 'America/New_York') }}", "19:00");
    renders("{{ data.when | date('d.M. HH:mm', 'Asia/Tokyo') }}", "1.1. 09:00");
    check("date(data.when, 'HH:mm', 'Asia/Tokyo')", json!("09:00"));
    check("date(data.when, 'Asia/Tokyo')", json!("2026-01-01"));
    check("date(data.when, 'HH:mm', data.name)", json!(null));
}

#[test]
fn a_priority_with_a_default_compares_by_level() {
    check("(event.priority ?? 'high') >= 'normal'", json!(true));
    check("coalesce(event.priority, 'low') < 'critical'", json!(true));
    check("(data.yes ? 'critical' : event.priority) > 'low'", json!(true));
    check("default(event.priority, 'low') in ['low']", json!(true));
}

#[test]
fn a_text_without_an_offset_is_in_the_zone_of_the_pipeline() {
    let zone = kernel::time::zone("Europe/Berlin").expect("a zone");
    let data = json!({ "at": "2026-06-01T10:00:00" });
    let scope = Scope { zone: Some(&zone), ..scope(&data) };
    for (text, expected) in [
        ("time(data.at)", json!("2026-06-01T08:00:00.000Z")),
        ("number(time(data.at))", json!(1_780_300_800)),
        ("hour(data.at)", json!(10)),
        ("hour(data.at, 'UTC')", json!(8)),
        ("date(data.at, 'yyyy-MM-dd HH:mm')", json!("2026-06-01 10:00")),
        ("time('2026-06-01T10:00:00') == time(data.at)", json!(true)),
        ("time(data.at, 'HH:mm')", json!(null)),
    ] {
        let expr = Expr::parse(text, Roots::EVENT).expect(text);
        assert_eq!(expr.eval(&scope).to_json(), expected, "{text}");
    }
}

#[test]
fn durations_times_and_numbers_are_made_of_each_other() {
    // Whole seconds, fractions, before 1970, and the ends of what times there are, in
    // milliseconds: so are those of events.
    let random = kernel::env::Random::seeded(11);
    let mut all = vec![0, 1, -1, 1_000_000, 1_500_000, -90_000_000, 253_402_300_799_999_999];
    all.extend(
        (0..500)
            .map(|_| random.with(|it| it.i64(-60_000_000_000_000_000..250_000_000_000_000_000))),
    );
    all.extend(
        (0..500).map(|_| random.with(|it| it.i64(-4_000_000_000..4_000_000_000)) * 1_000_000),
    );
    for micros in all.into_iter().map(|micros| Timestamp(micros).in_millis().0) {
        let whole = json!(micros / 1_000_000);
        let expected = if micros % 1_000_000 == 0 { whole } else { json!(micros as f64 / 1e6) };
        let event = kernel::testing::event(json!({ "micros": micros }));
        let event = kernel::event::Event {
            envelope: kernel::event::Envelope { time: Timestamp(micros), ..event.envelope.clone() },
            ..event
        };
        let value = |text: &str| {
            let expr = Expr::parse(text, Roots::EVENT).expect(text);
            expr.eval(&Scope::of(&event, Timestamp(0))).to_json()
        };
        assert_eq!(value("number(event.time)"), expected, "{micros}");
        assert_eq!(value("number(event.time - time(0))"), expected, "{micros}");
        let is_exact = micros.abs() < 1 << 51;
        for same in [
            "time(number(event.time)) == event.time",
            "duration(number(event.time - time(0))) == event.time - time(0)",
            "duration(event.time - time(0)) == event.time - time(0)",
            "duration(text(event.time - time(0))) == event.time - time(0)",
        ] {
            assert!(!is_exact || value(same) == json!(true), "{micros}: {same}");
        }
    }
    for (text, expected) in [
        ("duration(90)", json!("1m30s")),
        ("duration(-0.5)", json!("-0.5s")),
        ("duration('-1m30s')", json!("-1m30s")),
        ("duration(data.list)", json!(null)),
        ("duration(1e300)", json!(null)),
        ("duration(9223372036854775807)", json!(null)),
        ("number(duration('0.25s'))", json!(0.25)),
        ("number(true)", json!(null)),
    ] {
        check(text, expected);
    }
}

#[test]
fn a_text_is_what_a_template_shows() {
    for value in [
        "1",
        "21.0",
        "0.1",
        "1e300",
        "'a'",
        "true",
        "false",
        "null",
        "[1, 'a', null]",
        "{'a': 1}",
        "time(0)",
        "duration('90s')",
        "data.n",
        "data.list",
        "data.nothing",
        "data.deep",
    ] {
        let data = data();
        let template = Template::parse(&format!("<{{{{ {value} }}}}>"), Roots::EVENT);
        let shown = template.expect(value).render(&scope(&data));
        check(&format!("'<' + (text({value}) ?? '') + '>'"), json!(shown));
        let expr = Expr::parse(value, Roots::EVENT).expect(value);
        let is_null = expr.eval(&scope(&data)).is_null();
        check(&format!("text({value}) == null"), json!(is_null));
    }
    check("'a' + 1", json!(null));
    check("'a' + text(1)", json!("a1"));
}

#[test]
fn a_lone_value_keeps_its_type() {
    let data = data();
    let template = Template::parse("{{ data.n }}", Roots::EVENT).expect("it parses");
    assert_eq!(template.value(&scope(&data)).to_json(), json!(3));
}

#[test]
fn a_default_keeps_its_type() {
    let data = data();
    let template = Template::parse("{{ data.nothing | default(3) }}", Roots::EVENT);
    assert_eq!(template.expect("it parses").value(&scope(&data)).to_json(), json!(3));
}

#[test]
fn a_url_has_every_value_encoded_once() {
    let data = json!({"q": "a b/c"});
    let url = Template::parse("/x?q={{ data.q }}&r={{ data.q | urlencode }}", Roots::EVENT);
    let url = url.expect("it parses").render_url(&scope(&data));
    assert_eq!(url, "/x?q=a%20b%2Fc&r=a%20b%2Fc");
}

#[track_caller]
fn refused_template(text: &str, span: &str, message: &str) {
    let problems = Template::parse(text, Roots::EVENT).expect_err(text);
    assert_eq!((&text[problems[0].span.clone()], &*problems[0].message), (span, message));
}

#[test]
fn filters_are_checked_before_they_run() {
    refused_template(
        "{{ now() | time('Q:mm') }}",
        "'Q:mm'",
        "`Q` is not a valid field in the pattern `Q:mm`",
    );
    refused_template("{{ data.n | upper(3) }}", "(3)", "`upper` takes no argument");
    refused_template(
        "{{ data.n | truncate }}",
        "truncate",
        "`truncate` needs a number of characters",
    );
    refused_template("{{ data.n | }}", "", "a filter is missing after `|`");
    refused_template("{{ data.n | pad }}", "pad", "`pad` needs a length");
    refused_template("{{ data.n | replace('a') }}", "('a')", "`replace` needs two texts");
    refused_template("{{ data.n | now }}", "now", "there is no filter `now`");
    refused_template("{{ data.n | upper lower }}", "lower", "the expression should end here");
    refused_template("{{ data.n | 5 }}", "5", "`5` is not a filter");
    refused_template("{{ data.n | default(dta.m) }}", "dta", "`dta` is unknown");
    let many = format!("{{{{ data.n{} }}}}", " | upper".repeat(9));
    refused_template(&many, &many[2..many.len() - 2], "more than 8 filters");
    refused_template("{{ data.n", "{{", "`{{` is never closed");
}

#[test]
fn template_problems_stand_at_their_bytes() {
    let text = "x {{ dta.n }} {{ data.n | jsn }}";
    let problems = Template::parse(text, Roots::EVENT).expect_err("two mistakes");
    let places: Vec<&str> = problems.iter().map(|problem| &text[problem.span.clone()]).collect();
    assert_eq!(places, ["dta", "jsn"]);
}

#[test]
fn every_function_is_a_filter_and_every_filter_a_function() {
    let data = data();
    let shown = |text: &str| {
        let template =
            Template::parse(text, Roots::EVENT).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        template.value(&scope(&data)).to_json()
    };
    for (filter, call) in [
        ("data.name | trim", "trim(data.name)"),
        ("data.list | len", "len(data.list)"),
        ("data.list | join('-')", "join(data.list, '-')"),
        ("data.name | slug", "slug(data.name)"),
        ("data.n | pad(3, '0')", "pad(data.n, 3, '0')"),
        ("data.name | matches('^I')", "matches(data.name, '^I')"),
        ("data.name | regex_capture('(.)')", "regex_capture(data.name, '(.)')"),
        ("data.empty | default(data.n)", "default(data.empty, data.n)"),
        ("data.list | filter(x, x == 1) | first", "first(filter(data.list, x, x == 1))"),
        ("data.when | date", "date(data.when)"),
    ] {
        let expr =
            Expr::parse(call, Roots::EVENT).unwrap_or_else(|fault| panic!("{call}: {fault:?}"));
        let expected = expr.eval(&scope(&data)).to_json();
        assert!(!expected.is_null(), "{call}");
        assert_eq!(shown(&format!("{{{{ {filter} }}}}")), expected, "{filter}");
    }
    assert_eq!(shown("{{ data.n | upper }}"), json!("3"), "a filter takes any value as its text");
    assert_eq!(shown("{{ data.empty | upper }}"), json!(null));
}

#[test]
fn texts_numbers_and_times_have_their_functions() {
    check("number('12')", json!(12));
    check("number('-1.5e2')", json!(-150.0));
    check("number('007')", json!(7));
    for none in ["'12 kg'", "''", "'inf'", "'NaN'", "'0x1f'", "'1e999'", "true", "data.list"] {
        check(&format!("number({none})"), json!(null));
    }
    check("slice('häuser', 1, 3)", json!("äu"));
    check("slice('abc', 2, 1)", json!(""));
    check("slice('abc', -99, 99)", json!("abc"));
    check("slice(data.list, -1)", json!(["x"]));
    check("slice(data.list, 3, -3)", json!([]));
    check("pad('ab', -4) + '|'", json!("ab  |"));
    check("pad('x', 9000000)", json!(null));
    check("replace('aaa', 'a', 'bb')", json!("bbbbbb"));
    check("replace('aaa', '', 'b')", json!("aaa"));
    check("split('')", json!([]));
    check("split('a||b', '|')", json!(["a", "", "b"]));
    check("unbase64('Zg')", json!("f"));
    check("unbase64('_-')", json!(null));
    check("unbase64(base64('häuser'))", json!("häuser"));
    check("json('{')", json!(null));
    check("json('[1]')[0] + 1", json!(2));
    check("regex_capture('x', '(?<a>x)(?<b>y)?')", json!({"a": "x", "b": null}));
    check("regex_capture('y', '(?<a>x)').a", json!(null));
    check("regex_capture('x', '(?<a>x)', 'a')", json!("x"));
    check("hour(time('2026-06-30T22:30:00Z'), 'Europe/Berlin')", json!(0));
    check("day(time('2026-06-30T22:30:00Z'), 'Europe/Berlin')", json!(1));
    check("weekday(data.when)", json!(4));
    check("hour(data.when, data.name)", json!(null));
    check("time('01.02.2026', 'dd.MM.yyyy')", json!("2026-02-01T00:00:00.000Z"));
    check("data.when in '00:00-00:01'", json!(true));
    check("data.name in '00:00-00:01'", json!(null));
    check("'a' in 'abc'", json!(null));
}

#[test]
fn literals_that_mean_nothing_are_refused_at_their_place() {
    let is_bad = |text: &str, place: &str, message: &str| {
        let problems = Expr::parse(text, Roots::EVENT).expect_err(text);
        let first = &problems[0];
        assert_eq!((&text[first.span.clone()], &*first.message), (place, message));
    };
    is_bad("matches(data.a, '(')", "'('", "`(` is not a valid pattern: unclosed group");
    is_bad("hour(now(), 'Berln')", "'Berln'", "`Berln` is not a time zone");
    is_bad("date(now(), 'Europe/Berln')", "'Europe/Berln'", "`Europe/Berln` is not a time zone");
    is_bad("time(data.a, 'jjjj')", "'jjjj'", "`jjjj` is not a valid field in the pattern `jjjj`");
    let unclosed = r"time(data.a, 'yyyy\'T')";
    assert!(Expr::parse(unclosed, Roots::EVENT).is_err());
    is_bad(
        "event.time in '25:00-07:00'",
        "'25:00-07:00'",
        "`25:00-07:00` is not a range of the time of day",
    );
    is_bad("event.time in 'night'", "'night'", "`night` is not a range of the time of day");
    is_bad("pad(data.n, 2, '00')", "'00'", "`pad` takes one character to fill with");
    is_bad("slice(data.a, 1.5)", "1.5", "`slice` takes whole numbers");
    is_bad("regex_capture(data.a, '(?<b>x)', 'c')", "'c'", "`(?<b>x)` has no group `c`");
}

/// The value, and whether a limit on work was met.
fn limited(text: &str, data: &Value) -> (Value, bool) {
    let expr = Expr::parse(text, Roots::EVENT).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    let (value, is_exceeded) = expr.eval_limited(&scope(data));
    let value = value.to_json();
    assert_eq!(expr.eval(&scope(data)).to_json(), value, "{text}");
    (value, is_exceeded)
}

#[test]
fn macros_go_through_lists() {
    check("data.deep.a.exists(it, it.b == 'c')", json!(true));
    check("data.list.map(n, n * 2)", json!([2, 5.0, null]));
    check("data.list.filter(n, n > 1)", json!([2.5]));
    check("[null, 1].exists(n, n > 0)", json!(true));
    check("[null].exists(n, n > 0)", json!(null));
    check("[null, 0].all(n, n > 0)", json!(false));
    check("[].all(n, n > 0)", json!(true));
    check("data.name.exists(it, true)", json!(null));
    check("[[1, 2], [3]].map(row, row.map(n, n + row[0]))", json!([[2, 3], [6]]));
    check("[1, 2].map(n, data.list.filter(m, m == n))", json!([[1], []]));
    check("sort(['b', null, 'a'])", json!(["a", "b", null]));
    check("sort([2, 1.5])", json!([1.5, 2]));
    check("sort([])", json!([]));
    check("sum([1, 'a'])", json!(null));
    check("min([null, 3, 2])", json!(2));
    check("max([])", json!(null));
    check(
        "distinct([1, 1.0, [1], [1.0], {'a': 1, 'b': 2}, {'b': 2, 'a': 1}, null, null])",
        json!([1, [1], {"a": 1, "b": 2}, null]),
    );
    check("flatten([[1, [2]], [], 3, null])", json!([1, [2], 3, null]));
    check("last([])", json!(null));
}

#[test]
fn macros_that_make_no_sense_are_refused() {
    let is_bad = |text: &str, place: &str, message: &str| {
        let problems = Expr::parse(text, Roots::EVENT).expect_err(text);
        let first = &problems[0];
        assert_eq!((&text[first.span.clone()], &*first.message), (place, message));
    };
    is_bad(
        "data.a.exists(it.b)",
        "it",
        "`exists` takes a name for an item, and an expression that uses it",
    );
    is_bad("data.a.all('x', true)", "'x'", "`all` needs a name for an item of the list first");
    is_bad("data.a.exists(data, data.b)", "data", "`data` already has another meaning here");
    is_bad("data.a.map(it, it.map(it, it))", "it", "`it` already has another meaning here");
    is_bad("data.a.map(x, x.map(y, y.map(z, z)))", "z", "`map` inside of 2 others");
    is_bad("data.a.map(it, it.b) + it", "it", "`it` is unknown");
}

#[test]
fn work_over_lists_is_limited_and_says_so() {
    let items = |count: usize| json!({"items": vec![1; count], "rows": vec![vec![1; 500]; 500]});
    let (thousand, more) = (items(1000), items(1_000_000));
    assert_eq!(limited("data.items.all(n, n == 1)", &thousand), (json!(true), false));
    assert_eq!(limited("data.items.all(n, n == 1)", &more), (json!(null), true));
    assert_eq!(limited("sum(data.items) ?? 'none'", &more), (json!("none"), true));
    assert_eq!(limited("first(data.items)", &more), (json!(1), false));
    assert_eq!(limited("len(data.items)", &more), (json!(1_000_000), false));
    let nested = "data.rows.all(row, row.all(n, n == 1))";
    assert_eq!(limited(nested, &thousand), (json!(null), true));
    // The steps are those of the whole evaluation, not of each macro.
    let once = "data.items.all(n, n + 0 + 0 + 0 + 0 + 0 == 1)";
    assert_eq!(limited(once, &thousand), (json!(true), false));
    let often = vec![once; 13].join(" && ");
    assert_eq!(limited(&often, &thousand), (json!(null), true));
}

/// Any JSON value, with the extremes that numbers have.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(i64::MIN)),
        Just(json!(u64::MAX)),
        "\\PC{0,6}".prop_map(Value::from),
        Just(json!("2026-01-01T00:00:00Z")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abn]", inner, 0..4)
                .prop_map(|scalar| Value::Object(scalar.into_iter().collect())),
        ]
    })
}

/// Expressions of every node and function, most of them on values of the wrong sort.
fn any_expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "data(\\.[abn]){0,2}",
        "data\\[[012]\\]",
        "(null|true|-1|2\\.5|'a'|\\[1, data\\.a\\]|\\{'a': data\\})",
        "(now\\(\\)|duration\\('36500d'\\)|time\\(data\\.n\\)|event\\.priority)",
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let operators = "(\\+|-|\\*|/|%|<|>=|==|!=|in|not in|&&|\\|\\||\\?\\?)";
        let functions = "(len|count|lower|trim|abs|round|hash|time|date|min|max|coalesce|duration)";
        prop_oneof![
            (inner.clone(), operators, inner.clone())
                .prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            (functions, inner.clone()).prop_map(|(name, a)| format!("{name}({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("get({a}, {b}, {b})[{a}].n")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} ? -{b} : !{a})")),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| format!("({a}).map(v, v == {b} ? v.a : v)")),
            (inner.clone(), "(sort|sum|min|distinct|flatten|first|number|slug|to_json|json)")
                .prop_map(|(a, name)| format!("{name}([{a}, data.a])")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("geo_distance({a}, {b}, {a}, {b})")),
        ]
    })
}

#[test]
fn a_filter_after_letters_of_any_script_is_answered() {
    for (text, has_call) in [("'ぁ'|lower", false), ("'ab' | lower", true), ("data.a|lower", true)]
    {
        let problems = Expr::parse(text, Roots::EVENT).expect_err("it is a filter");
        let help = problems[0].help.clone().unwrap_or_default();
        assert_eq!(help.contains("lower("), has_call, "{text}: {help}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
        let spans = |found: Vec<ExprProblem>| found.into_iter().map(|it| it.span).collect::<Vec<_>>();
        let expr = Expr::parse(&text, Roots::EVENT).map_or_else(spans, |_| Vec::new());
        let template = Template::parse(&text, Roots::EVENT).map_or_else(spans, |_| Vec::new());
        for span in expr.into_iter().chain(template) {
            prop_assert!(text.get(span.clone()).is_some(), "{span:?} cuts a character");
        }
    }

    #[test]
    fn what_parses_evaluates(text in any_expression(), data in any_json()) {
        if let Ok(expr) = Expr::parse(&text, Roots::EVENT) {
            let value = expr.eval(&scope(&data));
            prop_assert!(!matches!(value, Val::Float(it) if !it.is_finite()), "{value:?}");
            value.text();
            value.to_json();
        }
        if let Ok(template) = Template::parse(&format!("{{{{ {text} }}}}"), Roots::EVENT) {
            template.render(&scope(&data));
        }
    }
}

#[test]
fn maps_are_taken_apart_and_put_together() {
    check("keys({'b': 1, 'a': 2})", json!(["a", "b"]));
    check("values({'b': 1, 'a': [2]})", json!([[2], 1]));
    check("entries(data.deep).map(it, it.key + '!')", json!(["a!"]));
    check("entries({'a': 1})[0]", json!({ "key": "a", "value": 1 }));
    check("omit({'a': 1, 'b': 2, 'c': 3}, 'a', 'c', 'x')", json!({ "b": 2 }));
    check("merge({'a': 1, 'b': {'x': 1}}, {'b': {'y': 2}}, {'c': 3})", {
        json!({ "a": 1, "b": { "y": 2 }, "c": 3 })
    });
    for text in ["keys(data.name)", "values(data.nothing)", "omit(data.list, 'a')"] {
        check(text, json!(null));
    }
    check("merge(data.deep, data.name)", json!(null));
    check("omit(data.deep, data.n)", json!(null));
}

#[test]
fn numbers_are_rounded_to_either_side_and_averaged() {
    for (text, expected) in [("1.2", [1, 2]), ("-1.5", [-2, -1]), ("3", [3, 3]), ("-0.0", [0, 0])] {
        check(&format!("floor({text})"), json!(expected[0]));
        check(&format!("ceil({text})"), json!(expected[1]));
    }
    check("floor(1.0e300)", json!(1.0e300));
    check("floor(data.name)", json!(null));
    check("avg([1, 2.5, null])", json!(1.75));
    check("avg([])", json!(null));
    check("avg([1, 'a'])", json!(null));
    check("reverse([1, null, 'a'])", json!(["a", null, 1]));
}

#[test]
fn matches_are_replaced_with_what_their_groups_hold() {
    check("regex_replace('a1b22', '[0-9]+', '#')", json!("a#b#"));
    check("regex_replace('2026-01-31', '(\\\\d+)-(\\\\d+)-(\\\\d+)', '$3.$2.$1')", {
        json!("31.01.2026")
    });
    check("regex_replace('x', '(?<it>x)', '<${it}>$$')", json!("<x>$"));
    check("regex_replace('ab', '', '-')", json!("-a-b-"));
    check("regex_replace(data.nothing, 'a', 'b')", json!(null));
    check("regex_replace('abc', 'x', 'y')", json!("abc"));
    refused("regex_replace('a', '(a)', '$2')", "'$2'", "`(a)` has no group `2`", {
        "the groups go up to 1; write `$$` for a dollar sign"
    });
    refused("regex_replace('a', '(a)', '$1st')", "'$1st'", "`(a)` has no group `1st`", {
        "write `${1}st`, or `$$` for a dollar sign"
    });
    refused("regex_replace('a', 'a', '$price')", "'$price'", "`a` has no group `price`", {
        "write `$$` for a dollar sign"
    });
}

/// What they make has the limits of all that is made.
#[test]
fn nothing_that_a_function_makes_is_without_a_limit() {
    let long: serde_json::Map<String, Value> =
        (0..2000).map(|it| (format!("k{it}"), Value::from(it))).collect();
    let large: serde_json::Map<String, Value> =
        (0..900).map(|it| (format!("k{it}"), Value::from("x".repeat(2000)))).collect();
    for map in [long, large] {
        let data = json!({ "map": map, "list": map.values().collect::<Vec<_>>() });
        for text in [
            "values(data.map)",
            "entries(data.map)",
            "omit(data.map, 'k1')",
            "merge(data.map, {})",
            "reverse(data.list)",
        ] {
            let expr = Expr::parse(text, Roots::EVENT).expect(text);
            assert_eq!(expr.eval(&scope(&data)).to_json(), json!(null), "{text}");
        }
    }
    let data = json!({ "text": "x".repeat(100_000), "to": "y".repeat(1000) });
    let expr = Expr::parse("regex_replace(data.text, 'x', data.to)", Roots::EVENT).expect("fine");
    assert_eq!(expr.eval(&scope(&data)).to_json(), json!(null));
}

/// Numbers that can be written in several ways, alone and in lists and maps.
fn written() -> impl Strategy<Value = Value> + Clone {
    let digits = prop::sample::select(vec![
        "0",
        "-0",
        "0.0",
        "-0.0",
        "1",
        "1.0",
        "1.00",
        "1e0",
        "1.5",
        "1.50",
        "15e-1",
        "100",
        "1e2",
        "1E21",
        "1000000000000000000000",
        "-7",
        "-7.0",
        "null",
        "true",
        "\"1\"",
        "\"a\"",
    ]);
    let leaf = digits.prop_map(|digits| serde_json::from_str(digits).expect("JSON"));
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::btree_map("[ab]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn equal_values_of_a_type_have_one_identity(a in written(), b in written()) {
        let (first, second) = (Val::from_json(&a), Val::from_json(&b));
        // Alone, a text and a number have the same text.
        prop_assume!(a.is_string() == b.is_string() && a.is_null() == b.is_null());
        prop_assert_eq!(first.equals(&second), first.identity() == second.identity(), "{} {}", a, b);
    }
}

#[test]
fn what_has_one_form_is_told_apart_by_its_text() {
    for (json, identity) in [
        ("1", "1"),
        ("\"a\"", "a"),
        ("\"1.0\"", "1.0"),
        ("2.5", "2.5"),
        ("true", "true"),
        ("12345678901234567890", "12345678901234567890"),
        ("[1,\"a\",null]", "[1,\"a\",null]"),
        ("{\"a\":{\"b\":2.5}}", "{\"a\":{\"b\":2.5}}"),
    ] {
        let value: Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(Val::from_json(&value).identity(), identity);
    }
    check("hash(1.0) == hash(1) && hash([-0.0]) == hash([0])", json!(true));
    check("text(-0.0)", json!("0"));
}
