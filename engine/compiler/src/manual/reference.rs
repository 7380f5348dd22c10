//! The reference of every node, as Markdown.

use super::{Language, failures, rows};
use language::expr::Roots;
use language::{Arity, DefaultValue, KindRow, NodeRow, ValueKind, usage};
use std::collections::BTreeMap;

const HEAD: &str = "# Reference

Every node of a pipeline file, generated from the same table that files are checked against.
`engine schema --format markdown` prints this page, and `engine explain WORD` prints one part of it.

Parts in `[…]` are optional, and `…` after a value means that more values may follow.
A node with `{ … }` takes a block.
The [guide](guide.md#values) shows how to write values such as durations.
";

/// Rows with blocks that stood in an earlier section, by everything that they say.
#[derive(Default)]
struct SeenRows {
    section: &'static str,
    told: BTreeMap<String, &'static str>,
}

/// The whole reference.
pub fn reference(language: Language<'_>) -> String {
    let roots: Vec<String> = Roots::EVENT.names().iter().map(|name| format!("`{name}`")).collect();
    let roots =
        format!("An expression or template reads {}, unless noted otherwise.\n", roots.join(" "));
    let mut text = format!("{HEAD}{roots}");
    let mut seen = SeenRows::default();
    for row in language.top {
        seen.section = row.name;
        text.push_str(&format!("\n## {}\n\n", row.name));
        text.push_str(&top_in(language, row, &mut seen));
        for kind in language.role(row).map(|role| role.1).unwrap_or_default() {
            text.push_str(&format!("\n### {} {}\n\n", row.name, kind.word));
            text.push_str(&of_kind_in(row, &kind, &mut seen));
        }
    }
    text + &failures::section()
}

/// A node at the top, without its kinds.
pub(super) fn top(language: Language<'_>, row: &'static NodeRow) -> String {
    top_in(language, row, &mut SeenRows::default())
}

fn top_in(language: Language<'_>, row: &'static NodeRow, seen: &mut SeenRows) -> String {
    let mut text = format!("`{}`\n\n", written(row, language.role(row).is_some()));
    text.push_str(&format!("{}\n", sentence(row.note)));
    text.extend(facts(row).map(|fact| format!("{fact}\n")));
    let mut list = String::new();
    if let Some((role, kinds)) = language.role(row) {
        let shown: Vec<&str> = kinds.iter().map(|kind| kind.example).collect();
        text.extend(examples(&shown).map(|example| format!("{example}\n")));
        let words: Vec<String> = kinds.iter().map(|kind| format!("`{}`", kind.word)).collect();
        list.push_str(&format!("- *kind*: one of {}\n", words.join(" ")));
        row.args.iter().skip(1).for_each(|arg| value(&mut list, arg.name, arg.ty, "", 0));
        text.push_str(&format!("\n{list}"));
        let heading = format!("In the block of every `{}`:", role.word());
        return text + &block(&heading, row.children, seen);
    }
    values(&mut list, row, 0);
    if !list.is_empty() {
        text.push_str(&format!("\n{list}"));
    }
    text + &block("In its block:", row.children, seen)
}

/// A kind: what it does, and what may stand in its block besides what any of its role takes.
pub(super) fn of_kind(row: &NodeRow, kind: &KindRow) -> String {
    of_kind_in(row, kind, &mut SeenRows::default())
}

fn of_kind_in(row: &NodeRow, kind: &KindRow, seen: &mut SeenRows) -> String {
    let name =
        row.args.get(1).map_or_else(String::new, |arg| format!(" {}", arg.name.to_uppercase()));
    let text = format!(
        "`{} {}{name} {{ … }}`\n\n{}\nExample: `{}`.\n",
        row.name,
        kind.word,
        sentence(kind.summary),
        kind.example
    );
    let heading = format!("In its block, in addition to the nodes of every `{}`:", row.name);
    text + &block(&heading, kind.nodes, seen)
}

fn block(heading: &str, groups: &'static [&'static [NodeRow]], seen: &mut SeenRows) -> String {
    let mut list = String::new();
    rows(groups).for_each(|it| node_in(&mut list, it, 0, seen));
    if list.is_empty() { list } else { format!("\n{heading}\n\n{list}") }
}

/// A node as an item of a list, with everything below it.
pub(super) fn node(row: &'static NodeRow) -> String {
    let mut text = String::new();
    node_in(&mut text, row, 0, &mut SeenRows::default());
    text
}

/// A node that was told in an earlier section, block and all, is not told again.
fn node_in(text: &mut String, row: &'static NodeRow, depth: usize, seen: &mut SeenRows) {
    let indent = "  ".repeat(depth);
    text.push_str(&format!("{indent}- `{}`: {}\n", written(row, false), row.note));
    if !row.children.is_empty() {
        let told = format!("{row:?}");
        match seen.told.get(&told) {
            Some(section) if *section != seen.section => {
                text.push_str(&format!("{indent}  Same as [{section}](#{section}).\n"));
                return;
            }
            _ => {
                seen.told.insert(told, seen.section);
            }
        }
    }
    text.extend(facts(row).map(|fact| format!("{indent}  {fact}\n")));
    values(text, row, depth + 1);
    rows(row.children).for_each(|it| node_in(text, it, depth + 1, seen));
}

fn values(text: &mut String, row: &NodeRow, depth: usize) {
    // A flag says everything by its form.
    let is_flag = matches!(row.args, [arg] if matches!(arg.ty, ValueKind::Bool));
    for arg in row.args.iter().filter(|_| !is_flag) {
        let more = match arg.arity {
            Arity::Some | Arity::Any => ", one or more",
            Arity::One | Arity::Optional => "",
        };
        value(text, arg.name, arg.ty, more, depth);
    }
    let indent = "  ".repeat(depth);
    for prop in row.props {
        let must = if prop.required { ", required" } else { "" };
        let default = prop.default.text().map(|text| format!(", by default `{text}`"));
        let default = default.unwrap_or_default();
        text.push_str(&format!("{indent}- `{}=`: {}{must}{default}\n", prop.name, prop.ty.told()));
    }
    if let Some(ty) = row.open {
        text.push_str(&format!("{indent}- properties of any name: {}\n", ty.told()));
    }
}

fn value(text: &mut String, name: &str, ty: ValueKind, more: &str, depth: usize) {
    text.push_str(&format!("{}- *{name}*: {}{more}\n", "  ".repeat(depth), ty.told()));
}

/// How a node is written, with its block.
fn written(row: &NodeRow, is_role: bool) -> String {
    let block = if is_role || !row.children.is_empty() { " { … }" } else { "" };
    format!("{}{block}", usage(row))
}

fn facts(row: &NodeRow) -> impl Iterator<Item = String> {
    let must = row.required.then(|| "Required.".to_owned());
    let again = row.repeated.then(|| "Repeatable.".to_owned());
    let default = match row.default {
        DefaultValue::None => None,
        DefaultValue::Value(value) => Some(format!("Default: `{value}`.")),
        DefaultValue::Words(words) => Some(format!("Default: {words}.")),
    };
    must.into_iter().chain(again).chain(default).chain(examples(row.examples))
}

fn examples(texts: &[&str]) -> Option<String> {
    let texts: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
    match &texts[..] {
        [] => None,
        [one] => Some(format!("Example: {one}.")),
        _ => Some(format!("Examples: {}.", texts.join(", "))),
    }
}

/// A note as a sentence.
fn sentence(note: &str) -> String {
    let mut letters = note.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let end = if note.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}
