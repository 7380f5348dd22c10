//! An expression on the command line that is wrong, reported as in a file.

use crate::terminal;
use compiler::report;
use language::diagnostic::{Diagnostics, Rule, SourceText};
use language::expr::{Expr, ExprProblem, Roots};
use std::sync::Arc;

/// Reads an expression over a stored event; what is wrong with it is said.
pub(super) fn of_event(text: Option<&str>) -> Result<Option<Expr>, ()> {
    let parsed = text.map(|text| Expr::parse(text, Roots::EVENT)).transpose();
    parsed.map_err(|problems| tell(text.unwrap_or_default(), false, problems))
}

/// Says what is wrong with an expression, or with a template.
pub(super) fn tell(text: &str, is_template: bool, problems: Vec<ExprProblem>) {
    let (name, unreadable) = match is_template {
        true => ("<template>", Rule::BadTemplate),
        false => ("<expression>", Rule::BadExpression),
    };
    let source = SourceText { name: name.to_owned(), text: text.to_owned() };
    let mut diagnostics = Diagnostics::new(Arc::new(source));
    for problem in problems {
        let rule = problem.kind.rule(unreadable);
        let found = diagnostics.push(rule, problem.message).at(problem.span, problem.label);
        if let Some(help) = problem.help {
            found.help(help);
        }
    }
    let found = diagnostics.sorted();
    terminal::to_terminal(&report::human(&found, terminal::has_colour(), terminal::width()));
}
