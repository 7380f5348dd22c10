//! What expressions know: functions, filters and roots, as the page about expressions explains them.
//!
//! *Invariant:* nothing is listed here. The page is tested to have a row for each of them.

use language::nearest;

const PAGE: &str = include_str!("../../../../docs/expressions.md");

/// A row of one of the page's tables.
struct ExpressionWord {
    /// `function`, `filter` or `root`.
    is: &'static str,
    /// How it is written: `round(x)`, `round(x, digits)`.
    written: Vec<String>,
    note: String,
    /// For a root, where it is available.
    last: String,
}

/// What the page says of a name such as `now`, `upper`, `http.header` or `event.type`; empty when
/// expressions know nothing of that name.
pub(super) fn told(asked: &str) -> String {
    let name = asked.split('(').next().unwrap_or_default().trim();
    let mut found: Vec<ExpressionWord> =
        all().into_iter().filter(|word| word.is_called(name)).collect();
    // A function of this very name before the root that the name begins with.
    found.sort_by_key(|word| word.root_of(name).is_some());
    found.iter().map(|word| word.told(name)).collect::<Vec<_>>().join("\n")
}

/// What may have been meant by a name that expressions do not know.
pub(super) fn names() -> Vec<String> {
    all().iter().flat_map(|word| word.names().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The field of `event` that was meant: `event.type` for `event.typ`.
pub(super) fn similar_field(asked: &str) -> Option<String> {
    let field = asked.strip_prefix("event.")?;
    nearest(field, fields()).map(|nearest| format!("event.{nearest}"))
}

impl ExpressionWord {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.written.iter().map(|it| it.split('(').next().unwrap_or_default())
    }

    fn is_called(&self, name: &str) -> bool {
        self.names().any(|own| own == name) || self.root_of(name).is_some()
    }

    /// The root that a path such as `data.name` starts with.
    fn root_of<'n>(&self, path: &'n str) -> Option<&'n str> {
        let (root, rest) = path.split_once('.').filter(|_| self.is == "root")?;
        let first = rest.split('.').next().unwrap_or_default();
        let is_part = self.parts(root).is_none_or(|parts| parts.contains(&first));
        (is_part && self.names().any(|own| own == root)).then_some(root)
    }

    /// What a root has, where that does not depend on the file: its note begins with it.
    fn parts(&self, root: &str) -> Option<Vec<&str>> {
        let in_note = || self.note.split('`').skip(1).step_by(2).collect();
        match root {
            "event" => Some(fields().collect()),
            _ => self.note.starts_with('`').then(in_note),
        }
    }

    fn told(&self, name: &str) -> String {
        let root = self.root_of(name).unwrap_or(name);
        let written: Vec<String> = self.written.iter().map(|it| format!("`{it}`")).collect();
        let mut text = format!("{root} ({})\n\n{}: {}\n", self.is, written.join(", "), self.note);
        if self.is != "root" {
            return text + &format!("Example: {}\n", self.last);
        }
        text.push_str(&format!("Available: {}\n", self.last));
        if root == "event" {
            let names: Vec<String> = fields().map(|field| format!("`{field}`")).collect();
            text.push_str(&format!("Fields: {}\n", names.join(" ")));
        }
        // One of the field itself before others, and a short one, which is about nothing else.
        let example =
            examples().filter(|example| is_of_path(example.0, name) || is_of_path(example.0, root));
        let first = |it: &(&str, &str)| (!is_of_path(it.0, name), it.0.len());
        if let Some((shown, result)) = example.min_by_key(first) {
            text.push_str(&format!("Example: `{shown}` → `{result}`\n"));
        }
        text
    }
}

/// Whether an expression begins with this path.
fn is_of_path(shown: &str, path: &str) -> bool {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    shown.strip_prefix(path).is_some_and(|rest| !rest.starts_with(is_name))
}

/// The rows of the tables of functions, filters and roots.
fn all() -> Vec<ExpressionWord> {
    let (mut words, mut is) = (Vec::new(), None);
    for line in PAGE.lines() {
        // In a cell, a bar has a backslash.
        let line = line.replace(r"\|", "\0");
        let cells: Vec<String> =
            line.split('|').map(|cell| cell.trim().replace('\0', "|")).collect();
        let [_, first, note, last, _] = &cells[..] else {
            is = None;
            continue;
        };
        match &**first {
            "function" => is = Some("function"),
            "filter" => is = Some("filter"),
            "root" => is = Some("root"),
            _ => {}
        }
        let Some(is) = is.filter(|_| first.starts_with('`')) else { continue };
        let written = first.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        words.push(ExpressionWord { is, written, note: note.clone(), last: last.clone() });
    }
    words
}

/// The fields of `event`.
fn fields() -> impl Iterator<Item = &'static str> {
    let line = PAGE.lines().find_map(|line| line.strip_prefix("The fields of `event` are "));
    line.unwrap_or_default().split('`').skip(1).step_by(2)
}

/// The examples in the page's blocks, with their results.
fn examples() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.lines().filter_map(|line| line.split_once("  →  "))
}
