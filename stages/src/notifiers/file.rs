//! Tells by a line of JSON in a file: for trying a pipeline out, and for what reads files.

use crate::contract::{Claim, DynNotify, Kind, NoUpdate, Notice, Notify, NotifyKind, Services};
use crate::sinks::file::writer::{Rotate, Writer};
use kernel::fault::Fault;
use kernel::time::Timestamp;
use language::literal::literal;
use language::spanned::Spanned;
use language::{Arg, Context, Fields, NodeRow, ValueKind};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

const NODES: &[NodeRow] = &[NodeRow::new("path", "the file to append to")
    .examples(&[r#"path "data/told.jsonl""#])
    .args(&[Arg::one("path", ValueKind::Path)])
    .required()];

/// Most notifications that are written and synced together.
const BATCH_MAX: usize = 256;

/// The kind `file`.
pub(super) struct FileNotifier {
    path: PathBuf,
    writer: Arc<Writer>,
    services: Services,
}

impl FileNotifier {
    pub(super) fn at(path: PathBuf, services: Services) -> Self {
        let writer = Arc::new(Writer::new(Rotate::default(), services.store.clone()));
        FileNotifier { path, writer, services }
    }
}

impl Kind for FileNotifier {
    const WORD: &'static str = "file";
    const SUMMARY: &'static str = "appends each notification as a line of JSON to a file";
    const EXAMPLE: &'static str = r#"notify file told { path "data/told.jsonl" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = Spanned<PathBuf>;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Spanned<PathBuf>> {
        let path = literal(&fields.child("path")?.arg(0)?, context.diagnostics)?;
        let place = path.map(|path| context.files.place(&path));
        context.expect_no_folder(&place.value, &place.span, "data/told.jsonl");
        Some(place)
    }

    fn claims(settings: &Spanned<PathBuf>) -> Vec<Spanned<Claim>> {
        vec![settings.clone().map(Claim::Appended)]
    }
}

impl NotifyKind for FileNotifier {
    fn is_remote(_: &Spanned<PathBuf>) -> bool {
        false
    }

    fn no_update(_: &Spanned<PathBuf>) -> Option<NoUpdate> {
        None
    }

    async fn open(path: Spanned<PathBuf>, services: Services) -> Result<Box<dyn DynNotify>, Fault> {
        let notifier = FileNotifier::at(path.value, services);
        notifier.writer.permit(&notifier.path)?;
        Ok(Box::new(notifier))
    }
}

impl Notify for FileNotifier {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        Notify::notify_all(self, std::slice::from_ref(notice)).await.remove(0)
    }

    /// One sync is for all of them.
    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    async fn notify_all(&self, batch: &[Notice]) -> Vec<Result<(), Fault>> {
        let now = self.services.env.clock.wall();
        let lines: Vec<Vec<u8>> = batch.iter().map(|it| line_of(it, now)).collect();
        let (path, writer) = (self.path.clone(), self.writer.clone());
        let append = move || writer.append(&path, &lines, now);
        let appended = self.services.env.pools.outside.run(append).await;
        appended.unwrap_or_else(|fault| vec![Err(fault.into()); batch.len()])
    }
}

fn line_of(notice: &Notice, now: Timestamp) -> Vec<u8> {
    let envelope = &notice.outgoing.stored.envelope;
    let mut line = json!({
        "time": now.to_string(),
        "key": notice.outgoing.key,
        "event_id": &*envelope.id,
        "title": notice.title,
        "message": notice.message,
        "level": envelope.priority.word(),
    });
    if let Some(update) = &notice.update {
        line["update"] = update.shown();
    }
    format!("{line}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use serde_json::Value;

    #[test]
    fn each_notification_is_a_line_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let (path, found) =
            testing::read_in::<FileNotifier>("path \"n/told.jsonl\"", folder.path(), &[]);
        assert_eq!(found, Vec::<String>::new());
        let notifier = smol::block_on(FileNotifier::open(path.unwrap(), testing::alone())).unwrap();
        let notice = Notice {
            outgoing: testing::outgoing(json!({})),
            title: "Ring".to_owned(),
            message: "two\nlines".to_owned(),
            update: None,
        };
        smol::block_on(notifier.notify(&notice)).unwrap();
        let written = std::fs::read_to_string(folder.path().join("n/told.jsonl")).unwrap();
        assert_eq!(written.matches('\n').count(), 1);
        let expected = json!({
            "time": "2026-01-01T10:00:00.000Z", "key": "e-1/out", "event_id": "e-1",
            "title": "Ring", "message": "two\nlines", "level": "high",
        });
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), expected);
    }
    #[test]
    fn several_are_written_together_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = testing::read_in::<FileNotifier>("path \"told.jsonl\"", folder.path(), &[]);
        let notifier = smol::block_on(FileNotifier::open(path.unwrap(), testing::alone())).unwrap();
        let notice = |title: &str| Notice {
            outgoing: testing::outgoing(json!({})),
            title: title.to_owned(),
            message: String::new(),
            update: None,
        };
        let batch = ["one", "two", "three"].map(notice);
        assert!(1 < notifier.batch_max());
        assert_eq!(smol::block_on(notifier.notify_all(&batch)), vec![Ok(()); 3]);
        let written = std::fs::read_to_string(folder.path().join("told.jsonl")).unwrap();
        let title = |line: &str| serde_json::from_str::<Value>(line).unwrap()["title"].clone();
        assert_eq!(written.lines().map(title).collect::<Vec<_>>(), ["one", "two", "three"]);
        // Where it cannot be written, all of them say so.
        std::fs::remove_file(folder.path().join("told.jsonl")).unwrap();
        std::fs::create_dir(folder.path().join("told.jsonl")).unwrap();
        let results = smol::block_on(notifier.notify_all(&batch));
        assert!(results.len() == 3 && results.iter().all(Result::is_err), "{results:?}");
    }
}
