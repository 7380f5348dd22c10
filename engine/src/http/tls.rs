//! TLS of the server: a certificate and its key, which may be replaced while connections are open.
//!
//! A connection keeps what it began with; the next one meets what is there then. Programs on this
//! machine may also speak plain HTTP, since nothing of theirs leaves it: the engine's own commands
//! and health checks need no certificate.

use futures_rustls::TlsAcceptor;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::ServerConfig;
use futures_rustls::rustls::crypto::ring;
use kernel::regular_file;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// A file with certificates or a key larger than this is refused.
const FILE_MAX: u64 = 1 << 20;

/// The first byte of every TLS connection: a record that is part of a handshake (RFC 8446, 5.1).
pub(super) const HANDSHAKE: u8 = 0x16;

/// What is answered to who speaks plain HTTP.
pub(super) const PLAIN_REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: 43\r\n\r\n\
    this server speaks TLS: use an https:// URL";

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain of certificates, the server's own first, as PEM.
    pub cert: PathBuf,
    /// The private key, as PEM.
    pub key: PathBuf,
}

/// A certificate with its key, ready to serve.
#[derive(Clone)]
pub struct TlsIdentity {
    config: Arc<ServerConfig>,
    /// What it was made from, to see whether the files have changed.
    bytes: Arc<(Vec<u8>, Vec<u8>)>,
}

impl TlsIdentity {
    /// Reads both files. The error says which of them is wrong, and how.
    pub fn read(files: &TlsFiles) -> Result<TlsIdentity, String> {
        let cert = read(&files.cert)?;
        let key = read(&files.key)?;
        let named = |path: &Path, reason: &str| format!("{}: {reason}", path.display());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&cert).collect();
        let chain = chain.map_err(|fault| named(&files.cert, &fault.to_string()))?;
        if chain.is_empty() {
            return Err(named(&files.cert, "it has no certificate in PEM form"));
        }
        let private = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|_| named(&files.key, "it has no private key in PEM form"))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|fault| fault.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|fault| format!("certificate and key cannot be used together: {fault}"))?;
        let mut config = config;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsIdentity { config: Arc::new(config), bytes: Arc::new((cert, key)) })
    }

    /// Whether it was made from the same bytes.
    pub fn is_same(&self, other: &TlsIdentity) -> bool {
        self.bytes == other.bytes
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    regular_file::read(path, FILE_MAX)
        .map_err(|fault| format!("cannot read {}: {fault}", path.display()))
}

/// What a listener serves with; nothing where it speaks plain HTTP.
#[derive(Default)]
pub struct TlsSlot(RwLock<Option<TlsIdentity>>);

impl TlsSlot {
    /// What new connections meet now.
    pub fn get(&self) -> Option<TlsIdentity> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this.
    pub fn set(&self, identity: Option<TlsIdentity>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate and its key in one file, as the tests of the HTTP client use it.
    const PAIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/wire/src/testing/localhost.pem");
    const OTHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/wire/src/testing/self-signed.pem");

    fn read(cert: &str, key: &str) -> Result<TlsIdentity, String> {
        TlsIdentity::read(&TlsFiles { cert: cert.into(), key: key.into() })
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        assert!(read(PAIR, PAIR).is_ok());
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("empty"), "").unwrap();
        std::fs::write(path("text"), "no PEM").unwrap();
        for (cert, key, told) in [
            (path("none"), PAIR.to_owned(), "cannot read "),
            (path("empty"), PAIR.to_owned(), "empty: it has no certificate in PEM form"),
            (path("text"), PAIR.to_owned(), "text: it has no certificate in PEM form"),
            (PAIR.to_owned(), path("text"), "text: it has no private key in PEM form"),
            (PAIR.to_owned(), OTHER.to_owned(), "certificate and key cannot be used together"),
        ] {
            let found = read(&cert, &key).err().unwrap_or_default();
            assert!(found.contains(told), "{found}");
        }
    }

    #[test]
    fn the_same_files_are_the_same_identity() {
        let one = read(PAIR, PAIR).unwrap();
        assert!(one.is_same(&read(PAIR, PAIR).unwrap()));
        assert!(!one.is_same(&read(OTHER, OTHER).unwrap()));
    }
}
