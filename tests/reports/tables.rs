//! Tables as spreadsheets write them.

use super::{Site, pipeline, stored, until_added, until_stale};
use crate::support::{engine, root};
use serde_json::json;
use std::io::Write;

fn lookup() -> String {
    pipeline("enrich lookup who { table \"people.csv\" key=id; match \"data.who\" }")
}

#[test]
fn what_spreadsheets_export_is_read() {
    for (what, table, who, name) in [
        ("plain", "id,name\na,Anna\n", json!("a"), "Anna"),
        ("line ends of Windows", "id,name\r\na,Anna\r\n", json!("a"), "Anna"),
        ("no line end at the end", "id,name\r\na,Anna", json!("a"), "Anna"),
        ("a byte order mark", "\u{feff}id,name\r\na,Anna\r\n", json!("a"), "Anna"),
        (
            "quotes",
            "\"id\",\"name\"\na,\"Anna \"\"A\"\", the\r\nfirst\"\n",
            json!("a"),
            "Anna \"A\", the\r\nfirst",
        ),
        ("blank lines", "id,name\na,Anna\n\n\n", json!("a"), "Anna"),
        ("a number", "id,name\n7,Anna\n", json!(7), "Anna"),
    ] {
        let site = Site::new();
        site.write("pipelines/people.csv", table);
        let engine = site.start(&lookup());
        let event = json!({ "type": "t", "who": who }).to_string();
        assert_eq!(stored(&engine, &event)["enrich"]["who"]["name"], name, "{what}");
    }
}

#[test]
fn a_table_that_is_not_right_is_refused_at_its_place() {
    for (table, reason) in [
        ("id;name\na;Anna\n", "no column `id`"),
        ("id,name\na,Anna\na,Ana\n", "two rows of the table have the key `a`"),
        ("id,name,name\na,Anna,Other\n", "two columns of the table are called `name`"),
        ("id,name\na,Anna\nb\n", "line 3 of the table has 1 field, not 2"),
    ] {
        let site = Site::new();
        site.write("pipelines/people.csv", table);
        site.write("pipelines/small.kdl", lookup());
        let file = site.file();
        let answer = engine(&root(), &["check", file.to_str().expect("UTF-8")], "");
        assert_eq!(answer.code, 1, "{}", answer.error);
        let told = format!("{}{}", answer.output, answer.error);
        assert!(told.contains(reason), "{reason:?} in {told}");
    }
}

#[test]
fn a_table_is_taken_once_it_is_whole_and_one_with_a_mistake_changes_nothing() {
    let site = Site::new();
    site.write("pipelines/people.csv", "id,name\na,old\n");
    let engine = site.start(&lookup());
    until_added(&engine, &["\"old\""]);
    let path = site.path("pipelines/people.csv");
    let mut file = std::fs::File::create(&path).expect("it is begun again");
    // Cut off within a row: no table yet.
    file.write_all(b"id,name\nx,new-x\na").expect("it is written");
    until_stale(&engine);
    until_added(&engine, &["\"old\""]);
    file.write_all(b",new\n").expect("it is written");
    until_added(&engine, &["\"new\""]);
    site.write("pipelines/people.csv", "id,name\nq\n");
    until_stale(&engine);
    until_added(&engine, &["\"new\""]);
}
