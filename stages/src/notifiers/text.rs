//! What services take of a text: how long it may be, and what none of them takes.
//!
//! A text that is too long is cut and ends in an ellipsis; refused, it would say nothing at all.
//!
//! *Invariant:* a message is never blank: services refuse that, or say something of their own.

use crate::contract::Notice;

const ELLIPSIS: char = '…';

/// How a service measures texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextUnit {
    /// Bytes of UTF-8.
    Bytes,
    /// Units of UTF-16: most emoji are two.
    Utf16,
    /// Code points.
    Letters,
    /// Bytes of UTF-8 within a JSON text, where some letters are escaped.
    JsonBytes,
}

/// The longest text that a service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextLimit {
    max: usize,
    unit: TextUnit,
}

impl TextLimit {
    pub(super) const fn bytes(max: usize) -> Self {
        TextLimit { max, unit: TextUnit::Bytes }
    }

    pub(super) const fn utf16(max: usize) -> Self {
        TextLimit { max, unit: TextUnit::Utf16 }
    }

    pub(super) const fn letters(max: usize) -> Self {
        TextLimit { max, unit: TextUnit::Letters }
    }

    pub(super) const fn json_bytes(max: usize) -> Self {
        TextLimit { max, unit: TextUnit::JsonBytes }
    }

    fn letter(self, letter: char) -> usize {
        match self.unit {
            TextUnit::Bytes => letter.len_utf8(),
            TextUnit::Utf16 => letter.len_utf16(),
            TextUnit::Letters => 1,
            TextUnit::JsonBytes => match letter {
                '"' | '\\' | '\n' | '\t' | '\r' => 2,
                control if control < ' ' => 6,
                other => other.len_utf8(),
            },
        }
    }

    fn size(self, text: &str) -> usize {
        text.chars().map(|letter| self.letter(letter)).sum()
    }

    /// What is left of it beside `text`.
    pub(super) fn beside(self, text: &str) -> Self {
        TextLimit { max: self.max.saturating_sub(self.size(text)), ..self }
    }

    /// The text, or as much of its beginning as there is room for, with an ellipsis. Never half of
    /// what is drawn as one: an accent stays with its letter, a family of emoji together.
    pub(super) fn cut(self, text: &str) -> String {
        if self.size(text) <= self.max {
            return text.to_owned();
        }
        let Some(room) = self.max.checked_sub(self.letter(ELLIPSIS)) else { return String::new() };
        let (mut used, mut end, mut last) = (0, 0, None);
        for (at, letter) in text.char_indices() {
            // Whatever came before ends here, unless this belongs to it.
            if !last.is_some_and(|it| is_joined(it, letter)) {
                end = at;
            }
            used += self.letter(letter);
            if room < used {
                break;
            }
            last = Some(letter);
        }
        format!("{}{ELLIPSIS}", text[..end].trim_end())
    }

    /// The text as markup, or as much of its beginning as there is room for once it is that.
    pub(super) fn cut_as(self, text: &str, markup: impl Fn(&str) -> String) -> String {
        let whole = markup(text);
        if self.size(&whole) <= self.max {
            return whole;
        }
        // The longer the text, the longer the markup: the longest that fits is found by halves.
        let (mut fits, mut too_long) = (0, self.max + 1);
        while fits + 1 < too_long {
            let middle = (fits + too_long) / 2;
            let cut = markup(&TextLimit { max: middle, ..self }.cut(text));
            match self.size(&cut) <= self.max {
                true => fits = middle,
                false => too_long = middle,
            }
        }
        markup(&TextLimit { max: fits, ..self }.cut(text))
    }
}

/// Whether two letters are drawn as one.
fn is_joined(first: char, second: char) -> bool {
    const JOINER: char = '\u{200d}';
    let is_mark = matches!(
        second,
        '\u{0300}'..='\u{036f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}'
    );
    // A flag is two letters of its own alphabet; which of several begins one is not known here.
    let is_flag = |letter: char| matches!(letter, '\u{1f1e6}'..='\u{1f1ff}');
    first == JOINER || second == JOINER || is_mark || (is_flag(first) && is_flag(second))
}

/// What a message says: neither text holds control characters, the title has one line, and the
/// message is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageText {
    /// May be empty.
    pub(super) title: String,
    pub(super) message: String,
}

impl MessageText {
    /// A blank message is replaced by the title, and that by the type of the event.
    pub(super) fn of(notice: &Notice) -> Self {
        let (mut title, mut message) = (one_line(&notice.title), lines(&notice.message));
        if is_blank(&title) {
            title.clear();
        }
        if is_blank(&message) {
            message = std::mem::take(&mut title);
        }
        if message.is_empty() {
            message = notice.outgoing.stored.envelope.kind.to_string();
        }
        MessageText { title, message }
    }

    /// The same, as long as a service takes them.
    pub(super) fn cut(&self, title: TextLimit, message: TextLimit) -> Self {
        MessageText { title: title.cut(&self.title), message: message.cut(&self.message) }
    }
}

/// A text in one line, without control characters.
pub(super) fn one_line(text: &str) -> String {
    let blank =
        |it: char| if matches!(it, '\n' | '\t' | '\u{2028}' | '\u{2029}') { ' ' } else { it };
    lines(text).chars().map(blank).collect::<String>().trim().to_owned()
}

/// A text without control characters other than ends of lines and tabs.
pub(super) fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let is_kept = |letter: &char| !letter.is_control() || matches!(letter, '\n' | '\t');
    text.chars().filter(is_kept).collect::<String>().trim_end().to_owned()
}

/// Whether nothing of a text can be seen.
fn is_blank(text: &str) -> bool {
    let is_hidden = |letter: char| {
        matches!(letter, '\u{00ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
    };
    text.chars().all(|letter| letter.is_whitespace() || is_hidden(letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis_at_a_letter() {
        for (limit, text, cut) in [
            (TextLimit::bytes(5), "abcde", "abcde"),
            (TextLimit::bytes(5), "abcdef", "ab…"),
            (TextLimit::bytes(5), "éééé", "é…"),
            (TextLimit::bytes(6), "a 🔔🔔", "a…"),
            (TextLimit::utf16(4), "🔔🔔🔔", "🔔…"),
            (TextLimit::utf16(6), "🔔🔔🔔", "🔔🔔🔔"),
            (TextLimit::letters(3), "🔔🔔🔔🔔", "🔔🔔…"),
            (TextLimit::letters(3), "one two", "on…"),
            (TextLimit::letters(4), "ab\n\ncd", "ab…"),
            (TextLimit::letters(3), "abe\u{301}f", "ab…"),
            (TextLimit::letters(5), "👨\u{200d}👩\u{200d}👧 at the door", "…"),
            (
                TextLimit::letters(7),
                "👨\u{200d}👩\u{200d}👧 at the door",
                "👨\u{200d}👩\u{200d}👧…",
            ),
            (TextLimit::json_bytes(7), "\"\"\"\"", "\"\"…"),
            (TextLimit::bytes(2), "abc", ""),
            (TextLimit::bytes(0), "", ""),
        ] {
            assert_eq!(limit.cut(text), cut, "{limit:?} of {text:?}");
        }
        assert_eq!(TextLimit::bytes(9).beside("é").cut("abcdefgh"), "abcd…");
    }

    #[test]
    fn markup_counts_as_it_is_sent() {
        let stars = |text: &str| text.replace('*', "\\*");
        for (max, text, cut) in [
            (6, "a***b", "a\\*\\*…"),
            (5, "abc**", "abc…"),
            (9, "a***b", "a\\*\\*\\*b"),
            (1, "***", "…"),
            (0, "***", ""),
        ] {
            let cut_text = TextLimit::letters(max).cut_as(text, stars);
            assert_eq!(cut_text, cut, "{text} within {max}");
        }
    }

    #[track_caller]
    fn check(title: &str, message: &str, expected: (&str, &str)) {
        let outgoing = testing::outgoing(json!({}));
        let (title, message) = (title.to_owned(), message.to_owned());
        let text = MessageText::of(&Notice { outgoing, title, message, update: None });
        assert_eq!((text.title.as_str(), text.message.as_str()), expected);
    }

    #[test]
    fn a_title_has_one_line_and_a_message_says_something() {
        check("a\r\nX-Evil: 1", "one\r\ntwo\rthree\n", ("a X-Evil: 1", "one\ntwo\nthree"));
        check("\0zero\u{7f}\u{85}", "a\tb\u{1b}[31m", ("zero", "a\tb[31m"));
        check("tab\there", "m", ("tab here", "m"));
        check("Ring", "", ("", "Ring"));
        check("Ring", " \n\u{200b}", ("", "Ring"));
        check("", "m", ("", "m"));
        check(" ", "\0", ("", "door.bell"));
        check("Za\u{17c}ó\u{142}\u{107}", "\u{202e}gnirts", ("Zażółć", "\u{202e}gnirts"));
    }

    proptest! {
        #[test]
        fn a_cut_text_fits_and_is_a_beginning(text in "\\PC{0,60}", max in 0_usize..80) {
            for limit in [
                TextLimit::bytes(max),
                TextLimit::utf16(max),
                TextLimit::letters(max),
                TextLimit::json_bytes(max),
            ] {
                let cut = limit.cut(&text);
                prop_assert!(limit.size(&cut) <= max);
                let is_whole = cut == text;
                let beginning = cut.strip_suffix(ELLIPSIS).unwrap_or_default();
                prop_assert!(is_whole || text.starts_with(beginning));
            }
        }
    }
}
