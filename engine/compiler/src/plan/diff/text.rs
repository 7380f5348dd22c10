//! A diff in words, for the history, the log and `engine diff`, and as JSON.

use super::{Diff, PartChange, PartFate, PartState};
use crate::plan::outline::SettingChange;
use serde_json::{Value, json};

/// Longest value of a setting that is shown in one line.
const VALUE_MAX: usize = 60;

impl Diff {
    /// One line: `opened source b, replaced notify phone (topic), kept enrich weather (timeout)`.
    pub fn summary(&self) -> String {
        let parts: Vec<String> = self.changes().map(PartChange::summary).collect();
        if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
    }

    /// A paragraph for each part that changes: what becomes of it, every setting with its old
    /// and new value, and what becomes of its state.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for change in self.changes() {
            text.push_str(&change.headline());
            text.push('\n');
            for setting in &change.settings {
                for line in setting.lines() {
                    text.push_str(&format!("    {line}\n"));
                }
            }
            if change.is_changed_outside {
                text.push_str("    a secret, table or schema that it uses changes\n");
            }
            if let Some(line) = change.state_line() {
                text.push_str(&format!("    {line}\n"));
            }
        }
        for rejection in &self.rejections {
            text.push_str(&format!("needs a restart: {rejection}\n"));
        }
        if text.is_empty() {
            text.push_str("nothing changes\n");
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let parts: Vec<Value> = self.changes().map(PartChange::json).collect();
        json!({ "changes": parts, "needs_restart": self.rejections })
    }
}

impl PartChange {
    fn title(&self) -> String {
        match &*self.name {
            "" => self.role.word().to_owned(),
            name => format!("{} {name}", self.role.word()),
        }
    }

    /// What happens, in one word.
    fn word(&self) -> &'static str {
        match (self.fate, self.is_of_one) {
            // Nothing of it runs or ran; the file has it, or had it.
            (PartFate::Kept, true) if self.off.is_some() => "added",
            (PartFate::Kept, true) => "removed",
            (PartFate::Kept, false) => "changed",
            (fate, _) => fate.word(),
        }
    }

    fn summary(&self) -> String {
        let mut words: Vec<&str> =
            self.settings.iter().map(|setting| setting.word.as_str()).collect();
        words.extend(self.is_changed_outside.then_some("outside the file"));
        let notes =
            if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) };
        format!("{} {}{notes}", self.word(), self.title())
    }

    fn headline(&self) -> String {
        let off = self.off.as_ref().map(|off| format!(", off: {off}")).unwrap_or_default();
        format!("{} {}{off}", self.word(), self.title())
    }

    /// Which state is kept and which is lost; nothing for a part that does not run on.
    fn state_line(&self) -> Option<String> {
        let begins_or_ends = matches!(self.fate, PartFate::Opened | PartFate::Closed);
        if begins_or_ends || self.is_of_one || self.off.is_some() {
            return None;
        }
        if self.state == [(PartState::Clients, false)] {
            return Some("its clients connect again and resume".to_owned());
        }
        let words = |kept: bool| -> Vec<&str> {
            self.state.iter().filter(|it| it.1 == kept).map(|it| it.0.word()).collect()
        };
        let part = |verb: &str, words: Vec<&str>| {
            (!words.is_empty()).then(|| format!("{verb} {}", words.join(", ")))
        };
        let parts: Vec<String> = [part("keeps", words(true)), part("loses", words(false))]
            .into_iter()
            .flatten()
            .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn json(&self) -> Value {
        let settings: Vec<Value> = self
            .settings
            .iter()
            .map(|setting| json!({ "setting": setting.word, "old": setting.old, "new": setting.new }))
            .collect();
        let state: serde_json::Map<String, Value> = self
            .state
            .iter()
            .map(|(state, is_kept)| {
                let fate = if *is_kept { "kept" } else { "lost" };
                (state.word().to_owned(), Value::from(fate))
            })
            .collect();
        json!({
            "role": self.role.word(), "name": &*self.name, "fate": self.fate.word(),
            "off": self.off, "settings": settings, "changed_outside": self.is_changed_outside,
            "state": state,
        })
    }
}

impl SettingChange {
    /// `- path "/a"` and `+ path "/b"`.
    fn lines(&self) -> Vec<String> {
        let line = |sign: char, text: &Option<String>| {
            text.iter()
                .flat_map(|text| text.lines())
                .map(|text| format!("{sign} {}", shortened(text)))
                .collect::<Vec<_>>()
        };
        [line('-', &self.old), line('+', &self.new)].concat()
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= VALUE_MAX {
        return text.to_owned();
    }
    let cut: String = text.chars().take(VALUE_MAX).collect();
    format!("{cut}…")
}
