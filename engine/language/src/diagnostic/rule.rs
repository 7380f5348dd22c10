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
    /// Common mistakes have codes of their own; this code covers the rest, and the report shows where
    /// parsing failed.
    Syntax = "E0002",
    /// A value that begins with a digit but is not a number (`10m`, `5s`, `2GiB`) needs quotes.
    /// Without quotes, KDL reads it as a malformed number.
    UnquotedValue = "E0003",
    /// A block, string or comment that is opened and never closed.
    /// The report guesses from the indentation where it should end.
    Unclosed = "E0004",
    /// Comments start with `//`; `#` begins a keyword or a raw string.
    /// YAML and shells write `#`; here it begins `#true` or `#"raw text"#`.
    HashComment = "E0005",
    /// An expression is one quoted string.
    /// Put it in double quotes and use single quotes for text inside it, so that nothing needs a
    /// backslash.
    UnquotedExpression = "E0006",
    /// KDL has no lists in brackets.
    /// Write several values after the name, separated by spaces; a property that takes several
    /// words takes them in one string.
    Brackets = "E0007",
    /// An escape sequence that quoted strings do not support.
    /// A raw string keeps everything as written: `#"\d+"#`.
    BadEscape = "E0008",
    /// The file is larger, deeper or has more nodes than the engine reads.
    /// Files of more than 1 MiB, 64 levels or 10,000 nodes are rejected before they are parsed, so that no
    /// file can exhaust the engine.
    TooLarge = "E0009",
    /// A node or child that does not exist in this place.
    /// Unknown words are never ignored: they would have no effect, and nobody would notice.
    UnknownNode = "E0010",
    /// A word that ends with a YAML colon or an INI equals sign.
    /// A space separates a name from its value; only properties use an equals sign.
    YamlColon = "E0011",
    /// A kind that this role does not have.
    /// `source`, `enrich`, `sink` and `notify` name their kind first: `sink sqlite journal`.
    UnknownKind = "E0012",
    /// A child node written as a property.
    /// Properties qualify the values of their node; anything with values or a block of its own belongs
    /// in the block.
    ChildAsProperty = "E0013",
    /// A property that does not exist in this place.
    /// `engine explain NODE` lists the properties of a node.
    UnknownProperty = "E0014",
    /// A required argument or property is missing.
    /// The help shows everything that the node takes, with the optional parts in `[…]`.
    MissingArgument = "E0015",
    /// An extra argument, or one of the wrong type.
    /// Nothing is converted silently: a number in quotes is text.
    WrongArgument = "E0016",
    /// A node that may appear only once appears twice.
    /// The engine would have to guess which one counts.
    RepeatedNode = "E0017",
    /// A required child is missing.
    /// No default would be right for every pipeline.
    MissingNode = "E0018",
    /// A value outside its range.
    /// Limits keep a mistyped digit from causing an outage.
    OutOfRange = "E0019",
    /// Not a duration such as `"5s"` or `"1h30m"`.
    /// Write a number and a unit without a space, and repeat as needed; the units are
    /// `ms`, `s`, `m` or `min`, `h`, `d` and `w`.
    BadDuration = "E0020",
    /// Not a size such as `"256KiB"`.
    /// Write a number and a unit without a space; the units are `B`, `KiB`, `MiB`, `GiB`, `kB`,
    /// `MB` and `GB`.
    BadSize = "E0021",
    /// Not a rate such as `"10/min"`.
    /// Write a number, a slash, and one of `s`, `min`, `h` and `d`.
    BadRate = "E0022",
    /// A word that is not one of the allowed values.
    /// The sets of values are closed, so a typo is never accepted as something new.
    UnknownWord = "E0023",
    /// A name that is not lower case letters, digits and dashes, beginning with a letter.
    /// Names are used in paths, metrics and expressions, and look the same in all of them.
    BadName = "E0024",
    /// `(env)`, `(file)` or another annotation where it cannot be used.
    /// Everything that decides how the pipeline is built must be in the file itself, so that it can be
    /// checked on any machine. Where a text is not a template, `{{ … }}` in it would be used as it is.
    BadAnnotation = "E0025",
    /// The file uses a version of the language that this engine does not support.
    /// `schema-version=` gives the version; a newer file needs a newer engine.
    UnknownVersion = "E0026",
    /// An included file that is missing, includes itself or has a header of its own.
    /// Included files become part of the pipeline file, which already has the header.
    BadInclude = "E0027",
    /// An expression that cannot be parsed.
    /// Expressions are compiled when the file is checked, so that none can fail while events are processed.
    BadExpression = "E0101",
    /// An unknown function, filter or root name.
    /// The help suggests the closest name, or lists the names available here.
    UnknownFunction = "E0102",
    /// Compared with a word that is not a priority.
    /// Comparisons with `event.priority` compare levels, so this one would never be true.
    UnknownPriority = "E0103",
    /// A path that can never have a value.
    /// No schema of the events that arrive here lists it, no stage adds it, and no `param` has its name, so
    /// it would always be null. An object that lists `properties` is closed for this check, unless it sets
    /// `additionalProperties` or `patternProperties` itself. `data['name']` reads a field that such an
    /// object may have without listing it, and `get(data, 'name')` one that nothing declares at all.
    UnknownPath = "E0104",
    /// A template that cannot be parsed.
    /// Write an expression between `{{` and `}}`, and add filters after it with `|`.
    BadTemplate = "E0106",
    /// A value in a JSON body without `| json`.
    /// The first quote or line break in it would break the body. `| json` adds its own quotes.
    NotJson = "E0107",
    /// Compared with a value that is not in the enum.
    /// The possible values come from the `enum` of a schema, the event types that can arrive, or what a stage
    /// sets.
    NotOneOf = "E0108",
    /// Comparison of incompatible types.
    /// Such values are never equal, and an operator or function always yields null for them.
    NeverCompare = "E0109",
    /// The name of a stage that does not exist.
    /// A stage that waits for it would never run.
    UnknownStage = "E0201",
    /// The name of a sink or notifier that does not exist.
    /// Events sent to it would go nowhere.
    UnknownTarget = "E0202",
    /// Stages that wait for each other.
    /// None of them could ever start.
    Cycle = "E0203",
    /// Two nodes with the same name.
    /// References would be ambiguous, and so would everything counted and stored under the name.
    DuplicateName = "E0204",
    /// A `(param)` whose `param` does not exist.
    /// It is replaced before anything else is checked, so it must have a value.
    UnknownParam = "E0205",
    /// Two stages that write the same path.
    /// One would overwrite the other.
    SamePath = "E0206",
    /// An expression that reads the result of a stage without waiting for that stage.
    /// Stages that do not wait for each other run in parallel, so the value would be null.
    /// So would be `event.seq`, which is given when the event is stored.
    NotYetThere = "E0210",
    /// Stages that send events because of each other.
    /// Each event that one sends is a reason for the next to send one, without end. A stage never sees what it
    /// sends itself.
    EmissionLoop = "E0211",
    /// A schema file that is missing or broken.
    /// Schema paths are relative to the file. A `$ref` may lead to another file, relative to
    /// the schema and inside the pipeline's root; nothing is ever fetched from a network. Patterns are
    /// matched in linear time, so look-around and back-references are not supported.
    BadSchema = "E0301",
    /// An environment variable that is not set.
    /// The engine would not start. `default=` gives a value for this case, `optional=#true`
    /// turns the stage off instead, and `engine check --allow-missing-env` is for machines that
    /// only check.
    MissingVariable = "E0302",
    /// A table file that is missing or broken.
    /// Table paths are relative to the file.
    BadTable = "E0303",
    /// A path outside the pipeline's root.
    /// A pipeline reads only files below its root. The root is the folder that
    /// contains `pipelines/`, otherwise the folder of the file; `--root` sets another one.
    OutsideRoot = "E0304",
    /// A file that is not there, or a folder where a file belongs.
    /// Certificates, keys and programs with a relative path must be there before the engine
    /// starts; an absolute path belongs to the machine that runs the pipeline. A file that is
    /// read or written as it grows may come later.
    MissingFile = "E0306",
    /// An address open to the network without authentication.
    /// Anyone who can reach it could read every event and send their own.
    OpenListen = "E0405",
    /// The pipeline starts a program, which the engine does only with `engine run --allow-exec`.
    /// Whoever starts the engine decides about that, not whoever writes the file; `engine check --allow-exec` checks a file that may.
    StartsProgram = "W0402",
    /// Two nodes use the same path or file, or a node uses one of the engine's own paths.
    /// Only one of them would ever be used, whatever the method.
    SameRoute = "E0406",
    /// A test expected a result that did not occur.
    /// The help lists the actual results, and the timeline after it shows when they occurred.
    FailedExpectation = "E0701",
    /// The input of a test cannot be read: the file is missing, or the data is not JSON.
    /// To test a malformed message, give it as `body`, which may contain anything.
    BadSample = "E0702",
    /// In a test, a stage called an outside service that has no `mock`.
    /// A test never uses the network, so that it gives the same result everywhere and every time.
    NoMock = "E0703",
    /// A test step that says too little, or two things at once.
    /// An expectation that checks nothing could never fail.
    UnclearStep = "E0704",
    /// A test could not run: a part of the pipeline cannot be opened with the variables of the test.
    /// A test sees only the variables that its `env` sets; optional stages are off without theirs.
    TestNotRun = "E0705",
    /// A property written twice; the last one wins silently.
    /// KDL allows this, but a reader may only notice the first one.
    DuplicateProperty = "W0012",
    /// Events are kept for less than an hour.
    /// `m` means minutes and there is no unit for months, so `"30m"` is probably a typo for `"30d"`; if you
    /// mean minutes, write `"30min"`.
    MinutesOfHistory = "W0021",
    /// A path of `redact` that no schema declares.
    /// The value it should hide may be sent under another name. Declare the path in the schema of its event
    /// type.
    UndeclaredPath = "W0104",
    /// A condition with the same result for every event that reaches it.
    /// The schema limits the value, the type was already checked, or the value is never null.
    /// The same goes for a key or a text that was meant to read a value of the event.
    AlwaysSame = "W0109",
    /// A `param` that nothing reads.
    /// It is left over, or its name is misspelled where it is used.
    UnusedParam = "W0110",
    /// A route without `otherwise`: events that match no case are dropped.
    /// `otherwise` says where to send them.
    NoOtherwise = "W0207",
    /// A case that no event reaches, because earlier cases match all of its events.
    /// The first matching case decides, in a `route` with `mode=first` and in `priority`.
    DeadCase = "W0208",
    /// A stage whose result nothing reads.
    /// A store, a stream, a file and a webhook without its own `body` use the whole event;
    /// without any of them, only expressions read results.
    UnreadAddition = "W0209",
    /// A sink or notifier that no case of the route names.
    /// With a `route`, events go only where a case or `otherwise` sends them.
    Unrouted = "W0211",
    /// A pipeline without a source.
    /// Events come only from a `source`.
    NoSource = "W0212",
    /// A setting that has no effect here.
    /// It usually belongs to another node, or is left over from an earlier version of the file.
    NoEffect = "W0213",
    /// A `dedupe` or `throttle` that counts by arrival, over events that are read long after they happened.
    /// A source without `follow` reads its file at once, so that hours of events arrive within a second and
    /// repeat each other. Add the time to `key`, or leave the source out with `when`.
    CountsArrival = "W0214",
    /// An event that a stage sends and that goes nowhere.
    /// No sink or notifier gets events of its type, and no other stage acts on them.
    EmittedNowhere = "W0215",
    /// A stage, or a chain of stages, that may take longer than `event-timeout`.
    /// The worst case is every attempt with its full timeout plus every wait between attempts. A stage that
    /// has not finished by then is timed out, and its `on-error` decides.
    TooSlow = "W0303",
    /// A schema or rule for event types that never arrive.
    /// The types that a source can send come from the `enum` of its schema, from its `map`, or from the sample
    /// events it generates.
    UnusedType = "W0304",
    /// A `format` that nothing checks, although the file says `formats assert`.
    /// Only the formats of the schema's own draft are checked; use `pattern` for others.
    UncheckedFormat = "W0305",
    /// A literal where a secret belongs.
    /// Files are committed and shared; take the secret from `(env)` or `(file)` instead.
    LiteralSecret = "W0401",
    /// A store without retention grows without limit.
    /// Sooner or later it fills the disk; `retention` sets a limit.
    NoRetention = "W0503",
    /// A retention rule that an earlier rule hides.
    /// Rules are tried in file order and the first match decides, so put the general rule
    /// last.
    HiddenRule = "W0504",
    /// A store that may lose acknowledged events.
    /// With `synchronous full`, a response means that the event is on disk; with less, a power
    /// failure can lose acknowledged events.
    WeakDurability = "W0505",
    /// A pipeline without a store: nothing survives a restart.
    /// Add one with `sink sqlite NAME { path "…" }`.
    NoStore = "W0506",
    /// The whole message is stored, although `map` selects only a part of it.
    /// The rest of the message is not stored, unless something reads `raw` of an event that
    /// is already stored: a sink or a notifier, or anything that runs after a stage that waits.
    /// Write `store raw` in the sqlite sink if this is intended.
    KeepsMessage = "W0507",
}

impl Rule {
    /// Whether only a running test finds it, so that the file itself is in order.
    pub fn is_of_running(self) -> bool {
        matches!(self, Rule::FailedExpectation | Rule::NoMock | Rule::TestNotRun)
    }

    /// Errors begin with `E`, warnings with `W`.
    pub fn severity(self) -> Severity {
        if self.code().starts_with('E') { Severity::Error } else { Severity::Warning }
    }
}
