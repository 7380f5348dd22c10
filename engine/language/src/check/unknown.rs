//! What is said about words that do not exist in their place.

use super::super::offsets::{name_span, value_span};
use super::super::table::{KindRow, NodeRow, Prop, ValueKind};
use super::super::words::{
    KINDS, Meant, WORDS, foreign_word, is_of_node, meant, meant_in, nearest, one_slip,
};
use super::{
    AllowedNodes, Checker, Groups, NodeRole, find, foreign_syntax, names, repair, scalars,
    short_usage,
};
use crate::diagnostic::{Edit, Rule};
use kdl::{KdlDocument, KdlEntry, KdlIdentifier, KdlNode, KdlValue};

const ON_BY_DEFAULT: &str =
    "stages are on by default; delete this, or write `disabled` to turn one off";

/// A property, where it stands, and what may stand there.
pub(super) struct Misplaced<'a> {
    pub(super) node: &'a KdlNode,
    pub(super) entry: &'a KdlEntry,
    pub(super) name: &'a KdlIdentifier,
    pub(super) row: &'static NodeRow,
    pub(super) groups: &'a Groups,
    pub(super) whole: &'a str,
}

impl Checker<'_> {
    /// Reports a kind that the role does not have; answers the one that was meant.
    pub(super) fn unknown_kind(
        &mut self,
        node: &KdlNode,
        entry: &KdlEntry,
        role: NodeRole,
        kinds: &[KindRow],
    ) -> Option<String> {
        let word = entry.value().as_string().unwrap_or_default();
        let second = node.entries().iter().filter(|entry| entry.name().is_none()).nth(1);
        let kind = second.and_then(|second| second.value().as_string());
        if let (Some(second), Some(kind)) = (second, kind)
            && kinds.iter().any(|it| it.word == kind)
            && scalars::is_name(word)
        {
            let (one, other) = (value_span(entry), value_span(second));
            self.diagnostics
                .push(Rule::UnknownKind, "kind and name are swapped")
                .at(one.clone(), "this is the name")
                .at(other.clone(), "this is the kind")
                .help(format!("write `{} {kind} {word}`", role.word()))
                .fix(one, kind)
                .fix(other, word);
            return Some(kind.to_owned());
        }
        let words: Vec<&str> = kinds.iter().map(|kind| kind.word).collect();
        let all = format!("The kinds are: {}", words.join(", "));
        let (is_sure, help) = match meant(word, &words, KINDS) {
            Some(Meant::Surely(it)) => (Some(it), format!("did you mean `{it}`? {all}")),
            Some(Meant::Probably(it)) => (None, format!("did you mean `{it}`? {all}")),
            Some(Meant::Elsewhere(text)) => (None, format!("{text}. {all}")),
            None => (None, self.elsewhere(word, role, kind).unwrap_or(all)),
        };
        let found = self
            .diagnostics
            .push(Rule::UnknownKind, format!("there is no kind `{word}` of {}", role.word()))
            .at(value_span(entry), "unknown kind")
            .help(help);
        if let Some(it) = is_sure {
            found.fix(value_span(entry), it);
        }
        // A slip of the pen is not repaired, and its block is that of the kind all the same.
        let meant = is_sure.or_else(|| nearest(word, words)).map(str::to_owned);
        self.meant.extend(meant.clone().map(|meant| (value_span(entry).start, meant)));
        meant
    }

    /// What to write for a kind that is no kind of this role, but one of another, or a node.
    fn elsewhere(&self, word: &str, role: NodeRole, name: Option<&str>) -> Option<String> {
        let kind_of = |other: NodeRole| {
            let kinds = self.kinds.kinds(other);
            let words: Vec<&str> = kinds.iter().map(|kind| kind.word).collect();
            if words.contains(&word) {
                return Some(word.to_owned());
            }
            // What goes out goes to a sink or to a notifier, and few know which of them has the kind.
            let are_twins = other != role
                && [other, role].iter().all(|it| matches!(it, NodeRole::Sink | NodeRole::Notify));
            match meant(word, &words, KINDS).filter(|_| are_twins) {
                Some(Meant::Surely(it) | Meant::Probably(it)) => Some(it.to_owned()),
                _ => None,
            }
        };
        // The roles that send come first: that is where the kind of `sink http` is.
        let others = NodeRole::ALL.into_iter().rev().filter(|it| *it != role);
        let found = others.into_iter().find_map(|it| Some((it, kind_of(it)?)));
        if let Some((other, kind)) = found {
            let (other, name) = (other.word(), name.filter(|it| scalars::is_name(it)));
            let line = format!("{other} {kind} {}", name.unwrap_or("NAME"));
            return Some(format!("`{kind}` is a kind of {other}: write `{line}`"));
        }
        let is_node = NodeRole::of(word).is_none() && find(&[self.top], word).is_some();
        is_node.then(|| format!("`{word}` is a node, not a kind: begin the line with it"))
    }

    /// Reports a node that may not stand here; answers what it should be.
    pub(super) fn unknown_node(
        &mut self,
        node: &KdlNode,
        (groups, props): AllowedNodes<'_>,
        whole: &str,
    ) -> Option<&'static str> {
        let bare = node.name().value().trim_end_matches([':', '=']);
        self.tell_unknown_node(node, (groups, props), whole);
        meant_name(self.parent(), bare, &names(groups))
            .or_else(|| self.owner(bare, groups).map(|owner| owner.0.name))
    }

    /// The node in whose block something is looked at; empty at the top of the file.
    fn parent(&self) -> &'static str {
        self.parents.last().copied().unwrap_or_default()
    }

    /// The only neighbour that takes this word in its block, and the word's row: `retention` for
    /// `keep`.
    fn owner(&self, name: &str, groups: &Groups) -> Option<(&'static NodeRow, &'static NodeRow)> {
        // At the top of the file, any block might be meant.
        if self.parents.is_empty() {
            return None;
        }
        let rows = groups.iter().flat_map(|group| group.iter());
        let mut owners = rows.filter_map(|row| Some((row, find(row.children, name)?)));
        owners.next().filter(|_| owners.next().is_none())
    }

    /// `filter { drop when="…" }`: what is kept is the opposite.
    fn opposite(&self, node: &KdlNode, name: &str) -> Option<String> {
        let is_drop = matches!(name, "drop" | "reject" | "discard" | "exclude");
        if self.parent() != "filter" || !is_drop {
            return None;
        }
        let mut values = node.entries().iter().filter_map(|entry| entry.value().as_string());
        let when = values.next().filter(|text| !text.contains(['"', '\\'])).unwrap_or("…");
        Some(format!("a filter says what it keeps: write `keep when=\"!({when})\"`"))
    }

    /// `filter { condition "…" }`: what is kept is said by a property.
    fn kept(&self, node: &KdlNode, name: &str) -> Option<(String, Vec<Edit>)> {
        const SAME: &[&str] =
            &["condition", "if", "where", "match", "only", "allow", "include", "pass", "accept"];
        let [entry] = node.entries() else { return None };
        let is_value = entry.name().is_none() && entry.ty().is_none() && entry.value().is_string();
        if self.parent() != "filter" || !SAME.contains(&name) || !is_value {
            return None;
        }
        let value = self.diagnostics.source().text.get(value_span(entry)).unwrap_or_default();
        let span = name_span(node.name()).start..value_span(entry).start;
        let fix = Edit { span, text: "keep when=".to_owned() };
        Some((format!("write `keep when={value}`"), vec![fix]))
    }

    /// What a child of two kinds of nodes means in the block of one of them.
    fn in_this_block(&self, node: &KdlNode, name: &str) -> Option<String> {
        let value = node.entries().first().and_then(|entry| entry.value().as_string());
        match (self.parent(), name) {
            ("route", "to") => Some(format!("write `otherwise {{ {} }}`", line(node))),
            ("enrich", "method") if value.is_some_and(|it| it.eq_ignore_ascii_case("post")) => {
                Some("write `post \"URL\"`: the method is the name of the node".to_owned())
            }
            ("enrich", "method") => {
                Some("write `get \"URL\"`: the method is the name of the node".to_owned())
            }
            _ => None,
        }
    }

    fn tell_unknown_node(
        &mut self,
        node: &KdlNode,
        (groups, props): AllowedNodes<'_>,
        whole: &str,
    ) {
        let (name, span) = (node.name().value(), name_span(node.name()));
        if props.iter().any(|prop| prop.name == name) {
            let property = self.as_property(node, props);
            self.diagnostics
                .push(Rule::ChildAsProperty, format!("`{name}` is a property, not a child"))
                .at(span, "move it out of the block")
                .help(format!("write `{property}` after {whole}"));
            return;
        }
        if name == "-" {
            self.diagnostics
                .push(Rule::Syntax, "KDL has no lists with `-`")
                .at(span, "this dash is YAML")
                .help("write several values after one name, separated by spaces");
            return;
        }
        let known = names(groups);
        if let Some(words) = dotted(name, groups) {
            self.diagnostics
                .push(Rule::UnknownNode, format!("{whole} has no `{name}`"))
                .at(span, "words are not joined with dots")
                .help(format!("write `{words}{}`", shown_behind(node)));
            return;
        }
        let bare = name.trim_end_matches([':', '=']);
        if bare != name && known.contains(&bare) {
            self.diagnostics
                .push(Rule::YamlColon, format!("no node is called `{name}`"))
                .at(span, "this colon is YAML")
                .help(format!("write `{}`", format!("{bare} {}", shown(node)).trim()));
            return;
        }
        let other = self.opposite(node, bare).or_else(|| self.in_this_block(node, bare));
        let (help, fix) = match (self.kept(node, bare), other) {
            (Some(kept), _) => kept,
            (None, Some(help)) => (help, Vec::new()),
            (None, None) => match self.property_of_another(node, bare, groups) {
                Some(help) => (help, Vec::new()),
                None => {
                    let (help, fix) = self.meant_node(node, bare, groups);
                    (help, fix.into_iter().collect())
                }
            },
        };
        let found = self
            .diagnostics
            .push(Rule::UnknownNode, format!("{whole} has no `{name}`"))
            .at(span, "unknown here")
            .help(help);
        found.fix.extend(fix);
    }

    /// Properties in the block of a node that takes none, as one finding with the line that was
    /// meant. Answers whether the block is nothing else.
    pub(super) fn properties_in_block(&mut self, node: &KdlNode, row: &'static NodeRow) -> bool {
        let children = node.children().map(KdlDocument::nodes).unwrap_or_default();
        let is_property =
            |child: &KdlNode| row.props.iter().any(|prop| prop.name == child.name().value());
        if children.is_empty() || !children.iter().all(is_property) {
            return false;
        }
        let secrets = row.props.iter().filter(|prop| matches!(prop.ty, ValueKind::Secret));
        let secrets: Vec<&str> = secrets.map(|secret| secret.name).collect();
        let own = node.entries().iter().map(|entry| match entry.name() {
            Some(name) if entry.ty().is_none() && secrets.contains(&name.value()) => {
                format!("{}=(env)\"NAME\"", name.value())
            }
            _ => entry.to_string().trim().to_owned(),
        });
        let mut meant: Vec<String> = std::iter::once(row.name.to_owned()).chain(own).collect();
        meant.extend(children.iter().map(|child| self.as_property(child, row.props)));
        let names: Vec<String> =
            children.iter().map(|child| format!("`{}`", child.name().value())).collect();
        let message = match names.as_slice() {
            [name] => format!("{name} is a property, not a child"),
            _ => format!("{} are properties, not children", names.join(", ")),
        };
        self.diagnostics
            .push(Rule::ChildAsProperty, message)
            .at(name_span(children[0].name()), "move it out of the block")
            .help(format!("write `{}`", meant.join(" ")));
        true
    }

    /// `name=value` for a child that is a property. A secret is not repeated.
    fn as_property(&mut self, child: &KdlNode, props: &[Prop]) -> String {
        let name = child.name().value();
        let is_secret =
            props.iter().any(|prop| prop.name == name && matches!(prop.ty, ValueKind::Secret));
        let value = match child.entries().iter().find(|entry| entry.name().is_none()) {
            Some(entry) if is_secret && entry.ty().is_none() => {
                self.diagnostics.hide(value_span(entry));
                "(env)\"NAME\"".to_owned()
            }
            Some(entry) => entry.to_string().trim().to_owned(),
            None => "VALUE".to_owned(),
        };
        format!("{name}={value}")
    }

    /// `qos 1` where the block has `topic … qos=1`.
    fn property_of_another(
        &mut self,
        node: &KdlNode,
        name: &str,
        groups: &Groups,
    ) -> Option<String> {
        let is_node = self.top.iter().any(|it| it.name == name)
            || matches!(
                meant_in(self.parent(), name, &names(groups)),
                Some(Meant::Surely(_) | Meant::Probably(_))
            );
        let rows = groups.iter().flat_map(|group| group.iter());
        let owners: Vec<&NodeRow> =
            rows.filter(|row| row.props.iter().any(|prop| prop.name == name)).collect();
        let owner = owners.first().filter(|_| !is_node)?;
        let all: Vec<String> = owners.iter().map(|owner| format!("`{}`", owner.name)).collect();
        let property = self.as_property(node, owner.props);
        Some(format!(
            "`{name}` is a property of {}: write `{} … {property}`",
            all.join(", "),
            owner.name
        ))
    }

    /// What to say about an unknown child, and what it surely is.
    fn meant_node(&self, node: &KdlNode, name: &str, groups: &Groups) -> (String, Option<Edit>) {
        let known = &names(groups);
        let span = name_span(node.name());
        let fix = |text: &str| Some(Edit { span: span.clone(), text: text.to_owned() });
        match meant_in(self.parent(), name, known).filter(|it| !self.is_other_word(name, it)) {
            Some(Meant::Surely("disabled") | Meant::Probably("disabled")) if is_enabled(name) => {
                (ON_BY_DEFAULT.to_owned(), self.switched(node))
            }
            Some(Meant::Surely(it)) => (format!("did you mean `{it}`?"), fix(it)),
            Some(Meant::Probably(it)) => (format!("did you mean `{it}`?"), None),
            other => {
                let places = self.places_of(name);
                let is_top = self.top.iter().any(|it| it.name == name);
                let owner = self.owner(name, groups);
                let help = match other {
                    _ if owner.is_some_and(|(_, row)| !takes_secret(row)) => {
                        let owner = owner.map_or("", |owner| owner.0.name);
                        format!(
                            "write `{owner} {{ {} }}`",
                            format!("{name} {}", shown(node)).trim()
                        )
                    }
                    _ if is_top => {
                        format!("`{name}` belongs at the top of the file, not in a block")
                    }
                    // `enrich` of `defaults` is not the node that it is named after.
                    _ if 1 < self.parents.len() && places.iter().any(|it| it == self.parent()) => {
                        let parent = self.parent();
                        format!(
                            "write it in each `{parent}` itself; here you can set: {}",
                            known.join(", ")
                        )
                    }
                    _ if !places.is_empty() => format!("`{name}` exists in: {}", places.join(", ")),
                    Some(Meant::Elsewhere(text)) if !self.is_too_deep(name) => text.to_owned(),
                    _ => match (self.other_kind(name), self.nearest_elsewhere(name)) {
                        (Some(help), _) => help,
                        (None, Some(it)) => self.did_you_mean_elsewhere(it),
                        (None, None) => format!("there are: {}", known.join(", ")),
                    },
                };
                (help, None)
            }
        }
    }

    /// Whether a word of other tools is deeper in a block than what it is called here: a `switch`
    /// in `discovery` is no `route`.
    fn is_too_deep(&self, name: &str) -> bool {
        let foreign = foreign_word(name, WORDS).map(|foreign| foreign.ours).unwrap_or_default();
        let is_of_route = self.parents.first() == Some(&"route");
        1 < self.parents.len()
            && !is_of_route
            && foreign.iter().any(|ours| find(&[self.top], ours).is_some())
    }

    /// Whether a word that is like one of its place is a word of this language itself: `email` is
    /// no slip of `emit`.
    fn is_other_word(&self, name: &str, meant: &Meant<'_>) -> bool {
        let Meant::Probably(near) = *meant else { return false };
        if is_of_node(self.parent(), name) {
            return false;
        }
        let is_foreign = foreign_word(name, WORDS).is_some();
        let is_known = || self.other_kind(name).is_some() || !self.places_of(name).is_empty();
        !is_foreign && one_slip(name, [near]).is_none() && is_known()
    }

    /// What to say of the name of a kind in a node that has a kind already.
    fn other_kind(&self, name: &str) -> Option<String> {
        let role = self.role?;
        let is_kind = self.kinds.kinds(role).iter().any(|kind| kind.word == name);
        let role = role.word();
        is_kind.then(|| {
            format!("`{name}` is a kind of {role}: write a node of its own, `{role} {name} NAME`")
        })
    }

    /// What a word that is known elsewhere may be.
    fn did_you_mean_elsewhere(&self, word: &str) -> String {
        match self.places_of(word) {
            places if places.is_empty() => format!("did you mean `{word}`?"),
            places => format!("did you mean `{word}`? It exists in: {}", places.join(", ")),
        }
    }

    /// `enabled #false` is `disabled`, and `enabled #true` is what holds anyway.
    fn switched(&self, node: &KdlNode) -> Option<Edit> {
        let [entry] = node.entries() else { return None };
        let text = &self.diagnostics.source().text;
        let whole = name_span(node.name()).start..value_span(entry).end;
        match entry.value() {
            KdlValue::Bool(false) => Some(Edit { span: whole, text: "disabled".to_owned() }),
            KdlValue::Bool(true) => {
                let behind = text.get(whole.end..)?;
                let end = match behind.find('\n') {
                    // The line goes with it when nothing else stands there.
                    Some(it) if behind[..it].trim().is_empty() => whole.end + it + 1,
                    _ => whole.end,
                };
                let line = text[..whole.start].rfind('\n').map_or(0, |it| it + 1);
                let is_alone = text[line..whole.start].trim().is_empty() && whole.end < end;
                let span = if is_alone { line..end } else { whole };
                Some(Edit { span, text: String::new() })
            }
            _ => None,
        }
    }

    /// In which top nodes a child of this name may stand.
    fn places_of(&self, name: &str) -> Vec<String> {
        let mut places = Vec::new();
        for row in self.top {
            if find(row.children, name).is_some() {
                places.push(row.name.to_owned());
            }
            for kind in self.kinds_of(row) {
                if find(kind.nodes, name).is_some() {
                    places.push(format!("{} {}", row.name, kind.word));
                }
            }
        }
        places
    }

    /// The nearest child of any top node, for words that are misspelt and misplaced.
    fn nearest_elsewhere(&self, name: &str) -> Option<&'static str> {
        let own = self.top.iter().flat_map(|it| names(it.children));
        let of_kinds = self.top.iter().flat_map(|row| self.kinds_of(row));
        let of_kinds = of_kinds.flat_map(|kind| names(kind.nodes));
        one_slip(name, own.chain(of_kinds))
    }

    fn kinds_of(&self, row: &NodeRow) -> Vec<KindRow> {
        NodeRole::of(row.name).map(|it| self.kinds.kinds(it)).unwrap_or_default()
    }

    /// A property that is a child in truth.
    pub(super) fn child_as_property(&mut self, it: &Misplaced<'_>, child: &NodeRow) {
        self.hide(it, child);
        let (word, text) = (it.name.value(), &self.diagnostics.source().text);
        let value = text.get(value_span(it.entry)).unwrap_or_default();
        let written = as_child(child, it.entry, value);
        let block = it.node.children().map(KdlDocument::nodes).unwrap_or_default();
        let stands = block.iter().any(|it| it.name().value() == child.name);
        let is_fixed = !child.args.is_empty() && !takes_secret(child) && !stands;
        let fix = if !is_fixed || scalars::has_outside(it.node) {
            Vec::new()
        } else {
            repair::into_block(text, it.node, it.entry, &written)
        };
        let help = format!("write `{{ {written} }}`");
        let found = self
            .diagnostics
            .push(Rule::ChildAsProperty, format!("`{word}` is a child, not a property"))
            .at(name_span(it.name), "move it into the block")
            .help(help);
        found.fix.extend(fix);
    }

    /// A secret that stands as a property is no less one.
    fn hide(&mut self, it: &Misplaced<'_>, child: &NodeRow) {
        if takes_secret(child) {
            self.diagnostics.hide(value_span(it.entry));
        }
    }

    pub(super) fn unknown_property(&mut self, it: &Misplaced<'_>) {
        let word = it.name.value();
        if let Some(Meant::Surely(name)) = meant(word, &names(it.groups), WORDS)
            && let Some(child) = find(it.groups, name)
        {
            self.hide(it, child);
        }
        let (message, help, fix) = self.meant_property(it, word);
        let found = self
            .diagnostics
            .push(Rule::UnknownProperty, message)
            .at(name_span(it.name), format!("unknown property `{word}`"))
            .help(help);
        found.fix.extend(fix);
    }

    /// Message, help and what `--fix` writes.
    fn meant_property(&self, it: &Misplaced<'_>, word: &str) -> (String, String, Vec<Edit>) {
        let (row, text) = (it.row, &self.diagnostics.source().text);
        let no_such = format!("{} has no property `{word}`", it.whole);
        if matches!(word, "default" | "optional") {
            let help = "it works only with `(env)\"NAME\"` or `(file)\"path\"`: delete it";
            return (no_such, help.to_owned(), Vec::new());
        }
        let known: Vec<&str> = row.props.iter().map(|prop| prop.name).collect();
        let own = meant_in(row.name, word, &known);
        if let Some(first) = named_argument(row, it.node, it.entry) {
            let message = format!("{} takes its {first} first", it.whole);
            let value = repair::as_value(it.entry, text);
            let help = format!("write `{} {}`", row.name, value.text);
            // Any other number, such as a wait between attempts, must not become the first.
            let is_own = row.args.first().is_some_and(|arg| arg.name == word)
                || matches!(word, "max" | "attempts" | "count" | "times" | "number" | "value");
            return (message, help, if is_own { vec![value] } else { Vec::new() });
        }
        let rename = |name: &str| vec![Edit { span: name_span(it.name), text: name.to_owned() }];
        match own {
            Some(Meant::Surely(name)) => {
                return (no_such, format!("did you mean `{name}`?"), rename(name));
            }
            Some(Meant::Probably(name)) => {
                return (no_such, format!("did you mean `{name}`?"), Vec::new());
            }
            Some(Meant::Elsewhere(_)) | None => {}
        }
        let children = names(it.groups);
        match meant(word, &children, WORDS) {
            Some(Meant::Surely("disabled") | Meant::Probably("disabled")) if is_enabled(word) => {
                let fix = match it.entry.value() {
                    KdlValue::Bool(true) => vec![repair::removed(text, it.entry)],
                    KdlValue::Bool(false) => {
                        repair::into_block(text, it.node, it.entry, "disabled")
                    }
                    _ => Vec::new(),
                };
                (no_such, ON_BY_DEFAULT.replace("`disabled`", "`{ disabled }`"), fix)
            }
            Some(Meant::Surely(name)) => {
                let value = text.get(value_span(it.entry)).unwrap_or_default();
                let row = find(it.groups, name);
                let child = row.map(|child| as_child(child, it.entry, value)).unwrap_or_default();
                let help = format!("did you mean the child `{name}`? Write `{{ {child} }}`");
                let fix = match row.is_some_and(takes_secret) {
                    true => Vec::new(),
                    false => repair::into_block(text, it.node, it.entry, &child),
                };
                (no_such, help, fix)
            }
            Some(Meant::Probably(name)) => {
                let help = format!("did you mean the child `{name}`? It belongs in the block");
                (no_such, help, Vec::new())
            }
            Some(Meant::Elsewhere(text)) => (no_such, text.to_owned(), Vec::new()),
            None => (no_such, self.other_properties(it, word), Vec::new()),
        }
    }

    /// What could be written instead of a property that is like nothing that is known.
    fn other_properties(&self, it: &Misplaced<'_>, word: &str) -> String {
        let (row, children) = (it.row, names(it.groups));
        let known: Vec<&str> = row.props.iter().map(|prop| prop.name).collect();
        if find(&self.beside, word).is_some() {
            let text = &self.diagnostics.source().text;
            let value = text.get(value_span(it.entry)).unwrap_or_default();
            return format!("`{word}` is a node of its own: write `; {word} {value}`");
        }
        if let Some(help) = self.other_kind(word) {
            return help;
        }
        match (known.is_empty(), children.is_empty()) {
            (true, false) => {
                format!("its block `{} {{ … }}` takes: {}", row.name, children.join(", "))
            }
            (true, true) => format!("write `{}`", short_usage(row)),
            (false, _) => format!("the properties are {}", known.join(", ")),
        }
    }
}

/// What the first argument of a node is, where it is missing and this property has its value.
pub(super) fn named_argument(
    row: &NodeRow,
    node: &KdlNode,
    entry: &KdlEntry,
) -> Option<&'static str> {
    let word = entry.name()?.value();
    let known: Vec<&str> = row.props.iter().map(|prop| prop.name).collect();
    let is_other = known.contains(&word) || meant(word, &known, WORDS).is_some();
    foreign_syntax::first_argument(row, node, entry).filter(|_| !is_other)
}

/// The word among these that is meant by one that is unknown in the block of a node.
pub(super) fn meant_name(parent: &str, word: &str, known: &[&'static str]) -> Option<&'static str> {
    let exact = known.iter().find(|it| **it == word).copied();
    exact.or_else(|| match meant_in(parent, word, known) {
        Some(Meant::Surely(it) | Meant::Probably(it)) => Some(it),
        _ => None,
    })
}

/// Whether an unknown word means this one of those that are known.
pub(super) fn is_meant(word: &str, name: &str, known: &[&str]) -> bool {
    let meant = meant(word, known, WORDS);
    matches!(meant, Some(Meant::Surely(it) | Meant::Probably(it)) if it == name)
}

fn is_enabled(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "enabled" | "enable" | "active")
}

fn takes_secret(child: &NodeRow) -> bool {
    child.args.iter().any(|arg| matches!(arg.ty, ValueKind::Secret | ValueKind::Topic))
}

/// A child with this value: `disabled` for `disabled=#true`. A secret is not repeated.
fn as_child(child: &NodeRow, entry: &KdlEntry, value: &str) -> String {
    if takes_secret(child) && entry.ty().is_none() {
        return format!("{} (env)\"NAME\"", child.name);
    }
    let is_flag = entry.value().as_bool() == Some(true);
    if is_flag { child.name.to_owned() } else { format!("{} {value}", child.name) }
}

/// `source http bell` for `source.http.bell`.
fn dotted(name: &str, groups: &Groups) -> Option<String> {
    let words: Vec<&str> = name.split('.').collect();
    let is_name = 1 < words.len() && words[1..].iter().all(|word| scalars::is_name(word));
    (is_name && find(groups, words[0]).is_some()).then(|| words.join(" "))
}

/// What stands behind a node's name, with a blank before it.
fn shown_behind(node: &KdlNode) -> String {
    let has_secret = |entry: &KdlEntry| entry.ty().is_none() && entry.name().is_some();
    match node.entries().iter().any(has_secret) {
        true => " …".to_owned(),
        false => format!(" {}", shown(node)).trim_end().to_owned(),
    }
}

/// A node's own line.
fn line(node: &KdlNode) -> String {
    format!("{} {}", node.name().value(), shown(node)).trim().to_owned()
}

fn shown(node: &KdlNode) -> String {
    let shown: Vec<String> =
        node.entries().iter().map(|entry| entry.to_string().trim().to_owned()).collect();
    shown.join(" ")
}
