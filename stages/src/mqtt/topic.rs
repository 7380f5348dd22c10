//! Topics and the filters that choose among them.
//!
//! A filter of the file may name its single levels, `zigbee/+device/state`; the broker gets
//! `zigbee/+/state`, and `map` reads `mqtt.params.device`.

use language::spanned::Span;
use serde_json::{Map, Value};

/// The longest topic and filter, in bytes: a string of the protocol.
const TOPIC_MAX: usize = 65_535;

/// A filter, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TopicFilter {
    /// The group of `$share/GROUP/…`.
    share: Option<String>,
    levels: Vec<FilterLevel>,
}

#[derive(Debug, Clone, PartialEq)]
enum FilterLevel {
    Word(String),
    /// `+` or `+name`.
    Single(Option<String>),
    /// `#`.
    Rest,
}

/// What is wrong with a topic or filter, and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TopicError {
    /// Bytes of the text.
    pub(crate) at: Span,
    pub(crate) message: String,
    /// A few words for the place.
    pub(crate) label: &'static str,
    pub(crate) help: String,
}

impl TopicFilter {
    pub(crate) fn parse(text: &str) -> Result<Self, TopicError> {
        check_text(text)?;
        let (share, start) = share_of(text)?;
        let mut levels: Vec<FilterLevel> = Vec::new();
        let mut at = start;
        for word in text[start..].split('/') {
            let span = at..at + word.len();
            at = span.end + 1;
            let level = level(text, word, span.clone())?;
            if let FilterLevel::Single(Some(name)) = &level
                && levels.contains(&level)
            {
                return Err(TopicError {
                    at: span,
                    message: format!("two levels are called `{name}`"),
                    label: "again",
                    help: "give each level its own name".to_owned(),
                });
            }
            levels.push(level);
        }
        Ok(TopicFilter { share, levels })
    }

    /// As the broker gets it.
    pub(crate) fn text(&self) -> String {
        let share = self.share.iter().map(|group| format!("$share/{group}/"));
        let levels: Vec<&str> = self.levels.iter().map(FilterLevel::text).collect();
        share.chain([levels.join("/")]).collect()
    }

    /// Whether several clients share its messages.
    pub(crate) fn is_shared(&self) -> bool {
        self.share.is_some()
    }

    /// The topic, where it takes only one.
    pub(crate) fn single(&self) -> Option<String> {
        let is_word = |level: &FilterLevel| matches!(level, FilterLevel::Word(_));
        let levels: Vec<&str> = self.levels.iter().map(FilterLevel::text).collect();
        self.levels.iter().all(is_word).then(|| levels.join("/"))
    }

    /// The names of its levels.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().filter_map(|level| match level {
            FilterLevel::Single(Some(name)) => Some(name.as_str()),
            _ => None,
        })
    }

    /// What its named levels are in this topic; `None` where it does not take the topic.
    pub(crate) fn params(&self, topic: &str) -> Option<Map<String, Value>> {
        // Topics of the broker's own are only for filters that ask for them.
        if topic.starts_with('$') && !matches!(self.levels.first(), Some(FilterLevel::Word(_))) {
            return None;
        }
        let mut params = Map::new();
        let mut words = topic.split('/');
        for level in &self.levels {
            match (level, words.next()) {
                (FilterLevel::Rest, _) => return Some(params),
                (_, None) => return None,
                (FilterLevel::Word(word), Some(found)) if word != found => return None,
                (FilterLevel::Single(Some(name)), Some(found)) => {
                    params.insert(name.clone(), Value::from(found));
                }
                (FilterLevel::Word(_) | FilterLevel::Single(None), Some(_)) => {}
            }
        }
        words.next().is_none().then_some(params)
    }

    /// Whether some topic fits both.
    pub(crate) fn overlaps(&self, other: &TopicFilter) -> bool {
        let mut both = (self.levels.iter(), other.levels.iter());
        loop {
            match (both.0.next(), both.1.next()) {
                (Some(FilterLevel::Rest), _) | (_, Some(FilterLevel::Rest)) | (None, None) => {
                    return true;
                }
                (Some(FilterLevel::Word(one)), Some(FilterLevel::Word(two))) if one != two => {
                    return false;
                }
                (Some(_), Some(_)) => {}
                (None, Some(_)) | (Some(_), None) => return false,
            }
        }
    }
}

impl FilterLevel {
    fn text(&self) -> &str {
        match self {
            FilterLevel::Word(word) => word,
            FilterLevel::Single(_) => "+",
            FilterLevel::Rest => "#",
        }
    }
}

/// Whether something can be published on this topic.
pub(crate) fn check_name(topic: &str) -> Result<(), TopicError> {
    check_text(topic)?;
    let Some(at) = topic.find(['+', '#']) else { return Ok(()) };
    Err(TopicError {
        at: at..at + 1,
        message: format!("a topic to publish on has no `{}`", &topic[at..=at]),
        label: "only for subscriptions",
        help: "name one topic, such as `home/lamp/state`".to_owned(),
    })
}

/// The group of a shared subscription, and where its filter begins.
fn share_of(text: &str) -> Result<(Option<String>, usize), TopicError> {
    let Some(rest) = text.strip_prefix("$share/") else { return Ok((None, 0)) };
    let wrong = |at: Span| TopicError {
        at,
        message: "a shared subscription needs a group and a filter".to_owned(),
        label: "here",
        help: "write `$share/GROUP/FILTER`, such as `$share/engines/frigate/events`".to_owned(),
    };
    let start = text.len() - rest.len();
    match rest.split_once('/') {
        Some((group, filter))
            if !group.is_empty() && !group.contains(['+', '#']) && !filter.is_empty() =>
        {
            Ok((Some(group.to_owned()), start + group.len() + 1))
        }
        _ => Err(wrong(start..text.len())),
    }
}

fn level(text: &str, word: &str, span: Span) -> Result<FilterLevel, TopicError> {
    let wrong = |at: Span, message: &str, label, help: String| {
        Err(TopicError { at, message: message.to_owned(), label, help })
    };
    if let Some(sign) = word.find('#') {
        let at = span.start + sign..span.start + sign + 1;
        return match (word, span.end == text.len()) {
            ("#", true) => Ok(FilterLevel::Rest),
            ("#", false) => {
                let help = format!("end the topic here: `{}`", &text[..span.end]);
                wrong(at, "`#` must be the last level of a topic", "not the last level", help)
            }
            _ => {
                let help = "write `#` alone after a `/`: it takes all levels below".to_owned();
                wrong(at, "`#` must be a whole level of a topic", "part of a level", help)
            }
        };
    }
    match (word.strip_prefix('+'), word.find('+')) {
        (Some(""), _) => Ok(FilterLevel::Single(None)),
        (Some(name), _) if is_name(name) => Ok(FilterLevel::Single(Some(name.to_owned()))),
        (Some(_), _) => {
            let help = "use small letters, digits and `_`, such as `+device`".to_owned();
            wrong(span, "this is not a name for a level of a topic", "not a name", help)
        }
        (None, Some(sign)) => {
            let at = span.start + sign..span.start + sign + 1;
            let help = "write `+` alone between slashes: it takes one whole level".to_owned();
            wrong(at, "`+` must be a whole level of a topic", "part of a level", help)
        }
        (None, None) => Ok(FilterLevel::Word(word.to_owned())),
    }
}

/// A name that a path of an expression can have.
fn is_name(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_lowercase() || letter == '_')
        && text
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

fn check_text(text: &str) -> Result<(), TopicError> {
    let wrong = |at, message: &str, help: &str| {
        Err(TopicError { at, message: message.to_owned(), label: "here", help: help.to_owned() })
    };
    if text.is_empty() {
        return wrong(0..0, "a topic must not be empty", "write it, such as `frigate/events`");
    }
    if TOPIC_MAX < text.len() {
        return wrong(0..text.len(), "a topic has at most 65535 bytes", "shorten it");
    }
    if let Some((at, sign)) = text.char_indices().find(|it| it.1.is_control()) {
        let help = "remove the control character";
        return wrong(at..at + sign.len_utf8(), "a topic has no control characters", help);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    #[test]
    fn a_filter_takes_what_the_standard_says() {
        for (text, takes, leaves) in [
            ("a/b", vec!["a/b"], vec!["a", "a/b/c", "a/", "A/b"]),
            ("a/+", vec!["a/b", "a/"], vec!["a", "a/b/c"]),
            ("a/#", vec!["a", "a/b", "a/b/c", "a/"], vec!["b", "ab"]),
            ("#", vec!["a", "a/b", "/"], vec!["$SYS/x"]),
            ("+/x", vec!["a/x", "/x"], vec!["$SYS/x", "x"]),
            ("$SYS/#", vec!["$SYS/x"], vec!["a"]),
            ("$share/g/a/+", vec!["a/b"], vec!["$share/g/a/b"]),
        ] {
            let filter = filter(text);
            takes.iter().for_each(|it| assert!(filter.params(it).is_some(), "{text} {it}"));
            leaves.iter().for_each(|leaf| assert!(filter.params(leaf).is_none(), "{text} {leaf}"));
        }
    }

    #[test]
    fn a_named_level_is_read_and_the_broker_does_not_see_its_name() {
        let filter = filter("zigbee/+device/+/set");
        assert_eq!(filter.text(), "zigbee/+/+/set");
        let params = filter.params("zigbee/lamp/x/set").unwrap();
        assert_eq!(Value::Object(params), serde_json::json!({ "device": "lamp" }));
        assert_eq!(super::TopicFilter::parse("$share/g/a/+b").unwrap().text(), "$share/g/a/+");
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (text, at, message) in [
            ("", 0..0, "a topic must not be empty"),
            ("a/#/b", 2..3, "`#` must be the last level of a topic"),
            ("a/b#", 3..4, "`#` must be a whole level of a topic"),
            ("a/b+/c", 3..4, "`+` must be a whole level of a topic"),
            ("a/+B", 2..4, "this is not a name for a level of a topic"),
            ("+x/+x", 3..5, "two levels are called `x`"),
            ("$share/g", 7..8, "a shared subscription needs a group and a filter"),
            ("$share/g+/a", 7..11, "a shared subscription needs a group and a filter"),
            ("a\0", 1..2, "a topic has no control characters"),
        ] {
            let error = TopicFilter::parse(text).unwrap_err();
            assert_eq!((error.at, error.message.as_str()), (at, message), "{text}");
        }
    }

    #[test]
    fn what_is_published_has_one_topic() {
        for topic in ["a", "a/b c/ü", "/", "a//b", "$x"] {
            assert_eq!(check_name(topic), Ok(()));
        }
        for (topic, at, message) in [
            ("", 0..0, "a topic must not be empty"),
            ("a/+/c", 2..3, "a topic to publish on has no `+`"),
            ("a#", 1..2, "a topic to publish on has no `#`"),
            ("a\0b", 1..2, "a topic has no control characters"),
        ] {
            let error = check_name(topic).unwrap_err();
            assert_eq!((error.at, error.message.as_str()), (at, message), "{topic}");
        }
        assert_eq!(check_name(&"x".repeat(65_535)), Ok(()));
        assert!(check_name(&"x".repeat(65_536)).is_err());
    }

    #[test]
    fn filters_overlap_where_a_topic_fits_both() {
        for (one, two, overlap) in [
            ("a/#", "a/b", true),
            ("a/#", "a", true),
            ("a/+", "a/b", true),
            ("a/+/c", "a/b/+", true),
            ("a/b", "a/c", false),
            ("a/+", "a/b/c", false),
            ("#", "x", true),
        ] {
            let (one, two) = (filter(one), filter(two));
            assert_eq!((one.overlaps(&two), two.overlaps(&one)), (overlap, overlap));
        }
    }

    proptest! {
        #[test]
        fn two_filters_that_take_one_topic_overlap(
            topic in "[ab]{1,2}(/[ab]{0,2}){0,3}",
            one in "([ab]{1,2}|\\+)(/([ab]{0,2}|\\+)){0,3}(/#)?",
            two in "([ab]{1,2}|\\+)(/([ab]{0,2}|\\+)){0,3}(/#)?",
        ) {
            let (one, two) = (filter(&one), filter(&two));
            if one.params(&topic).is_some() && two.params(&topic).is_some() {
                prop_assert!(one.overlaps(&two));
            }
        }
    }
}
