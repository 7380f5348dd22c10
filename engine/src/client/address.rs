//! The address of a running engine, in a small file beside its store.
//!
//! `data/events.db.url` is there while an engine runs on `data/events.db`; one that was killed
//! leaves it, which a caller notices when nothing listens there.

use compiler::plan::Plan;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file that says where the engine of a store is.
pub(crate) fn beside(store: &Path) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(".url");
    store.with_file_name(name)
}

/// The file of this process. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct AddressFile {
    /// `None` where the store is in memory, which nobody else knows.
    path: Option<PathBuf>,
    written: Option<SocketAddr>,
}

impl AddressFile {
    /// For an engine that owns the store of `plan`; nothing is written yet.
    pub(crate) fn of(plan: &Plan) -> Self {
        let path = plan.store.as_ref().map(|(_, shape)| beside(&shape.path));
        AddressFile { path, written: None }
    }

    /// Says where the engine listens now. It works without the file, so a fault is only logged.
    pub(crate) fn say(&mut self, address: SocketAddr) {
        let Some(path) = self.path.as_deref().filter(|_| self.written != Some(address)) else {
            return;
        };
        match write(path, &format!("{}\n", url_of(address))) {
            Ok(()) => self.written = Some(address),
            Err(fault) => tracing::warn!(
                "cannot write {}: {fault}; commands with `--file` will not find this engine, use `--url`",
                path.display()
            ),
        }
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        if let (Some(path), Some(_)) = (&self.path, self.written) {
            fs::remove_file(path).ok();
        }
    }
}

/// Where this machine reaches an address that is listened on.
fn url_of(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        match address.is_ipv4() {
            true => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            false => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        }
    }
    format!("http://{address}")
}

/// For nobody but the engine's user, and never seen half written.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        fs::remove_file(&beside).ok();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_address_is_for_its_user_and_goes_with_the_engine() {
        let folder = tempfile::tempdir().unwrap();
        let path = beside(&folder.path().join("events.db"));
        assert!(path.ends_with("events.db.url"));
        let mut file = AddressFile { path: Some(path.clone()), written: None };
        for (address, url) in [
            ("127.0.0.1:8600", "http://127.0.0.1:8600\n"),
            ("0.0.0.0:1", "http://127.0.0.1:1\n"),
            ("[::]:1", "http://[::1]:1\n"),
        ] {
            file.say(address.parse().unwrap());
            assert_eq!(fs::read_to_string(&path).unwrap(), url);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_this_engine_did_not_write_it_does_not_remove() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db.url");
        fs::write(&path, "http://other\n").unwrap();
        drop(AddressFile { path: Some(path.clone()), written: None });
        assert!(path.exists());
    }
}
