//! `engine send`: one message to an HTTP source of a running engine, and what became of it.

use super::events::{detail, read_detail};
use crate::client::timeline;
use crate::client::{ClientFault, EngineArgs, EngineClient};
use crate::terminal;
use clap::{Args, ValueEnum};
use kernel::health::{printable, printable_json};
use kernel::time::write_duration;
use language::parse_duration;
use serde_json::{Value, json};
use std::io::Read;
use std::time::Duration;
use wire::FetchResponse;

/// The most that is read of a message, in bytes.
const SIZE_MAX: u64 = 64 << 20;

/// Between two looks at an event that is waited for.
const LOOK: Duration = Duration::from_millis(50);

/// What is shown of a text of the engine, in bytes.
const TEXT_MAX: usize = 1000;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine send ring '{"by": "front door"}' --wait
  engine send --source bell @message.json
  generate-events | engine send -

A message is sent as it is; a TYPE is put into its member `type` first. For a source whose `map`
reads the type from somewhere else, leave TYPE out and send the whole message."#)]
pub(super) struct SendArgs {
    /// The type of the event, or the message where it needs none: JSON, @FILE, or - for standard
    /// input.
    #[arg(value_name = "TYPE|MESSAGE")]
    first: String,
    /// The message: JSON, @FILE, or - for standard input. Default: nothing but the type.
    #[arg(value_name = "MESSAGE")]
    second: Option<String>,
    /// The source to send it to. Default: the only one that receives events over HTTP.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Wait until the event is stored and delivered, at most 60s or this long, and show its
    /// timeline.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true,
          default_missing_value = "60s", value_parser = wait)]
    wait: Option<Duration>,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    format: SendFormat,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SendFormat {
    /// What became of the event; with --wait, its timeline.
    Text,
    /// The engine's response, as it was sent; with --wait, the event.
    Json,
}

fn wait(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a duration such as 60s".to_owned())
}

/// Sends; the exit code: 1 where the engine rejects the message.
pub(super) fn send(args: &SendArgs) -> u8 {
    sent(args).unwrap_or_else(|fault| fault.tell())
}

fn sent(args: &SendArgs) -> Result<u8, ClientFault> {
    let message = message(args).map_err(ClientFault::new)?;
    let client = EngineClient::find(&args.engine)?;
    let receiver = receiver(&sources(&client, &args.engine)?, args.source.as_deref())?;
    let own_id = own_id(&message);
    let answer = client.send(&client.request(receiver.method, &receiver.path, Some(message)))?;
    if !(200..300).contains(&answer.status) {
        return rejected(&client, &answer);
    }
    let response = SourceResponse::read(&answer);
    match args.wait {
        Some(limit) if !response.is_final() => {
            wait_for(&client, &response, own_id, (limit, args.format))
        }
        _ => {
            terminal::to_output(&response.shown(args.format));
            Ok(u8::from(response.has_rejected()))
        }
    }
}

/// What a source says about a message that it took.
struct SourceResponse {
    status: u16,
    text: String,
    /// In the engine's words; `None` where the file has `respond`.
    body: Option<Value>,
}

impl SourceResponse {
    fn read(answer: &FetchResponse) -> Self {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let body = serde_json::from_str(&text).ok();
        let body = body.filter(|body| outcomes(body).is_some());
        SourceResponse { status: answer.status, text, body }
    }

    /// There is no single event to wait for.
    fn is_final(&self) -> bool {
        let is_one = |body: &Value| body["id"].is_string() && body["discarded"].is_null();
        self.body.as_ref().is_some_and(|body| !is_one(body))
    }

    fn shown(&self, format: SendFormat) -> String {
        match (format, &self.body) {
            (SendFormat::Text, Some(body)) => outcomes(body).unwrap_or_default(),
            (SendFormat::Text, None) if self.text.is_empty() => {
                format!("received; the source responds with {}\n", self.status)
            }
            (SendFormat::Text, None) => {
                let text = printable(&self.text, TEXT_MAX);
                format!("received; the source responds with {}: {text}\n", self.status)
            }
            (SendFormat::Json, _) => printable_json(self.text.clone()) + "\n",
        }
    }

    /// Whether one of several messages was rejected.
    fn has_rejected(&self) -> bool {
        let is_bad = |item: &Value| item["status"].as_u64().is_some_and(|number| 400 <= number);
        let items = self.body.as_ref().and_then(|body| body["results"].as_array());
        items.is_some_and(|items| items.iter().any(is_bad))
    }
}

/// The id that a message brings, where it is in its usual place.
fn own_id(message: &[u8]) -> Option<String> {
    let message: Value = serde_json::from_slice(message).ok()?;
    message["id"].as_str().map(str::to_owned)
}

/// Waits for the event of a message: by its id in the response, else by the one that was sent; the
/// exit code.
fn wait_for(
    client: &EngineClient,
    response: &SourceResponse,
    own_id: Option<String>,
    (limit, format): (Duration, SendFormat),
) -> Result<u8, ClientFault> {
    let cannot = |why: &str| {
        terminal::to_output(&response.shown(format));
        terminal::to_terminal(&format!("engine: cannot wait for the event: {why}\n"));
        Ok(2)
    };
    let told = response.body.as_ref().and_then(|body| body["id"].as_str());
    let Some(id) = told.map(str::to_owned).or(own_id) else {
        return cannot("neither the message nor the response has its id");
    };
    match detail(client, &id, None) {
        Err(fault) if matches!(fault.status, Some(401 | 403)) => {
            cannot("this takes a token with the scope `read`")
        }
        Err(fault) if fault.status == Some(404) && told.is_none() => {
            let id = printable(&id, TEXT_MAX);
            cannot(&format!("the response does not have its id, and no event has `{id}`"))
        }
        _ => waited(client, &id, limit, format),
    }
}

/// The bytes to send; the error says what is wrong with the arguments.
fn message(args: &SendArgs) -> Result<Vec<u8>, String> {
    let is_message = |text: &str| text.starts_with(['{', '[', '@']) || text == "-";
    match (&args.second, is_message(&args.first)) {
        (None, true) => read(&args.first),
        (Some(_), true) => Err("the type comes first, then the message".to_owned()),
        (None, false) => with_type(&args.first, b"{}"),
        (Some(message), false) => with_type(&args.first, &read(message)?),
    }
}

fn read(argument: &str) -> Result<Vec<u8>, String> {
    let cannot = |name: &str, fault: &std::io::Error| format!("cannot read {name}: {fault}");
    let (name, bytes) = match argument.strip_prefix('@') {
        None if argument == "-" => {
            let (name, mut bytes) = ("standard input", Vec::new());
            let read = std::io::stdin().lock().take(SIZE_MAX + 1).read_to_end(&mut bytes);
            read.map_err(|fault| cannot(name, &fault))?;
            (name, bytes)
        }
        None => return Ok(argument.as_bytes().to_vec()),
        Some(path) => {
            let read = kernel::regular_file::read_start(path.as_ref(), SIZE_MAX + 1);
            (path, read.map_err(|fault| cannot(path, &fault))?)
        }
    };
    match SIZE_MAX < bytes.len() as u64 {
        true => Err(format!("{name} is larger than {} MiB", SIZE_MAX >> 20)),
        false => Ok(bytes),
    }
}

/// A message with its type, otherwise as it was written.
fn with_type(kind: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let found: Value = serde_json::from_slice(message)
        .map_err(|fault| format!("the message is not JSON: {fault}"))?;
    let Value::Object(members) = found else {
        return Err("a message with a type must be a JSON object".to_owned());
    };
    match members.get("type") {
        Some(own) if *own == kind => return Ok(message.to_vec()),
        Some(_) => return Err("the message has another `type`; give the type once".to_owned()),
        None => {}
    }
    let text = String::from_utf8_lossy(message);
    let rest = text.trim_start().strip_prefix('{').unwrap_or_default();
    let comma = if members.is_empty() { "" } else { "," };
    Ok(format!("{{\"type\":{}{comma}{rest}", json!(kind)).into_bytes())
}

/// A source that receives messages over HTTP.
struct HttpReceiver {
    name: String,
    method: &'static str,
    path: String,
    /// Why it receives nothing now.
    off: Option<String>,
}

impl HttpReceiver {
    fn read(source: &Value) -> Option<Self> {
        let routes = source["routes"].as_array()?;
        let by = |method: &'static str| {
            Some((method, routes.iter().find(|route| route["method"] == method)?))
        };
        let (method, route) = by("POST").or_else(|| by("PUT"))?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (name, path) = (text(&source["name"])?, text(&route["path"])?);
        Some(HttpReceiver { name, method, path, off: text(&source["off"]) })
    }
}

/// The sources of the file, if it is given, otherwise of the engine. A token that may only send may
/// not see the engine's.
fn sources(client: &EngineClient, args: &EngineArgs) -> Result<Vec<Value>, ClientFault> {
    if let Some(mut sources) = args.sources_of_file() {
        // Variables that are not set here may be set where the engine runs.
        for source in sources.iter_mut().filter(|source| source["disabled"] != true) {
            source["off"] = Value::Null;
        }
        return Ok(sources);
    }
    let plan = client.get("/api/pipeline").map_err(|fault| match fault.status {
        Some(401 | 403) => ClientFault {
            reason: "without a token with the scope `read`, the path of the source is not known; \
                     give the pipeline file with --file"
                .to_owned(),
            ..fault
        },
        _ => fault,
    })?;
    let sources = plan["sources"].as_array().cloned();
    sources.ok_or_else(|| client.no_engine("it has no plan"))
}

/// The source with this name, or the only one.
fn receiver(sources: &[Value], name: Option<&str>) -> Result<HttpReceiver, ClientFault> {
    let mut all: Vec<HttpReceiver> = sources.iter().filter_map(HttpReceiver::read).collect();
    let is_open = |receiver: &&HttpReceiver| receiver.off.is_none();
    let names: Vec<&str> = all.iter().filter(is_open).map(|it| &*it.name).collect();
    let known = names.join(", ");
    let wanted = match (name, &*names) {
        (Some(name), _) => name.to_owned(),
        (None, [only]) => (*only).to_owned(),
        (None, []) => {
            let reason = "no source of this pipeline receives events over HTTP";
            return Err(ClientFault::new(reason));
        }
        (None, _) => {
            let reason =
                format!("several sources receive events; use --source with one of {known}");
            return Err(ClientFault::new(reason));
        }
    };
    match all.iter().position(|it| it.name == wanted).map(|at| all.swap_remove(at)) {
        Some(HttpReceiver { off: Some(why), .. }) => {
            let why = printable(&why, TEXT_MAX);
            Err(ClientFault::new(format!("the source `{wanted}` is off: {why}")))
        }
        Some(receiver) => Ok(receiver),
        None if known.is_empty() => {
            Err(ClientFault::new(format!("no source `{wanted}` receives events over HTTP")))
        }
        None => Err(ClientFault::new(format!(
            "no source `{wanted}` receives events over HTTP; use one of {known}"
        ))),
    }
}

/// What became of one message, or of each of several; `None` where no source says so.
fn outcomes(body: &Value) -> Option<String> {
    match body["results"].as_array() {
        None => Some(outcome(body)? + "\n"),
        Some(results) => {
            let line = |item: &Value| match item["status"].as_u64()? {
                status if status < 400 => Some(outcome(item)? + "\n"),
                status => Some(format!("rejected with {status}: {}\n", detail_of(item))),
            };
            results.iter().map(line).collect()
        }
    }
}

fn outcome(body: &Value) -> Option<String> {
    if let Some(rule) = body["discarded"].as_str() {
        return Some(format!("dropped by {}", printable(rule, TEXT_MAX)));
    }
    let (id, number) = (printable(body["id"].as_str()?, TEXT_MAX), body["seq"].as_u64()?);
    Some(match body["duplicate"].as_bool()? {
        true => format!("duplicate of {id}, number {number}"),
        false => format!("accepted {id}, number {number}"),
    })
}

/// Why a message is rejected, with each violation on a line of its own.
fn detail_of(problem: &Value) -> String {
    let text = |value: &Value| printable(value.as_str().unwrap_or_default(), TEXT_MAX);
    let errors = problem["errors"].as_array().into_iter().flatten();
    let errors = errors.map(|error| {
        let (place, message) = (text(&error["instance"]), text(&error["message"]));
        format!("\n  {}: {message}", if place.is_empty() { "the message" } else { &place })
    });
    format!("{}{}", text(&problem["detail"]), errors.collect::<String>())
}

/// Says why the message is not accepted; the exit code.
fn rejected(client: &EngineClient, answer: &FetchResponse) -> Result<u8, ClientFault> {
    let fault = client.refused(answer);
    let is_about_message = matches!(answer.status, 400 | 409 | 413 | 415 | 422);
    if fault.status.is_none() || !is_about_message {
        return Err(fault);
    }
    let problem = serde_json::from_slice(&answer.body).unwrap_or_default();
    terminal::to_terminal(&format!("engine: the message is rejected: {}\n", detail_of(&problem)));
    Ok(1)
}

/// Waits until an event is settled and shows it; the exit code.
fn waited(
    client: &EngineClient,
    id: &str,
    limit: Duration,
    format: SendFormat,
) -> Result<u8, ClientFault> {
    let clock = &client.env.clock;
    let begin = clock.monotonic();
    let text = loop {
        let text = match detail(client, id, None) {
            Err(fault) if fault.status == Some(404) => {
                terminal::to_output("accepted, then dropped by a rule of the pipeline\n");
                return Ok(0);
            }
            other => other?,
        };
        let is_late = limit <= clock.monotonic() - begin;
        if is_late || read_detail(client, &text)?.is_settled() {
            break text;
        }
        smol::block_on(clock.sleep(LOOK));
    };
    let event = read_detail(client, &text)?;
    terminal::to_output(&match format {
        SendFormat::Json => printable_json(text) + "\n",
        SendFormat::Text => timeline::text(&event),
    });
    if !event.is_settled() {
        terminal::to_terminal(&format!(
            "not settled after {}; see `engine events show` later\n",
            write_duration(limit)
        ));
    }
    Ok(match &*event.state {
        "stored" => 0,
        "dead" => 1,
        _ => 2,
    })
}
