//! Texts that must be a literal in the file.

use crate::Scalar;
use crate::diagnostic::{Diagnostics, Rule};
use crate::spanned::Spanned;

/// The text of `scalar`; reports one that is not a literal.
pub fn literal(scalar: &Scalar<'_>, diagnostics: &mut Diagnostics) -> Option<Spanned<String>> {
    let text = scalar.text();
    if text.is_none() {
        diagnostics
            .push(Rule::BadAnnotation, "this text must be a literal in the file")
            .at(scalar.span(), "not a literal")
            .help("write the text in quotes, without `(env)` or `(file)`");
    }
    text
}
