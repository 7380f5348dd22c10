//! Small ways to try a notifier out.

use crate::contract::{MessageUpdate, Notice, NotifyKind};
use crate::testing::{self, FakeFetch};
use kernel::fault::Fault;
use serde_json::{Value, json};
use std::sync::Arc;
use wire::{FetchRequest, FetchResponse};

pub(super) fn notice(title: &str, message: &str) -> Notice {
    let outgoing = testing::outgoing(json!({ "n": 2 }));
    Notice { outgoing, title: title.to_owned(), message: message.to_owned(), update: None }
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

/// Opens the first recipient of a notifier of this kind, and has it change the message that
/// `before` names, against a service with these answers.
pub(super) fn update<K: NotifyKind>(
    text: &str,
    before: Option<&str>,
    answers: &[(u16, &str)],
) -> (Result<String, Fault>, Vec<FetchRequest>) {
    let fetch = Arc::new(FakeFetch::default());
    let answer = |it: &(u16, &str)| {
        Ok(FetchResponse { status: it.0, headers: Vec::new(), body: it.1.as_bytes().to_vec() })
    };
    fetch.answers.lock().unwrap().extend(answers.iter().map(answer));
    let settings = K::recipients(&testing::settings::<K>(text)).remove(0);
    let notifier = smol::block_on(K::open(settings, testing::services(fetch.clone()))).unwrap();
    let update = MessageUpdate::new("phone", "visit 1", before.map(str::to_owned));
    let notice = Notice { update: Some(update), ..notice("t", "m") };
    let result = smol::block_on(notifier.update(&notice));
    let asked = fetch.asked.lock().unwrap().clone();
    (result, asked)
}

/// The JSON of a request.
#[track_caller]
pub(super) fn body_of(request: &FetchRequest) -> Value {
    serde_json::from_slice(request.body.as_deref().expect("a body")).expect("it is JSON")
}

/// The same with a picture at `http://cam/`, which the service takes or refuses: the requests to
/// the service.
pub(super) fn tell_with_picture<K: NotifyKind>(text: &str, is_taken: bool) -> Vec<FetchRequest> {
    let picture =
        FetchResponse { status: 200, headers: Vec::new(), body: b"\xff\xd8\xff".to_vec() };
    let status = if is_taken { 200 } else { 413 };
    let refused = FetchResponse { status, headers: Vec::new(), body: Vec::new() };
    let taken = FetchResponse { status: 200, ..refused.clone() };
    let fetch = Arc::new(FakeFetch::default());
    fetch.answers.lock().unwrap().extend([Ok(picture), Ok(refused), Ok(taken)]);
    let more =
        "attach \"http://cam/{{ event.id }}.jpg\"\nbutton \"Live ü\" \"https://cam/live(1)\"";
    let text = match text.contains("user ") {
        true => format!("{text}\nattach \"http://cam/{{{{ event.id }}}}.jpg\""),
        false => format!("{text}\n{more}"),
    };
    assert_eq!(tell::<K>(&text, &notice("Tür", "two\nlines"), &fetch), Ok(()));
    let asked = fetch.asked.lock().unwrap().clone();
    assert_eq!((asked[0].method, &*asked[0].url), ("GET", "http://cam/e-1.jpg"));
    assert_eq!(asked.len(), if is_taken { 2 } else { 3 });
    asked[1..].to_vec()
}

/// The fields of a body of `multipart/form-data`: each head and its content.
pub(super) fn parts_of(request: &FetchRequest) -> Vec<(String, Vec<u8>)> {
    let content_type = &request.headers.iter().find(|header| header.0 == "Content-Type").unwrap().1;
    let boundary = content_type.split_once("boundary=").unwrap().1;
    let body = request.body.as_deref().unwrap();
    let text: String = body.iter().map(|it| char::from(*it)).collect();
    let (parts, end) = text.rsplit_once(&format!("\r\n--{boundary}--")).unwrap();
    assert_eq!(end, "\r\n");
    let parts = format!("\r\n{parts}");
    let separator = format!("\r\n--{boundary}\r\n");
    let parts = parts.split(&separator).skip(1);
    let part = |text: &str| {
        let (head, content) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), content.chars().map(|letter| letter as u8).collect())
    };
    parts.map(part).collect()
}
