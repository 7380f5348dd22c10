//! Threads that may block: a limited number of them for one purpose, so that work which hangs
//! holds up its own kind and nothing else.

use smol::lock::Semaphore;
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A thread without work ends after this.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// Threads for one purpose. Dropping the pool ends its idle threads; work under way runs to its end.
pub struct ThreadPool {
    name: &'static str,
    /// `None` where work is done by the thread that asks for it.
    threads: Option<PoolThreads>,
}

struct PoolThreads {
    limit: usize,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    shared: Arc<PoolShared>,
}

#[derive(Default)]
struct PoolShared {
    queue: Mutex<Queue>,
    woken: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    is_closed: bool,
}

type Job = Box<dyn FnOnce() + Send>;
type Outcome<T> = Result<T, Box<dyn Any + Send>>;

/// The system gave the pool no thread.
#[derive(Debug)]
pub struct NoThread(std::io::Error);

impl fmt::Display for NoThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the system cannot create a thread: {}", self.0)
    }
}

impl From<NoThread> for std::io::Error {
    fn from(fault: NoThread) -> Self {
        std::io::Error::other(fault.to_string())
    }
}

/// How a pool is used at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Most threads.
    pub limit: usize,
    /// Threads at work.
    pub busy: usize,
    /// Work that waits for a thread.
    pub waiting: usize,
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ThreadPool {
    /// At most `limit` threads, which are started when there is work for them.
    pub fn new(name: &'static str, limit: usize) -> Self {
        assert!(0 < limit, "a pool without threads would wait forever");
        let threads = PoolThreads {
            limit,
            permits: Arc::new(Semaphore::new(limit)),
            waiting: AtomicUsize::new(0),
            shared: Arc::default(),
        };
        ThreadPool { name, threads: Some(threads) }
    }

    /// Work is done on the spot, by the thread that asks for it: for a world of one thread, where
    /// nothing may happen behind its back.
    pub fn inline(name: &'static str) -> Self {
        ThreadPool { name, threads: None }
    }

    /// What the pool is for.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How the pool is used now; `None` for one without threads of its own.
    pub fn usage(&self) -> Option<PoolUse> {
        let threads = self.threads.as_ref()?;
        let queue = threads.shared.lock();
        let (busy, waiting) = (queue.threads - queue.idle, threads.waiting.load(Ordering::Relaxed));
        Some(PoolUse { limit: threads.limit, busy, waiting })
    }

    /// Runs `work` on a thread of the pool, as soon as one is free.
    ///
    /// When the returned future is dropped, work that has not begun never will, and what it holds
    /// is dropped; work that has begun runs to its end, and its outcome is dropped. A panic of
    /// `work` goes on in the caller.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoThread> {
        let Some(threads) = &self.threads else { return Ok(work()) };
        let permit = {
            let _waiting = PoolWaiting::new(&threads.waiting);
            threads.permits.acquire_arc().await
        };
        let (reply, answer) = async_channel::bounded::<Outcome<T>>(1);
        let job = move || {
            // The permit is part of the job: it comes back when the work ends, not when the
            // caller loses interest.
            let _permit = permit;
            if !reply.is_closed() {
                reply.try_send(catch_unwind(AssertUnwindSafe(work))).ok();
            }
        };
        threads.shared.push(self.name, threads.limit, Box::new(job)).map_err(NoThread)?;
        match answer.recv().await.expect("a job that was taken answers") {
            Ok(outcome) => Ok(outcome),
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        if let Some(threads) = &self.threads {
            threads.shared.lock().is_closed = true;
            threads.shared.woken.notify_all();
        }
    }
}

/// Counts one caller for as long as it waits, also when it is dropped meanwhile.
struct PoolWaiting<'a>(&'a AtomicUsize);

impl<'a> PoolWaiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        PoolWaiting(count)
    }
}

impl Drop for PoolWaiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PoolShared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job; starts a thread when no idle one is left for it. Without any thread at all
    /// the job is dropped and the fault answered.
    fn push(self: &Arc<Self>, name: &str, limit: usize, job: Job) -> std::io::Result<()> {
        let mut queue = self.lock();
        queue.jobs.push_back(job);
        // Each job holds a permit, so there are never more jobs than the pool may have threads.
        assert!(queue.jobs.len() <= limit, "a job without a permit");
        if queue.idle < queue.jobs.len() && queue.threads < limit {
            let shared = self.clone();
            let builder = std::thread::Builder::new().name(format!("{name}-{}", queue.threads));
            match builder.spawn(move || shared.work()) {
                Ok(_) => queue.threads += 1,
                // The threads that there are take it in turn.
                Err(_) if 0 < queue.threads => {}
                Err(fault) => {
                    let job = queue.jobs.pop_back();
                    drop(queue);
                    drop(job);
                    return Err(fault);
                }
            }
        }
        drop(queue);
        self.woken.notify_one();
        Ok(())
    }

    /// A thread's life: one job after the other, until there has been none for a while.
    fn work(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                job();
                queue = self.lock();
                continue;
            }
            if queue.is_closed {
                break;
            }
            queue.idle += 1;
            let waited = self.woken.wait_timeout(queue, IDLE_MAX);
            let timeout;
            (queue, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
            if timeout.timed_out() && queue.jobs.is_empty() {
                break;
            }
        }
        queue.threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn work_runs_side_by_side_up_to_the_limit() {
        let pool = ThreadPool::new("test", 2);
        let (begun, begins) = mpsc::channel();
        let (go, gone) = (Arc::new((Mutex::new(false), Condvar::new())), ());
        let job = |number: u32| {
            let (begun, go) = (begun.clone(), go.clone());
            pool.run(move || {
                begun.send(number).unwrap();
                let mut open = go.0.lock().unwrap();
                while !*open {
                    open = go.1.wait(open).unwrap();
                }
                number
            })
        };
        let all = async {
            let jobs = smol::future::zip(job(1), smol::future::zip(job(2), job(3)));
            let opener = async {
                // The third does not begin before one of the first two has ended.
                let _first_two = [begins.recv().unwrap(), begins.recv().unwrap()];
                assert_eq!(pool.usage(), Some(PoolUse { limit: 2, busy: 2, waiting: 1 }));
                assert!(begins.try_recv().is_err());
                *go.0.lock().unwrap() = true;
                go.1.notify_all();
            };
            smol::future::zip(jobs, opener).await.0
        };
        let (one, (two, three)) = smol::block_on(all);
        assert_eq!([one.unwrap(), two.unwrap(), three.unwrap()], [1, 2, 3]);
        gone
    }

    #[test]
    fn dropped_before_it_began_it_never_begins_and_lets_go_of_what_it_holds() {
        let pool = ThreadPool::new("test", 1);
        let (release, held) = mpsc::channel::<()>();
        let mut first = Box::pin(pool.run(move || held.recv().is_ok()));
        assert!(smol::block_on(smol::future::poll_once(&mut first)).is_none());
        let token = Arc::new(());
        let inside = token.clone();
        let mut second = Box::pin(pool.run(move || drop(inside)));
        assert!(smol::block_on(smol::future::poll_once(&mut second)).is_none());
        drop(second);
        assert_eq!(Arc::strong_count(&token), 1);
        release.send(()).unwrap();
        assert!(smol::block_on(first).unwrap());
    }

    #[test]
    fn dropped_while_it_runs_its_place_comes_back_at_its_end() {
        let pool = ThreadPool::new("test", 1);
        let (release, held) = mpsc::channel::<()>();
        let mut first = Box::pin(pool.run(move || held.recv().is_ok()));
        assert!(smol::block_on(smol::future::poll_once(&mut first)).is_none());
        drop(first);
        release.send(()).unwrap();
        assert_eq!(smol::block_on(pool.run(|| 7)).unwrap(), 7);
    }

    #[test]
    fn a_panic_is_the_callers_and_the_thread_goes_on() {
        let pool = ThreadPool::new("test", 1);
        let panics = catch_unwind(AssertUnwindSafe(|| {
            smol::block_on(pool.run(|| panic!("on purpose"))).unwrap();
        }));
        assert!(panics.is_err());
        assert_eq!(smol::block_on(pool.run(|| 7)).unwrap(), 7);
    }

    #[test]
    fn without_threads_work_is_done_on_the_spot() {
        let pool = ThreadPool::inline("test");
        let caller = std::thread::current().id();
        let worker = smol::block_on(pool.run(|| std::thread::current().id())).unwrap();
        assert_eq!(worker, caller);
        assert_eq!(pool.usage(), None);
    }
}
