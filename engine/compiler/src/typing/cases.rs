//! Cases, of which the first that holds wins: what is left for each, and which get nothing.

use super::stages_known::Additions;
use super::{Typing, expr};
use crate::spec::{RouteMode, RouteNode};
use kernel::event::Priority;
use language::ExprSite;
use language::diagnostic::Rule;
use language::expr::{EventTypes, Expr, TypeEnv, union};
use std::collections::BTreeMap;

/// What cases leave and take.
struct CaseOutcome<'s> {
    /// The types that each case takes.
    taken: Vec<EventTypes>,
    /// The types that none takes.
    rest: EventTypes,
    /// The first case that takes every event, whatever it is.
    takes_every: Option<&'s ExprSite<'s>>,
}

/// What earlier cases leave, for the events of each priority apart: levels are compared, so that
/// `>= 'high'` leaves nothing for `== 'critical'`.
struct Left {
    known: Vec<TypeEnv>,
}

impl Left {
    /// Nothing is taken yet. Where no case asks for the priority, all are one.
    fn of(known: &TypeEnv, sites: &[&ExprSite<'_>]) -> Left {
        let reads =
            |site: &&ExprSite<'_>| expr(site).is_some_and(|expr| expr.reads_event("priority"));
        let levels: Vec<Option<Priority>> = match sites.iter().any(reads) {
            true => Priority::ALL.map(Some).to_vec(),
            false => vec![None],
        };
        Left { known: levels.into_iter().map(|level| known.at_level(level)).collect() }
    }

    /// The types of which some event is left.
    fn types(&self) -> EventTypes {
        self.known.iter().fold(EventTypes::default(), |all, it| union(&all, &it.here))
    }

    /// The types that an expression takes of what is left.
    fn taken_by(&self, expr: &Expr) -> EventTypes {
        let holds = self.known.iter().map(|it| it.check(expr).holds);
        holds.fold(EventTypes::default(), |all, it| union(&all, &it))
    }

    /// Goes on with what the expression does not take.
    fn without(&mut self, expr: &Expr) {
        for known in &mut self.known {
            known.here = known.check(expr).fails;
        }
    }
}

impl<'a, 'd> Typing<'a, 'd> {
    /// Levels and routes; the types that each sink and notifier gets.
    pub(super) fn cases(
        &mut self,
        additions: &Additions,
        passed: &EventTypes,
    ) -> BTreeMap<&'a str, EventTypes> {
        // A level is given before the filters, and again behind the stages.
        let known = additions.behind.narrowed(&self.world.all);
        let sites: Vec<_> = self.of("priority").collect();
        self.in_turn(&sites, &known, true, "level");
        let known = &additions.behind;
        let sites: Vec<_> = self.of("route").collect();
        let mut reached = BTreeMap::new();
        let Some(route) = &self.spec.route else {
            return reached;
        };
        let outcome = self.in_turn(&sites, known, route.mode == RouteMode::First, "case");
        self.the_rest(route, &outcome);
        for (case, here) in route.cases.iter().zip(&outcome.taken) {
            for name in &case.to {
                let all = reached.entry(name.value.as_str()).or_insert_with(EventTypes::default);
                *all = union(all, here);
            }
        }
        for name in route.otherwise.iter().flatten() {
            let all = reached.entry(name.value.as_str()).or_insert_with(EventTypes::default);
            *all = union(all, &outcome.rest);
        }
        // What gets nothing was told; its own texts are looked at all the same.
        reached.retain(|_, here| !here.is_empty());
        let names = self.spec.sinks.iter().map(|sink| &sink.name);
        for name in names.chain(self.spec.notifiers.iter().map(|notifier| &notifier.name)) {
            let here = reached.entry(name.value.as_str()).or_insert_with(|| passed.clone());
            if self.spec.is_relayed_to(&name.value) {
                // Whatever another one has may be handed to it.
                *here = union(here, passed);
            }
        }
        reached
    }

    /// What fits no case: it needs an `otherwise`, unless nothing is left for one.
    fn the_rest(&mut self, route: &RouteNode, outcome: &CaseOutcome<'_>) {
        match (&route.otherwise, outcome.takes_every) {
            (None, _) if !outcome.rest.is_empty() => {
                self.tell
                    .diagnostics
                    .push(Rule::NoOtherwise, "events that match no case of this route are dropped")
                    .at(route.name.span.clone(), "no `otherwise`")
                    .help("add `otherwise { to … }`");
            }
            (Some(targets), Some(every)) => {
                let Some(target) = targets.first() else { return };
                self.tell
                    .diagnostics
                    .push(Rule::DeadCase, "no event ever reaches `otherwise`")
                    .at(target.span.clone(), "never reached")
                    .at(every.span(), "this case matches every event")
                    .help("remove `otherwise`, or this case");
            }
            _ => {}
        }
    }

    /// Looks at each condition for what the earlier ones leave; which types each takes, and which
    /// none does.
    fn in_turn<'s>(
        &mut self,
        sites: &[&'s ExprSite<'d>],
        known: &TypeEnv,
        is_first_only: bool,
        word: &str,
    ) -> CaseOutcome<'s>
    where
        'd: 's,
    {
        let mut left = Left::of(known, sites);
        let mut outcome =
            CaseOutcome { taken: Vec::new(), rest: EventTypes::default(), takes_every: None };
        let mut earlier: Vec<(Expr, &ExprSite<'_>)> = Vec::new();
        for site in sites {
            let Some(expr) = expr(site) else {
                outcome.taken.push(left.types());
                continue;
            };
            let others: Vec<&Expr> = earlier.iter().map(|it| &it.0).collect();
            let same = earlier.iter().position(|it| it.0 == expr).filter(|_| is_first_only);
            let wider = expr.covered_by(&others).filter(|_| is_first_only);
            let is_dead = is_first_only
                && left.taken_by(&expr).is_empty()
                && !Left::of(known, sites).taken_by(&expr).is_empty();
            if same.is_some() || wider.is_some() || is_dead {
                let label = if same.is_some() { "same condition again" } else { "never reached" };
                // Several that take all of it together are not named one by one.
                let alone = wider.filter(|it| it.len() == 1).and_then(|it| it.first().copied());
                self.dead(site, same.or(alone).map(|it| (label, earlier[it].1)), word);
                self.tell.site(site, known);
                outcome.taken.push(known.check(&expr).holds);
                continue;
            }
            match is_first_only {
                true => self.tell.site(site, &known.narrowed(&left.types())),
                false => self.tell.site(site, known),
            }
            let whole = Left::of(known, sites);
            outcome.taken.push(if is_first_only { &left } else { &whole }.taken_by(&expr));
            let is_constant = expr.reads().is_empty() && known.check(&expr).fails.is_empty();
            if is_constant && outcome.takes_every.is_none() {
                outcome.takes_every = Some(site);
            }
            left.without(&expr);
            earlier.push((expr, site));
        }
        outcome.rest = left.types();
        outcome
    }

    fn dead(&mut self, site: &ExprSite<'_>, wider: Option<(&str, &ExprSite<'_>)>, word: &str) {
        let name = site.inside.last().and_then(|it| it.entries().first());
        let name = name.and_then(|name| name.value().as_string()).unwrap_or_default();
        let message = format!("no event ever reaches {word} `{name}`");
        let found = self.tell.diagnostics.push(Rule::DeadCase, message);
        match wider {
            Some((label, wider)) => found
                .at(site.span(), label)
                .at(wider.span(), "this one matches all of these events")
                .help("the first matching case wins: change, move or remove one of them"),
            None => found
                .at(site.span(), "earlier cases match all of these events")
                .help("the first matching case wins: move this one up, or remove it"),
        };
    }
}
