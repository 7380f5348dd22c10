//! Addresses of names. The system resolves them, on a thread that it may hold for long.
//!
//! *Invariant:* one name holds one thread, however many calls ask for it and give up: a lookup
//! belongs to its name, and calls only wait for its result.

use super::problem::name_fault;
use event_listener::Event;
use kernel::env::{Clock, Env, ThreadPool};
use kernel::fault::Fault;
use smol::lock::Semaphore;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Names looked up at a time: fewer than the threads for the outside, which others need too.
const LOOKUPS_MAX: usize = 32;

/// A lookup that takes longer than this is not waited for by later calls; they begin another.
/// Resolvers give up much earlier, so a second thread for a name is the exception.
const LOOKUP_OLD: Duration = Duration::from_secs(60);

/// Addresses of one name that are tried, so that a name with hundreds of them costs no more.
const ADDRESSES_MAX: usize = 8;

/// Asks the system; blocks.
pub(super) type SystemLookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Resolves names, each at most once at a time. Nothing is remembered: connections are kept, so
/// a lookup is rare, and a changed record counts at once.
pub(super) struct NameResolver {
    threads: Arc<ThreadPool>,
    clock: Arc<dyn Clock>,
    permits: Arc<Semaphore>,
    system: Arc<SystemLookup>,
    under_way: Arc<Lookups>,
}

#[derive(Default)]
struct Lookups(Mutex<HashMap<String, Arc<NameLookup>>>);

struct NameLookup {
    began: Duration,
    /// `None` inside when the work was dropped before a thread took it.
    result: OnceLock<Option<Result<Vec<IpAddr>, String>>>,
    ended: Event,
}

/// Whoever holds it does the lookup. Dropped in any way, it ends the lookup for all who wait.
struct LookupWork {
    name: String,
    lookup: Arc<NameLookup>,
    under_way: Arc<Lookups>,
}

impl NameResolver {
    pub(super) fn new(env: &Env) -> Self {
        NameResolver::with(env, Arc::new(ask_system))
    }

    pub(super) fn with(env: &Env, system: Arc<SystemLookup>) -> Self {
        NameResolver {
            threads: env.pools.outside.clone(),
            clock: env.clock.clone(),
            permits: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            system,
            under_way: Arc::default(),
        }
    }

    /// The addresses of `name` in the order in which to try them; at least one.
    pub(super) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Fault> {
        loop {
            let (lookup, work) = self.under_way.join(name, self.clock.monotonic());
            let ended = lookup.ended.listen();
            match work {
                Some(work) => self.look_up(work).await?,
                None if lookup.result.get().is_none() => ended.await,
                None => {}
            }
            match lookup.result.get() {
                Some(Some(Ok(addresses))) => return in_turns(addresses),
                Some(Some(Err(words))) => return Err(name_fault(words)),
                Some(None) | None => {}
            }
        }
    }

    async fn look_up(&self, work: LookupWork) -> Result<(), Fault> {
        let permit = self.permits.acquire_arc().await;
        let system = self.system.clone();
        let job = move || {
            let _permit = permit;
            let result = system(&work.name).map_err(|fault| fault.to_string());
            work.lookup.result.set(Some(result)).ok();
        };
        Ok(self.threads.run(job).await?)
    }
}

impl Lookups {
    /// The lookup of `name` that is under way, or a new one with the work to do.
    fn join(self: &Arc<Self>, name: &str, now: Duration) -> (Arc<NameLookup>, Option<LookupWork>) {
        let mut names = self.lock();
        if let Some(lookup) = names.get(name).filter(|name| now < name.began + LOOKUP_OLD) {
            return (lookup.clone(), None);
        }
        let (result, ended) = (OnceLock::new(), Event::new());
        let lookup = Arc::new(NameLookup { began: now, result, ended });
        names.insert(name.to_owned(), lookup.clone());
        let work =
            LookupWork { name: name.to_owned(), lookup: lookup.clone(), under_way: self.clone() };
        (lookup, Some(work))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<NameLookup>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LookupWork {
    fn drop(&mut self) {
        let mut names = self.under_way.lock();
        if names.get(&self.name).is_some_and(|lookup| Arc::ptr_eq(lookup, &self.lookup)) {
            names.remove(&self.name);
        }
        drop(names);
        // For a call that has joined and does not listen yet.
        self.lookup.result.set(None).ok();
        self.lookup.ended.notify(usize::MAX);
    }
}

fn ask_system(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// One address of each family in turns, beginning with the one that the system put first: if one
/// family leads nowhere, the other comes next.
fn in_turns(addresses: &[IpAddr]) -> Result<Vec<IpAddr>, Fault> {
    let Some(first) = addresses.first() else {
        return Err(name_fault("it has no address"));
    };
    let (same, other): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().partition(|address| address.is_ipv4() == first.is_ipv4());
    let mut ordered = Vec::with_capacity(ADDRESSES_MAX);
    for index in 0..same.len().max(other.len()) {
        for address in [same.get(index), other.get(index)].into_iter().flatten() {
            if ordered.len() < ADDRESSES_MAX && !ordered.contains(address) {
                ordered.push(*address);
            }
        }
    }
    Ok(ordered)
}
