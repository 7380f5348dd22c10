//! Dead letters that are tried again or deleted, by their numbers or by a filter.

use super::super::ChangeFormat;
use super::{LetterArgs, TEXT_MAX, each_page, read_letter};
use crate::client::table::{TableColumn, table};
use crate::client::{ClientFault, EngineArgs, EngineClient};
use crate::terminal;
use clap::Args;
use kernel::health::{printable, printable_json};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What a command without a choice of letters says.
const CHOOSE: &str =
    "select dead letters: by number, with a filter such as --stage weather, or with --all";

#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    /// The numbers of the letters.
    #[arg(value_name = "ID", value_parser = super::letter_number)]
    ids: Vec<u64>,
    #[command(flatten)]
    filter: LetterArgs,
    /// Every dead letter.
    #[arg(long)]
    all: bool,
    /// Only say which letters these are.
    #[arg(long)]
    dry_run: bool,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    format: ChangeFormat,
    #[command(flatten)]
    engine: EngineArgs,
}

impl ChangeArgs {
    /// Prints what is for people line by line, or for programs at the end.
    fn prints(&self, format: ChangeFormat, text: &str) {
        if self.format == format {
            terminal::to_output(text);
        }
    }

    fn prints_json(&self, body: &Value) {
        self.prints(ChangeFormat::Json, &printable_json(format!("{body:#}\n")));
    }

    /// The letters are given in one way.
    fn check(&self) -> Result<(), ClientFault> {
        let ways = [!self.ids.is_empty(), !self.filter.given().is_empty(), self.all];
        match ways.iter().filter(|is_given| **is_given).count() {
            1 => Ok(()),
            0 => Err(ClientFault::new(CHOOSE)),
            _ => Err(ClientFault::new("numbers, filters and --all exclude each other")),
        }
    }

    /// The part of a request that selects them.
    fn selection(&self) -> Map<String, Value> {
        let filter = self.filter.given().into_iter();
        let mut selection: Map<String, Value> =
            filter.map(|(name, value)| (name.to_owned(), value.into())).collect();
        if !self.ids.is_empty() {
            selection.insert("ids".to_owned(), json!(self.ids));
        }
        if self.all {
            selection.insert("all".to_owned(), json!(true));
        }
        selection
    }
}

const COLUMNS: [TableColumn; 5] = [
    TableColumn::number("ID"),
    TableColumn::text("WHAT", 8),
    TableColumn::text("STAGE", 8),
    TableColumn::text("EVENT", 8).rank(1),
    TableColumn::text("REASON", 20),
];

/// Rows of letters as a dry run lists them.
fn preview(letters: &[Value]) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |letter: &Value| {
        let id = letter["id"].as_u64().unwrap_or_default().to_string();
        let [what, stage, event, reason] =
            ["what", "stage", "event_id", "reason"].map(|name| text(&letter[name]));
        vec![id, what, stage, event, reason]
    };
    let rows: Vec<Vec<String>> = letters.iter().map(row).collect();
    if rows.is_empty() { String::new() } else { table(&COLUMNS, &rows) }
}

/// Tries letters again; the exit code: 1 where one of them stays.
pub(super) fn redrive(args: &ChangeArgs) -> Result<u8, ClientFault> {
    args.check()?;
    let client = EngineClient::find(&args.engine)?;
    let newest = newest(&client, args)?;
    let (mut after, mut seen, mut taken) = (json!(0), BTreeSet::new(), 0);
    let mut letters: Vec<Value> = Vec::new();
    loop {
        let mut order = args.selection();
        order.insert("dry_run".to_owned(), json!(args.dry_run));
        order.insert("after".to_owned(), after.clone());
        let answer = match client.post("/api/dead-letters/redrive", &Value::Object(order)) {
            // Of those with the numbers given, none is left after the last page.
            Err(fault) if fault.status == Some(404) && !seen.is_empty() => break,
            other => other?,
        };
        let name = if args.dry_run { "letters" } else { "results" };
        let Some(part) = answer[name].as_array() else {
            return Err(client.no_engine("its response is not that of a redrive"));
        };
        seen.extend(part.iter().filter_map(|it| it["id"].as_u64()));
        if args.dry_run {
            letters.extend(part.iter().cloned());
        } else {
            taken += part.iter().filter(|it| it["taken"] == true).count();
            args.prints(ChangeFormat::Text, &part.iter().map(result).collect::<String>());
            letters.extend(part.iter().cloned());
        }
        if let Some(reason) = answer["stopped"].as_str() {
            args.prints_json(&json!({ "stopped": reason, "results": letters }));
            let reason = printable(reason, TEXT_MAX);
            return Err(ClientFault::new(format!("the engine does not accept any more: {reason}")));
        }
        after = answer["next"].clone();
        // What fails again is a new letter, which waits for the next redrive.
        if after.as_u64().is_none_or(|number| newest <= number) {
            break;
        }
    }
    let missing = tell_missing(&args.ids, &seen);
    if args.dry_run {
        args.prints(ChangeFormat::Text, &preview(&letters));
        args.prints_json(&json!({ "dry_run": true, "letters": letters }));
        terminal::to_terminal(&format!("{} would be redriven\n", counted(letters.len())));
        return Ok(u8::from(missing));
    }
    let kept = seen.len() - taken;
    args.prints_json(&json!({ "redriven": taken, "kept": kept, "results": letters }));
    terminal::to_terminal(&format!("{} redriven, {kept} kept\n", counted(taken)));
    Ok(u8::from(missing || 0 < kept))
}

/// The highest number of the letters that are meant.
fn newest(client: &EngineClient, args: &ChangeArgs) -> Result<u64, ClientFault> {
    if let Some(newest) = args.ids.iter().max() {
        return Ok(*newest);
    }
    let mut newest = 0;
    each_page(client, &args.filter, Some(1), |page| {
        for letter in page {
            newest = read_letter(client, letter.get())?.id;
        }
        Ok(false)
    })?;
    Ok(newest)
}

fn result(it: &Value) -> String {
    let id = it["id"].as_u64().unwrap_or_default();
    match it["reason"].as_str() {
        _ if it["taken"] == true => format!("{id} redriven\n"),
        reason => format!("{id} kept: {}\n", printable(reason.unwrap_or_default(), TEXT_MAX)),
    }
}

fn counted(count: usize) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

/// Says which of the numbers given no letter has; whether there are such.
fn tell_missing(given: &[u64], seen: &BTreeSet<u64>) -> bool {
    let missing: BTreeSet<&u64> = given.iter().filter(|id| !seen.contains(id)).collect();
    for id in &missing {
        terminal::to_terminal(&format!("engine: there is no dead letter {id}\n"));
    }
    !missing.is_empty()
}

/// Deletes letters; the exit code: 1 where a number given has none.
pub(super) fn drop_letters(args: &ChangeArgs) -> Result<u8, ClientFault> {
    args.check()?;
    let client = EngineClient::find(&args.engine)?;
    let letters = letters(&client, args)?;
    let seen: BTreeSet<u64> = letters.iter().filter_map(|letter| letter["id"].as_u64()).collect();
    if args.dry_run {
        args.prints(ChangeFormat::Text, &preview(&letters));
        args.prints_json(&json!({ "dry_run": true, "letters": letters }));
        let missing = tell_missing(&args.ids, &seen);
        terminal::to_terminal(&format!("{} would be dropped\n", counted(seen.len())));
        return Ok(u8::from(missing));
    }
    let mut dropped = BTreeSet::new();
    for id in &seen {
        match client.delete(&format!("/api/dead-letters/{id}")) {
            Ok(()) => {
                dropped.insert(*id);
                args.prints(ChangeFormat::Text, &format!("{id} dropped\n"));
            }
            // Someone else was faster.
            Err(fault) if fault.status == Some(404) => {}
            Err(fault) => return Err(fault),
        }
    }
    args.prints_json(&json!({ "dropped": dropped }));
    let missing = tell_missing(&args.ids, &seen);
    terminal::to_terminal(&format!("{} dropped\n", counted(dropped.len())));
    Ok(u8::from(missing))
}

/// The letters that are meant, without their content.
fn letters(client: &EngineClient, args: &ChangeArgs) -> Result<Vec<Value>, ClientFault> {
    let short = |text: &str| {
        let it = read_letter(client, text)?;
        let (id, what, stage) = (it.id, it.what, it.stage);
        let (event_id, reason) = (it.event_id, it.reason);
        Ok(json!({
            "id": id, "what": what, "stage": stage, "event_id": event_id, "reason": reason,
        }))
    };
    let mut letters: Vec<Value> = Vec::new();
    if args.ids.is_empty() {
        each_page(client, &args.filter, None, |page| {
            let page = page.iter().map(|it| short(it.get()));
            letters.append(&mut page.collect::<Result<Vec<Value>, ClientFault>>()?);
            Ok(true)
        })?;
        return Ok(letters);
    }
    for id in args.ids.iter().collect::<BTreeSet<_>>() {
        match client.get_text(&format!("/api/dead-letters/{id}")) {
            Ok(text) => letters.push(short(&text)?),
            Err(fault) if fault.status == Some(404) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(letters)
}
