//! Programs that the engine starts: their command, what they may see, and how they end.
//!
//! A program is given by its path and arguments and never by a shell, so nothing of an event can
//! become a command. It sees the variables that the file names and no others. It leads a process
//! group of its own, so that ending it ends what it has started.
//!
//! *Invariant:* a program does not outlive its handle.

use crate::contract::{Claim, Notice, Programs, Services};
use crate::request::{Text, resolve};
use kernel::env::within;
use kernel::event::Event;
use kernel::fault::{Cause, Fault};
use kernel::health::printable;
use language::diagnostic::Rule;
use language::spanned::Spanned;
use language::{Arg, Context, Fields, Needed, NodeRow, ValueKind};
use rustix::process::{Pid, Resource, Rlimit, Signal, geteuid, kill_process_group, prlimit};
use serde_json::{Value, json};
use smol::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use smol::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::future::Future;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wire::{FetchRequest, answer};

/// The longest line, and the most output of one call.
pub(crate) const OUTPUT_MAX: usize = 1 << 20;

/// What is kept of the errors that a program writes: the end of them, in bytes.
const ERRORS_MAX: usize = 1024;

/// How long a program has to end after it was told to.
const GRACE: Duration = Duration::from_secs(2);

/// The children that say what is started, and how.
pub(crate) const PROGRAM: &[NodeRow] = &[
    NodeRow::new(
        "command",
        "the program with its arguments; never a shell, so nothing is expanded in them",
    )
    .examples(&[r#"command "/usr/local/bin/read-plate" "--json""#, r#"command "./read-plate.py""#])
    .args(&[Arg::some("argument", ValueKind::Literal)])
    .required(),
    NodeRow::new("env", "the environment variables of the program; it has no others")
        .examples(&[r#"env PATH="/usr/bin:/bin" LANG="C.UTF-8""#])
        .open(ValueKind::Text),
    NodeRow::new("directory", "its working directory")
        .examples(&[r#"directory "/var/lib/plates""#])
        .args(&[Arg::one("path", ValueKind::Literal)])
        .otherwise("the folder of the pipeline file"),
    NodeRow::new("memory", "its memory limit")
        .examples(&[r#"memory "256MiB""#])
        .args(&[Arg::one("size", ValueKind::Bytes(1 << 20, 1 << 40))])
        .otherwise("unlimited"),
    NodeRow::new("user", "the user to run it as, if the engine runs as root")
        .examples(&["user nobody"])
        .args(&[Arg::one("name", ValueKind::Literal)])
        .otherwise("the user of the engine"),
];

/// How arguments begin that no path of a program has behind a blank.
const SHELL_SIGNS: [char; 10] = ['-', '/', '\'', '"', '|', '>', '<', '&', '$', '{'];

/// The words of a command line, where quotes and templates hold blanks together; `None` where a
/// quote has no end.
fn shell_words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let (mut quote, mut braces) = (None, 0_usize);
    for letter in line.chars() {
        let is_end = quote.is_none() && braces == 0 && letter.is_whitespace();
        if is_end {
            words.extend(word.take());
            continue;
        }
        let text = word.get_or_insert_default();
        match (letter, quote) {
            (_, Some(open)) if letter == open && braces == 0 => quote = None,
            ('\'' | '"', None) if braces == 0 => quote = Some(letter),
            _ => {
                braces = match letter {
                    '{' => braces + 1,
                    '}' => braces.saturating_sub(1),
                    _ => braces,
                };
                text.push(letter);
            }
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// What is wrong with the first word of a command: message, label and help.
fn bad_program(word: &str, is_alone: bool) -> Option<(String, &'static str, String)> {
    let parts: Vec<&str> = word.split_whitespace().collect();
    let is_shell = |text: &&str| text.starts_with(SHELL_SIGNS);
    let is_line = 1 < parts.len() && !word.contains('/');
    if is_alone && (is_line || parts.iter().skip(1).any(is_shell)) {
        // What only a shell does is left to one; everything else is given word by word.
        let words = match word.contains(['|', '>', '<', '&', ';', '$', '`']) {
            true => None,
            false => shell_words(word),
        };
        let mut words =
            words.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), word.to_owned()]);
        if let Some(program) = words.first_mut().filter(|program| !program.contains('/')) {
            program.insert_str(0, "/usr/bin/");
        }
        let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        return Some((
            format!("`{word}` is a command line, but no shell runs it"),
            "the program and its arguments are separate texts",
            format!("write `command {}`", quoted.join(" ")),
        ));
    }
    (!word.contains('/')).then(|| {
        (
            format!("`{word}` is not the path of a program"),
            "programs are not looked for in PATH",
            format!(
                "write where it is, such as \"/usr/bin/{word}\", or \"./{word}\" next to this file"
            ),
        )
    })
}

/// What is started.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProgramSettings {
    /// The program; the place is that of `command`.
    pub(crate) program: Spanned<PathBuf>,
    arguments: Vec<String>,
    variables: Vec<(String, Text)>,
    directory: PathBuf,
    memory: Option<u64>,
    user: Option<String>,
}

impl ProgramSettings {
    pub(crate) fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Self> {
        let command = fields.child("command")?;
        let words: Vec<Spanned<String>> = command.args().filter_map(|arg| arg.text()).collect();
        let (first, rest) = words.split_first()?;
        if let Some((message, label, help)) = bad_program(&first.value, rest.is_empty()) {
            let rule = Rule::WrongArgument;
            context.diagnostics.push(rule, message).at(first.span.clone(), label).help(help);
            return None;
        }
        let folder =
            std::path::absolute(fields.folder()).unwrap_or_else(|_| fields.folder().into());
        context.expect_file(&folder, first, "the program");
        let env = fields.child("env");
        let variables = env.iter().flat_map(Fields::props);
        let variables =
            variables.filter_map(|(name, it)| Some((name.to_owned(), Text::read(&it)?)));
        let directory = fields.child("directory").and_then(|child| child.arg(0)?.text());
        let memory = fields.child("memory").and_then(|child| child.arg(0)?.bytes());
        Some(ProgramSettings {
            program: first.clone().map(|it| folder.join(it)),
            arguments: rest.iter().map(|it| it.value.clone()).collect(),
            variables: variables.collect(),
            directory: directory
                .map_or_else(|| folder.clone(), |directory| folder.join(directory.value)),
            memory: memory.map(|memory| memory.value),
            user: fields.child("user").and_then(|child| Some(child.arg(0)?.text()?.value)),
        })
    }

    pub(crate) fn claim(&self) -> Spanned<Claim> {
        self.program.clone().map(Claim::Program)
    }

    pub(crate) fn needed(&self) -> Vec<Needed> {
        self.variables.iter().map(|variable| variable.1.needed()).collect()
    }

    /// Looks at what it takes from outside, and whether it can be started at all.
    pub(crate) fn open(&self, services: &Services) -> Result<OpenProgram, Fault> {
        let mut variables = Vec::new();
        for (name, text) in &self.variables {
            variables.push((name.clone(), resolve(&text.setting.value, services)?));
        }
        let mut account = None;
        if services.programs == Programs::Allowed {
            self.check()?;
            account = self.user.as_deref().map(Account::of).transpose()?;
        }
        let is_allowed = services.programs;
        Ok(OpenProgram { settings: self.clone(), variables, account, is_allowed })
    }

    fn check(&self) -> Result<(), Fault> {
        use std::os::unix::fs::PermissionsExt;
        let program = &self.program.value;
        let wrong = |reason: &str| Fault::permanent(format!("{}: {reason}", program.display()));
        let found = std::fs::metadata(program).map_err(|fault| wrong(&fault.to_string()))?;
        if !found.is_file() || found.permissions().mode() & 0o111 == 0 {
            return Err(wrong("it is not an executable file"));
        }
        if !self.directory.is_dir() {
            let shown = self.directory.display();
            return Err(Fault::permanent(format!("the directory {shown} does not exist")));
        }
        Ok(())
    }
}

/// A program that can be started.
#[derive(Clone)]
pub(crate) struct OpenProgram {
    settings: ProgramSettings,
    variables: Vec<(String, String)>,
    account: Option<Account>,
    is_allowed: Programs,
}

/// Whom a program runs as.
#[derive(Debug, Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// The account of this name, which only root may give away.
    fn of(name: &str) -> Result<Account, Fault> {
        let none = |reason: String| Fault::permanent(format!("`user {name}`: {reason}"));
        let text = std::fs::read_to_string("/etc/passwd")
            .map_err(|fault| none(format!("cannot read /etc/passwd: {fault}")))?;
        let account = Account::find(&text, name);
        let account = account.ok_or_else(|| none("there is no such user".to_owned()))?;
        let own = geteuid();
        if !own.is_root() && own.as_raw() != account.user {
            return Err(none(
                "only an engine that runs as root may start it as another".to_owned(),
            ));
        }
        Ok(account)
    }

    /// A line is `NAME:x:UID:GID:…` (passwd(5)).
    fn find(text: &str, name: &str) -> Option<Account> {
        let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let line = lines.find(|line| line.first() == Some(&name))?;
        Some(Account { user: line.get(2)?.parse().ok()?, group: line.get(3)?.parse().ok()? })
    }
}

impl OpenProgram {
    /// Whether a test answers for it.
    pub(crate) fn is_mocked(&self) -> bool {
        self.is_allowed == Programs::Mocked
    }

    /// Starts it; `has_input` where it gets something to read.
    pub(crate) fn start(&self, has_input: bool) -> Result<Program, Fault> {
        if self.is_allowed != Programs::Allowed {
            return Err(Fault::permanent("programs need `engine run --allow-exec`"));
        }
        let settings = &self.settings;
        let mut command = std::process::Command::new(&settings.program.value);
        command.args(&settings.arguments).current_dir(&settings.directory);
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.process_group(0);
        if let Some(account) = self.account.filter(|_| geteuid().is_root()) {
            // The groups of root go with it.
            command.uid(account.user).gid(account.group);
        }
        let mut command = Command::from(command);
        command.stdin(if has_input { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |error: std::io::Error| {
            let shown = settings.program.value.display();
            Fault::transient(Cause::Other, format!("cannot start {shown}: {error}"))
        };
        let mut child = command.spawn().map_err(failed)?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let (Some(group), Some(most)) = (group, settings.memory) {
            let limit = Rlimit { current: Some(most), maximum: Some(most) };
            // It has hardly begun: what it takes from here on counts.
            if prlimit(Some(group), Resource::As, limit).is_err() {
                let _killed = kill_process_group(group, Signal::KILL);
                return Err(Fault::permanent("the memory of a program cannot be limited here"));
            }
        }
        let input = child.stdin.take();
        let output = child.stdout.take().map(BufReader::new);
        let errors = child.stderr.take();
        let (Some(output), Some(errors)) = (output, errors) else {
            return Err(Fault::permanent("a program has no output"));
        };
        let tail = Arc::<Mutex<Vec<u8>>>::default();
        Ok(Program { child, group, input, output, errors: Some(errors), tail })
    }
}

/// A program that runs. Dropping it kills its process group.
pub(crate) struct Program {
    child: Child,
    group: Option<Pid>,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    errors: Option<ChildStderr>,
    /// The end of what it wrote as errors.
    tail: Arc<Mutex<Vec<u8>>>,
}

/// What reading a line came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ProgramLine {
    /// A line, without its end.
    Line(Vec<u8>),
    /// There are no more.
    End,
    /// It is longer than [`OUTPUT_MAX`].
    TooLong,
}

impl Program {
    /// Whether another whole line is here.
    pub(crate) fn has_line(&self) -> bool {
        self.output.buffer().contains(&b'\n')
    }

    /// Whether it runs and says nothing that nobody waits for.
    pub(crate) async fn is_silent(&mut self) -> bool {
        smol::future::poll_once(self.output.fill_buf()).await.is_none()
    }

    /// Runs `work` on its output and input while its errors are read, which must never fill up.
    async fn beside_errors<T>(
        errors: &mut Option<ChildStderr>,
        tail: &Mutex<Vec<u8>>,
        work: impl Future<Output = T>,
    ) -> T {
        let drain = async {
            let mut piece = [0; 4096];
            while let Some(stream) = errors {
                match stream.read(&mut piece).await {
                    Ok(0) | Err(_) => *errors = None,
                    Ok(count) => keep_end(tail, &piece[..count]),
                }
            }
            std::future::pending().await
        };
        smol::future::or(work, drain).await
    }

    /// The next line of its output.
    pub(crate) async fn line(&mut self) -> ProgramLine {
        let output = &mut self.output;
        let read = async {
            let mut line = Vec::new();
            loop {
                let Ok(piece) = output.fill_buf().await else { return ProgramLine::End };
                if piece.is_empty() {
                    // The last line of a program may have no end.
                    let has_rest = !line.is_empty();
                    return if has_rest { ProgramLine::Line(line) } else { ProgramLine::End };
                }
                let end = piece.iter().position(|it| *it == b'\n');
                let taken = end.map_or(piece.len(), |it| it + 1);
                line.extend_from_slice(&piece[..end.unwrap_or(piece.len())]);
                output.consume(taken);
                if OUTPUT_MAX < line.len() {
                    return ProgramLine::TooLong;
                }
                if end.is_some() {
                    return ProgramLine::Line(line);
                }
            }
        };
        Self::beside_errors(&mut self.errors, &self.tail, read).await
    }

    /// Writes to its input. An error is that it does not read any more.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let Some(input) = &mut self.input else {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        };
        let write = async {
            input.write_all(bytes).await?;
            input.flush().await
        };
        Self::beside_errors(&mut self.errors, &self.tail, write).await
    }

    /// Writes all of its input and reads all of its output; what it wrote, when it ended well.
    pub(crate) async fn run(mut self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        let (input, output) = (self.input.take(), &mut self.output);
        let write = async {
            if let Some(mut input) = input {
                // A program that needs no input may end before it has read any.
                input.write_all(bytes).await.ok();
                input.close().await.ok();
            }
        };
        let read = async {
            let mut text = Vec::new();
            let mut bounded = output.take(OUTPUT_MAX as u64 + 1);
            bounded.read_to_end(&mut text).await.ok();
            text
        };
        let both = async { smol::future::zip(write, read).await.1 };
        let text = Self::beside_errors(&mut self.errors, &self.tail, both).await;
        if OUTPUT_MAX < text.len() {
            return Err(Fault::permanent(format!(
                "the program wrote more than {OUTPUT_MAX} bytes and was ended"
            )));
        }
        match self.end().await {
            Ended::Well => Ok(text),
            Ended::Badly(fault) => Err(fault),
        }
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> Ended {
        let status = self.child.status();
        let status = Self::beside_errors(&mut self.errors, &self.tail, status).await;
        self.read_last_errors().await;
        match status {
            Ok(status) if status.success() => Ended::Well,
            Ok(status) => {
                let reason = format!("the program ended with {status}{}", self.said());
                // sysexits.h: the input or the way it was called is wrong, which stays so.
                let is_permanent = matches!(status.code(), Some(64 | 65));
                Ended::Badly(match is_permanent {
                    true => Fault::permanent(reason),
                    false => Fault::transient(Cause::Other, reason),
                })
            }
            Err(error) => Ended::Badly(Fault::transient(
                Cause::Other,
                format!("cannot read the program's exit status: {error}"),
            )),
        }
    }

    /// What it wrote as errors just before its end. Something that it has started may still hold
    /// the pipe, so this takes only what is there.
    async fn read_last_errors(&mut self) {
        let mut piece = [0; 4096];
        while let Some(errors) = &mut self.errors {
            match smol::future::poll_once(errors.read(&mut piece)).await {
                Some(Ok(count)) if 0 < count => keep_end(&self.tail, &piece[..count]),
                _ => self.errors = None,
            }
        }
    }

    /// Its end, once it says nothing any more. One that keeps running then is of no use.
    pub(crate) async fn ended(&mut self, services: &Services) -> Ended {
        let ended = within(&*services.env.clock, GRACE, self.end()).await;
        ended.unwrap_or_else(|| {
            let reason = "the program closed its output and kept running; it was ended";
            Ended::Badly(Fault::transient(Cause::Other, reason))
        })
    }

    /// The last thing that it wrote as an error, for the end of a sentence.
    pub(crate) fn said(&self) -> String {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&tail);
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        match last {
            "" => String::new(),
            last => format!(": {}", printable(last, 200)),
        }
    }

    /// Asks it to end, and kills it where it does not.
    pub(crate) async fn stop(mut self, services: &Services) {
        if let Some(group) = self.group {
            let _asked = kill_process_group(group, Signal::TERM);
        }
        self.input = None;
        let end = async { drop(self.end().await) };
        within(&*services.env.clock, GRACE, end).await;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // It may have left children behind, also where it has ended by itself.
            let _killed = kill_process_group(group, Signal::KILL);
        }
    }
}

/// How a program ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Ended {
    /// With 0.
    Well,
    /// With another status, or by a signal.
    Badly(Fault),
}

fn keep_end(tail: &Mutex<Vec<u8>>, more: &[u8]) {
    let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
    tail.extend_from_slice(more);
    let over = tail.len().saturating_sub(ERRORS_MAX);
    tail.drain(..over);
}

/// The event as one line of JSON, as it leaves the engine everywhere; it has no `pos` before it is
/// stored.
pub(crate) fn event_text(event: &Event, pipeline: &str) -> String {
    let it = &event.envelope;
    let text = json!({
        "seq": event.seq, "id": &*it.id, "type": &*it.kind, "source": &*it.source,
        "subject": &*it.subject, "time": it.time.to_string(), "received": it.received.to_string(),
        "priority": it.priority.word(), "correlation_id": it.correlation_id.as_deref(),
        "parent_id": it.parent_id.as_deref(), "pipeline": pipeline,
        "generation": event.generation, "data": &*event.data, "enrich": event.enrich.to_value(),
    });
    text.to_string()
}

/// What a test says that the program prints.
pub(crate) async fn mocked_output(
    services: &Services,
    input: String,
    key: Option<&str>,
    timeout: Duration,
) -> Result<Vec<u8>, Fault> {
    let key = key.map(|key| ("Idempotency-Key".to_owned(), key.to_owned()));
    let request = FetchRequest {
        method: "POST",
        url: "exec:".to_owned(),
        headers: key.into_iter().collect(),
        body: Some(input.into_bytes()),
        timeout,
        body_max: OUTPUT_MAX,
    };
    let answer = services.fetch.fetch(request).await?;
    answer::settled(&answer, services.env.clock.wall())?;
    Ok(answer.body)
}

/// The event as JSON with the texts of the notification, and the message that it changes, before
/// its own fields.
pub(crate) fn with_texts(event: &str, notice: &Notice) -> String {
    let text = |text: &str| Value::from(text).to_string();
    let (title, message) = (text(&notice.title), text(&notice.message));
    let update = notice.update.as_ref().map(|update| format!("\"update\":{},", update.shown()));
    let update = update.unwrap_or_default();
    let fields = event.trim_start().strip_prefix('{').unwrap_or("}");
    format!("{{\"title\":{title},\"message\":{message},{update}{fields}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_taken_apart_as_a_shell_would() {
        let check = |line: &str, expected: Option<&[&str]>| {
            let words = shell_words(line);
            let words = words.as_ref().map(|words| words.iter().map(String::as_str).collect());
            assert_eq!(words, expected.map(<[&str]>::to_vec), "{line}");
        };
        check("sh -c 'echo hi'", Some(&["sh", "-c", "echo hi"]));
        check(r#"a "b c"'d e' ''"#, Some(&["a", "b cd e", ""]));
        check("echo {{ data.a | upper }} x", Some(&["echo", "{{ data.a | upper }}", "x"]));
        check("echo 'no end", None);
        // What a shell is needed for is left to one.
        for line in ["echo hi | logger", "/bin/a -b > c", "a -b; c", "a -b && c", "echo $HOME"] {
            let (_, _, help) = bad_program(line, true).expect("a command line");
            assert_eq!(help, format!("write `command \"/bin/sh\" \"-c\" {line:?}`"));
        }
        assert!(bad_program("/opt/my program", true).is_none());
    }

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let text = "root:x:0:0:root:/root:/bin/sh\nnobody2:x:7:8::/:/bin/false\n\nbroken\n\
                    nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\n";
        let found = |name: &str| Account::find(text, name).map(|it| (it.user, it.group));
        assert_eq!(found("nobody"), Some((65534, 65533)));
        assert_eq!((found("nobod"), found("broken"), found("")), (None, None, None));
        let fault = Account::of("no-such-user-here").unwrap_err();
        assert!(fault.reason.contains("there is no such user"), "{}", fault.reason);
    }
}
