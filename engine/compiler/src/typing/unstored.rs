//! `event.seq` where the event is not stored yet: the number is given with the commit.

use crate::spec::{Passing, Watcher, reads_of};
use language::ExprSite;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::{PathRead, Root};

pub(super) fn check(sites: &[ExprSite<'_>], diagnostics: &mut Diagnostics) {
    for site in sites.iter().filter(|site| is_before(site)) {
        for read in reads_of(site).into_iter().filter(is_number) {
            diagnostics
                .push(
                    Rule::NotYetThere,
                    "`event.seq` is given when the event is stored, after this is read",
                )
                .at(site.part(read.span), "not available yet: it would be null")
                .help("read `event.id` here; sinks and notifiers can use the number");
        }
    }
}

fn is_number(read: &PathRead) -> bool {
    read.root == Root::Event && read.path.first().is_some_and(|name| name == "seq")
}

/// Whether what is written here is read before the commit.
fn is_before(site: &ExprSite<'_>) -> bool {
    let top = site.top.name().value();
    match top {
        "enrich" | "priority" | "route" => true,
        "sink" | "notify" => site.node() == "when" && site.inside.len() == 1,
        _ => Passing::WORDS.contains(&top) || Watcher::WORDS.contains(&top),
    }
}
