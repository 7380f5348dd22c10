//! Sends e-mail through a mail server.
//!
//! *Invariant:* the `Message-ID` is made of the delivery's key, so that a letter that is sent twice
//! is the same letter, and mail programs show it once.
//!
//! A letter cannot be changed. A later one about the same thing is a reply to the first one, as
//! RFC 5322 §3.6.4 has it, so that mail programs show both in one thread. It is never a reply to
//! the one before: then a letter that somebody has deleted would part the thread.
//!
//! *Never:* a header that an event brings: what goes into one has no line ends, and is encoded.

mod smtp;

use self::smtp::{Letter, MailServer, Security};
use super::attach::{self, ATTACH, Attach, AttachSetting, Attachment};
use super::button::{self, BUTTON, ButtonText, Buttons};
use super::level::{LEVEL, Level, LevelSetting};
use super::link::{self, CLICK, MessageLink};
use super::receipt::{MessageReceipt, place_of};
use super::text::{MessageText, TextLimit};
use crate::contract::{DynNotify, Kind, NoUpdate, Notice, Notify, NotifyKind, Services};
use crate::request::{Ready, Text, check_twice, resolve};
use kernel::fault::{Cause, Fault};
use language::diagnostic::{Diagnostics, Rule};
use language::expr::{Roots, Scope};
use language::{Arg, Context, Fields, Needed, NodeRow, Prop, ValueKind};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, MultiPart, SinglePart};
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use siphasher::sip128::{Hasher128, SipHasher13};
use smol::lock::Semaphore;
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

const SUBJECT_LIMIT: TextLimit = TextLimit::letters(250);
const MESSAGE_LIMIT: TextLimit = TextLimit::bytes(256 << 10);
/// Of an attachment: encoded, what most servers take.
const FILE_MAX: usize = 15 << 20;
/// Letters of one conversation.
const BATCH_MAX: usize = 8;
/// Conversations at a time, whatever becomes of those that nobody waits for any more.
const CONVERSATIONS_MAX: usize = 2;

const NODES: &[NodeRow] = &[
    NodeRow::new("smtp", "the mail server: `smtps://` speaks TLS (port 465), `smtp+starttls://` begins it (587), `smtp://` speaks none (25)")
        .examples(&[
            r#"smtp "smtp+starttls://mail.example.org:587" username=(env)"MAIL_USER" password=(env)"MAIL_PASSWORD""#,
            r#"smtp "smtps://mail.lan" ca=(env)"LAN_CA""#,
            r#"smtp "smtp://mail.lan" plain=#true"#,
        ])
        .args(&[Arg::one("url", ValueKind::Url)])
        .props(&[
            Prop::new("username", ValueKind::Secret),
            Prop::new("password", ValueKind::Secret),
            Prop::new("ca", ValueKind::Text),
            Prop::new("plain", ValueKind::Bool).default("#false"),
        ])
        .required(),
    NodeRow::new("from", "the sender's address")
        .examples(&[r#"from "Front door <door@example.org>""#])
        .args(&[Arg::one("address", ValueKind::Text)])
        .required(),
    NodeRow::new("to", "the recipients' addresses; each gets a separate e-mail")
        .examples(&[r#"to "eva@example.org" "Max <max@example.org>""#, r#"to "{{ data.mail }}""#])
        .args(&[Arg::some("address", ValueKind::Template(Roots::NOTICE))])
        .required(),
    NodeRow::new("subject", "the subject")
        .examples(&[r#"subject "[door] {{ title }}""#])
        .args(&[Arg::one("text", ValueKind::Template(Roots::NOTICE))])
        .otherwise("the title"),
];

/// The kind `email`.
pub(super) struct Email {
    server: Arc<MailServer>,
    from: Mailbox,
    to: Ready,
    subject: Option<Ready>,
    link: MessageLink,
    level: LevelSetting,
    attach: Option<Attach>,
    buttons: Buttons,
    conversations: Arc<Semaphore>,
    services: Services,
}

/// Who writes to whom through which server.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EmailSettings {
    smtp: Text,
    username: Option<Text>,
    password: Option<Text>,
    ca: Option<Text>,
    is_plain: bool,
    from: Text,
    to: Vec<Text>,
    subject: Option<Text>,
    click: Option<Text>,
    level: LevelSetting,
    attach: Option<AttachSetting>,
    buttons: Vec<ButtonText>,
}

impl Kind for Email {
    const WORD: &'static str = "email";
    const SUMMARY: &'static str = "sends e-mail through a mail server";
    const EXAMPLE: &'static str = r#"notify email mail { smtp (env)"SMTP_URL"; from "door@example.org"; to "eva@example.org" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES, CLICK, LEVEL, ATTACH, BUTTON];
    type Settings = EmailSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<EmailSettings> {
        let node = fields.child("smtp");
        let (from, to) = (Text::read_child(fields, "from"), Text::read_all(fields, "to"));
        let level = LevelSetting::read(fields, context);
        let (attach, buttons) =
            (AttachSetting::read(fields, context), button::read(fields, context));
        let node = node?;
        let prop = |name: &str| Text::read(&node.prop(name)?);
        let settings = EmailSettings {
            smtp: Text::read(&node.arg(0)?)?,
            username: prop("username"),
            password: prop("password"),
            ca: prop("ca"),
            is_plain: node.filled().prop("plain", |scalar| scalar.boolean()),
            from: from?,
            to: to?,
            subject: Text::read_child(fields, "subject"),
            click: link::read(fields),
            level: level?,
            attach: attach?,
            buttons,
        };
        check(&settings, context.diagnostics).then_some(settings)
    }

    fn needed(settings: &EmailSettings) -> Vec<Needed> {
        let given = [&settings.smtp, &settings.from].into_iter().chain(&settings.to);
        let given = given.chain(&settings.username).chain(&settings.password).chain(&settings.ca);
        let given = given.chain(&settings.subject).chain(&settings.click).map(Text::needed);
        let given = given.chain(settings.attach.as_ref().and_then(AttachSetting::needed));
        given.chain(button::needed(&settings.buttons)).collect()
    }
}

/// Reports what a table cannot know.
fn check(settings: &EmailSettings, diagnostics: &mut Diagnostics) -> bool {
    check_twice(&settings.to, "recipient", diagnostics);
    let before = diagnostics.found().len();
    let mut wrong = |text: &Text, message: String, label: &str, help: &str| {
        let found = diagnostics.push(Rule::WrongArgument, message);
        found.at(text.setting.span.clone(), label).help(help);
    };
    if let Some(url) = settings.smtp.setting.value.literal() {
        match ServerUrl::parse(url) {
            Err(message) => wrong(
                &settings.smtp,
                message.to_owned(),
                "not the URL of a mail server",
                "write it like \"smtps://mail.example.org\" or \"smtp+starttls://mail.example.org:587\"",
            ),
            Ok(url) if !settings.is_plain && !url.is_private() => wrong(
                &settings.smtp,
                "this connection is not encrypted".to_owned(),
                "others on the network can read the e-mails and the password",
                "write `smtp+starttls://`; if the server cannot do that and the network is your own, add `plain=#true`",
            ),
            Ok(_) => {}
        }
    }
    if let (Some(text), None) | (None, Some(text)) = (&settings.username, &settings.password) {
        let message = "a user name and a password belong together".to_owned();
        let help = "write both: `username=(env)\"MAIL_USER\" password=(env)\"MAIL_PASSWORD\"`";
        wrong(text, message, "without the other one", help);
    }
    if let Some(ca) = settings.ca.as_ref().filter(|ca| is_fixed(ca, |it| !it.contains("BEGIN "))) {
        let message = "this is not a certificate".to_owned();
        wrong(ca, message, "its text is needed, not its name", "write `ca=(file)\"lan.pem\"`");
    }
    for address in std::iter::once(&settings.from).chain(&settings.to) {
        if is_fixed(address, |it| it.parse::<Mailbox>().is_err()) {
            let message = "this is not an e-mail address".to_owned();
            let help = "write it like \"eva@example.org\" or \"Eva <eva@example.org>\"";
            wrong(address, message, "cannot be written to", help);
        }
    }
    diagnostics.found().len() == before
}

/// Whether a text of the file itself, the same for every event, is like this.
fn is_fixed(text: &Text, is_like: impl Fn(&str) -> bool) -> bool {
    text.setting.value.literal().is_some_and(|literal| !literal.contains("{{") && is_like(literal))
}

/// What the URL of a mail server says.
struct ServerUrl {
    host: String,
    port: u16,
    security: Security,
}

impl ServerUrl {
    fn parse(url: &str) -> Result<ServerUrl, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("this URL has no scheme")?;
        let (security, port) = match scheme {
            "smtps" => (Security::Tls, 465),
            "smtp+starttls" => (Security::StartTls, 587),
            "smtp" => (Security::Plain, 25),
            _ => return Err("this is not the URL of a mail server"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err("this URL has more than a host and a port");
        }
        let (host, port) = match rest.rsplit_once(':').filter(|it| !it.1.ends_with(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| "this port is not a number")?),
            None => (rest, port),
        };
        let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err("this URL has no host");
        }
        Ok(ServerUrl { host: host.to_owned(), port, security })
    }

    /// Whether nobody on the way can read along.
    fn is_private(&self) -> bool {
        let is_loopback = || match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        };
        self.security != Security::Plain || is_loopback()
    }
}

impl NotifyKind for Email {
    const USES_FETCH: bool = false;

    fn is_remote(_: &EmailSettings) -> bool {
        true
    }

    fn no_update(_: &EmailSettings) -> Option<NoUpdate> {
        None
    }

    fn recipients(settings: &EmailSettings) -> Vec<EmailSettings> {
        let to = settings.to.iter();
        to.map(|it| EmailSettings { to: vec![it.clone()], ..settings.clone() }).collect()
    }

    async fn open(
        settings: EmailSettings,
        services: Services,
    ) -> Result<Box<dyn DynNotify>, Fault> {
        let [to] = &settings.to[..] else { unreachable!("it is opened for one recipient") };
        let from = resolve(&settings.from.setting.value, &services)?;
        let from = from.parse().map_err(|_| no_address(&from))?;
        Ok(Box::new(Email {
            server: Arc::new(server(&settings, &from, &services)?),
            from,
            to: to.open(&services)?,
            subject: settings
                .subject
                .as_ref()
                .map(|subject| subject.open(&services))
                .transpose()?,
            link: MessageLink::open(settings.click.as_ref(), &services)?,
            level: settings.level,
            attach: Attach::open(settings.attach.as_ref(), &services)?,
            buttons: Buttons::open(&settings.buttons, &services)?,
            conversations: Arc::new(Semaphore::new(CONVERSATIONS_MAX)),
            services,
        }))
    }
}

fn no_address(text: &str) -> Fault {
    let shown = SUBJECT_LIMIT.cut(&super::text::one_line(text));
    Fault::permanent(format!("`{shown}` is not an e-mail address"))
}

/// The server of a file, with what comes from outside it.
fn server(
    settings: &EmailSettings,
    from: &Mailbox,
    services: &Services,
) -> Result<MailServer, Fault> {
    let text = |text: &Text| resolve(&text.setting.value, services);
    let url = ServerUrl::parse(&text(&settings.smtp)?).map_err(Fault::permanent)?;
    if !settings.is_plain && !url.is_private() {
        let reason = "the URL of the mail server speaks no TLS: write `smtp+starttls://`, or add `plain=#true`";
        return Err(Fault::permanent(reason));
    }
    let mut tls = TlsParameters::builder(url.host.clone());
    if let Some(ca) = &settings.ca {
        let pem = Certificate::from_pem(text(ca)?.as_bytes());
        tls = tls.add_root_certificate(
            pem.map_err(|_| Fault::permanent("`ca` has no certificate in PEM"))?,
        );
    }
    let tls = tls.build().map_err(|fault| Fault::permanent(fault.to_string()))?;
    let login = match (&settings.username, &settings.password) {
        (Some(user), Some(password)) => Some((text(user)?, text(password)?)),
        _ => None,
    };
    let ServerUrl { host, port, security } = url;
    let hello = ClientId::Domain(from.email.domain().to_owned());
    Ok(MailServer { host, port, security, tls, login, hello })
}

impl Notify for Email {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        Notify::notify_all(self, std::slice::from_ref(notice)).await.remove(0)
    }

    fn batch_max(&self) -> usize {
        // Fetching takes its share of the time for each.
        if self.attach.is_some() { 1 } else { BATCH_MAX }
    }

    async fn notify_all(&self, batch: &[Notice]) -> Vec<Result<(), Fault>> {
        let mut written = Vec::with_capacity(batch.len());
        for notice in batch {
            let attach = self.attach.as_ref();
            let file = Attach::fetch(attach, notice, &self.services, FILE_MAX).await;
            written.push(self.letter(notice, file).map(|written| written.0));
        }
        let mut faults = Vec::new();
        let mut letters = Vec::new();
        for letter in written {
            faults.push(letter.as_ref().err().cloned());
            letters.extend(letter.ok());
        }
        let sent = match letters.is_empty() {
            true => Vec::new(),
            false => self.post(letters, batch[0].outgoing.timeout).await,
        };
        let mut sent = sent.into_iter();
        let end = |fault: Option<Fault>| match fault {
            Some(fault) => Err(fault),
            None => sent.next().expect("each letter has an end"),
        };
        faults.into_iter().map(end).collect()
    }

    async fn update(&self, notice: &Notice) -> Result<String, Fault> {
        let attach = self.attach.as_ref();
        let file = Attach::fetch(attach, notice, &self.services, FILE_MAX).await;
        let (letter, receipt) = self.letter(notice, file)?;
        self.post(vec![letter], notice.outgoing.timeout).await.remove(0)?;
        Ok(receipt)
    }
}

impl Email {
    async fn post(&self, letters: Vec<Letter>, timeout: Duration) -> Vec<Result<(), Fault>> {
        let clock = self.services.env.clock.clone();
        // What was handed over is known before the whole attempt is given up.
        let deadline = clock.monotonic() + timeout * 9 / 10;
        let (server, count) = (self.server.clone(), letters.len());
        let place = self.conversations.acquire_arc();
        let place = kernel::env::within(&*clock, timeout * 9 / 10, place).await;
        let Some(place) = place else {
            let reason = "earlier conversations with the mail server have not ended";
            return vec![Err(Fault::transient(Cause::Timeout, reason)); count];
        };
        let time = clock.clone();
        let job = move || {
            let _place = place;
            server.post(&letters, &*time, deadline)
        };
        let sent = self.services.env.pools.outside.run(job).await;
        sent.unwrap_or_else(|fault| vec![Err(fault.into()); count])
    }

    /// The letter about an event, and what a later one must know to be a reply in its thread.
    fn letter(&self, notice: &Notice, file: Option<Attachment>) -> Result<(Letter, String), Fault> {
        let event = notice.outgoing.event();
        let scope = Scope::of(event, self.services.env.clock.wall());
        let mut text = MessageText::of(notice);
        let scope = Scope { title: Some(&notice.title), message: Some(&notice.message), ..scope };
        if let Some(subject) = &self.subject {
            text.title = super::text::one_line(&subject.render(&scope));
        }
        if text.title.is_empty() {
            text.title = text.message.lines().next().unwrap_or_default().to_owned();
        }
        let to = self.to.render(&scope);
        let to: Mailbox = to.trim().parse().map_err(|_| no_address(&to))?;
        let place = place_of(&[&self.from.to_string(), &to.to_string()]);
        let thread = MessageReceipt::before(notice, &place);
        if let Some(subject) = thread.as_ref().and_then(|first| first.detail.as_ref()) {
            text = in_thread(text, subject);
        }
        let text = text.cut(SUBJECT_LIMIT, MESSAGE_LIMIT);
        let link = self.link.of(event, &scope).map(|it| format!("\n\n{it}")).unwrap_or_default();
        let button = |button: button::Button| format!("\n\n{}: {}", button.label, button.url);
        let buttons: String = self.buttons.of(&scope).into_iter().map(button).collect();
        let domain = self.from.email.domain();
        let level = self.level.of(event.envelope.priority, &scope);
        let received = u64::try_from(event.envelope.received.0).unwrap_or(0);
        let id = format!("{}@{domain}", id_of(&notice.outgoing.key));
        let letter = MessageBuilder::new()
            .from(self.from.clone())
            .to(to.clone())
            .date(UNIX_EPOCH + Duration::from_micros(received))
            .message_id(Some(format!("<{id}>")))
            // RFC 3834: nobody's absence is answered to us.
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("Importance", importance_of(level)));
        let letter = match &thread {
            None => letter.subject(text.title.clone()),
            Some(first) => letter
                .subject(format!("Re: {}", text.title))
                .in_reply_to(format!("<{}>", first.id))
                .references(format!("<{}>", first.id)),
        };
        let body = SinglePart::builder()
            .header(ContentType::TEXT_PLAIN)
            .body(format!("{}{buttons}{link}", text.message));
        let letter = match file {
            None => letter.singlepart(body),
            Some(file) => {
                let media = ContentType::parse(file.media).expect("each is a media type");
                let file = lettre::message::Attachment::new(file.name).body(file.bytes, media);
                let mixed =
                    MultiPart::mixed().boundary(attach::boundary(&self.services.env.random));
                letter.multipart(mixed.singlepart(body).singlepart(file))
            }
        };
        let letter = letter
            .map_err(|fault| Fault::permanent(format!("cannot build the e-mail: {fault}")))?;
        let first = thread.unwrap_or(MessageReceipt { id, detail: Some(text.title) });
        let (from, to) = (self.from.email.clone(), to.email);
        Ok((Letter { from, to, bytes: letter.formatted() }, first.write(&place)))
    }
}

/// A reply has the subject of the first letter, or some programs show it elsewhere; so what would
/// be its own becomes its first line.
fn in_thread(text: MessageText, subject: &str) -> MessageText {
    let MessageText { title, message } = text;
    let is_said = SUBJECT_LIMIT.cut(&title) == subject || message.lines().next() == Some(&*title);
    let message = if is_said { message } else { format!("{title}\n\n{message}") };
    MessageText { title: subject.to_owned(), message }
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// The same for every attempt, and in letters that any program takes.
fn id_of(key: &str) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(key.as_bytes());
    format!("{:032x}", hasher.finish128().as_u128())
}

/// By RFC 4021.
fn importance_of(level: Level) -> &'static str {
    match level {
        Level::Min | Level::Low => "low",
        Level::Default => "normal",
        Level::High | Level::Max => "high",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::MessageUpdate;
    use crate::notifiers::testing::notice;
    use crate::testing;
    use std::collections::BTreeMap;

    const MAIL: &str = "smtp \"smtp://127.0.0.1:9\"\nfrom \"Door <door@example.org>\"\n";

    fn letter(text: &str, notice: &Notice) -> Result<String, Fault> {
        written(text, notice).map(|written| written.0)
    }

    /// The letter, and its receipt.
    fn written(text: &str, notice: &Notice) -> Result<(String, String), Fault> {
        let settings = testing::settings::<Email>(text);
        let services = testing::alone();
        let from: Mailbox = resolve(&settings.from.setting.value, &services)?.parse().unwrap();
        let email = Email {
            server: Arc::new(server(&settings, &from, &services)?),
            from,
            to: settings.to[0].open(&services)?,
            subject: settings
                .subject
                .as_ref()
                .map(|subject| subject.open(&services))
                .transpose()?,
            link: MessageLink::open(settings.click.as_ref(), &services)?,
            level: settings.level,
            attach: None,
            buttons: Buttons::open(&settings.buttons, &services)?,
            conversations: Arc::new(Semaphore::new(1)),
            services,
        };
        let (name, media) = ("a.jpg".to_owned(), "image/jpeg");
        let file = Attachment { name, media, bytes: b"\xff\xd8\xff".to_vec() };
        let is_attached = text.contains("attach ");
        let (letter, receipt) = email.letter(notice, is_attached.then_some(file))?;
        assert_eq!(letter.from.to_string(), "door@example.org");
        Ok((String::from_utf8(letter.bytes).unwrap(), receipt))
    }

    #[test]
    fn a_letter_has_the_same_id_at_every_attempt_and_no_header_of_an_event() {
        let text = format!("{MAIL}to \"Eva <eva@example.org>\"\nlevel max");
        let evil = notice("Ring\r\nBcc: evil@example.org", "one\n.\nQUIT\r\nBcc: x");
        let first = letter(&text, &evil).unwrap();
        assert_eq!(first, letter(&text, &evil).unwrap());
        let (head, body) = first.split_once("\r\n\r\n").unwrap();
        let has = |line: &str| head.lines().any(|it| it == line);
        assert!(has("Subject: Ring Bcc: evil@example.org"), "{head}");
        assert!(has("From: Door <door@example.org>") && has("To: Eva <eva@example.org>"), "{head}");
        assert!(has("Message-ID: <c3772e06ad76ed86ae6d90b0597e56c5@example.org>"), "{head}");
        assert!(has("Auto-Submitted: auto-generated") && has("Importance: high"), "{head}");
        assert!(has("Date: Thu, 01 Jan 2026 09:59:56 +0000"), "{head}");
        assert!(!head.lines().any(|line| line.starts_with("Bcc")), "{head}");
        let expected = "one\r\n.\r\nQUIT\r\nBcc: x\r\n\r\nhttp://127.0.0.1:8600/#/event/e-1\r\n";
        assert_eq!(body, expected);
    }

    /// The receipt and the head of a letter about the same thing as the one of `before`, and its
    /// first line.
    fn later(
        to: &str,
        key: &str,
        before: Option<&str>,
        title: &str,
    ) -> (String, BTreeMap<String, String>, String) {
        let text = format!("{MAIL}to \"{to}\"\nclick \"\"");
        let mut notice = notice(title, "m");
        notice.outgoing.key = key.into();
        notice.update = Some(MessageUpdate::new("mail", "visit", before.map(str::to_owned)));
        let (letter, receipt) = written(&text, &notice).unwrap();
        assert_eq!(letter, written(&text, &notice).unwrap().0, "the same at every attempt");
        let (head, body) = letter.split_once("\r\n\r\n").unwrap();
        let field = |line: &str| line.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned()));
        let first = body.lines().next().unwrap_or_default().to_owned();
        (receipt, head.lines().filter_map(field).collect(), first)
    }

    #[test]
    fn a_later_letter_is_a_reply_to_the_first_one() {
        let (receipt, first, body) = later("eva@example.org", "a", None, "Somebody rings");
        assert_eq!((&*first["Subject"], &*body), ("Somebody rings", "m"));
        assert!(!first.contains_key("In-Reply-To") && !first.contains_key("References"));
        let mut ids = vec![first["Message-ID"].clone()];
        for (key, title, body) in
            [("b", "Anna", "Anna"), ("c", "Somebody rings", "m"), ("d", "m", "m")]
        {
            let (same, head, line) = later("eva@example.org", key, Some(&receipt), title);
            assert_eq!((&same, &*line), (&receipt, body));
            assert_eq!(head["Subject"], "Re: Somebody rings");
            assert_eq!((&head["In-Reply-To"], &head["References"]), (&ids[0], &ids[0]));
            assert!(!ids.contains(&head["Message-ID"]));
            ids.push(head["Message-ID"].clone());
        }
        let (other, head, _) = later("max@example.org", "e", Some(&receipt), "Anna");
        assert_eq!(head["Subject"], "Anna", "Max does not have the first one");
        assert!(!head.contains_key("References") && other != receipt);
    }

    #[test]
    fn a_subject_of_any_length_is_the_same_in_its_thread() {
        let long = format!("Tür {}", "ä".repeat(300));
        let (receipt, _, _) = later("eva@example.org", "a", None, &long);
        let (same, _, line) = later("eva@example.org", "b", Some(&receipt), &long);
        assert_eq!((same, &*line), (receipt.clone(), "m"));
        assert!(receipt.ends_with("ä…") && receipt.chars().count() < 350, "{receipt}");
    }

    #[test]
    fn a_picture_is_a_part_of_the_letter() {
        let more = "attach \"http://cam/a\"\nbutton \"Live\" \"https://cam/live\"";
        let letter = letter(&format!("{MAIL}to \"a@b.c\"\n{more}"), &notice("t", "m")).unwrap();
        let (head, body) = letter.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Type: multipart/mixed"), "{head}");
        assert!(body.contains("m\r\n\r\nLive: https://cam/live\r\n\r\nhttp"), "{body}");
        assert!(body.contains("filename=\"a.jpg\"") && body.contains("\r\n/9j/\r\n"), "{body}");
    }

    #[test]
    fn letters_outside_ascii_are_encoded() {
        let text = format!("{MAIL}to \"{{{{ data.to }}}}\"\nsubject \"[door] {{{{ title }}}}\"");
        let mut notice = notice("Tür", "läutet 🔔");
        notice.outgoing = testing::outgoing(serde_json::json!({ "to": "Jürgen <j@example.org>" }));
        let letter = letter(&text, &notice).unwrap();
        assert!(letter.is_ascii() && letter.contains("Subject: [door] =?utf-8?b?"), "{letter}");
        assert!(letter.contains("Content-Transfer-Encoding: "), "{letter}");
    }

    #[test]
    fn an_event_cannot_make_an_address_of_what_is_none() {
        let text = format!("{MAIL}to \"{{{{ data.to }}}}\"");
        for to in ["", "eva", "a@b\r\nRCPT TO:<c@d>", "a@b>, <c@d", "a@b, c@d"] {
            let mut notice = notice("t", "m");
            notice.outgoing = testing::outgoing(serde_json::json!({ "to": to }));
            let fault = letter(&text, &notice).unwrap_err();
            assert!(!fault.is_transient() && fault.reason.contains("not an e-mail"), "{fault:?}");
            assert!(!fault.reason.contains('\n'), "{fault:?}");
        }
    }

    #[test]
    fn mistakes_are_found_at_their_place() {
        let found = |text: &str| testing::findings::<Email>(text);
        let with = |smtp: &str| found(&format!("smtp {smtp}\nfrom \"a@b.c\"\nto \"d@e.f\""));
        assert_eq!(with("\"smtps://h\""), Vec::<String>::new());
        assert_eq!(with("\"smtp://127.0.0.1\""), Vec::<String>::new());
        assert_eq!(with("\"smtp://[::1]:2525\""), Vec::<String>::new());
        assert_eq!(with("\"smtp://h\" plain=#true"), Vec::<String>::new());
        assert_eq!(with("\"smtp://h\""), ["E0016 this connection is not encrypted"]);
        assert_eq!(with("\"http://h\""), ["E0016 this is not the URL of a mail server"]);
        assert_eq!(with("\"smtps://u:p@h\""), ["E0016 this URL has more than a host and a port"]);
        assert_eq!(with("\"smtps://h\" ca=\"lan.pem\""), ["E0016 this is not a certificate"]);
        let alone = ["E0016 a user name and a password belong together"];
        assert_eq!(with("\"smtps://h\" username=(env)\"U\""), alone);
        let found = found(
            "smtp (env)\"S\"\nfrom \"door\"\nto \"eva\" \"{{ data.to }}\" \"a@b.c\" \"a@b.c\"",
        );
        let bad = "E0016 this is not an e-mail address";
        assert_eq!(found, [bad, bad, "E0206 this recipient is given twice"]);
    }

    #[test]
    fn a_server_from_outside_must_be_private_too() {
        let open = |url: &str| {
            let text =
                format!("smtp (env)\"NONE\" default=\"{url}\"\nfrom \"a@b.c\"\nto \"d@e.f\"");
            let settings = testing::settings::<Email>(&text);
            smol::block_on(Email::open(settings, testing::alone())).map(drop)
        };
        assert_eq!(open("smtps://mail.example.org"), Ok(()));
        assert!(open("smtp://mail.example.org").unwrap_err().reason.contains("speaks no TLS"));
        assert!(open("http://mail.example.org").is_err());
    }
}
