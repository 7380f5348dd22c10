//! A real mosquitto on a free port and a folder of its own, and its own clients; and the house that
//! is its client.

use super::{Engine, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where a system has it.
const MOSQUITTO: [&str; 3] =
    ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto"];

/// Writes the pipeline `house`: a store, and these nodes.
pub(crate) fn save_house(file: &Path, nodes: &str) {
    let text = format!(
        "pipeline house schema-version=1\nstore \"events.db\" {{\n    keep \"7d\"\n}}\n{nodes}\n"
    );
    std::fs::write(file, text).expect("it can be written");
}

/// What is wrong with the node of this name: code and reason.
pub(crate) fn problems(engine: &Engine, name: &str) -> Vec<(String, String)> {
    let ready = engine.get("/readyz");
    let all = ready["degraded"].as_array().expect("a list").iter();
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    all.filter(|it| it["name"] == name).map(|it| (text(&it["code"]), text(&it["reason"]))).collect()
}

/// A broker. Dropping it kills it.
pub(crate) struct Broker {
    program: &'static str,
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    child: Option<Child>,
}

/// Where the system has a mosquitto; without one, whoever needs it is skipped and says so.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn mosquitto(what: &str) -> Option<&'static str> {
    let found = MOSQUITTO.into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        eprintln!("skipped: {what} needs mosquitto (apt-get install mosquitto mosquitto-clients)");
    }
    found
}

impl Broker {
    /// A broker that anybody may use and that forgets nothing; `None` where there is no mosquitto.
    pub(crate) fn start(what: &str) -> Option<Broker> {
        Broker::with(what, |_| "allow_anonymous true".to_owned())
    }

    /// A broker that speaks TLS as `localhost`, by a certificate of the test authority.
    pub(crate) fn with_tls(what: &str) -> Option<Broker> {
        Broker::with(what, |folder| {
            let testing = super::root().join("engine/wire/src/testing");
            let chain = testing.join("localhost.pem");
            std::fs::copy(testing.join("authority.pem"), folder.join("ca.pem")).expect("copied");
            format!("allow_anonymous true\ncertfile {0}\nkeyfile {0}", chain.display())
        })
    }

    /// A broker with lines of its configuration, which may name files of its folder.
    pub(crate) fn with(what: &str, lines: impl Fn(&Path) -> String) -> Option<Broker> {
        Broker::logging("all", what, lines)
    }

    /// One that logs subscriptions alone: a line for each packet costs it more than the packet.
    pub(crate) fn quiet(what: &str) -> Option<Broker> {
        Broker::logging("subscribe", what, |_| "allow_anonymous true".to_owned())
    }

    fn logging(log: &str, what: &str, lines: impl Fn(&Path) -> String) -> Option<Broker> {
        let program = mosquitto(what)?;
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|bind| bind.local_addr());
        let port = free.expect("a free port").port();
        let more = lines(folder.path());
        let place = folder.path().display();
        // As root it would become another user, who may not write here.
        let text = format!(
            "listener {port} 127.0.0.1\npersistence true\npersistence_location {place}/\n\
             max_queued_messages 0\nuser root\nlog_dest stderr\nlog_type {log}\n{more}\n"
        );
        std::fs::write(folder.path().join("mosquitto.conf"), text).expect("it can be written");
        let mut broker = Broker { program, folder, port, child: None };
        broker.begin();
        Some(broker)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn begin(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path());
        let child = Command::new(self.program)
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stderr(log.expect("it can be written"))
            .spawn();
        self.child = Some(child.expect("mosquitto starts"));
        let address = ("127.0.0.1", self.port);
        until("mosquitto listens", || TcpStream::connect(address).is_ok());
    }

    /// Has it read its files of rules and users again.
    pub(crate) fn read_again(&self) {
        self.signal(Signal::SIGHUP);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        kill(pid, signal).expect("it runs");
    }

    /// Ends it; it stores what it has.
    pub(crate) fn end(&mut self) {
        if self.child.is_some() {
            self.signal(Signal::SIGTERM);
        }
        let Some(mut child) = self.child.take() else { return };
        child.wait().expect("it ends");
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("mosquitto.log")
    }

    /// Everything that it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// One of mosquitto's clients, to this broker.
    fn client(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(name);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(arguments);
        command
    }

    /// Collects what comes on a topic, retained or not, from now on and over restarts.
    pub(crate) fn subscribe(&self, filter: &str, more: &[&str]) -> Subscriber {
        let number = self.log().matches("collector-").count();
        let id = format!("collector-{number}");
        let path = self.folder.path().join(&id);
        let output = std::fs::File::create(&path).expect("it can be written");
        let mut command = self.client("mosquitto_sub", &["-t", filter, "-i", &id, "-c"]);
        // QoS, retained, topic, payload.
        command.args(["-q", "2", "-V", "5", "-F", "%q %r %t %p"]).args(more);
        command.args(["-x", "3600"]).stdout(output).stderr(Stdio::null());
        let child = command.spawn().expect("a client");
        let subscriber = Subscriber { path, child };
        let ready = format!("Sending SUBACK to {id}");
        until("the client has subscribed", || self.log().contains(&ready));
        subscriber
    }

    /// Sends one message and waits until the broker has it.
    pub(crate) fn publish(&self, topic: &str, message: &[u8], more: &[&str]) {
        let mut command = self.client("mosquitto_pub", &["-t", topic, "-s"]);
        let mut child = command.args(more).stdin(Stdio::piped()).spawn().expect("a client");
        child.stdin.take().expect("it is piped").write_all(message).expect("it reads");
        assert!(child.wait().expect("it ends").success(), "{topic}");
    }

    /// Sends a message without content.
    pub(crate) fn publish_nothing(&self, topic: &str) {
        let sent = self.client("mosquitto_pub", &["-t", topic, "-q", "1", "-n"]).status();
        assert!(sent.expect("a client").success(), "{topic}");
    }

    /// Sends each line as a message with QoS 1 and waits until the broker has them all.
    pub(crate) fn publish_lines(&self, topic: &str, lines: impl IntoIterator<Item = String>) {
        let mut command = self.client("mosquitto_pub", &["-t", topic, "-q", "1", "-l"]);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("a client");
        let mut input = std::io::BufWriter::new(child.stdin.take().expect("it is piped"));
        for line in lines {
            writeln!(input, "{line}").expect("it reads");
        }
        drop(input);
        assert!(child.wait().expect("it ends").success(), "{topic}");
    }
}

/// One of mosquitto's clients that collects messages. Dropping it kills it.
pub(crate) struct Subscriber {
    path: PathBuf,
    child: Child,
}

impl Subscriber {
    /// Each message so far: QoS, 1 where the broker had kept it, topic, payload.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = std::fs::read(&self.path).expect("it can be read");
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
