//! How the stages of an event ended, as the text of one column:
//! `[[stage, kind, outcome, attempts, started, micros, error, log], …]`.
//!
//! Words that repeat are codes of the dictionary; `started` is in microseconds behind the event's
//! `received`, and so are the times of the log. What a row ends with is left out where there is
//! none.

use super::StoreFault;
use super::attempts;
use super::names::{NameKind, Names};
use kernel::event::{Outcome, StageResult};
use kernel::time::Timestamp;
use rusqlite::Connection;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use serde_json::Value;
use std::sync::Arc;

/// A word: its code, or itself where it has none.
#[derive(Serialize)]
#[serde(untagged)]
enum WordCell<'a> {
    Code(i64),
    Word(&'a str),
}

/// What is written of one stage.
struct StageCells<'a> {
    stage: WordCell<'a>,
    kind: WordCell<'a>,
    result: &'a StageResult,
    started: i64,
    error: Option<WordCell<'a>>,
    log: Option<Value>,
}

impl Serialize for StageCells<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let result = self.result;
        let mut cells = serializer.serialize_seq(None)?;
        cells.serialize_element(&self.stage)?;
        cells.serialize_element(&self.kind)?;
        cells.serialize_element(&(result.outcome as u8))?;
        cells.serialize_element(&result.attempts)?;
        cells.serialize_element(&self.started)?;
        cells.serialize_element(&result.micros)?;
        if self.error.is_some() || self.log.is_some() {
            cells.serialize_element(&self.error)?;
        }
        if let Some(log) = &self.log {
            cells.serialize_element(log)?;
        }
        cells.end()
    }
}

/// The text of an event's stages; words that are new get a code.
pub(super) fn write(
    stages: &[StageResult],
    received: Timestamp,
    names: &mut Names,
    connection: &Connection,
) -> Result<String, StoreFault> {
    let mut word = |kind, word| cell(names, connection, kind, word);
    let mut rows = Vec::with_capacity(stages.len());
    for it in stages {
        let error = it.error.as_ref().map(|error| match it.outcome {
            // What a service answered may be different each time.
            Outcome::Failed => Ok(WordCell::Word(error)),
            _ => word(NameKind::Reason, error),
        });
        rows.push(StageCells {
            stage: word(NameKind::Stage, &it.stage)?,
            kind: word(NameKind::Kind, &it.kind)?,
            result: it,
            started: it.started.0 - received.0,
            error: error.transpose()?,
            log: Some(&it.attempt_log)
                .filter(|log| !log.is_empty())
                .map(|log| attempts::to_json(log, received)),
        });
    }
    Ok(serde_json::to_string(&rows).expect("memory takes every value"))
}

fn cell<'a>(
    names: &mut Names,
    connection: &Connection,
    kind: NameKind,
    word: &'a Arc<str>,
) -> Result<WordCell<'a>, StoreFault> {
    let code = names.code(connection, kind, word)?;
    Ok(code.map_or(WordCell::Word(word), WordCell::Code))
}
