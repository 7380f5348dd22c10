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
    /// The usual slips have codes of their own; this one is what is left, at the place where
    /// reading failed.
    Syntax = "E0002",
    /// A value that begins with a digit but is no number (`10m`, `5s`, `2GiB`) needs quotes.
    /// Without quotes KDL takes it for a broken number.
    UnquotedValue = "E0003",
    /// A block, string or comment that is opened and never closed.
    /// The report guesses from the indentation where its end was meant.
    Unclosed = "E0004",
    /// Comments start with `//`; `#` begins a keyword or a raw string.
    /// YAML and shells write `#`; here it begins `#true` or `#"raw text"#`.
    HashComment = "E0005",
    /// An expression is one quoted string.
    /// It stands in double quotes and text inside it in single quotes, so nothing needs a
    /// backslash.
    UnquotedExpression = "E0006",
    /// KDL has no lists in brackets.
    /// Several values stand behind a name with blanks between them; a property that takes several
    /// words has them in one string.
    Brackets = "E0007",
    /// A backslash sequence that quoted strings do not know.
    /// A raw string takes everything as it stands: `#"\d+"#`.
    BadEscape = "E0008",
    /// The file is larger, deeper or has more nodes than the engine reads.
    /// More than 1 MiB, 64 levels or 10,000 nodes are refused before anything is parsed, so that no
    /// file can exhaust the engine.
    TooLarge = "E0009",
    /// A node or child that does not exist in this place.
    /// No word is ignored: one that nobody reads would have no effect, and nobody would notice.
    UnknownNode = "E0010",
    /// A word with YAML's colon or INI's equals sign at its end.
    /// A blank separates a name from its value; only properties have an equals sign.
    YamlColon = "E0011",
    /// A kind that this role does not have.
    /// `source`, `enrich`, `sink` and `notify` name their kind first: `sink sqlite journal`.
    UnknownKind = "E0012",
    /// A child node written as a property.
    /// Properties qualify the values of their node; what has values or a block of its own stands in
    /// the block.
    ChildAsProperty = "E0013",
    /// A property that does not exist in this place.
    /// `engine explain NODE` lists those that there are.
    UnknownProperty = "E0014",
    /// An argument or property that must be there is missing.
    /// The help shows all that the node takes, with what may be left out in `[…]`.
    MissingArgument = "E0015",
    /// An argument too many, or of the wrong type.
    /// Nothing is converted silently: a number in quotes is text.
    WrongArgument = "E0016",
    /// A node that may stand once stands twice.
    /// Which of the two counts would be a guess.
    RepeatedNode = "E0017",
    /// A child that must be there is missing.
    /// There is no default that would be right for every pipeline.
    MissingNode = "E0018",
    /// A value outside its range.
    /// Bounds keep a slip of a digit from becoming an outage.
    OutOfRange = "E0019",
    /// Not a duration such as `"5s"` or `"1h30m"`.
    /// It is a number and a unit without a blank, and several may follow each other; the units are
    /// `ms`, `s`, `m` or `min`, `h`, `d` and `w`.
    BadDuration = "E0020",
    /// Not a size such as `"256KiB"`.
    /// It is a number and a unit without a blank; the units are `B`, `KiB`, `MiB`, `GiB`, `kB`,
    /// `MB` and `GB`.
    BadSize = "E0021",
    /// Not a rate such as `"10/min"`.
    /// It is how many, a slash, and one of `s`, `min`, `h` and `d`.
    BadRate = "E0022",
    /// A word that is none of the choices in this place.
    /// The choices are closed sets, so a slip is never taken for something new.
    UnknownWord = "E0023",
    /// A name that is not lower case letters, digits and dashes, beginning with a letter.
    /// Names stand in paths, metrics and expressions, and look the same in all of them.
    BadName = "E0024",
    /// `(env)`, `(file)` or another annotation where it cannot be used.
    /// What decides how the pipeline is built must stand in the file, so that it can be checked on
    /// any machine.
    BadAnnotation = "E0025",
    /// The file says a version of the language that this engine does not know.
    /// The number stands behind `schema-version=`; a newer file needs a newer engine.
    UnknownVersion = "E0026",
    /// An included file that is missing, includes itself or has a header of its own.
    /// Included files are read as if they stood in the pipeline file, and that one has the header.
    BadInclude = "E0027",
    /// An expression that cannot be read.
    /// Expressions are compiled when the file is checked, so that none can fail for an event.
    BadExpression = "E0101",
    /// A function, filter or root name that expressions do not have.
    /// The help says what is nearest, or what there is in this place.
    UnknownFunction = "E0102",
    /// A word compared with a priority that is none.
    /// Comparisons with `event.priority` compare levels, and this one would never hold.
    UnknownPriority = "E0103",
    /// A path at which nothing can ever stand.
    /// No schema of the events that get there lists it, no stage adds it, no `param` has its name: it
    /// would always be null. An object that lists `properties` is closed for this check, unless it says
    /// `additionalProperties` or `patternProperties` itself. `data['name']` reads a field that such an
    /// object may have without listing it, and `get(data, 'name')` one that nothing declares at all.
    UnknownPath = "E0104",
    /// A template that cannot be read.
    /// An expression stands between `{{` and `}}`, and filters follow it behind `|`.
    BadTemplate = "E0106",
    /// A value put into a JSON body without `| json`.
    /// The first quote or line break in it would break the body. `| json` brings its own quotes.
    NotJson = "E0107",
    /// A word that something with words of its own never is.
    /// The words are the `enum` of a schema, the types of events that can arrive, or what a stage sets.
    NotOneOf = "E0108",
    /// Two sorts of values that never meet.
    /// They are never equal, and an operator or function makes nothing but null of them.
    NeverCompare = "E0109",
    /// A name that no stage has.
    /// What waits for a stage that does not exist would never run.
    UnknownStage = "E0201",
    /// A name that no sink or notifier has.
    /// What is sent there would go nowhere.
    UnknownTarget = "E0202",
    /// Stages that wait for each other.
    /// None of them could ever begin.
    Cycle = "E0203",
    /// Two nodes with one name.
    /// References would be ambiguous, and so would all that is counted and kept under the name.
    DuplicateName = "E0204",
    /// A `(param)` that names no `param`.
    /// It is replaced before anything else is checked, so there must be a value.
    UnknownParam = "E0205",
    /// Two stages that write one path.
    /// One would overwrite what the other writes.
    SamePath = "E0206",
    /// An expression that reads what a stage adds, at a place that does not wait for that stage.
    /// Stages that do not wait for each other run side by side, so it would be null.
    NotYetThere = "E0210",
    /// A schema file that is missing or broken.
    /// Schemas are read with the file and relative to it. A `$ref` may lead to another file, relative to
    /// the schema and inside the pipeline's root; nothing is ever fetched from a network. Patterns are
    /// matched in linear time, so that look-around and back-references are not supported.
    BadSchema = "E0301",
    /// An environment variable that is not set.
    /// The engine would not start. `default=` gives a value for this case, `optional=#true`
    /// switches the stage off instead, and `engine check --allow-missing-env` is for machines that
    /// only check.
    MissingVariable = "E0302",
    /// A table file that is missing or broken.
    /// Tables are read with the file and relative to it.
    BadTable = "E0303",
    /// A path outside the pipeline's root.
    /// A pipeline reads only below its root, whatever its file says. The root is the folder that
    /// holds `pipelines/`, else the folder of the file; `--root` names another.
    OutsideRoot = "E0304",
    /// An address open to the network without authentication.
    /// Whoever reaches it could read every event and send their own.
    OpenListen = "E0405",
    /// Two nodes want one path or file, or a node wants a path of the engine's own.
    /// Only one of them would ever be asked, whatever the method.
    SameRoute = "E0406",
    /// A test expected something that did not come out.
    /// The help lists what did, and the timeline behind it says when.
    FailedExpectation = "E0701",
    /// What a test gives cannot be read: a file that is missing, or data that is no JSON.
    /// A message that is meant to be broken is given as `body`, which may hold anything.
    BadSample = "E0702",
    /// In a test, a stage asked the outside and no `mock` answers for it.
    /// A test never reaches a network: what it says must be true everywhere and every time.
    NoMock = "E0703",
    /// A step of a test that says too little, or two things at once.
    /// An expectation that means nothing could never fail.
    UnclearStep = "E0704",
    /// A test could not run: something of the pipeline cannot be opened with its variables.
    /// A test sees only what its `env` sets; what is optional is off without it.
    TestNotRun = "E0705",
    /// A property written twice; the last one wins silently.
    /// KDL allows that, but who reads the file sees the first.
    DuplicateProperty = "W0012",
    /// History that is kept for less than an hour.
    /// `m` is minutes and no unit is a month, so `"30m"` is probably a slip for `"30d"`; who means
    /// minutes writes `"30min"`.
    MinutesOfHistory = "W0021",
    /// A path of `redact` that no schema declares.
    /// What it was to hide may leave under another name. Declare it in the schema of the type that has
    /// it.
    UndeclaredPath = "W0104",
    /// A condition that comes out the same for every event that gets there.
    /// The schema bounds the value, the type was asked before, or the value is never null.
    AlwaysSame = "W0109",
    /// A `param` that nothing reads.
    /// It is left over, or its name is written differently where it was to be read.
    UnusedParam = "W0110",
    /// A route without `otherwise`: what matches no case goes nowhere.
    /// `otherwise` says where the rest goes.
    NoOtherwise = "W0207",
    /// A case that no event gets to, because earlier cases take every one that fits.
    /// The first case that holds decides, in a `route` with `mode=first` and in `priority`.
    DeadCase = "W0208",
    /// A stage that adds what nothing reads.
    /// A store, a stream, a file and a webhook without a body of its own take the whole event and read
    /// everything; where there is none of them, only expressions do.
    UnreadAddition = "W0209",
    /// A sink or notifier that no case of the route names.
    /// With a `route`, an event goes only where a case or `otherwise` sends it.
    Unrouted = "W0211",
    /// A pipeline without a source.
    /// Events come from a `source` and from nowhere else.
    NoSource = "W0212",
    /// A setting that changes nothing in this place.
    /// Usually it belongs to another node, or is left over from an earlier version of the file.
    NoEffect = "W0213",
    /// A stage, or stages one behind the other, that may try longer than an event may live.
    /// The longest is every attempt with its timeout and every wait between; what has not ended
    /// after `event-timeout` is timed out, and its `on-error` decides.
    TooSlow = "W0303",
    /// A schema or rule for types of events that never arrive.
    /// The sources say which types they send: by the `enum` of their schema, by their `map`, or by what
    /// they make up.
    UnusedType = "W0304",
    /// A `format` that nothing checks, although the file says `formats assert`.
    /// Only the formats of the schema's own draft are checked; `pattern` can say the others.
    UncheckedFormat = "W0305",
    /// A literal where a secret belongs.
    /// Files are committed and shared; take the secret from `(env)` or `(file)` instead.
    LiteralSecret = "W0401",
    /// A store without retention grows for ever.
    /// Sooner or later the disk is full; `retention` sets an end.
    NoRetention = "W0503",
    /// A retention rule that an earlier one hides.
    /// Rules are tried in the order of the file and the first that fits decides, so the general one
    /// stands last.
    HiddenRule = "W0504",
    /// A store that may lose what was acknowledged.
    /// With `synchronous full` an answer means that the event is on disk; with less, a power
    /// failure can take back what was acknowledged.
    WeakDurability = "W0505",
    /// A pipeline without a store: nothing survives a restart.
    /// A store is one node: `sink sqlite NAME { path "…" }`.
    NoStore = "W0506",
    /// The whole message is stored, although `map` takes only a part of it.
    /// What `map { data }` leaves out is not stored, unless something reads `raw` of an event that
    /// is stored already: a sink or a notifier, or what runs after a stage that waits.
    /// `store raw` in the sqlite sink says that it is meant.
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
