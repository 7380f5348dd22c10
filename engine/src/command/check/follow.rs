//! `--watch`: the check again whenever something that it read has changed.

use super::{CheckArgs, Round};
use crate::terminal;
use crate::watch::Watch;
use kernel::env::SystemClock;
use std::io::IsTerminal;

/// Clears a terminal and begins at its top.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Checks until nobody reads the results any more; the exit code.
pub(super) fn follow(args: &CheckArgs) -> u8 {
    let clock = SystemClock::default();
    let mut watch = Watch::new();
    // Followed before they are read, so that no change falls between the two.
    watch.follow(&args.paths.iter().cloned().collect());
    let mut before = None;
    loop {
        let round = Round::of(args);
        watch.follow(&round.seen);
        // Hints are no changes: what was read decides.
        let now = (round.hashes.clone(), round.unread.clone());
        if before.as_ref() != Some(&now) {
            if std::io::stdout().is_terminal() {
                terminal::to_output(CLEAR);
            }
            if !round.show(args) {
                return round.exit_code(args);
            }
            before = Some(now);
        }
        smol::block_on(watch.changed(&clock));
    }
}
