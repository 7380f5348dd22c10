//! Starts a program for each notification.

use crate::contract::{Claim, DynNotify, Kind, NoUpdate, Notice, Notify, NotifyKind, Services};
use crate::process::{OpenProgram, PROGRAM, ProgramSettings, mocked_output, with_texts};
use kernel::fault::Fault;
use language::spanned::Spanned;
use language::{Context, Fields, Needed, NodeRow};
use store::write_event;

/// The kind `exec`.
pub(super) struct ExecNotifier {
    program: OpenProgram,
    services: Services,
}

impl Kind for ExecNotifier {
    const WORD: &'static str = "exec";
    const SUMMARY: &'static str = "starts a program with the event, the title and the message as JSON on its standard \
                                   input; needs `engine run --allow-exec`";
    const EXAMPLE: &'static str = r#"notify exec deploy { command "/usr/local/bin/deploy" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[PROGRAM];
    type Settings = ProgramSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<ProgramSettings> {
        ProgramSettings::read(fields, context)
    }

    fn needed(settings: &ProgramSettings) -> Vec<Needed> {
        settings.needed()
    }

    fn claims(settings: &ProgramSettings) -> Vec<Spanned<Claim>> {
        vec![settings.claim()]
    }
}

impl NotifyKind for ExecNotifier {
    fn is_remote(_: &ProgramSettings) -> bool {
        true
    }

    fn no_update(_: &ProgramSettings) -> Option<NoUpdate> {
        None
    }

    fn sends_event(_: &ProgramSettings) -> bool {
        true
    }

    async fn open(
        settings: ProgramSettings,
        services: Services,
    ) -> Result<Box<dyn DynNotify>, Fault> {
        Ok(Box::new(ExecNotifier { program: settings.open(&services)?, services }))
    }
}

impl Notify for ExecNotifier {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        let mut event = String::new();
        write_event(&mut event, &notice.outgoing.stored, &self.services.pipeline);
        let input = with_texts(&event, notice);
        if self.program.is_mocked() {
            let (key, timeout) = (&notice.outgoing.key, notice.outgoing.timeout);
            return mocked_output(&self.services, input, Some(key), timeout).await.map(drop);
        }
        self.program.start(true)?.run(input.as_bytes()).await.map(drop)
    }
}
