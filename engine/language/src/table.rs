//! The rows of the table: what a node is called, what it takes, what may stand inside.

use crate::expr::Roots;
use std::time::Duration;

/// A node of the language.
#[derive(Debug, Clone, Copy)]
pub struct NodeRow {
    /// Its name in the file.
    pub name: &'static str,
    /// What it says, one line.
    pub note: &'static str,
    /// Its arguments, in order.
    pub args: &'static [Arg],
    /// Its properties.
    pub props: &'static [Prop],
    /// The type of any further property, where the file chooses the names (`labels site=home`).
    pub open: Option<ValueKind>,
    /// Groups of children that may stand in its block.
    pub children: &'static [&'static [NodeRow]],
    /// Whether it may stand more than once.
    pub repeated: bool,
    /// Whether it must stand.
    pub required: bool,
    /// What holds when it is absent.
    pub default: DefaultValue,
    /// How it is written: together they show every argument and property.
    pub examples: &'static [&'static str],
}

/// What holds where the file says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// Nothing.
    None,
    /// What would be written behind the node's name. [`Fields`](crate::Fields) reads it from here.
    Value(&'static str),
    /// What no value says, in words.
    Words(&'static str),
}

impl DefaultValue {
    /// For readers.
    pub fn text(self) -> Option<&'static str> {
        match self {
            DefaultValue::None => None,
            DefaultValue::Value(text) | DefaultValue::Words(text) => Some(text),
        }
    }
}

impl NodeRow {
    /// A node without arguments, properties or children, that may stand once.
    pub const fn new(name: &'static str, note: &'static str) -> Self {
        NodeRow {
            name,
            note,
            args: &[],
            props: &[],
            open: None,
            children: &[],
            repeated: false,
            required: false,
            default: DefaultValue::None,
            examples: &[],
        }
    }

    /// A flag: `name`, `name #true` or `name #false`.
    pub const fn flag(name: &'static str, note: &'static str) -> Self {
        const FLAG: &[Arg] = &[Arg::optional("on", ValueKind::Bool)];
        NodeRow::new(name, note).args(FLAG).default("#false")
    }

    /// With these arguments.
    #[must_use]
    pub const fn args(mut self, args: &'static [Arg]) -> Self {
        self.args = args;
        self
    }

    /// With these properties.
    #[must_use]
    pub const fn props(mut self, props: &'static [Prop]) -> Self {
        self.props = props;
        self
    }

    /// With any further properties of this type.
    #[must_use]
    pub const fn open(mut self, ty: ValueKind) -> Self {
        self.open = Some(ty);
        self
    }

    /// With these groups of children.
    #[must_use]
    pub const fn children(mut self, children: &'static [&'static [NodeRow]]) -> Self {
        self.children = children;
        self
    }

    /// May stand more than once.
    #[must_use]
    pub const fn repeated(mut self) -> Self {
        self.repeated = true;
        self
    }

    /// Must stand.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Written like this, for example.
    #[must_use]
    pub const fn examples(mut self, texts: &'static [&'static str]) -> Self {
        self.examples = texts;
        self
    }

    /// Where it is absent, it stands like this: `default("1024 linger=\"0ms\"")`.
    #[must_use]
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = DefaultValue::Value(value);
        self
    }

    /// What holds when it is absent, in words.
    #[must_use]
    pub const fn otherwise(mut self, words: &'static str) -> Self {
        self.default = DefaultValue::Words(words);
        self
    }
}

/// An argument of a node.
#[derive(Debug, Clone, Copy)]
pub struct Arg {
    /// What it is called in messages.
    pub name: &'static str,
    /// What it may be.
    pub ty: ValueKind,
    /// How often.
    pub arity: Arity,
}

/// How often an argument stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// Once.
    One,
    /// Once or not at all.
    Optional,
    /// Once or more; only the last argument.
    Some,
    /// Any number of times; only the last argument.
    Any,
}

impl Arg {
    /// An argument that must stand.
    pub const fn one(name: &'static str, ty: ValueKind) -> Self {
        Arg { name, ty, arity: Arity::One }
    }

    /// An argument that may stand.
    pub const fn optional(name: &'static str, ty: ValueKind) -> Self {
        Arg { name, ty, arity: Arity::Optional }
    }

    /// One argument or more.
    pub const fn some(name: &'static str, ty: ValueKind) -> Self {
        Arg { name, ty, arity: Arity::Some }
    }

    /// Any number of arguments.
    pub const fn any(name: &'static str, ty: ValueKind) -> Self {
        Arg { name, ty, arity: Arity::Any }
    }
}

/// A property of a node.
#[derive(Debug, Clone, Copy)]
pub struct Prop {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub ty: ValueKind,
    /// Whether it must stand.
    pub required: bool,
    /// What holds when it is absent from a node that stands.
    pub default: DefaultValue,
}

impl Prop {
    /// A property that may stand.
    pub const fn new(name: &'static str, ty: ValueKind) -> Self {
        Prop { name, ty, required: false, default: DefaultValue::None }
    }

    /// A property that must stand.
    pub const fn required(name: &'static str, ty: ValueKind) -> Self {
        Prop { required: true, ..Prop::new(name, ty) }
    }

    /// With this value where it is absent.
    #[must_use]
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = DefaultValue::Value(value);
        self
    }
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum ValueKind {
    /// A name: `[a-z][a-z0-9-]{0,62}`.
    Ident,
    /// The name of another node; resolved by the plan.
    Ref,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words, separated by blanks, in one string.
    Words(&'static [&'static str]),
    /// An expression over these roots.
    Expr(Roots),
    /// A template over these roots; may come from `(env)` or `(file)`.
    Template(Roots),
    /// A template over these roots, of the file itself.
    OwnTemplate(Roots),
    /// A duration between these bounds.
    Duration(Duration, Duration),
    /// A size in bytes between these bounds.
    Bytes(u64, u64),
    /// A rate: `"10/min"`.
    Rate,
    /// A path, relative to the file; may come from `(env)`.
    Path,
    /// A pattern of event types or paths, `*` for any run of characters.
    Glob,
    /// A URL; may come from `(env)`.
    Url,
    /// A URL whose path and query may be a template over these roots; may come from `(env)`.
    UrlTemplate(Roots),
    /// The URL of a broker, whose kind knows its schemes.
    BrokerUrl,
    /// A secret: best from `(env)` or `(file)`, never printed.
    Secret,
    /// A name that is as good as a password where anybody may use it: never printed, and its kind
    /// says where a literal is a mistake.
    Topic,
    /// Text; may come from `(env)` or `(file)`.
    Text,
    /// `HOST:PORT`; may come from `(env)`.
    Socket,
    /// `HOST` or `HOST:PORT` that a server answers for; may come from `(env)`.
    Host,
    /// `#true` or `#false`.
    Bool,
    /// A whole number between these bounds.
    Int(i64, i64),
    /// A number between these bounds.
    Number(f64, f64),
    /// A dotted path into the event: `enrich.person`, `data.embedding`.
    Field,
    /// A dotted path below `enrich`, where a stage writes: `person.name`.
    Addition,
    /// A JSON pointer: `/data/count`.
    Pointer,
    /// HTTP statuses: `"200"`, `"2xx 404"`.
    Statuses,
    /// A time zone of the IANA database.
    Zone,
    /// From one time of the day to another: `22:00-07:00`.
    Hours,
    /// Days of the week: `mon-fri sun`.
    Days,
    /// Text of the file itself, whatever it says.
    Literal,
    /// JSON as text of the file itself.
    Json,
    /// A moment: RFC 3339 with an offset or `Z`.
    Moment,
    /// Any scalar.
    Any,
}

/// A kind of a role: its word and what may stand in its block.
#[derive(Debug, Clone, Copy)]
pub struct KindRow {
    /// Its word in the file.
    pub word: &'static str,
    /// What it does, one line.
    pub summary: &'static str,
    /// A whole node of the kind.
    pub example: &'static str,
    /// Groups of children of its own.
    pub nodes: &'static [&'static [NodeRow]],
}
