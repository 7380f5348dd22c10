//! Findings of expressions as findings of the file.

use super::{expr, is_condition, is_number, template};
use kdl::KdlDocument;
use kernel::decode;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::{Declared, Expr, ExprFinding, PathRead, Root, SchemaOrigin, TypeEnv};
use language::spanned::Span;
use language::{ExprSite, ValueKind, field_path};

pub(super) struct Tell<'a> {
    pub(super) diagnostics: &'a mut Diagnostics,
}

impl Tell<'_> {
    /// What is wrong at a place, for what is known there.
    pub(super) fn site(&mut self, site: &ExprSite<'_>, known: &TypeEnv) {
        match site.ty {
            ValueKind::Expr(_) => {
                let Some(expr) = expr(site) else { return };
                let findings = match is_condition(site) {
                    true => known.check_condition(&expr).findings,
                    false => known.check(&expr).findings,
                };
                let is_silent = findings.is_empty();
                self.findings(site, findings);
                if is_silent && is_number(site) {
                    self.number(site, &expr, known);
                }
                if is_silent && is_condition(site) && expr.never_holds() {
                    self.diagnostics
                        .push(Rule::AlwaysSame, "this condition is never true")
                        .at(site.span(), "its parts exclude each other")
                        .help("change one of them; `||` means or");
                }
            }
            ty if ty.template_roots().is_some() => {
                let Some(template) = template(site) else { return };
                self.findings(site, known.check_template(&template).1);
                if site.node() == "body" {
                    self.findings(site, known.check_json_body(&template, says_json(site)));
                }
            }
            ValueKind::Field if is_read(site) => self.field(site, known),
            _ => {}
        }
    }

    /// What is never a number where nothing else counts.
    fn number(&mut self, site: &ExprSite<'_>, expr: &Expr, known: &TypeEnv) {
        let shape = known.check(expr).shape;
        if shape.may_be_number() {
            return;
        }
        let help = match shape.is_only_text() {
            true => format!("write `number({})`, or read another value", expr.text()),
            false => "read a number".to_owned(),
        };
        self.diagnostics
            .push(
                Rule::NeverCompare,
                format!("`{}` is {}, not a number", expr.text(), shape.told_in_a_sentence()),
            )
            .at(site.span(), "no event has a number here")
            .help(help);
    }

    pub(super) fn findings(&mut self, site: &ExprSite<'_>, findings: Vec<ExprFinding>) {
        for it in findings {
            let help = it.help.unwrap_or_else(|| match it.rule {
                Rule::AlwaysSame => "change the condition, or remove it".to_owned(),
                _ => "both sides must have the same type: text, number, time or list".to_owned(),
            });
            let found = self.diagnostics.push(it.rule, it.message);
            found.at(site.part(it.span), it.label).help(help);
            if let Some((origin, span)) =
                it.origin.and_then(|origin| Some((origin.clone(), place(&origin)?)))
            {
                found.frame(origin.source.clone(), span, "declared here");
            }
        }
    }

    /// A dotted path into the event, such as one of `redact`.
    fn field(&mut self, site: &ExprSite<'_>, known: &TypeEnv) {
        let Some(mut path) = field_path(site.text) else { return };
        let root = match path.remove(0).as_str() {
            "data" => Root::Data,
            "enrich" => Root::Enrich,
            _ => return,
        };
        let read = PathRead { root, path, span: 0..site.text.len() };
        let (rule, label, help) = match known.declared(&read) {
            Declared::Yes => return,
            Declared::Open(help) => (Rule::UndeclaredPath, "may never have a value", help),
            Declared::Never(help) => (Rule::UnknownPath, "never has a value", help),
        };
        let message = match root {
            Root::Enrich => format!("no stage adds `{}`", site.text),
            _ => format!("no schema declares `{}`", site.text),
        };
        self.diagnostics.push(rule, message).at(site.span(), label).help(help);
    }

    /// The levels that `map { priority … }` may come to.
    pub(super) fn levels(&mut self, site: &ExprSite<'_>, expr: &Expr) {
        for it in expr.bad_levels() {
            let found = self.diagnostics.push(Rule::UnknownPriority, it.message);
            let levels = "the levels are low, normal, high and critical".to_owned();
            found.at(site.part(it.span), "not a level").help(it.help.unwrap_or(levels));
        }
    }
}

/// Whether a header beside a body says that it is JSON.
fn says_json(site: &ExprSite<'_>) -> bool {
    let children = site.top.children().map(KdlDocument::nodes).unwrap_or_default();
    let mut headers = children.iter().filter(|child| child.name().value() == "header");
    headers.any(|header| {
        let text =
            |index: usize| header.entries().get(index).and_then(|entry| entry.value().as_string());
        let is_type = text(0).is_some_and(|text| text.eq_ignore_ascii_case("content-type"));
        is_type && text(1).is_some_and(|text| text.to_ascii_lowercase().contains("json"))
    })
}

/// Whether a path of the table is one that is read: enrichments name where they write.
fn is_read(site: &ExprSite<'_>) -> bool {
    matches!(site.top.name().value(), "sink" | "notify")
}

/// Where a schema declares a field: the name's place in its text.
fn place(origin: &SchemaOrigin) -> Option<Span> {
    let unescaped = |text: &str| text.replace("~1", "/").replace("~0", "~");
    let path: Vec<String> = origin.pointer.split('/').skip(1).map(unescaped).collect();
    let text = &origin.source.text;
    let value = decode::range_of(text.as_bytes(), &path)?;
    let name = format!("\"{}\"", path.last()?);
    let start = text.get(..value.start)?.rfind(&name)?;
    Some(start..start + name.len())
}
