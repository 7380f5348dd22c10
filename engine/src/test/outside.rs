//! The outside of a test: mocks answer, and what leaves is noted.

use crate::run::Outside;
use compiler::cases::{MockAnswer, StageMock};
use compiler::plan::node_of;
use kernel::env::{Clock, Pending};
use kernel::event::Event;
use kernel::fault::{Cause, Fault};
use kernel::time::Timestamp;
use stages::contract::{Deliver, DynDeliver, DynNotify, Notice, Notify, Outgoing};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::{Fetch, FetchRequest, FetchResponse};

/// Everything behind the pipeline's last stage.
pub(super) struct MockWorld {
    clock: Arc<dyn Clock>,
    /// Whoever tells or takes is answered well without a mock; whoever asks is not.
    askers: BTreeSet<Arc<str>>,
    state: Mutex<OutsideState>,
}

#[derive(Default)]
struct OutsideState {
    mocks: BTreeMap<Arc<str>, VecDeque<StageMock>>,
    told: Vec<Told>,
    /// Bodies of requests by their key, until their notice is told.
    sent: BTreeMap<String, String>,
    unanswered: BTreeSet<Arc<str>>,
}

/// Something that left.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// When.
    pub(super) at: Timestamp,
    /// By which target.
    pub(super) by: Arc<str>,
    /// About which event.
    pub(super) event: Event,
    /// The headline; empty for sinks.
    pub(super) title: String,
    /// The text; empty for sinks.
    pub(super) message: String,
    /// The body of the request, where one was made.
    pub(super) sent: String,
    /// The key of the message that it sent or changed.
    update: Option<String>,
    /// Whether a later one has replaced it.
    pub(super) is_replaced: bool,
}

impl MockWorld {
    /// An outside in which nothing is answered yet; `askers` are the stages that need an answer.
    pub(super) fn new(clock: Arc<dyn Clock>, askers: BTreeSet<Arc<str>>) -> Arc<Self> {
        Arc::new(MockWorld { clock, askers, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, OutsideState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers from here on, behind the mocks in whose row it stands.
    pub(super) fn mock(&self, mock: &StageMock, is_first_of_row: bool) {
        let mut state = self.state();
        let mocks = state.mocks.entry(mock.stage.clone()).or_default();
        if is_first_of_row {
            mocks.clear();
        }
        mocks.push_back(mock.clone());
    }

    /// What left so far.
    pub(super) fn told(&self) -> Vec<Told> {
        self.state().told.clone()
    }

    /// Stages that asked in vain since the last look.
    pub(super) fn take_unanswered(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.state().unanswered)
    }

    /// The next answer for `name`: what it is, and how long it takes.
    fn next(&self, name: &Arc<str>) -> Option<StageMock> {
        let mut state = self.state();
        let mocks = state.mocks.entry(node_of(name).into()).or_default();
        let mock = mocks.front_mut().map(|it| {
            it.times = it.times.map(|time| time.saturating_sub(1));
            it.clone()
        });
        if mock.as_ref().is_some_and(|mock| mock.times == Some(0)) {
            mocks.pop_front();
        }
        if mock.is_none() && self.askers.contains(name) {
            state.unanswered.insert(name.clone());
        }
        mock
    }

    async fn answer(&self, name: &Arc<str>) -> Result<FetchResponse, Fault> {
        let response = |status, body: &str| FetchResponse {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.as_bytes().to_vec(),
        };
        let Some(mock) = self.next(name) else {
            return if self.askers.contains(name) {
                Err(Fault::permanent(format!("no `mock` answers for `{name}`")))
            } else {
                Ok(response(200, ""))
            };
        };
        if !mock.delay.is_zero() {
            self.clock.sleep(mock.delay).await;
        }
        match &mock.answer {
            MockAnswer::Response { status, body } => Ok(response(*status, body)),
            MockAnswer::Timeout => Err(Fault::transient(Cause::Timeout, "no response in time")),
            MockAnswer::Connect => Err(Fault::transient(Cause::Connect, "the connection failed")),
            MockAnswer::Permanent => Err(Fault::permanent("the mock fails")),
        }
    }

    fn tell(&self, by: &Arc<str>, outgoing: &Outgoing, notice: Option<&Notice>) {
        let mut state = self.state();
        let update =
            notice.and_then(|notice| notice.update.as_ref()).map(|update| update.key.clone());
        let same = |it: &&mut Told| it.by == *by && it.update.is_some() && it.update == update;
        state.told.iter_mut().filter(same).for_each(|it| it.is_replaced = true);
        let sent = state.sent.remove(&outgoing.key).unwrap_or_default();
        state.told.push(Told {
            at: self.clock.wall(),
            by: by.clone(),
            event: outgoing.event().clone(),
            title: notice.map(|notice| notice.title.clone()).unwrap_or_default(),
            message: notice.map(|notice| notice.message.clone()).unwrap_or_default(),
            sent,
            update,
            is_replaced: false,
        });
    }
}

/// The door of one stage, sink or notifier.
struct MockTarget {
    name: Arc<str>,
    world: Arc<MockWorld>,
    /// The notifier itself, where it makes a request.
    real: Option<Box<dyn DynNotify>>,
}

impl Fetch for MockTarget {
    fn fetch(&self, request: FetchRequest) -> Pending<'static, Result<FetchResponse, Fault>> {
        let (name, world) = (self.name.clone(), self.world.clone());
        let is_key = |it: &&(String, String)| it.0.eq_ignore_ascii_case("idempotency-key");
        if let (Some(key), Some(body)) = (request.headers.iter().find(is_key), &request.body) {
            let body = String::from_utf8_lossy(body).into_owned();
            world.state().sent.insert(key.1.clone(), body);
        }
        // A notifier gets what it attaches, and sends the rest: a mock is for what it sends.
        if request.method == "GET" && !world.askers.contains(&name) {
            // A picture that will not come is not waited for.
            let (status, headers, body) = (410, Vec::new(), Vec::new());
            return Box::pin(async move { Ok(FetchResponse { status, headers, body }) });
        }
        Box::pin(async move { world.answer(&name).await })
    }
}

impl MockTarget {
    async fn answered(&self) -> Result<(), Fault> {
        let answer = self.world.answer(&self.name).await?;
        wire::settled(&answer, self.world.clock.wall())
    }
}

impl Deliver for MockTarget {
    async fn deliver(&self, outgoing: &Outgoing) -> Result<(), Fault> {
        self.answered().await?;
        self.world.tell(&self.name, outgoing, None);
        Ok(())
    }
}

impl Notify for MockTarget {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        match &self.real {
            Some(real) => real.notify(notice).await?,
            None => self.answered().await?,
        }
        self.world.tell(&self.name, &notice.outgoing, Some(notice));
        Ok(())
    }

    async fn update(&self, notice: &Notice) -> Result<String, Fault> {
        let receipt = match &self.real {
            Some(real) => real.update(notice).await?,
            None => self.answered().await.map(|()| String::new())?,
        };
        self.world.tell(&self.name, &notice.outgoing, Some(notice));
        Ok(receipt)
    }
}

/// The world as the engine opens stages with it.
pub(super) struct Doors(pub(super) Arc<MockWorld>);

impl Doors {
    fn door(&self, name: &Arc<str>, real: Option<Box<dyn DynNotify>>) -> MockTarget {
        MockTarget { name: name.clone(), world: self.0.clone(), real }
    }
}

impl Outside for Doors {
    fn fetch(&self, name: &Arc<str>) -> Arc<dyn Fetch> {
        Arc::new(self.door(name, None))
    }

    fn sink(&self, name: &Arc<str>) -> Box<dyn DynDeliver> {
        Box::new(self.door(name, None))
    }

    fn notifier(&self, name: &Arc<str>, real: Option<Box<dyn DynNotify>>) -> Box<dyn DynNotify> {
        Box::new(self.door(name, real))
    }
}
