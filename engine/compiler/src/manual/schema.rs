//! The language as a JSON Schema, for programs that write or check pipeline files.
//!
//! A document in JSON is a list of nodes, and a node
//! `{"node": NAME, "args": […], "props": {…}, "children": […]}`, in which what is empty may be
//! left out. `engine expand --format json` writes this form, with `origin` and `built_in` besides.
//! An annotated value such as `(env)"X"` is `{"type": "env", "value": "X"}`; any other
//! value stands for itself.

use super::{Language, rows};
use language::{Arg, Arity, KindRow, NodeRow, Prop, ValueKind, usage};
use serde_json::{Map, Value, json};

const FORM: &str = "A pipeline file as JSON: a list of nodes. A node is \
    {\"node\": NAME, \"args\": [...], \"props\": {...}, \"children\": [...]}, in which empty \
    parts are optional. An annotated value such as (env)\"X\" is {\"type\": \"env\", \
    \"value\": \"X\"}; any other value is written directly. `engine expand` adds where a node \
    comes from (origin) and which settings hold without being written (built_in). What a schema cannot express (bounds of \
    durations and sizes, names, expressions, what a name refers to) is left to `engine check`.";

/// The schema of pipeline files in their JSON form.
pub fn json_schema(language: Language<'_>) -> Value {
    let mut defs = Definitions { known: Map::new() };
    defs.known.insert("value.param".to_owned(), annotated(&["param"]));
    defs.known.insert("value.outside".to_owned(), annotated(&["env", "file"]));
    defs.known.insert("value.variable".to_owned(), annotated(&["env"]));
    for row in language.top {
        let Some((_, kinds)) = language.role(row) else {
            let schema = defs.node(row, row.name);
            defs.known.insert(row.name.to_owned(), schema);
            continue;
        };
        let common = defs.rows(row.children, row.name);
        for kind in &kinds {
            let schema = defs.kind(row, kind, &common);
            defs.known.insert(format!("kind.{}.{}", row.name, kind.word), schema);
        }
        let kinds = kinds.iter().map(|kind| reference(&format!("kind.{}.{}", row.name, kind.word)));
        defs.known.insert(row.name.to_owned(), json!({"anyOf": kinds.collect::<Vec<_>>()}));
    }
    let top: Vec<(&NodeRow, Value)> =
        language.top.iter().map(|it| (it, reference(it.name))).collect();
    let mut schema = list(&top);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Pipeline file");
    schema["description"] = json!(FORM);
    schema["$defs"] = Value::Object(defs.known);
    schema
}

struct Definitions {
    known: Map<String, Value>,
}

impl Definitions {
    /// The rows of a block with where each is defined.
    fn rows(
        &mut self,
        groups: &'static [&'static [NodeRow]],
        path: &str,
    ) -> Vec<(&'static NodeRow, Value)> {
        let mut found = Vec::new();
        for row in rows(groups) {
            let path = format!("{path}.{}", row.name);
            let schema = self.node(row, &path);
            // Many places share their rows; equal ones are defined once.
            let known = self.known.iter().find(|it| *it.1 == schema).map(|it| it.0.clone());
            let name = known.unwrap_or_else(|| {
                self.known.insert(path.clone(), schema);
                path
            });
            found.push((row, reference(&name)));
        }
        found
    }

    fn node(&mut self, row: &NodeRow, path: &str) -> Value {
        let children = self.rows(row.children, path);
        let args: Vec<Value> = row.args.iter().map(|arg| value(arg.ty)).collect();
        object(row, &format!("{}: {}", usage(row), row.note), &args, &children)
    }

    fn kind(
        &mut self,
        row: &NodeRow,
        kind: &KindRow,
        common: &[(&'static NodeRow, Value)],
    ) -> Value {
        let mut children = common.to_vec();
        children.extend(self.rows(kind.nodes, &format!("kind.{}.{}", row.name, kind.word)));
        let first = json!({"const": kind.word});
        let others = row.args.iter().skip(1).map(|arg| value(arg.ty));
        let args: Vec<Value> = [first].into_iter().chain(others).collect();
        object(row, kind.summary, &args, &children)
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn object(row: &NodeRow, told: &str, args: &[Value], children: &[(&NodeRow, Value)]) -> Value {
    let arguments = arguments(row.args, args);
    let needs_args = arguments["minItems"] != 0;
    let needs_props = row.props.iter().any(|prop| prop.required);
    let needs_children = children.iter().any(|child| child.0.required);
    let needed = [("args", needs_args), ("props", needs_props), ("children", needs_children)];
    let required: Vec<&str> =
        ["node"].into_iter().chain(needed.iter().filter(|it| it.1).map(|it| it.0)).collect();
    json!({
        "description": told,
        "type": "object",
        "properties": {
            "node": {"const": row.name},
            "args": arguments,
            "props": properties(row),
            "children": list(children),
            "origin": {"type": "string"},
            "built_in": {"type": "array", "items": {"type": "string"}},
        },
        "required": required,
        "additionalProperties": false,
    })
}

fn arguments(rows: &[Arg], values: &[Value]) -> Value {
    let is_open = |arg: &Arg| matches!(arg.arity, Arity::Some | Arity::Any);
    let more = rows.last().zip(values.last()).filter(|it| is_open(it.0)).map(|it| it.1.clone());
    let least = rows.iter().filter(|row| matches!(row.arity, Arity::One | Arity::Some)).count();
    let mut schema = json!({
        "type": "array",
        "items": more.unwrap_or(Value::Bool(false)),
        "minItems": least,
    });
    if !values.is_empty() {
        schema["prefixItems"] = values.into();
    }
    schema
}

fn properties(row: &NodeRow) -> Value {
    let types = row.args.iter().map(|arg| arg.ty).chain(row.props.iter().map(|prop| prop.ty));
    let mut known: Map<String, Value> =
        row.props.iter().map(|prop: &Prop| (prop.name.to_owned(), value(prop.ty))).collect();
    if types.chain(row.open).any(|kind| kind.takes_outside() || kind.takes_variable()) {
        known.entry("default").or_insert_with(|| json!({"type": ["string", "number", "boolean"]}));
        known.entry("optional").or_insert_with(|| json!({"type": "boolean"}));
    }
    let required: Vec<&str> =
        row.props.iter().filter(|prop| prop.required).map(|prop| prop.name).collect();
    json!({
        "type": "object",
        "properties": known,
        "required": required,
        "additionalProperties": row.open.map_or(Value::Bool(false), value),
    })
}

/// A list of nodes: only these, and each as often as it may stand.
fn list(rows: &[(&NodeRow, Value)]) -> Value {
    let mut schema = json!({"type": "array"});
    if rows.is_empty() {
        schema["items"] = Value::Bool(false);
        return schema;
    }
    schema["items"] = json!({"anyOf": rows.iter().map(|row| row.1.clone()).collect::<Vec<_>>()});
    let counted: Vec<Value> = rows.iter().filter_map(|row| count(row.0)).collect();
    if !counted.is_empty() {
        schema["allOf"] = counted.into();
    }
    schema
}

fn count(row: &NodeRow) -> Option<Value> {
    let contains = json!({"properties": {"node": {"const": row.name}}, "required": ["node"]});
    let mut schema = json!({"contains": contains, "minContains": u8::from(row.required)});
    if !row.repeated {
        schema["maxContains"] = 1.into();
    }
    (row.required || !row.repeated).then_some(schema)
}

fn annotated(words: &[&str]) -> Value {
    json!({
        "type": "object",
        "properties": {"type": {"enum": words}, "value": {"type": "string"}},
        "required": ["type", "value"],
        "additionalProperties": false,
    })
}

/// A number with its unit in front: `(s)5`.
fn in_units(units: &[&str]) -> Value {
    json!({
        "type": "object",
        "properties": {"type": {"enum": units}, "value": {"type": "number", "minimum": 0}},
        "required": ["type", "value"],
        "additionalProperties": false,
    })
}

fn text(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

/// What a value may be. In place of any value there may be a parameter of the file.
fn value(ty: ValueKind) -> Value {
    let mut forms = own(ty);
    if ty.takes_outside() {
        forms.push(reference("value.outside"));
    } else if ty.takes_variable() {
        forms.push(reference("value.variable"));
    }
    forms.push(reference("value.param"));
    json!({"description": ty.told(), "anyOf": forms})
}

fn own(ty: ValueKind) -> Vec<Value> {
    let one = match ty {
        ValueKind::Ident => text("^[a-z][a-z0-9-]{0,62}$"),
        ValueKind::Word(words) => json!({"enum": words}),
        ValueKind::Words(words) => {
            let word = words.iter().map(|word| escaped(word)).collect::<Vec<_>>().join("|");
            text(&format!("^ *({word})( +({word}))* *$"))
        }
        ValueKind::Duration(..) => {
            let units = ["ms", "min", "s", "m", "h", "d", "w"];
            let iso = json!({
                "type": "object",
                "properties": {"type": {"const": "duration"}, "value": {"type": "string"}},
                "required": ["type", "value"],
                "additionalProperties": false,
            });
            let plain = text("^([0-9]+(\\.[0-9]+)?(ms|min|s|m|h|d|w))+$");
            return vec![plain, in_units(&units), iso];
        }
        ValueKind::Bytes(..) => {
            let units = ["B", "KiB", "MiB", "GiB", "kB", "KB", "MB", "GB"];
            let plain = text("^[0-9]+(\\.[0-9]+)?(B|KiB|MiB|GiB|kB|KB|MB|GB)$");
            return vec![plain, in_units(&units)];
        }
        ValueKind::Rate => text("^ *[0-9.]+ */ *(s|m|min|h|d) *$"),
        ValueKind::Bool => json!({"type": "boolean"}),
        ValueKind::Int(least, i64::MAX) => json!({"type": "integer", "minimum": least}),
        ValueKind::Int(least, most) => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        ValueKind::Number(least, most) => {
            json!({"type": "number", "minimum": least, "maximum": most})
        }
        ValueKind::Any => json!({"type": ["string", "number", "boolean", "null"]}),
        _ => json!({"type": "string"}),
    };
    vec![one]
}

/// A word as a part of a regular expression.
fn escaped(word: &str) -> String {
    let sign = |letter: char| if letter.is_alphanumeric() || letter == '-' { "" } else { "\\" };
    word.chars().map(|letter| format!("{}{letter}", sign(letter))).collect()
}
