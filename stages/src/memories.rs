//! The list of kinds that remember and stand at the top of a file. Adding one: a file here, a
//! `mod` line, a line in `all`, and its row in the grammar.

mod changes;
mod dedupe;
mod join;
mod lifecycle;
mod throttle;
mod watch;
mod window;

use crate::catalog::Catalog;
use crate::memory::MemoryShape;
use kernel::event::Event;
use kernel::time::Timestamp;
use language::expr::{Expr, Roots, TypeEnv, ValueType};
use language::spanned::Spanned;
use language::{Arg, Fields, NodeRow, Prop, ValueKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use store::{Emission, Moment};

pub use changes::NODES as CHANGES;
pub use dedupe::NODES as DEDUPE;
pub use join::NODES as JOIN;
pub use lifecycle::NODES as LIFECYCLE;
pub use throttle::NODES as THROTTLE;
pub use watch::NODES as WATCH;
pub use window::NODES as WINDOW;

/// How many keys a stage may be asked to remember.
const KEYS: ValueKind = ValueKind::Int(1, 10_000_000);
/// How long something may last that is measured by the time of events.
pub(crate) const SPAN: ValueKind =
    ValueKind::Duration(Duration::from_millis(1), Duration::from_secs(366 * 86_400));

pub(crate) const MAX_KEYS: NodeRow = NodeRow::new(
    "max-keys",
    "the maximum number of keys to remember; beyond it, the keys that have been idle longest (to within a minute) are forgotten",
)
.examples(&["max-keys 50000"])
.args(&[Arg::one("keys", KEYS)])
.default("10000");

/// The words of `by`.
const CLOCKS: &[&str] = &["time", "arrival"];

/// Which time counts: `event.time`, which gives the same for a backlog as for live events, or the
/// time of arrival.
const BY: Prop = Prop::new("by", ValueKind::Word(CLOCKS)).default("time");

pub(crate) fn all(catalog: Catalog) -> Catalog {
    catalog
        .memory::<changes::Changes>()
        .memory::<dedupe::Dedupe>()
        .memory::<join::Join>()
        .memory::<lifecycle::Lifecycle>()
        .memory::<throttle::Throttle>()
        .memory::<watch::WatchMemory>()
        .memory::<window::Window>()
}

/// The key of a node that has one.
pub(crate) fn read_key(fields: &Fields<'_>) -> Option<Spanned<Expr>> {
    fields.child("key")?.arg(0)?.expr(Roots::EVENT)
}

/// The name of a node at the top of a file; `otherwise` where its block is read alone.
fn name_of(fields: &Fields<'_>, otherwise: &str) -> Spanned<String> {
    let name = fields.arg(0).and_then(|arg| arg.text());
    name.unwrap_or_else(|| Spanned::new(otherwise.to_owned(), fields.head()))
}

/// What is known where only events are seen that have a key.
fn with_key(known: &TypeEnv, key: Option<&Expr>) -> TypeEnv {
    key.map_or_else(|| known.clone(), |key| known.narrowed(&known.with_value(key)))
}

/// What every one of them says. `clock` is the child that says which time counts.
pub(crate) fn shape_of(fields: &Fields<'_>, clock: Option<&str>) -> MemoryShape {
    let key = read_key(fields).map(|key| key.value.text().to_owned());
    let by = clock.and_then(|clock| fields.child(clock)?.prop("by")?.text());
    MemoryShape {
        key: key.unwrap_or_default(),
        keys_max: fields
            .setting("max-keys")
            .arg(0, |scalar| u64::try_from(scalar.int()?.value).ok()),
        by_arrival: by.is_some_and(|it| it.value == CLOCKS[1]),
        form: String::new(),
    }
}

/// An event as others are told of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventSummary {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) time: i64,
    #[serde(default)]
    pub(crate) subject: String,
    pub(crate) data: Value,
}

impl EventSummary {
    pub(crate) fn of(event: &Event) -> Self {
        EventSummary {
            id: event.envelope.id.to_string(),
            kind: event.envelope.kind.to_string(),
            time: event.envelope.time.0,
            subject: event.envelope.subject.to_string(),
            data: (*event.data).clone(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::json!({
            "id": self.id,
            "type": self.kind,
            "time": Timestamp(self.time).to_string(),
            "data": self.data,
        })
    }

    /// An event that is sent because of this one.
    fn causes(&self, kind: &Spanned<String>, moment: &Moment<'_>, data: Value) -> Emission {
        Emission {
            kind: kind.value.as_str().into(),
            subject: moment.key.into(),
            time: moment.time,
            parent_id: Some(self.id.as_str().into()),
            data,
        }
    }

    /// What [`EventSummary::json`] is known to be.
    pub(crate) fn shape(data: ValueType) -> ValueType {
        ValueType::map([
            ("id", ValueType::text()),
            ("type", ValueType::text()),
            ("time", ValueType::text()),
            ("data", data),
        ])
    }
}
