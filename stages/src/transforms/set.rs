//! Adds values that templates make of the event.

use crate::contract::{Addition, Adds, EnrichKind, Enricher, Kind, Local, Services};
use kernel::event::Event;
use kernel::fault::Fault;
use language::diagnostic::Rule;
use language::expr::{Roots, Scope, Template, TypeEnv};
use language::{Arg, Context, Fields, NodeRow, ValueKind, field_path};
use std::sync::Arc;

const NODES: &[NodeRow] = &[NodeRow::new("set", "one value, at a path below `enrich`")
    .examples(&[r#"set "title" "{{ data.name }} at {{ event.subject }}""#])
    .args(&[
        Arg::one("path", ValueKind::Addition),
        Arg::one("value", ValueKind::OwnTemplate(Roots::EVENT)),
    ])
    .repeated()
    .required()];

/// The kind `set`.
pub(super) struct Set {
    values: Settings,
    services: Services,
}

/// Where each value goes, and what makes it.
pub(super) type Settings = Vec<(Arc<[String]>, Template)>;

impl Kind for Set {
    const WORD: &'static str = "set";
    const SUMMARY: &'static str = "adds values rendered from templates";
    const EXAMPLE: &'static str = r#"enrich set words { set "title" "{{ data.name }} rings" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = Settings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Settings> {
        report_into(fields, context);
        let mut values: Settings = Vec::new();
        for child in fields.children("set") {
            let path = child.arg(0)?.text()?;
            let names: Arc<[String]> = field_path(path.value.trim_start_matches("enrich."))?.into();
            let Some(value) = child.arg(1)?.template(Roots::EVENT) else {
                if child.arg(1)?.text().is_none() {
                    context
                        .diagnostics
                        .push(Rule::BadAnnotation, "a template must be a literal in the file")
                        .at(child.arg(1)?.span(), "not a literal")
                        .help("write it here: `set \"title\" \"{{ event.type }}\"`");
                }
                return None;
            };
            if values.iter().any(|value| value.0 == names) {
                context
                    .diagnostics
                    .push(Rule::SamePath, format!("`{}` is set twice", path.value))
                    .at(path.span.clone(), "the second one")
                    .help("keep one of the two");
            }
            // One of two such paths would lie inside the value of the other.
            let is_inside = |it: &(Arc<[String]>, Template)| {
                it.0.len() != names.len() && it.0.iter().zip(names.iter()).all(|(a, b)| a == b)
            };
            if let Some((other, _)) = values.iter().find(|value| is_inside(value)) {
                let message =
                    format!("`{}` and `{}` overwrite each other", other.join("."), path.value);
                context
                    .diagnostics
                    .push(Rule::SamePath, message)
                    .at(path.span, "the second one")
                    .help("give one of them another path");
            }
            values.push((names, value.value));
        }
        Some(values)
    }
}

/// Each value names its own path, so that `into` would be ignored.
fn report_into(fields: &Fields<'_>, context: &mut Context<'_>) {
    let text = |fields: Fields<'_>| fields.arg(0)?.text();
    let into = fields.takes("into").then(|| fields.child("into")).flatten();
    let Some((span, into)) = into.and_then(|it| Some((it.name().span, text(it)?))) else { return };
    let path = fields.child("set").and_then(text);
    let below = |path: &str| path.trim_start_matches("enrich.").to_owned();
    let path = path.map_or_else(|| "field".to_owned(), |path| below(&path.value));
    context
        .diagnostics
        .push(Rule::UnknownNode, "`into` has no effect on `enrich set`")
        .at(span, "each `set` names its own path")
        .help(format!("write `set \"{}.{path}\" \"…\"`", below(&into.value)));
}

impl EnrichKind for Set {
    const IS_REMOTE: bool = false;

    fn adds(settings: &Settings, known: &TypeEnv) -> Adds {
        let added = |(path, value): &(Arc<[String]>, Template)| {
            (path.clone(), known.check_template(value).0)
        };
        Adds::At(settings.iter().map(added).collect())
    }

    async fn open(settings: Settings, services: Services) -> Result<Enricher, Fault> {
        Ok(Enricher::Local(Box::new(Set { values: settings, services })))
    }
}

impl Local for Set {
    fn enrich(&self, event: &Event) -> Result<Addition, Fault> {
        let scope = Scope::of(event, self.services.env.clock.wall());
        let values = self.values.iter();
        Ok(Addition::At(
            values.map(|(path, value)| (path.clone(), value.value(&scope).to_json())).collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use serde_json::json;

    fn added(text: &str) -> Vec<(String, serde_json::Value)> {
        let settings = testing::settings::<Set>(text);
        let Adds::At(told) = Set::adds(&settings, &TypeEnv::default()) else {
            panic!("it adds at paths")
        };
        let opened = smol::block_on(Set::open(settings, testing::alone()));
        let Enricher::Local(set) = opened.unwrap() else { panic!("it is local") };
        let Ok(Addition::At(added)) = set.enrich(&testing::event(json!({ "n": 2 }))) else {
            panic!("it adds at paths")
        };
        for ((path, value), (same, shape)) in added.iter().zip(&told) {
            assert!(path == same && shape.admits(value), "{value}");
        }
        added.into_iter().map(|(path, value)| (path.join("/"), value)).collect()
    }

    #[test]
    fn a_lone_expression_keeps_its_type_and_text_around_makes_text() {
        let text = r#"set "n" "{{ data.n }}"
            set "enrich.a.b" "{{ event.subject }}: {{ data.n }} of {{ param.limit }}""#;
        let expected = vec![("n".to_owned(), json!(2)), ("a/b".to_owned(), json!("front: 2 of 3"))];
        assert_eq!(added(text), expected);
    }

    #[test]
    fn one_path_is_set_once() {
        let found = testing::findings::<Set>("set \"a\" \"1\"\nset \"enrich.a\" \"2\"");
        assert_eq!(found, ["E0206 `enrich.a` is set twice"]);
    }
}
