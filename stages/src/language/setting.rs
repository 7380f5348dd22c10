//! A text that the file gives directly, or by `(env)` or `(file)`.

use crate::spanned::Spanned;
use kdl::{KdlNode, KdlValue};
use std::fmt;
use std::path::{Path, PathBuf};

/// A text whose value may stand outside the file.
///
/// Never: the value of a secret in `Debug` output; literals of secrets are masked by who prints.
#[derive(Clone, PartialEq, Eq)]
pub enum Setting {
    /// Given in the file; `${X}` inside is in parts.
    Literal(String),
    /// A text with `${NAME}` or `${NAME:-default}` inside.
    Parts(Vec<Part>),
    /// `(env)"NAME"`.
    Variable {
        /// The variable.
        name: String,
        /// Used when it is not set.
        default: Option<String>,
    },
    /// `(file)"path"`: the file's text without the line end.
    File {
        /// The file, absolute or relative to the working directory.
        path: PathBuf,
        /// Used when there is none.
        default: Option<String>,
    },
}

/// A part of a text with variables inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// `${NAME}`.
    Variable {
        /// The variable.
        name: String,
        /// Used when it is not set.
        default: Option<String>,
    },
}

/// A value that a stage takes from outside the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Needed {
    /// Where it comes from.
    pub setting: Spanned<Setting>,
    /// Whether the stage is off, rather than wrong, without it.
    pub is_optional: bool,
}

/// Where variables come from; a test brings its own.
pub trait Environment: Send + Sync {
    /// Whether the variable is set, without looking at its value.
    fn is_set(&self, name: &str) -> bool;
    /// Its value.
    fn value(&self, name: &str) -> Option<String>;
}

/// What a setting needs and does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unset {
    /// This variable is not set.
    Variable(String),
    /// This file cannot be read, and why.
    File(PathBuf, String),
}

impl fmt::Display for Unset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unset::Variable(name) => write!(f, "environment variable `{name}` is not set"),
            Unset::File(path, reason) => write!(f, "{}: {reason}", path.display()),
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Literal(_) => f.write_str("Literal(…)"),
            Setting::Parts(_) => f.write_str("Parts(…)"),
            Setting::Variable { name, .. } => write!(f, "(env){name:?}"),
            Setting::File { path, .. } => write!(f, "(file){path:?}"),
        }
    }
}

impl Setting {
    /// A text of the file, with the variables inside it.
    pub(crate) fn of_text(text: &str) -> Setting {
        // Text of several lines may well have `${X}` of its own: a script, a body.
        match text.contains("${") && !text.contains('\n') {
            true => parts(text),
            false => Setting::Literal(text.to_owned()),
        }
    }

    /// The literal text, when it is one.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Setting::Literal(text) => Some(text),
            _ => None,
        }
    }

    /// The text as far as the file gives it, `v` in the place of each variable inside it; `None`
    /// where all of it comes from outside.
    pub fn outline(&self) -> Option<String> {
        match self {
            Setting::Literal(text) => Some(text.clone()),
            Setting::Parts(parts) => Some(
                parts
                    .iter()
                    .map(|part| match part {
                        Part::Text(text) => text.as_str(),
                        Part::Variable { .. } => "v",
                    })
                    .collect(),
            ),
            Setting::Variable { .. } | Setting::File { .. } => None,
        }
    }

    /// The first thing that it needs and does not have, without reading any value.
    pub fn missing(&self, environment: &dyn Environment) -> Option<Unset> {
        match self {
            Setting::Literal(_) => None,
            Setting::Parts(parts) => parts.iter().find_map(|part| match part {
                Part::Variable { name, default: None } if !environment.is_set(name) => {
                    Some(Unset::Variable(name.clone()))
                }
                _ => None,
            }),
            Setting::Variable { name, default } => (default.is_none() && !environment.is_set(name))
                .then(|| Unset::Variable(name.clone())),
            Setting::File { path, default } => (default.is_none() && !path.is_file())
                .then(|| Unset::File(path.clone(), "there is no such file".to_owned())),
        }
    }

    /// The value. For running only; `check` never calls this for a secret.
    pub fn resolve(&self, environment: &dyn Environment) -> Result<String, Unset> {
        match self {
            Setting::Literal(text) => Ok(text.clone()),
            Setting::Parts(parts) => parts.iter().map(|part| part.resolve(environment)).collect(),
            Setting::Variable { name, default } => variable(name, default.as_ref(), environment),
            Setting::File { path, default } => match std::fs::read_to_string(path) {
                Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(fault) => {
                    default.clone().ok_or_else(|| Unset::File(path.clone(), fault.to_string()))
                }
            },
        }
    }
}

impl Part {
    fn resolve(&self, environment: &dyn Environment) -> Result<String, Unset> {
        match self {
            Part::Text(text) => Ok(text.clone()),
            Part::Variable { name, default } => variable(name, default.as_ref(), environment),
        }
    }
}

fn variable(
    name: &str,
    default: Option<&String>,
    environment: &dyn Environment,
) -> Result<String, Unset> {
    environment
        .value(name)
        .or_else(|| default.cloned())
        .ok_or_else(|| Unset::Variable(name.to_owned()))
}

/// Reads a value that may come from outside. `None` for an annotation that is none of ours.
pub(super) fn of(
    value: &KdlValue,
    annotation: Option<&str>,
    node: &KdlNode,
    folder: &Path,
) -> Option<Setting> {
    let text = value.as_string()?;
    let default = node.get("default").and_then(KdlValue::as_string).map(str::to_owned);
    match annotation {
        None => Some(Setting::of_text(text)),
        Some("env") => Some(Setting::Variable { name: text.to_owned(), default }),
        Some("file") => Some(Setting::File { path: folder.join(text), default }),
        Some(_) => None,
    }
}

/// Splits at `${NAME}` and `${NAME:-default}`; what is no variable stays as it stands.
fn parts(text: &str) -> Setting {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((inner, after)) = behind.split_once('}') else { break };
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (inner, None),
        };
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(Part::Variable { name: name.to_owned(), default });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Setting::Parts(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    impl Environment for One {
        fn is_set(&self, name: &str) -> bool {
            name == "A"
        }

        fn value(&self, name: &str) -> Option<String> {
            (name == "A").then(|| "x".to_owned())
        }
    }

    #[test]
    fn variables_inside_a_text_are_replaced() {
        assert_eq!(parts("${A}:${B:-1883}/").resolve(&One), Ok("x:1883/".to_owned()));
        assert_eq!(parts("${C}").missing(&One), Some(Unset::Variable("C".to_owned())));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Setting::Literal("hush".into())), "Literal(…)");
    }
}
