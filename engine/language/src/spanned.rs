//! A value together with the place in the text that it came from.

use std::ops::Range;

/// Byte range in a source text.
pub type Span = Range<usize>;

/// A value and the text it came from.
///
/// Invariant: equality looks at the value alone, so a reload that only moves lines
/// changes nothing.
#[derive(Debug, Clone)]
pub struct Spanned<T> {
    /// What was written, read.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Puts a value and its place together.
    pub fn new(value: T, span: Span) -> Self {
        Spanned { value, span }
    }

    /// Another value from the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: change(self.value), span: self.span }
    }
}

impl<T> Spanned<Option<T>> {
    /// The value at its place, when there is one.
    pub fn transpose(self) -> Option<Spanned<T>> {
        self.value.map(|value| Spanned { value, span: self.span })
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
