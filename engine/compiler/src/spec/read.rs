//! KDL document to [`Spec`]. What is wrong was reported by the table's check or is reported here;
//! whatever could be read goes on.

pub(super) mod failure;
mod manners;
mod metric;

use super::*;
use crate::files::{Based, based};
use crate::grammar;
use crate::include::SourceMap;
use kdl::{KdlDocument, KdlNode};
use language::diagnostic::Rule;
use language::expr::{PathRead, Root, Roots};
use language::literal::literal;
use language::{Context, ExprSite, Fields, Kinds, NodeRole, Scalar, ValueKind, sites};
use stages::catalog::Catalog;
use stages::contract::SinkRole;
use std::collections::BTreeSet;

/// Reads a checked document; `texts` knows where the relative paths of each file begin.
pub fn read(
    document: &KdlDocument,
    texts: &SourceMap,
    catalog: &Catalog,
    context: &mut Context<'_>,
) -> Option<Spec> {
    let reader = SpecReader { document, texts, catalog };
    let pipeline = reader.one("pipeline")?;
    check_version(&pipeline, context);
    let server = reader.server();
    let filters = reader.filters(context);
    let mut enrichments = reader.enrichments(context);
    mark_waiting(document, catalog, &filters, &mut enrichments);
    let timezone = pipeline.setting("timezone").arg(0, text);
    let (sinks, notifiers) = (reader.sinks(context), reader.notifiers(&timezone, context));
    let unread = UnreadNodes {
        stages: reader.unread(&["enrich"], enrichments.iter().map(|enrichment| &enrichment.name)),
        sinks: reader.unread(&["sink"], sinks.iter().map(|sink| &sink.name)),
        notifiers: reader.unread(&["notify"], notifiers.iter().map(|notifier| &notifier.name)),
        has_nameless: ["enrich", "sink", "notify"]
            .iter()
            .any(|it| reader.all(it).any(|it| it.arg(1).is_none())),
    };
    Some(Spec {
        name: pipeline.arg(0)?.text()?,
        description: text_of(&pipeline, "description").unwrap_or_default(),
        timezone,
        labels: labels(&pipeline, context),
        params: reader.params(),
        server,
        limits: reader.limits(),
        priority: reader.priority(),
        policies: reader.policies(context),
        defaults: reader.defaults(context),
        sources: reader.sources(context),
        validate: reader.validate(),
        filters,
        watchers: reader.watchers(context),
        enrichments,
        metrics: reader.metrics(context),
        route: reader.route(),
        sinks,
        notifiers,
        dead_letter: reader.dead_letter(),
        unread,
        raw: raw_readers(document, catalog),
    })
}

/// Marks the stages that read what a filter adds.
fn mark_waiting(
    document: &KdlDocument,
    catalog: &Catalog,
    filters: &[Filter],
    enrichments: &mut [Enrichment],
) {
    let adds = |filter: &&Filter| matches!(&filter.rule, Passing::Remembers(filter) if filter.adds().is_some());
    let names: Vec<String> =
        filters.iter().filter(adds).map(|filter| tag_of(&filter.name.value)).collect();
    if names.is_empty() {
        return;
    }
    let is_of_filter = |it: &PathRead| match (it.root, it.path.first()) {
        (Root::Event, Some(field)) => field == "lifecycle",
        (Root::Enrich, Some(name)) => names.contains(name),
        // All that was added so far.
        (Root::Enrich, None) => true,
        _ => false,
    };
    for site in sites(document, grammar::TOP, catalog) {
        let owner = Some(site.owner(1)).filter(|_| site.top.name().value() == "enrich").flatten();
        if reads_of(&site).iter().any(is_of_filter) {
            let own = enrichments
                .iter_mut()
                .find(|enrichment| Some(enrichment.name.value.as_str()) == owner);
            own.into_iter().for_each(|it| it.waits_for_filters = true);
        }
    }
}

/// The paths that an expression or template reads.
pub(crate) fn reads_of(site: &ExprSite<'_>) -> Vec<PathRead> {
    let reads = match (site.ty, site.ty.template_roots()) {
        (ValueKind::Expr(roots), _) => Expr::parse(site.text, roots).ok().map(|it| it.reads()),
        (_, Some(roots)) => Template::parse(site.text, roots).ok().map(|it| it.reads()),
        _ => None,
    };
    reads.unwrap_or_default()
}

/// Looks for `raw` wherever the table has an expression or a template. `map` reads the message
/// before anything is stored, and so do validation and filters.
fn raw_readers(document: &KdlDocument, catalog: &Catalog) -> RawReaders {
    let mut readers = RawReaders::default();
    for site in sites(document, grammar::TOP, catalog) {
        let mut reads = reads_of(&site).into_iter();
        let Some(read) = reads.find(|it| it.root == Root::Raw) else { continue };
        let first = match site.top.name().value() {
            "source" | "test" => continue,
            // Their conditions are judged where the route is.
            "sink" | "notify" if site.node() == "when" => Some(&mut readers.running),
            "sink" | "notify" => Some(&mut readers.delivering),
            "enrich" | "metric" | "route" => Some(&mut readers.running),
            "priority" => Some(&mut readers.ranking),
            _ => None,
        };
        if let Some(first) = first {
            first.get_or_insert_with(|| site.part(read.span));
        }
        readers.any = true;
    }
    readers
}

fn check_version(pipeline: &Fields<'_>, context: &mut Context<'_>) {
    let Some(version) = pipeline.prop("schema-version").and_then(|prop| prop.int()) else { return };
    if 1 < version.value {
        context
            .diagnostics
            .push(Rule::UnknownVersion, format!("version {} of the language", version.value))
            .at(version.span, "this engine supports version 1")
            .help("use a newer engine, or write `schema-version=1`");
    }
}

/// Every event carries them.
const LABELS_MAX: usize = 16;

struct SpecReader<'a> {
    document: &'a KdlDocument,
    texts: &'a SourceMap,
    catalog: &'a Catalog,
}

fn text_of(fields: &Fields<'_>, child: &str) -> Option<String> {
    Some(fields.child(child)?.arg(0)?.text()?.value)
}

fn duration_of(fields: &Fields<'_>, child: &str) -> Option<Duration> {
    Some(fields.child(child)?.arg(0)?.duration()?.value)
}

fn count_of(fields: &Fields<'_>, child: &str) -> Option<usize> {
    count(&fields.child(child)?.arg(0)?)
}

fn text(scalar: &Scalar<'_>) -> Option<String> {
    Some(scalar.text()?.value)
}

fn duration(scalar: &Scalar<'_>) -> Option<Duration> {
    Some(scalar.duration()?.value)
}

fn bytes(scalar: &Scalar<'_>) -> Option<u64> {
    Some(scalar.bytes()?.value)
}

fn count<T: TryFrom<i64>>(scalar: &Scalar<'_>) -> Option<T> {
    T::try_from(scalar.int()?.value).ok()
}

fn expr_of(scalar: Option<Scalar<'_>>, roots: Roots) -> Option<Spanned<Expr>> {
    scalar?.expr(roots)
}

fn names_of(fields: &Fields<'_>, child: &str) -> Vec<Name> {
    fields.children(child).flat_map(|child| child.args()).filter_map(|it| it.text()).collect()
}

fn labels(pipeline: &Fields<'_>, context: &mut Context<'_>) -> BTreeMap<String, String> {
    let node = pipeline.child("labels");
    let labels = node.into_iter().flat_map(|it| it.props());
    let labels: Vec<_> = labels.filter_map(|(name, it)| Some((name, it.text()?))).collect();
    if let Some((_, extra)) = labels.get(LABELS_MAX) {
        context
            .diagnostics
            .push(Rule::OutOfRange, "a pipeline has too many labels")
            .at(extra.span.clone(), "one too many")
            .help(format!("allowed: at most {LABELS_MAX}"));
    }
    labels.into_iter().map(|(name, it)| (name.to_owned(), it.value)).collect()
}

impl<'a> SpecReader<'a> {
    fn one(&self, name: &str) -> Option<Fields<'a>> {
        self.all(name).next()
    }

    /// What a node says that may be absent: the table says the rest.
    fn one_or_absent(&self, name: &'static str) -> Fields<'a> {
        let row = grammar::TOP.iter().find(|it| it.name == name);
        let absent = || Fields::absent(row.expect("a node of the table"));
        self.one(name).unwrap_or_else(absent)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = Fields<'a>> + use<'a> {
        let name = name.to_owned();
        self.nodes().filter(move |node| node.name().value == name)
    }

    /// Every node that the table knows, in file order.
    fn nodes(&self) -> impl Iterator<Item = Fields<'a>> + use<'a> {
        let (texts, catalog) = (self.texts, self.catalog);
        self.document.nodes().iter().filter_map(move |node| {
            let folder = texts.home(node.span().offset()).folder;
            Fields::top(node, grammar::TOP, catalog, folder)
        })
    }

    /// What a kind reads with: its paths begin at the file that the node stands in.
    fn at_home<T>(
        &self,
        fields: &Fields<'_>,
        context: &mut Context<'_>,
        read: impl FnOnce(&mut Context<'_>) -> T,
    ) -> T {
        let home = self.texts.home(fields.name().span.start);
        let mut files = Based { files: context.files, prefix: home.prefix };
        let (diagnostics, environment) = (&mut *context.diagnostics, context.environment);
        read(&mut Context { diagnostics, files: &mut files, environment })
    }

    /// A path that stands in the file, as seen from the pipeline file.
    fn path(&self, scalar: Scalar<'_>) -> Option<Name> {
        let path = scalar.text()?;
        let home = self.texts.home(path.span.start);
        Some(path.map(|path| based(home.prefix, &path)))
    }

    /// The names of the nodes of these roles that are not among those that could be read.
    fn unread<'n>(&self, roles: &[&str], read: impl Iterator<Item = &'n Name>) -> Vec<Name> {
        let read: BTreeSet<&str> = read.map(|it| it.value.as_str()).collect();
        // A node whose role is misspelled has a name all the same.
        let is_known =
            |node: &&KdlNode| grammar::TOP.iter().any(|row| row.name == node.name().value());
        let nodes = self
            .document
            .nodes()
            .iter()
            .filter(|node| !is_known(node) || roles.contains(&node.name().value()));
        let nodes = nodes
            .map(|node| Fields::of_kind(node, &[], self.texts.home(node.span().offset()).folder));
        // Where the kind is none, the two may be swapped, or the kind left out.
        let kinds: Vec<&str> =
            NodeRole::ALL.iter().flat_map(|it| self.catalog.kinds(*it)).map(|it| it.word).collect();
        let both = nodes.flat_map(|node| [node.arg(1), node.arg(0)]).flatten();
        let names = both.filter_map(|it| it.text());
        let names = names.filter(|name| !kinds.contains(&name.value.as_str()));
        names.filter(|name| !read.contains(name.value.as_str())).collect()
    }

    fn params(&self) -> Vec<(Name, serde_json::Value)> {
        let read = |fields: Fields<'a>| Some((fields.arg(0)?.text()?, fields.arg(1)?.json()));
        self.all("param").filter_map(read).collect()
    }

    fn server(&self) -> ServerSettings {
        let node = self.one_or_absent("server");
        let auth = node.child("auth");
        let token = |fields: Fields<'a>| {
            Some(TokenNode {
                name: fields.arg(0)?.text()?,
                value: fields.arg(1)?.setting()?,
                scopes: fields.filled().prop("scope", |scalar| Some(scalar.words())),
            })
        };
        let tokens = auth.as_ref().map(|auth| auth.children("token").filter_map(token).collect());
        ServerSettings {
            listen: node.setting("listen").arg(0, Scalar::setting),
            public_url: node.child("public-url").and_then(|child| child.arg(0)?.setting()),
            hosts: node
                .child("hosts")
                .map(|child| child.args().filter_map(|arg| arg.setting()).collect())
                .unwrap_or_default(),
            body_max: node.setting("max-body").arg(0, bytes),
            tls: node.child("tls").and_then(|child| {
                Some(TlsNode {
                    cert: child.prop("cert")?.setting()?,
                    key: child.prop("key")?.setting()?,
                    folder: child.folder().to_owned(),
                })
            }),
            has_auth: auth.is_some(),
            tokens: tokens.unwrap_or_default(),
        }
    }

    fn limits(&self) -> PipelineLimits {
        let node = self.one_or_absent("limits");
        let outbox = node.setting("outbox");
        PipelineLimits {
            queue: node.setting("queue").arg(0, count),
            overflow: node.setting("overflow").arg(0, Scalar::choice),
            outbox_rows: outbox.arg(0, count),
            outbox_bytes: outbox.prop("max-bytes", bytes),
            concurrency: node.setting("concurrency").arg(0, count),
            event_timeout: node.setting("event-timeout").arg(0, Scalar::duration),
            shutdown_grace: node.setting("shutdown-grace").arg(0, duration),
            event_size_max: node.setting("max-event-size").arg(0, bytes),
        }
    }

    fn priority(&self) -> PriorityRules {
        let node = self.one_or_absent("priority");
        let case = |fields: Fields<'a>| {
            Some((fields.arg(0)?.choice()?, expr_of(fields.prop("when"), Roots::EVENT)?))
        };
        PriorityRules {
            default: node.filled().prop("default", Scalar::choice),
            cases: node.children("case").filter_map(case).collect(),
        }
    }

    fn policies(&self, context: &mut Context<'_>) -> Vec<PolicyNode> {
        let mut read = |fields: Fields<'a>| {
            Some(PolicyNode {
                name: fields.arg(0)?.text()?,
                base: fields.child("policy").and_then(|child| child.arg(0)?.text()),
                failure: failure::read(&fields, context),
            })
        };
        self.all("policy").filter_map(&mut read).collect()
    }

    fn defaults(&self, context: &mut Context<'_>) -> Defaults {
        let Some(node) = self.one("defaults") else { return Defaults::default() };
        let mut role = |name: &str| {
            node.child(name).map(|child| failure::read(&child, context)).unwrap_or_default()
        };
        Defaults { enrich: role("enrich"), sink: role("sink"), notify: role("notify") }
    }

    fn sources(&self, context: &mut Context<'_>) -> Vec<SourceNode> {
        let mut sources = Vec::new();
        for fields in self.all("source") {
            let (Some(kind), Some(name)) = kind_and_name(&fields) else { continue };
            let read =
                |context: &mut Context<'_>| self.catalog.read_source(&kind, &fields, context);
            let Some(spec) = self.at_home(&fields, context, read) else { continue };
            let schema = fields.child("schema").and_then(|child| self.path(child.prop("file")?));
            let map = fields.child("map").map(|child| map(&child)).unwrap_or_default();
            let is_disabled = fields.is_on("disabled");
            let kind = constant_type(&fields, context);
            let types = [fields.child("type"), fields.child("map").and_then(|it| it.child("type"))];
            let has_type = types.iter().any(Option::is_some);
            sources.push(SourceNode { name, spec, is_disabled, schema, kind, has_type, map });
        }
        sources
    }

    fn validate(&self) -> Validate {
        let node = self.one_or_absent("validate");
        let schema =
            |fields: Fields<'a>| Some((fields.arg(0)?.text()?, self.path(fields.prop("file")?)?));
        Validate {
            schemas: node.children("schema").filter_map(schema).collect(),
            rules: node.children("rule").filter_map(|child| check_rule(&child)).collect(),
            on_invalid: node.setting("on-invalid").arg(0, Scalar::choice),
            on_unknown_type: node.setting("on-unknown-type").arg(0, Scalar::choice),
            formats: node.setting("formats").arg(0, Scalar::choice),
        }
    }

    /// What passes, in file order.
    fn filters(&self, context: &mut Context<'_>) -> Vec<Filter> {
        let is_filter = |fields: &Fields<'_>| Passing::WORDS.contains(&fields.name().value);
        let read = |fields: Fields<'a>| {
            let kept = |fields: Fields<'_>| expr_of(fields.prop("when"), Roots::EVENT);
            let rule = match fields.name().value {
                "filter" => Passing::Keep(fields.children("keep").filter_map(kept).collect()),
                _ => Passing::Remembers(self.memory(&fields, context)?),
            };
            filter(&fields, rule)
        };
        self.nodes().filter(is_filter).filter_map(read).collect()
    }

    fn memory(
        &self,
        fields: &Fields<'_>,
        context: &mut Context<'_>,
    ) -> Option<Arc<dyn MemorySpec>> {
        let word = fields.name().value;
        self.at_home(fields, context, |it| self.catalog.read_memory(word, fields, it))
    }

    /// What looks on, in file order.
    fn watchers(&self, context: &mut Context<'_>) -> Vec<Watcher> {
        let is_watcher = |fields: &Fields<'_>| Watcher::WORDS.contains(&fields.name().value);
        let read = |fields: Fields<'a>| {
            Some(Watcher {
                spec: self.memory(&fields, context)?,
                name: fields.arg(0)?.text()?,
                when: when(&fields),
                is_disabled: fields.is_on("disabled"),
            })
        };
        self.nodes().filter(is_watcher).filter_map(read).collect()
    }

    fn enrichments(&self, context: &mut Context<'_>) -> Vec<Enrichment> {
        let mut enrichments = Vec::new();
        for fields in self.all("enrich") {
            let (Some(kind), Some(name)) = kind_and_name(&fields) else { continue };
            let read =
                |context: &mut Context<'_>| self.catalog.read_enrich(&kind, &fields, context);
            let Some(spec) = self.at_home(&fields, context, read) else { continue };
            enrichments.push(Enrichment {
                after: names_of(&fields, "after"),
                needs: names_of(&fields, "needs"),
                when: when(&fields),
                into: into(&fields, &name),
                on_error: on_error(&fields, context),
                policy: fields.child("policy").and_then(|child| child.arg(0)?.text()),
                failure: failure::read(&fields, context),
                cache: cache(&fields),
                is_disabled: fields.is_on("disabled"),
                waits_for_filters: false,
                name,
                spec,
            });
        }
        enrichments
    }

    fn route(&self) -> Option<RouteNode> {
        let node = self.one("route")?;
        let case = |fields: Fields<'a>| {
            Some(Case {
                name: fields.arg(0)?.text()?,
                when: expr_of(fields.prop("when"), Roots::EVENT)?,
                to: names_of(&fields, "to"),
            })
        };
        let name = node.name();
        Some(RouteNode {
            name: Spanned::new(name.value.to_owned(), name.span),
            mode: node.filled().prop("mode", Scalar::choice),
            cases: node.children("case").filter_map(case).collect(),
            otherwise: node.child("otherwise").map(|child| names_of(&child, "to")),
        })
    }

    fn sinks(&self, context: &mut Context<'_>) -> Vec<Sink> {
        let mut sinks = Vec::new();
        for fields in self.all("sink") {
            let (Some(kind), Some(name)) = kind_and_name(&fields) else { continue };
            let read = |context: &mut Context<'_>| self.catalog.read_sink(&kind, &fields, context);
            let Some(spec) = self.at_home(&fields, context, read) else { continue };
            let policy = fields.child("policy").and_then(|child| child.arg(0)?.text());
            let is_disabled = fields.is_on("disabled");
            if !matches!(spec.shape(), SinkRole::Outside) {
                report_backlog(&fields, context);
            }
            sinks.push(Sink {
                when: when(&fields),
                name,
                spec,
                policy,
                failure: failure::read(&fields, context),
                backlog: backlog(&fields),
                is_disabled,
            });
        }
        sinks
    }

    fn notifiers(&self, timezone: &str, context: &mut Context<'_>) -> Vec<Notifier> {
        let mut notifiers = Vec::new();
        let relayed_to = manners::relayed_to(self.all("notify"));
        for fields in self.all("notify") {
            let (Some(kind), Some(name)) = kind_and_name(&fields) else { continue };
            let read =
                |context: &mut Context<'_>| self.catalog.read_notify(&kind, &fields, context);
            let Some(spec) = self.at_home(&fields, context, read) else { continue };
            let is_relayed_to = relayed_to.contains(&name.value);
            notifiers.push(Notifier {
                manners: manners::read(&fields, &*spec, timezone, is_relayed_to, context),
                when: when(&fields),
                name,
                spec,
                title: fields.setting("title").arg(0, template),
                message: fields.setting("message").arg(0, template),
                cooldown: fields.child("cooldown").and_then(|child| cooldown(&child)),
                policy: fields.child("policy").and_then(|child| child.arg(0)?.text()),
                failure: failure::read(&fields, context),
                backlog: backlog(&fields),
                is_disabled: fields.is_on("disabled"),
            });
        }
        notifiers
    }

    fn dead_letter(&self) -> DeadLetters {
        let node = self.one_or_absent("dead-letter");
        DeadLetters {
            keep: node.setting("keep").arg(0, duration),
            entries_max: node.setting("max-entries").arg(0, count),
        }
    }
}

/// The condition of a stage or target.
fn when(fields: &Fields<'_>) -> Option<Spanned<Expr>> {
    expr_of(fields.child("when").and_then(|child| child.arg(0)), Roots::EVENT)
}

fn backlog(fields: &Fields<'_>) -> BacklogLimit {
    let Some(node) = fields.child("backlog") else { return BacklogLimit::default() };
    BacklogLimit {
        rows: node.arg(0).and_then(|arg| count(&arg)),
        bytes: node.prop("max-bytes").and_then(|prop| bytes(&prop)),
        on_full: node.filled().prop("on-full", Scalar::choice),
    }
}

/// Nothing is delivered to a store or a stream, so nothing waits for one.
fn report_backlog(fields: &Fields<'_>, context: &mut Context<'_>) {
    let Some(node) = fields.child("backlog") else { return };
    context
        .diagnostics
        .push(Rule::UnknownNode, "`backlog` has no effect on this sink")
        .at(node.name().span, "this sink has no backlog")
        .help("remove this line; `backlog` is for sinks and notifiers that deliver to the outside");
}

fn filter(fields: &Fields<'_>, rule: Passing) -> Option<Filter> {
    // What adds to events says by that which of them it drops.
    let has_choice = !matches!(&rule, Passing::Remembers(it) if it.adds().is_some());
    let on_drop = Some(fields).filter(|_| has_choice);
    let reason = on_drop.and_then(|it| it.child("on-drop")?.prop("reason")?.text());
    let on_drop = on_drop.map(|it| it.setting("on-drop").arg(0, Scalar::choice));
    Some(Filter {
        name: fields.arg(0)?.text()?,
        when: when(fields),
        rule,
        on_drop: on_drop.unwrap_or(OnDrop::Drop),
        reason: reason.map(|reason| reason.value),
        is_disabled: fields.is_on("disabled"),
    })
}

fn kind_and_name(fields: &Fields<'_>) -> (Option<String>, Option<Name>) {
    let text = |index| fields.arg(index).and_then(|arg| arg.text());
    (text(0).map(|text| text.value), text(1))
}

/// The longest type of an event, in bytes.
const TYPE_MAX: usize = 256;

/// `type ring` of a source.
fn constant_type(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Name> {
    let kind = literal(&fields.child("type")?.arg(0)?, context.diagnostics)?;
    if kind.value.is_empty() || TYPE_MAX < kind.value.len() {
        context
            .diagnostics
            .push(Rule::WrongArgument, "this is not an event type")
            .at(kind.span.clone(), format!("1 to {TYPE_MAX} bytes"))
            .help("write `type ring`");
        return None;
    }
    Some(kind)
}

fn map(fields: &Fields<'_>) -> Map {
    let of = |name: &str, roots| expr_of(fields.child(name).and_then(|child| child.arg(0)), roots);
    let part = |name: &str| of(name, Roots::MAP_ITEM);
    let json = fields.child("json").into_iter().flat_map(|it| it.args());
    Map {
        json: json.filter_map(|it| it.expr(grammar::MESSAGE)).collect(),
        each: of("each", Roots::MAP),
        kind: part("type"),
        id: part("id"),
        source: part("source"),
        subject: part("subject"),
        time: part("time"),
        data: part("data"),
        priority: part("priority"),
        correlation_id: part("correlation-id"),
        parent_id: part("parent-id"),
    }
}

fn check_rule(fields: &Fields<'_>) -> Option<CheckRule> {
    let kind = fields.arg(0)?.text()?;
    let check = expr_of(fields.prop("check"), Roots::RULE)?;
    let at = fields.filled().prop("at", text);
    let message = fields.prop("message").and_then(|prop| text(&prop));
    let message = message.unwrap_or_else(|| format!("`{}` is not met", check.value.text()));
    Some(CheckRule { kind, check, at, message })
}

fn into(fields: &Fields<'_>, name: &Name) -> Spanned<Vec<String>> {
    let written = fields.child("into").and_then(|child| child.arg(0)?.text());
    match written {
        Some(path) => {
            let below = path.value.strip_prefix("enrich.").unwrap_or(&path.value).to_owned();
            path.map(|_| below.split('.').map(str::to_owned).collect())
        }
        None => Spanned::new(vec![name.value.replace('-', "_")], name.span.clone()),
    }
}

/// Only kinds that ask the outside have one.
fn cache(stage: &Fields<'_>) -> Option<CacheSettings> {
    let fields = stage.takes("cache").then(|| stage.child("cache"))??;
    Some(CacheSettings {
        keep: fields.arg(0)?.duration()?.value,
        key: expr_of(fields.prop("key"), Roots::EVENT),
        stale_if_error: fields.prop("stale-if-error").and_then(|prop| Some(prop.duration()?.value)),
        entries_max: fields.filled().prop("max", count),
    })
}

fn on_error(fields: &Fields<'_>, context: &mut Context<'_>) -> OnError {
    match fields.setting("on-error").arg(0, Scalar::choice) {
        OnErrorMode::Continue => OnError::Continue,
        OnErrorMode::DeadLetter => OnError::DeadLetter,
        OnErrorMode::Drop => {
            let node = fields.child("on-error").expect("it is not what the table says");
            let reason = node.prop("reason").and_then(|prop| text(&prop));
            OnError::Drop(reason.unwrap_or_else(|| {
                context
                    .diagnostics
                    .push(Rule::MissingArgument, "dropping an event needs a reason")
                    .at(node.name().span, "`reason=` is missing")
                    .help("write `on-error drop reason=\"…\"`");
                String::new()
            }))
        }
    }
}

fn template(scalar: &Scalar<'_>) -> Option<Template> {
    Some(scalar.template(Roots::NOTIFICATION)?.value)
}

fn cooldown(fields: &Fields<'_>) -> Option<CooldownNode> {
    Some(CooldownNode {
        window: fields.arg(0)?.duration()?.value,
        key: expr_of(fields.prop("key"), Roots::EVENT),
        except: expr_of(fields.prop("except"), Roots::EVENT),
    })
}
