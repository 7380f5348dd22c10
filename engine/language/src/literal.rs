//! Texts that must stand in the file itself.

use crate::Scalar;
use crate::diagnostic::{Diagnostics, Rule};
use crate::spanned::Spanned;

/// The text of `scalar`; reports one that is taken from elsewhere.
pub fn literal(scalar: &Scalar<'_>, diagnostics: &mut Diagnostics) -> Option<Spanned<String>> {
    let text = scalar.text();
    if text.is_none() {
        diagnostics
            .push(Rule::BadAnnotation, "this text must stand in the file itself")
            .at(scalar.span(), "taken from elsewhere")
            .help("write the text in quotes, without `(env)` or `(file)`");
    }
    text
}
