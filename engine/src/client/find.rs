//! Where the engine is that a command calls.

use super::{ClientFault, EngineArgs, address};
use compiler::files::{self, PipelinePath};
use compiler::load::{LenientEnvironment, PipelineLoader, PipelineTexts, ProcessEnvironment};
use compiler::plan::Plan;
use compiler::spec::Spec;
use kernel::regular_file;
use language::Environment;
use stages::catalog::Catalog;
use stages::contract::SinkRole;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where an engine listens whose file does not say.
const USUAL: &str = "http://127.0.0.1:8600";

/// How long a connection to an engine of this machine may take.
const CONNECT: Duration = Duration::from_secs(1);

/// The longest address, in bytes.
const ADDRESS_MAX: u64 = 4096;

/// The address without a slash at its end, and the file that it was read from.
pub(super) fn url(args: &EngineArgs) -> Result<(String, Option<PathBuf>), ClientFault> {
    match (&args.call.url, &args.file) {
        (Some(url), _) => Ok((given(url)?, None)),
        (None, Some(file)) => {
            let (url, found_in) = of_file(file, args.data.as_deref())?;
            Ok((url, Some(found_in)))
        }
        (None, None) => Ok((USUAL.to_owned(), None)),
    }
}

fn given(url: &str) -> Result<String, ClientFault> {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let authority =
        url.split("://").nth(1).and_then(|part| part.split('/').next()).unwrap_or_default();
    if authority.is_empty() {
        let reason = format!("--url names no host; write an address such as {USUAL}");
        return Err(ClientFault::new(reason));
    }
    if authority.contains('@') {
        let reason = "--url must not contain a name or password; use --token env:NAME";
        return Err(ClientFault::new(reason));
    }
    if url.contains(['?', '#']) {
        return Err(ClientFault::new("--url must end before `?` and `#`"));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// The engine that runs a pipeline file, with its own store or with that of `--demo`.
fn of_file(file: &Path, data: Option<&Path>) -> Result<(String, PathBuf), ClientFault> {
    let store = store_of(file, data)?;
    let demo = data.map_or_else(|| beside(file).join("../data/demo"), |data| data.join("demo"));
    let places = [Ok(store), store_of(file, Some(&demo))];
    let places: Vec<PathBuf> =
        places.into_iter().flatten().map(|store| address::beside(&store)).collect();
    let mut found = Vec::new();
    for place in &places {
        match regular_file::read(place, ADDRESS_MAX) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes).trim().to_owned();
                found.push((given(&text)?, place.clone()));
            }
            Err(fault) if fault.kind() == ErrorKind::NotFound => {}
            Err(fault) => {
                let reason = format!("cannot read {}: {fault}", place.display());
                return Err(ClientFault::new(reason));
            }
        }
    }
    // One of them may have been left by an engine that was killed.
    let at = found.iter().position(|(url, _)| found.len() == 1 || is_listening(url));
    if !found.is_empty() {
        return Ok(found.swap_remove(at.unwrap_or_default()));
    }
    let (file, place) = (file.display(), places[0].display());
    Err(ClientFault::new(format!(
        "no engine runs {file}, as there is no {place}; start one with `engine run {file}`, name \
         the data folder of a running one with --data, or give its address with --url"
    )))
}

/// Whether somebody accepts connections at an address of this machine.
fn is_listening(url: &str) -> bool {
    let address = url.strip_prefix("http://").and_then(|it| it.parse::<SocketAddr>().ok());
    address.is_some_and(|address| TcpStream::connect_timeout(&address, CONNECT).is_ok())
}

fn beside(file: &Path) -> PathBuf {
    PipelinePath::of(file, None, None).folder
}

/// What a pipeline file says; `consequence` is what is not known where it has errors. Variables that
/// are not set only matter to who needs them.
pub(crate) fn plan_of(
    file: &Path,
    data: Option<&Path>,
    consequence: &str,
) -> Result<Plan, ClientFault> {
    let given = texts_of(file)?;
    let plan = |environment: &dyn Environment| {
        let given = given.as_ref()?;
        reading(file, data, environment, |loader| loader.read(given).plan().0.plan)
    };
    let plan = plan(&ProcessEnvironment).or_else(|| plan(&LenientEnvironment));
    plan.ok_or_else(|| {
        let name = file.display();
        ClientFault::new(format!("{name} has errors, so {consequence}; run `engine check {name}`"))
    })
}

/// The texts of a pipeline file; `None` if it is not text.
fn texts_of(file: &Path) -> Result<Option<PipelineTexts>, ClientFault> {
    let bytes = files::read_pipeline(file)
        .map_err(|fault| ClientFault::new(files::cannot_read(file, &fault)))?;
    Ok(PipelineTexts::of(&bytes, file).ok())
}

fn reading<T>(
    file: &Path,
    data: Option<&Path>,
    environment: &dyn Environment,
    read: impl FnOnce(PipelineLoader<'_>) -> T,
) -> T {
    let place = &PipelinePath::of(file, None, data);
    let catalog = &Catalog::built_in();
    read(PipelineLoader { place, overrides: &[], catalog, environment })
}

/// Where the store of a pipeline file is, whatever else the file says.
pub(crate) fn store_of(file: &Path, data: Option<&Path>) -> Result<PathBuf, ClientFault> {
    if let Some(given) = texts_of(file)? {
        let store = reading(file, data, &LenientEnvironment, |loader| {
            loader.read(&given).spec().and_then(store_in)
        });
        if let Some(path) = store {
            return Ok(path);
        }
    }
    match plan_of(file, data, "its store is not known")?.store {
        Some((_, shape)) => Ok(shape.path),
        None => Err(ClientFault::new(format!(
            "{} has no store on disk, so its running engine cannot be found",
            file.display()
        ))),
    }
}

/// The store, as far as its own node is right: its path is a literal of the file, so a sign of a
/// variable in it is a mistake.
fn store_in(spec: &Spec) -> Option<PathBuf> {
    let on = spec.sinks.iter().filter(|sink| !sink.is_disabled);
    let path = on.map(|sink| sink.spec.shape()).find_map(|shape| match shape {
        SinkRole::Store(shape) => Some(shape.path),
        SinkRole::Stream(_) | SinkRole::Outside => None,
    });
    path.filter(|path| !path.to_string_lossy().contains("${"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_known_where_its_own_node_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.kdl");
        let store = |more: &str, path: &str| {
            let text = format!(
                "pipeline p schema-version=1\nsource http in {{ path \"/e\" }}\n{more}\n\
                 sink sqlite journal {{ path {path}; retention {{ keep \"30d\" }} }}\n"
            );
            std::fs::write(&file, text).unwrap();
            store_of(&file, None).map_err(|fault| fault.reason)
        };
        let is_found = |more: &str| store(more, "\"a.db\"") == Ok(folder.path().join("a.db"));
        for more in [
            "",
            "notify webhook hook { url (env)\"NOT_SET_HERE\" }",
            "server { auth { token t (env)\"NOT_SET_HERE\" } }",
            "limits { concurrency (env)\"NOT_SET_HERE\" }",
            "sink stdout seen { when \"data.x +\" }",
            "notify webhook hook { url \"nowhere\" }",
            "nonsense",
        ] {
            assert!(is_found(more), "{more}");
        }
        for path in ["(env)\"NOT_SET_HERE\"", "\"${NOT_SET_HERE}/a.db\"", "1"] {
            let refused = store("", path).unwrap_err();
            assert!(refused.contains("has errors, so its store is not known"), "{refused}");
        }
    }

    #[test]
    fn an_address_may_be_short_and_holds_no_secret() {
        let url = |text: &str| given(text).map_err(|fault| fault.reason);
        assert_eq!(url("127.0.0.1:1"), Ok("http://127.0.0.1:1".to_owned()));
        assert_eq!(url("https://h/base/"), Ok("https://h/base".to_owned()));
        for secret in ["http://me:s3cret@h", "me:s3cret@h/x", "h?token=s3cret"] {
            let told = url(secret).unwrap_err();
            assert!(!told.contains("s3cret"), "{told}");
        }
    }
}
