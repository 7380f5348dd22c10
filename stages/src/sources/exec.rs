//! Reads events from what a program prints.

use super::lines::{BATCH_MAX, DECODE, Decoding};
use crate::contract::{
    Brings, Claim, Closed, Emit, Kind, Message, MessageOrigin, OpenSource, Services, Source,
    SourceKind,
};
use crate::decode::LineDecoder;
use crate::process::{Ended, OpenProgram, PROGRAM, Program, ProgramLine, ProgramSettings};
use kernel::choice;
use kernel::choice::Choice;
use kernel::fault::{Cause, Fault};
use kernel::health::HealthProblem;
use language::spanned::Spanned;
use language::{Arg, Context, Fields, Needed, NodeRow, Scalar, ValueKind};
use std::sync::Arc;
use std::time::Duration;

/// Between two runs of a program that ends well.
const PAUSE: Duration = Duration::from_secs(1);

choice! {
    /// When a program that has ended is started again.
    enum Restart {
        /// Always.
        Always = "always",
        /// When it ended with an error.
        OnFailure = "on-failure",
        /// Never.
        Never = "never",
    }
}

const NODES: &[NodeRow] = &[
    DECODE,
    NodeRow::new(
        "restart",
        "when to restart the program after it has ended: after one second, and after a longer \
         wait after each further failure",
    )
    .examples(&["restart on-failure"])
    .args(&[Arg::one("when", ValueKind::Word(Restart::WORDS))])
    .default("always"),
];

/// The kind `exec`.
pub(super) struct ExecSource {
    program: OpenProgram,
    decoding: Decoding,
    restart: Restart,
    name: Arc<str>,
    services: Services,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ExecSourceSettings {
    program: ProgramSettings,
    decoding: Decoding,
    restart: Restart,
}

impl Kind for ExecSource {
    const WORD: &'static str = "exec";
    const SUMMARY: &'static str =
        "reads events from the lines that a program prints; needs `engine run --allow-exec`";
    const EXAMPLE: &'static str =
        r#"source exec meter { command "/usr/local/bin/read-meter" "--json"; type reading }"#;
    const NODES: &'static [&'static [NodeRow]] = &[PROGRAM, NODES];
    type Settings = ExecSourceSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<ExecSourceSettings> {
        let program = ProgramSettings::read(fields, context);
        let decoding = Decoding::read(fields, context)?;
        let restart = fields.setting("restart").arg(0, Scalar::choice);
        Some(ExecSourceSettings { program: program?, decoding, restart })
    }

    fn needed(settings: &ExecSourceSettings) -> Vec<Needed> {
        settings.program.needed()
    }

    fn claims(settings: &ExecSourceSettings) -> Vec<Spanned<Claim>> {
        vec![settings.program.claim()]
    }
}

impl SourceKind for ExecSource {
    fn brings(settings: &ExecSourceSettings) -> Brings {
        settings.decoding.brings()
    }

    fn decoder(settings: &ExecSourceSettings) -> Option<&LineDecoder> {
        settings.decoding.decoder.as_deref()
    }

    fn ends(settings: &ExecSourceSettings) -> bool {
        settings.restart != Restart::Always
    }

    async fn open(settings: ExecSourceSettings, services: Services) -> Result<OpenSource, Fault> {
        let name = settings.program.program.value.display().to_string().into();
        Ok(OpenSource::Task(Box::new(ExecSource {
            program: settings.program.open(&services)?,
            decoding: settings.decoding,
            restart: settings.restart,
            name,
            services,
        })))
    }
}

impl Source for ExecSource {
    /// A fault that this returns starts the program again, later each time.
    async fn run(&mut self, emit: &dyn Emit) -> Result<(), Fault> {
        loop {
            let ended = match self.once(emit).await {
                Ok(ended) => ended,
                Err(Closed) => return Ok(()),
            };
            match (ended, self.restart) {
                (Ended::Well, Restart::Always) => {
                    let pause = async {
                        self.services.env.clock.sleep(PAUSE).await;
                        false
                    };
                    let closed = async {
                        emit.closed().await;
                        true
                    };
                    if smol::future::or(closed, pause).await {
                        return Ok(());
                    }
                }
                (Ended::Well, _) => return Ok(()),
                (Ended::Badly(fault), Restart::Never) => {
                    let problem = HealthProblem::failed("exited", fault.reason);
                    self.services.health.report(problem.advise("correct the program, then reload"));
                    return Ok(());
                }
                (Ended::Badly(fault), _) => return Err(fault),
            }
        }
    }
}

impl ExecSource {
    /// One run of the program, up to its end.
    async fn once(&self, emit: &dyn Emit) -> Result<Ended, Closed> {
        let mut program = match self.program.start(false) {
            Ok(program) => program,
            Err(fault) => return Ok(Ended::Badly(fault)),
        };
        if !self.decoding.codec.is_by_line() {
            return self.whole(program, emit).await;
        }
        let mut number = 0;
        loop {
            let next = async { Some(self.batch(&mut program, &mut number).await) };
            let closed = async {
                emit.closed().await;
                None
            };
            let Some((messages, end)) = smol::future::or(next, closed).await else {
                program.stop(&self.services).await;
                return Err(Closed);
            };
            if !messages.is_empty() {
                emit.emit(messages, Vec::new()).await?;
            }
            match end {
                None => {}
                Some(ProgramLine::TooLong) => {
                    let reason = "the program printed a line of more than 1MiB and was ended";
                    return Ok(Ended::Badly(Fault::transient(Cause::Other, reason)));
                }
                Some(_) => return Ok(program.ended(&self.services).await),
            }
        }
    }

    /// One run of a program of which everything that it prints is one message.
    async fn whole(&self, program: Program, emit: &dyn Emit) -> Result<Ended, Closed> {
        let run = async { Some(program.run(b"").await) };
        let closed = async {
            emit.closed().await;
            None
        };
        let Some(printed) = smol::future::or(run, closed).await else { return Err(Closed) };
        let printed = match printed {
            Ok(printed) => printed,
            Err(fault) => return Ok(Ended::Badly(fault)),
        };
        if let Some(mut message) = self.decoding.codec.message(&printed, false) {
            let origin = MessageOrigin { name: self.name.clone(), line: None, offset: 0 };
            message.origin = Some(origin);
            emit.emit(vec![message], Vec::new()).await?;
        }
        Ok(Ended::Well)
    }

    /// The lines that are there, at least one; and what ends them. Nothing is lost where this is
    /// dropped: that happens only when the program is stopped.
    async fn batch(
        &self,
        program: &mut Program,
        number: &mut u64,
    ) -> (Vec<Message>, Option<ProgramLine>) {
        let mut messages = Vec::new();
        loop {
            let line = match program.line().await {
                ProgramLine::Line(line) => line,
                end => return (messages, Some(end)),
            };
            *number += 1;
            let is_header = self.decoding.has_header && *number == 1;
            if let Some(mut message) = self.decoding.codec.message(&line, false)
                && !is_header
            {
                let (name, line) = (self.name.clone(), Some(*number));
                message.origin = Some(MessageOrigin { name, line, offset: 0 });
                messages.push(message);
            }
            if BATCH_MAX <= messages.len() || !(messages.is_empty() || program.has_line()) {
                return (messages, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Inbox};
    use kernel::env::Env;

    /// On a real clock: programs take real time.
    fn services() -> Services {
        Services { env: Env::system(), ..testing::alone() }
    }

    /// What a script comes to, and the bodies that it brought.
    fn run(script: &str, more: &str) -> (Result<(), Fault>, Vec<String>) {
        let text = format!("command \"/bin/sh\" \"-c\" #\"{script}\"#\ndirectory \"/\"\n{more}");
        let opened =
            smol::block_on(ExecSource::open(testing::settings::<ExecSource>(&text), services()));
        let Ok(OpenSource::Task(mut source)) = opened else { panic!("it runs by itself") };
        let inbox = Inbox::open();
        let ended = smol::block_on(source.run(&inbox));
        (ended, inbox.bodies())
    }

    #[test]
    fn each_line_is_a_message_also_the_last_one_without_an_end() {
        let script = r#"printf "{\"n\":1}\n\n{\"n\":2}\n{\"n\":3}""#;
        let (ended, bodies) = run(script, "restart never");
        assert_eq!((ended, bodies.len()), (Ok(()), 3));
        assert_eq!(bodies, [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]);
    }

    #[test]
    fn a_program_that_fails_is_a_fault_after_what_it_brought() {
        let (ended, bodies) = run("echo 1; echo oh no >&2; exit 4", "restart on-failure");
        let fault = ended.unwrap_err();
        assert!(
            fault.is_transient() && fault.reason.contains("exit status: 4: oh no"),
            "{fault:?}"
        );
        assert_eq!(bodies, ["1"]);
        let (ended, _) = run("exec /usr/bin/head -c 2000000 /dev/zero", "restart on-failure");
        assert!(ended.unwrap_err().reason.contains("more than 1MiB"));
    }

    #[test]
    fn all_that_a_program_prints_may_be_one_message() {
        let script = r#"printf "{\n \"n\": 1\n}\n""#;
        let (ended, bodies) = run(script, "restart never\ndecode json");
        assert_eq!((ended, bodies.len()), (Ok(()), 1));
        assert!(bodies[0].starts_with("{\n"), "{bodies:?}");
        let (ended, bodies) = run("printf 1; exit 9", "restart on-failure\ndecode json");
        assert!(ended.unwrap_err().reason.contains("exit status: 9"));
        assert!(bodies.is_empty(), "half of something is nothing");
    }
}
