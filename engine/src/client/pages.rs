//! Lists that the engine gives page after page.

use super::query::RequestPath;
use super::{ClientFault, EngineClient};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Rows of one request; the engine gives no more.
const PAGE: usize = 1000;

/// A list of the engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PagedList {
    /// The member of its answer that has the rows.
    pub(crate) member: &'static str,
    /// The most rows of all pages together.
    pub(crate) limit: u32,
}

/// How a list came to its end.
#[derive(Debug, Default)]
pub(crate) struct ListEnd {
    /// Where the rest begins, if there is any.
    pub(crate) next: Option<String>,
    /// Events received before were not searched.
    pub(crate) searched_since: Option<String>,
}

impl PagedList {
    /// Page after page, its rows as they were sent, up to the limit and for as long as `take` wants
    /// more.
    pub(crate) fn each_page(
        self,
        client: &EngineClient,
        asked: &RequestPath,
        mut take: impl FnMut(&[Box<RawValue>]) -> Result<bool, ClientFault>,
    ) -> Result<ListEnd, ClientFault> {
        let mut left = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut end = ListEnd::default();
        loop {
            let mut path = asked.clone().with("limit", &left.min(PAGE).to_string());
            if let Some(cursor) = &end.next {
                path = path.with("cursor", cursor);
            }
            let text = client.get_text(path.as_str())?;
            let page = self.read(&text);
            let (rows, now) = page.ok_or_else(|| {
                client.no_engine(&format!("its response is not a list of {}", self.member))
            })?;
            let rows = &rows[..rows.len().min(left)];
            left -= rows.len();
            // A page may be empty before the end: too many rows did not match.
            let is_last = now.next.is_none() || left == 0;
            end = now;
            if !take(rows)? || is_last {
                return Ok(end);
            }
        }
    }

    fn read(self, text: &str) -> Option<(Vec<Box<RawValue>>, ListEnd)> {
        let members: BTreeMap<&str, &RawValue> = serde_json::from_str(text).ok()?;
        let rows = serde_json::from_str(members.get(self.member)?.get()).ok()?;
        let next = serde_json::from_str(members.get("next")?.get()).ok()?;
        let since = members.get("searched_since");
        let searched_since = since.map(|since| serde_json::from_str(since.get())).transpose();
        Some((rows, ListEnd { next, searched_since: searched_since.ok()? }))
    }
}

/// Rows of a list in JSON, each on a line of its own.
pub(crate) fn json_lines(rows: &[Box<RawValue>], is_first: bool) -> String {
    let lines = rows.iter().map(|row| row.get());
    let joined = lines.collect::<Vec<_>>().join(",\n");
    match (joined.is_empty(), is_first) {
        (true, _) => String::new(),
        (_, true) => kernel::health::printable_json(format!("\n{joined}")),
        (_, false) => kernel::health::printable_json(format!(",\n{joined}")),
    }
}
