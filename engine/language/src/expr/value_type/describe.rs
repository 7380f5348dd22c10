//! Shapes in words.

use super::{Bounds, ValueType, Words};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most words of an enumeration that are told one by one.
const WORDS_TOLD: usize = 8;

impl ValueType {
    /// What it is, in words: `number 0–1`, `text`, `one of: a, b`.
    pub fn told(&self) -> String {
        self.told_with("")
    }

    /// The same for a sentence: `a number 0–1`, `text`.
    pub fn told_in_a_sentence(&self) -> String {
        self.told_with("a ")
    }

    fn told_with(&self, article: &str) -> String {
        if self.is_any {
            return "anything".to_owned();
        }
        let mut sorts = Vec::new();
        if self.truth != [false; 2] {
            sorts.push("true or false".to_owned());
        }
        if let Some(bounds) = self.number {
            sorts.push(format!("{article}{}", bounds.told()));
        }
        match &self.text {
            Some(Words::OneOf(words)) => sorts.push(told_words(words)),
            Some(Words::Any) => sorts.push("text".to_owned()),
            None => {}
        }
        let others = [
            (self.time, "time"),
            (self.span, "duration"),
            (self.list.is_some(), "list"),
            (self.map.is_some(), "map"),
        ];
        let others = others.iter().filter(|it| it.0);
        sorts.extend(others.map(|it| format!("{article}{}", it.1)));
        if sorts.is_empty() { "null".to_owned() } else { sorts.join(" or ") }
    }
}

impl Bounds {
    fn told(self) -> String {
        match (self.least.is_finite(), self.most.is_finite()) {
            (true, true) if self.least == self.most => format!("number {}", self.least),
            (true, true) => format!("number {}–{}", self.least, self.most),
            (true, false) => format!("number from {}", self.least),
            (false, true) => format!("number up to {}", self.most),
            (false, false) => "number".to_owned(),
        }
    }
}

fn told_words(words: &BTreeSet<Arc<str>>) -> String {
    let told: Vec<&str> = words.iter().take(WORDS_TOLD).map(|word| &**word).collect();
    let rest = if WORDS_TOLD < words.len() { ", …" } else { "" };
    match words.len() {
        1 => format!("`{}`", told[0]),
        _ => format!("one of: {}{rest}", told.join(", ")),
    }
}
