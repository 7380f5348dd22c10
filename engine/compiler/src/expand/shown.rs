//! A node of the effective file, and how it is written.

use crate::plan::Outline;
use crate::spec::{Passing, Watcher};
use kdl::{KdlEntry, KdlIdentifier, KdlValue};
use language::NodeRole;
use serde_json::{Map, Value, json};

/// A node with where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) entries: Vec<(Option<String>, KdlEntry)>,
    pub(super) children: Vec<Shown>,
    /// What holds without standing in the file, one line each.
    pub(super) remarks: Vec<String>,
    pub(super) has_block: bool,
    /// Empty for what the node itself says.
    pub(super) origin: Option<String>,
}

impl Shown {
    pub(super) fn new(name: &str) -> Self {
        Shown {
            name: name.to_owned(),
            entries: Vec::new(),
            children: Vec::new(),
            remarks: Vec::new(),
            has_block: false,
            origin: None,
        }
    }

    pub(super) fn entry(&mut self, name: Option<&str>, value: KdlEntry) {
        self.entries.push((name.map(str::to_owned), value));
    }

    /// The name that the file gives the node: its last argument.
    pub(super) fn title(&self) -> Option<&str> {
        let arguments = self.entries.iter().filter(|entry| entry.0.is_none());
        arguments.filter_map(|argument| argument.1.value().as_string()).next_back()
    }

    pub(super) fn write(&self, text: &mut String, depth: usize) {
        let indent = "    ".repeat(depth);
        text.push_str(&indent);
        text.push_str(&KdlIdentifier::from(self.name.as_str()).to_string());
        for (name, entry) in &self.entries {
            text.push(' ');
            if let Some(name) = name {
                text.push_str(&KdlIdentifier::from(name.as_str()).to_string());
                text.push('=');
            }
            text.push_str(entry.to_string().trim());
        }
        let is_empty = self.children.is_empty() && self.remarks.is_empty();
        if !is_empty {
            text.push_str(" {");
        }
        if let Some(origin) = &self.origin {
            text.push_str(&format!(" // {origin}"));
        }
        text.push('\n');
        if is_empty {
            return;
        }
        for child in &self.children {
            child.write(text, depth + 1);
        }
        for remark in &self.remarks {
            text.push_str(&format!("{indent}    // {remark}\n"));
        }
        text.push_str(&format!("{indent}}}\n"));
    }

    /// Adds what a node at the top says: its values, and each child under the child's word.
    pub(super) fn outline(&self, outline: &mut Outline) {
        let title = self.title().unwrap_or_default();
        let has_kind = self.arguments().count() == 2;
        let first = self.arguments().next().and_then(|argument| argument.value().as_string());
        let (name, own) = match NodeRole::ALL.iter().any(|role| role.word() == self.name) {
            true => (title, if has_kind { "kind" } else { "" }),
            // Its type comes after its name.
            false if self.name == "metric" => (first.unwrap_or_default(), "type"),
            false if Passing::WORDS.contains(&&*self.name) => (title, ""),
            false if Watcher::WORDS.contains(&&*self.name) => (title, ""),
            false => ("", &*self.name),
        };
        // `param` belongs to the pipeline, whose settings they are.
        let role = if self.name == "param" { "pipeline" } else { &self.name };
        let values: Vec<String> = self
            .entries
            .iter()
            .filter(|(key, entry)| key.is_some() || entry.value().as_string() != Some(name))
            .map(|(_, entry)| entry.to_string().trim().to_owned())
            .collect();
        if !own.is_empty() && !values.is_empty() {
            outline.add(role, name, own, &format!("{own} {}", values.join(" ")));
        }
        for child in &self.children {
            let mut text = String::new();
            child.write_bare(&mut text, 0);
            outline.add(role, name, &child.name, text.trim_end());
        }
    }

    fn arguments(&self) -> impl Iterator<Item = &KdlEntry> {
        self.entries.iter().filter(|(key, _)| key.is_none()).map(|(_, entry)| entry)
    }

    /// The node without where it comes from.
    fn write_bare(&self, text: &mut String, depth: usize) {
        let bare = Shown { origin: None, remarks: Vec::new(), ..self.clone() };
        let children = self.children.iter().map(|child| Shown {
            origin: None,
            remarks: Vec::new(),
            ..child.clone()
        });
        Shown { children: children.collect(), ..bare }.write(text, depth);
    }

    /// The node in the form that the JSON Schema of the language describes.
    pub(super) fn json(&self) -> Value {
        let arguments: Vec<Value> = self
            .entries
            .iter()
            .filter(|entry| entry.0.is_none())
            .map(|entry| value(&entry.1))
            .collect();
        let properties: Map<String, Value> = self
            .entries
            .iter()
            .filter_map(|entry| Some((entry.0.clone()?, value(&entry.1))))
            .collect();
        let children: Vec<Value> = self.children.iter().map(Shown::json).collect();
        let mut node = json!({
            "node": self.name, "args": arguments, "props": properties, "children": children,
        });
        if let Some(origin) = &self.origin {
            node["origin"] = json!(origin);
        }
        if !self.remarks.is_empty() {
            node["built_in"] = json!(self.remarks);
        }
        node
    }
}

/// A value; one from outside as `{"type": "env", "value": "X"}`.
fn value(entry: &KdlEntry) -> Value {
    let plain = match entry.value() {
        KdlValue::String(it) => json!(it),
        KdlValue::Integer(it) => i64::try_from(*it).map_or(Value::Null, Value::from),
        KdlValue::Float(it) => json!(it),
        KdlValue::Bool(it) => json!(it),
        KdlValue::Null => Value::Null,
    };
    match entry.ty() {
        Some(ty) => json!({ "type": ty.value(), "value": plain }),
        None => plain,
    }
}
