//! Appends each event as one line of JSON to a file whose name may depend on the event.
//!
//! The path is a template by parts: what an event puts into one part of it can never leave that
//! part, so no event chooses another folder. How a file is written stands in [`writer`].

pub(crate) mod writer;

use super::sse::{REDACT, read_redact};
use crate::contract::{Claim, Deliver, DynDeliver, Kind, Outgoing, Services, SinkKind, SinkRole};
use kernel::fault::Fault;
use language::diagnostic::Rule;
use language::expr::{Roots, Scope, Template};
use language::literal::literal;
use language::spanned::Spanned;
use language::{Arg, Context, Fields, NodeRow, Prop, ValueKind};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::write_event;
use writer::{Rotate, Writer};

const YEAR: Duration = Duration::from_secs(366 * 86_400);

const NODES: &[NodeRow] = &[
    NodeRow::new("path", "the file; `{{ event.time | date('yyyy-MM-dd') }}` makes one per day")
        .examples(&[r#"path "data/{{ event.time | date('yyyy-MM-dd') }}.jsonl""#])
        .args(&[Arg::one("path", ValueKind::OwnTemplate(Roots::EVENT))])
        .required(),
    NodeRow::new("rotate", "when to rename the file and start a new one")
        .examples(&[r#"rotate every="1d""#, r#"rotate size="10MiB""#])
        .props(&[
            Prop::new("every", ValueKind::Duration(Duration::from_secs(60), YEAR)),
            Prop::new("size", ValueKind::Bytes(1024, 1 << 50)),
        ])
        .otherwise("never"),
];

/// The kind `file`.
pub(super) struct FileSink {
    settings: FileSinkSettings,
    writer: Arc<Writer>,
    services: Services,
}

/// Where to write what.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FileSinkSettings {
    /// The path as the file has it, not rendered.
    written: Spanned<PathBuf>,
    /// The parts of the path.
    parts: Vec<Template>,
    rotate: Rotate,
    redact: Vec<Vec<String>>,
}

impl FileSinkSettings {
    /// Whether it is the same file for every event.
    fn is_fixed(&self) -> bool {
        self.parts.iter().all(Template::is_literal)
    }
}

impl FileSink {
    /// A sink of one file.
    pub(super) fn at(path: &Path, services: Services) -> Self {
        let parts = path.to_string_lossy().split('/').map(Template::plain).collect();
        let (rotate, written) = (Rotate::default(), Spanned::new(path.to_owned(), 0..0));
        let settings = FileSinkSettings { written, parts, rotate, redact: Vec::new() };
        FileSink::of(settings, services)
    }

    fn of(settings: FileSinkSettings, services: Services) -> Self {
        let writer = Arc::new(Writer::new(settings.rotate, services.store.clone()));
        FileSink { settings, writer, services }
    }
}

impl Kind for FileSink {
    const WORD: &'static str = "file";
    const SUMMARY: &'static str = "appends each event as a line of JSON to a file";
    const EXAMPLE: &'static str =
        r#"sink file archive { path "data/archive.jsonl"; rotate every="1d" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES, REDACT];
    type Settings = FileSinkSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<FileSinkSettings> {
        let path = literal(&fields.child("path")?.arg(0)?, context.diagnostics)?;
        let place = context.files.place(&path.value);
        if !path.value.contains("{{") {
            context.expect_no_folder(&place, &path.span, "data/archive.jsonl");
        }
        let parts: Option<Vec<Template>> = parts_of(&place.to_string_lossy())
            .into_iter()
            .map(|it| Template::parse(&it, Roots::EVENT).ok())
            .collect();
        // A template that is wrong as a whole was reported at its place.
        if parts.is_none() && Template::parse(&path.value, Roots::EVENT).is_ok() {
            context
                .diagnostics
                .push(Rule::BadTemplate, "a part of this path cannot be read as a template")
                .at(path.span.clone(), "here")
                .help("an expression in `{{ }}` must be within one part: `data/{{ event.type }}.jsonl`");
        }
        let rotate = fields.child("rotate");
        if let Some(rotate) = rotate.filter(|it| it.props().next().is_none() && it.arg(0).is_none())
        {
            context
                .diagnostics
                .push(Rule::NoEffect, "`rotate` has no effect without `every` or `size`")
                .at(rotate.name().span, "no condition for rotating is given")
                .help("write `rotate every=\"1d\"` or `rotate size=\"10MiB\"`, or remove it");
        }
        let rotate = Rotate {
            every: rotate
                .and_then(|rotate| rotate.prop("every")?.duration())
                .map(|duration| duration.value),
            size: rotate.and_then(|rotate| rotate.prop("size")?.bytes()).map(|byte| byte.value),
        };
        let (written, redact) = (path.map(|_| place), read_redact(fields));
        Some(FileSinkSettings { written, parts: parts?, rotate, redact })
    }

    /// Where the event chooses the file, nobody knows which.
    fn claims(settings: &FileSinkSettings) -> Vec<Spanned<Claim>> {
        let claim = settings.is_fixed().then(|| settings.written.clone().map(Claim::Appended));
        claim.into_iter().collect()
    }
}

/// Splits a path at its slashes, but not at those inside `{{ }}`.
fn parts_of(path: &str) -> Vec<String> {
    let (mut parts, mut part, mut rest) = (Vec::new(), String::new(), path);
    while !rest.is_empty() {
        if rest.starts_with("{{") {
            let end = rest.find("}}").map_or(rest.len(), |it| it + 2);
            part.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if let Some(behind) = rest.strip_prefix('/') {
            parts.push(std::mem::take(&mut part));
            rest = behind;
        } else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            part.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    parts.push(part);
    parts
}

impl SinkKind for FileSink {
    fn shape(_: &FileSinkSettings) -> SinkRole {
        SinkRole::Outside
    }

    async fn open(
        settings: FileSinkSettings,
        services: Services,
    ) -> Result<Box<dyn DynDeliver>, Fault> {
        let sink = FileSink::of(settings, services);
        if sink.settings.is_fixed() {
            let now = sink.services.env.clock.wall();
            sink.writer.permit(&path_of(&sink.settings.parts, &Scope::without_pipeline(now)))?;
        }
        Ok(Box::new(sink))
    }
}

impl Deliver for FileSink {
    /// Most of the work is the sync, and it is one for all lines of a file.
    const BATCH_MAX: usize = 256;

    async fn deliver(&self, outgoing: &Outgoing) -> Result<(), Fault> {
        Deliver::deliver_all(self, std::slice::from_ref(outgoing)).await.remove(0)
    }

    async fn deliver_all(&self, batch: &[Outgoing]) -> Vec<Result<(), Fault>> {
        let now = self.services.env.clock.wall();
        // The lines of each file, and which of the batch they are.
        let mut files: BTreeMap<PathBuf, (Vec<Vec<u8>>, Vec<usize>)> = BTreeMap::new();
        let parts = &self.settings.parts;
        let fixed = self.settings.is_fixed();
        let fixed = fixed.then(|| path_of(parts, &Scope::without_pipeline(now)));
        for (index, outgoing) in batch.iter().enumerate() {
            let path = match &fixed {
                Some(path) => path.clone(),
                None => path_of(parts, &Scope::of(outgoing.event(), now)),
            };
            let (lines, places) = files.entry(path).or_default();
            lines.push(line_of(outgoing, &self.services.pipeline, &self.settings.redact));
            places.push(index);
        }
        let (writer, count) = (self.writer.clone(), batch.len());
        let append = move || {
            let mut results = vec![Ok(()); count];
            for (path, (lines, places)) in files {
                for (place, result) in places.into_iter().zip(writer.append(&path, &lines, now)) {
                    results[place] = result;
                }
            }
            results
        };
        let appended = self.services.env.pools.outside.run(append).await;
        appended.unwrap_or_else(|fault| vec![Err(fault.into()); count])
    }
}

fn path_of(parts: &[Template], scope: &Scope<'_>) -> PathBuf {
    let parts: Vec<String> = parts
        .iter()
        .map(|part| match part.is_literal() {
            true => part.render(scope),
            false => {
                let name = part.render(scope).replace(['/', '\\', '\0'], "_");
                if matches!(name.as_str(), "" | "." | "..") { "_".to_owned() } else { name }
            }
        })
        .collect();
    PathBuf::from(parts.join("/"))
}

/// The event as one line of JSON with its line end.
pub(super) fn line_of(outgoing: &Outgoing, pipeline: &str, redact: &[Vec<String>]) -> Vec<u8> {
    let mut line = String::new();
    write_event(&mut line, &outgoing.stored, pipeline);
    if !redact.is_empty()
        && let Ok(mut value) = serde_json::from_str::<Value>(&line)
    {
        redact.iter().for_each(|it| hide(&mut value, it));
        line = value.to_string();
    }
    line.push('\n');
    line.into_bytes()
}

/// Lists on the way are looked through.
fn hide(value: &mut Value, path: &[String]) {
    match (value, path) {
        (Value::Array(items), _) => items.iter_mut().for_each(|item| hide(item, path)),
        (Value::Object(entries), [name]) => {
            if let Some(found) = entries.get_mut(name) {
                *found = json!({ "omitted": "redacted" });
            }
        }
        (Value::Object(entries), [name, rest @ ..]) => {
            if let Some(found) = entries.get_mut(name) {
                hide(found, rest);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn deliver(text: &str, folder: &Path, data: &[Value]) {
        let (settings, found) = testing::read_in::<FileSink>(text, folder, &[]);
        assert_eq!(found, Vec::<String>::new());
        let sink = smol::block_on(FileSink::open(settings.unwrap(), testing::alone())).unwrap();
        for data in data {
            let alone = [testing::outgoing(data.clone())];
            assert_eq!(smol::block_on(sink.deliver_all(&alone)), [Ok(())]);
        }
    }

    #[test]
    fn a_batch_goes_to_its_files_in_order_and_fails_only_where_it_must() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        let (settings, _) =
            testing::read_in::<FileSink>("path \"{{ data.to }}\"", folder.path(), &[]);
        let sink = smol::block_on(FileSink::open(settings.unwrap(), testing::alone())).unwrap();
        let event = |(index, to): (usize, &str)| testing::outgoing(json!({ "to": to, "n": index }));
        let batch: Vec<Outgoing> =
            ["a", "b", "c", "a", "b", "a"].into_iter().enumerate().map(event).collect();
        let results = smol::block_on(sink.deliver_all(&batch));
        let failed: Vec<bool> = results.iter().map(Result::is_err).collect();
        assert_eq!(failed, [false, true, false, false, true, false], "a folder is no file");
        let written = |name: &str| {
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
            let number =
                |line: &str| serde_json::from_str::<Value>(line).unwrap()["data"]["n"].as_u64();
            text.lines().filter_map(number).collect::<Vec<_>>()
        };
        assert_eq!((written("a"), written("c")), (vec![0, 3, 5], vec![2]));
    }

    #[test]
    fn each_event_is_a_line_in_the_file_of_its_day() {
        let folder = tempfile::tempdir().unwrap();
        let text = "path \"out/{{ event.time | date('yyyy-MM-dd') }}.jsonl\"";
        deliver(text, folder.path(), &[json!({ "n": 1 }), json!({ "n": 2 })]);
        let written = std::fs::read_to_string(folder.path().join("out/2026-01-01.jsonl")).unwrap();
        let lines: Vec<Value> =
            written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[1]["data"], &lines[1]["pos"]), (&json!({ "n": 2 }), &json!(43)));
    }

    #[test]
    fn an_event_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let data = [json!({ "d": ".." }), json!({ "d": "../../x/y" })];
        deliver("path \"out/{{ data.d }}/f.jsonl\"", folder.path(), &data);
        let mut made: Vec<_> = std::fs::read_dir(folder.path().join("out"))
            .unwrap()
            .map(|dir| dir.unwrap().file_name().into_string().unwrap())
            .collect();
        made.sort();
        assert_eq!(made, [".._.._x_y", "_"]);
    }

    #[test]
    fn what_is_redacted_is_gone_through_lists_too() {
        let folder = tempfile::tempdir().unwrap();
        let data = json!({ "faces": [{ "v": [1, 2], "n": "a" }, { "v": 3 }], "v": 4 });
        deliver("path \"f\"\nredact \"data.faces.v\"", folder.path(), &[data]);
        let written = std::fs::read_to_string(folder.path().join("f")).unwrap();
        let line: Value = serde_json::from_str(&written).unwrap();
        let gone = json!({ "omitted": "redacted" });
        let expected = json!({ "faces": [{ "v": gone, "n": "a" }, { "v": gone }], "v": 4 });
        assert_eq!(line["data"], expected);
    }
}
