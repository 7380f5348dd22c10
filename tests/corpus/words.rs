//! The words of a file that are not the user's own, by the table of the language.

use compiler::grammar;
use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};
use language::{Arity, Kinds, NodeRole, NodeRow, ValueKind, value_text_span};
use stages::catalog::Catalog;
use std::collections::BTreeSet;
use std::ops::Range;

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sort {
    /// The name of a node.
    NodeRow,
    /// The name of a property.
    Property,
    /// `(env)`, `(param)`.
    Annotation,
    /// `#true`, `#false`.
    Keyword,
    /// A kind of a role.
    Kind,
    /// One of a place's words.
    Choice,
    /// The name of another node, where it is referred to.
    Reference,
    /// A name that another node refers to, where it is given.
    Definition,
    /// The root of a path in an expression, or one of its words.
    Root,
    /// A field of `event`.
    Field,
    /// A function of expressions.
    Function,
    /// A filter of templates.
    Filter,
    /// A level that `event.priority` is compared with.
    Level,
}

/// A word of the file.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) span: Range<usize>,
    pub(super) text: String,
    pub(super) sort: Sort,
    /// Where in the table it stands: `sink sqlite retention keep`.
    pub(super) place: String,
    /// What else may stand in its place.
    pub(super) known: Vec<String>,
}

/// Every name of a node and a property of the table, with its place.
pub(super) fn all(catalog: &Catalog) -> Vec<String> {
    fn within(place: &str, rows: &[NodeRow], all: &mut Vec<String>) {
        for row in rows {
            let place = format!("{place} {}", row.name).trim().to_owned();
            all.extend(row.props.iter().map(|prop| format!("{place} {}", prop.name)));
            row.children.iter().for_each(|it| within(&place, it, all));
            all.push(place);
        }
    }
    let mut all = Vec::new();
    within("", grammar::TOP, &mut all);
    for role in NodeRole::ALL {
        for kind in catalog.kinds(role) {
            let place = format!("{} {}", role.word(), kind.word);
            kind.nodes.iter().for_each(|it| within(&place, it, &mut all));
            all.push(place);
        }
    }
    all
}

/// A place without the role, whose children are shared: `sink sqlite path` is `sqlite path`.
pub(super) fn short(place: &str) -> String {
    let roles = ["policy", "defaults", "source", "enrich", "sink", "notify"];
    let mut parts = place.split(' ').peekable();
    let mut kept = Vec::new();
    while let Some(part) = parts.next() {
        if !(kept.is_empty() && roles.contains(&part) && parts.peek().is_some()) {
            kept.push(part);
        }
    }
    kept.join(" ")
}

/// Every word of a valid text that is the language's, or refers to another.
pub(super) fn of(text: &str, catalog: &Catalog) -> Vec<Word> {
    let document = KdlDocument::parse_v2(text).expect("the corpus is KDL");
    let mut walk = Walk { text, catalog, words: Vec::new(), names: Vec::new() };
    walk.block(document.nodes(), &[("".to_owned(), grammar::TOP)]);
    let references: BTreeSet<String> = walk
        .words
        .iter()
        .filter(|word| word.sort == Sort::Reference)
        .map(|word| word.text.clone())
        .collect();
    let names: Vec<String> = walk.names.iter().map(|name| name.1.clone()).collect();
    for word in walk.words.iter_mut().filter(|word| word.sort == Sort::Reference) {
        word.known.clone_from(&names);
    }
    let defined = walk.names.iter().filter(|name| references.contains(&name.1));
    walk.words.extend(defined.map(|(span, text)| Word {
        span: span.clone(),
        text: text.clone(),
        sort: Sort::Definition,
        place: String::new(),
        known: names.clone(),
    }));
    walk.words.sort_by_key(|word| word.span.start);
    walk.words
}

type Groups = [(String, &'static [NodeRow])];

struct Walk<'a> {
    text: &'a str,
    catalog: &'a Catalog,
    words: Vec<Word>,
    /// Names that nodes give themselves.
    names: Vec<(Range<usize>, String)>,
}

impl Walk<'_> {
    fn add(&mut self, span: Range<usize>, sort: Sort, place: &str, known: Vec<String>) {
        let text = self.text[span.clone()].to_owned();
        if text.chars().any(char::is_alphabetic) {
            self.words.push(Word { span, text, sort, place: place.to_owned(), known });
        }
    }

    fn block(&mut self, nodes: &[KdlNode], groups: &Groups) {
        let all: Vec<String> =
            groups.iter().flat_map(|group| group.1.iter()).map(|it| it.name.to_owned()).collect();
        for node in nodes {
            let name = node.name().value();
            let (place, row) = groups
                .iter()
                .find_map(|(place, rows)| Some((place, rows.iter().find(|row| row.name == name)?)))
                .expect("the corpus is valid");
            let place = format!("{place} {name}").trim().to_owned();
            let span = node.name().span();
            let span = span.offset()..span.offset() + span.len();
            self.add(span, Sort::NodeRow, &place, all.clone());
            self.node(node, row, &place);
        }
    }

    fn node(&mut self, node: &KdlNode, row: &'static NodeRow, place: &str) {
        let is_top = !place.contains(' ');
        let role = NodeRole::ALL.into_iter().find(|it| is_top && it.word() == row.name);
        let mut groups: Vec<(String, &'static [NodeRow])> =
            row.children.iter().map(|child| (place.to_owned(), *child)).collect();
        let props: Vec<String> = row.props.iter().map(|prop| prop.name.to_owned()).collect();
        let mut index = 0;
        for entry in node.entries() {
            self.annotation(entry, place);
            if let Some(name) = entry.name() {
                let span = name.span().offset()..name.span().offset() + name.span().len();
                let prop = row.props.iter().find(|prop| prop.name == name.value());
                let own = format!("{place} {}", name.value());
                match prop {
                    Some(prop) => {
                        self.add(span, Sort::Property, &own, props.clone());
                        self.value(entry, prop.ty, &own);
                    }
                    None if matches!(name.value(), "default" | "optional") => {
                        self.add(span, Sort::Property, &own, Vec::new());
                        self.value(entry, ValueKind::Any, &own);
                    }
                    None => {}
                }
                continue;
            }
            let many = |arg: &&language::Arg| matches!(arg.arity, Arity::Some | Arity::Any);
            let arg = row.args.get(index).or_else(|| row.args.last().filter(many));
            index += 1;
            let Some(arg) = arg else { continue };
            match (role, index) {
                (Some(role), 1) => {
                    let kinds = self.catalog.kinds(role);
                    let kind =
                        kinds.iter().find(|kind| entry.value().as_string() == Some(kind.word));
                    let kind = kind.expect("the corpus is valid");
                    let own = format!("{place} {}", kind.word);
                    groups.extend(kind.nodes.iter().map(|node| (own.clone(), *node)));
                    let words = kinds.iter().map(|kind| kind.word.to_owned()).collect();
                    self.add(value_span(entry), Sort::Kind, &own, words);
                }
                _ if matches!(arg.ty, ValueKind::Ident) => {
                    let span = value_span(entry);
                    self.names.push((span.clone(), self.text[span].to_owned()));
                }
                _ => self.value(entry, arg.ty, place),
            }
        }
        let children = node.children().map(KdlDocument::nodes).unwrap_or_default();
        self.block(children, &groups);
    }

    fn annotation(&mut self, entry: &KdlEntry, place: &str) {
        let Some(ty) = entry.ty() else { return };
        let span = ty.span().offset()..ty.span().offset() + ty.span().len();
        let known = ["env", "file", "param"].map(str::to_owned).to_vec();
        if known.contains(&self.text[span.clone()].to_owned()) {
            self.add(span, Sort::Annotation, place, known);
        }
        if ty.value() == "param" {
            self.add(value_span(entry), Sort::Reference, place, Vec::new());
        }
    }

    fn value(&mut self, entry: &KdlEntry, ty: ValueKind, place: &str) {
        if matches!(entry.value(), KdlValue::Bool(_)) {
            // The sign before it stays.
            let span = value_span(entry);
            let known = ["true", "false"].map(str::to_owned).to_vec();
            self.add(span.start + 1..span.end, Sort::Keyword, place, known);
        }
        let Some(text) = entry.value().as_string().filter(|_| entry.ty().is_none()) else { return };
        let part = |span: Range<usize>| value_text_span(entry, span);
        match ty {
            ValueKind::Word(words) => {
                let known = words.iter().map(|word| (*word).to_owned()).collect();
                self.add(part(0..text.len()), Sort::Choice, place, known);
            }
            ValueKind::Words(words) => {
                for word in text.split_whitespace() {
                    let start = word.as_ptr() as usize - text.as_ptr() as usize;
                    let known = words.iter().map(|word| (*word).to_owned()).collect();
                    self.add(part(start..start + word.len()), Sort::Choice, place, known);
                }
            }
            ValueKind::Ref => self.add(part(0..text.len()), Sort::Reference, place, Vec::new()),
            ValueKind::Expr(_) => {
                for (span, sort) in expression(text, 0, false) {
                    self.add(part(span), sort, place, known_names(sort));
                }
            }
            ValueKind::Template(_) => {
                let mut at = 0;
                while let Some(start) = text[at..].find("{{").map(|it| at + it + 2) {
                    let end = text[start..].find("}}").map_or(text.len(), |it| start + it);
                    for (span, sort) in expression(&text[start..end], start, true) {
                        self.add(part(span), sort, place, known_names(sort));
                    }
                    at = end;
                }
            }
            _ => {}
        }
    }
}

/// What else may stand in the place of such a word of an expression.
fn known_names(sort: Sort) -> Vec<String> {
    let names: &[&str] = match sort {
        Sort::Level => &["low", "normal", "high", "critical"],
        Sort::Field => &["id", "key"],
        Sort::Function => &["min", "max", "time", "date"],
        Sort::Filter => &["time", "date"],
        _ => &["data", "raw"],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn value_span(entry: &KdlEntry) -> Range<usize> {
    let end = entry.span().offset() + entry.span().len();
    let length = entry.format().map_or(0, |it| it.value_repr.len());
    end - length..end
}

/// The words of an expression that are the language's, by their bytes in the whole text.
fn expression(text: &str, start: usize, is_template: bool) -> Vec<(Range<usize>, Sort)> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let (mut found, mut at, mut path) = (Vec::new(), 0, Vec::<String>::new());
    let compares_levels = text.contains("event.priority");
    while at < text.len() {
        let rest = &text[at..];
        let first = rest.chars().next().unwrap_or_default();
        if first == '\'' {
            let end = rest[1..].find('\'').map_or(rest.len(), |it| it + 2);
            let inner = &rest[1..end - 1];
            if compares_levels && ["low", "normal", "high", "critical"].contains(&inner) {
                let before = text[..at].trim_end();
                let is_compared = ["==", "!=", ">=", "<=", "[", ","];
                if is_compared.iter().any(|it| before.ends_with(it)) {
                    found.push((start + at + 1..start + at + end - 1, Sort::Level));
                }
            }
            at += end;
            path.clear();
            continue;
        }
        if !is_letter(first) {
            at += first.len_utf8();
            if first != '.' {
                path.clear();
            }
            continue;
        }
        let end = rest.find(|it| !is_letter(it)).unwrap_or(rest.len());
        let (word, behind) = (&rest[..end], rest[end..].trim_start());
        let before = text[..at].trim_end();
        let is_filter = is_template && before.ends_with('|') && !before.ends_with("||");
        let is_key = behind.starts_with(':') && before.ends_with(['{', ',']);
        let sort = match &path[..] {
            _ if word.starts_with(|letter: char| letter.is_ascii_digit()) || is_key => None,
            _ if is_filter => Some(Sort::Filter),
            [] if before.ends_with('.') => None,
            [] if behind.starts_with('(') && word != "in" => Some(Sort::Function),
            [] => Some(Sort::Root),
            [root] if root == "event" => Some(Sort::Field),
            [root] if matches!(root.as_str(), "random" | "http") => Some(Sort::Function),
            _ => None,
        };
        if let Some(sort) = sort {
            found.push((start + at..start + at + end, sort));
        }
        path.push(word.to_owned());
        at += end;
        if !rest[end..].starts_with('.') {
            path.clear();
        }
    }
    found
}
