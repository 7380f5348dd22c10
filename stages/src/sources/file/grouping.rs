//! Lines that belong together: one that does not begin an event is part of the one before it.

use crate::decode::{self, CompiledPattern};
use crate::sources::lines::Codec;
use kernel::choice::Choice;
use language::diagnostic::Rule;
use language::{Context, Fields, NodeRow, Prop, ValueKind};
use std::time::Duration;

const FLUSH: ValueKind = ValueKind::Duration(Duration::from_millis(200), Duration::from_secs(600));

/// The child `lines`.
pub(super) const LINES: NodeRow = NodeRow::new(
    "lines",
    "how an event of several lines begins: a line that does not match belongs to the one before it. An event also ends after `max` lines or 1 MiB, and when nothing was written for the time of `flush`",
)
.examples(&[
    r##"lines begin=#"^[0-9]{4}-"#"##,
    r##"lines begin=#"^\S"# max=200 flush="5s""##,
])
.props(&[
    Prop::required("begin", ValueKind::Literal),
    Prop::new("max", ValueKind::Int(2, 10_000)).default("500"),
    Prop::new("flush", FLUSH).default("\"2s\""),
])
.otherwise("each line is an event");

/// What `lines` says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LineGrouping {
    begin: CompiledPattern,
    lines_max: usize,
    /// Lines at the end of a file are complete when nothing was written for so long.
    pub(super) flush: Duration,
}

impl LineGrouping {
    /// Reads it from the block of a source; `Err` when something is wrong with it.
    pub(super) fn read(
        fields: &Fields<'_>,
        codec: Codec,
        context: &mut Context<'_>,
    ) -> Result<Option<LineGrouping>, ()> {
        let Some(lines) = fields.child("lines") else { return Ok(None) };
        if !codec.is_by_line() {
            context
                .diagnostics
                .push(
                    Rule::UnknownNode,
                    format!("`lines` has no effect with `decode {}`", codec.word()),
                )
                .at(lines.name().span, "no effect")
                .help("remove it: the whole file is one event");
            return Err(());
        }
        let begin = lines.prop("begin").and_then(|prop| prop.text()).ok_or(())?;
        let begin = decode::compile(&begin, context).ok_or(())?;
        let lines = lines.filled();
        let lines_max = lines.prop("max", |scalar| usize::try_from(scalar.int()?.value).ok());
        let flush = lines.prop("flush", |scalar| Some(scalar.duration()?.value));
        Ok(Some(LineGrouping { begin, lines_max, flush }))
    }

    /// Whether a line begins an event, behind so many of the one before it.
    pub(super) fn begins(&self, line: &[u8], before: usize) -> bool {
        self.lines_max <= before || self.begin.is_match(&String::from_utf8_lossy(line))
    }

    /// The groups of a whole text, whose first line may be a header.
    pub(super) fn groups<'a>(&self, text: &'a str, has_header: bool) -> Vec<&'a str> {
        let mut rest = match text.split_once('\n') {
            Some((_, rest)) if has_header => rest,
            _ => text,
        };
        let mut groups = Vec::new();
        while !rest.is_empty() {
            let mut length = 0;
            for (index, line) in rest.split_inclusive('\n').enumerate() {
                if 0 < index && self.begins(line.as_bytes(), index) {
                    break;
                }
                length += line.len();
            }
            let (group, after) = rest.split_at(length);
            groups.push(group.trim_end_matches(['\r', '\n']));
            rest = after;
        }
        groups.retain(|group| !group.trim().is_empty());
        groups
    }
}
