//! Findings in a text: what is wrong, where, and what to write instead.

use crate::spanned::Span;
use std::fmt;
use std::sync::Arc;

mod mask;
mod rule;

pub use mask::{is_secret_name, literal_secrets, may_be_secret_name, secrets_in, without_secrets};
pub use rule::Rule;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot run.
    Error,
    /// The file runs, but probably not as meant.
    Warning,
}

/// A text that findings point into: a pipeline file, a schema, a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    /// The path as the user would write it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// A place and what is to say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is wrong here, in a few words.
    pub text: String,
}

/// What the label of the earlier of two places says, where the other one comes after it.
pub const FIRST: &str = "first, here";

/// A replacement of a piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced; empty where something is only put in.
    pub span: Span,
    /// The new text.
    pub text: String,
}

/// One finding.
///
/// Invariant: the first label is the primary one and decides the finding's place in the list.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// The rule that found it.
    pub rule: Rule,
    /// How bad it is: the rule's own word, unless who asked for the check said otherwise.
    pub severity: Severity,
    /// One fragment, lower case, no full stop, the user's words in backticks.
    pub message: String,
    /// Places, the primary one first.
    pub labels: Vec<Label>,
    /// What to do, with the exact word to type.
    pub help: Option<String>,
    /// What `engine check --fix` writes, where only one repair can be meant; otherwise empty.
    pub fix: Vec<Edit>,
    /// The text that the labels point into.
    pub source: Arc<SourceText>,
    /// The text as it may be shown: secrets of the file masked, every byte in its place.
    pub shown: Option<Arc<SourceText>>,
    /// Frames in other texts (inside a schema file, say).
    pub related: Vec<Diagnostic>,
}

impl Diagnostic {
    /// Of two places that want the same, the one further up is the first, in whatever order they
    /// were looked at.
    fn put_in_order(&mut self) {
        if let [later, first] = &mut self.labels[..]
            && first.text == FIRST
            && later.span.start < first.span.start
        {
            std::mem::swap(&mut later.span, &mut first.span);
        }
    }

    /// Adds a place. The first one added is the primary one.
    pub fn at(&mut self, span: Span, text: impl Into<String>) -> &mut Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Says what to do.
    pub fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(text.into());
        self
    }

    /// Adds an edit to what `engine check --fix` writes. Only for repairs that cannot be wrong.
    pub fn fix(&mut self, span: Span, text: impl Into<String>) -> &mut Self {
        self.fix.push(Edit { span, text: text.into() });
        self
    }

    /// Adds a frame in another text.
    pub fn frame(&mut self, source: Arc<SourceText>, span: Span, label: &str) -> &mut Self {
        // The frame shows the whole path; in a sentence it would only break the line.
        let name = source.name.rsplit('/').next().unwrap_or_default();
        self.related.push(Diagnostic {
            rule: self.rule,
            severity: self.severity,
            message: format!("in {name}"),
            labels: vec![Label { span, text: label.to_owned() }],
            help: None,
            fix: Vec::new(),
            source,
            shown: None,
            related: Vec::new(),
        });
        self
    }

    /// Says nothing of what these words are: they are secrets.
    fn forget(&mut self, secrets: &[&str]) {
        for secret in secrets.iter().filter(|secret| SECRET_LEAST <= secret.len()) {
            let texts = self.labels.iter_mut().map(|it| &mut it.text);
            for text in texts.chain([&mut self.message]).chain(&mut self.help) {
                if text.contains(secret) {
                    *text = without(text, secret);
                }
            }
            // A repair is printed as well; who repairs a secret does it by hand.
            if self.fix.iter().any(|it| it.text.contains(secret)) {
                self.fix.clear();
            }
        }
    }

    /// The first byte of the primary label.
    pub fn position(&self) -> usize {
        self.labels.first().map_or(0, |label| label.span.start)
    }
}

/// The text without this secret.
///
/// What a finding repeats of the file is in backticks or quotes. So a secret that is an everyday
/// word, such as `password "secret"`, takes nothing from the sentences around it.
fn without(text: &str, secret: &str) -> String {
    if !secret.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return text.replace(secret, "…");
    }
    let mut quote = None;
    let parts = text.split_inclusive(['`', '"']).map(|part| {
        let shown = if quote.is_some() { part.replace(secret, "…") } else { part.to_owned() };
        let end = part.chars().next_back().filter(|letter| matches!(letter, '`' | '"'));
        quote = match quote {
            Some(open) if end == Some(open) => None,
            None => end,
            open => open,
        };
        shown
    });
    parts.collect()
}

/// A shorter secret may be a part of any word, so findings may hold it.
const SECRET_LEAST: usize = 4;

/// Most findings that are kept of one text; of further ones only the number.
const FOUND_MAX: usize = 1000;

/// Everything found so far in one text.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    source: Arc<SourceText>,
    found: Vec<Diagnostic>,
    secrets: Vec<Span>,
    /// How many are not kept, and the last of them, which whoever found it still adds to.
    further: usize,
    last: Option<Diagnostic>,
    has_errors: bool,
}

impl Diagnostics {
    /// Nothing found yet in `source`.
    pub fn new(source: Arc<SourceText>) -> Self {
        Diagnostics {
            source,
            found: Vec::new(),
            secrets: Vec::new(),
            further: 0,
            last: None,
            has_errors: false,
        }
    }

    /// The text that spans point into.
    pub fn source(&self) -> &Arc<SourceText> {
        &self.source
    }

    /// Reports a finding; labels and help are added to what is returned.
    pub fn push(&mut self, rule: Rule, message: impl Into<String>) -> &mut Diagnostic {
        self.has_errors |= rule.severity() == Severity::Error;
        let diagnostic = Diagnostic {
            rule,
            severity: rule.severity(),
            message: message.into(),
            labels: Vec::new(),
            help: None,
            fix: Vec::new(),
            source: self.source.clone(),
            shown: None,
            related: Vec::new(),
        };
        if FOUND_MAX <= self.found.len() {
            self.further += 1;
            return self.last.insert(diagnostic);
        }
        self.found.push(diagnostic);
        self.found.last_mut().expect("one was just pushed")
    }

    /// Marks a secret, which no finding may show.
    pub fn hide(&mut self, secret: Span) {
        self.secrets.push(secret);
    }

    /// The text with every secret masked.
    pub fn masked(&self) -> String {
        masked(&self.source.text, &self.secrets)
    }

    /// Whether anything found is an error.
    pub fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// What was found, by position in the text; where it was too much, the last one says so.
    pub fn sorted(mut self) -> Vec<Diagnostic> {
        self.found.iter_mut().for_each(Diagnostic::put_in_order);
        self.found.sort_by_key(|it| (it.position(), it.rule.code()));
        if let Some(mut last) = self.last.take() {
            let rule = if self.has_errors { Rule::TooLarge } else { last.rule };
            let place = last.labels.first().map_or(0..0, |label| label.span.clone());
            last = Diagnostic {
                rule,
                severity: rule.severity(),
                labels: Vec::new(),
                fix: Vec::new(),
                related: Vec::new(),
                ..last
            };
            last.message = format!("{} more problems in this file", self.further);
            last.at(place, "the last of them").help("fix the earlier ones first, and check again");
            self.found.push(last);
        }
        if !self.found.is_empty() {
            self.mask();
        }
        self.found
    }

    /// Takes every secret out of what was found: those that were named, and what looks like one.
    fn mask(&mut self) {
        let mut secrets = std::mem::take(&mut self.secrets);
        secrets.extend(mask::secrets_in(&self.source.text));
        let secrets = mask::merged(secrets);
        let own = shown(&self.source, &secrets);
        let words: Vec<&str> = secrets
            .iter()
            .filter_map(|secret| self.source.text.get(secret.clone()))
            .map(bare)
            .collect();
        for found in &mut self.found {
            found.shown.clone_from(&own);
            found.forget(&words);
            for frame in &mut found.related {
                frame.shown = match Arc::ptr_eq(&frame.source, &self.source) {
                    true => own.clone(),
                    false => shown(&frame.source, &mask::secrets_in(&frame.source.text)),
                };
            }
        }
    }

    /// A finding that was made before, to add to it.
    pub fn found_at(&mut self, index: usize) -> Option<&mut Diagnostic> {
        self.found.get_mut(index)
    }

    /// Keeps only the findings of which this is true.
    pub fn retain(&mut self, keep: impl FnMut(&Diagnostic) -> bool) {
        self.found.retain(keep);
        self.has_errors = self.further != 0 && self.has_errors
            || self.found.iter().any(|it| it.rule.severity() == Severity::Error);
    }

    /// What was found so far, in the order of finding.
    pub fn found(&self) -> &[Diagnostic] {
        &self.found
    }
}

/// A value without the quotes that it may have.
fn bare(written: &str) -> &str {
    written.trim_matches(['"', '\'', '#'])
}

/// The text as it may be shown; `None` where nothing has to be masked.
fn shown(source: &Arc<SourceText>, secrets: &[Span]) -> Option<Arc<SourceText>> {
    let text = || masked(&source.text, secrets);
    let shown = || Arc::new(SourceText { name: source.name.clone(), text: text() });
    (!secrets.is_empty()).then(shown)
}

fn masked(text: &str, secrets: &[Span]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for byte in secrets.iter().flat_map(|secret| bytes_of(secret, text.len())) {
        // A line stays a line.
        if bytes[byte] != b'\n' {
            bytes[byte] = b'*';
        }
    }
    // Whole characters are masked by whole bytes, unless a span cuts one: then nothing is shown.
    String::from_utf8(bytes).unwrap_or_default()
}

fn bytes_of(span: &Span, end: usize) -> Span {
    span.start.min(end)..span.end.min(end)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.rule.code()))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(self.shown.as_deref().unwrap_or(&self.source) as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().map(|label| {
            miette::LabeledSpan::new(Some(label.text.clone()), label.span.start, label.span.len())
        })))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        Some(Box::new(self.related.iter().map(|it| it as &dyn miette::Diagnostic)))
    }
}

impl miette::SourceCode for SourceText {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let contents = self.text.read_span(span, before, after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.name.clone(),
            contents.data(),
            *contents.span(),
            contents.line(),
            contents.column(),
            contents.line_count(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted() {
        let source = SourceText { name: "a.kdl".to_owned(), text: "x".repeat(5000) };
        let mut found = Diagnostics::new(Arc::new(source));
        for at in 0..1300 {
            found.push(Rule::LiteralSecret, "odd").at(at..at + 1, "here");
        }
        assert!(!found.has_errors());
        found.push(Rule::Syntax, "wrong").at(4000..4001, "here");
        assert!(found.has_errors(), "also of those that are not kept");
        let sorted = found.sorted();
        assert_eq!(sorted.len(), 1001);
        assert_eq!(sorted[1000].message, "301 more problems in this file");
        assert_eq!(sorted[1000].labels[0].span, 4000..4001);
        assert_eq!(sorted[1000].rule.severity(), Severity::Error);
    }
}
