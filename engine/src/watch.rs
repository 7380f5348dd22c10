//! "Something changed": hints from the file system, debounced, with a slow poll as a net.
//!
//! Folders are watched, not files: editors replace the file, and a watch on it dies silently with
//! the first save. Whether anything really changed is decided by content, not here.

use event_listener::{Event as Signal, EventListener};
use kernel::env::Clock;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Quiet time after the last hint.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Without any hint, the files are looked at after this: network file systems give none.
const POLL: Duration = Duration::from_secs(5);

/// Watches the folders of some files.
pub struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    hint: Arc<Signal>,
    /// Stands while the files are looked at, so that a hint meanwhile is not missed.
    next: Option<EventListener>,
}

impl Watch {
    /// Watches nothing yet. Where the system gives no hints, the poll alone remains.
    pub fn new() -> Self {
        let hint = Arc::new(Signal::new());
        let told = hint.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let is_access = event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_)));
            if !is_access {
                told.notify(usize::MAX);
            }
        });
        if let Err(fault) = &watcher {
            tracing::warn!(%fault, "files are polled, because the system does not report file events");
        }
        let next = Some(hint.listen());
        Watch { watcher: watcher.ok(), folders: BTreeSet::new(), hint, next }
    }

    /// Watches the folders of these files, and of what they are links to.
    pub fn follow(&mut self, files: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        let folder = |path: &Path| {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.unwrap_or(Path::new(".")).to_owned()
        };
        let given = files.iter().map(|file| folder(file));
        let real = files.iter().filter_map(|file| file.canonicalize().ok()).map(|it| folder(&it));
        let wanted: BTreeSet<PathBuf> = given.chain(real).filter(|it| it.is_dir()).collect();
        for gone in self.folders.difference(&wanted) {
            watcher.unwatch(gone).ok();
        }
        for new in wanted.difference(&self.folders) {
            if let Err(fault) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %new.display(), %fault, "not watched; polled instead");
            }
        }
        self.folders = wanted;
    }

    /// Something that notes a hint, for a signal to use.
    pub fn hint(&self) -> Arc<Signal> {
        self.hint.clone()
    }

    /// Ends when it is worth looking at the files.
    pub async fn changed(&mut self, clock: &dyn Clock) {
        let next = self.next.take().unwrap_or_else(|| self.hint.listen());
        self.settled(next, clock).await;
        self.next = Some(self.hint.listen());
    }

    async fn settled(&self, next: EventListener, clock: &dyn Clock) {
        let hinted = async {
            next.await;
            true
        };
        let polled = async {
            clock.sleep(POLL).await;
            false
        };
        if !smol::future::or(hinted, polled).await {
            return;
        }
        // A save is several hints; at most ten rounds, so that a folder in constant change is
        // looked at all the same.
        for _ in 0..10 {
            let more = async {
                self.hint.listen().await;
                true
            };
            let quiet = async {
                clock.sleep(DEBOUNCE).await;
                false
            };
            if !smol::future::or(more, quiet).await {
                return;
            }
        }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Watch::new()
    }
}
