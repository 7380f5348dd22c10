//! A finding as it fits the terminal: only the lines around its places, long ones cut around the
//! place, and every character that could command the terminal escaped.

use kernel::health::{is_unprintable, printable};
use language::diagnostic::{Diagnostic, Label, Severity, SourceText};
use miette::{LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

/// Lines shown before and after one with a place; the renderer asks for as many.
const AROUND: usize = 1;
/// A place of more lines is shown by its first.
const LINES_MAX: usize = 6;
/// Columns that line numbers and the frame take.
const FRAME: usize = 10;
/// The least width of a text that is wrapped.
const WRAP_MIN: usize = 20;
/// The longest message or help, in bytes.
const TEXT_MAX: usize = 4000;

/// A finding with what the terminal shows of its text.
#[derive(Debug)]
pub(super) struct FindingView<'a> {
    finding: &'a Diagnostic,
    message: String,
    help: Option<String>,
    labels: Vec<Label>,
    excerpt: Excerpt,
    related: Vec<FindingView<'a>>,
    /// Whether it is a part of another finding, and shows no code again.
    is_part: bool,
}

impl<'a> FindingView<'a> {
    pub(super) fn new(finding: &'a Diagnostic, width: usize) -> Self {
        let source = finding.shown.as_deref().unwrap_or(&finding.source);
        let (excerpt, labels) = Excerpt::new(source, &finding.labels, width);
        FindingView {
            finding,
            message: escaped(&finding.message),
            help: finding.help.as_deref().map(escaped),
            labels,
            excerpt,
            related: finding.related.iter().map(|it| FindingView::part(it, width)).collect(),
            is_part: false,
        }
    }
}

impl<'a> FindingView<'a> {
    fn part(finding: &'a Diagnostic, width: usize) -> Self {
        FindingView { is_part: true, ..FindingView::new(finding, width) }
    }
}

/// A text of several lines with what is not printable escaped.
fn escaped(text: &str) -> String {
    let mut lines = text.split('\n').map(|line| printable(line, TEXT_MAX));
    let first = lines.next().unwrap_or_default();
    lines.fold(first, |text, line| text + "\n" + &line)
}

impl fmt::Display for FindingView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FindingView<'_> {}

impl miette::Diagnostic for FindingView<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        miette::Diagnostic::code(self.finding).filter(|_| !self.is_part)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.finding.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.excerpt)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().map(|label| {
            LabeledSpan::new(Some(label.text.clone()), label.span.start, label.span.len())
        })))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        Some(Box::new(self.related.iter().map(|it| it as &dyn miette::Diagnostic)))
    }
}

/// The shown lines of a text. A line between two of them that is not shown is empty.
#[derive(Debug)]
struct Excerpt {
    name: String,
    text: String,
    /// How many lines of the whole text come before.
    lines_before: usize,
    /// The column that each place has in the whole text, by where it begins here.
    columns: Vec<(usize, usize)>,
}

impl Excerpt {
    /// The excerpt, and the places in it. A place outside of the text stays outside.
    fn new(source: &SourceText, labels: &[Label], width: usize) -> (Self, Vec<Label>) {
        let places: Vec<ShownPath> =
            labels.iter().map(|label| ShownPath::of(&source.text, label)).collect();
        let shown: BTreeSet<usize> = places
            .iter()
            .filter_map(|place| Some((place.line?, place.lines)))
            .flat_map(|(first, more)| first.saturating_sub(AROUND)..=first + more + AROUND)
            .collect();
        let lines_before = shown.first().copied().unwrap_or(0);
        let mut excerpt = Excerpt {
            name: printable(&source.name, TEXT_MAX),
            text: String::new(),
            lines_before,
            columns: Vec::new(),
        };
        let mut placed: Vec<Range<usize>> = vec![usize::MAX..usize::MAX; labels.len()];
        let mut at = 0;
        for (number, line) in source.text.split_inclusive('\n').enumerate() {
            let start = at;
            at += line.len();
            if number < lines_before {
                continue;
            }
            if shown.last().is_none_or(|last| *last < number) {
                break;
            }
            if shown.contains(&number) {
                let line = ShownLine { text: line.trim_end_matches(['\n', '\r']), start, width };
                line.show(&mut excerpt, &places, &mut placed);
            }
            if line.ends_with('\n') {
                excerpt.text.push('\n');
            }
        }
        // A place at the very end has a line of its own where the text ends with a line end.
        for (place, placed) in places.iter().zip(&mut placed) {
            if place.line.is_some() && placed.start == usize::MAX {
                *placed = excerpt.text.len()..excerpt.text.len();
                excerpt.columns.push((excerpt.text.len(), 0));
            }
        }
        let labels = labels.iter().zip(placed).zip(&places).map(|((label, span), place)| {
            let span = if place.line.is_some() { span } else { label.span.clone() };
            Label { span: span.clone(), text: excerpt.wrapped(&label.text, span.start, width) }
        });
        let labels = labels.collect();
        (excerpt, labels)
    }

    /// The text of a label, so that it ends before the terminal does.
    fn wrapped(&self, text: &str, at: usize, width: usize) -> String {
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.rfind('\n').map_or(before, |end| &before[end + 1..]);
        let room = width.saturating_sub(FRAME + line.chars().count()).max(WRAP_MIN);
        let mut lines = vec![String::new()];
        for word in printable(text, TEXT_MAX).split(' ') {
            let last = lines.last_mut().expect("there is a first line");
            if !last.is_empty() && room < last.chars().count() + 1 + word.chars().count() {
                lines.push(word.to_owned());
            } else {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(word);
            }
        }
        lines.join("\n")
    }
}

/// A place by its lines.
struct ShownPath {
    span: Range<usize>,
    /// The line that it begins in; `None` where it lies outside of the text.
    line: Option<usize>,
    /// How many further lines it covers.
    lines: usize,
    text_length: usize,
}

impl ShownPath {
    fn of(text: &str, label: &Label) -> Self {
        let Range { start, end } = label.span;
        let text_length = label.text.chars().count();
        let Some(covered) = text.get(start..end) else {
            return ShownPath { span: label.span.clone(), line: None, lines: 0, text_length };
        };
        let line = Some(text[..start].bytes().filter(|byte| *byte == b'\n').count());
        let lines = covered.bytes().filter(|byte| *byte == b'\n').count();
        let first = covered.find('\n').filter(|_| LINES_MAX <= lines);
        ShownPath {
            span: start..start + first.unwrap_or(covered.len()),
            line,
            lines: if first.is_some() { 0 } else { lines },
            text_length,
        }
    }
}

struct ShownLine<'a> {
    text: &'a str,
    /// Where it begins in the whole text.
    start: usize,
    width: usize,
}

impl ShownLine<'_> {
    /// Adds the line, and notes where the places that begin or end in it are now.
    fn show(&self, excerpt: &mut Excerpt, places: &[ShownPath], placed: &mut [Range<usize>]) {
        let end = self.start + self.text.len();
        let (from, to) = self.window(places);
        let cut = |is_cut: bool, text: &mut String| text.push_str(if is_cut { "…" } else { "" });
        let begin = excerpt.text.len();
        cut(0 < from, &mut excerpt.text);
        // Where each byte of the window begins in the excerpt.
        let mut offsets = Vec::with_capacity(to - from + 1);
        for letter in self.text[from..to].chars() {
            offsets.extend(std::iter::repeat_n(excerpt.text.len(), letter.len_utf8()));
            if is_unprintable(letter) && letter != '\t' {
                excerpt.text.extend(letter.escape_unicode());
            } else {
                excerpt.text.push(letter);
            }
        }
        offsets.push(excerpt.text.len());
        cut(to < self.text.len(), &mut excerpt.text);
        let moved = |byte: usize| match byte.saturating_sub(self.start) {
            before if before < from => begin,
            inside if inside <= to => offsets[inside - from],
            _ => excerpt.text.len(),
        };
        for (place, placed) in places.iter().zip(placed) {
            let Range { start, end: last } = place.span;
            if self.start <= start && start <= end && place.line.is_some() {
                let column = self.text[..start - self.start].chars().count();
                *placed = moved(start)..moved(last).max(moved(start));
                excerpt.columns.push((moved(start), column));
            } else if start < self.start && self.start <= last && placed.start != usize::MAX {
                placed.end = moved(last.min(end));
            }
        }
    }

    /// The bytes of the line that fit: around the first place in it.
    fn window(&self, places: &[ShownPath]) -> (usize, usize) {
        let room = self.width.saturating_sub(FRAME).max(WRAP_MIN);
        let own = self.start..=self.start + self.text.len();
        let first = places
            .iter()
            .filter(|place| place.line.is_some() && own.contains(&place.span.start))
            .min_by_key(|place| place.span.start);
        let column = |place: &ShownPath| self.text[..place.span.start - self.start].chars().count();
        let (at, label) = first.map_or((0, 0), |it| (column(it), it.text_length));
        let length = self.text.chars().count();
        // What a label says stands to the right of its place.
        let fits = length <= room && (at + label <= room || at <= room / 2);
        if fits {
            return (0, self.text.len());
        }
        let from = if at + label.max(WRAP_MIN) <= room { 0 } else { at.saturating_sub(room / 3) };
        let byte = |column: usize| {
            self.text.char_indices().nth(column).map_or(self.text.len(), |(byte, _)| byte)
        };
        (byte(from), byte(from + room))
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.read_span(span, before, after)?;
        // Without lines around it, it is asked for what the header names.
        let own = self.columns.iter().find(|column| column.0 == span.offset());
        let column = match own {
            Some((_, column)) if before + after == 0 => *column,
            _ => contents.column(),
        };
        // Counted here: theirs counts from the beginning of the text, and so joins far places.
        let lines = contents.data().iter().filter(|it| **it == b'\n').count();
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            contents.data(),
            *contents.span(),
            self.lines_before + contents.line(),
            column,
            lines,
        )))
    }
}

#[cfg(test)]
#[path = "view/tests.rs"]
mod tests;
