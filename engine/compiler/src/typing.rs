//! Every expression, template and path of a file against what can be there: the schemas of the
//! event types that reach the place, what stages add before it, and the file's parameters.
//!
//! Pure, and silent where it does not know: an event type without a schema, an object without
//! listed properties, a stage that could not be read. What is known of a place is over-wide,
//! never too narrow, so a finding is always one.

mod arrivals;
mod backlog;
mod cases;
mod emitted;
mod idle;
mod overwritten;
mod report;
mod stages_known;
mod taking;
mod unstored;
mod unused;
mod urls;

use crate::grammar;
use crate::plan::names;
use crate::spec::{Filter, MetricNode, OnDrop, Passing, Spec, Watcher};
use arrivals::ProgramInputs;
use kdl::KdlDocument;
use language::expr::{EventTypes, Expr, Template, TypeEnv, ValueType, union};
use language::{Context, ExprSite, ValueKind, sites};
use report::Tell;
use stages::catalog::Catalog;
use stages_known::Additions;
use std::collections::BTreeMap;

/// Looks at every expression of a file. `main` is how long the pipeline file's own text is:
/// behind it stand the texts that it includes.
pub(crate) fn check(
    document: &KdlDocument,
    spec: &Spec,
    main: usize,
    catalog: &Catalog,
    context: &mut Context<'_>,
) {
    let sites = sites(document, grammar::TOP, catalog);
    let world = ProgramInputs::of(spec, context);
    let mut typing = Typing {
        spec,
        world: &world,
        sites: &sites,
        tell: Tell { diagnostics: &mut *context.diagnostics },
    };
    typing.sources();
    arrivals::untyped(spec, &world, typing.tell.diagnostics);
    typing.rules();
    let is_whole = spec.enrichments.len() == count(document, "enrich");
    // What stages add does not hang on the filters, only on how closely it is known.
    let passed = typing.filters(&Additions::of(spec, &world, &world.all, is_whole));
    let additions = Additions::of(spec, &world, &passed, is_whole);
    typing.stages(&additions, &passed);
    typing.watchers(&additions, &passed);
    overwritten::check(spec, &additions, typing.tell.diagnostics);
    let reached = typing.cases(&additions, &passed);
    typing.metrics(&additions);
    typing.ends(&additions, &reached);
    typing.emitted(&additions, &passed, &reached);
    urls::check(spec, &sites, typing.tell.diagnostics);
    unstored::check(&sites, typing.tell.diagnostics);
    let text = context.diagnostics.source().clone();
    names::check_unread(document, spec, &text.text, context.diagnostics);
    idle::check(document, spec, &sites, context.diagnostics);
    backlog::check(spec, context.diagnostics);
    unused::params(document, &sites, main, context.diagnostics);
    unused::policies(spec, main, context.diagnostics);
    unused::types(spec, &world, context.diagnostics);
    unused::named_types(document, &world, context.diagnostics);
    unused::stages(spec, &sites, &additions, context.diagnostics);
}

fn count(document: &KdlDocument, name: &str) -> usize {
    document.nodes().iter().filter(|node| node.name().value() == name).count()
}

struct Typing<'a, 'd> {
    spec: &'a Spec,
    world: &'a ProgramInputs,
    sites: &'a [ExprSite<'d>],
    tell: Tell<'a>,
}

impl<'a, 'd> Typing<'a, 'd> {
    /// The places of the top nodes of this name.
    fn of(&self, top: &str) -> impl Iterator<Item = &'a ExprSite<'d>> + use<'a, 'd> {
        let top = top.to_owned();
        self.sites.iter().filter(move |site| site.top.name().value() == top)
    }

    fn sources(&mut self) {
        for site in self.of("source") {
            let name = site.owner(1).unwrap_or_default();
            let source = self.spec.sources.iter().find(|source| source.name.value == name);
            let Some(source) = source else { continue };
            taking::check(site, source, self.world, &mut self.tell);
            if site.node() == "priority"
                && let Some(expr) = expr(site)
            {
                self.tell.levels(site, &expr);
            }
        }
    }

    fn rules(&mut self) {
        for site in self.of("validate") {
            let glob = site.inside.last().and_then(|it| it.entries().first());
            let glob = glob.and_then(|glob| glob.value().as_string()).unwrap_or("*");
            let here = self.world.fitting(glob);
            let known = self.world.known(&here, ValueType::never(), Vec::new());
            self.tell.site(site, &known);
        }
    }

    /// The types that pass every filter.
    fn filters(&mut self, additions: &Additions) -> EventTypes {
        let mut here = self.world.all.clone();
        for filter in &self.spec.filters {
            let known = additions.before(self.spec, self.world, &here);
            let name = filter.name.value.as_str();
            let own = self.sites.iter().filter(|site| {
                let is_passing = Passing::WORDS.contains(&site.top.name().value());
                is_passing && site.owner(0) == Some(name)
            });
            let asked = filter.when.as_ref().map(|when| known.check(&when.value).holds);
            let asked = known.narrowed(&asked.unwrap_or_else(|| here.clone()));
            for site in own {
                let known = if site.node() == "when" { &known } else { &asked };
                self.tell.site(site, known);
            }
            here = passed(filter, &known);
        }
        here
    }

    fn stages(&mut self, additions: &Additions, passed: &EventTypes) {
        for site in self.of("enrich") {
            let name = site.owner(1).unwrap_or_default();
            let Some(known) = additions.at.get(name) else { continue };
            let is_when = site.node() == "when" && site.inside.len() == 1;
            let wide = known.narrowed(passed);
            self.tell.site(site, if is_when { &wide } else { known });
        }
    }

    /// What those read that look on: an event as it comes in, before any service is called.
    fn watchers(&mut self, additions: &Additions, passed: &EventTypes) {
        let known = additions.at_intake(self.spec, self.world, passed);
        for watcher in &self.spec.watchers {
            let asked = watcher.when.as_ref().map(|when| known.check(&when.value).holds);
            let asked = known.narrowed(&asked.unwrap_or_else(|| passed.clone()));
            let name = watcher.name.value.as_str();
            let own = self.sites.iter().filter(|site| {
                Watcher::WORDS.contains(&site.top.name().value()) && site.owner(0) == Some(name)
            });
            let sent = watcher.spec.emits(&asked);
            let asked = asked.aggregated(sent.into_iter().next().map(|it| it.1));
            for site in own {
                let known = if site.node() == "when" { &known } else { &asked };
                self.tell.site(site, known);
            }
        }
    }

    /// What metrics read: an event with all that was added to it.
    fn metrics(&mut self, additions: &Additions) {
        let known = &additions.behind;
        for site in self.of("metric") {
            let named = |node: &&MetricNode| Some(node.name.value.as_str()) == site.owner(0);
            let metric = self.spec.metrics.iter().find(named);
            let when = metric.and_then(|metric| metric.rule.when.as_ref());
            let when = when.filter(|_| site.node() != "when");
            let asked = when.map(|when| known.check(&when.value).holds);
            // What counts nothing was told; the rest is looked at all the same.
            match asked.filter(|asked| !asked.is_empty()) {
                Some(asked) => self.tell.site(site, &known.narrowed(&asked)),
                None => self.tell.site(site, known),
            }
        }
    }

    /// Titles, texts, bodies and paths of sinks and notifiers, for the events that are sent there.
    fn ends(&mut self, additions: &Additions, reached: &BTreeMap<&str, EventTypes>) {
        for role in ["sink", "notify"] {
            for site in self.of(role) {
                let name = site.owner(1).unwrap_or_default();
                let here = reached.get(name).unwrap_or(&self.world.all);
                let known = additions.behind.narrowed(here);
                let is_when = |site: &ExprSite<'_>| site.node() == "when" && site.inside.len() == 1;
                // Any event may silence a notifier, also one that does not go there.
                if matches!(
                    site.node(),
                    "mute" | "unless" | "wait" | "repeat" | "recover" | "escalate"
                ) {
                    self.tell.site(site, &additions.behind.narrowed(&self.world.all));
                    continue;
                }
                let own = self.spec.targets().find(|target| target.0.value == name);
                // What is handed on need not match.
                let is_handed = self.spec.is_relayed_to(name);
                let only = own.and_then(|it| it.1).filter(|_| !is_when(site) && !is_handed);
                let only = only.map(|it| known.check(&it.value).holds);
                // What gets nothing was told; its own texts are looked at all the same.
                match only.filter(|it| !it.is_empty()) {
                    Some(only) => self.tell.site(site, &known.narrowed(&only)),
                    None => self.tell.site(site, &known),
                }
            }
        }
    }
}

/// The types that a filter lets through.
fn passed(filter: &Filter, known: &TypeEnv) -> EventTypes {
    let Passing::Keep(keep) = &filter.rule else { return known.here.clone() };
    if filter.is_disabled || filter.on_drop == OnDrop::Tag {
        return known.here.clone();
    }
    let asked = filter.when.as_ref().map(|when| known.check(&when.value));
    let (mut kept, rest) = match asked {
        Some(asked) => (asked.holds, asked.fails),
        None => (known.here.clone(), EventTypes::default()),
    };
    for it in keep {
        kept = known.narrowed(&kept).check(&it.value).holds;
    }
    union(&kept, &rest)
}

/// The expression of a place, when it is one.
fn expr(site: &ExprSite<'_>) -> Option<Expr> {
    let ValueKind::Expr(roots) = site.ty else { return None };
    Expr::parse(site.text, roots).ok()
}

/// The template of a place, when it is one.
fn template(site: &ExprSite<'_>) -> Option<Template> {
    Template::parse(site.text, site.ty.template_roots()?).ok()
}

/// Whether nothing but a number does something at this place.
fn is_number(site: &ExprSite<'_>) -> bool {
    site.name == "number"
}

/// Whether nothing but `true` does something at this place.
fn is_condition(site: &ExprSite<'_>) -> bool {
    matches!(site.name, "when" | "check" | "except" | "condition")
}
