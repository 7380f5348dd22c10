//! What a message has with it: a picture, fetched by us from a URL or read from a file.
//!
//! *Invariant:* what cannot be fetched holds no message up for longer than the file says; the message
//! goes without it, and says so.
//!
//! *Never:* a file outside the folder that the pipeline file names, or a host that an event chooses.

use super::receipt::MessageReceipt;
use super::service::{Edited, ServiceCall, UnmadeEdit, posting_bytes};
use crate::contract::{Notice, Services};
use crate::request::{Text, UrlText, check_url};
use kernel::env::{Random, within};
use kernel::fault::{Cause, Fault, FaultClass};
use kernel::health::HealthProblem;
use kernel::regular_file;
use language::diagnostic::Rule;
use language::expr::{Roots, Scope, Template};
use language::spanned::Spanned;
use language::{Arg, Context, Fields, Needed, NodeRow, Prop, Scalar, ValueKind};
use serde_json::Value;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::{FetchRequest, answer};

/// The largest that any service takes.
const BYTES_MAX: u64 = 25 << 20;
/// Between two looks for a file that is not there yet.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The longest name that is shown.
const NAME_MAX: usize = 64;

/// The node of every kind that can send a file.
pub(super) const ATTACH: &[NodeRow] = &[NodeRow::new("attach", "a picture or another file that goes with the message: fetched from a URL, or read from a file beside the pipeline file. If that fails, the message goes without it. `wait` is how long to look again for one that is not there yet, at most half of `timeout` of the notifier")
    .examples(&[
        r#"attach "http://frigate:5000/api/events/{{ data.id }}/snapshot.jpg""#,
        r#"attach file="snapshots/{{ event.id }}.jpg" max="2MiB""#,
        r#"attach "http://cam/still" timeout="2s" wait="4s""#,
    ])
    .args(&[Arg::optional("url", ValueKind::UrlTemplate(Roots::EVENT))])
    .props(&[
        Prop::new("file", ValueKind::OwnTemplate(Roots::EVENT)),
        Prop::new("max", ValueKind::Bytes(1 << 10, BYTES_MAX)).default("\"5MiB\""),
        Prop::new("timeout", ValueKind::Duration(Duration::from_millis(10), Duration::from_secs(60)))
            .default("\"5s\""),
        Prop::new("wait", ValueKind::Duration(Duration::from_millis(100), Duration::from_secs(60))),
    ])
    .otherwise("none")];

/// What a file says about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AttachSetting {
    from: AttachSource,
    bytes_max: usize,
    timeout: Duration,
    wait: Duration,
}

#[derive(Debug, Clone, PartialEq)]
enum AttachSource {
    Url(Text),
    /// Below this folder.
    File {
        folder: PathBuf,
        path: Spanned<Template>,
    },
}

impl AttachSetting {
    /// Reads it, if it is there; the outer `None` is a mistake that was reported.
    pub(super) fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Option<Self>> {
        let Some(node) = fields.child("attach") else { return Some(None) };
        let from = match (node.arg(0), node.prop("file")) {
            (Some(url), None) => {
                let url = Text::read(&url)?;
                check_url(&url, context).then_some(AttachSource::Url(url))?
            }
            (None, Some(path)) => Self::file(&node, &path, context)?,
            (given, _) => {
                let what = if given.is_some() { "two files" } else { "no file" };
                context
                    .diagnostics
                    .push(Rule::WrongArgument, format!("`attach` names {what}"))
                    .at(node.head(), "needs a URL or `file`, one of them")
                    .help("write `attach \"http://…\"` or `attach file=\"…\"`");
                return None;
            }
        };
        let wait =
            node.prop("wait").and_then(|prop| prop.duration()).map(|duration| duration.value);
        let node = node.filled();
        let bytes = |scalar: &Scalar<'_>| usize::try_from(scalar.bytes()?.value).ok();
        let bytes_max = node.prop("max", bytes);
        let timeout = node.prop("timeout", |scalar| Some(scalar.duration()?.value));
        Some(Some(AttachSetting { from, bytes_max, timeout, wait: wait.unwrap_or_default() }))
    }

    fn file(
        node: &Fields<'_>,
        scalar: &Scalar<'_>,
        context: &mut Context<'_>,
    ) -> Option<AttachSource> {
        let path = scalar.template(Roots::EVENT)?;
        let fixed = path.value.literal_prefix();
        if fixed.starts_with('/') || path.value.text().split('/').any(|part| part == "..") {
            context
                .diagnostics
                .push(Rule::WrongArgument, "this path leaves the folder of the pipeline file")
                .at(path.span.clone(), "must lie beside the file or below it")
                .help(
                    "write a relative path without `..`, such as \"snapshots/{{ event.id }}.jpg\"",
                );
            return None;
        }
        Some(AttachSource::File { folder: node.folder().to_owned(), path })
    }

    pub(super) fn needed(&self) -> Option<Needed> {
        match &self.from {
            AttachSource::Url(url) => Some(url.needed()),
            AttachSource::File { .. } => None,
        }
    }
}

/// Where files are fetched from, ready for events.
pub(super) struct Attach {
    source: OpenAttachment,
    bytes_max: usize,
    timeout: Duration,
    wait: Duration,
}

enum OpenAttachment {
    Url(UrlText),
    File { folder: PathBuf, path: Template },
}

/// A file that goes with a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attachment {
    pub(super) name: String,
    /// Its media type.
    pub(super) media: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// The code of a notifier whose attachments do not go with its messages.
const CODE: &str = "attachment";

/// Whether the service did not take the file; the message goes without it then.
fn is_refused(services: &Services, fault: &Fault) -> bool {
    let is_refused = fault.class == FaultClass::Permanent;
    if is_refused {
        missing(services, &format!("the service rejected it: {fault}"));
    }
    is_refused
}

fn missing(services: &Services, why: &str) {
    let problem = HealthProblem::degraded(CODE, format!("sent without the attachment: {why}"));
    services.health.report(problem.advise("messages are still sent, without it"));
}

impl Attach {
    pub(super) fn open(
        setting: Option<&AttachSetting>,
        services: &Services,
    ) -> Result<Option<Attach>, Fault> {
        let Some(setting) = setting else { return Ok(None) };
        let source = match &setting.from {
            AttachSource::Url(url) => OpenAttachment::Url(UrlText::open(url, services)?),
            AttachSource::File { folder, path } => {
                OpenAttachment::File { folder: folder.clone(), path: path.value.clone() }
            }
        };
        let AttachSetting { bytes_max, timeout, wait, .. } = *setting;
        Ok(Some(Attach { source, bytes_max, timeout, wait }))
    }

    /// Sends a message with its file; without it where there is none, where it cannot be had, or
    /// where the service rejects it. A service takes at most `bytes_max`.
    pub(super) async fn send(
        attach: Option<&Attach>,
        notice: &Notice,
        bytes_max: usize,
        call: &ServiceCall<'_>,
        request: impl Fn(Option<Attachment>) -> FetchRequest + Send,
    ) -> Result<SentWith, Fault> {
        if let Some(file) = Attach::fetch(attach, notice, call.services, bytes_max).await {
            let name = file.name.clone();
            match call.send(request(Some(file))).await {
                Err(fault) if is_refused(call.services, &fault) => {}
                result => return result.map(|answer| SentWith { answer, file: Some(name) }),
            }
        }
        Ok(SentWith { answer: call.send(request(None)).await?, file: None })
    }

    /// Changes a message, and its file where there is one now: `None` where the message is gone.
    /// `request` makes the change with a file, or without one.
    pub(super) async fn edit(
        attach: Option<&Attach>,
        notice: &Notice,
        bytes_max: usize,
        call: &ServiceCall<'_>,
        before: MessageReceipt,
        unmade: fn(u16, &str) -> Option<UnmadeEdit>,
        request: impl Fn(&MessageReceipt, Option<Attachment>) -> FetchRequest + Send,
    ) -> Result<Option<MessageReceipt>, Fault> {
        let receipt = |edited, file| match edited {
            Edited::Changed => Some(MessageReceipt { detail: file, ..before.clone() }),
            Edited::Gone => None,
        };
        if let Some(file) = Attach::fetch(attach, notice, call.services, bytes_max).await {
            let name = file.name.clone();
            match call.edit(request(&before, Some(file)), unmade).await {
                Err(fault) if is_refused(call.services, &fault) => {}
                result => return result.map(|edited| receipt(edited, Some(name))),
            }
        }
        let edited = call.edit(request(&before, None), unmade).await?;
        Ok(receipt(edited, before.detail.clone()))
    }

    /// Fetches it for one event, of which a service takes at most `bytes_max`. It has half of the
    /// attempt's time, so that there is some left for the message. One that is not there yet is
    /// looked for again, as long as the file says.
    pub(super) async fn fetch(
        attach: Option<&Attach>,
        notice: &Notice,
        services: &Services,
        bytes_max: usize,
    ) -> Option<Attachment> {
        let attach = attach?;
        let bytes_max = bytes_max.min(attach.bytes_max);
        let (clock, left) = (&*services.env.clock, notice.outgoing.timeout / 2);
        let began = clock.monotonic();
        let fetched = loop {
            let spent = clock.monotonic().saturating_sub(began);
            let timeout = attach.timeout.min(left.saturating_sub(spent));
            let fetched = attach.look(notice, services, timeout, bytes_max).await;
            let next = clock.monotonic().saturating_sub(began) + LOOK_EVERY;
            match fetched {
                Err(MissingFile::Yet(_)) if next <= attach.wait.min(left) => {
                    clock.sleep(LOOK_EVERY).await;
                }
                fetched => break fetched,
            }
        };
        match fetched {
            Ok(file) => {
                services.health.clear(CODE);
                Some(file)
            }
            Err(MissingFile::Yet(why) | MissingFile::Never(why)) => {
                missing(services, &why);
                None
            }
        }
    }

    /// One look.
    async fn look(
        &self,
        notice: &Notice,
        services: &Services,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<Attachment, MissingFile> {
        let scope = Scope::of(notice.outgoing.event(), services.env.clock.wall());
        match &self.source {
            OpenAttachment::Url(url) => {
                let url = url.render(&scope).map_err(|fault| MissingFile::Never(fault.reason))?;
                fetch_url(url, services, timeout, bytes_max).await
            }
            OpenAttachment::File { folder, path } => {
                let none = || MissingFile::Never("the event yields no file name".to_owned());
                let path = path_of(path, &scope).ok_or_else(none)?;
                let read = read_file(folder.join(path), services, bytes_max);
                let read = within(&*services.env.clock, timeout, read).await;
                let late = || MissingFile::Never("it was not read in time".to_owned());
                read.ok_or_else(late)?
            }
        }
    }
}

/// Why there is no file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum MissingFile {
    /// It may be there in a moment.
    Yet(String),
    Never(String),
}

/// What a service answered to a message, and the name of the file that went with it.
pub(super) struct SentWith {
    pub(super) answer: Value,
    pub(super) file: Option<String>,
}

/// The path for one event, in which a value is a part of one name.
fn path_of(path: &Template, scope: &Scope<'_>) -> Option<String> {
    let is_good = Cell::new(true);
    let rendered = path.render_as(scope, |value| {
        let leaves = value.contains(['/', '\\', '\0']) || value.starts_with('.');
        if leaves || value.is_empty() {
            is_good.set(false);
        }
        value
    });
    is_good.get().then_some(rendered)
}

async fn fetch_url(
    url: String,
    services: &Services,
    timeout: Duration,
    body_max: usize,
) -> Result<Attachment, MissingFile> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    let request = FetchRequest {
        method: "GET",
        url: url.clone(),
        headers: Vec::new(),
        body: None,
        timeout,
        body_max,
    };
    let missing = |fault: Fault| match fault.is_transient() || fault.cause == Cause::Status(404) {
        true => MissingFile::Yet(fault.reason),
        false => MissingFile::Never(fault.reason),
    };
    let response = services.fetch.fetch(request).await.map_err(missing)?;
    answer::settled(&response, services.env.clock.wall()).map_err(missing)?;
    attachment(&name, response.body)
}

async fn read_file(
    path: PathBuf,
    services: &Services,
    bytes_max: usize,
) -> Result<Attachment, MissingFile> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let read = move || regular_file::read(&path, bytes_max as u64);
    let read = services.env.pools.files.run(read).await;
    let read = read.map_err(|fault| MissingFile::Never(fault.to_string()))?;
    let bytes = read.map_err(|fault| match fault.kind() {
        std::io::ErrorKind::NotFound => MissingFile::Yet("the file is not there".to_owned()),
        _ => MissingFile::Never(fault.to_string()),
    })?;
    attachment(&name, bytes)
}

/// With a name that any service takes, and the ending that the content has.
fn attachment(name: &str, bytes: Vec<u8>) -> Result<Attachment, MissingFile> {
    if bytes.is_empty() {
        return Err(MissingFile::Yet("it is empty".to_owned()));
    }
    let path = Path::new(name);
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let (media, ending) = media_of(&bytes, extension);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let stem: String = stem.chars().filter(is_plain).take(NAME_MAX).collect();
    let stem = if stem.is_empty() { "attachment" } else { &stem };
    Ok(Attachment { name: format!("{stem}.{ending}"), media, bytes })
}

/// By the first bytes of pictures, and by the ending of others.
fn media_of(bytes: &[u8], extension: &str) -> (&'static str, &'static str) {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => ("image/jpeg", "jpg"),
        [0x89, b'P', b'N', b'G', ..] => ("image/png", "png"),
        [b'G', b'I', b'F', b'8', ..] => ("image/gif", "gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => ("image/webp", "webp"),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => ("video/mp4", "mp4"),
        [b'%', b'P', b'D', b'F', ..] => ("application/pdf", "pdf"),
        _ => match extension {
            "txt" | "log" => ("text/plain", "txt"),
            "json" => ("application/json", "json"),
            "csv" => ("text/csv", "csv"),
            _ => ("application/octet-stream", "bin"),
        },
    }
}

impl Attachment {
    /// Whether phones show it as a picture.
    pub(super) fn is_picture(&self) -> bool {
        self.media.starts_with("image/")
    }
}

/// What separates the parts of a body: nobody who sends an event, or draws a picture, can know it.
pub(super) fn boundary(random: &Random) -> String {
    format!("{:032x}", random.with(|random| random.u128(..)))
}

/// A request that posts fields and a file under this name as `multipart/form-data` (RFC 7578).
pub(super) fn posting_file(
    url: String,
    fields: &[(&str, String)],
    (name, file): (&str, &Attachment),
    notice: &Notice,
    random: &Random,
) -> FetchRequest {
    let boundary = boundary(random);
    let mut body = Vec::with_capacity(file.bytes.len() + 1024);
    for (name, value) in fields {
        let head =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend([head.as_bytes(), value.as_bytes(), b"\r\n"].concat());
    }
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{}\"\r\n\
         Content-Type: {}\r\n\r\n",
        file.name, file.media
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&file.bytes);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let content_type = format!("multipart/form-data; boundary={boundary}");
    posting_bytes(url, vec![("Content-Type".to_owned(), content_type)], body, notice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifiers::testing::notice;
    use crate::testing::{self, FakeFetch};
    use kernel::env::Pools;
    use language::spanned::Spanned;
    use serde_json::json;
    use std::sync::Arc;

    const JPEG: &[u8] = b"\xff\xd8\xff picture";

    fn fetched(attach: &Attach, id: &str, services: &Services) -> Result<Attachment, String> {
        let mut notice = notice("t", "m");
        notice.outgoing = testing::outgoing(json!({ "id": id }));
        let file = smol::block_on(Attach::fetch(Some(attach), &notice, services, 64));
        file.ok_or_else(|| reason(services))
    }

    fn reason(services: &Services) -> String {
        let report = services.env.health.of(services.health.part()).expect("a report");
        report.problems[0].problem.reason.clone()
    }

    fn from_url() -> Attach {
        let setting =
            Spanned::new(language::Setting::of_text("http://cam/{{ data.id }}.jpg?h=1"), 0..1);
        let text = Text { setting, is_optional: false };
        let source = OpenAttachment::Url(UrlText::open(&text, &testing::alone()).unwrap());
        Attach { source, bytes_max: 1000, timeout: Duration::from_secs(60), wait: Duration::ZERO }
    }

    #[test]
    fn a_picture_is_fetched_in_half_of_the_time_with_the_limit_of_the_service() {
        let fetch = FakeFetch::answering(200, &[], "GIF89a");
        let file = fetched(&from_url(), "a/../b", &testing::services(fetch.clone()));
        let file = file.unwrap();
        assert_eq!((file.media, &*file.bytes), ("image/gif", &b"GIF89a"[..]));
        assert!(file.name.ends_with(".gif") && !file.name.contains('/'), "{file:?}");
        let asked = fetch.only_request();
        assert_eq!((asked.method, &*asked.url), ("GET", "http://cam/a%2F..%2Fb.jpg?h=1"));
        assert_eq!((asked.timeout, asked.body_max), (Duration::from_secs(1), 64));
    }

    #[test]
    fn what_cannot_be_fetched_is_reported_and_holds_nothing_up() {
        for (status, body, why) in [(404, "", "the response is 404"), (200, "", "it is empty")] {
            let services = testing::services(FakeFetch::answering(status, &[], body));
            let why = format!("sent without the attachment: {why}");
            assert_eq!(fetched(&from_url(), "a", &services), Err(why));
        }
    }

    #[test]
    fn an_event_can_name_a_file_and_not_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("pictures")).unwrap();
        std::fs::write(folder.path().join("pictures/a.jpg"), JPEG).unwrap();
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        std::fs::write(folder.path().join("pictures/large"), [b'x'; 65]).unwrap();
        let path = Template::parse("pictures/{{ data.id }}", Roots::EVENT).unwrap();
        let source = OpenAttachment::File { folder: folder.path().to_owned(), path };
        let attach = Attach {
            source,
            bytes_max: 1000,
            timeout: Duration::from_secs(60),
            wait: Duration::ZERO,
        };
        let mut services = testing::services(Arc::new(FakeFetch::default()));
        services.env.pools = Pools::inline();
        let file = fetched(&attach, "a.jpg", &services).unwrap();
        assert_eq!((&*file.name, file.media, &*file.bytes), ("a.jpg", "image/jpeg", JPEG));
        let refused = "sent without the attachment: the event yields no file name";
        for id in ["../secret", "..", "", "a/../../secret", "/etc/passwd", ".hidden", "a\0b"] {
            assert_eq!(fetched(&attach, id, &services), Err(refused.to_owned()), "{id:?}");
        }
        let missing = fetched(&attach, "none.jpg", &services).unwrap_err();
        assert!(missing.ends_with("the file is not there"), "{missing}");
        let large = fetched(&attach, "large", &services).unwrap_err();
        assert!(large.ends_with("it is 65 bytes long; the maximum is 64"), "{large}");
    }

    #[test]
    fn a_picture_that_is_late_is_waited_for_and_one_that_will_not_come_is_not() {
        let attach = Attach { wait: Duration::from_millis(900), ..from_url() };
        let looks = |answers: &[(u16, &str)]| {
            let fetch = Arc::new(FakeFetch::default());
            let answer = |it: &(u16, &str)| {
                let (status, body) = (it.0, it.1.as_bytes().to_vec());
                Ok(wire::FetchResponse { status, headers: Vec::new(), body })
            };
            fetch.answers.lock().unwrap().extend(answers.iter().map(answer));
            let file = fetched(&attach, "a", &testing::services(fetch.clone()));
            (file.is_ok(), fetch.asked.lock().unwrap().len())
        };
        assert_eq!(looks(&[(404, ""), (200, "GIF89a picture")]), (true, 2));
        assert_eq!(looks(&[(503, ""), (200, "GIF89a picture")]), (true, 2));
        assert_eq!(looks(&[(200, ""), (200, "GIF89a picture")]), (true, 2));
        assert_eq!(looks(&[(404, ""), (404, ""), (200, "GIF89a picture")]), (false, 2));
        assert_eq!(looks(&[(403, ""), (200, "GIF89a picture")]), (false, 1));
    }
}
