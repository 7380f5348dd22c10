//! Small ways to try a notifier out.

use crate::contract::{Notice, NotifyKind};
use crate::testing::{self, FakeFetch};
use kernel::fault::Fault;
use serde_json::{Value, json};
use std::sync::Arc;
use wire::FetchRequest;

pub(super) fn notice(title: &str, message: &str) -> Notice {
    let outgoing = testing::outgoing(json!({ "n": 2 }));
    Notice { outgoing, title: title.to_owned(), message: message.to_owned() }
}

/// Opens the first recipient of a notifier of this kind, and tells it something.
pub(super) fn tell<K: NotifyKind>(
    text: &str,
    notice: &Notice,
    fetch: &Arc<FakeFetch>,
) -> Result<(), Fault> {
    let settings = K::recipients(&testing::settings::<K>(text)).remove(0);
    let notifier = smol::block_on(K::open(settings, testing::services(fetch.clone())))?;
    smol::block_on(notifier.notify(notice))
}

/// The JSON of a request.
#[track_caller]
pub(super) fn body_of(request: &FetchRequest) -> Value {
    serde_json::from_slice(request.body.as_deref().expect("a body")).expect("it is JSON")
}
