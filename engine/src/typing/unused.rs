//! Parameters that nothing reads, and schemas and rules for what never arrives.

use super::arrivals::World;
use super::{expr, template};
use crate::spec::Spec;
use kdl::{KdlDocument, KdlNode};
use stages::diagnostic::{Diagnostics, Rule};
use stages::expr::Root;
use stages::language::{Site, glob_fits};
use std::collections::BTreeSet;

/// Warns of each `param` of the pipeline file itself that nothing reads. An included file may
/// well give more than one pipeline needs.
pub(super) fn params(
    document: &KdlDocument,
    sites: &[Site<'_>],
    main: usize,
    diagnostics: &mut Diagnostics,
) {
    // A slip of a name leaves its parameter unread, and was told.
    let is_slip = |it: &stages::diagnostic::Diagnostic| {
        it.rule == Rule::UnknownParam || it.message.contains("`param.")
    };
    if diagnostics.found().iter().any(is_slip) {
        return;
    }
    let mut read: BTreeSet<String> = BTreeSet::new();
    document.nodes().iter().for_each(|it| put_in(it, &mut read));
    for site in sites {
        let exprs = expr(site).map(|it| it.reads());
        let reads = exprs.or_else(|| template(site).map(|it| it.reads()));
        for it in reads.into_iter().flatten().filter(|it| it.root == Root::Param) {
            match it.path.first() {
                Some(name) => read.insert(name.clone()),
                // All of them at once.
                None => return,
            };
        }
    }
    for node in document.nodes().iter().filter(|it| it.name().value() == "param") {
        let entry = node.entries().first().filter(|it| it.span().offset() < main);
        let Some((entry, name)) = entry.and_then(|it| Some((it, it.value().as_string()?))) else {
            continue;
        };
        if !read.contains(&name.replace('-', "_")) {
            let span = entry.span();
            diagnostics
                .push(Rule::UnusedParam, format!("nothing reads the parameter `{name}`"))
                .at(span.offset()..span.offset() + span.len(), "never read")
                .help(format!(
                    "read it as `param.{}` in an expression or `(param){name}` as a value, or take \
                     it out",
                    name.replace('-', "_")
                ));
        }
    }
}

/// The names that `(param)` was replaced by, from the text that was kept.
fn put_in(node: &KdlNode, read: &mut BTreeSet<String>) {
    for entry in node.entries() {
        let written = entry.format().map_or("", |it| it.value_repr.as_str());
        if let Some((annotation, name)) =
            written.strip_prefix('(').and_then(|it| it.split_once(')'))
            && annotation.trim() == "param"
        {
            read.insert(name.trim().trim_matches(['"', '#']).replace('-', "_"));
        }
    }
    let children = node.children().map(KdlDocument::nodes).unwrap_or_default();
    children.iter().for_each(|it| put_in(it, read));
}

/// Warns of patterns of `validate` that no event fits, where the types that are sent are known.
pub(super) fn types(spec: &Spec, world: &World, diagnostics: &mut Diagnostics) {
    let Some(sent) = &world.sent else { return };
    let schemas = spec.validate.schemas.iter().map(|it| &it.0);
    for kind in schemas.chain(spec.validate.rules.iter().map(|it| &it.kind)) {
        if sent.iter().any(|it| glob_fits(&kind.value, it)) {
            continue;
        }
        let near = stages::language::nearest(&kind.value, sent.iter().map(|it| &**it));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "no source of this file sends such a type".to_owned(),
        };
        diagnostics
            .push(Rule::UnusedType, format!("no event of type `{}` can arrive", kind.value))
            .at(kind.span.clone(), "for nothing")
            .help(help);
    }
}
