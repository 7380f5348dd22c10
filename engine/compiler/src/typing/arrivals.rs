//! Which types of events can arrive, and what is known of their messages and their `data`.

use super::taking;
use crate::spec::{Name, OnInvalid, OnUnknownType, SourceNode, Spec, tag_of};
use kernel::pattern::glob_fits;
use language::Context;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::{EventType, EventTypes, NotYetSet, Root, TypeEnv, ValueType, of_schema};
use serde_json::Value;
use stages::contract::CloudEvents;
use stages::decode::OnMismatch;
use std::collections::BTreeMap;
use std::sync::Arc;

/// More types than this are not told apart.
const TYPES_MAX: usize = 1000;

/// What comes in.
pub(super) struct ProgramInputs {
    /// Every type that is accepted, a name before the patterns that it fits.
    pub(super) all: EventTypes,
    /// Whether the sources can send no other types than the named ones.
    pub(super) sent: Option<Vec<Arc<str>>>,
    /// What is known in the `map` of a source, by its name.
    pub(super) messages: BTreeMap<String, TypeEnv>,
    /// Roots that are the same for every event.
    globals: Vec<(Root, ValueType)>,
    /// Whether events are accepted that do not fit their schema.
    accepts_invalid: bool,
    /// The name below `enrich` of what says where in a visit an event is.
    lifecycle: Option<Arc<str>>,
    /// Whether events are accepted whose line could not be decoded.
    accepts_undecoded: bool,
    /// Whether lines are decoded to fields.
    is_decoded: bool,
}

impl ProgramInputs {
    pub(super) fn of(spec: &Spec, context: &mut Context<'_>) -> ProgramInputs {
        let accepts_invalid = spec.validate.on_invalid == OnInvalid::Tag;
        let globals = globals(spec);
        let mut files = ArrivalFiles { read: BTreeMap::new() };
        let mut messages = BTreeMap::new();
        let mut sent = Some(Vec::new());
        let mut data = ValueType::never();
        let mut raw = ValueType::never();
        for source in &spec.sources {
            let known = message(source, &globals, &mut files, context);
            let own = match accepts_invalid {
                true => None,
                false => types(source, &known),
            };
            sent = sent.zip(own).map(|(all, own)| all.into_iter().chain(own).collect());
            let received = known.at(taking::unit(&source.map), &[]);
            let mapped = source.map.data.as_ref();
            let mapped = mapped.map(|data| known.check(&data.value).shape.in_json());
            let is_plain = source.spec.cloud_events() == CloudEvents::Never;
            data = data.or(mapped.unwrap_or_else(|| match source.map.each {
                Some(_) => received.clone(),
                None if is_plain => known.data(),
                None => ValueType::any(),
            }));
            raw = raw.or(received);
            messages.insert(source.name.value.clone(), known);
        }
        let mut sent: Option<Vec<Arc<str>>> = sent.filter(|_| !spec.sources.is_empty());
        if let Some(names) = &mut sent {
            names.sort();
            names.dedup();
        }
        let sent = sent.filter(|sent| sent.len() <= TYPES_MAX);
        let mut globals = globals;
        let loose = |it: ValueType| if accepts_invalid { it.unchecked() } else { it };
        globals
            .push((Root::Raw, if spec.sources.is_empty() { ValueType::any() } else { loose(raw) }));
        let covered = covered(spec, &mut files, context).into_iter();
        let covered = covered.map(|(kind, it)| (kind, Arc::new(loose((*it).clone())))).collect();
        let data = if spec.sources.is_empty() { ValueType::any() } else { loose(data) };
        let all = accepted(spec, sent.as_deref(), covered, data);
        let mut decoders = spec.sources.iter().filter_map(|source| source.spec.decoder());
        let is_decoded = decoders.clone().next().is_some();
        let accepts_undecoded = decoders.any(|decoder| decoder.on_mismatch == OnMismatch::Tag);
        let world = ProgramInputs {
            all,
            sent,
            messages,
            globals,
            accepts_invalid,
            accepts_undecoded,
            is_decoded,
            lifecycle: spec.lifecycle().map(|lifecycle| tag_of(&lifecycle.value).into()),
        };
        world.with_emitted(spec)
    }

    /// With what stages send. What one sends another may see, and send again.
    fn with_emitted(mut self, spec: &Spec) -> ProgramInputs {
        const ROUNDS: usize = 2;
        let accepted = self.all.clone();
        for _ in 0..ROUNDS {
            let mut all: Vec<EventType> = accepted.to_vec();
            for memory in spec.memories() {
                let known = self.known(&self.all, ValueType::any(), Vec::new());
                let asked = memory.when.map(|when| known.check(&when.value).holds);
                let known = known.narrowed(&asked.unwrap_or_else(|| self.all.clone()));
                for (kind, data) in memory.spec.emits(&known) {
                    add_type(&mut all, &kind.value, data);
                }
            }
            self.all = all.into();
        }
        if let Some(sent) = &mut self.sent {
            let emitted =
                self.all.iter().filter(|it| !accepted.iter().any(|known| known.kind == it.kind));
            sent.extend(emitted.map(|emitted| emitted.kind.clone()));
        }
        self
    }

    /// What is known where these types are, with these additions.
    pub(super) fn known(
        &self,
        here: &EventTypes,
        mut enrich: ValueType,
        later: Vec<NotYetSet>,
    ) -> TypeEnv {
        if self.accepts_invalid {
            enrich.put(&["validate".to_owned()], ValueType::any());
        }
        if self.accepts_undecoded {
            let tag = ["reason", "line"].map(|it| (it, ValueType::text()));
            enrich.put(&["decode".to_owned()], ValueType::map(tag).or_null());
        }
        let enrich = if enrich == ValueType::never() { ValueType::empty_map() } else { enrich };
        let mut roots = self.globals.clone();
        roots.push((Root::Enrich, enrich));
        roots.push((Root::Status, ValueType::number()));
        TypeEnv {
            all: self.all.clone(),
            here: here.clone(),
            is_message: false,
            roots,
            later: later.into(),
            level: None,
            is_decoded: self.is_decoded,
            lifecycle: self.lifecycle.clone(),
        }
    }

    /// The types that a pattern of the file may mean.
    pub(super) fn fitting(&self, glob: &str) -> EventTypes {
        let fits = |it: &&EventType| glob_fits(glob, &it.kind) || may_overlap(glob, &it.kind);
        self.all.iter().filter(fits).cloned().collect()
    }
}

/// Whether some name may fit both: told by what stands before their first `*`.
fn may_overlap(one: &str, other: &str) -> bool {
    match (one.split_once('*'), other.split_once('*')) {
        (Some((a, _)), Some((b, _))) => a.starts_with(b) || b.starts_with(a),
        (None, Some(_)) => glob_fits(other, one),
        _ => false,
    }
}

fn globals(spec: &Spec) -> Vec<(Root, ValueType)> {
    // Parameters are there to be changed, so only their sort is known.
    let sort = |value: &Value| match value {
        Value::Bool(_) => ValueType::bool(),
        Value::Number(_) => ValueType::number(),
        Value::String(_) => ValueType::text(),
        _ => ValueType::any(),
    };
    let params = spec.params.iter();
    let params = params.map(|(name, it)| (Arc::from(name.value.replace('-', "_")), sort(it)));
    let labels = spec.labels.keys().map(|key| (Arc::from(key.as_str()), ValueType::text()));
    let labels: Vec<(Arc<str>, ValueType)> = labels.collect();
    vec![
        (Root::Param, ValueType::map::<Arc<str>>(params)),
        (Root::Server, ValueType::map([("public_url", ValueType::text().or_null())])),
        (
            Root::Pipeline,
            ValueType::map([("name", ValueType::text()), ("labels", ValueType::map(labels))]),
        ),
        (Root::Group, group()),
        (Root::Told, told()),
        (Root::Update, update()),
    ]
}

/// The message that a notification sends or changes.
fn update() -> ValueType {
    let text = ["key", "id"].map(|it| (it, ValueType::text()));
    ValueType::map(text.into_iter().chain([("first", ValueType::bool())]))
}

/// Why a notification is sent.
fn told() -> ValueType {
    let texts = ["why", "from", "error"].map(|it| (it, ValueType::text().or_null()));
    ValueType::map(texts.into_iter().chain([("times", ValueType::number())]))
}

/// The events that a notification is about.
fn group() -> ValueType {
    let text = ["id", "type", "source", "subject", "priority"].map(|it| (it, ValueType::text()));
    let rest = [
        ("time", ValueType::text()),
        ("data", ValueType::any()),
        ("enrich", ValueType::open_map()),
    ];
    ValueType::map([
        ("count", ValueType::number()),
        ("events", ValueType::list(ValueType::map(text.into_iter().chain(rest)))),
        ("titles", ValueType::list(ValueType::text())),
        ("more", ValueType::number()),
        ("text", ValueType::text()),
    ])
}

/// Schemas by path, each read once.
struct ArrivalFiles {
    read: BTreeMap<String, Arc<ValueType>>,
}

impl ArrivalFiles {
    /// What fits the schema at `path`. What is wrong with the file is told where it is compiled.
    fn shape(&mut self, path: &Name, context: &mut Context<'_>) -> Arc<ValueType> {
        if let Some(known) = self.read.get(&path.value) {
            return known.clone();
        }
        let shape = context.files.read(&path.value).ok().and_then(|source| {
            let schema: Value = serde_json::from_str(&source.text).ok()?;
            Some(of_schema(&schema, &source))
        });
        let shape = Arc::new(shape.unwrap_or_else(ValueType::any));
        self.read.insert(path.value.clone(), shape.clone());
        shape
    }
}

/// What is known in the `map` of a source.
fn message(
    source: &SourceNode,
    globals: &[(Root, ValueType)],
    files: &mut ArrivalFiles,
    context: &mut Context<'_>,
) -> TypeEnv {
    let message = match &source.schema {
        Some(path) => files.shape(path, context),
        None => Arc::new(source.spec.brings().message),
    };
    let mut roots = globals.to_vec();
    roots.push((Root::Raw, (*message).clone()));
    let request = [("method", ValueType::text()), ("path", ValueType::text())];
    let request = request.map(|(name, it)| (name, it.or_null()));
    let open = ["headers", "query"].map(|it| (it, ValueType::open_map().or_null()));
    let http = ValueType::map(request.into_iter().chain(open));
    roots.push((Root::Http, if source.spec.is_served() { http } else { ValueType::null() }));
    let file = [
        ("path", ValueType::text()),
        ("line", ValueType::number()),
        ("offset", ValueType::number()),
    ];
    let file = ValueType::map(file.map(|(name, shape)| (name, shape.or_null())));
    let brings = source.spec.brings();
    roots.push((Root::File, if brings.has_file { file } else { ValueType::null() }));
    let data = taking::parsed(&source.map, &message);
    roots.push((Root::Mqtt, brings.mqtt.unwrap_or_else(ValueType::null)));
    let here: EventTypes = Arc::new([EventType { kind: "".into(), data }]);
    let is_decoded = source.spec.decoder().is_some();
    let mut known = TypeEnv {
        all: here.clone(),
        here,
        is_message: true,
        is_decoded,
        roots,
        ..TypeEnv::default()
    };
    if let Some(each) = &source.map.each {
        let items = taking::items(&each.value, &known);
        known.roots.push((Root::Item, items));
    }
    known
}

/// The types that a source can send, when they are known by name.
fn types(source: &SourceNode, known: &TypeEnv) -> Option<Vec<Arc<str>>> {
    let brings = source.spec.brings();
    let shape = match &source.map.kind {
        Some(expr) => known.check(&expr.value).shape,
        None => match &source.kind {
            Some(kind) => return Some(vec![kind.value.as_str().into()]),
            None => known.at(taking::unit(&source.map), &["type"]),
        },
    };
    let words = shape.words().filter(|_| shape.is_only_text())?;
    // Where the message gives none, the source's own counts.
    let constant =
        source.kind.as_ref().filter(|_| shape.may_be_null()).map(|kind| kind.value.as_str());
    let constant = constant.map(Arc::from);
    Some(words.map(Arc::from).chain(constant).chain(brings.kind).collect())
}

/// Reports a source that gives none of its messages a type, so that every one is rejected. A
/// timer says so itself.
pub(super) fn untyped(spec: &Spec, world: &ProgramInputs, diagnostics: &mut Diagnostics) {
    for source in spec.sources.iter().filter(|source| !source.spec.is_clock()) {
        let may_be_said = source.has_type
            || source.spec.cloud_events() != CloudEvents::Never
            || source.spec.brings().kind.is_some();
        let known = world.messages.get(&source.name.value);
        let may_have = |known: &TypeEnv| {
            let mut units = known.roots.iter().filter(|it| it.0 == taking::unit(&source.map));
            units.all(|it| it.1.may_have("type"))
        };
        if may_be_said || world.accepts_invalid || known.is_none_or(may_have) {
            continue;
        }
        let name = &source.name;
        diagnostics
            .push(Rule::MissingNode, format!("source `{}` needs `type`", name.value))
            .at(name.span.clone(), "its events have no type")
            .help(format!("write `type {}` in its block", name.value));
    }
}

/// The schemas of `data`, by name or pattern: names first, then longer patterns before shorter
/// ones, as they are asked when events arrive.
fn covered(
    spec: &Spec,
    files: &mut ArrivalFiles,
    context: &mut Context<'_>,
) -> Vec<(String, Arc<ValueType>)> {
    let schemas = spec.validate.schemas.iter();
    let mut covered: Vec<(String, Arc<ValueType>)> =
        schemas.map(|(kind, file)| (kind.value.clone(), files.shape(file, context))).collect();
    covered.sort_by_key(|it| match it.0.find('*') {
        None => (0, 0),
        Some(at) => (1, usize::MAX - at),
    });
    covered
}

/// Adds a type that a stage sends, or widens one that comes in as well.
fn add_type(all: &mut Vec<EventType>, kind: &str, data: ValueType) {
    match all.iter_mut().find(|it| &*it.kind == kind) {
        Some(known) => known.data = Arc::new((*known.data).clone().or(data)),
        None => {
            // A name stands before the patterns that it fits.
            let at = all.iter().position(|it| it.kind.contains('*')).unwrap_or(all.len());
            all.insert(at, EventType { kind: kind.into(), data: Arc::new(data) });
        }
    }
}

/// Every type that is accepted, with its `data`.
fn accepted(
    spec: &Spec,
    sent: Option<&[Arc<str>]>,
    covered: Vec<(String, Arc<ValueType>)>,
    data: ValueType,
) -> EventTypes {
    let data = Arc::new(data);
    let takes_others = spec.validate.on_unknown_type == OnUnknownType::Accept;
    let other = |kind: Arc<str>| EventType { kind, data: data.clone() };
    match sent {
        Some(names) => names
            .iter()
            .filter_map(|name| {
                let schema = covered.iter().find(|it| glob_fits(&it.0, name));
                match schema {
                    Some((_, shape)) => Some(EventType { kind: name.clone(), data: shape.clone() }),
                    None => takes_others.then(|| other(name.clone())),
                }
            })
            .collect(),
        None => {
            let known = covered.into_iter();
            let known = known.map(|(kind, data)| EventType { kind: kind.into(), data });
            let rest = takes_others.then(|| other("*".into()));
            let mut all: Vec<EventType> = Vec::new();
            for it in known.chain(rest) {
                if !all.iter().any(|known| known.kind == it.kind) {
                    all.push(it);
                }
            }
            all.into()
        }
    }
}
