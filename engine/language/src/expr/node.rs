//! The tree that the parser makes and evaluation walks.

use super::function::Function;
use super::{Read, Root};
use serde_json::Value;
use std::ops::Range;

/// A field of `event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Seq,
    Id,
    Key,
    Kind,
    Source,
    Subject,
    Time,
    Received,
    Priority,
    CorrelationId,
    ParentId,
    Generation,
    Lifecycle,
    Attempt,
}

pub(super) const FIELDS: &[(&str, Field)] = &[
    ("seq", Field::Seq),
    ("id", Field::Id),
    ("type", Field::Kind),
    ("source", Field::Source),
    ("subject", Field::Subject),
    ("time", Field::Time),
    ("received", Field::Received),
    ("priority", Field::Priority),
    ("key", Field::Key),
    ("correlation_id", Field::CorrelationId),
    ("parent_id", Field::ParentId),
    ("generation", Field::Generation),
    ("lifecycle", Field::Lifecycle),
    ("attempt", Field::Attempt),
];

/// Operators of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
    Coalesce,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Binary {
    /// How tightly it binds; the comparisons are 2.
    pub(super) fn level(self) -> usize {
        match self {
            Binary::Or => 0,
            Binary::And => 1,
            Binary::Coalesce => 3,
            Binary::Add | Binary::Subtract => 4,
            Binary::Multiply | Binary::Divide | Binary::Remainder => 5,
            _ => COMPARISON,
        }
    }
}

/// The level of comparisons, the only one without runs.
pub(super) const COMPARISON: usize = 2;

/// A step into a JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

/// The tree. A run of operators that bind alike is one node, so that `a + b + …` is no deeper
/// than `a + b`.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Literal(Value, Range<usize>),
    Field(Field, Range<usize>),
    Path(Root, Box<[Step]>, Range<usize>),
    Index(Box<[Node; 2]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Compare(Binary, Box<[Node; 2]>),
    Run(Box<Node>, Box<[(Binary, Node)]>),
    Choice(Box<[Node; 3]>),
    List(Box<[Node]>),
    Map(Box<[(Node, Node)]>),
    Call(Function, Box<[Node]>, Range<usize>),
}

impl Node {
    pub(super) fn reads(&self, reads: &mut Vec<Read>) {
        match self {
            Node::Field(field, span) => {
                let name = FIELDS.iter().find(|it| it.1 == *field).map_or("", |it| it.0);
                let path = vec![name.to_owned()];
                reads.push(Read { root: Root::Event, path, span: span.clone() });
            }
            Node::Path(root, steps, span) => {
                let names = steps.iter().map_while(|it| match it {
                    Step::Name(name) => Some(name.clone()),
                    Step::Index(_) => None,
                });
                reads.push(Read { root: *root, path: names.collect(), span: span.clone() });
            }
            _ => self.each_child(&mut |it| it.reads(reads)),
        }
    }

    pub(super) fn plain_path(&self) -> Option<(Root, Vec<String>)> {
        match self {
            Node::Path(root, steps, _) => {
                let names = steps.iter().map(|it| match it {
                    Step::Name(name) => Some(name.clone()),
                    Step::Index(_) => None,
                });
                Some((*root, names.collect::<Option<_>>()?))
            }
            Node::Run(path, rest) if matches!(**rest, [(Binary::Coalesce, Node::Literal(..))]) => {
                path.plain_path()
            }
            _ => None,
        }
    }

    /// From its first operand to its last one; a call and a literal stand as a whole.
    pub(super) fn span(&self) -> Range<usize> {
        match self {
            Node::Literal(_, span)
            | Node::Field(_, span)
            | Node::Path(_, _, span)
            | Node::Call(_, _, span) => span.clone(),
            _ => {
                let mut whole: Option<Range<usize>> = None;
                self.each_child(&mut |it| {
                    let span = it.span();
                    whole = Some(match whole.take() {
                        Some(found) => found.start.min(span.start)..found.end.max(span.end),
                        None => span,
                    });
                });
                whole.unwrap_or(0..0)
            }
        }
    }

    /// How deep evaluation recurses.
    pub(super) fn height(&self) -> usize {
        let mut tallest = 0;
        self.each_child(&mut |it| tallest = it.height().max(tallest));
        tallest + 1
    }

    fn each_child(&self, visit: &mut dyn FnMut(&Node)) {
        match self {
            Node::Literal(..) | Node::Field(..) | Node::Path(..) => {}
            Node::Not(it) | Node::Negate(it) => visit(it),
            Node::Index(parts) | Node::Compare(_, parts) => parts.iter().for_each(visit),
            Node::Choice(parts) => parts.iter().for_each(visit),
            Node::List(items) | Node::Call(_, items, _) => items.iter().for_each(visit),
            Node::Run(first, rest) => {
                visit(first);
                rest.iter().for_each(|it| visit(&it.1));
            }
            Node::Map(entries) => entries.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
        }
    }
}
