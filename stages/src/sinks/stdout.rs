//! Writes each event as one line of JSON on standard output.

use crate::contract::{Deliver, DynDeliver, Kind, Outgoing, Services, SinkKind, SinkRole};
use kernel::fault::{Cause, Fault};
use language::{Context, Fields, NodeRow};
use std::io::{ErrorKind, Write};

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
        self.services.env.pools.outside.run(write).await?.map_err(|fault| fault_of(&fault))
    }
}

/// Who read it and is gone never comes back.
fn fault_of(fault: &std::io::Error) -> Fault {
    match fault.kind() {
        ErrorKind::BrokenPipe => {
            Fault::permanent("cannot write to standard output: its reader has closed it")
        }
        _ => Fault::transient(Cause::Other, format!("cannot write to standard output: {fault}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::fault::FaultClass;

    #[test]
    fn a_pipe_whose_reader_is_gone_is_not_tried_again() {
        let class = |kind: ErrorKind| fault_of(&kind.into()).class;
        assert_eq!(class(ErrorKind::BrokenPipe), FaultClass::Permanent);
        assert_eq!(class(ErrorKind::StorageFull), FaultClass::Transient);
    }
}
