//! The real binary and a way to talk to it.

use crate::Result;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The shipped pipeline in a folder of its own, with `change` made to its text.
pub(crate) fn pipeline(root: &Path, change: (&str, &str)) -> Result<PathBuf> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in ["schemas", "pipelines/tables"] {
        fs::create_dir_all(root.join(folder))?;
        for entry in fs::read_dir(shipped.join(folder))? {
            let entry = entry?;
            fs::copy(entry.path(), root.join(folder).join(entry.file_name()))?;
        }
    }
    let text = fs::read_to_string(shipped.join("pipelines/doorbell.kdl"))?;
    if !text.contains(change.0) {
        return Err(format!("the shipped file has no {:?}", change.0).into());
    }
    let file = root.join("pipelines/doorbell.kdl");
    fs::write(&file, text.replace(change.0, change.1))?;
    Ok(file)
}

pub(crate) fn engine(root: &Path, file: &Path, more: &[&str]) -> Command {
    let own = env!("CARGO_BIN_EXE_engine").into();
    let mut command = Command::new(std::env::var_os("ENGINE").unwrap_or(own));
    command.arg("run").arg(file).arg("--data").arg(root.join("data")).args(more);
    command.args(["--set", "server.listen=127.0.0.1:0"]);
    command.env_remove("WEATHER_URL").env_remove("NTFY_TOPIC").env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A running engine. Dropping it kills it.
pub(crate) struct Server(Child, pub(crate) String);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Server {
    /// One that was started otherwise.
    pub(crate) fn of(child: Child, address: String) -> Server {
        Server(child, address)
    }

    /// Starts it and waits for the line that says that it is ready.
    pub(crate) fn start(root: &Path, file: &Path) -> Result<Server> {
        let mut child = engine(root, file, &[]).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        let mut server = Server(child, String::new());
        for line in lines.by_ref() {
            let line = line?;
            if let Some(rest) = line.strip_prefix("ready http://") {
                server.1 = rest.split(' ').next().unwrap_or_default().to_owned();
                // What else it says must not fill the pipe.
                thread::spawn(move || lines.map_while(std::result::Result::ok).for_each(drop));
                return Ok(server);
            }
        }
        Err("it ended before it was ready".into())
    }

    /// Kilobytes in memory.
    pub(crate) fn memory(&self, field: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find(|line| line.starts_with(field)).ok_or("no such field")?;
        Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
    }

    /// CPU seconds so far.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let behind = stat.rsplit(") ").next().ok_or("no fields")?;
        let ticks = behind.split(' ').skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<std::result::Result<f64, _>>()? / 100.0)
    }

    /// Whether an event that is posted to `path` gets to a source.
    pub(crate) fn answers(&self, path: &str) -> Result<bool> {
        let mut stream = self.connect()?;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\n{{}}",
            self.1
        );
        stream.get_mut().write_all(request.as_bytes())?;
        Ok(!head(&mut stream)?.starts_with("HTTP/1.1 404"))
    }

    pub(crate) fn connect(&self) -> Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(&self.1)?;
        stream.set_nodelay(true)?;
        Ok(BufReader::new(stream))
    }
}

/// Posts every event once, the next one on whichever connection is free.
pub(crate) fn send_all(server: &Server, events: &[String], connections: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    let send = || -> std::result::Result<(), String> {
        let mut stream = server.connect().map_err(|fault| fault.to_string())?;
        while let Some(event) = events.get(next.fetch_add(1, Ordering::Relaxed)) {
            post(&mut stream, &server.1, event).map_err(|fault| fault.to_string())?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(send)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a sender does not panic"))
    })?;
    Ok(())
}

pub(crate) fn post(stream: &mut BufReader<TcpStream>, address: &str, event: &str) -> Result<()> {
    let request = format!(
        "POST /events HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{event}",
        event.len()
    );
    stream.get_mut().write_all(request.as_bytes())?;
    let head = head(stream)?;
    let length = head.to_ascii_lowercase();
    let length = length.split("content-length: ").nth(1).and_then(|part| part.lines().next());
    let mut body = vec![0; length.ok_or("no length")?.parse()?];
    stream.read_exact(&mut body)?;
    let is_accepted = head.starts_with("HTTP/1.1 202");
    if is_accepted { Ok(()) } else { Err(String::from_utf8_lossy(&body).into()) }
}

pub(crate) fn head(stream: &mut impl BufRead) -> Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err("the connection is over".into());
        }
    }
    Ok(head)
}
