//! A text that the file gives directly, or by `(env)` or `(file)`.

use crate::spanned::{Span, Spanned};
use kdl::{KdlNode, KdlValue};
use kernel::regular_file;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A file with a secret larger than this is refused.
const FILE_MAX: u64 = 64 << 10;

/// A text whose value may stand outside the file.
///
/// Never: the value of a secret in `Debug` output; literals of secrets are masked by who prints.
#[derive(Clone, PartialEq, Eq)]
pub enum Setting {
    /// Given in the file; `${X}` inside is in parts.
    Literal(String),
    /// A text with `${NAME}` or `${NAME:-default}` inside.
    Parts(Vec<SettingPart>),
    /// `(env)"NAME"`.
    Variable {
        /// The variable.
        name: String,
        /// Used when it is not set, or empty.
        default: Option<String>,
    },
    /// `(file)"path"`: the file's text without the line end.
    File {
        /// The file, absolute or relative to the working directory.
        path: PathBuf,
        /// Used when there is none, or nothing in it.
        default: Option<String>,
    },
}

/// A part of a text with variables inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingPart {
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
    /// Whether the variable is set, perhaps to nothing.
    fn is_set(&self, name: &str) -> bool;
    /// Whether the variable is set to nothing, as a line `NAME=` of an environment file does it. A
    /// check asks this; for a value it asks only where that must be an address.
    fn is_empty(&self, _name: &str) -> bool {
        false
    }
    /// Its value.
    fn value(&self, name: &str) -> Option<String>;
    /// The names of all that are set, for who misspells one.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a setting needs and does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingSetting {
    /// This variable is not set.
    Variable(String),
    /// This variable is set to nothing.
    EmptyVariable(String),
    /// This file cannot be read, and why.
    File(PathBuf, String),
}

impl fmt::Display for MissingSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MissingSetting::Variable(name) => write!(f, "environment variable `{name}` is not set"),
            MissingSetting::EmptyVariable(name) => {
                write!(f, "environment variable `{name}` is empty")
            }
            MissingSetting::File(path, reason) => write!(f, "{}: {reason}", path.display()),
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
    pub fn of_text(text: &str) -> Setting {
        match text.contains("${") {
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
                        SettingPart::Text(text) => text.as_str(),
                        SettingPart::Variable { .. } => "v",
                    })
                    .collect(),
            ),
            Setting::Variable { .. } | Setting::File { .. } => None,
        }
    }

    /// The first thing that it needs and does not have. What is there and empty counts as not
    /// there; beyond that no value is looked at.
    pub fn missing(&self, environment: &dyn Environment) -> Option<MissingSetting> {
        match self {
            Setting::Literal(_) => None,
            Setting::Parts(parts) => parts.iter().find_map(|part| match part {
                SettingPart::Variable { name, default: None } => unset(name, environment),
                _ => None,
            }),
            Setting::Variable { name, default: None } => unset(name, environment),
            Setting::File { path, default: None } => {
                let fault = file_text(path).err()?;
                // Who checks a file need not be who runs it.
                let may_be_there = fault.kind() == io::ErrorKind::PermissionDenied;
                (!may_be_there).then(|| MissingSetting::File(path.clone(), fault.to_string()))
            }
            Setting::Variable { .. } | Setting::File { .. } => None,
        }
    }

    /// The value. For running; a check looks only at what must be a URL or an address, and never
    /// shows it.
    pub fn resolve(&self, environment: &dyn Environment) -> Result<String, MissingSetting> {
        match self {
            Setting::Literal(text) => Ok(text.clone()),
            Setting::Parts(parts) => parts.iter().map(|part| part.resolve(environment)).collect(),
            Setting::Variable { name, default } => variable(name, default.as_ref(), environment),
            Setting::File { path, default } => file_text(path).or_else(|fault| {
                default.clone().ok_or_else(|| MissingSetting::File(path.clone(), fault.to_string()))
            }),
        }
    }
}

impl SettingPart {
    fn resolve(&self, environment: &dyn Environment) -> Result<String, MissingSetting> {
        match self {
            SettingPart::Text(text) => Ok(text.clone()),
            SettingPart::Variable { name, default } => {
                variable(name, default.as_ref(), environment)
            }
        }
    }
}

fn variable(
    name: &str,
    default: Option<&String>,
    environment: &dyn Environment,
) -> Result<String, MissingSetting> {
    let given = environment.value(name).filter(|value| !value.is_empty());
    given.or_else(|| default.cloned()).ok_or_else(|| {
        unset(name, environment).unwrap_or_else(|| MissingSetting::Variable(name.to_owned()))
    })
}

/// Why a variable has no value, if it has none.
fn unset(name: &str, environment: &dyn Environment) -> Option<MissingSetting> {
    match (environment.is_set(name), environment.is_empty(name)) {
        // Not a name at all, which is reported where it stands.
        (false, _) if !is_variable(name) => None,
        (false, _) => Some(MissingSetting::Variable(name.to_owned())),
        (true, true) => Some(MissingSetting::EmptyVariable(name.to_owned())),
        (true, false) => None,
    }
}

/// What a `(file)` holds, without the line end that editors put behind it. A file with nothing
/// else in it is one that is just being written, or was emptied.
fn file_text(path: &Path) -> io::Result<String> {
    let fault = |kind, reason: &str| Err(io::Error::new(kind, reason));
    let bytes = match regular_file::read(path, FILE_MAX) {
        Err(it) if it.kind() == io::ErrorKind::NotFound => {
            return fault(it.kind(), "file not found");
        }
        Err(it) if it.kind() == io::ErrorKind::PermissionDenied => {
            return fault(it.kind(), "permission denied");
        }
        other => other?,
    };
    let Ok(text) = String::from_utf8(bytes) else {
        return fault(io::ErrorKind::InvalidData, "it is not UTF-8 text");
    };
    match text.trim_end_matches(['\r', '\n']) {
        blank if blank.trim().is_empty() => fault(io::ErrorKind::InvalidInput, "it is empty"),
        text => Ok(text.to_owned()),
    }
}

/// The text that `default=` of a node gives; a number or truth may stand without quotes.
pub fn default_of(node: &KdlNode) -> Option<String> {
    match node.get("default")? {
        KdlValue::String(text) => Some(text.clone()),
        KdlValue::Null => None,
        value => Some(value.to_string().trim_start_matches('#').to_owned()),
    }
}

/// Reads a value that may come from outside. `None` for an annotation that is none of ours.
pub(super) fn of(
    value: &KdlValue,
    annotation: Option<&str>,
    node: &KdlNode,
    folder: &Path,
) -> Option<Setting> {
    let text = value.as_string()?;
    let default = default_of(node);
    match annotation {
        None => Some(Setting::of_text(text)),
        Some("env") => Some(Setting::Variable { name: text.to_owned(), default }),
        Some("file") => Some(Setting::File { path: folder.join(text), default }),
        Some(_) => None,
    }
}

/// What is wrong with a `${` in a text.
pub(super) struct BadReference {
    /// Where it is.
    pub(super) span: Span,
    /// What is wrong with it.
    pub(super) label: &'static str,
}

/// Whether a text can be the name of a variable.
pub(super) fn is_variable(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The first `${` that cannot be replaced.
pub(super) fn bad_reference(text: &str) -> Option<BadReference> {
    let mut at = 0;
    while let Some(start) = text[at..].find("${").map(|it| at + it) {
        let Some(length) = text[start..].find('}') else {
            return Some(BadReference { span: start..start + 2, label: "never closed" });
        };
        let inner = &text[start + 2..start + length];
        at = start + length + 1;
        if !is_variable(inner.split_once(":-").map_or(inner, |it| it.0)) {
            return Some(BadReference { span: start..at, label: "not the name of a variable" });
        }
    }
    None
}

/// The first `${NAME}` or `${NAME:-default}` of a text.
pub(super) fn reference(text: &str) -> Option<Span> {
    let mut at = 0;
    while let Some(start) = text[at..].find("${").map(|it| at + it) {
        at = start + 2;
        let name = text[at..].split(['}', ':']).next().unwrap_or_default();
        if is_variable(name) && at + name.len() < text.len() {
            let end = text[at..].find('}').map_or(text.len(), |it| at + it + 1);
            return Some(start..end);
        }
    }
    None
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
            parts.push(SettingPart::Text(before.to_owned()));
        }
        parts.push(SettingPart::Variable { name: name.to_owned(), default });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(SettingPart::Text(rest.to_owned()));
    }
    Setting::Parts(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    /// `A` is `x`, and `E` is set to nothing.
    impl Environment for One {
        fn is_set(&self, name: &str) -> bool {
            self.value(name).is_some()
        }

        fn is_empty(&self, name: &str) -> bool {
            name == "E"
        }

        fn value(&self, name: &str) -> Option<String> {
            [("A", "x"), ("E", "")].iter().find(|it| it.0 == name).map(|it| it.1.to_owned())
        }
    }

    #[test]
    fn variables_inside_a_text_are_replaced() {
        assert_eq!(parts("${A}:${B:-1883}/").resolve(&One), Ok("x:1883/".to_owned()));
        assert_eq!(parts("${C}").missing(&One), Some(MissingSetting::Variable("C".to_owned())));
    }

    #[test]
    fn what_is_set_to_nothing_counts_as_not_set() {
        let setting = |default: Option<&str>| Setting::Variable {
            name: "E".to_owned(),
            default: default.map(str::to_owned),
        };
        let empty = MissingSetting::EmptyVariable("E".to_owned());
        assert_eq!(empty.to_string(), "environment variable `E` is empty");
        assert_eq!(setting(None).missing(&One), Some(empty.clone()));
        assert_eq!(setting(None).resolve(&One), Err(empty.clone()));
        assert_eq!(setting(Some("y")).missing(&One), None);
        assert_eq!(setting(Some("y")).resolve(&One), Ok("y".to_owned()));
        // Whoever can do without says so.
        assert_eq!(setting(Some("")).resolve(&One), Ok(String::new()));
        assert_eq!(parts("a${E}").missing(&One), Some(empty.clone()));
        assert_eq!(parts("a${E}").resolve(&One), Err(empty));
        assert_eq!(parts("a${E:-}b${E:-c}").resolve(&One), Ok("abc".to_owned()));
    }

    #[test]
    fn a_file_gives_its_text_or_says_why_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let setting = |default: Option<&str>| Setting::File {
            path: path.clone(),
            default: default.map(str::to_owned),
        };
        let check = |expected: Result<&str, &str>| {
            let expected = expected
                .map(str::to_owned)
                .map_err(|why| MissingSetting::File(path.clone(), why.to_owned()));
            assert_eq!(setting(None).resolve(&One), expected);
            assert_eq!(setting(None).missing(&One), expected.clone().err());
            assert_eq!(setting(Some("d")).resolve(&One), expected.or(Ok("d".to_owned())));
            assert_eq!(setting(Some("d")).missing(&One), None);
        };
        check(Err("file not found"));
        for empty in ["", "\n", "\r\n", " \n\n"] {
            std::fs::write(&path, empty).expect("it writes");
            check(Err("it is empty"));
        }
        for text in [&b"hush"[..], b"hush\n", b"hush\r\n\r\n"] {
            std::fs::write(&path, text).expect("it writes");
            check(Ok("hush"));
        }
        std::fs::write(&path, b"\xff").expect("it writes");
        check(Err("it is not UTF-8 text"));
        std::fs::write(&path, vec![b'x'; 65_537]).expect("it writes");
        check(Err("it is 65537 bytes long; the maximum is 65536"));
        std::fs::remove_file(&path).expect("it is there");
        std::fs::create_dir(&path).expect("it makes a folder");
        check(Err("it is a folder, not a regular file"));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Setting::Literal("hush".into())), "Literal(…)");
    }
}
