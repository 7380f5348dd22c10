//! Cases, of which the first that holds wins: what is left for each, and which get nothing.

use super::stages_known::Additions;
use super::{Typing, expr};
use language::Site;
use language::diagnostic::Rule;
use language::expr::{Arrivals, Expr, Known, union};
use std::collections::BTreeMap;

impl<'a> Typing<'a, '_> {
    /// Levels and routes; the types that each sink and notifier gets.
    pub(super) fn cases(
        &mut self,
        additions: &Additions,
        passed: &Arrivals,
    ) -> BTreeMap<&'a str, Arrivals> {
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
        let (taken, rest) = self.in_turn(&sites, known, !route.takes_all, "case");
        for (case, here) in route.cases.iter().zip(&taken) {
            for name in &case.to {
                let all = reached.entry(name.value.as_str()).or_insert_with(Arrivals::default);
                *all = union(all, here);
            }
        }
        for name in route.otherwise.iter().flatten() {
            let all = reached.entry(name.value.as_str()).or_insert_with(Arrivals::default);
            *all = union(all, &rest);
        }
        // What gets nothing was told; its own texts are looked at all the same.
        reached.retain(|_, here| !here.is_empty());
        let names = self.spec.sinks.iter().map(|it| &it.name);
        for name in names.chain(self.spec.notifiers.iter().map(|it| &it.name)) {
            reached.entry(name.value.as_str()).or_insert_with(|| passed.clone());
        }
        reached
    }

    /// Looks at each condition for what the earlier ones leave; which types each takes, and which
    /// none does.
    fn in_turn(
        &mut self,
        sites: &[&Site<'_>],
        known: &Known,
        is_first_only: bool,
        word: &str,
    ) -> (Vec<Arrivals>, Arrivals) {
        let mut rest = known.here.clone();
        let mut taken = Vec::new();
        let mut earlier: Vec<(Expr, &Site<'_>)> = Vec::new();
        for site in sites {
            let Some(expr) = expr(site) else {
                taken.push(rest.clone());
                continue;
            };
            let narrowed = known.narrowed(&rest);
            let same = earlier.iter().find(|it| it.0 == expr && is_first_only);
            let is_dead = is_first_only
                && narrowed.check(&expr).holds.is_empty()
                && !known.check(&expr).holds.is_empty();
            if same.is_some() || is_dead {
                self.dead(site, same.map(|it| it.1), word);
                self.tell.site(site, known);
                taken.push(known.check(&expr).holds);
                continue;
            }
            let known = if is_first_only { &narrowed } else { known };
            self.tell.site(site, known);
            let checked = known.check(&expr);
            taken.push(checked.holds);
            rest = narrowed.check(&expr).fails;
            earlier.push((expr, site));
        }
        (taken, rest)
    }

    fn dead(&mut self, site: &Site<'_>, same: Option<&Site<'_>>, word: &str) {
        let name = site.inside.last().and_then(|it| it.entries().first());
        let name = name.and_then(|it| it.value().as_string()).unwrap_or_default();
        let message = format!("no event ever gets to {word} `{name}`");
        let found = self.tell.diagnostics.push(Rule::DeadCase, message);
        match same {
            Some(same) => found
                .at(site.span(), "asks the same again")
                .at(same.span(), "this one takes every event that fits")
                .help("the first case that holds wins: change one of them, or take one out"),
            None => found
                .at(site.span(), "earlier cases take every event that fits")
                .help("the first case that holds wins: move this one up, or take it out"),
        };
    }
}
