//! What is known of the values at a place of the file, before there is an event.

use super::infer::Declared;
use super::value_type::{SchemaOrigin, ValueType};
use super::{Expr, PathRead, Root};
use crate::diagnostic::Rule;
use kernel::event::Priority;
use kernel::pattern::glob_fits;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// A type of event that may be at a place.
#[derive(Debug, Clone, PartialEq)]
pub struct EventType {
    /// Its name; a pattern with `*` where the names are not known.
    pub kind: Arc<str>,
    /// What its `data` may be.
    pub data: Arc<ValueType>,
}

/// Types of events, each once.
pub type EventTypes = Arc<[EventType]>;

impl EventType {
    fn is_pattern(&self) -> bool {
        self.kind.contains('*')
    }
}

/// Something that a stage adds and that is not there yet.
#[derive(Debug, Clone)]
pub struct NotYetSet {
    /// The path below `enrich`.
    pub path: Vec<String>,
    /// What to say about it: "stage `faces` adds it, and does not end before this".
    pub why: String,
    /// What to do.
    pub help: String,
}

/// What is known of the values at a place.
#[derive(Debug, Clone, Default)]
pub struct TypeEnv {
    /// Every type that can be there at all. A name stands before the patterns that it fits, a
    /// longer pattern before a shorter one.
    pub all: EventTypes,
    /// The types that can be at this place.
    pub here: EventTypes,
    /// Whether `data` is a message that is no event yet.
    pub is_message: bool,
    /// The roots of which something is known; the others may hold anything.
    pub roots: Vec<(Root, ValueType)>,
    /// What is added only behind this place, or beside it.
    pub later: Arc<[NotYetSet]>,
    /// The priority that events have here, where only those of one are looked at.
    pub level: Option<Priority>,
    /// Whether lines of text are decoded to `data`, so that a field may be made a number there.
    pub is_decoded: bool,
    /// The name below `enrich` of what says where in a visit an event is, where anything does.
    pub lifecycle: Option<Arc<str>>,
}

/// Something that is wrong with an expression for what is known.
#[derive(Debug, Clone)]
pub struct ExprFinding {
    /// The rule that it breaks.
    pub rule: Rule,
    /// Bytes of the expression's text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What is wrong here, shorter.
    pub label: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The declaration that was probably meant.
    pub origin: Option<Arc<SchemaOrigin>>,
}

/// What an expression comes to, for what is known.
#[derive(Debug, Clone)]
pub struct TypedExpr {
    /// What its value may be.
    pub shape: ValueType,
    /// What is wrong with it.
    pub findings: Vec<ExprFinding>,
    /// The types of events for which it may be `true`.
    pub holds: EventTypes,
    /// The types of events for which it may be anything else.
    pub fails: EventTypes,
}

impl TypeEnv {
    /// Looks at an expression for what is known here.
    pub fn check(&self, expr: &Expr) -> TypedExpr {
        super::infer::check(&expr.node, &expr.text, self)
    }

    /// Looks at an expression of which nothing but `true` counts.
    pub fn check_condition(&self, expr: &Expr) -> TypedExpr {
        let mut checked = self.check(expr);
        let whole = 0..expr.text().len();
        if self.here.is_empty() || !checked.findings.is_empty() {
            return checked;
        }
        let finding = |rule, message, label: &str, help| {
            let (span, label) = (whole.clone(), label.to_owned());
            ExprFinding { rule, span, message, label, help: Some(help), origin: None }
        };
        if let Some((message, help)) =
            super::infer::no_condition(&checked.shape, &expr.node, expr.text())
        {
            let label = "neither true nor false";
            checked.findings.push(finding(Rule::NeverCompare, message, label, help));
        } else if checked.holds.is_empty() {
            let message = "this condition is never true".to_owned();
            let help = match expr.reads().is_empty() {
                true => {
                    "it reads nothing of an event: compare a value, such as \
                         `event.type == 'ring'`, or write `disabled` to turn a node off"
                }
                false => "its parts contradict each other for every event that arrives here",
            };
            let help = help.to_owned();
            checked.findings.push(finding(Rule::AlwaysSame, message, "never true", help));
        }
        checked
    }

    /// Whether something stands at a dotted path. Lists are passed through.
    pub fn declared(&self, path: &PathRead) -> Declared {
        super::infer::declared(self, path)
    }

    /// The same for other types of events.
    #[must_use]
    pub fn narrowed(&self, here: &EventTypes) -> TypeEnv {
        TypeEnv { here: here.clone(), ..self.clone() }
    }

    /// The same where aggregates are read that a stage puts into what it sends.
    #[must_use]
    pub fn aggregated(mut self, sent: Option<ValueType>) -> TypeEnv {
        self.roots.extend(sent.map(|sent| (Root::Aggregate, sent)));
        self
    }

    /// The same for events of one priority.
    #[must_use]
    pub fn at_level(&self, level: Option<Priority>) -> TypeEnv {
        TypeEnv { level, ..self.clone() }
    }

    /// What may stand at a path of a root that does not depend on the types of events.
    pub fn at(&self, root: Root, names: &[&str]) -> ValueType {
        let base = self.root(root).cloned().unwrap_or_else(ValueType::any);
        let step = |at: ValueType, name: &&str| at.field(name).map(|field| field.0);
        names.iter().try_fold(base, step).unwrap_or_else(ValueType::any)
    }

    /// What `data` may be in the events that are here.
    pub fn data(&self) -> ValueType {
        let shapes = self.here.iter().map(|it| (*it.data).clone());
        shapes.fold(ValueType::never(), ValueType::or)
    }

    /// The same for events of one type.
    pub fn data_of(&self, kind: &str) -> ValueType {
        let found = self.known_type(kind).map(|it| (*it.data).clone());
        found.unwrap_or_else(ValueType::any)
    }

    /// The same for those that a condition holds for.
    pub fn data_where(&self, condition: &Expr) -> ValueType {
        let here = self.check(condition).holds;
        self.narrowed(&here).data()
    }

    /// The types for whose events a condition always holds.
    pub fn always(&self, condition: &Expr) -> EventTypes {
        self.each(condition, |checked| !checked.holds.is_empty() && checked.fails.is_empty())
    }

    /// The types for whose events an expression may have a value.
    pub fn with_value(&self, expr: &Expr) -> EventTypes {
        self.each(expr, |checked| {
            let is_unknown =
                checked.findings.iter().any(|finding| finding.rule == Rule::UnknownPath);
            checked.shape.has_value() && !is_unknown
        })
    }

    /// The types for which what an expression comes to is as wanted.
    fn each(&self, expr: &Expr, is_wanted: impl Fn(&TypedExpr) -> bool) -> EventTypes {
        let alone = |it: &EventType| self.narrowed(&Arc::from([it.clone()]));
        self.here.iter().filter(|it| is_wanted(&alone(it).check(expr))).cloned().collect()
    }

    /// What is known of a root; `data` and `event` depend on the types of events.
    pub(super) fn root(&self, root: Root) -> Option<&ValueType> {
        self.roots.iter().find(|it| it.0 == root).map(|root| &root.1)
    }

    /// The type with this name among those that can be there at all.
    pub(super) fn known_type(&self, name: &str) -> Option<&EventType> {
        self.all.iter().find(|it| glob_fits(&it.kind, name))
    }

    /// The type with this name, when it can be among `here`.
    pub(super) fn fitting(&self, name: &str, here: &EventTypes) -> Option<EventType> {
        let covered = self.known_type(name)?;
        let is_here = |it: &&EventType| *it.kind == *name || it.kind == covered.kind;
        let found = here.iter().find(is_here)?;
        Some(EventType { kind: name.into(), data: found.data.clone() })
    }
}

/// What is in one set or the other.
pub fn union(one: &EventTypes, other: &EventTypes) -> EventTypes {
    if one.is_empty() || Arc::ptr_eq(one, other) {
        return other.clone();
    }
    let known: HashSet<&str> = one.iter().map(|it| &*it.kind).collect();
    let is_new = |it: &&EventType| !known.contains(&*it.kind);
    let more: Vec<&EventType> = other.iter().filter(is_new).collect();
    if more.is_empty() {
        return one.clone();
    }
    one.iter().chain(more).cloned().collect()
}

/// What is in both sets.
pub(super) fn common(one: &EventTypes, other: &EventTypes) -> EventTypes {
    if Arc::ptr_eq(one, other) {
        return one.clone();
    }
    let names: HashSet<&str> = other.iter().map(|it| &*it.kind).collect();
    let patterns: Vec<&EventType> = other.iter().filter(|it| it.is_pattern()).collect();
    let mut found: Vec<EventType> = Vec::new();
    for it in one.iter() {
        let is_named = names.contains(&*it.kind);
        if is_named || patterns.iter().any(|them| glob_fits(&them.kind, &it.kind)) {
            found.push(it.clone());
        } else if it.is_pattern() {
            found.extend(other.iter().filter(|them| glob_fits(&it.kind, &them.kind)).cloned());
        }
    }
    found.into()
}

/// The types of `here` for which a question about their name may be answered yes, and no. A
/// pattern may be both.
pub(super) fn split(here: &EventTypes, asks: impl Fn(&str) -> bool) -> (EventTypes, EventTypes) {
    let may_be = |it: &&EventType, wanted| it.is_pattern() || asks(&it.kind) == wanted;
    let part = |wanted| here.iter().filter(|it| may_be(it, wanted)).cloned().collect();
    (part(true), part(false))
}
