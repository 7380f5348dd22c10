//! A mail server of RFC 5321, as far as letters are handed over: with STARTTLS, with TLS from the
//! first byte, with a password, and with what goes wrong.

use futures_rustls::TlsAcceptor;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::{ServerConfig, crypto::ring};
use smol::Async;
use smol::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// For `localhost`, with its key; and the authority that signed it.
const CHAIN: &[u8] = include_bytes!("../../engine/wire/src/testing/localhost.pem");
pub(crate) const AUTHORITY: &str = include_str!("../../engine/wire/src/testing/authority.pem");

/// What a server answers to a command instead of what is usual; `None` is the usual.
pub(crate) type Answer = fn(&str, usize) -> Option<&'static str>;

/// The answer of a server that says nothing, until the other side gives up.
pub(crate) const SILENCE: &str = "silence";

/// How a server begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    Plain,
    /// Plain, and everything of importance is refused before STARTTLS.
    StartTls,
    Tls,
}

/// A letter that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) to: String,
    /// Lines end in `\n`; dots are as they were written.
    pub(crate) text: String,
}

/// The server. It ends with the test's process.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    begins: Begins,
    answer: Answer,
    acceptor: TlsAcceptor,
    taken: Mutex<Vec<Taken>>,
    conversations: AtomicUsize,
    commands: AtomicUsize,
}

/// What one side of a conversation is read from and written to.
trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// How a conversation continues.
enum Next {
    End,
    Secure,
}

impl MailServer {
    pub(crate) fn start(begins: Begins, answer: Answer) -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let chain = CertificateDer::pem_slice_iter(CHAIN).map(|iter| iter.expect("a certificate"));
        let key = PrivateKeyDer::from_pem_slice(CHAIN).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain.collect(), key)
            .expect("a certificate and its key");
        let shared = Arc::new(Shared {
            begins,
            answer,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            taken: Mutex::default(),
            conversations: AtomicUsize::new(0),
            commands: AtomicUsize::new(0),
        });
        let all = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = all.clone();
                shared.conversations.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || smol::block_on(shared.converse(stream)).ok());
            }
        });
        MailServer { port, shared }
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().expect("no conversation panics").clone()
    }

    pub(crate) fn conversations(&self) -> usize {
        self.shared.conversations.load(Ordering::Relaxed)
    }
}

impl Shared {
    async fn converse(&self, stream: TcpStream) -> std::io::Result<()> {
        let stream = Async::new(stream)?;
        if self.begins == Begins::Tls {
            let mut stream = self.acceptor.accept(stream).await?;
            self.talk(&mut stream, true, true).await?;
            return Ok(());
        }
        let mut stream = stream;
        if let Next::Secure = self.talk(&mut stream, false, true).await? {
            let mut stream = self.acceptor.accept(stream).await?;
            self.talk(&mut stream, true, false).await?;
        }
        Ok(())
    }

    async fn talk(
        &self,
        stream: &mut dyn Wire,
        is_secure: bool,
        greets: bool,
    ) -> std::io::Result<Next> {
        let mut stream = BufReader::new(stream);
        if greets {
            stream.write_all(b"220 mail.test ready\r\n").await?;
        }
        let (mut to, mut from, mut is_signed_in) = (None, None, false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(Next::End);
            }
            let command = line.trim_end().to_owned();
            let number = self.commands.fetch_add(1, Ordering::Relaxed);
            let word = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let is_open = is_secure || self.begins == Begins::Plain;
            if let Some(answer) = (self.answer)(&command, number) {
                if answer == SILENCE {
                    // Ends when the other side does.
                    stream.read_line(&mut String::new()).await?;
                    return Ok(Next::End);
                }
                stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
                continue;
            }
            let reply = match word.as_str() {
                "EHLO" if is_open => "250-mail.test\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME",
                "EHLO" => "250-mail.test\r\n250 STARTTLS",
                "STARTTLS" if !is_open => {
                    stream.write_all(b"220 go ahead\r\n").await?;
                    return Ok(Next::Secure);
                }
                _ if !is_open => "530 5.7.0 Must issue a STARTTLS command first",
                // The base64 of "\0door\0canary-token".
                "AUTH" if command == "AUTH PLAIN AGRvb3IAY2FuYXJ5LXRva2Vu" => {
                    is_signed_in = true;
                    "235 2.7.0 Accepted"
                }
                "AUTH" => "535 5.7.8 Bad credentials",
                "MAIL" if self.begins != Begins::Plain && !is_signed_in => "530 5.7.0 Who are you?",
                "MAIL" => {
                    from = Some(command);
                    "250 2.1.0 OK"
                }
                "RCPT" if from.is_some() => {
                    to = command.split(['<', '>']).nth(1).map(str::to_owned);
                    "250 2.1.5 OK"
                }
                "DATA" if to.is_some() => {
                    stream.write_all(b"354 End with a dot\r\n").await?;
                    let text = read_letter(&mut stream).await?;
                    let to = to.take().unwrap_or_default();
                    self.taken.lock().expect("no panic").push(Taken { to, text });
                    "250 2.0.0 Queued"
                }
                "RSET" => {
                    (from, to) = (None, None);
                    "250 2.0.0 OK"
                }
                "QUIT" => "221 2.0.0 Bye",
                _ => "503 5.5.1 Bad sequence of commands",
            };
            stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        }
    }
}

async fn read_letter(stream: &mut BufReader<&mut dyn Wire>) -> std::io::Result<String> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        assert!(line.ends_with("\r\n") && line.len() <= 1000, "a line of RFC 5321: {line:?}");
        match line.trim_end_matches("\r\n") {
            "." => return Ok(text),
            line => text.extend([line.strip_prefix('.').unwrap_or(line), "\n"]),
        }
    }
}
