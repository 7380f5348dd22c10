//! What the user may have meant: slips of the finger, and words of other tools.

mod synonyms;

use synonyms::IN_NODE;
pub use synonyms::{ForeignWord, foreign_kinds, foreign_words, words_in_nodes};
pub(super) use synonyms::{KINDS, WORDS};

/// The nearest of `known` to `word`: at most two slips, or a third of the word's length.
///
/// Of several at the same distance, the one that begins and ends like the word is meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let length = lower.chars().count();
    // A text is no slip of a name; and distances are quadratic in the length.
    if LONGEST < length {
        return None;
    }
    let allowed = if length < 5 { 1 } else { (length / 3).clamp(2, 4) };
    let known: Vec<&str> = known.into_iter().collect();
    let near = closest(&lower, allowed, known.iter().copied());
    near.or_else(|| by_beginning(&lower, &known))
}

/// The one of `known` that is one slip away from `word`: where a wrong guess would lead further
/// away, as with words of other places or of another type.
pub(crate) fn one_slip<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    closest(&lower, 1, known.into_iter()).filter(|_| lower.chars().count() <= LONGEST)
}

/// The only name that begins like the word: `meta` for `metadta`, `temperature` for `temp`.
fn by_beginning<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    const SHORTEST: usize = 4;
    let begins = |long: &str, short: &str| {
        SHORTEST <= short.len() && long.starts_with(short) && long.len() <= 3 * short.len()
    };
    let is_like = |text: &&&str| {
        let name = text.to_lowercase();
        name != word && (begins(&name, word) || begins(word, &name))
    };
    let mut like = known.iter().filter(is_like);
    like.next().filter(|first| like.all(|it| it == *first)).copied()
}

fn closest<'a>(
    lower: &str,
    allowed: usize,
    known: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let length = lower.chars().count();
    known
        .filter(|it| it.chars().count().abs_diff(length) <= allowed)
        .map(|it| (strsim::damerau_levenshtein(lower, &it.to_lowercase()), it))
        .filter(|(slips, it)| *slips <= allowed && *slips < it.len())
        .min_by_key(|(slips, it)| (*slips, unlike(lower, it)))
        .map(|it| it.1)
}

const LONGEST: usize = 100;

/// Characters of no width, which nobody sees and which come with copied text.
pub(crate) fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{AD}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// How much two words differ beside their slips, smaller is more alike: whether they have other
/// letters, then by their ends.
fn unlike(word: &str, other: &str) -> (bool, usize) {
    let other = other.to_lowercase();
    let letters = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    let same = word.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    let ends = word.chars().rev().zip(other.chars().rev());
    let same_end = ends.take_while(|(one, other)| one == other).count();
    (letters(word) != letters(&other), usize::MAX - same - same_end)
}

/// A word of this language in another spelling: `max_body` and `maxBody` are `max-body`.
pub(super) fn respelled<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let (mut dashed, mut before) = (String::new(), None);
    for it in word.chars() {
        if it.is_uppercase() && before.replace(it).is_some_and(char::is_lowercase) {
            dashed.push('-');
        }
        before = Some(it);
        match it {
            '_' | '.' | ' ' => dashed.push('-'),
            _ => dashed.extend(it.to_lowercase()),
        }
    }
    known.iter().find(|it| **it == dashed && dashed != word).copied()
}

/// What an unknown word seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant<'a> {
    /// Surely this one: another spelling, or the same thing elsewhere.
    Surely(&'a str),
    /// Probably this one.
    Probably(&'a str),
    /// Something that stands elsewhere, in words.
    Elsewhere(&'static str),
}

/// The row of a word of other tools.
pub(super) fn foreign_word(
    word: &str,
    table: &'static [ForeignWord],
) -> Option<&'static ForeignWord> {
    table.iter().find(|it| it.word.eq_ignore_ascii_case(word))
}

/// Whether a word means one of ours in this node, whatever it is elsewhere.
pub(super) fn is_of_node(parent: &str, word: &str) -> bool {
    IN_NODE.iter().any(|it| it.0 == parent && it.1.eq_ignore_ascii_case(word))
}

/// The same in the block, or among the properties, of a node.
pub(super) fn meant_in<'a>(parent: &str, word: &str, known: &[&'a str]) -> Option<Meant<'a>> {
    let own = IN_NODE.iter().find(|it| it.0 == parent && it.1.eq_ignore_ascii_case(word));
    let own = own.and_then(|own| known.iter().find(|it| **it == own.2));
    own.map(|own| Meant::Probably(own)).or_else(|| meant(word, known, WORDS))
}

/// What `word` seems to be among the words that are `known` in its place.
pub(super) fn meant<'a>(
    word: &str,
    known: &[&'a str],
    table: &'static [ForeignWord],
) -> Option<Meant<'a>> {
    if let Some(it) = respelled(word, known) {
        return Some(Meant::Surely(it));
    }
    let foreign = foreign_word(word, table);
    let ours = foreign.and_then(|row| {
        row.ours.iter().find_map(|ours| known.iter().find(|it| *it == ours).copied())
    });
    match (ours, foreign) {
        (Some(it), Some(row)) if row.is_same => Some(Meant::Surely(it)),
        (Some(it), _) => Some(Meant::Probably(it)),
        // A known word of other tools for which there is none here is no slip of a similar one.
        (None, Some(row)) if row.ours.is_empty() && !row.elsewhere.is_empty() => {
            Some(Meant::Elsewhere(row.elsewhere))
        }
        (None, _) => match nearest(word, known.iter().copied()) {
            Some(it) => Some(Meant::Probably(it)),
            None => foreign
                .map(|foreign| foreign.elsewhere)
                .filter(|elsewhere| !elsewhere.is_empty())
                .map(Meant::Elsewhere),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_forgiven_and_a_stranger_is_not() {
        assert_eq!(nearest("cooldwn", ["title", "cooldown"]), Some("cooldown"));
        assert_eq!(nearest("metadta", ["meta", "metadata"]), Some("metadata"));
        assert_eq!(nearest("xyz", ["title", "cooldown"]), None);
    }

    #[test]
    fn of_two_neighbours_the_more_alike_is_meant() {
        assert_eq!(nearest("mut", ["max", "must", "mat"]), Some("must"));
        assert_eq!(nearest("keeep", ["key", "kept", "keep"]), Some("keep"));
        assert_eq!(nearest("uath", ["path", "auth"]), Some("auth"));
        assert_eq!(nearest("lve", ["low", "love", "live"]), Some("love"));
    }

    #[test]
    fn a_long_text_is_no_slip() {
        let long = "a".repeat(1 << 20);
        assert_eq!(nearest(&long, ["title"]), None);
    }

    #[test]
    fn other_spellings_are_the_same_word() {
        let known = ["max-body", "event-timeout"];
        for word in ["max_body", "maxBody", "MaxBody", "MAX_BODY", "Max-Body"] {
            assert_eq!(respelled(word, &known), Some("max-body"), "{word}");
        }
        assert_eq!(respelled("max-body", &known), None);
        assert_eq!(respelled("body", &known), None);
    }

    #[test]
    fn a_word_of_another_tool_is_ours_only_where_ours_may_stand() {
        assert_eq!(meant("inputs", &["after", "needs"], WORDS), Some(Meant::Surely("after")));
        assert_eq!(meant("ttl", &["keep"], WORDS), Some(Meant::Surely("keep")));
        let Some(Meant::Elsewhere(text)) = meant("inputs", &["path"], WORDS) else {
            panic!("it says where it goes")
        };
        assert!(text.contains("route"), "{text}");
        assert_eq!(meant("frobnicate", &["after"], WORDS), None);
    }
}
