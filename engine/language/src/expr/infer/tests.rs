use super::super::type_env::{EventType, NotYetSet};
use super::super::{Expr, PathRead, Root, Roots, Template, of_schema};
use super::*;
use crate::diagnostic::SourceText;
use serde_json::json;

fn data(schema: &Value) -> Arc<ValueType> {
    let source = SourceText { name: "schemas/s.json".to_owned(), text: schema.to_string() };
    Arc::new(of_schema(schema, &Arc::new(source)))
}

/// Two types of motion, one of faces, and whatever begins with `X_`.
fn known() -> TypeEnv {
    let motion = data(&json!({
        "type": "object",
        "properties": {
            "score": { "type": "number", "minimum": 0, "maximum": 1 },
            "state": { "enum": ["start", "stop"] },
            "boxes": { "type": "array", "items": { "properties": { "width": { "type": "integer" } } } },
        },
    }));
    let face = data(&json!({
        "type": "object",
        "properties": {
            "name": { "type": ["string", "null"] },
            "is_known": { "type": "boolean" },
            "tags": { "type": "array", "items": { "enum": ["a", "b"] } },
        },
    }));
    let open = data(&json!({ "type": "object" }));
    let arrival =
        |kind: &str, data: &Arc<ValueType>| EventType { kind: kind.into(), data: data.clone() };
    let all: EventTypes = Arc::new([
        arrival("motion.on", &motion),
        arrival("motion.off", &motion),
        arrival("face", &face),
        arrival("X_*", &open),
    ]);
    let person = ValueType::map([("name", ValueType::text())]);
    let roots = vec![
        (
            Root::Enrich,
            ValueType::map([("person", person), ("state", ValueType::one_of(["red", "green"]))]),
        ),
        (Root::Param, ValueType::map([("limit", ValueType::number())])),
    ];
    let later = NotYetSet {
        path: vec!["weather".to_owned()],
        why: "not yet".to_owned(),
        help: "wait".to_owned(),
    };
    TypeEnv { here: all.clone(), all, roots, later: [later].into(), ..TypeEnv::default() }
}

/// Without the types that may hold anything.
fn closed() -> TypeEnv {
    let known = known();
    let here = known.all[..3].into();
    TypeEnv { all: here, ..known }.narrowed(&known.all[..3].into())
}

#[track_caller]
fn told_by(known: &TypeEnv, text: &str) -> Vec<String> {
    let expr = Expr::parse(text, Roots::EVENT).expect("it can be read");
    let found = known.check(&expr).findings;
    found
        .iter()
        .map(|it| {
            let shown = text.get(it.span.clone()).expect("a place in the text");
            let help = it.help.as_deref().unwrap_or_default();
            format!("{} [{shown}] {} · {} · {help}", it.rule.code(), it.message, it.label)
        })
        .collect()
}

#[track_caller]
fn wrong(text: &str, expected: &str) {
    assert_eq!(told_by(&closed(), text), [expected], "{text}");
}

#[track_caller]
fn right(text: &str) {
    assert_eq!(told_by(&closed(), text), Vec::<String>::new(), "{text}");
    assert_eq!(told_by(&known(), text), Vec::<String>::new(), "{text}");
}

#[test]
fn a_path_that_no_schema_lists_is_unknown() {
    wrong(
        "data.scor > 0.5",
        "E0104 [data.scor] `data.scor` is in none of the schemas for `motion.on`, `motion.off` and \
         `face` · it would always be null · did you mean `data.score`? (number 0–1; from \
         s.json). `get(data, 'scor')` reads an undeclared field",
    );
    wrong(
        "data.boxes[0].with == 1",
        "E0104 [data.boxes[0].with] `data.boxes[0].with` is in none of the schemas for \
         `motion.on`, `motion.off` and `face` · it would always be null · did you mean \
         `data.boxes[0].width`? (number; from s.json). `get(data.boxes[0], 'with')` reads \
         an undeclared field",
    );
    wrong(
        "data.boxes.width == 1",
        "E0104 [data.boxes.width] `data.boxes.width` is in none of the schemas for `motion.on`, \
         `motion.off` and `face` · it would always be null · `data.boxes` is a list: \
         `data.boxes[0].width` reads its first item",
    );
    wrong(
        "enrich.persn.name == 'x'",
        "E0104 [enrich.persn.name] no stage adds `enrich.persn.name` · it would always be null · \
         did you mean `enrich.person`? (map). `get(enrich, 'persn')` reads an undeclared field",
    );
    wrong(
        "data.score > param.limt",
        "E0104 [param.limt] there is no `param.limt` in this file · it would always be null · did \
         you mean `param.limit`? (number)",
    );
    wrong(
        "enrich.weather.sun == 1",
        "E0210 [enrich.weather.sun] not yet · not available yet: it would be null · wait",
    );
}

#[test]
fn the_variable_of_a_macro_has_the_type_of_an_item() {
    wrong(
        "data.boxes.exists(it, it.with > 3)",
        "E0104 [it.with] an item of the list has no `it.with` · it would always be null · did you \
         mean `width`?",
    );
    wrong(
        "max(data.boxes.map(it, it.width)) > 'a'",
        "E0109 [max(data.boxes.map(it, it.width)) > 'a'] `max(data.boxes.map(it, it.width))` is a \
         number, and `'a'` is text · always null · ",
    );
    wrong(
        "data.tags.exists(tag, tag == 'c')",
        "E0108 ['c'] `tag` is never `c` · never equal · the words are: a, b",
    );
    wrong(
        "data.score.all(it, it > 1)",
        "E0109 [data.score] `all` takes a list; `data.score` is a number 0–1 · always null · give \
         `all` a list, such as `data.items` or `[1, 2]`",
    );
    wrong(
        "data.boxes.filter(it, it.width) == []",
        "E0109 [it.width] `it.width` is a number, not a condition · neither true nor false · \
         compare it, such as `it.width > 0`",
    );
    right("data.boxes.exists(it, it.width > 3) && sum(data.boxes.map(b, b.width)) < 9");
    right("first(data.tags) == 'a' && data.tags.filter(it, it != 'b') != []");
}

#[test]
fn what_new_functions_give_is_known() {
    wrong(
        "regex_capture(data.name, '(?<first>.) (?<last>.)').lats == 'x'",
        "E0104 [lats] `regex_capture(data.name, '(?<first>.) (?<last>.)')` has no `lats` · it \
         would always be null · did you mean `last`?",
    );
    wrong(
        "hour(event.time) > 24",
        "W0109 [hour(event.time) > 24] `hour(event.time)` is a number 0–23 · never true · compare \
         with something else, or remove this",
    );
    wrong(
        "time(data.name, 'HH:mm') < now()",
        "E0109 ['HH:mm'] the pattern `HH:mm` has no year, month and day · always null · a time is \
         read from a whole date, such as `yyyy-MM-dd HH:mm`; to show one, write \
         `date(data.name, 'HH:mm')`",
    );
    wrong(
        "data.is_known in '22:00-07:00'",
        "E0109 [data.is_known] `in` takes a time; `data.is_known` is true or false · always null · \
         give `in` a time, such as `event.time` or `time(data.at)`",
    );
    right("number(data.name) > 3 && split(data.name, ' ')[0] == 'x'");
    right("event.time not in '22:00-07:00' && time(data.name, 'yyyy-MM-dd') < now()");
    right("default(data.name, 'nobody') == 'nobody' && slice(data.name, -2) == 'es'");
}

#[test]
fn what_may_be_there_is_not_complained_about() {
    right("data.score > param.limit && data.name != null");
    right("get(data, 'scor') == 1 || get(data, 'scor', 2) == 'x'");
    right("data.boxes[0].width + len(data.boxes) > 3");
    right("event.type in ['face', 'motion.on'] ? data.is_known : false");
    right("(data.name ?? 'nobody') == 'nobody'");
    right("contains(data.tags, 'a') && 'b' in data.tags");
    right("event.time < now() + duration('5m') && event.time > '2024-01-01T00:00:00Z'");
    right("enrich.person.name ?? 'x' != 'y'");
    right("event.priority >= 'high' || event.priority in ['low']");
    right("round(data.score, 2) == 0.5 && abs(-data.score) < 2");
    right("raw.whatever == 1 && pipeline.labels.site == 'x'");
    right("lower(event.type) == 'face'");
    right("true || data.is_known");
    // What is open may hold anything, and a type that is not known may come.
    assert_eq!(told_by(&known(), "data.scor == 1"), Vec::<String>::new());
    assert_eq!(told_by(&known(), "event.type == 'X_9' && data.anything"), Vec::<String>::new());
}

#[test]
fn the_type_decides_which_schemas_are_asked() {
    let told = |text: &str| told_by(&known(), text).join("; ");
    let schemas = |text: &str| {
        let told = told(text);
        let end = told.find(" · ").unwrap_or(0);
        told[..end].split("schemas for ").last().unwrap_or_default().to_owned()
    };
    assert_eq!(schemas("event.type == 'face' && data.score > 1"), "`face`");
    assert_eq!(schemas("'face' == event.type && data.score > 1"), "`face`");
    assert_eq!(schemas("event.type != 'face' || data.score > 1"), "`face`");
    assert_eq!(schemas("!(event.type == 'face') || data.score > 1"), "`face`");
    assert_eq!(schemas("event.type not in ['face'] || data.score > 1"), "`face`");
    assert_eq!(schemas("event.type == 'face' ? data.score : 1"), "`face`");
    assert_eq!(
        schemas("event.type == 'X_1' ? 1 : event.type == 'face' ? data.score : 1"),
        "`face`"
    );
    let both = "`motion.on` and `motion.off`";
    assert_eq!(schemas("starts_with(event.type, 'motion.') && data.name == ''"), "");
    let motion = "event.type in ['motion.on', 'motion.off']";
    assert_eq!(schemas(&format!("{motion} && data.name == ''")), both);
    assert_eq!(schemas(&format!("({motion} || data.is_known) && true")), "");
    assert_eq!(schemas(&format!("({motion} && data.score > 0.1) && data.name == ''")), both);
    assert_eq!(
        schemas("matches(event.type, 'face') && !(event.type == 'face' && data.score > 1)"),
        "`face`"
    );
    // Both sides of an `||` get there.
    assert_eq!(told("(event.type == 'face' || event.type == 'motion.on') && data.score > 0.5"), "");
    assert_eq!(told("event.type == 'face' && data.is_known || data.score > 0.5"), "");
    // A name behind a pattern is one of the pattern's.
    assert_eq!(told("event.type == 'X_1' && data.whatever == 1"), "");
}

#[test]
fn words_that_are_none_are_told_at_their_place() {
    wrong(
        "data.state == 'strt'",
        "E0108 [strt'] `data.state` is never `strt` · never equal · did you mean `'start'`? The \
         words are: start, stop"
            .replace("[strt']", "['strt']")
            .as_str(),
    );
    wrong(
        "data.state in ['start', 'halt']",
        "E0108 ['halt'] `data.state` is never `halt` · never equal · the words are: start, stop",
    );
    wrong(
        "contains(data.tags, 'c')",
        "E0108 ['c'] `data.tags` is never `c` · never equal · the words are: a, b",
    );
    wrong(
        "'c' in data.tags",
        "E0108 ['c'] `data.tags` is never `c` · never equal · the words are: a, b",
    );
    wrong(
        "enrich.state == (data.is_known ? 'red' : 'blue')",
        "E0108 ['blue'] `enrich.state` is never `blue` · never equal · the words are: green, red",
    );
    wrong(
        "event.type == 'fase'",
        "E0108 ['fase'] no event of type `fase` can arrive · never equal · did you mean `'face'`?",
    );
    wrong(
        "event.type in ['face', 'q']",
        "E0108 ['q'] no event of type `q` can arrive · never equal · the types that can arrive: \
         motion.on, motion.off, face",
    );
}

#[test]
fn sorts_that_never_meet_are_told() {
    wrong(
        "data.score == '1'",
        "E0109 [data.score == '1'] `data.score` is a number, and `'1'` is text · never equal · \
         write `1` without quotes",
    );
    wrong(
        "data.name > 5",
        "E0109 [data.name > 5] `data.name` is text, and `5` is a number · always null · \
         write `number(data.name) > 5`",
    );
    wrong(
        "event.time > 'yesterday'",
        "E0109 [event.time > 'yesterday'] `'yesterday'` is not a time · always null · write a time \
         such as `'2026-01-01T12:00:00Z'`, or compare the time of day, as in \
         `event.time in '22:00-07:00'`",
    );
    wrong(
        "data.name && data.is_known",
        "E0109 [data.name] `data.name` is text, not a condition · neither true nor false · write \
         `data.name == '…'`",
    );
    wrong(
        "-data.name == 1",
        "E0109 [data.name] `data.name` is text · cannot be negated, so this is always null · ",
    );
    wrong(
        "lower(data.score) == 'x'",
        "E0109 [data.score] `lower` takes text; `data.score` is a number 0–1 · always null · \
         give `lower` text, such as `event.subject` or `'text'`",
    );
    wrong(
        "data.name in data.score",
        "E0109 [data.name in data.score] `data.score` is a number 0–1, not a list · always null · use \
         `in` with a list or a map, and `contains` with a text",
    );
    wrong(
        "data.score in ['a', 'b']",
        "E0109 [data.score in ['a', 'b']] `data.score` is a number 0–1, and the list holds one of: \
         a, b · never equal · ",
    );
}

#[test]
fn a_side_of_another_type_is_told_with_how_to_convert_it() {
    wrong(
        "'n: ' + data.score == 'x'",
        "E0109 ['n: ' + data.score] cannot add text and a number · always null · \
         write `text(data.score)` to join it to the text",
    );
    wrong(
        "data.score + event.type + 'x' == 'x'",
        "E0109 [data.score + event.type] cannot add a number and text · always null · write \
         `text(data.score)` to join it to the text",
    );
    wrong(
        "data.score * data.name > 1",
        "E0109 [data.score * data.name] cannot multiply a number by text · always null · write \
         `number(data.name)` where the text holds a number",
    );
    wrong(
        "duration(data.is_known) > duration('5m')",
        "E0109 [data.is_known] `duration` takes a text or number; `data.is_known` is true or false · \
         always null · give `duration` a text or number, such as `'5m'` or `data.seconds`",
    );
    right("'n: ' + text(data.score) == 'n: 1' && number(now() - event.time) > 5");
    right("event.time + duration(data.score) < now() && number(event.time) > 0");
}

#[test]
fn times_and_durations_are_texts_in_json() {
    wrong(
        "first([event.time]) - now() > duration('1m')",
        "E0109 [first([event.time]) - now()] cannot subtract a time from text · always null · read the \
         text first, with `time(first([event.time]))` or `duration(first([event.time]))`: times and durations \
         are texts in JSON",
    );
    wrong(
        "last([duration('5m')]) > duration('1m')",
        "E0109 [last([duration('5m')]) > duration('1m')] `last([duration('5m')])` is text, and \
         `duration('1m')` is a duration · always null · read the text first: \
         `duration(last([duration('5m')]))`",
    );
    right(
        "[event.time].exists(it, hour(it) > 5 && it < now() && time(it) - now() < duration('1m'))",
    );
}

#[test]
fn what_is_always_the_same_is_told() {
    wrong(
        "data.score > 1",
        "W0109 [data.score > 1] `data.score` is a number 0–1 · never true · compare with something \
         else, or remove this",
    );
    wrong(
        "event.subject == null",
        "W0109 [event.subject == null] `event.subject` is never null · never true · compare with \
         something else, or remove this",
    );
    wrong(
        "event.type == 'face' && event.type == 'motion.on'",
        "W0109 ['motion.on'] no event here can have type `motion.on` · never true · only \
         `face` can arrive here",
    );
    wrong(
        "starts_with(event.type, 'q')",
        "E0108 [starts_with(event.type, 'q')] no event that can arrive has this type · never \
         true · only `motion.on`, `motion.off` and `face` can arrive here",
    );
}

#[test]
fn where_no_event_can_be_nothing_is_told() {
    let told = told_by(&closed(), "event.type == 'q' && data.nothing.at.all == 1");
    assert_eq!(told.len(), 1, "{told:?}");
    let nowhere = closed().narrowed(&Arc::default());
    assert_eq!(told_by(&nowhere, "data.nothing == 'x' + 1"), Vec::<String>::new());
}

/// Who sees an operand twice tells of it twice, and the work doubles with every level.
#[test]
fn every_part_is_seen_once_however_deep() {
    let wraps =
        [("(", " && data.is_known)"), ("!(", " || data.is_known)"), ("(", " ?? data.name)")];
    for (left, right) in wraps.into_iter().chain([("(true ? ", " : false)")]) {
        let depth = 10;
        let text = format!("{}data.scor{}", left.repeat(depth), right.repeat(depth));
        let told = told_by(&closed(), &text);
        let unknown = told.iter().filter(|it| it.starts_with("E0104 ")).count();
        assert_eq!(unknown, 1, "{text}: {told:?}");
    }
}

#[test]
fn a_condition_says_whom_it_lets_through() {
    let known = known();
    let names = |text: &str| {
        let checked = known.check(&Expr::parse(text, Roots::EVENT).expect("it can be read"));
        let names = |types: &EventTypes| {
            types.iter().map(|it| it.kind.to_string()).collect::<Vec<_>>().join(" ")
        };
        (names(&checked.holds), names(&checked.fails))
    };
    let owned = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(names("event.type == 'face'"), owned("face", "motion.on motion.off X_*"));
    assert_eq!(names("event.type == 'X_1'"), owned("X_1", "motion.on motion.off face X_*"));
    let some = "event.type == 'face' && data.is_known";
    assert_eq!(names(some), owned("face", "motion.on motion.off X_* face"));
    assert_eq!(
        names("!starts_with(event.type, 'm')"),
        owned("face X_*", "motion.on motion.off X_*")
    );
}

#[test]
fn templates_and_bodies_are_looked_at_value_by_value() {
    let template = |text: &str| Template::parse(text, Roots::EVENT).expect("it can be read");
    let told = |text: &str| {
        let found = closed().check_template(&template(text)).1;
        found
            .iter()
            .map(|it| format!("{} {}", it.rule.code(), &text[it.span.clone()]))
            .collect::<Vec<_>>()
    };
    assert_eq!(told("ä {{ data.score }} {{ data.scor | round(1) }}"), ["E0104 data.scor"]);
    let shape = |text: &str| closed().check_template(&template(text)).0.told();
    assert_eq!(shape("{{ data.is_known ? 'a' : 'b' }}"), "one of: a, b");
    assert_eq!(shape("{{ data.score | default('none') }}"), "number 0–1 or `none`");
    assert_eq!(shape("x {{ data.score }}"), "text");
    let body = |text: &str| {
        let found = closed().check_json_body(&template(text), false);
        found
            .iter()
            .map(|it| format!("{} {}", &text[it.span.clone()], it.message))
            .collect::<Vec<_>>()
    };
    let none = Vec::<String>::new();
    assert_eq!(
        body(r#"{ "a": {{ data.name | json }}, "b": "{{ event.priority }} at {{ event.time }}" }"#),
        none
    );
    assert_eq!(
        body(r#"{ "url": "http://h/{{ data.name | urlencode }}", "n": {{ len('abc') ?? 0 }} }"#),
        none
    );
    assert_eq!(body("{{ data.name }}: {{ data.name }}"), none);
    assert_eq!(body("[{{ event.type }}] {{ data.name }}"), none);
    let plain = r#"["{{ data.name }}", {{ data.score }}, "{{ data.name | json }}"]"#;
    let expected = [
        "data.name `data.name` is inserted into JSON unescaped",
        "data.score `data.score` is inserted into JSON unescaped",
        "data.name `| json` adds its own quotes",
    ];
    assert_eq!(body(plain), expected);
}

#[test]
fn a_body_that_is_sent_as_json_is_json() {
    let template = |text: &str| Template::parse(text, Roots::EVENT).expect("it parses");
    let body = |text: &str, says_json: bool| {
        let found = closed().check_json_body(&template(text), says_json);
        let told = |finding: &crate::expr::ExprFinding| {
            let help = finding.help.clone().unwrap_or_default();
            format!(
                "{} [{}] {} · {help}",
                finding.message,
                &text[finding.span.clone()],
                finding.label
            )
        };
        found.iter().map(told).collect::<Vec<_>>().join("; ")
    };
    let bad = "JSON needs double quotes around names and texts, and no trailing comma";
    let comma = r#"{ "a": {{ data.name | json }}, }"#;
    assert_eq!(body(comma, false), format!("this body is not JSON [}}] trailing comma · {bad}"));
    let single = "{ 'a': 1 }";
    assert!(body(single, false).starts_with("this body is not JSON ['] key must be a string"));
    assert!(body("ring at {{ data.name }}", true).starts_with("this body is not JSON [r]"));
    assert_eq!(body("ring at {{ data.name }}", false), "");
    assert_eq!(body("[{{ event.type }}] {{ data.name }}", false), "");
    // What a variable gives is not known.
    assert_eq!(body(r#"{ "n": ${N}, "t": "${T:-x}" }"#, true), "");
    assert_eq!(
        body(r#"{ "text": "At {{ data.name }}, {{ data.name ?? 'x' }}!" }"#, true),
        [
            "`data.name` is inserted into JSON unescaped [data.name] inside quotes of the body",
            "`data.name ?? 'x'` is inserted into JSON unescaped [data.name ?? 'x'] inside quotes of the \
             body",
        ]
        .map(|it| {
            format!(
                "{it} · write the whole text as one value, without quotes around it: `{{{{ 'At ' + \
                 data.name + ', ' + (data.name ?? 'x') + '!' | json }}}}`"
            )
        })
        .join("; ")
    );
    assert!(
        body(r#"{ "text": "{{ data.name }}" }"#, true).contains("without the quotes around it")
    );
    assert!(body(r#"{ "t": "a\n{{ data.name }}" }"#, true).contains("`enrich set` stage"));
}

#[test]
fn a_plain_path_passes_through_lists() {
    let told = |path: &str| {
        let path = path.split('.').map(str::to_owned).collect();
        let read = PathRead { root: Root::Data, path, span: 0..0 };
        (closed().declared(&read), known().declared(&read))
    };
    assert_eq!(told("boxes.width"), (Declared::Yes, Declared::Yes));
    let help = "did you mean `data.boxes.width`? (number; from s.json)".to_owned();
    assert_eq!(told("boxes.with"), (Declared::Never(help.clone()), Declared::Open(help)));
}

/// Events that fit the schemas of [`known`].
fn events() -> Vec<kernel::event::Event> {
    let event = |kind: &str, data: Value, enrich: Value| {
        let mut event = kernel::testing::event(data);
        event.envelope.kind = kind.into();
        event.enrich = enrich.as_object().expect("a map").clone().into();
        event
    };
    vec![
        event(
            "motion.on",
            json!({ "score": 0.5, "state": "start", "boxes": [{ "width": 3 }] }),
            json!({}),
        ),
        event(
            "motion.off",
            json!({ "score": 1, "boxes": [] }),
            json!({ "person": { "name": "ä" }, "state": "red" }),
        ),
        event("motion.on", json!({}), json!({ "state": "green" })),
        event("face", json!({ "name": null, "is_known": true, "tags": ["a"] }), json!({})),
        event("face", json!({ "name": "face", "is_known": false, "tags": [] }), json!({})),
        event("X_1", json!({ "score": "text", "x": [1, { "y": 2 }] }), json!({})),
    ]
}

/// Expressions over what [`known`] knows.
fn expressions() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    const LEAVES: &[&str] = &[
        "data.score",
        "data.state",
        "data.boxes",
        "data.boxes[0].width",
        "data.name",
        "data.is_known",
        "data.tags",
        "data.x",
        "event.type",
        "event.time",
        "event.priority",
        "event.seq",
        "enrich.person",
        "enrich.person.name",
        "enrich.state",
        "param.limit",
        "'face'",
        "'motion.on'",
        "'X_1'",
        "'a'",
        "'red'",
        "'high'",
        "1",
        "0.5",
        "-2",
        "null",
        "true",
        "[1, 'a']",
        "['face', 'X_1']",
        "[event.type]",
        "{ 'a': data.score }",
        "now()",
        "duration('5m')",
        "'2026-01-01T00:00:00Z'",
    ];
    const SIGNS: &[&str] = &[
        "==", "!=", "<", "<=", ">", ">=", "in", "not in", "&&", "||", "&&", "||", "??", "+", "-",
        "*", "/", "%",
    ];
    const CALLS: &[&str] = &["!", "-", "len", "lower", "round", "abs", "time", "date", "coalesce"];
    const PAIRS: &[&str] = &["starts_with", "contains", "get", "min", "max", "ends_with"];
    let leaf = proptest::sample::select(LEAVES).prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let sign = proptest::sample::select(SIGNS);
        let (call, pair) = (proptest::sample::select(CALLS), proptest::sample::select(PAIRS));
        prop_oneof![
            4 => (inner.clone(), sign, inner.clone()).prop_map(|(a, it, b)| format!("({a}) {it} ({b})")),
            1 => (call, inner.clone()).prop_map(|(it, a)| format!("{it}({a})")),
            1 => (pair, inner.clone(), inner.clone()).prop_map(|(it, a, b)| format!("{it}({a}, {b})")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(1024))]

    #[test]
    fn whatever_an_event_holds_the_value_has_the_shape_that_was_told(text in expressions()) {
        let Ok(expr) = Expr::parse(&text, Roots::EVENT) else { return Ok(()) };
        let checked = known().check(&expr);
        let param = json!({ "limit": 0.7 });
        for event in events() {
            let mut scope = crate::expr::Scope::of(&event, kernel::time::Timestamp(1_800_000_000_000_000));
            scope.param = Some(&param);
            let value = expr.eval(&scope).to_json();
            proptest::prop_assert!(
                checked.shape.admits(&value),
                "{text} is {value} for {}, told as {}", event.envelope.kind, checked.shape.told()
            );
            let side = if value == json!(true) { &checked.holds } else { &checked.fails };
            let is_there = side.iter().any(|it| kernel::pattern::glob_fits(&it.kind, &event.envelope.kind));
            proptest::prop_assert!(is_there, "{text} is {value} for {}", event.envelope.kind);
            if value == json!(true) {
                let never = checked.findings.iter().find(|finding| finding.label == "never true" && finding.span == (0..text.len()));
                proptest::prop_assert!(never.is_none(), "{text} is true for {}", event.envelope.kind);
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_expression_makes_the_check_panic(
        text in r#"(\(|!|-|data\.(score|state|boxes|x)|event\.(type|time|priority)|enrich\.person|'face'|1|null|\[1, 'a'\]|len\(|get\(| (==|in|&&|\|\||\?\?|\+|<|\?|:) |\)|\[0\]|, ){1,14}"#
    ) {
        if let Ok(expr) = Expr::parse(&text, Roots::EVENT) {
            for known in [known(), closed()] {
                let checked = known.check(&expr);
                for it in checked.findings {
                    proptest::prop_assert!(text.get(it.span.clone()).is_some(), "{:?}", it);
                }
            }
        }
    }
}
