//! HTTPS: what is served, what replaces it, and what a broken certificate does.

use super::{pipeline, until};
use crate::support::{Engine, root, send};
use futures_rustls::TlsConnector;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use nix::sys::signal::Signal;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const PIPELINE: &str = r#"
pipeline small schema-version=1
server {
    tls cert="../door.pem" key="../door.key"
}
source http front {
    path "/events"
}
sink sqlite store {
    path "../data/events.db"
    retention {
        keep "1d"
    }
}
"#;

/// A certificate with its key in one file, as the tests of the HTTP client have them.
fn sample(name: &str) -> PathBuf {
    root().join("engine/wire/src/testing").join(name)
}

/// Whether another certificate is served than the authority's.
fn is_other_served(engine: &Engine) -> bool {
    get(engine, "/healthz").is_err_and(|fault| fault.contains("invalid peer certificate"))
}

/// What is served from now on.
fn serve(folder: &Path, name: &str) {
    let text = std::fs::read(sample(name)).expect("the sample is there");
    for file in ["door.key", "door.pem"] {
        // As renewals do it: nobody reads half a file.
        std::fs::write(folder.join("new"), &text).expect("it writes");
        std::fs::rename(folder.join("new"), folder.join(file)).expect("it moves");
    }
}

fn start() -> (TempDir, Engine) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    serve(folder.path(), "localhost.pem");
    let file = pipeline(folder.path(), PIPELINE);
    let engine = Engine::start(&file, &folder.path().join("data"), &[]);
    (folder, engine)
}

/// Gets a page over HTTPS as who trusts the authority of the tests; the error is that it does not
/// trust what is served.
fn get(engine: &Engine, path: &str) -> Result<String, String> {
    let pem = std::fs::read(sample("authority.pem")).expect("the sample is there");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).expect("it has one")).expect("it is good");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("there are some")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let talk = async {
        let stream = smol::net::TcpStream::connect(&engine.address).await?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    smol::block_on(talk).map_err(|fault| fault.to_string())
}

#[test]
fn https_is_served_and_programs_on_this_machine_may_do_without() {
    let (_folder, engine) = start();
    let answer = get(&engine, "/healthz").expect("it is trusted");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!is_other_served(&engine));
    assert_eq!(engine.post(r#"{"type":"ring"}"#).0, 202);
    assert_eq!(send(&engine.address, "GET", "/readyz", "", b"").status, 200);
}

#[test]
fn a_new_certificate_is_served_and_a_broken_one_keeps_the_old() {
    let (folder, engine) = start();
    serve(folder.path(), "self-signed.pem");
    until("the new one is served", || is_other_served(&engine).then_some(()));
    std::fs::write(folder.path().join("door.pem"), "half a certifi").expect("it writes");
    let problem = until("it is said", || {
        let ready = engine.get("/readyz").to_string();
        ready.contains("bad-certificate").then_some(ready)
    });
    assert!(problem.contains("door.pem: it has no certificate in PEM form"), "{problem}");
    assert!(is_other_served(&engine));
    // Another change of the file does not wait for the certificate.
    let file = folder.path().join("pipelines/small.kdl");
    std::fs::write(
        &file,
        format!("{PIPELINE}\nparam x 1\nfilter y {{ keep when=\"param.x == 1\" }}\n"),
    )
    .expect("it writes");
    engine.signal(Signal::SIGHUP);
    until("it is reloaded", || (engine.get("/api/pipeline")["generation"] == 2).then_some(()));
    assert!(is_other_served(&engine));
    serve(folder.path(), "localhost.pem");
    until("it is well again", || {
        (!engine.get("/readyz").to_string().contains("bad-certificate")).then_some(())
    });
    assert!(get(&engine, "/healthz").is_ok());
}

#[test]
fn no_reload_turns_tls_off_and_no_engine_starts_without_its_certificate() {
    let (folder, engine) = start();
    let file = folder.path().join("pipelines/small.kdl");
    let plain =
        PIPELINE.replace("tls cert=\"../door.pem\" key=\"../door.key\"", "max-body \"1MiB\"");
    std::fs::write(&file, plain).expect("it writes");
    until("it is rejected", || {
        engine.get("/readyz").to_string().contains("`server.tls` is removed").then_some(())
    });
    assert!(get(&engine, "/healthz").is_ok());
    drop(engine);
    std::fs::write(&file, PIPELINE).expect("it writes");
    std::fs::remove_file(folder.path().join("door.key")).expect("it is there");
    let mut engine = Engine::spawn(&file, &folder.path().join("data"), &[]);
    let (code, said) = engine.end();
    assert_eq!(code, 1, "{said}");
    let parts = ["cannot read the key: file not found", "looked for `../door.key`"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
}
