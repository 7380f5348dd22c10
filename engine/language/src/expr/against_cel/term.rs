//! A term, and how it is spelled for us and for CEL. Brackets stand only where precedence needs
//! them.

use serde_json::Value;
use std::fmt::Write;

/// Whose spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Ours,
    Cel,
}

/// How a text or number is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Double,
    Triple,
    Raw,
    Codes,
}

/// An expression, before it is spelled.
#[derive(Debug, Clone)]
pub(super) enum Term {
    Literal(Value, Form),
    /// `data` or `event.type` and the like.
    Root(&'static str),
    Member(Box<Term>, String),
    Index(Box<[Term; 2]>),
    Unary(&'static str, Box<Term>),
    Binary(&'static str, Box<[Term; 2]>),
    Choice(Box<[Term; 3]>),
    List(Vec<Term>),
    Map(Vec<(String, Term)>),
    Call(&'static str, Vec<Term>),
    /// The list, the name of an item, and what is done with it.
    Macro(&'static str, Box<[Term; 2]>, &'static str),
}

/// Everything that must take part in compared terms.
pub(super) const PARTS: &[&str] = &[
    "||",
    "&&",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "in",
    "not in",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "negate",
    "?:",
    "[]",
    ".",
    "list",
    "map",
    "len",
    "contains",
    "starts_with",
    "ends_with",
    "matches",
    "exists",
    "all",
    "filter",
    "map()",
    "item",
];

const CHOICE: usize = 0;
const RELATION: usize = 3;
const UNARY: usize = 6;
const POSTFIX: usize = 7;

impl Term {
    /// How tightly it binds.
    fn level(&self, dialect: Dialect) -> usize {
        match self {
            Term::Choice(_) => CHOICE,
            Term::Binary("||", _) => 1,
            Term::Binary("&&", _) => 2,
            Term::Binary("not in", _) if dialect == Dialect::Cel => UNARY,
            Term::Binary("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in", _) => RELATION,
            Term::Binary("+" | "-", _) => 4,
            Term::Binary(..) => 5,
            Term::Unary(..) => UNARY,
            Term::Literal(Value::Number(it), _) if it.to_string().starts_with('-') => UNARY,
            _ => POSTFIX,
        }
    }

    /// Whether nothing in it is read or compared.
    pub(super) fn is_constant(&self) -> bool {
        match self {
            Term::Literal(..) => true,
            Term::List(_) | Term::Map(_) | Term::Unary("-", _) => {
                self.children().into_iter().all(Term::is_constant)
            }
            _ => false,
        }
    }

    /// The terms right below.
    pub(super) fn children(&self) -> Vec<&Term> {
        match self {
            Term::Literal(..) | Term::Root(_) => Vec::new(),
            Term::Member(it, _) | Term::Unary(_, it) => vec![it],
            Term::Index(parts) | Term::Binary(_, parts) | Term::Macro(_, parts, _) => {
                parts.iter().collect()
            }
            Term::Choice(parts) => parts.iter().collect(),
            Term::List(items) | Term::Call(_, items) => items.iter().collect(),
            Term::Map(entries) => entries.iter().map(|entry| &entry.1).collect(),
        }
    }

    /// Names of [`PARTS`], once for each time that it stands in the term.
    pub(super) fn parts(&self, visit: &mut dyn FnMut(&'static str)) {
        match self {
            Term::Root("x" | "y") => visit("item"),
            Term::Literal(..) | Term::Root(_) => {}
            Term::Macro("map", ..) => visit("map()"),
            Term::Macro(name, ..) => visit(name),
            Term::Member(..) => visit("."),
            Term::Index(_) => visit("[]"),
            Term::Unary("-", _) => visit("negate"),
            Term::Unary(sign, _) | Term::Binary(sign, _) | Term::Call(sign, _) => visit(sign),
            Term::Choice(_) => visit("?:"),
            Term::List(_) => visit("list"),
            Term::Map(_) => visit("map"),
        }
        self.children().into_iter().for_each(|child| child.parts(visit));
    }

    /// The text that `dialect` reads as this term.
    pub(super) fn spelled(&self, dialect: Dialect) -> String {
        let mut text = String::new();
        self.spell(dialect, CHOICE, &mut text);
        text
    }

    /// Writes it where something of at least `level` must stand.
    fn spell(&self, dialect: Dialect, level: usize, text: &mut String) {
        if self.level(dialect) < level {
            text.push('(');
            self.spell(dialect, CHOICE, text);
            text.push(')');
            return;
        }
        match self {
            Term::Literal(value, form) => text.push_str(&literal(value, *form)),
            Term::Root(path) => text.push_str(path),
            Term::Member(base, name) => {
                base.spell_base(dialect, text);
                write!(text, ".{name}").expect("text takes text");
            }
            Term::Index(parts) => {
                parts[0].spell_base(dialect, text);
                text.push('[');
                parts[1].spell(dialect, CHOICE, text);
                text.push(']');
            }
            Term::Unary(sign, inner) => {
                text.push_str(sign);
                // A sign may be doubled; different ones need brackets in CEL.
                let is_same = matches!(&**inner, Term::Unary(it, _) if it == sign);
                inner.spell(dialect, if is_same { UNARY } else { POSTFIX }, text);
            }
            Term::Binary("not in", parts) if dialect == Dialect::Cel => {
                text.push_str("!(");
                Term::Binary("in", parts.clone()).spell(dialect, CHOICE, text);
                text.push(')');
            }
            Term::Binary(sign, parts) => {
                let own = self.level(dialect);
                // Comparisons are not chained; the others go from the left.
                parts[0].spell(dialect, if own == RELATION { own + 1 } else { own }, text);
                write!(text, " {sign} ").expect("text takes text");
                parts[1].spell(dialect, own + 1, text);
            }
            Term::Choice(parts) => {
                parts[0].spell(dialect, CHOICE + 1, text);
                text.push_str(" ? ");
                parts[1].spell(dialect, CHOICE + 1, text);
                text.push_str(" : ");
                parts[2].spell(dialect, CHOICE, text);
            }
            Term::List(items) => spell_all(items, dialect, ("[", "]"), text),
            Term::Map(entries) => {
                for (index, (key, value)) in entries.iter().enumerate() {
                    text.push_str(if index == 0 { "{" } else { ", " });
                    write!(text, "'{key}': ").expect("text takes text");
                    value.spell(dialect, CHOICE, text);
                }
                text.push_str(if entries.is_empty() { "{}" } else { "}" });
            }
            Term::Macro(name, parts, item) => {
                parts[0].spell_base(dialect, text);
                write!(text, ".{name}({item}, ").expect("text takes text");
                parts[1].spell(dialect, CHOICE, text);
                text.push(')');
            }
            Term::Call(name, arguments) => spell_call(name, arguments, dialect, text),
        }
    }

    /// What stands before a dot or a bracket; a number needs brackets there.
    fn spell_base(&self, dialect: Dialect, text: &mut String) {
        let is_number = matches!(self, Term::Literal(Value::Number(_), _));
        self.spell(dialect, if is_number { POSTFIX + 1 } else { POSTFIX }, text);
    }
}

fn spell_all(items: &[Term], dialect: Dialect, (open, close): (&str, &str), text: &mut String) {
    text.push_str(open);
    for (index, item) in items.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { ", " });
        item.spell(dialect, CHOICE, text);
    }
    text.push_str(close);
}

fn spell_call(name: &str, arguments: &[Term], dialect: Dialect, text: &mut String) {
    let method = match (dialect, name) {
        (Dialect::Ours, _) => {
            text.push_str(name);
            return spell_all(arguments, dialect, ("(", ")"), text);
        }
        (Dialect::Cel, "len") => "size",
        (Dialect::Cel, "starts_with") => "startsWith",
        (Dialect::Cel, "ends_with") => "endsWith",
        (Dialect::Cel, same) => same,
    };
    arguments[0].spell_base(dialect, text);
    write!(text, ".{method}").expect("text takes text");
    spell_all(&arguments[1..], dialect, ("(", ")"), text);
}

fn literal(value: &Value, form: Form) -> String {
    match value {
        Value::String(it) => quoted(it, form),
        Value::Number(it) => match (it.as_i64(), form) {
            (Some(int), Form::Codes) if int < 0 => format!("-{:#x}", int.unsigned_abs()),
            (Some(int), Form::Codes) => format!("{int:#x}"),
            (None, Form::Codes) => format!("{:e}", it.as_f64().expect("a float")),
            (None, Form::Raw) => {
                let text = it.to_string();
                text.strip_prefix("0.").map_or_else(|| text.clone(), |it| format!(".{it}"))
            }
            _ => it.to_string(),
        },
        other => other.to_string(),
    }
}

/// The text in quotes, in this form or, where it cannot hold the text, in plain ones.
fn quoted(text: &str, form: Form) -> String {
    let escaped = |quote: char| {
        let mut made = String::new();
        for it in text.chars() {
            match it {
                '\n' => made.push_str("\\n"),
                '\r' => made.push_str("\\r"),
                '\t' => made.push_str("\\t"),
                '\\' => made.push_str("\\\\"),
                it if it == quote => made.extend(['\\', it]),
                it => made.push(it),
            }
        }
        made
    };
    let is_plain = !text.contains(['\'', '"', '\n', '\r']);
    match form {
        Form::Double => format!("\"{}\"", escaped('"')),
        Form::Triple => format!("'''{}'''", escaped('\'')),
        Form::Raw if is_plain => format!("r'{text}'"),
        Form::Codes => {
            let codes =
                text.chars().enumerate().map(|(index, it)| match (u32::from(it), index % 4) {
                    (code @ ..=0xff, 0) => format!("\\x{code:02x}"),
                    (code @ ..=0xff, 1) => format!("\\{code:03o}"),
                    (code @ ..=0xffff, 2) => format!("\\u{code:04X}"),
                    (code, _) => format!("\\U{code:08x}"),
                });
            format!("'{}'", codes.collect::<String>())
        }
        _ => format!("'{}'", escaped('\'')),
    }
}
