//! Ways into a pipeline behind a source's map: a source of its own for each message that takes one.

use compiler::cases::{InputContent, PipelineTest, TestAction, TestInput};
use compiler::plan::{Plan, SourcePlan};
use compiler::spec::Map;
use language::expr::{Expr, Roots};
use language::spanned::Spanned;

/// The name of the source that a message is given to: its own, or one made for it.
pub(super) fn door_of(given: &TestInput, number: usize) -> String {
    if given.kind.is_none() && matches!(given.content, InputContent::Message(_)) {
        return given.source.to_string();
    }
    format!("{} #{number}", given.source)
}

/// Beside each source, one for every message that comes in behind its map. Its name is none that
/// a file can write.
pub(super) fn add_doors(plan: &mut Plan, test: &PipelineTest) {
    let messages = test.steps.iter().filter_map(|step| match &step.what {
        TestAction::Give(messages) => Some(messages),
        _ => None,
    });
    for (number, given) in messages.flatten().enumerate() {
        let name = door_of(given, number);
        let Some(source) = plan.sources.iter().find(|source| source.name == given.source) else {
            continue;
        };
        if *source.name == *name {
            continue;
        }
        let own = text_of(&source.name);
        let kind = given.kind.as_deref().and_then(text_of);
        let (map, schema) = match &given.content {
            InputContent::Message(_) | InputContent::Query(_) => {
                let map = Map {
                    kind: kind.or_else(|| source.map.kind.clone()),
                    source: source.map.source.clone().or(own),
                    ..source.map.clone()
                };
                (map, source.schema.clone())
            }
            InputContent::Data(_) => {
                let data = expression("data.data");
                (Map { kind, source: own, data, ..Map::default() }, None)
            }
        };
        let door = SourcePlan {
            name: name.into(),
            schema,
            map,
            // Its route is that of the source.
            off: Some("it is a way into another source".to_owned()),
            ..source.clone()
        };
        plan.sources.push(door);
    }
}

fn expression(text: &str) -> Option<Spanned<Expr>> {
    Some(Spanned::new(Expr::parse(text, Roots::MAP).ok()?, 0..0))
}

/// A text as an expression. What is too long for one is no type either, and refused as such.
fn text_of(text: &str) -> Option<Spanned<Expr>> {
    expression(&format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")))
}
