//! The single checks of `engine doctor`. None of them changes anything.

use crate::http::tls::{TlsFiles, TlsIdentity};
use compiler::files::{PipelinePath, file_exposure};
use compiler::load::{PipelineLoader, PipelineTexts, ProcessEnvironment};
use compiler::plan::Plan;
use kernel::env::{Clock, SystemClock};
use kernel::time::Timestamp;
use language::diagnostic::Severity;
use stages::catalog::Catalog;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::{SqlLimits, SqlValue};

/// A clock before this was never set.
const BUILT: &str = "2026-01-01T00:00:00Z";

/// Folders that the system watches for a user; with fewer, other programs may use them up.
const WATCHES_LEAST: u64 = 1024;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FindingGrade {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// It works, but.
    Warning,
    /// It keeps the engine from working.
    Problem,
}

impl FindingGrade {
    pub(super) fn word(self) -> &'static str {
        ["ok", "note", "warning", "problem"][self as usize]
    }
}

/// What one check came to.
#[derive(Debug, Clone)]
pub(super) struct DoctorFinding {
    pub(super) grade: FindingGrade,
    /// Which check it is.
    pub(super) about: &'static str,
    pub(super) text: String,
    pub(super) help: Option<String>,
}

impl DoctorFinding {
    fn new(grade: FindingGrade, about: &'static str, text: String) -> Self {
        DoctorFinding { grade, about, text, help: None }
    }

    pub(super) fn ok(about: &'static str, text: impl Into<String>) -> Self {
        DoctorFinding::new(FindingGrade::Ok, about, text.into())
    }

    pub(super) fn warning(about: &'static str, text: impl Into<String>) -> Self {
        DoctorFinding::new(FindingGrade::Warning, about, text.into())
    }

    pub(super) fn problem(about: &'static str, text: impl Into<String>) -> Self {
        DoctorFinding::new(FindingGrade::Problem, about, text.into())
    }

    #[must_use]
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Every check. `running` says what an engine says of itself that runs the file already.
pub(super) fn all(
    file: &Path,
    data: Option<&Path>,
    running: impl FnOnce() -> Option<Vec<DoctorFinding>>,
) -> Vec<DoctorFinding> {
    let (version, sqlite) = (env!("CARGO_PKG_VERSION"), store::sqlite_version());
    let mut findings =
        vec![DoctorFinding::ok("version", format!("engine {version}, SQLite {sqlite}"))];
    let plan = pipeline(file, data, &mut findings);
    findings.push(clock());
    findings.push(resources());
    findings.extend(watches());
    let Some(plan) = plan else { return findings };
    exposures(file, &plan, &mut findings);
    if let Some((_, shape)) = &plan.store {
        findings.extend(folder(&shape.path));
        findings.extend(store_file(&shape.path));
    }
    findings.extend(certificate(&plan));
    match running() {
        Some(mut of_engine) => findings.append(&mut of_engine),
        None => findings.extend(address(&plan)),
    }
    findings
}

/// Reads and checks the file; the plan, where it has no errors.
fn pipeline(file: &Path, data: Option<&Path>, findings: &mut Vec<DoctorFinding>) -> Option<Plan> {
    let name = file.display();
    let bytes = compiler::files::read_pipeline(file).ok()?;
    let place = &PipelinePath::of(file, None, data);
    let catalog = &Catalog::built_in();
    let loader =
        PipelineLoader { place, overrides: &[], catalog, environment: &ProcessEnvironment };
    let loaded = match PipelineTexts::of(&bytes, file) {
        Ok(given) => loader.read(&given).plan().0,
        Err(unreadable) => *unreadable,
    };
    let of = |severity| {
        loaded.diagnostics.iter().filter(move |diagnostic| diagnostic.severity == severity).count()
    };
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let check = format!("run `engine check {name}`");
    findings.push(match (errors, warnings) {
        (0, 0) => DoctorFinding::ok("file", format!("{name} has no errors")),
        (0, 1) => DoctorFinding::warning("file", format!("{name} has 1 warning")).help(check),
        (0, count) => {
            DoctorFinding::warning("file", format!("{name} has {count} warnings")).help(check)
        }
        (1, _) => DoctorFinding::problem("file", format!("{name} has 1 error")).help(check),
        (count, _) => {
            DoctorFinding::problem("file", format!("{name} has {count} errors")).help(check)
        }
    });
    let plan = loaded.plan?;
    findings.extend(
        plan.off.iter().map(|it| DoctorFinding::new(FindingGrade::Note, "file", it.clone())),
    );
    Some(plan)
}

fn clock() -> DoctorFinding {
    let now = SystemClock::default().wall();
    match Timestamp::parse(BUILT) {
        Some(built) if now < built => {
            DoctorFinding::problem("clock", format!("the clock shows {now}"))
                .help("set the clock of this machine, for example with NTP")
        }
        _ => DoctorFinding::ok("clock", format!("the clock shows {now}")),
    }
}

fn resources() -> DoctorFinding {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    match crate::resources::ensure(cores) {
        Ok(()) => DoctorFinding::ok("limits", "there are enough threads and open files"),
        Err(reason) => DoctorFinding::problem("limits", reason),
    }
}

/// How many folders may be watched, where the system says so.
fn watches() -> Option<DoctorFinding> {
    let text = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?;
    let most: u64 = text.trim().parse().ok()?;
    Some(match most < WATCHES_LEAST {
        true => DoctorFinding::warning("watch", format!("only {most} folders can be watched"))
            .help("raise fs.inotify.max_user_watches; until then, changes are found by polling"),
        false => DoctorFinding::ok("watch", "changes of files are noticed at once"),
    })
}

fn exposures(file: &Path, plan: &Plan, findings: &mut Vec<DoctorFinding>) {
    let secrets = plan.secret_files.iter().map(|file| (file.as_path(), true));
    for (path, is_secret) in std::iter::once((file, false)).chain(secrets) {
        if let Some(exposure) = file_exposure(path, is_secret) {
            let name = path.display().to_string();
            let finding = DoctorFinding::warning("permissions", format!("{name}: {exposure}"));
            findings.push(finding.help(exposure.advice(&name)));
        }
    }
}

/// Whether the store's folder can be written to, and how much room its disk has.
fn folder(store: &Path) -> Vec<DoctorFinding> {
    let folder = store.parent().unwrap_or(Path::new("."));
    let existing: PathBuf =
        folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new(".")).to_owned();
    let name = folder.display();
    let access = rustix::fs::access(&existing, rustix::fs::Access::WRITE_OK);
    let mut findings = vec![match access {
        Ok(()) if existing == folder => {
            DoctorFinding::ok("data", format!("{name} can be written to"))
        }
        Ok(()) => DoctorFinding::ok("data", format!("{name} is created at the first start")),
        Err(fault) => DoctorFinding::problem(
            "data",
            format!("cannot write to {}: {fault}", existing.display()),
        )
        .help("give this user write permission, or name another folder with --data"),
    }];
    if let Some((free, reserve)) = store::disk_room(&existing) {
        let shown = crate::client::figures::size(free);
        findings.push(match free < reserve {
            true => DoctorFinding::problem("disk", format!("only {shown} are free on the disk"))
                .help(format!(
                    "make room: events are accepted above {}",
                    crate::client::figures::size(reserve)
                )),
            false => DoctorFinding::ok("disk", format!("{shown} are free on the disk")),
        });
    }
    findings
}

/// Whether the store that is there can be opened by this engine.
fn store_file(path: &Path) -> Option<DoctorFinding> {
    if !path.exists() {
        return None;
    }
    let limits = SqlLimits { time: Duration::from_secs(5), rows: 1 };
    let found =
        store::read_sql(path, "PRAGMA user_version", limits, Arc::new(SystemClock::default()));
    let known = i64::try_from(store::STORE_VERSION).unwrap_or(i64::MAX);
    let version = found.map(|it| match it.rows.first().and_then(|row| row.first()) {
        Some(SqlValue::Integer(version)) => *version,
        _ => 0,
    });
    Some(match version {
        Ok(version) if known < version => DoctorFinding::problem(
            "store",
            format!(
                "the store has version {version}, but this engine supports versions up to {known}"
            ),
        )
        .help("use a newer engine"),
        Ok(version) => DoctorFinding::ok("store", format!("the store has version {version}")),
        Err(reason) => DoctorFinding::problem("store", reason),
    })
}

/// Whether HTTPS can be served, where the file wants it.
fn certificate(plan: &Plan) -> Option<DoctorFinding> {
    let (cert, key) = plan.server.tls_files(&ProcessEnvironment)?;
    let shown = cert.display().to_string();
    Some(match TlsIdentity::read(&TlsFiles { cert, key }) {
        Ok(_) => DoctorFinding::ok("tls", format!("{shown} and its key can be used")),
        Err(reason) => DoctorFinding::problem("tls", reason)
            .help("correct the paths of `server { tls }`, or what this user may read"),
    })
}

/// Whether the address is free, where no engine of this file runs.
fn address(plan: &Plan) -> Option<DoctorFinding> {
    let listen = plan.server.listen.value.resolve(&ProcessEnvironment).ok()?;
    Some(match TcpListener::bind(&*listen) {
        Ok(_) => DoctorFinding::ok("address", format!("{listen} is free")),
        Err(fault) if fault.kind() == ErrorKind::AddrInUse => {
            DoctorFinding::problem("address", format!("another program listens on {listen}"))
                .help("end it, name its data folder with --data if it is an engine of this file, or write another `listen` in `server`")
        }
        Err(fault) => DoctorFinding::problem("address", format!("cannot listen on {listen}: {fault}")),
    })
}
