//! Asks a program on this machine about an event.

use crate::contract::{Addition, Claim, DynRemote, EnrichKind, Enricher, Kind, Remote, Services};
use crate::process::{
    Ended, OpenProgram, PROGRAM, Program, ProgramLine, ProgramSettings, event_text, mocked_output,
};
use kernel::choice;
use kernel::choice::Choice;
use kernel::decode::{self, Unreadable};
use kernel::event::Event;
use kernel::fault::{Cause, Fault};
use language::spanned::Spanned;
use language::{Arg, Context, Fields, Needed, NodeRow, Scalar, ValueKind};
use serde_json::Value;
use smol::lock::{Semaphore, SemaphoreGuard};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The shortest time between two starts of a program that keeps ending at once.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

choice! {
    /// How a program is asked.
    enum ExecEnrichProtocol {
        /// It keeps running and answers line by line.
        Lines = "jsonl",
        /// It is started for each event.
        Once = "oneshot",
    }
}

const NODES: &[NodeRow] = &[
    NodeRow::new(
        "protocol",
        "how the program is called: `jsonl` keeps it running and exchanges one line of JSON for \
         each event, `oneshot` starts it for each event, with the event on its standard input",
    )
    .examples(&["protocol jsonl", "protocol oneshot"])
    .args(&[Arg::one("protocol", ValueKind::Word(ExecEnrichProtocol::WORDS))])
    .default("jsonl"),
    NodeRow::new("workers", "how many of the program run at once")
        .examples(&["workers 2"])
        .args(&[Arg::one("programs", ValueKind::Int(1, 64))])
        .default("1"),
];

/// The kind `exec`.
pub(super) struct ExecEnricher {
    program: OpenProgram,
    protocol: ExecEnrichProtocol,
    /// A permit for each program that may run.
    slots: Semaphore,
    /// Programs that wait for an event.
    idle: Mutex<Vec<Program>>,
    /// When one was started that ended before it answered.
    failed: Mutex<Option<Duration>>,
    services: Services,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ExecEnrichSettings {
    program: ProgramSettings,
    protocol: ExecEnrichProtocol,
    workers: usize,
}

impl Kind for ExecEnricher {
    const WORD: &'static str = "exec";
    const SUMMARY: &'static str = "sends the event to a program and adds the JSON that it prints; needs `engine run --allow-exec`";
    const EXAMPLE: &'static str = r#"enrich exec plate { command "/usr/local/bin/read-plate" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[PROGRAM, NODES];
    type Settings = ExecEnrichSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<ExecEnrichSettings> {
        let count = |scalar: &Scalar<'_>| usize::try_from(scalar.int()?.value).ok();
        Some(ExecEnrichSettings {
            program: ProgramSettings::read(fields, context)?,
            protocol: fields.setting("protocol").arg(0, Scalar::choice),
            workers: fields.setting("workers").arg(0, count),
        })
    }

    fn needed(settings: &ExecEnrichSettings) -> Vec<Needed> {
        settings.program.needed()
    }

    fn claims(settings: &ExecEnrichSettings) -> Vec<Spanned<Claim>> {
        vec![settings.program.claim()]
    }
}

impl EnrichKind for ExecEnricher {
    const IS_REMOTE: bool = true;

    async fn open(settings: ExecEnrichSettings, services: Services) -> Result<Enricher, Fault> {
        let exec = ExecEnricher {
            program: settings.program.open(&services)?,
            protocol: settings.protocol,
            slots: Semaphore::new(settings.workers),
            idle: Mutex::default(),
            failed: Mutex::default(),
            services,
        };
        let remote: Box<dyn DynRemote> = Box::new(exec);
        Ok(Enricher::Remote(remote))
    }
}

impl Remote for ExecEnricher {
    /// An exchange that is dropped half-way ends its program: what it would say next belongs to
    /// nobody.
    async fn enrich(&self, event: &Event, timeout: Duration) -> Result<Addition, Fault> {
        let mut question = event_text(event, &self.services.pipeline);
        let answer = if self.program.is_mocked() {
            mocked_output(&self.services, question, None, timeout).await?
        } else {
            let _slot: SemaphoreGuard<'_> = self.slots.acquire().await;
            match self.protocol {
                ExecEnrichProtocol::Once => {
                    self.program.start(true)?.run(question.as_bytes()).await?
                }
                ExecEnrichProtocol::Lines => {
                    question.push('\n');
                    self.exchange(&question).await?
                }
            }
        };
        addition(&answer)
    }
}

impl ExecEnricher {
    async fn exchange(&self, question: &str) -> Result<Vec<u8>, Fault> {
        let mut worker = self.worker().await?;
        let began = self.services.env.clock.monotonic();
        let written = worker.write(question.as_bytes()).await;
        let line = match written {
            Ok(()) => worker.line().await,
            Err(_) => ProgramLine::End,
        };
        match line {
            ProgramLine::Line(line) => {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
                Ok(line)
            }
            ProgramLine::TooLong => {
                Err(Fault::permanent("the program wrote a line of more than 1MiB and was ended"))
            }
            ProgramLine::End => {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
                Err(match worker.ended(&self.services).await {
                    Ended::Badly(fault) => fault,
                    Ended::Well => {
                        let said = worker.said();
                        let reason = format!("the program ended without an answer{said}");
                        Fault::transient(Cause::Other, reason)
                    }
                })
            }
        }
    }

    /// One that waits, or a new one. What has said something unasked would answer one question too
    /// late from then on, so it is ended.
    async fn worker(&self) -> Result<Program, Fault> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(mut worker) => {
                    if worker.is_silent().await {
                        return Ok(worker);
                    }
                }
                None => break,
            }
        }
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = failed {
            let clock = &self.services.env.clock;
            let passed = clock.monotonic().saturating_sub(failed);
            clock.sleep(RESTART_PAUSE.saturating_sub(passed)).await;
        }
        self.program.start(true)
    }
}

/// What a program has printed, as the value of the stage; nothing, where it prints `null`.
fn addition(answer: &[u8]) -> Result<Addition, Fault> {
    match decode::parse(answer.trim_ascii()) {
        Ok(Value::Null) => Ok(Addition::Nothing),
        Ok(value) => Ok(Addition::Value(value)),
        Err(Unreadable::NotJson(reason) | Unreadable::Refused(reason)) => {
            Err(Fault::permanent(format!("the output of the program is not JSON: {reason}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Programs;
    use crate::testing::{self, FakeFetch};
    use kernel::env::Env;
    use serde_json::json;

    /// On a real clock: programs take real time.
    fn services() -> Services {
        Services { env: Env::system(), ..testing::alone() }
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    fn open_with(text: &str, services: Services) -> Result<Box<dyn DynRemote>, Fault> {
        match smol::block_on(ExecEnricher::open(testing::settings::<ExecEnricher>(text), services))?
        {
            Enricher::Remote(remote) => Ok(remote),
            _ => panic!("it is remote"),
        }
    }

    /// A stage that runs a script.
    fn open(script: &str, more: &str) -> Box<dyn DynRemote> {
        let text = format!("command \"/bin/sh\" \"-c\" #\"{script}\"#\ndirectory \"/\"\n{more}");
        open_with(&text, services()).expect("it can be started")
    }

    fn ask(stage: &dyn DynRemote) -> Result<Value, Fault> {
        let event = testing::event(json!({ "n": 7 }));
        match smol::block_on(stage.enrich(&event, PATIENCE))? {
            Addition::Value(value) => Ok(value),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn fails(script: &str, more: &str, is_transient: bool, told: &str) {
        let fault = ask(&*open(script, more)).unwrap_err();
        assert_eq!(fault.is_transient(), is_transient, "{}", fault.reason);
        assert!(fault.reason.contains(told), "{}", fault.reason);
    }

    #[test]
    fn a_program_that_keeps_running_answers_line_by_line() {
        let stage = open(r#"while read -r line; do echo "{ \"pid\": $$ }"; done"#, "");
        let first = ask(&*stage).unwrap();
        assert_eq!(ask(&*stage).unwrap(), first, "it is the same program");
    }

    #[test]
    fn a_program_for_each_event_reads_it_and_sees_only_what_the_file_names() {
        let stage = open("cat", "protocol oneshot\nenv PATH=\"/usr/bin:/bin\"");
        let event = ask(&*stage).unwrap();
        assert_eq!((&event["data"], &event["pipeline"]), (&json!({ "n": 7 }), &json!("door")));
        let script = r#"echo "{ \"home\": \"$HOME\", \"x\": \"$X\", \"at\": \"$(pwd)\" }""#;
        let stage = open(script, "protocol oneshot\nenv X=(env)\"TOKEN\"");
        assert_eq!(ask(&*stage).unwrap(), json!({ "home": "", "x": "t0k", "at": "/" }));
    }

    #[test]
    fn what_goes_wrong_with_a_program_is_said_with_its_own_last_words() {
        for protocol in ["protocol oneshot", "protocol jsonl"] {
            let script = "echo first >&2; echo broken >&2; exit 3";
            fails(script, protocol, true, "exit status: 3: broken");
            fails("exit 65", protocol, false, "exit status: 65");
            fails("kill -9 $$", protocol, true, "signal: 9");
            fails("read -r line; echo no", protocol, false, "is not JSON");
            fails(
                "exec /usr/bin/yes aaaaaaaaaaaaaaaaaaaaaaaaaa | tr -d '\\n'",
                protocol,
                false,
                "",
            );
        }
        fails("read -r line", "protocol jsonl", true, "ended without an answer");
    }

    #[test]
    fn an_answer_that_nobody_waited_for_belongs_to_no_event() {
        let stage = open(
            r#"while read -r line; do printf "{ \"pid\": $$ }\n{ \"late\": true }\n"; done"#,
            "",
        );
        let (first, second) = (ask(&*stage).unwrap(), ask(&*stage).unwrap());
        assert!(second["late"].is_null() && second != first, "{first} {second}");
    }

    /// Whether a process is gone, or waits for its parent to notice.
    fn is_over(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z"))
    }

    #[test]
    fn an_exchange_that_is_dropped_ends_its_program_and_what_that_started() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pids");
        let script = format!("/bin/sleep 1000 & echo \"$$ $!\" > {}; wait", path.display());
        for protocol in ["protocol jsonl", "protocol oneshot"] {
            let stage = open(&script, protocol);
            let event = testing::event(json!({}));
            let pids = smol::block_on(async {
                let mut exchange = stage.enrich(&event, PATIENCE);
                loop {
                    assert!(smol::future::poll_once(&mut exchange).await.is_none());
                    match std::fs::read_to_string(&path) {
                        Ok(text) if text.ends_with('\n') => return text,
                        _ => smol::future::yield_now().await,
                    }
                }
            });
            for pid in pids.split_whitespace() {
                while !is_over(pid) {
                    std::thread::yield_now();
                }
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_program_may_run_as_somebody_with_less_rights_and_less_memory() {
        let who = r#"echo "[ $(/usr/bin/id -u), $(/usr/bin/id -G | /usr/bin/wc -w) ]""#;
        let stage = |more: &str| {
            let text = format!("command \"/bin/sh\" \"-c\" #\"{who}\"#\ndirectory \"/\"\n{more}");
            open_with(&text, services())
        };
        let is_root = rustix::process::geteuid().is_root();
        match stage("protocol oneshot\nuser nobody") {
            Ok(stage) => assert_eq!(ask(&*stage).unwrap(), json!([65534, 1])),
            Err(fault) => {
                assert!(!is_root && fault.reason.contains("only an engine that runs as root"))
            }
        }
        let greedy =
            "x=$(/usr/bin/head -c 200000000 /dev/zero | /usr/bin/tr '\\000' a); echo ${#x}";
        let limited = ask(&*open(greedy, "protocol oneshot\nmemory \"64MiB\"")).unwrap_err();
        assert!(limited.reason.contains("the program ended with"), "{}", limited.reason);
    }

    #[test]
    fn nothing_is_started_without_permission_and_a_test_answers_instead() {
        let text = "command \"/nowhere/at-all\"";
        let refused = Services { programs: Programs::Refused, ..testing::alone() };
        let stage = open_with(text, refused).expect("it is only opened");
        assert!(ask(&*stage).unwrap_err().reason.contains("--allow-exec"));
        let fetch = FakeFetch::answering(200, &[], "{ \"plate\": \"B-42\" }");
        let mocked = Services { programs: Programs::Mocked, ..testing::services(fetch) };
        assert_eq!(ask(&*open_with(text, mocked).unwrap()).unwrap(), json!({ "plate": "B-42" }));
        let fault = open_with(text, testing::alone()).err().expect("there is no such program");
        assert!(fault.reason.contains("/nowhere/at-all"), "{}", fault.reason);
        let found = testing::findings::<ExecEnricher>("command \"read-plate\"");
        assert_eq!(found, ["E0016 `read-plate` is not the path of a program"]);
    }
}
