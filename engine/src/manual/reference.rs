//! The reference of every node, as Markdown.

use super::{Language, rows};
use stages::language::{Arity, KindRow, Node, Type, usage};

const HEAD: &str = "# Reference

Every node that a pipeline file may have, out of the table by which files are checked and read.
`engine schema --format markdown` writes this page, `engine explain WORD` a part of it.

What stands in `[…]` may be left out, and `…` behind a value says that more may follow.
A node with `{ … }` takes a block.
How values such as durations are written is told in the [guide](guide.md#values).
";

/// The whole reference.
pub fn reference(language: Language<'_>) -> String {
    let mut text = HEAD.to_owned();
    for row in language.top {
        text.push_str(&format!("\n## {}\n\n", row.name));
        text.push_str(&top(language, row));
        for kind in language.role(row).map(|it| it.1).unwrap_or_default() {
            text.push_str(&format!("\n### {} {}\n\n", row.name, kind.word));
            text.push_str(&of_kind(row, &kind));
        }
    }
    text
}

/// A node at the top, without its kinds.
pub(super) fn top(language: Language<'_>, row: &'static Node) -> String {
    let mut text = format!("`{}`\n\n", written(row, language.role(row).is_some()));
    text.push_str(&format!("{}\n", sentence(row.note)));
    text.extend(facts(row).map(|it| format!("{it}\n")));
    let mut list = String::new();
    if let Some((role, kinds)) = language.role(row) {
        let words: Vec<String> = kinds.iter().map(|it| format!("`{}`", it.word)).collect();
        list.push_str(&format!("- *kind*: one of {}\n", words.join(" ")));
        row.args.iter().skip(1).for_each(|it| value(&mut list, it.name, it.ty, "", 0));
        text.push_str(&format!("\n{list}"));
        return text + &block(&format!("In the block of any `{}`:", role.word()), row.children);
    }
    values(&mut list, row, 0);
    if !list.is_empty() {
        text.push_str(&format!("\n{list}"));
    }
    text + &block("In its block:", row.children)
}

/// A kind: what it does, and what may stand in its block besides what any of its role takes.
pub(super) fn of_kind(row: &Node, kind: &KindRow) -> String {
    let name =
        row.args.get(1).map_or_else(String::new, |it| format!(" {}", it.name.to_uppercase()));
    let text =
        format!("`{} {}{name} {{ … }}`\n\n{}\n", row.name, kind.word, sentence(kind.summary));
    let heading = format!("In its block, besides what any `{}` takes:", row.name);
    text + &block(&heading, kind.nodes)
}

fn block(heading: &str, groups: &'static [&'static [Node]]) -> String {
    let mut list = String::new();
    rows(groups).for_each(|it| node(&mut list, it, 0));
    if list.is_empty() { list } else { format!("\n{heading}\n\n{list}") }
}

/// A node as an item of a list, with everything below it.
pub(super) fn node(text: &mut String, row: &'static Node, depth: usize) {
    let indent = "  ".repeat(depth);
    text.push_str(&format!("{indent}- `{}`: {}\n", written(row, false), row.note));
    text.extend(facts(row).map(|it| format!("{indent}  {it}\n")));
    values(text, row, depth + 1);
    rows(row.children).for_each(|it| node(text, it, depth + 1));
}

fn values(text: &mut String, row: &Node, depth: usize) {
    // A flag says everything by its form.
    let is_flag = matches!(row.args, [arg] if matches!(arg.ty, Type::Bool));
    for arg in row.args.iter().filter(|_| !is_flag) {
        let more = match arg.arity {
            Arity::Some | Arity::Any => ", and more of them",
            Arity::One | Arity::Optional => "",
        };
        value(text, arg.name, arg.ty, more, depth);
    }
    let indent = "  ".repeat(depth);
    for prop in row.props {
        let must = if prop.required { ", must stand" } else { "" };
        text.push_str(&format!("{indent}- `{}=`: {}{must}\n", prop.name, prop.ty.told()));
    }
    if let Some(ty) = row.open {
        text.push_str(&format!("{indent}- properties of any name: {}\n", ty.told()));
    }
}

fn value(text: &mut String, name: &str, ty: Type, more: &str, depth: usize) {
    text.push_str(&format!("{}- *{name}*: {}{more}\n", "  ".repeat(depth), ty.told()));
}

/// How a node is written, with its block.
fn written(row: &Node, is_role: bool) -> String {
    let block = if is_role || !row.children.is_empty() { " { … }" } else { "" };
    format!("{}{block}", usage(row))
}

fn facts(row: &Node) -> impl Iterator<Item = String> {
    let must = row.required.then(|| "It must stand.".to_owned());
    let again = row.repeated.then(|| "It may stand again.".to_owned());
    let default = (!row.default.is_empty()).then(|| format!("Without it: {}.", row.default));
    must.into_iter().chain(again).chain(default)
}

/// A note as a sentence.
fn sentence(note: &str) -> String {
    let mut letters = note.chars();
    let first = letters.next().map(|it| it.to_uppercase().to_string()).unwrap_or_default();
    let end = if note.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}
