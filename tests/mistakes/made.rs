//! The mistakes that people make, at every place of a file where they can be made.

use compiler::grammar::TOP;
use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};
use language::{Arity, Kinds, NodeRole, NodeRow, ValueKind, nearest};
use stages::catalog::Catalog;
use std::collections::BTreeMap;
use std::ops::Range;

/// A mistake: what is written instead, and where the file says so.
#[derive(Debug, Clone)]
pub(super) struct Mistake {
    pub(super) what: String,
    edits: Vec<(Range<usize>, String)>,
    /// The bytes of the right file whose lines a finding may name.
    place: Range<usize>,
    /// The top node that it is made in.
    top: usize,
    /// It changes how the rest of the file is read, so it comes alone.
    is_alone: bool,
}

impl Mistake {
    pub(super) fn goes_with(&self, other: &Mistake) -> bool {
        self.top != other.top && !self.is_alone && !other.is_alone
    }

    /// Whether both are in one top node, on lines of their own.
    pub(super) fn goes_beside(&self, other: &Mistake, right: &str) -> bool {
        let lines = |mistake: &Mistake| {
            let edits = mistake.edits.iter().map(|edit| &edit.0).chain([&mistake.place]);
            let (start, end) = edits.fold((usize::MAX, 0), |all, mistake| {
                (all.0.min(mistake.start), all.1.max(mistake.end))
            });
            let line = |at: usize| right[..at.min(right.len())].matches('\n').count();
            line(start)..=line(end)
        };
        let (own, others) = (lines(self), lines(other));
        let is_apart = own.end() < others.start() || others.end() < own.start();
        self.top == other.top && is_apart && !self.is_alone && !other.is_alone
    }

    /// The lines of its place in the text with these mistakes.
    pub(super) fn lines(&self, right: &str, all: &[&Mistake]) -> Range<usize> {
        let line = |at: usize| {
            let before = right[..at].matches('\n').count();
            let edits = all.iter().flat_map(|it| &it.edits).filter(|it| it.0.end <= at);
            let moved: isize = edits
                .map(|(span, text)| {
                    let lines =
                        |text: &str| isize::try_from(text.matches('\n').count()).unwrap_or(0);
                    lines(text) - lines(&right[span.clone()])
                })
                .sum();
            before.saturating_add_signed(moved)
        };
        let added: usize = self.edits.iter().map(|edit| edit.1.matches('\n').count()).sum();
        line(self.place.start)..line(self.place.end) + added + 1
    }
}

/// The text with these mistakes.
pub(super) fn with(right: &str, mistakes: &[&Mistake]) -> String {
    let mut edits: Vec<&(Range<usize>, String)> =
        mistakes.iter().flat_map(|mistake| &mistake.edits).collect();
    edits.sort_by_key(|edit| std::cmp::Reverse(edit.0.start));
    let mut text = right.to_owned();
    for (span, new) in edits {
        text.replace_range(span.clone(), new);
    }
    text
}

/// The repaired text with every mistake that still stands in it as it was put right: each line
/// that no repair has changed is as in the right file.
pub(super) fn undone(fixed: &str, wrong: &str, right: &str, mistakes: &[&Mistake]) -> String {
    let mut text = fixed.to_owned();
    for mistake in mistakes {
        let others: Vec<&Mistake> =
            mistakes.iter().copied().filter(|it| it.what != mistake.what).collect();
        let without = with(right, &others);
        // The others beside it may have been put right or not.
        let alone = with(right, &[mistake]);
        let ways = [
            apart(wrong, &without, 2),
            apart(&alone, right, 2),
            apart(wrong, &without, 0),
            apart(&alone, right, 0),
        ];
        for (own, meant) in ways {
            if !own.is_empty() && own != meant && text.matches(own).count() == 1 {
                text = text.replace(own, meant);
                break;
            }
        }
    }
    text
}

/// The lines in which two texts differ, in each, with so many lines before and behind, so that they
/// are found again.
fn apart<'t>(one: &'t str, other: &'t str, around: usize) -> (&'t str, &'t str) {
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let start = one[..(0..=same).rev().find(|it| one.is_char_boundary(*it)).unwrap_or(0)]
        .rfind('\n')
        .map_or(0, |it| it + 1);
    let start = (0..around)
        .fold(start, |at, _| one[..at.saturating_sub(1)].rfind('\n').map_or(0, |it| it + 1));
    let (one, other) = (&one[start..], &other[start..]);
    let same = one.bytes().rev().zip(other.bytes().rev()).take_while(|(a, b)| a == b).count();
    let end = one.len() - same;
    let behind = |at: usize| one[at..].find('\n').map_or(one.len(), |it| at + it + 1);
    let end = (0..=around).fold(end, |at, _| behind(at));
    (&one[..end], &other[..other.len() - (one.len() - end)])
}

struct Maker<'t> {
    text: &'t str,
    catalog: Catalog,
    top: usize,
    /// Where the top node ends.
    top_end: usize,
    made: BTreeMap<&'static str, Vec<Mistake>>,
}

/// Every mistake that can be made in a right file, by its sort.
pub(super) fn every_mistake(text: &str) -> BTreeMap<&'static str, Vec<Mistake>> {
    let document = KdlDocument::parse_v2(text).expect("it is KDL");
    let mut maker =
        Maker { text, catalog: Catalog::built_in(), top: 0, top_end: 0, made: BTreeMap::new() };
    for (top, node) in document.nodes().iter().enumerate() {
        maker.top = top;
        maker.top_end = range(node.span()).end;
        maker.node(node, &[TOP], None);
    }
    maker.made
}

fn range(span: miette::SourceSpan) -> Range<usize> {
    span.offset()..span.offset() + span.len()
}

/// A word with a slip of the finger in it, which is no other of the words.
fn slip(word: &str, known: &[&str]) -> Option<String> {
    let chars: Vec<char> = word.chars().collect();
    (1..chars.len().saturating_sub(1)).find_map(|at| {
        let mut other = chars.clone();
        other.swap(at, at + 1);
        let other: String = other.into_iter().collect();
        let is_near = nearest(&other, known.iter().copied()) == Some(word);
        (4 <= word.len() && other != word && !known.contains(&other.as_str()) && is_near)
            .then_some(other)
    })
}

impl Maker<'_> {
    fn make(
        &mut self,
        sort: &'static str,
        place: Range<usize>,
        span: Range<usize>,
        text: impl Into<String>,
    ) {
        self.make_all(sort, place, vec![(span, text.into())], false);
    }

    fn make_all(
        &mut self,
        sort: &'static str,
        place: Range<usize>,
        edits: Vec<(Range<usize>, String)>,
        is_alone: bool,
    ) {
        let line = self.text[..place.start].matches('\n').count() + 1;
        let new: Vec<&str> = edits.iter().map(|edit| edit.1.trim()).collect();
        let what = format!("{sort} in line {line}, now `{}`", new.join("` and `"));
        let mistake = Mistake { what, edits, place, top: self.top, is_alone };
        self.made.entry(sort).or_default().push(mistake);
    }

    fn node(&mut self, node: &KdlNode, groups: &[&'static [NodeRow]], above: Option<&KdlNode>) {
        let name = range(node.name().span());
        let rows = || groups.iter().flat_map(|group| group.iter());
        let Some(row) = rows().find(|row| row.name == node.name().value()) else { return };
        let known: Vec<&str> = rows().map(|row| row.name).collect();
        if let Some(it) = slip(row.name, &known) {
            self.make("a name of a node with a slip", name.clone(), name.clone(), it);
        }
        self.make("a colon behind a name", name.clone(), name.end..name.end, ":");
        let mut inside: Vec<&'static [NodeRow]> = row.children.to_vec();
        let role = NodeRole::ALL.into_iter().find(|it| above.is_none() && it.word() == row.name);
        if let Some(role) = role {
            inside.extend(self.role(node, role));
        }
        let arguments: Vec<&KdlEntry> =
            node.entries().iter().filter(|entry| entry.name().is_none()).collect();
        for (index, entry) in arguments.iter().enumerate() {
            let last = row.args.last().filter(|arg| matches!(arg.arity, Arity::Some | Arity::Any));
            let Some(arg) = row.args.get(index).or(last) else { continue };
            if role.is_none() || 0 < index {
                self.value(entry, arg.ty, row);
            }
        }
        for entry in node.entries() {
            let Some(prop) = row
                .props
                .iter()
                .find(|prop| entry.name().is_some_and(|name| name.value() == prop.name))
            else {
                continue;
            };
            self.value(entry, prop.ty, row);
            self.property(node, entry, row, prop.required);
        }
        self.arguments(node, row, &arguments);
        self.whole(node, row, above);
        let children = node.children().map(KdlDocument::nodes).unwrap_or_default();
        for pair in children.windows(2) {
            let is_one = pair.iter().all(|it| it.children().is_none() && !it.entries().is_empty());
            let last = pair[0].entries().last().map(|entry| range(entry.span()));
            let (Some(last), begin) = (last, range(pair[1].name().span()).start) else { continue };
            let between = &self.text[last.end..begin];
            let is_list = rows_of(&inside, pair[0].name().value()).is_none_or(|it| {
                it.args.last().is_none_or(|arg| !matches!(arg.arity, Arity::One))
                    || last_is_text(it)
            });
            if is_one && between.trim().is_empty() && !is_list {
                self.make("two nodes on one line", last.clone(), last.end..begin, " ");
            }
        }
        for child in children {
            self.node(child, &inside, Some(node));
        }
    }

    /// The nodes of the kind; its mistakes.
    fn role(&mut self, node: &KdlNode, role: NodeRole) -> Vec<&'static [NodeRow]> {
        let kinds = self.catalog.kinds(role);
        let [kind, name, ..] = node.entries() else { return Vec::new() };
        let words: Vec<&str> = kinds.iter().map(|kind| kind.word).collect();
        let word = kind.value().as_string().unwrap_or_default();
        let (one, other) = (range(kind.span()), range(name.span()));
        if let Some(it) = slip(word, &words) {
            self.make("a kind with a slip", one.clone(), one.clone(), it);
        }
        let named = name.value().as_string().unwrap_or_default();
        if !words.contains(&named) {
            let edits = vec![(one.clone(), named.to_owned()), (other.clone(), word.to_owned())];
            self.make_all("kind and name swapped", one.clone(), edits, false);
        }
        self.make("a name left out", one.clone(), one.end..other.end, "");
        kinds
            .iter()
            .find(|kind| kind.word == word)
            .map(|kind| kind.nodes.to_vec())
            .unwrap_or_default()
    }

    fn property(&mut self, node: &KdlNode, entry: &KdlEntry, row: &NodeRow, is_required: bool) {
        let Some(name) = entry.name() else { return };
        let span = range(name.span());
        let known: Vec<&str> = row.props.iter().map(|prop| prop.name).collect();
        if let Some(it) = slip(name.value(), &known) {
            self.make("a name of a property with a slip", span.clone(), span.clone(), it);
        }
        let whole = range(entry.span());
        if is_required && row.args.is_empty() && node.entries().len() == 1 {
            self.make("a property without its name", whole.clone(), whole.start..span.end + 1, "");
        }
        if is_required {
            let before = self.text[..whole.start].trim_end_matches([' ', '\t', '\\', '\n']).len();
            self.make("a property left out", range(node.name().span()), before..whole.end, "");
        }
        let again = format!(" {}", &self.text[whole.clone()]);
        self.make("a property twice", whole.clone(), whole.end..whole.end, again);
        self.make("a colon in a property", span.clone(), span.end..span.end + 1, ": ");
    }

    fn arguments(&mut self, node: &KdlNode, row: &NodeRow, given: &[&KdlEntry]) {
        let name = range(node.name().span());
        let Some(last) = given.last().map(|it| range(it.span())) else { return };
        let takes_more =
            row.args.last().is_some_and(|arg| matches!(arg.arity, Arity::Some | Arity::Any));
        if !takes_more && row.args.len() == given.len() && !last_is_text(row) {
            self.make("an argument too many", last.clone(), last.end..last.end, " 7");
        }
        if let ([arg], [only], true) = (row.args, given, node.entries().len() == 1)
            && matches!(arg.arity, Arity::One | Arity::Some)
        {
            let span = range(only.span());
            self.make("an argument left out", name.clone(), name.end..span.end, "");
            if node.children().is_none() {
                self.make("an equals sign behind a name", name.clone(), name.end..name.end, " =");
            }
        }
        if let (2, [first, second]) = (row.args.len(), given)
            && row.name == "header"
        {
            let (one, other) = (range(first.span()), range(second.span()));
            self.make("a name as a property", one.clone(), one.end..other.start, "=");
        }
        let is_list = takes_more && row.args.len() == 1 && 1 < given.len();
        if is_list && node.entries().len() == given.len() {
            let words: Vec<&str> = given.iter().map(|it| &self.text[range(it.span())]).collect();
            let span = range(given[0].span()).start..last.end;
            self.make("commas", span.clone(), span.clone(), words.join(", "));
            self.make("brackets", span.clone(), span.clone(), format!("[{}]", words.join(", ")));
            self.make("parentheses", span.clone(), span, format!("({})", words.join(", ")));
        }
    }

    fn whole(&mut self, node: &KdlNode, row: &NodeRow, above: Option<&KdlNode>) {
        let (name, whole) = (range(node.name().span()), range(node.span()));
        let written = self.text[whole.clone()].trim_end().to_owned();
        let end = whole.start + written.len();
        let is_line = !written.contains('\n') && !written.contains("//");
        if !row.repeated && is_line && above.is_some() {
            let again = format!("\n{written}");
            self.make("a node twice", name.clone(), end..end, again);
        }
        if let Some(above) = above.filter(|_| row.required && is_line) {
            self.make("a node left out", range(above.name().span()), whole.start..end, "");
        }
        let closes = self.text[..end].ends_with('}') && written.contains('\n');
        if closes && node.children().is_some() {
            let open = whole.start + written.find('{').unwrap_or(0);
            self.make_all(
                "a block without its end",
                name.start..open,
                vec![(end - 1..end, String::new())],
                true,
            );
            self.make_all(
                "a brace too many",
                name.start..end,
                vec![(end..end, " }".to_owned())],
                true,
            );
            let until = self.top_end;
            if let Some(it) = self.made.get_mut("a brace too many").and_then(|it| it.last_mut()) {
                it.place.end = until;
            }
        }
        if is_line
            && node.entries().len() == 1
            && node.children().is_none()
            && above.is_some_and(is_role)
        {
            let entry = &node.entries()[0];
            let above =
                above.map(|it| it.entries().iter().map(|entry| range(entry.span()).end).max());
            let (Some(Some(head)), None, true) = (above, entry.name(), entry.ty().is_none()) else {
                return;
            };
            let value = &self.text[range(entry.span())];
            let property = format!(" {}={value}", row.name);
            let edits = vec![(head..head, property), (whole.start..end, String::new())];
            let one = row.args.len() == 1 && !row.repeated;
            if one {
                self.make_all("a child as a property", head..head, edits, false);
            }
        }
    }

    fn value(&mut self, entry: &KdlEntry, ty: ValueKind, row: &NodeRow) {
        if let Some(annotation) = entry.ty() {
            let span = range(annotation.span());
            if let Some(it) = slip(annotation.value(), &["env", "file", "param"]) {
                self.make("an annotation with a slip", span.clone(), span.clone(), it);
            }
            if annotation.value() == "env" {
                self.make("an annotation with a slip", span.clone(), span.clone(), "evn");
            }
            return;
        }
        let whole = range(entry.span());
        let written = entry.format().map_or("", |it| it.value_repr.as_str());
        let span = whole.end - written.len()..whole.end;
        let inner = written.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        let inner = inner.filter(|inner| !inner.contains(['\n', '"', '\\']) && !inner.is_empty());
        match (ty, entry.value()) {
            (ValueKind::Word(words), KdlValue::String(word)) => {
                if let Some(it) = slip(word, words) {
                    self.make("a word with a slip", span.clone(), span.clone(), it);
                }
                let upper = word.to_uppercase();
                self.make("a word in capitals", span.clone(), span.clone(), upper);
            }
            (ValueKind::Zone, KdlValue::String(word)) => {
                let other = word.replace("Berlin", "Berlni");
                self.make("a zone with a slip", span.clone(), span.clone(), format!("\"{other}\""));
            }
            (ValueKind::Bool, KdlValue::Bool(it)) => {
                self.make("a bare true or false", span.clone(), span.clone(), it.to_string());
            }
            (ValueKind::Ref, KdlValue::String(word)) => {
                self.make("an unknown name", span.clone(), span.clone(), format!("{word}-x"));
            }
            (ValueKind::Int(least, _), KdlValue::Integer(it)) => {
                self.make("a number in quotes", span.clone(), span.clone(), format!("\"{it}\""));
                self.make("a word for a number", span.clone(), span.clone(), "many");
                if 0 <= least {
                    self.make("a number out of range", span.clone(), span.clone(), "-3");
                }
            }
            _ => self.long_value(&span, entry.value(), (ty, row), inner.is_some()),
        }
        let raw =
            written.strip_prefix("#\"").filter(|it| !it.contains('\n') && it.ends_with("\"#"));
        if raw.is_some() {
            self.make("a raw text of version 1", span.clone(), span.clone(), format!("r{written}"));
        }
        if let Some(inner) = inner {
            if !inner.contains(['\'', '{']) {
                self.make(
                    "a raw text of version 1",
                    span.clone(),
                    span.clone(),
                    format!("r\"{inner}\""),
                );
            }
            self.quotes(&span, inner);
        }
    }

    /// Durations, expressions, templates and paths.
    fn long_value(
        &mut self,
        span: &Range<usize>,
        value: &KdlValue,
        (ty, row): (ValueKind, &NodeRow),
        is_plain: bool,
    ) {
        match (ty, value) {
            (
                ValueKind::Duration(..) | ValueKind::Bytes(..) | ValueKind::Rate,
                KdlValue::String(it),
            ) => {
                self.make(
                    "a number with a unit and no quotes",
                    span.clone(),
                    span.clone(),
                    it.clone(),
                );
                self.make("an unknown unit", span.clone(), span.clone(), "\"5 parsecs\"");
                let digits: String = it.chars().take_while(char::is_ascii_digit).collect();
                self.make("a number without a unit", span.clone(), span.clone(), digits.clone());
                if matches!(ty, ValueKind::Duration(..)) {
                    self.make(
                        "an ambiguous unit",
                        span.clone(),
                        span.clone(),
                        format!("\"{digits}M\""),
                    );
                    let unit = it.trim_start_matches(|letter: char| letter.is_ascii_digit());
                    let long =
                        format!("\"{digits} {}\"", if unit == "s" { "seconds" } else { unit });
                    if row.name != "keep" || unit != "s" {
                        self.make("a unit as in a sentence", span.clone(), span.clone(), long);
                    }
                }
            }
            (ValueKind::Expr(_), KdlValue::String(it)) if is_plain => self.expression(span, it),
            (ValueKind::Template(_), KdlValue::String(it)) if is_plain => self.template(span, it),
            (
                ValueKind::Path | ValueKind::Url | ValueKind::BrokerUrl | ValueKind::Socket,
                KdlValue::String(it),
            ) if is_plain => {
                if let Some(name) = it.strip_suffix(".json") {
                    self.make(
                        "a file that is not there",
                        span.clone(),
                        span.clone(),
                        format!("\"{name}x.json\""),
                    );
                }
                if it.starts_with('/') || it.starts_with("..") {
                    self.make("a path without quotes", span.clone(), span.clone(), it.clone());
                }
                self.make("a number for a text", span.clone(), span.clone(), "12");
            }
            _ => {}
        }
    }

    fn quotes(&mut self, span: &Range<usize>, inner: &str) {
        let line_end = self.text[span.end..].find('\n').map_or(self.text.len(), |it| span.end + it);
        let is_last = self.text[span.end..line_end].trim().is_empty();
        if is_last {
            self.make("a text without its end", span.clone(), span.end - 1..span.end, "");
        }
        if !inner.contains('\'') {
            self.make("single quotes", span.clone(), span.clone(), format!("'{inner}'"));
        }
        self.make("printed quotes", span.clone(), span.clone(), format!("“{inner}”"));
    }

    fn expression(&mut self, span: &Range<usize>, it: &str) {
        if it.contains(" == ") && !it.contains('\n') {
            self.make(
                "an expression without quotes",
                span.clone(),
                span.clone(),
                it.replace('\'', "\""),
            );
            self.make(
                "one equals sign",
                span.clone(),
                span.clone(),
                format!("\"{}\"", it.replacen("==", "=", 1)),
            );
            self.make(
                "a template for a condition",
                span.clone(),
                span.clone(),
                format!("\"{{{{ {it} }}}}\""),
            );
        }
        if it.contains("param.loud") {
            self.make(
                "a parameter with a slip",
                span.clone(),
                span.clone(),
                format!("\"{}\"", it.replacen("param.loud", "param.luod", 1)),
            );
        }
        if it.contains(" && ") {
            self.make(
                "and",
                span.clone(),
                span.clone(),
                format!("\"{}\"", it.replacen("&&", "and", 1)),
            );
        }
        if it.contains("event.type") {
            self.make(
                "a field with a slip",
                span.clone(),
                span.clone(),
                format!("\"{}\"", it.replacen("event.type", "event.tpye", 1)),
            );
        }
        if it.starts_with("data.") {
            self.make(
                "a root with a slip",
                span.clone(),
                span.clone(),
                format!("\"{}\"", it.replacen("data.", "dta.", 1)),
            );
            let wrapped = [
                ("a function with a slip", format!("\"lowre({it}) == 'x'\"")),
                ("an open parenthesis", format!("\"(({it})\"")),
                ("a filter", format!("\"{it} | lower\"")),
                ("a method", format!("\"({it}).startsWith('b')\"")),
                ("an expression that ends too early", format!("\"{it} +\"")),
            ];
            for (sort, text) in wrapped {
                self.make(sort, span.clone(), span.clone(), text);
            }
        }
    }

    fn template(&mut self, span: &Range<usize>, it: &str) {
        if it.contains("{{ ") {
            self.make(
                "a template without its end",
                span.clone(),
                span.clone(),
                format!("\"{}\"", it.replacen(" }}", " }", 1)),
            );
            self.make(
                "a root with a slip in a template",
                span.clone(),
                span.clone(),
                format!("\"{}\"", it.replacen("{{ ", "{{ evnt.type ?? ", 1)),
            );
            self.make(
                "a filter with a slip",
                span.clone(),
                span.clone(),
                format!("\"{}\"", it.replacen(" }}", " | uper }}", 1)),
            );
            if it.starts_with("{{") {
                self.make("a template without quotes", span.clone(), span.clone(), it.to_owned());
            }
        }
    }
}

fn rows_of(groups: &[&'static [NodeRow]], name: &str) -> Option<&'static NodeRow> {
    groups.iter().flat_map(|group| group.iter()).find(|it| it.name == name)
}

fn is_role(node: &KdlNode) -> bool {
    NodeRole::ALL.iter().any(|it| it.word() == node.name().value())
}

/// What stands behind a text would be more of it.
fn last_is_text(row: &NodeRow) -> bool {
    row.args.last().is_some_and(|arg| {
        matches!(arg.ty, ValueKind::Text | ValueKind::Template(_) | ValueKind::Any)
    })
}
