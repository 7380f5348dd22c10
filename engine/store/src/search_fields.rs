//! Which texts of an event are searched, and finding them in its JSON.

use serde_json::{Value, json};

/// A longer text is left out, in bytes: it is a picture or a page rather than words.
const TEXT_MAX: usize = 8 << 10;
/// So many bytes of one event are searched.
const EVENT_MAX: usize = 64 << 10;
/// Between two texts, so that no phrase goes from one into the next: a word that nobody can ask
/// for, because it is in no text and no query.
const BETWEEN: char = '\u{f8ff}';

/// The parts of events whose texts are searched.
///
/// A path is `data` or `enrich` and names below it; lists on the way are looked through. Of what is
/// below a path, texts are searched; a number only where the path names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchFields {
    paths: Vec<Vec<String>>,
}

impl SearchFields {
    /// These paths, in whatever order.
    pub fn new(mut paths: Vec<Vec<String>>) -> Self {
        paths.sort();
        paths.dedup();
        SearchFields { paths }
    }

    /// Reads what [`Self::word`] wrote.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let Value::Array(paths) = serde_json::from_str(word).ok()? else { return None };
        let names = |path: &Value| Some(path.as_str()?.split('.').map(str::to_owned).collect());
        paths.iter().map(names).collect::<Option<Vec<_>>>().map(SearchFields::new)
    }

    /// The paths as JSON, in their order.
    pub(super) fn word(&self) -> String {
        json!(self.paths.iter().map(|path| path.join(".")).collect::<Vec<_>>()).to_string()
    }

    /// The texts of an event, by the JSON of its data and its additions; empty where it has none.
    pub(super) fn text_of(&self, data: &str, enrich: &str) -> String {
        let mut text = String::new();
        for (root, json) in [("data", data), ("enrich", enrich)] {
            let below = below(self.paths.iter().map(Vec::as_slice), root);
            // What is not JSON has no texts.
            if !below.is_empty()
                && let Ok(value) = serde_json::from_str::<Value>(json)
            {
                add_texts(&value, &below, false, &mut text);
            }
        }
        text
    }
}

/// A text as it is indexed or asked for.
pub(super) fn plain(text: &str) -> String {
    text.replace([BETWEEN, '\0'], " ")
}

/// Adds the texts of a value; `paths` are those that lead here, without the way so far.
fn add_texts(value: &Value, paths: &[&[String]], is_within: bool, text: &mut String) {
    let is_named = paths.iter().any(|path| path.is_empty());
    let is_within = is_within || is_named;
    match value {
        Value::String(found) if is_within => add(found, text),
        Value::Number(number) if is_named => add(&number.to_string(), text),
        Value::Array(items) => {
            items.iter().for_each(|item| add_texts(item, paths, is_within, text));
        }
        Value::Object(entries) => {
            for (name, value) in entries {
                let below = below(paths.iter().copied(), name);
                if is_within || !below.is_empty() {
                    add_texts(value, &below, is_within, text);
                }
            }
        }
        _ => {}
    }
}

/// Those of the paths that begin with a name, without it.
fn below<'a>(paths: impl Iterator<Item = &'a [String]>, name: &str) -> Vec<&'a [String]> {
    paths
        .filter(|path| path.first().is_some_and(|first| first == name))
        .map(|it| &it[1..])
        .collect()
}

fn add(found: &str, text: &mut String) {
    let size = text.len() + found.len();
    if found.is_empty() || TEXT_MAX < found.len() || EVENT_MAX < size {
        return;
    }
    if !text.is_empty() {
        text.extend([' ', BETWEEN, ' ']);
    }
    text.push_str(&plain(found));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(paths: &[&str]) -> SearchFields {
        let names = |path: &&str| path.split('.').map(str::to_owned).collect();
        SearchFields::new(paths.iter().map(names).collect())
    }

    #[track_caller]
    fn check(paths: &[&str], expected: &str) {
        let data = r#"{"plate": "AB 12", "n": 7, "people": [{"name": "Ada", "age": 36},
            {"name": "Bo"}], "note": {"de": "T\u00fcr", "tags": ["x", "y"]}, "none": null}"#;
        let enrich = r#"{"caption": "a parcel", "score": 0.50}"#;
        let text = fields(paths).text_of(data, enrich);
        assert_eq!(text.replace(BETWEEN, "|"), expected);
    }

    #[test]
    fn texts_below_a_path_are_found_and_numbers_only_at_its_end() {
        check(&["data.plate"], "AB 12");
        check(&["data.people.name"], "Ada | Bo");
        check(&["data.people"], "Ada | Bo");
        check(&["data.people.age", "data.n"], "7 | 36");
        check(&["data.note"], "Tür | x | y");
        check(&["data.none", "data.missing.more", "data.plate.more"], "");
        check(&["enrich.caption", "data.note.tags"], "x | y | a parcel");
        check(&["enrich.score"], "0.50");
        check(&["data"], "Tür | x | y | Ada | Bo | AB 12");
        check(&["data", "data.n", "data.plate"], "7 | Tür | x | y | Ada | Bo | AB 12");
    }

    #[test]
    fn what_is_long_is_left_out_and_the_separator_is_in_no_text() {
        let all = fields(&["data"]);
        let long = "x".repeat(TEXT_MAX + 1);
        let data = json!(["a", long, "b\u{f8ff}c\0d"]).to_string();
        assert_eq!(all.text_of(&data, "{}").replace(BETWEEN, "|"), "a | b c d");
        let many = json!(vec!["y".repeat(TEXT_MAX); 20]).to_string();
        assert!(all.text_of(&many, "{}").len() <= EVENT_MAX + 200);
        assert_eq!(all.text_of("no JSON", "{}"), "");
    }

    #[test]
    fn the_word_says_which_paths_there_are_in_whatever_order() {
        let one = fields(&["enrich.caption", "data.plate", "data.plate"]);
        assert_eq!(one.word(), r#"["data.plate","enrich.caption"]"#);
        assert_eq!(SearchFields::parse(&one.word()), Some(one.clone()));
        assert_eq!(fields(&["data.plate", "enrich.caption"]), one);
        assert_eq!(SearchFields::parse("7"), None);
    }
}
