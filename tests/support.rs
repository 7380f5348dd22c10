//! The real binary on a free port and a folder of its own, and small ways to talk to it.

pub(crate) mod broker;
pub(crate) mod chromium;
pub(crate) mod hours;
pub(crate) mod load;
pub(crate) mod receiver;
pub(crate) mod sender;
pub(crate) mod smtp;
pub(crate) mod world;

use compiler::files::PipelinePath;
use compiler::load::{LoadedPipeline, PipelineLoader, PipelineTexts};
use language::Environment;
use nix::sys::signal::Signal;
use serde_json::Value;
use stages::catalog::Catalog;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// What bytes come to, as if they lay at `path`; findings call the file `name`.
pub(crate) fn checked(
    path: &Path,
    name: &str,
    bytes: &[u8],
    environment: &dyn Environment,
) -> LoadedPipeline {
    let place = &PipelinePath::of(path, None, None);
    let loader =
        PipelineLoader { place, overrides: &[], catalog: &Catalog::built_in(), environment };
    let given = PipelineTexts::of(bytes, Path::new(name));
    given.map_or_else(|it| *it, |given| loader.check(&given))
}

/// An environment in which no variable is set.
pub(crate) struct Bare;

impl Environment for Bare {
    fn is_set(&self, _: &str) -> bool {
        false
    }

    fn value(&self, _: &str) -> Option<String> {
        None
    }
}

/// An environment in which every variable is set: to its name, or to a URL where it is called one.
pub(crate) struct Full;

impl Environment for Full {
    fn is_set(&self, _: &str) -> bool {
        true
    }

    fn value(&self, name: &str) -> Option<String> {
        let scheme = if name.contains("URL") { "http://" } else { "" };
        Some(format!("{scheme}{name}"))
    }
}

/// Nothing that a test waits for takes longer on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("engine/ lies in it").to_owned()
}

/// A running engine. Dropping it kills it.
pub(crate) struct Engine {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    /// Lines of standard error as they come.
    pub(crate) lines: mpsc::Receiver<String>,
}

impl Engine {
    /// Starts `engine run FILE` with its data in `data`, on a free port, and waits until it is
    /// ready.
    pub(crate) fn start(file: &Path, data: &Path, more: &[&str]) -> Engine {
        Engine::spawn(file, data, more).ready()
    }

    /// The same without the wait; it has no address.
    pub(crate) fn spawn(file: &Path, data: &Path, more: &[&str]) -> Engine {
        Engine::spawn_by(Command::new(env!("CARGO_BIN_EXE_engine")), file, data, more)
    }

    /// The same below limits that `shell` sets, such as `ulimit -n 20`.
    pub(crate) fn spawn_limited(shell: &str, file: &Path, data: &Path) -> Engine {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{shell} && exec \"$@\""), "sh"]);
        command.arg(env!("CARGO_BIN_EXE_engine"));
        Engine::spawn_by(command, file, data, &[])
    }

    /// The same by a command of one's own, which ends with the engine's path.
    pub(crate) fn spawn_by(
        mut command: Command,
        file: &Path,
        data: &Path,
        more: &[&str],
    ) -> Engine {
        let mut child = command
            .arg("run")
            .arg(file)
            .arg("--data")
            .arg(data)
            .args(["--set", "server.listen=127.0.0.1:0"])
            .args(more)
            .env_remove("NTFY_TOPIC")
            .env_remove("WEATHER_URL")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Engine { child, address: String::new(), lines }
    }

    /// Waits until it is ready.
    pub(crate) fn ready(mut self) -> Engine {
        let ready = self.wait_for("ready http");
        let address = ready.split_whitespace().nth(1).and_then(|word| word.split_once("://"));
        let address = address.map(|address| address.1);
        self.address = address.expect("the ready line has an address").to_owned();
        self
    }

    /// Waits for it to end by itself; its exit code and what it said last.
    pub(crate) fn end(&mut self) -> (i32, String) {
        let mut status = None;
        until("it ends by itself", || {
            status = self.child.try_wait().expect("it is ours");
            status.is_some()
        });
        let said = self.lines.iter().collect::<Vec<String>>().join("\n");
        let code = status.and_then(|status| status.code());
        (code.unwrap_or_else(|| panic!("{status:?}, and it said:\n{said}")), said)
    }

    /// The next line of standard error with `text` in it.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line with {text:?}, but:\n{seen}"));
            if line.contains(text) {
                return line;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
    }

    /// Sends a request on a connection of its own; the status and the body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.try_ask(method, path, body).expect("the engine answers")
    }

    /// The same; an error where the connection breaks.
    pub(crate) fn try_ask(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> std::io::Result<(u16, Vec<u8>)> {
        ask(&self.address, method, path, body)
    }

    /// The JSON of a GET.
    pub(crate) fn get(&self, path: &str) -> Value {
        let (_, body) = self.ask("GET", path, b"");
        serde_json::from_slice(&body).expect("it is JSON")
    }

    /// Posts one event to `/events`; status and JSON.
    pub(crate) fn post(&self, event: &str) -> (u16, Value) {
        let (status, body) = self.ask("POST", "/events", event.as_bytes());
        (status, serde_json::from_slice(&body).expect("it is JSON"))
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has had, in megabytes of 1,000,000 bytes.
    pub(crate) fn peak_memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        let pages: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        pages * 1024.0 / 1e6
    }

    /// Kills it at once, as a power switch would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("it runs");
    }

    /// Asks it to stop and waits for its end.
    pub(crate) fn stop(&mut self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.child.wait().expect("it ends").code().expect("it exits by itself")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Lets time pass. Only for a moment that is random on purpose, and between two looks.
pub(crate) fn pause(time: Duration) {
    let (_held, never) = mpsc::channel::<()>();
    never.recv_timeout(time).expect_err("nobody sends");
}

/// Looks until it holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let look = Duration::from_millis(20);
    for _ in 0..PATIENCE.as_millis() / look.as_millis() {
        if holds() {
            return;
        }
        pause(look);
    }
    panic!("it never came to this: {what}");
}

/// One request on a connection of its own.
pub(crate) fn ask(
    address: &str,
    method: &str,
    path: &str,
    body: &[u8],
) -> std::io::Result<(u16, Vec<u8>)> {
    ask_as(address, method, path, "application/json", body)
}

/// The same with another type of body.
pub(crate) fn ask_as(
    address: &str,
    method: &str,
    path: &str,
    kind: &str,
    body: &[u8],
) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let end = answer.windows(4).position(|pair| pair == b"\r\n\r\n").ok_or_else(broken)?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    Ok((status.ok_or_else(broken)?, answer[end + 4..].to_vec()))
}

/// A whole answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The head in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request with these fields, each with its line end, on a connection of its own. `Host` is
/// added where it is not among them, and so is the length of a body.
pub(crate) fn send(address: &str, method: &str, path: &str, fields: &str, body: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
    let host = match fields.contains("Host: ") {
        true => String::new(),
        false => format!("Host: {address}\r\n"),
    };
    let length = match (body.is_empty(), method) {
        (true, "GET" | "HEAD" | "OPTIONS" | "DELETE") => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    let head =
        format!("{method} {path} HTTP/1.1\r\n{host}{fields}{length}Connection: close\r\n\r\n");
    // What is refused early may be closed before all of it is written.
    stream.write_all(head.as_bytes()).ok();
    stream.write_all(body).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    let end = answer.windows(4).position(|pair| pair == b"\r\n\r\n").expect("an answer has a head");
    let head = String::from_utf8_lossy(&answer[..end + 2]).to_ascii_lowercase();
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    Reply { status: status.expect("a status"), head, body: answer[end + 4..].to_vec() }
}

/// What one run of a command came to.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) output: String,
    pub(crate) error: String,
}

/// Runs `engine` with these arguments in a folder, with this standard input and no variables of
/// ours, to its end.
pub(crate) fn engine(folder: &Path, arguments: &[&str], input: &str) -> Answer {
    let mut child = Command::new(env!("CARGO_BIN_EXE_engine"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that does not read its input may be gone already.
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes UTF-8");
    Answer {
        code: output.status.code().expect("it exits by itself"),
        output: text(output.stdout),
        error: text(output.stderr),
    }
}
