//! The tree that the parser makes and evaluation walks.

use super::function::Function;
use super::{PathRead, Root};
use kernel::condition::Comparison;
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

    /// How a comparison is written.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Binary::Less => "<",
            Binary::LessEqual => "<=",
            Binary::Greater => ">",
            Binary::GreaterEqual => ">=",
            Binary::Unequal => "!=",
            _ => "==",
        }
    }

    /// The comparison that it is, if it is one.
    pub(super) fn comparison(self) -> Option<Comparison> {
        Some(match self {
            Binary::Equal => Comparison::Equal,
            Binary::Unequal => Comparison::Unequal,
            Binary::Less => Comparison::Less,
            Binary::LessEqual => Comparison::LessEqual,
            Binary::Greater => Comparison::Greater,
            Binary::GreaterEqual => Comparison::GreaterEqual,
            _ => return None,
        })
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
pub(super) enum ExprNode {
    Literal(Value, Range<usize>),
    Field(Field, Range<usize>),
    Path(Root, Box<[Step]>, Range<usize>),
    Index(Box<[ExprNode; 2]>),
    Not(Box<ExprNode>),
    Negate(Box<ExprNode>),
    Compare(Binary, Box<[ExprNode; 2]>),
    Run(Box<ExprNode>, Box<[(Binary, ExprNode)]>),
    Choice(Box<[ExprNode; 3]>),
    List(Box<[ExprNode]>),
    Map(Box<[(ExprNode, ExprNode)]>),
    Call(Function, Box<[ExprNode]>, Range<usize>),
    /// What a macro's variable holds, and a path into it. The number says which macro's: the outer
    /// one's is 0.
    Item(usize, Box<[Step]>, Range<usize>),
    Macro(Box<Macro>),
}

/// What is done with each item of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MacroKind {
    Exists,
    All,
    Filter,
    Map,
}

impl MacroKind {
    pub(super) const ALL: [(&'static str, MacroKind); 4] = [
        ("exists", MacroKind::Exists),
        ("all", MacroKind::All),
        ("filter", MacroKind::Filter),
        ("map", MacroKind::Map),
    ];

    pub(super) fn of(name: &str) -> Option<MacroKind> {
        MacroKind::ALL.iter().find(|it| it.0 == name).map(|it| it.1)
    }

    pub(super) fn name(self) -> &'static str {
        MacroKind::ALL[self as usize].0
    }
}

/// `list.exists(variable, body)`.
#[derive(Debug, Clone)]
pub(super) struct Macro {
    pub(super) kind: MacroKind,
    pub(super) list: ExprNode,
    pub(super) body: ExprNode,
    /// Which variable is its own.
    pub(super) slot: usize,
    /// How many steps one item costs.
    pub(super) cost: u32,
    pub(super) span: Range<usize>,
}

impl ExprNode {
    pub(super) fn reads(&self, reads: &mut Vec<PathRead>) {
        match self {
            ExprNode::Field(field, span) => {
                let name = FIELDS.iter().find(|it| it.1 == *field).map_or("", |field| field.0);
                let path = vec![name.to_owned()];
                reads.push(PathRead { root: Root::Event, path, span: span.clone() });
            }
            ExprNode::Path(root, steps, span) => {
                let names = steps.iter().map_while(|step| match step {
                    Step::Name(name) => Some(name.clone()),
                    Step::Index(_) => None,
                });
                reads.push(PathRead { root: *root, path: names.collect(), span: span.clone() });
            }
            _ => self.each_child(&mut |it| it.reads(reads)),
        }
    }

    pub(super) fn plain_path(&self) -> Option<(Root, Vec<String>)> {
        match self {
            ExprNode::Path(root, steps, _) => {
                let names = steps.iter().map(|step| match step {
                    Step::Name(name) => Some(name.clone()),
                    Step::Index(_) => None,
                });
                Some((*root, names.collect::<Option<_>>()?))
            }
            ExprNode::Run(path, rest)
                if matches!(**rest, [(Binary::Coalesce, ExprNode::Literal(..))]) =>
            {
                path.plain_path()
            }
            _ => None,
        }
    }

    /// From its first operand to its last one; a call and a literal stand as a whole.
    pub(super) fn span(&self) -> Range<usize> {
        match self {
            ExprNode::Literal(_, span)
            | ExprNode::Field(_, span)
            | ExprNode::Path(_, _, span)
            | ExprNode::Item(_, _, span)
            | ExprNode::Call(_, _, span) => span.clone(),
            ExprNode::Macro(it) => it.span.clone(),
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

    /// Whether it is a priority, which compares by level: `event.priority`, also with a default.
    pub(super) fn is_level(&self) -> bool {
        match self {
            ExprNode::Field(field, _) => *field == Field::Priority,
            ExprNode::Run(first, rest) => {
                rest.iter().all(|it| it.0 == Binary::Coalesce)
                    && (first.is_level() || rest.iter().any(|it| it.1.is_level()))
            }
            ExprNode::Choice(parts) => parts[1..].iter().any(ExprNode::is_level),
            ExprNode::Call(Function::Plain(row), arguments, _) => {
                matches!(row.name, "coalesce" | "default")
                    && arguments.iter().any(ExprNode::is_level)
            }
            _ => false,
        }
    }

    /// How deep evaluation recurses.
    pub(super) fn height(&self) -> usize {
        let mut tallest = 0;
        self.each_child(&mut |it| tallest = it.height().max(tallest));
        tallest + 1
    }

    /// How many nodes it is made of.
    pub(super) fn size(&self) -> u32 {
        let mut size = 1_u32;
        self.each_child(&mut |it| size = size.saturating_add(it.size()));
        size
    }

    /// Whether it goes through the items of a list.
    pub(super) fn has_loops(&self) -> bool {
        let mut found = match self {
            ExprNode::Macro(_) => true,
            ExprNode::Call(function, ..) => function.is_of_lists(),
            _ => false,
        };
        self.each_child(&mut |it| found |= it.has_loops());
        found
    }

    pub(super) fn each_child(&self, visit: &mut dyn FnMut(&ExprNode)) {
        match self {
            ExprNode::Literal(..)
            | ExprNode::Field(..)
            | ExprNode::Path(..)
            | ExprNode::Item(..) => {}
            ExprNode::Macro(it) => [&it.list, &it.body].into_iter().for_each(visit),
            ExprNode::Not(it) | ExprNode::Negate(it) => visit(it),
            ExprNode::Index(parts) | ExprNode::Compare(_, parts) => parts.iter().for_each(visit),
            ExprNode::Choice(parts) => parts.iter().for_each(visit),
            ExprNode::List(items) | ExprNode::Call(_, items, _) => items.iter().for_each(visit),
            ExprNode::Run(first, rest) => {
                visit(first);
                rest.iter().for_each(|it| visit(&it.1));
            }
            ExprNode::Map(entries) => entries.iter().for_each(|(key, value)| {
                visit(key);
                visit(value);
            }),
        }
    }
}
