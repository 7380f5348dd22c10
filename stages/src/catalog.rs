//! Kinds by word, and the boxed twins that let a plan hold any of them.

use crate::contract::{
    Adds, Brings, Claim, CloudEvents, DynDeliver, DynNotify, EnrichKind, Enricher, Kind, Message,
    NoUpdate, NotifyKind, OpenSource, Services, SinkKind, SinkRole, SourceKind,
};
use crate::decode::LineDecoder;
use crate::memory::{MemoryKind, MemoryShape, OpenMemory};
use kernel::env::Pending;
use kernel::fault::Fault;
use language::expr::{EventTypes, TypeEnv, ValueType};
use language::spanned::Spanned;
use language::{Context, Fields, KindRow, Kinds, Needed, NodeRole};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

type ReadFn<T> = fn(&Fields<'_>, &mut Context<'_>) -> Option<Arc<T>>;

struct CatalogEntry<T: ?Sized> {
    row: KindRow,
    read: ReadFn<T>,
}

/// Every kind there is, by role and word.
#[derive(Default)]
pub struct Catalog {
    sources: BTreeMap<&'static str, CatalogEntry<dyn SourceSpec>>,
    enrichments: BTreeMap<&'static str, CatalogEntry<dyn EnrichSpec>>,
    sinks: BTreeMap<&'static str, CatalogEntry<dyn SinkSpec>>,
    notifiers: BTreeMap<&'static str, CatalogEntry<dyn NotifySpec>>,
    memories: BTreeMap<&'static str, CatalogEntry<dyn MemorySpec>>,
}

/// What the settings of any kind can do, whatever the kind.
pub trait StageSettings: Debug + Send + Sync + 'static {
    /// The kind's word.
    fn word(&self) -> &'static str;
    /// What it needs for itself.
    fn claims(&self) -> Vec<Spanned<Claim>>;
    /// What it takes from outside the file.
    fn needed(&self) -> Vec<Needed>;
    /// Whether another stage of the same role has the same kind and equal settings.
    fn same(&self, other: &dyn Any) -> bool;
    /// For [`StageSettings::same`].
    fn as_any(&self) -> &dyn Any;
}

/// The settings of a source.
pub trait SourceSpec: StageSettings {
    /// See [`SourceKind::ends`].
    fn ends(&self) -> bool;
    /// See [`SourceKind::IS_DEMO`].
    fn is_demo(&self) -> bool;
    /// See [`SourceKind::IS_SERVED`].
    fn is_served(&self) -> bool;
    /// See [`SourceKind::IS_CLOCK`].
    fn is_clock(&self) -> bool;
    /// See [`SourceKind::says`].
    fn says(&self) -> String;
    /// See [`SourceKind::on_topic`].
    fn on_topic(&self, topic: Option<&str>, body: &[u8]) -> Option<Result<Message, String>>;
    /// See [`SourceKind::brings`].
    fn brings(&self) -> Brings;
    /// See [`SourceKind::cloud_events`].
    fn cloud_events(&self) -> CloudEvents;
    /// See [`SourceKind::decoder`].
    fn decoder(&self) -> Option<&LineDecoder>;
    /// See [`SourceKind::is_text`].
    fn is_text(&self) -> bool;
    /// See [`SourceKind::messages`].
    fn messages<'a>(&self, text: &'a str) -> Vec<&'a str>;
    /// See [`SourceKind::open`].
    fn open(&self, services: Services) -> Pending<'static, Result<OpenSource, Fault>>;
}

/// The settings of an enrichment.
pub trait EnrichSpec: StageSettings {
    /// See [`EnrichKind::IS_REMOTE`].
    fn is_remote(&self) -> bool;
    /// See [`EnrichKind::adds`].
    fn adds(&self, known: &TypeEnv) -> Adds;
    /// See [`EnrichKind::decides`].
    fn decides(&self) -> bool;
    /// See [`EnrichKind::memory`].
    fn memory(&self) -> Option<MemoryShape>;
    /// See [`EnrichKind::open`].
    fn open(&self, services: Services) -> Pending<'static, Result<Enricher, Fault>>;
}

/// The settings of a sink.
pub trait SinkSpec: StageSettings {
    /// See [`SinkKind::shape`].
    fn shape(&self) -> SinkRole;
    /// See [`SinkKind::is_remote`].
    fn is_remote(&self) -> bool;
    /// See [`SinkKind::open`].
    fn open(&self, services: Services) -> Pending<'static, Result<Box<dyn DynDeliver>, Fault>>;
}

/// The settings of a notifier.
pub trait NotifySpec: StageSettings {
    /// See [`NotifyKind::is_remote`].
    fn is_remote(&self) -> bool;
    /// See [`NotifyKind::USES_FETCH`].
    fn uses_fetch(&self) -> bool;
    /// See [`NotifyKind::sends_event`].
    fn sends_event(&self) -> bool;
    /// See [`NotifyKind::no_update`].
    fn no_update(&self) -> Option<NoUpdate>;
    /// See [`NotifyKind::recipients`].
    fn recipients(&self) -> Vec<Arc<dyn NotifySpec>>;
    /// See [`NotifyKind::open`].
    fn open(&self, services: Services) -> Pending<'static, Result<Box<dyn DynNotify>, Fault>>;
}

/// The settings of a kind that remembers and stands at the top of a file.
pub trait MemorySpec: StageSettings {
    /// See [`MemoryKind::shape`].
    fn shape(&self) -> MemoryShape;
    /// See [`MemoryKind::says`].
    fn says(&self) -> String;
    /// See [`MemoryShape::print`].
    fn print(&self) -> String {
        self.shape().print(self.word())
    }
    /// See [`MemoryKind::adds`].
    fn adds(&self) -> Option<ValueType>;
    /// See [`MemoryKind::emits`].
    fn emits(&self, known: &TypeEnv) -> Vec<(Spanned<String>, ValueType)>;
    /// See [`MemoryKind::causes`].
    fn causes(&self, known: &TypeEnv) -> EventTypes;
    /// See [`MemoryKind::open`].
    fn open(&self, services: Services) -> OpenMemory;
}

impl PartialEq for dyn MemorySpec {
    fn eq(&self, other: &Self) -> bool {
        self.same(other.as_any())
    }
}

/// Settings together with the kind that they belong to.
struct KindSettings<K: Kind> {
    settings: K::Settings,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> KindSettings<K> {
    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Self> {
        let settings = K::read(fields, context)?;
        Some(KindSettings { settings, kind: PhantomData })
    }
}

impl<K: Kind> Debug for KindSettings<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple(K::WORD).field(&self.settings).finish()
    }
}

impl<K: Kind> StageSettings for KindSettings<K> {
    fn word(&self) -> &'static str {
        K::WORD
    }

    fn claims(&self) -> Vec<Spanned<Claim>> {
        K::claims(&self.settings)
    }

    fn needed(&self) -> Vec<Needed> {
        K::needed(&self.settings)
    }

    fn same(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<Self>().is_some_and(|it| it.settings == self.settings)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl<K: SourceKind> SourceSpec for KindSettings<K> {
    fn ends(&self) -> bool {
        K::ends(&self.settings)
    }

    fn is_demo(&self) -> bool {
        K::IS_DEMO
    }

    fn is_served(&self) -> bool {
        K::IS_SERVED
    }

    fn is_clock(&self) -> bool {
        K::IS_CLOCK
    }

    fn says(&self) -> String {
        K::says(&self.settings)
    }

    fn on_topic(&self, topic: Option<&str>, body: &[u8]) -> Option<Result<Message, String>> {
        K::on_topic(&self.settings, topic, body)
    }

    fn brings(&self) -> Brings {
        K::brings(&self.settings)
    }

    fn cloud_events(&self) -> CloudEvents {
        K::cloud_events(&self.settings)
    }

    fn decoder(&self) -> Option<&LineDecoder> {
        K::decoder(&self.settings)
    }

    fn is_text(&self) -> bool {
        K::is_text(&self.settings)
    }

    fn messages<'a>(&self, text: &'a str) -> Vec<&'a str> {
        K::messages(&self.settings, text)
    }

    fn open(&self, services: Services) -> Pending<'static, Result<OpenSource, Fault>> {
        Box::pin(K::open(self.settings.clone(), services))
    }
}

impl<K: EnrichKind> EnrichSpec for KindSettings<K> {
    fn is_remote(&self) -> bool {
        K::IS_REMOTE
    }

    fn adds(&self, known: &TypeEnv) -> Adds {
        K::adds(&self.settings, known)
    }

    fn decides(&self) -> bool {
        K::decides(&self.settings)
    }

    fn memory(&self) -> Option<MemoryShape> {
        K::memory(&self.settings)
    }

    fn open(&self, services: Services) -> Pending<'static, Result<Enricher, Fault>> {
        Box::pin(K::open(self.settings.clone(), services))
    }
}

impl<K: SinkKind> SinkSpec for KindSettings<K> {
    fn shape(&self) -> SinkRole {
        K::shape(&self.settings)
    }

    fn is_remote(&self) -> bool {
        K::is_remote(&self.settings)
    }

    fn open(&self, services: Services) -> Pending<'static, Result<Box<dyn DynDeliver>, Fault>> {
        Box::pin(K::open(self.settings.clone(), services))
    }
}

impl<K: NotifyKind> NotifySpec for KindSettings<K> {
    fn is_remote(&self) -> bool {
        K::is_remote(&self.settings)
    }

    fn uses_fetch(&self) -> bool {
        K::USES_FETCH
    }

    fn sends_event(&self) -> bool {
        K::sends_event(&self.settings)
    }

    fn no_update(&self) -> Option<NoUpdate> {
        K::no_update(&self.settings)
    }

    fn recipients(&self) -> Vec<Arc<dyn NotifySpec>> {
        let each = K::recipients(&self.settings).into_iter();
        each.map(|settings| {
            let spec: Arc<dyn NotifySpec> =
                Arc::new(KindSettings::<K> { settings, kind: PhantomData });
            spec
        })
        .collect()
    }

    fn open(&self, services: Services) -> Pending<'static, Result<Box<dyn DynNotify>, Fault>> {
        Box::pin(K::open(self.settings.clone(), services))
    }
}

impl<K: MemoryKind> MemorySpec for KindSettings<K> {
    fn shape(&self) -> MemoryShape {
        K::shape(&self.settings)
    }

    fn says(&self) -> String {
        K::says(&self.settings)
    }

    fn adds(&self) -> Option<ValueType> {
        K::adds(&self.settings)
    }

    fn emits(&self, known: &TypeEnv) -> Vec<(Spanned<String>, ValueType)> {
        K::emits(&self.settings, known)
    }

    fn causes(&self, known: &TypeEnv) -> EventTypes {
        K::causes(&self.settings, known)
    }

    fn open(&self, services: Services) -> OpenMemory {
        K::open(self.settings.clone(), services)
    }
}

fn row<K: Kind>() -> KindRow {
    KindRow { word: K::WORD, summary: K::SUMMARY, example: K::EXAMPLE, nodes: K::NODES }
}

fn add<T: ?Sized>(
    entries: &mut BTreeMap<&'static str, CatalogEntry<T>>,
    row: KindRow,
    read: ReadFn<T>,
) {
    let earlier = entries.insert(row.word, CatalogEntry { row, read });
    assert!(earlier.is_none(), "two kinds of one role have the word `{}`", row.word);
}

impl Catalog {
    /// Every built-in kind.
    pub fn built_in() -> Self {
        let catalog = crate::sources::all(Catalog::default());
        let catalog = crate::transforms::all(catalog);
        let catalog = crate::sinks::all(catalog);
        let catalog = crate::notifiers::all(catalog);
        crate::memories::all(catalog)
    }

    /// Adds a kind of source.
    #[must_use]
    pub fn source<K: SourceKind>(mut self) -> Self {
        add(&mut self.sources, row::<K>(), |fields, context| {
            Some(Arc::new(KindSettings::<K>::read(fields, context)?))
        });
        self
    }

    /// Adds a kind of enrichment.
    #[must_use]
    pub fn enrich<K: EnrichKind>(mut self) -> Self {
        add(&mut self.enrichments, row::<K>(), |fields, context| {
            Some(Arc::new(KindSettings::<K>::read(fields, context)?))
        });
        self
    }

    /// Adds a kind of sink.
    #[must_use]
    pub fn sink<K: SinkKind>(mut self) -> Self {
        add(&mut self.sinks, row::<K>(), |fields, context| {
            Some(Arc::new(KindSettings::<K>::read(fields, context)?))
        });
        self
    }

    /// Adds a kind of notifier.
    #[must_use]
    pub fn notify<K: NotifyKind>(mut self) -> Self {
        add(&mut self.notifiers, row::<K>(), |fields, context| {
            Some(Arc::new(KindSettings::<K>::read(fields, context)?))
        });
        self
    }

    /// Adds a kind that remembers and stands at the top of a file.
    #[must_use]
    pub fn memory<K: MemoryKind>(mut self) -> Self {
        add(&mut self.memories, row::<K>(), |fields, context| {
            Some(Arc::new(KindSettings::<K>::read(fields, context)?))
        });
        self
    }

    /// Reads the settings of a kind that remembers.
    pub fn read_memory(
        &self,
        word: &str,
        fields: &Fields<'_>,
        context: &mut Context<'_>,
    ) -> Option<Arc<dyn MemorySpec>> {
        (self.memories.get(word)?.read)(fields, context)
    }

    /// Reads the settings of a source of this kind.
    pub fn read_source(
        &self,
        word: &str,
        fields: &Fields<'_>,
        context: &mut Context<'_>,
    ) -> Option<Arc<dyn SourceSpec>> {
        (self.sources.get(word)?.read)(fields, context)
    }

    /// Reads the settings of an enrichment of this kind.
    pub fn read_enrich(
        &self,
        word: &str,
        fields: &Fields<'_>,
        context: &mut Context<'_>,
    ) -> Option<Arc<dyn EnrichSpec>> {
        (self.enrichments.get(word)?.read)(fields, context)
    }

    /// Reads the settings of a sink of this kind.
    pub fn read_sink(
        &self,
        word: &str,
        fields: &Fields<'_>,
        context: &mut Context<'_>,
    ) -> Option<Arc<dyn SinkSpec>> {
        (self.sinks.get(word)?.read)(fields, context)
    }

    /// Reads the settings of a notifier of this kind.
    pub fn read_notify(
        &self,
        word: &str,
        fields: &Fields<'_>,
        context: &mut Context<'_>,
    ) -> Option<Arc<dyn NotifySpec>> {
        (self.notifiers.get(word)?.read)(fields, context)
    }
}

impl Kinds for Catalog {
    fn kinds(&self, role: NodeRole) -> Vec<KindRow> {
        match role {
            NodeRole::Source => self.sources.values().map(|source| source.row).collect(),
            NodeRole::Enrich => {
                self.enrichments.values().map(|enrichment| enrichment.row).collect()
            }
            NodeRole::Sink => self.sinks.values().map(|sink| sink.row).collect(),
            NodeRole::Notify => self.notifiers.values().map(|notifier| notifier.row).collect(),
        }
    }
}
