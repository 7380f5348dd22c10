//! What a start needs of the system: asked for at once, and given back.
//!
//! Below us threads and descriptors are taken as given, and a library that does not get one aborts
//! the process. So it is found out first, where it can still be said.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io;

/// Threads besides those that run tasks: the writer, the reactor, the watch, and one of each pool.
const THREADS: usize = 7;
/// Threads that run tasks; with fewer than there are cores an engine is only slower.
const EXECUTORS: usize = 2;
/// Descriptors: the store's, the listener, the reactor, the watch, signals, and some clients.
const DESCRIPTORS: usize = 32;

/// Whether the system gives what an engine needs to start; if not, what to raise.
pub(crate) fn ensure(cores: usize) -> Result<(), String> {
    raise_descriptors();
    ensure_threads(cores.min(EXECUTORS) + THREADS)?;
    ensure_descriptors(DESCRIPTORS)
}

/// Takes as many open files as the system allows without asking: the usual limit of 1,024 is for
/// programs that call `select`, and each client of a stream needs one.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Without it there are as many as before.
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).ok();
    }
}

fn ensure_threads(count: usize) -> Result<(), String> {
    let (held, end) = async_channel::bounded::<()>(1);
    let mut threads = Vec::with_capacity(count);
    let mut refused = None;
    while threads.len() < count && refused.is_none() {
        let end = end.clone();
        let thread = std::thread::Builder::new().name("probe".to_owned());
        match thread.spawn(move || end.recv_blocking().is_ok()) {
            Ok(thread) => threads.push(thread),
            Err(fault) => refused = Some(fault),
        }
    }
    let given = threads.len();
    drop(held);
    threads.into_iter().for_each(|thread| drop(thread.join()));
    refused.map_or(Ok(()), |fault| {
        Err(format!(
            "the system provides only {given} of the {count} threads needed at startup: {fault}; raise \
             the limit of processes (ulimit -u, or TasksMax of the service)"
        ))
    })
}

fn ensure_descriptors(count: usize) -> Result<(), String> {
    let mut files = Vec::with_capacity(count);
    for given in 0..count {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            // There is none in some cages, which says nothing about how many there may be.
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(fault) => {
                return Err(format!(
                    "the system provides only {given} of the {count} open files needed at startup: \
                     {fault}; raise the limit (ulimit -n, or LimitNOFILE of the service)"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_given_back() {
        for _ in 0..100 {
            ensure(2).unwrap();
        }
    }
}
