//! What is wrong with an expression, in the words of who wrote it.

use crate::diagnostic::Rule;
use std::ops::Range;

/// What is wrong with an expression, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExprProblem {
    /// Bytes of the expression's text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What is wrong here, shorter.
    pub label: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The whole expression without the problem, as a raw string of KDL holds it.
    pub instead: Option<String>,
    /// What sort of problem it is.
    pub kind: ProblemKind,
}

/// Sorts of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// It cannot be read.
    Syntax,
    /// A function, filter, field or root that does not exist.
    UnknownName,
    /// A word compared with a priority that is none.
    UnknownPriority,
    /// Too long or too deep.
    TooLarge,
}

impl ProblemKind {
    /// The rule that reports it; what cannot be read is for the place to name.
    pub fn rule(self, unreadable: Rule) -> Rule {
        match self {
            ProblemKind::UnknownName => Rule::UnknownFunction,
            ProblemKind::UnknownPriority => Rule::UnknownPriority,
            ProblemKind::Syntax | ProblemKind::TooLarge => unreadable,
        }
    }
}

impl ExprProblem {
    pub(super) fn syntax(span: Range<usize>, message: impl Into<String>) -> Self {
        let message = message.into();
        ExprProblem {
            span,
            label: "here".to_owned(),
            message,
            help: None,
            instead: None,
            kind: ProblemKind::Syntax,
        }
    }

    pub(super) fn too_large(span: Range<usize>, message: impl Into<String>) -> Self {
        ExprProblem { kind: ProblemKind::TooLarge, ..ExprProblem::syntax(span, message) }
    }

    pub(super) fn unknown(span: Range<usize>, message: String, help: Option<String>) -> Self {
        let label = "unknown".to_owned();
        ExprProblem {
            label,
            help,
            kind: ProblemKind::UnknownName,
            ..ExprProblem::syntax(span, message)
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
}
