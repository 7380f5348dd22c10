//! A deadline that is moved often and rarely reached.

use kernel::env::{Clock, Pending};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// One deadline by one clock.
///
/// Moving it later costs nothing: the sleeper that is under way ends early, and then another is
/// started for what is left. A busy connection so makes a timer every half minute, not one per
/// request.
pub(crate) struct Timer {
    clock: Arc<dyn Clock>,
    deadline: Duration,
    armed: Option<(Duration, Pending<'static, ()>)>,
}

impl Timer {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Timer { clock, deadline: Duration::MAX, armed: None }
    }

    /// The time by which deadlines are set.
    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// When it ends.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The deadline is `limit` from now.
    pub(crate) fn set(&mut self, limit: Duration) {
        self.set_at(self.now().saturating_add(limit));
    }

    /// The deadline is when [`Timer::now`] reaches `at`.
    pub(crate) fn set_at(&mut self, at: Duration) {
        self.deadline = at;
    }

    /// Ready once the deadline has passed.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let sleep = match &mut self.armed {
                Some((at, sleep)) if *at <= self.deadline => sleep,
                _ => {
                    let now = self.clock.monotonic();
                    if self.deadline <= now {
                        return Poll::Ready(());
                    }
                    let sleep = self.clock.sleep(self.deadline - now);
                    &mut self.armed.insert((self.deadline, sleep)).1
                }
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
        }
    }

    /// Ends once the deadline has passed.
    pub(crate) async fn expired(&mut self) {
        std::future::poll_fn(|cx| self.poll_expired(cx)).await;
    }

    /// Waits for the deadline or for news; whether the deadline came without any.
    pub(crate) async fn expires_before(&mut self, news: impl Future<Output = ()>) -> bool {
        let told = async {
            news.await;
            false
        };
        let late = async {
            self.expired().await;
            true
        };
        smol::future::or(told, late).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{ManualClock, poll_once};

    #[test]
    fn a_deadline_moved_later_is_kept_and_one_moved_earlier_too() {
        let clock = ManualClock::new();
        let mut timer = Timer::new(clock.clone());
        timer.set(Duration::from_secs(5));
        assert!(poll_once(timer.expired()).is_none());
        timer.set(Duration::from_secs(8));
        clock.advance(Duration::from_secs(6));
        assert!(poll_once(timer.expired()).is_none());
        timer.set(Duration::from_secs(1));
        assert!(poll_once(timer.expired()).is_none());
        clock.advance(Duration::from_secs(1));
        assert!(poll_once(timer.expired()).is_some());
    }
}
