//! Writes each event as one line of JSON on standard output.

use crate::contract::{Deliver, DynDeliver, Kind, Outgoing, Services, SinkKind, SinkRole};
use kernel::fault::{Cause, Fault};
use language::{Context, Fields, NodeRow};
use std::io::Write;

/// The kind `stdout`.
pub(super) struct Stdout {
    services: Services,
}

impl Kind for Stdout {
    const WORD: &'static str = "stdout";
    const SUMMARY: &'static str = "writes each event as a line of JSON on standard output";
    const EXAMPLE: &'static str = "sink stdout seen";
    const NODES: &'static [&'static [NodeRow]] = &[];
    type Settings = ();

    fn read(_: &Fields<'_>, _: &mut Context<'_>) -> Option<()> {
        Some(())
    }
}

impl SinkKind for Stdout {
    fn shape((): &()) -> SinkRole {
        SinkRole::Outside
    }

    async fn open((): (), services: Services) -> Result<Box<dyn DynDeliver>, Fault> {
        Ok(Box::new(Stdout { services }))
    }
}

impl Deliver for Stdout {
    async fn deliver(&self, outgoing: &Outgoing) -> Result<(), Fault> {
        let line = super::file::line_of(outgoing, &self.services.pipeline, &[]);
        // One write for one line, so that lines of several sinks never mix.
        let write = move || {
            let mut out = std::io::stdout().lock();
            out.write_all(&line).and_then(|()| out.flush())
        };
        self.services.env.pools.outside.run(write).await?.map_err(|fault| {
            Fault::transient(Cause::Other, format!("cannot write to standard output: {fault}"))
        })
    }
}
