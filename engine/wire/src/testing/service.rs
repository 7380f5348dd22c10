//! Services on real sockets that misbehave as a test tells them.

use futures_rustls::TlsAcceptor;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::{ServerConfig, crypto::ring};
use smol::Async;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// A test that waits longer than this for the other side has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service on the loopback; a thread for each connection does what the test says.
pub(crate) struct TestService {
    pub(crate) url: String,
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
    said: Mutex<mpsc::Receiver<String>>,
}

/// One connection, on the side of the service.
pub(crate) struct Visitor {
    pub(crate) stream: TcpStream,
    /// Counted from 0.
    pub(crate) number: usize,
    kept: Arc<Mutex<Vec<TcpStream>>>,
    says: mpsc::Sender<String>,
}

impl TestService {
    pub(crate) fn start(talk: impl Fn(&mut Visitor) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let (says, said) = mpsc::channel();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (count, talk) = (connections.clone(), Arc::new(talk));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                let (talk, kept, says) = (talk.clone(), kept.clone(), says.clone());
                let mut visitor = Visitor { stream, number, kept, says };
                std::thread::spawn(move || talk(&mut visitor));
            }
        });
        TestService {
            url: format!("http://127.0.0.1:{port}/x"),
            port,
            connections,
            said: said.into(),
        }
    }

    /// Answers every request the same way.
    pub(crate) fn answering(answer: &'static str) -> Self {
        TestService::start(move |visitor| {
            while let Some(request) = visitor.request() {
                visitor.say(request);
                visitor.answer(answer);
            }
        })
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// What a connection said next.
    pub(crate) fn next(&self) -> String {
        self.said.lock().unwrap().recv_timeout(PATIENCE).expect("the service says something")
    }
}

impl Visitor {
    /// A whole request, or `None` at the end of the connection.
    pub(crate) fn request(&mut self) -> Option<String> {
        let (mut request, mut byte) = (Vec::new(), [0]);
        while !request.ends_with(b"\r\n\r\n") {
            if self.stream.read(&mut byte).unwrap_or(0) == 0 {
                return None;
            }
            request.push(byte[0]);
        }
        let head = String::from_utf8(request).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.stream.read_exact(&mut body).ok()?;
        Some(head + &String::from_utf8_lossy(&body))
    }

    /// Sends bytes; a client that has gone is no failure.
    pub(crate) fn answer(&mut self, answer: impl AsRef<[u8]>) {
        self.stream.write_all(answer.as_ref()).ok();
    }

    /// Tells the test.
    pub(crate) fn say(&self, word: impl Into<String>) {
        self.says.send(word.into()).ok();
    }

    /// Waits for the first bytes.
    pub(crate) fn first_bytes(&mut self) {
        assert!(0 < self.stream.read(&mut [0; 16]).unwrap(), "the client sends something");
    }

    /// Reads nothing more; the connection stays open until the tests end.
    pub(crate) fn hold(&mut self) {
        self.kept.lock().unwrap().push(self.stream.try_clone().unwrap());
        self.say("holds");
    }

    /// Says nothing more, until the client closes; then tells the test.
    pub(crate) fn hang(&mut self) {
        self.say("hangs");
        let mut bytes = [0; 4096];
        while self.stream.read(&mut bytes).is_ok_and(|count| 0 < count) {}
        self.say("closed by the client");
    }
}

/// A certificate for `localhost` and its key: by the authority that the tests trust, or by nobody.
pub(crate) const SIGNED: &[u8] = include_bytes!("localhost.pem");
pub(crate) const SELF_SIGNED: &[u8] = include_bytes!("self-signed.pem");

/// Speaks TLS and answers every request of a connection, until the client goes.
pub(crate) fn answer_over_tls(visitor: &mut Visitor, identity: &[u8], answer: &str) {
    let certificate = CertificateDer::from_pem_slice(identity).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let socket = Async::new(visitor.stream.try_clone().unwrap()).unwrap();
    let talk = async {
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(socket).await?;
        let (mut request, mut byte) = (Vec::new(), [0]);
        while 0 < stream.read(&mut byte).await? {
            request.push(byte[0]);
            if request.ends_with(b"\r\n\r\n") {
                visitor.say(String::from_utf8_lossy(&request));
                request.clear();
                stream.write_all(answer.as_bytes()).await?;
                stream.flush().await?;
            }
        }
        io::Result::Ok(())
    };
    smol::block_on(talk).ok();
}
