//! Adds the matching row of a table the event.
//!
//! The table is read with the file, so `engine check` finds what is wrong in it; a reload reads
//! it again. How a table file becomes rows stands in [`table`].

mod table;
mod unique;

use crate::contract::{Addition, Adds, EnrichKind, Enricher, Kind, Local, Services};
use kernel::choice;
use kernel::choice::Choice;
use kernel::event::Event;
use kernel::fault::Fault;
use language::diagnostic::Rule;
use language::expr::{Expr, Roots, Scope, TypeEnv};
use language::spanned::Spanned;
use language::{Arg, Context, Fields, NodeRow, Prop, Scalar, ValueKind};
use std::sync::Arc;
use table::Table;

const NODES: &[NodeRow] = &[
    NodeRow::new("table", "a CSV, JSON or JSONL file, and its key column")
        .examples(&[r#"table "tables/people.csv" key=id"#])
        .args(&[Arg::one("file", ValueKind::Path)])
        .props(&[Prop::required("key", ValueKind::Text)])
        .required(),
    NodeRow::new("match", "the value to find in the key column")
        .examples(&[r#"match "data.person""#])
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
        .required(),
    NodeRow::new("select", "the columns to add")
        .examples(&["select name role"])
        .args(&[Arg::some("column", ValueKind::Text)])
        .otherwise("the whole row"),
    NodeRow::new("on-miss", "what to do when no row matches")
        .examples(&["on-miss drop", r#"on-miss set="{ 'name': 'nobody' }""#])
        .args(&[Arg::optional("mode", ValueKind::Word(Miss::WORDS))])
        .props(&[Prop::new("set", ValueKind::Expr(Roots::EVENT))])
        .default("continue"),
];

/// The kind `lookup`.
pub(super) struct Lookup {
    settings: Settings,
    services: Services,
}

/// The table and how to ask it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    table: Arc<Table>,
    wanted: Expr,
    on_miss: OnMiss,
}

choice! {
    /// What becomes of an event for which there is no row.
    enum Miss {
        /// It goes on.
        Continue = "continue",
        /// It is let go.
        Drop = "drop",
        /// It is set aside.
        DeadLetter = "dead-letter",
    }
}

#[derive(Debug, Clone, PartialEq)]
enum OnMiss {
    End(Miss),
    Set(Expr),
}

impl Kind for Lookup {
    const WORD: &'static str = "lookup";
    const SUMMARY: &'static str = "adds the matching row of a table";
    const EXAMPLE: &'static str =
        r#"enrich lookup person { table "tables/people.csv" key=id; match "data.person" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = Settings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Settings> {
        let table = read_table(fields, context);
        let wanted = fields.child("match").and_then(|it| it.arg(0)?.expr(Roots::EVENT));
        let on_miss = read_on_miss(fields, context);
        Some(Settings { table: Arc::new(table?), wanted: wanted?.value, on_miss: on_miss? })
    }
}

fn read_table(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Table> {
    let node = fields.child("table")?;
    let file = node.arg(0)?;
    let key = node.prop("key")?.text()?;
    let Some(path) = file.text() else {
        context
            .diagnostics
            .push(Rule::BadAnnotation, "the path of a table must be a literal in the file")
            .at(file.span(), "not a literal")
            .help("write its path: `table \"tables/people.csv\" key=NAME`");
        return None;
    };
    let select: Vec<_> = fields
        .child("select")
        .map_or_else(Vec::new, |it| it.args().filter_map(|it| it.text()).collect());
    let found_before = context.diagnostics.found().len();
    let table = open_table(&path, &key, &select, context);
    let found = &context.diagnostics.found()[found_before..];
    let fault = found.first().map(|finding| finding.message.clone());
    context.files.note_table(&path.value, fault);
    table
}

fn open_table(
    path: &Spanned<String>,
    key: &Spanned<String>,
    select: &[Spanned<String>],
    context: &mut Context<'_>,
) -> Option<Table> {
    match context.files.read(&path.value) {
        Ok(source) => Table::read(&source, path, key, select, context.diagnostics),
        Err(why) => {
            let neighbours = context.files.neighbours(&path.value);
            let name = path.value.rsplit('/').next().unwrap_or_default();
            let near = language::nearest(name, neighbours.iter().map(String::as_str));
            let found = context
                .diagnostics
                .push(why.rule(Rule::BadTable), format!("cannot read the table: {}", why.reason))
                .at(path.span.clone(), format!("looked for `{}`", path.value));
            found.help(match near {
                Some(near) => format!("did you mean `{near}`? Paths are relative to this file"),
                None => "paths are relative to this file".to_owned(),
            });
            None
        }
    }
}

fn read_on_miss(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<OnMiss> {
    let Some(node) = fields.child("on-miss") else {
        return Some(OnMiss::End(fields.setting("on-miss").arg(0, Scalar::choice)));
    };
    match (node.arg(0), node.prop("set")) {
        (Some(mode), None) => Some(OnMiss::End(mode.choice()?)),
        (None, Some(set)) => Some(OnMiss::Set(set.expr(Roots::EVENT)?.value)),
        (mode, _) => {
            let span = mode.map_or_else(|| node.name().span, |it| it.span());
            context
                .diagnostics
                .push(Rule::WrongArgument, "`on-miss` takes either a word or `set=`")
                .at(span, "here")
                .help("write `on-miss drop`, or `on-miss set=\"{ 'name': 'Unknown' }\"`");
            None
        }
    }
}

impl EnrichKind for Lookup {
    const IS_REMOTE: bool = false;

    fn decides(settings: &Settings) -> bool {
        matches!(settings.on_miss, OnMiss::End(Miss::Drop | Miss::DeadLetter))
    }

    fn adds(settings: &Settings, known: &TypeEnv) -> Adds {
        let row = settings.table.shape().clone();
        Adds::Value(match &settings.on_miss {
            OnMiss::Set(expr) => row.or(known.check(expr).shape),
            OnMiss::End(Miss::Continue)
            | OnMiss::End(Miss::Drop)
            | OnMiss::End(Miss::DeadLetter) => row,
        })
    }

    async fn open(settings: Settings, services: Services) -> Result<Enricher, Fault> {
        Ok(Enricher::Local(Box::new(Lookup { settings, services })))
    }
}

impl Local for Lookup {
    /// Nothing to look for is a miss.
    fn enrich(&self, event: &Event) -> Result<Addition, Fault> {
        let scope = Scope::of(event, self.services.env.clock.wall());
        let wanted = self.settings.wanted.eval(&scope);
        if !wanted.is_null()
            && let Some(row) = self.settings.table.row(&wanted.text())
        {
            return Ok(Addition::Value(row.clone()));
        }
        let why = || format!("no row of the table matches `{}`", wanted.text());
        Ok(match &self.settings.on_miss {
            OnMiss::End(Miss::Continue) => Addition::Nothing,
            OnMiss::End(Miss::Drop) => Addition::Drop(why()),
            OnMiss::End(Miss::DeadLetter) => Addition::DeadLetter(why()),
            OnMiss::Set(expr) => Addition::Value(expr.eval(&scope).to_json()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, ReadIn};
    use serde_json::json;
    use std::path::Path;

    const FACES: &str = "id,name,relation\np-1,Anna,friend\n7,Ben,\n";

    fn read(rest: &str, name: &str, table: &str) -> ReadIn<Lookup> {
        let text = format!("table \"{name}\" key=id\nmatch \"data.who\"\n{rest}");
        testing::read_in::<Lookup>(&text, Path::new("/x"), &[(name, table)])
    }

    fn ask(rest: &str, name: &str, table: &str, data: serde_json::Value) -> Addition {
        let (settings, found) = read(rest, name, table);
        assert_eq!(found, Vec::<String>::new());
        let settings = settings.unwrap();
        let adds = Lookup::adds(&settings, &TypeEnv::default());
        let opened = smol::block_on(Lookup::open(settings, testing::alone()));
        let Enricher::Local(lookup) = opened.unwrap() else { panic!("it is local") };
        let added = lookup.enrich(&testing::event(data)).unwrap();
        let Adds::Value(shape) = adds else { panic!("it adds at its own place") };
        if let Addition::Value(value) = &added {
            assert!(shape.admits(value), "{value}");
        }
        added
    }

    #[test]
    fn the_fitting_row_is_added_with_the_columns_asked_for() {
        let whole = json!({ "id": "p-1", "name": "Anna", "relation": "friend" });
        let anna = json!({ "who": "p-1" });
        assert_eq!(ask("", "f.csv", FACES, anna.clone()), Addition::Value(whole));
        let name = Addition::Value(json!({ "name": "Anna" }));
        assert_eq!(ask("select name", "f.csv", FACES, anna), name);
        let ben = Addition::Value(json!({ "name": "Ben" }));
        assert_eq!(ask("select name", "f.csv", FACES, json!({ "who": 7 })), ben);
    }

    #[test]
    fn json_tables_are_lists_maps_or_lines() {
        let expected = Addition::Value(json!({ "id": "a", "n": 1 }));
        for (name, text) in [
            ("t.json", r#"[{"id":"a","n":1},{"id":"b","n":2}]"#),
            ("t.json", r#"{"a":{"n":1},"b":{"n":2}}"#),
            ("t.jsonl", "{\"id\":\"a\",\"n\":1}\n\n{\"id\":\"b\",\"n\":2}\n"),
        ] {
            assert_eq!(ask("", name, text, json!({ "who": "a" })), expected, "{text}");
        }
    }

    #[test]
    fn a_miss_does_what_the_file_says() {
        let unnamed = ask("", "f.csv", "id,name,,\np-1,Anna,,\n", json!({ "who": "p-1" }));
        assert_eq!(unnamed, Addition::Value(json!({ "id": "p-1", "name": "Anna" })));
        let miss = |rest| ask(rest, "f.csv", FACES, json!({ "who": "p-9" }));
        assert_eq!(miss(""), Addition::Nothing);
        let why = "no row of the table matches `p-9`".to_owned();
        assert_eq!(miss("on-miss drop"), Addition::Drop(why.clone()));
        assert_eq!(miss("on-miss dead-letter"), Addition::DeadLetter(why));
        let set = "on-miss set=\"{ 'name': 'Unknown' }\"";
        assert_eq!(miss(set), Addition::Value(json!({ "name": "Unknown" })));
        let nobody = ask(set, "f.csv", FACES, json!({}));
        assert_eq!(nobody, Addition::Value(json!({ "name": "Unknown" })));
    }

    #[test]
    fn it_adds_the_columns_that_it_says() {
        let told = |rest: &str, name: &str, table: &str| {
            let settings = read(rest, name, table).0.expect("it reads");
            match Lookup::adds(&settings, &TypeEnv::default()) {
                Adds::Value(shape) => ["id", "name", "n"].map(|it| shape.has_field(it)),
                Adds::At(_) => panic!("it adds at its own place"),
            }
        };
        assert_eq!(told("", "f.csv", FACES), [true, true, false]);
        assert_eq!(told("select name", "f.csv", FACES), [false, true, false]);
        assert_eq!(told("", "f.jsonl", "{\"id\":1,\"n\":2}\n"), [true, false, true]);
        // Without a row there is nothing to go by, so nothing is declared and all is open.
        let settings = read("", "f.csv", "id,name\n").0.expect("it reads");
        let Adds::Value(shape) = Lookup::adds(&settings, &TypeEnv::default()) else { panic!() };
        assert!(shape.admits(&json!({ "id": "1", "later": "x" })));
    }

    #[test]
    fn what_is_wrong_with_a_table_is_found_by_the_check() {
        let found = |rest: &str, table: &str| read(rest, "f.csv", table).1.join("; ");
        assert_eq!(found("", "id,name\na,1\nb\n"), "E0303 line 3 of the table has 1 field, not 2");
        assert_eq!(
            found("", "id,name\na,1\na,2\n"),
            "E0303 two rows of the table have the key `a`"
        );
        assert_eq!(found("", "idd,name\na,1\n"), "E0303 the table has no column `id`");
        assert_eq!(
            found("", "id,name, name\na,1,2\n"),
            "E0303 two columns of the table are called `name`"
        );
        assert_eq!(
            found("", "id,name,\na,1,2\n"),
            "E0303 line 2 of the table has a value in a column without a name"
        );
        assert_eq!(found("select nam", FACES), "E0303 the table has no column `nam`");
        let json = read("", "f.json", "[{").1.join("; ");
        assert!(json.starts_with("E0303 the table is not JSON: "), "{json}");
        let twice = |name, text| read("", name, text).1.join("; ");
        let columns = "E0303 the table is not JSON: the name `n` occurs twice in an object";
        assert!(twice("f.json", r#"[{"id":"a","n":1,"n":2}]"#).starts_with(columns));
        assert!(twice("f.jsonl", "{\"id\":\"a\",\"n\":[{\"n\":1,\"n\":2}]}").starts_with(columns));
        let keys = "E0303 the table is not JSON: the name `a` occurs twice in an object";
        assert!(twice("f.json", r#"{"a":{"n":1},"a":{"n":2}}"#).starts_with(keys));
        let missing = testing::findings::<Lookup>("table \"g.csv\" key=id\nmatch \"data.who\"");
        assert_eq!(missing, ["E0303 cannot read the table: file not found"]);
    }
}
