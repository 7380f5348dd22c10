//! Every place of a file where an expression, a template or a path into the event stands, found
//! along the table: whatever a kind declares is seen, without the kind doing anything for it.

use super::check::{Kinds, child_groups};
use super::offsets::{value_span, value_text_span};
use super::table::{NodeRow, ValueKind};
use crate::spanned::Span;
use kdl::{KdlDocument, KdlEntry, KdlNode};

/// A place where an expression, a template or a path into the event stands.
#[derive(Debug)]
pub struct ExprSite<'d> {
    /// The node at the top of the file that it belongs to.
    pub top: &'d KdlNode,
    /// The nodes below that one, down to the one that holds it.
    pub inside: Vec<&'d KdlNode>,
    /// What its argument or property is called in the table.
    pub name: &'static str,
    /// What it is.
    pub ty: ValueKind,
    /// Its text.
    pub text: &'d str,
    entry: &'d KdlEntry,
}

impl ExprSite<'_> {
    /// The name of the node that holds it.
    pub fn node(&self) -> &str {
        self.inside.last().unwrap_or(&self.top).name().value()
    }

    /// The top node's name in the file: `weather` of `enrich http weather`.
    pub fn owner(&self, index: usize) -> Option<&str> {
        let mut arguments = self.top.entries().iter().filter(|entry| entry.name().is_none());
        arguments.nth(index)?.value().as_string()
    }

    /// Where the value stands.
    pub fn span(&self) -> Span {
        value_span(self.entry)
    }

    /// Where a part of the text stands in the file.
    pub fn part(&self, part: Span) -> Span {
        value_text_span(self.entry, part)
    }
}

/// Every such place, in file order. What the table does not know is passed over.
pub fn sites<'d>(
    document: &'d KdlDocument,
    top: &'static [NodeRow],
    kinds: &dyn Kinds,
) -> Vec<ExprSite<'d>> {
    let mut sites = Vec::new();
    for node in document.nodes() {
        let Some(row) = top.iter().find(|it| it.name == node.name().value()) else { continue };
        let groups = child_groups(node, row, kinds);
        let mut walk = SiteFinder { top: node, inside: Vec::new(), sites: &mut sites };
        walk.entries(node, row);
        walk.block(node, &groups);
    }
    sites
}

struct SiteFinder<'d, 's> {
    top: &'d KdlNode,
    inside: Vec<&'d KdlNode>,
    sites: &'s mut Vec<ExprSite<'d>>,
}

impl<'d> SiteFinder<'d, '_> {
    fn block(&mut self, node: &'d KdlNode, groups: &[&'static [NodeRow]]) {
        for child in node.children().map(KdlDocument::nodes).unwrap_or_default() {
            let rows = groups.iter().flat_map(|group| group.iter());
            let Some(row) = rows.clone().find(|row| row.name == child.name().value()) else {
                continue;
            };
            self.inside.push(child);
            self.entries(child, row);
            self.block(child, row.children);
            self.inside.pop();
        }
    }

    fn entries(&mut self, node: &'d KdlNode, row: &'static NodeRow) {
        let mut index = 0;
        for entry in node.entries() {
            let found = match entry.name() {
                Some(name) => {
                    let prop = row.props.iter().find(|prop| prop.name == name.value());
                    prop.map(|prop| (prop.name, prop.ty)).or_else(|| Some((row.name, row.open?)))
                }
                None => {
                    let arg = row.args.get(index).or(row.args.last());
                    index += 1;
                    arg.map(|arg| (arg.name, arg.ty))
                }
            };
            let (Some((name, ty)), Some(text), None) =
                (found, entry.value().as_string(), entry.ty())
            else {
                continue;
            };
            let is_evaluated = matches!(ty, ValueKind::Expr(_) | ValueKind::Field);
            if is_evaluated || ty.template_roots().is_some() {
                let inside = self.inside.clone();
                self.sites.push(ExprSite { top: self.top, inside, name, ty, text, entry });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Roots;
    use crate::{Arg, KindRow, NodeRole, Prop};

    const TOP: &[NodeRow] = &[
        NodeRow::new("priority", "").children(&[&[NodeRow::new("case", "")
            .props(&[Prop::new("when", ValueKind::Expr(Roots::EVENT))])
            .repeated()]]),
        NodeRow::new("sink", "")
            .args(&[Arg::one("kind", ValueKind::Ident), Arg::one("name", ValueKind::Ident)]),
    ];

    /// One kind of sink.
    struct OneKind;

    impl Kinds for OneKind {
        fn kinds(&self, role: NodeRole) -> Vec<KindRow> {
            const NODES: &[&[NodeRow]] = &[&[
                NodeRow::new("path", "")
                    .args(&[Arg::one("path", ValueKind::Template(Roots::EVENT))]),
                NodeRow::new("redact", "").args(&[Arg::some("path", ValueKind::Field)]),
            ]];
            let kind = KindRow { word: "file", summary: "", example: "", nodes: NODES };
            if role == NodeRole::Sink { vec![kind] } else { Vec::new() }
        }
    }

    #[test]
    fn a_kind_s_places_are_found_along_its_table() {
        let text = "priority { case low when=\"data.a\"; other when=\"x\" }\n\
            sink file log { path \"a-{{ event.type }}\"; redact data.a data.b; unknown \"{{ x }}\" }\n\
            sink nothing x { path \"{{ x }}\" }\n";
        let document = KdlDocument::parse_v2(text).expect("KDL");
        let sites = sites(&document, TOP, &OneKind);
        let told: Vec<String> = sites
            .iter()
            .map(|site| {
                let owner = site.owner(1).unwrap_or("-");
                format!("{owner} {} {} {}", site.node(), site.name, &text[site.part(0..6)])
            })
            .collect();
        let expected = [
            "- case when data.a",
            "log path path a-{{ e",
            "log redact path data.a",
            "log redact path data.b",
        ];
        assert_eq!(told, expected);
    }
}
