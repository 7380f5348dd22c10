//! What each node of the effective file says, as text: so that a change can be shown setting by
//! setting. Secrets are masked in it.

use std::collections::BTreeMap;

/// The effective file by node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    nodes: BTreeMap<(String, String), NodeOutline>,
}

/// The settings of one node, by word. Children with one word are lines of one text.
pub type NodeOutline = BTreeMap<String, String>;

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// Its word in the file.
    pub word: String,
    /// What it was; `None` when nothing was said.
    pub old: Option<String>,
    /// What it is.
    pub new: Option<String>,
}

impl Outline {
    /// Adds a setting of a node; `name` is empty where the node has none.
    pub(crate) fn add(&mut self, role: &str, name: &str, word: &str, text: &str) {
        let node = self.nodes.entry((role.to_owned(), name.to_owned())).or_default();
        let lines = node.entry(word.to_owned()).or_default();
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(text);
    }

    fn node(&self, role: &str, name: &str) -> Option<&NodeOutline> {
        self.nodes.get(&(role.to_owned(), name.to_owned()))
    }
}

/// The settings of a node that differ, in the order of their words.
pub(super) fn changed(old: &Outline, new: &Outline, role: &str, name: &str) -> Vec<SettingChange> {
    let none = NodeOutline::new();
    let before = old.node(role, name).unwrap_or(&none);
    let after = new.node(role, name).unwrap_or(&none);
    let words: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differs = |word: &&&String| before.get(**word) != after.get(**word);
    let change = |word: &String| SettingChange {
        word: word.clone(),
        old: before.get(word).cloned(),
        new: after.get(word).cloned(),
    };
    words.iter().filter(differs).map(|word| change(word)).collect()
}
