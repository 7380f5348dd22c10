//! A rejected message, put right in an editor or a file and sent in again.

use super::{LetterRow, TEXT_MAX, read_letter};
use crate::client::{ClientFault, EngineArgs, EngineClient};
use crate::terminal;
use clap::Args;
use kernel::health::printable;
use serde::de::IgnoredAny;
use serde_json::json;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The engine takes no larger one by hand.
const EDITED_MAX: u64 = 60_000;

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// The number of the letter.
    #[arg(value_parser = super::letter_number)]
    id: u64,
    /// Take the message from this file, or with - from standard input, instead of opening `$VISUAL`
    /// or `$EDITOR`.
    #[arg(long, value_name = "PATH")]
    message: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Edits a letter and tries it again; the exit code: 1 where it stays.
pub(super) fn edit(args: &EditArgs) -> Result<u8, ClientFault> {
    let client = EngineClient::find(&args.engine)?;
    let path = format!("/api/dead-letters/{}", args.id);
    let letter = read_letter(&client, &client.get_text(&path)?)?;
    if letter.what != "rejected" {
        return Err(ClientFault::new("only a message that was rejected can be edited"));
    }
    let draft = match &args.message {
        Some(_) => None,
        None => Some(written(&letter)?),
    };
    let edited = read(args.message.as_deref().or(draft.as_deref()).unwrap_or(Path::new("")))?;
    let kept = |reason: &str| {
        let place = draft.iter().map(|it| format!("; your text is in {}", it.display()));
        let reason = printable(reason, TEXT_MAX);
        terminal::to_output(&format!("{} kept: {reason}{}\n", args.id, place.collect::<String>()));
        Ok(1)
    };
    if is_json(&letter.body) && !is_json(&edited) {
        return kept("the text is no longer valid JSON");
    }
    if edited == letter.body {
        draft.inspect(|draft| drop(fs::remove_file(draft)));
        terminal::to_terminal("nothing was changed\n");
        return Ok(1);
    }
    let order = json!({ "id": args.id, "body": edited });
    let answer = match client.post("/api/dead-letters/redrive", &order) {
        Ok(answer) => answer,
        Err(fault) => {
            draft.inspect(|draft| {
                terminal::to_terminal(&format!("your text is in {}\n", draft.display()));
            });
            return Err(fault);
        }
    };
    if answer["taken"] != true {
        return kept(answer["reason"].as_str().unwrap_or_default());
    }
    draft.inspect(|draft| drop(fs::remove_file(draft)));
    terminal::to_output(&format!("{} redriven\n", args.id));
    Ok(0)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// A file for nobody else, with the message in it, after the editor has closed it.
fn written(letter: &LetterRow) -> Result<PathBuf, ClientFault> {
    let name = format!("engine-letter-{}-{}.json", letter.id, std::process::id());
    let path = std::env::temp_dir().join(name);
    let cannot = |fault: std::io::Error| {
        ClientFault::new(format!("cannot write {}: {fault}", path.display()))
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = file.as_mut().map_err(|fault| cannot(std::io::Error::from(fault.kind())))?;
    file.write_all(letter.body.as_bytes()).map_err(cannot)?;
    let given = ["VISUAL", "EDITOR"].into_iter().find_map(|it| std::env::var(it).ok());
    let editor = given.filter(|it| !it.trim().is_empty());
    let Some(editor) = editor else {
        fs::remove_file(&path).ok();
        return Err(ClientFault::new("set $EDITOR, or give the text with --message PATH"));
    };
    // An editor may be given with options, as a shell reads them.
    let ended =
        Command::new("/bin/sh").args(["-c", &format!("{editor} \"$0\"")]).arg(&path).status();
    let why = match ended {
        Ok(status) if status.success() => return Ok(path),
        Ok(status) => format!("`{editor}` ended with {status}; nothing was sent"),
        Err(fault) => format!("cannot start `{editor}`: {fault}"),
    };
    Err(ClientFault::new(why + &left_behind(&path, letter)))
}

/// Removes a message that nobody changed; says where one is that somebody did.
fn left_behind(path: &Path, letter: &LetterRow) -> String {
    let is_same = fs::read(path).is_ok_and(|bytes| bytes == letter.body.as_bytes());
    if is_same && fs::remove_file(path).is_ok() {
        return String::new();
    }
    format!("; your text is in {}", path.display())
}

/// The text of a file, or of standard input; the newline that editors add at its end is not part of
/// it.
fn read(path: &Path) -> Result<String, ClientFault> {
    let is_standard = path.as_os_str() == "-";
    let shown = if is_standard { "standard input".to_owned() } else { path.display().to_string() };
    let cannot = |fault: std::io::Error| ClientFault::new(format!("cannot read {shown}: {fault}"));
    let input: Box<dyn Read> = match is_standard {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(fs::File::open(path).map_err(cannot)?),
    };
    let mut text = String::new();
    input.take(EDITED_MAX + 1).read_to_string(&mut text).map_err(cannot)?;
    if EDITED_MAX < text.len() as u64 {
        let told = format!("{shown} is longer than {EDITED_MAX} bytes; send it to its source");
        return Err(ClientFault::new(told));
    }
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}
