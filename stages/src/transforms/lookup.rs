//! Adds the matching row of a table the event.
//!
//! How a table file becomes rows is in [`table`](crate::table).

use crate::contract::{Addition, Adds, EnrichKind, Enricher, Kind, Local, Services};
use crate::table::{COLUMNS, Table, TableNode};
use kernel::choice;
use kernel::choice::Choice;
use kernel::event::Event;
use kernel::fault::Fault;
use language::diagnostic::Rule;
use language::expr::{Expr, Roots, Scope, TypeEnv};
use language::{Arg, Context, Fields, NodeRow, Prop, Scalar, ValueKind};
use std::sync::Arc;

const NODES: &[NodeRow] = &[
    NodeRow::new("table", "a CSV, JSON or JSONL file, and its key column")
        .examples(&[
            r#"table "tables/people.csv" key=id"#,
            r#"table "tables/rooms.csv" key=id { number limit; flag is-inside }"#,
        ])
        .args(&[Arg::one("file", ValueKind::Path)])
        .props(&[Prop::required("key", ValueKind::Text)])
        .children(&[COLUMNS])
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
        .args(&[Arg::optional("mode", ValueKind::Word(LookupMiss::WORDS))])
        .props(&[Prop::new("set", ValueKind::Expr(Roots::EVENT))])
        .default("continue"),
];

/// The kind `lookup`.
pub(super) struct Lookup {
    settings: LookupSettings,
    services: Services,
}

/// The table and how to ask it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LookupSettings {
    table: Arc<Table>,
    wanted: Expr,
    on_miss: OnMiss,
}

choice! {
    /// What becomes of an event for which there is no row.
    enum LookupMiss {
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
    End(LookupMiss),
    Set(Expr),
}

impl Kind for Lookup {
    const WORD: &'static str = "lookup";
    const SUMMARY: &'static str = "adds the matching row of a table";
    const EXAMPLE: &'static str =
        r#"enrich lookup person { table "tables/people.csv" key=id; match "data.person" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = LookupSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<LookupSettings> {
        let table = read_table(fields, context);
        let wanted = fields.child("match").and_then(|child| child.arg(0)?.expr(Roots::EVENT));
        let on_miss = read_on_miss(fields, context);
        Some(LookupSettings { table: Arc::new(table?), wanted: wanted?.value, on_miss: on_miss? })
    }
}

fn read_table(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Table> {
    let node = fields.child("table")?;
    let (path, key) = (node.arg(0)?, node.prop("key")?.text()?);
    let select = fields
        .child("select")
        .map_or_else(Vec::new, |child| child.args().filter_map(|arg| arg.text()).collect());
    TableNode { node, has_columns: true, path, key: Some(key), select }.open(context)
}

fn read_on_miss(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<OnMiss> {
    let Some(node) = fields.child("on-miss") else {
        return Some(OnMiss::End(fields.setting("on-miss").arg(0, Scalar::choice)));
    };
    match (node.arg(0), node.prop("set")) {
        (Some(mode), None) => Some(OnMiss::End(mode.choice()?)),
        (None, Some(set)) => Some(OnMiss::Set(set.expr(Roots::EVENT)?.value)),
        (mode, _) => {
            let span = mode.map_or_else(|| node.name().span, |mode| mode.span());
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

    fn decides(settings: &LookupSettings) -> bool {
        matches!(settings.on_miss, OnMiss::End(LookupMiss::Drop | LookupMiss::DeadLetter))
    }

    fn adds(settings: &LookupSettings, known: &TypeEnv) -> Adds {
        let row = settings.table.shape().clone();
        Adds::Value(match &settings.on_miss {
            OnMiss::Set(expr) => row.or(known.check(expr).shape),
            OnMiss::End(LookupMiss::Continue)
            | OnMiss::End(LookupMiss::Drop)
            | OnMiss::End(LookupMiss::DeadLetter) => row,
        })
    }

    async fn open(settings: LookupSettings, services: Services) -> Result<Enricher, Fault> {
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
            OnMiss::End(LookupMiss::Continue) => Addition::Nothing,
            OnMiss::End(LookupMiss::Drop) => Addition::Drop(why()),
            OnMiss::End(LookupMiss::DeadLetter) => Addition::DeadLetter(why()),
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
    fn columns_of_numbers_and_flags_have_their_types() {
        let table = "id,limit,zip,tag,in\n1,60,01099,7,yes\n2,-1.5,80331,,0\n3,0,10115,8,\n";
        let row = |rest: &str, who: &str| ask(rest, "f.csv", table, json!({ "who": who }));
        // The key, a column with an empty cell and one with leading zeros stay text.
        let plain = json!({ "id": "1", "limit": 60, "zip": "01099", "tag": "7", "in": "yes" });
        assert_eq!(row("", "1"), Addition::Value(plain));
        let read = |columns: &str, name: &str, table: &str| {
            let text = format!("table \"{name}\" key=id {{ {columns} }}\nmatch \"data.who\"");
            testing::read_in::<Lookup>(&text, Path::new("/x"), &[(name, table)])
        };
        let (settings, found) = read("number tag; flag in", "f.csv", table);
        assert_eq!(found, Vec::<String>::new());
        let rows = settings.unwrap().table;
        assert_eq!(rows.row("1").unwrap()["tag"], json!(7));
        assert_eq!(rows.row("1").unwrap()["in"], json!(true));
        assert_eq!(rows.row("2").unwrap()["tag"], json!(null));
        assert_eq!(rows.row("2").unwrap()["in"], json!(false));
        assert_eq!(rows.row("3").unwrap()["in"], json!(null));
        let wrong = |columns: &str, table: &str| read(columns, "f.csv", table).1.join("; ");
        assert_eq!(
            wrong("number n", "id,n\na,1\nb,many\n"),
            "E0303 `many` in the column `n` is not a number"
        );
        assert_eq!(
            wrong("flag n", "id,n\na,maybe\n"),
            "E0303 `maybe` in the column `n` is not `true` or `false`"
        );
        assert_eq!(wrong("flag m", "id,n\na,1\n"), "E0303 the table has no column `m`");
        let typed = read("number n", "f.json", r#"[{"id":"a","n":"1"},{"id":"b","n":2}]"#);
        assert_eq!(typed.0.unwrap().table.row("a").unwrap()["n"], json!(1));
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
        let headless = "E0303 the table has no header: its first line must name the columns";
        assert_eq!(found("", ""), headless);
        assert_eq!(found("", "\n\n"), headless);
        assert_eq!(found("", ",,\n"), headless);
        assert_eq!(found("", "idd,name\n"), "E0303 the table has no column `id`");
        assert_eq!(found("", "id,name\n"), "");
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
