//! Words of a file that stand for one of several values.

/// A value that a file chooses by its word.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every value.
    const ALL: &'static [Self];
    /// Their words, in the same order.
    const WORDS: &'static [&'static str];

    /// The value with this word.
    fn of_word(word: &str) -> Option<Self> {
        let index = Self::WORDS.iter().position(|it| *it == word)?;
        Some(Self::ALL[index])
    }

    /// As a file writes it.
    fn word(self) -> &'static str {
        let index = Self::ALL.iter().position(|it| *it == self);
        Self::WORDS[index.expect("every value is among all")]
    }
}

/// An enum whose variants are words of the language, each beside its word:
///
/// ```
/// kernel::choice! {
///     /// How much is kept.
///     pub enum Amount {
///         /// Everything.
///         All = "all",
///         /// Nothing.
///         Nothing = "none",
///     }
/// }
/// use kernel::choice::Choice;
/// assert_eq!(Amount::of_word("none"), Some(Amount::Nothing));
/// ```
#[macro_export]
macro_rules! choice {
    ($(#[$about:meta])* $visible:vis enum $name:ident {
        $($(#[$note:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visible enum $name { $($(#[$note])* $variant,)+ }

        impl $crate::choice::Choice for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            const WORDS: &'static [&'static str] = &[$($word),+];
        }
    };
}
