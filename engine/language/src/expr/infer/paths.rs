//! Paths: whether anything ever stands at their end.

use super::super::node::Step;
use super::super::type_env::{EventTypes, NotYetSet, TypeEnv};
use super::super::value_type::{SchemaOrigin, ValueType};
use super::super::{PathRead, Root};
use super::Infer;
use crate::diagnostic::Rule;
use crate::nearest;
use std::ops::Range;
use std::sync::Arc;

/// The most types that are named one by one.
const TYPES_TOLD: usize = 3;

/// How deep a name is looked for that may have been meant.
const NAMES_DEEP: usize = 4;

/// Whether something stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declared {
    /// Some schema or stage says so, or nothing is known at all.
    Yes,
    /// Nothing says so, and something leaves it open. With what was probably meant.
    Open(String),
    /// Nothing can stand there. With what was probably meant.
    Never(String),
}

/// Where a path leads nowhere: how many of its steps do lead somewhere, and to what.
struct Missing {
    depth: usize,
    at: ValueType,
}

impl Infer<'_> {
    pub(super) fn path(
        &mut self,
        root: Root,
        steps: &[Step],
        span: Range<usize>,
        here: &EventTypes,
    ) -> ValueType {
        if matches!(root, Root::Title | Root::Message) && steps.is_empty() {
            return ValueType::text();
        }
        if let (Root::Http, [Step::Name(headers), Step::Name(name), ..]) = (root, steps)
            && headers == "headers"
            && name.contains(|letter: char| letter.is_ascii_uppercase())
        {
            let message = "the names in `http.headers` are in lower case".to_owned();
            let label = "it would always be null";
            if let Some(it) = self.report(here, Rule::UnknownPath, span, message, label) {
                it.help = Some(format!("write `http.header('{name}')`, which reads any case"));
            }
            return ValueType::any();
        }
        let bases = bases(self.known, root, here);
        let mut found: Option<ValueType> = None;
        let mut missing: Vec<Missing> = Vec::new();
        for base in &bases {
            match walk(base, steps) {
                Ok(shape) => found = Some(found.map_or(shape.clone(), |it| it.or(shape))),
                Err(it) => missing.push(it),
            }
        }
        match found {
            // Where one type has it and another has not, it may be missing; so may any path.
            Some(found) => found,
            None if missing.is_empty() => ValueType::any(),
            None => {
                self.unknown(root, steps, span, &missing, here);
                ValueType::any()
            }
        }
    }

    fn unknown(
        &mut self,
        root: Root,
        steps: &[Step],
        span: Range<usize>,
        missing: &[Missing],
        here: &EventTypes,
    ) {
        let shown = self.text.get(span.clone()).unwrap_or_default().to_owned();
        if let Some(later) = later(self.known, root, steps) {
            let (message, help) = (later.why.clone(), later.help.clone());
            let label = "not available yet: it would be null";
            if let Some(it) = self.report(here, Rule::NotYetThere, span, message, label) {
                it.help = Some(help);
            }
            return;
        }
        if self.may_be_there(&shown, steps, missing) {
            return;
        }
        let message = match root {
            Root::Data | Root::Item if self.known.is_message => {
                format!("`{shown}` is not in the schema of the message")
            }
            Root::Data => format!("`{shown}` is in none of the schemas for {}", told(here)),
            Root::Raw => format!("`{shown}` is in none of the schemas of messages"),
            Root::Enrich => format!("no stage adds `{shown}`"),
            Root::Param => format!("there is no `{shown}` in this file"),
            Root::Aggregate => format!("`{shown}` is not one of the aggregates"),
            _ => format!("there is no `{shown}`"),
        };
        let (help, origin) = help(root, steps, missing);
        let label = "it would always be null";
        if let Some(it) = self.report(here, Rule::UnknownPath, span, message, label) {
            (it.help, it.origin) = (Some(help), origin);
        }
    }
}

impl Infer<'_> {
    /// Whether a field that no schema lists is meant all the same: it is written as `data['name']`,
    /// the schema does not say that there are no others, and the name is neither a slip nor one that
    /// stands elsewhere.
    fn may_be_there(&self, shown: &str, steps: &[Step], missing: &[Missing]) -> bool {
        let depth = missing.iter().map(|it| it.depth).max().unwrap_or(0);
        let Some(Step::Name(name)) = steps.get(depth) else { return false };
        let is_quoted = ['\'', '"'].iter().any(|it| shown.contains(&format!("[{it}{name}{it}]")));
        let is_loose = missing.iter().any(|it| it.at.is_loose());
        let is_slip = |missing: &Missing| nearest(name, missing.at.names()).is_some();
        let is_elsewhere = || self.known.all.iter().any(|it| it.data.knows(name, NAMES_DEEP));
        is_quoted && is_loose && !missing.iter().any(is_slip) && !is_elsewhere()
    }
}

/// What the root may be; for `data`, once for each schema of the types that are here.
fn bases<'k>(known: &'k TypeEnv, root: Root, here: &'k EventTypes) -> Vec<&'k ValueType> {
    if root != Root::Data {
        return known.root(root).into_iter().collect();
    }
    let mut bases: Vec<&Arc<ValueType>> = Vec::new();
    for it in here.iter() {
        if !bases.iter().any(|known| Arc::ptr_eq(known, &it.data)) {
            bases.push(&it.data);
        }
    }
    bases.into_iter().map(|base| &**base).collect()
}

fn walk(base: &ValueType, steps: &[Step]) -> Result<ValueType, Missing> {
    let mut at = base.clone();
    for (depth, step) in steps.iter().enumerate() {
        let next = match step {
            Step::Name(name) => at.field(name).map(|field| field.0),
            Step::Index(_) => at.item(),
        };
        at = next.ok_or(Missing { depth, at })?;
    }
    Ok(at)
}

/// What stands at a path, or how many steps lead somewhere, and to what.
pub(super) fn walked(base: &ValueType, steps: &[Step]) -> Result<ValueType, (usize, ValueType)> {
    walk(base, steps).map_err(|fault| (fault.depth, fault.at))
}

/// A path of plain names, for places that are no expressions: lists are passed through.
pub(in crate::expr) fn declared(known: &TypeEnv, read: &PathRead) -> Declared {
    let mut missing = Vec::new();
    let mut is_open = false;
    for base in bases(known, read.root, &known.here) {
        let mut at = base.clone();
        let mut depth = 0;
        while let Some(name) = read.path.get(depth) {
            while let Some(items) = at.list.clone().filter(|_| at.map.is_none()) {
                at = (*items).clone();
            }
            is_open |= at.field(name).is_some() && !at.names().any(|it| it == name);
            let Some((next, _)) = at.field(name).filter(|_| at.names().any(|it| it == name)) else {
                missing.push(Missing { depth, at });
                break;
            };
            (at, depth) = (next, depth + 1);
        }
        if depth == read.path.len() {
            return Declared::Yes;
        }
    }
    // Where everything is open, nobody declares anything.
    if missing.iter().all(|it| it.at.names().next().is_none() && it.depth == 0) {
        return Declared::Yes;
    }
    // What comes from outside is open, and only what is made here is known.
    let is_of_schema = |missing: &Missing| 0 < missing.depth || missing.at.has_origin();
    let is_unknown = |base: &&ValueType| base.names().next().is_none();
    let has_unknown = bases(known, read.root, &known.here).iter().any(is_unknown);
    if has_unknown && !missing.iter().any(is_of_schema) {
        return Declared::Yes;
    }
    let steps: Vec<Step> = read.path.iter().cloned().map(Step::Name).collect();
    let (help, _) = help(read.root, &steps, &missing);
    // There is no `get` in a plain path.
    let help = help.split(". `get(").next().unwrap_or_default().to_owned();
    if is_open { Declared::Open(help) } else { Declared::Never(help) }
}

fn root_name(root: Root) -> &'static str {
    Root::ALL.iter().find(|it| it.0 == root).map_or("", |it| it.1)
}

/// What is added later at this path, or above or below it.
fn later<'k>(known: &'k TypeEnv, root: Root, steps: &[Step]) -> Option<&'k NotYetSet> {
    if root != Root::Enrich {
        return None;
    }
    let names: Vec<&str> = steps
        .iter()
        .map_while(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Index(_) => None,
        })
        .collect();
    known.later.iter().find(|it| it.path.iter().zip(&names).all(|(a, b)| a == b))
}

/// The types in words: `a`, `b` and `c`, or how many.
pub(super) fn told(here: &EventTypes) -> String {
    let names: Vec<String> = here.iter().map(|it| format!("`{}`", it.kind)).collect();
    match names.as_slice() {
        [] => "any event".to_owned(),
        [only] => only.clone(),
        [first @ .., last] if names.len() <= TYPES_TOLD => {
            format!("{} and {last}", first.join(", "))
        }
        all => format!("the {} event types that arrive here", all.len()),
    }
}

/// What to write instead, and where that is declared.
fn help(root: Root, steps: &[Step], missing: &[Missing]) -> (String, Option<Arc<SchemaOrigin>>) {
    let depth = missing.iter().map(|it| it.depth).max().unwrap_or(0);
    let deepest = || missing.iter().filter(|it| it.depth == depth).map(|it| &it.at);
    let before = shown(root, &steps[..depth]);
    let Some(Step::Name(name)) = steps.get(depth) else {
        let sort = deepest().next().map(ValueType::told_in_a_sentence).unwrap_or_default();
        return (format!("`{before}` is {sort}, not a list"), None);
    };
    let names: Vec<&str> = deepest().flat_map(ValueType::names).collect();
    if root == Root::Aggregate && depth == 0 && nearest(name, names.iter().copied()).is_none() {
        return (format!("the aggregates are: {}", names.join(", ")), None);
    }
    let opts_out = match root {
        Root::Data | Root::Raw | Root::Item | Root::Enrich => {
            format!(". `get({before}, '{name}')` reads an undeclared field")
        }
        _ => String::new(),
    };
    if let Some(near) = nearest(name, names.iter().copied()) {
        let field =
            deepest().find_map(|it| it.field(near).filter(|_| it.names().any(|name| name == near)));
        let (shape, origin) = field.unwrap_or((ValueType::any(), None));
        // The frame below has the whole path; here it would only break the line.
        let from = origin.as_ref().map(|origin| {
            let name = origin.source.name.rsplit('/').next().unwrap_or_default();
            format!("; from {name}")
        });
        let sort = if shape.is_any() { String::new() } else { shape.told() };
        let told = format!("{sort}{}", from.unwrap_or_default());
        let told = told.trim_start_matches("; ");
        let told = if told.is_empty() { String::new() } else { format!(" ({told})") };
        let near = shown(root, &[&steps[..depth], &[Step::Name(near.to_owned())]].concat());
        return (format!("did you mean `{near}`?{told}{opts_out}"), origin);
    }
    // `enrich.NAME.field`, where the stage adds to `enrich` itself.
    if let (Root::Enrich, 0, Some(Step::Name(inner))) = (root, depth, steps.get(1))
        && names.contains(&inner.as_str())
    {
        let help = format!(
            "did you mean `enrich.{inner}`? Not every stage adds its result under its own name"
        );
        return (help, None);
    }
    let is_list = deepest().any(|it| it.list.is_some());
    let help = match names.is_empty() {
        true if depth == 0 && brought_by(root).is_some() => {
            brought_by(root).unwrap_or_default().to_owned()
        }
        true if is_list && matches!(name.as_str(), "length" | "size" | "count" | "len") => {
            format!("write `len({before})`")
        }
        true if is_list => {
            format!("`{before}` is a list: `{before}[0].{name}` reads its first item")
        }
        true if root == Root::Param => format!("add `param {} VALUE`", name.replace('_', "-")),
        true if root == Root::Enrich && depth == 0 => "no stage runs before this place".to_owned(),
        true => {
            let sort = deepest().next().map(ValueType::told_in_a_sentence).unwrap_or_default();
            format!("`{before}` is {sort}: it has no fields")
        }
        false => {
            let mut names = names;
            names.sort_unstable();
            names.dedup();
            let rest = if 16 < names.len() { ", …" } else { "" };
            names.truncate(16);
            format!("`{before}` has: {}{rest}{opts_out}", names.join(", "))
        }
    };
    (help, None)
}

/// Which sources bring what a root of `map` reads.
fn brought_by(root: Root) -> Option<&'static str> {
    Some(match root {
        Root::Http => "only messages of `source http` come with a request",
        Root::Mqtt => "only messages of `source mqtt` have a topic",
        Root::File => {
            "only messages of `source file`, `source exec` and `source stdin` have a place in a file"
        }
        _ => return None,
    })
}

fn shown(root: Root, steps: &[Step]) -> String {
    let mut text = root_name(root).to_owned();
    for step in steps {
        match step {
            Step::Name(name) => {
                text.push_str(if text.is_empty() { "" } else { "." });
                text.push_str(name);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}
