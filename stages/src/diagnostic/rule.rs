//! Every rule: its code, and what it means. This is the manual's list of errors.

use super::Severity;

/// Declares the rules once: variant, code, and the paragraph that explains it.
macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// A named check. Its code is stable: `E` stops the file from running, `W` warns.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Rule {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Rule] = &[$(Rule::$name,)+];

            /// The code: `E0203`.
            pub fn code(self) -> &'static str {
                match self { $(Rule::$name => $code,)+ }
            }

            /// The paragraph that explains it.
            pub fn explanation(self) -> &'static str {
                match self { $(Rule::$name => concat!($($doc, "\n"),+),)+ }
            }
        }
    };
}

rules! {
    /// KDL v2 writes `#true`, `#false` and `#null`; a bare `true` is not a value.
    BareKeyword = "E0001",
    /// The text is not KDL v2.
    Syntax = "E0002",
    /// A value that begins with a digit but is no number (`10m`, `5s`, `2GiB`) needs quotes.
    UnquotedValue = "E0003",
    /// A block, string or comment that is opened and never closed.
    Unclosed = "E0004",
    /// Comments start with `//`; `#` begins a keyword or a raw string.
    HashComment = "E0005",
    /// An expression is one quoted string.
    UnquotedExpression = "E0006",
    /// KDL has no lists in brackets.
    Brackets = "E0007",
    /// A backslash sequence that quoted strings do not know.
    BadEscape = "E0008",
    /// The file is larger, deeper or has more nodes than the engine reads.
    TooLarge = "E0009",
    /// A node or child that does not exist in this place.
    UnknownNode = "E0010",
    /// A word with YAML's colon or INI's equals sign at its end.
    YamlColon = "E0011",
    /// A kind that this role does not have.
    UnknownKind = "E0012",
    /// A child node written as a property.
    ChildAsProperty = "E0013",
    /// A property that does not exist in this place.
    UnknownProperty = "E0014",
    /// An argument or property that must be there is missing.
    MissingArgument = "E0015",
    /// An argument too many, or of the wrong type.
    WrongArgument = "E0016",
    /// A node that may stand once stands twice.
    RepeatedNode = "E0017",
    /// A child that must be there is missing.
    MissingNode = "E0018",
    /// A value outside its range.
    OutOfRange = "E0019",
    /// Not a duration such as `"5s"` or `"1h30m"`.
    BadDuration = "E0020",
    /// Not a size such as `"256KiB"`.
    BadSize = "E0021",
    /// Not a rate such as `"10/min"`.
    BadRate = "E0022",
    /// A word that is none of the choices in this place.
    UnknownWord = "E0023",
    /// A name that is not lower case letters, digits and dashes, beginning with a letter.
    BadName = "E0024",
    /// `(env)`, `(file)` or another annotation where it cannot be used.
    BadAnnotation = "E0025",
    /// The file says a version of the language that this engine does not know.
    UnknownVersion = "E0026",
    /// An included file that is missing, includes itself or has a header of its own.
    BadInclude = "E0027",
    /// An expression that cannot be read.
    BadExpression = "E0101",
    /// A function, filter or root name that expressions do not have.
    UnknownFunction = "E0102",
    /// A word compared with a priority that is none.
    UnknownPriority = "E0103",
    /// A template that cannot be read.
    BadTemplate = "E0106",
    /// A name that no stage has.
    UnknownStage = "E0201",
    /// A name that no sink or notifier has.
    UnknownTarget = "E0202",
    /// Stages that wait for each other.
    Cycle = "E0203",
    /// Two nodes with one name.
    DuplicateName = "E0204",
    /// A `(param)` that names no `param`.
    UnknownParam = "E0205",
    /// Two stages that write one path.
    SamePath = "E0206",
    /// A schema file that is missing or broken.
    BadSchema = "E0301",
    /// An environment variable that is not set.
    MissingVariable = "E0302",
    /// A table file that is missing or broken.
    BadTable = "E0303",
    /// A path outside the pipeline's root.
    OutsideRoot = "E0304",
    /// An address open to the network without authentication.
    OpenListen = "E0405",
    /// Two routes on one path.
    SameRoute = "E0406",
    /// A property written twice; the last one wins silently.
    DuplicateProperty = "W0012",
    /// A route without `otherwise`: what matches no case goes nowhere.
    NoOtherwise = "W0207",
    /// A literal where a secret belongs.
    LiteralSecret = "W0401",
    /// A store without retention grows for ever.
    NoRetention = "W0503",
    /// A retention rule that an earlier one hides.
    HiddenRule = "W0504",
    /// A store that may lose what was acknowledged.
    WeakDurability = "W0505",
    /// A pipeline without a store: nothing survives a restart.
    NoStore = "W0506",
}

impl Rule {
    /// Errors begin with `E`, warnings with `W`.
    pub fn severity(self) -> Severity {
        if self.code().starts_with('E') { Severity::Error } else { Severity::Warning }
    }
}
