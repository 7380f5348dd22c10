//! One event by its id, wherever it is: stored, waiting, or a dead letter.

use super::{Answer, failed, json_text, letters, problem};
use crate::http::app::App;
use crate::http::query;
use kernel::event::{Body, Envelope};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use store::{
    DeadLetter, Delivery, LetterFilter, LetterOrder, Reader, Store, StoreFault, StoredEvent,
    write_detail,
};
use tide::Request;

/// Where an id was found.
enum LookupFound {
    Stored(Box<StoredEvent>, Vec<Delivery>),
    /// Accepted and not finished.
    Pending(Box<StoredEvent>),
    /// Accepted, and given up.
    Dead(Box<StoredEvent>, Box<DeadLetter>),
    /// A message with this id was refused; it is no event.
    Refused(Box<DeadLetter>),
    Nowhere,
}

pub(super) async fn event(request: Request<App>) -> Answer {
    let app = request.state();
    let id = request.param("id").unwrap_or_default();
    let id = query::decoded(id).unwrap_or_else(|| id.to_owned());
    let source = query::value(request.url().query().unwrap_or_default(), "source");
    let generation = app.engine.generation();
    let own = generation.plan.sources.iter().map(|source| source.name.to_string()).collect();
    let pipeline = &generation.plan.name;
    let (text, state) = match find(&app.engine.store, id, source, own).await {
        Err(fault) => return Ok(failed(&fault)),
        Ok(LookupFound::Nowhere) => return Ok(problem(404, "event not found")),
        Ok(LookupFound::Refused(letter)) => {
            let detail = format!(
                "event not found; dead letter {} has a message with this id, which was \
                 rejected: {}",
                letter.id, letter.reason
            );
            return Ok(problem(404, &detail));
        }
        Ok(LookupFound::Stored(stored, deliveries)) => {
            (detail(&stored, pipeline, &deliveries), json!({ "state": "stored" }))
        }
        Ok(LookupFound::Pending(event)) => {
            (detail(&event, pipeline, &[]), json!({ "state": "pending" }))
        }
        Ok(LookupFound::Dead(event, letter)) => {
            let letter = letters::preview(&letter);
            (detail(&event, pipeline, &[]), json!({ "state": "dead", "dead_letter": letter }))
        }
    };
    Ok(json_text(with(text, &state)))
}

fn detail(event: &StoredEvent, pipeline: &str, deliveries: &[Delivery]) -> String {
    let mut text = String::new();
    write_detail(&mut text, event, pipeline, deliveries);
    text
}

/// A JSON object with the members of another one behind its own.
fn with(mut object: String, more: &Value) -> String {
    let more = more.to_string();
    object.pop();
    object.push(',');
    object.push_str(&more[1..]);
    object
}

/// Events have their ids by source; `own` are the sources of the file, which the store may not
/// know yet.
async fn find(
    store: &Store,
    id: String,
    source: Option<String>,
    own: BTreeSet<String>,
) -> Result<LookupFound, StoreFault> {
    let sources = match &source {
        Some(source) => vec![source.clone()],
        None => {
            let mut sources = own;
            sources.extend(store.read(|reader| reader.sources()).await?);
            sources.into_iter().collect()
        }
    };
    let seq = store.find(&id, sources).await?.first().copied();
    store
        .read(move |reader| {
            if let Some(seq) = seq {
                return reader.at_once(|reader| by_seq(reader, seq));
            }
            let filter = LetterFilter { event_id: Some(id), source, ..LetterFilter::default() };
            let newest = LetterOrder::Newest(None);
            let letter = reader.dead_letters(&filter, newest, 1, 0)?.letters.pop();
            Ok(letter.map_or(LookupFound::Nowhere, |letter| LookupFound::Refused(Box::new(letter))))
        })
        .await
}

fn by_seq(reader: &Reader<'_>, seq: u64) -> Result<LookupFound, StoreFault> {
    if let Some(stored) = reader.by_seq(&[seq])?.pop() {
        return Ok(LookupFound::Stored(Box::new(stored), reader.deliveries_of(seq)?));
    }
    if let Some(row) = reader.pending(seq)? {
        let event = unfinished(seq, row.generation, row.envelope, row.body);
        return Ok(LookupFound::Pending(Box::new(event)));
    }
    let letter = reader.letter_of_event(seq)?;
    let found = letter.and_then(|letter| {
        let (envelope, body) = letter.event()?;
        let event = unfinished(seq, letter.generation, envelope, body);
        Some(LookupFound::Dead(Box::new(event), Box::new(letter)))
    });
    Ok(found.unwrap_or(LookupFound::Nowhere))
}

/// An event that has no place among what is visible.
fn unfinished(seq: u64, generation: u64, envelope: Envelope, body: Body) -> StoredEvent {
    StoredEvent {
        pos: 0,
        seq,
        generation,
        envelope,
        body,
        enrich: "{}".into(),
        stages: [].into(),
        targets: [].into(),
    }
}
