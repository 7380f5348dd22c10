//! Lines of syslog: RFC 5424, RFC 3164, and what daemons write into files, which is RFC 3164
//! without the number in front and often with a time of RFC 3339.

use super::{DecodeMoment, Found, shown};
use kernel::time::Timestamp;
use language::expr::{TimePattern, ValueType};
use serde_json::{Map, Value};
use std::sync::LazyLock;
use std::time::Duration;

/// Every field, in the order of RFC 5424.
pub(super) const FIELDS: &[&str] =
    &["facility", "severity", "time", "host", "app", "pid", "msg_id", "structured", "message"];
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] =
    ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];
/// How far ahead of us a sender's clock may be, where its times have no year.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);
/// A 29 February may be so many years ago.
const YEARS_MAX: i32 = 8;

/// `Jan 5 10:00:00` behind a year.
static WITHOUT_YEAR: LazyLock<TimePattern> =
    LazyLock::new(|| TimePattern::new("yyyy MMM d HH:mm:ss").expect("a pattern of ours"));

/// What is known of a field.
pub(super) fn shape(name: &str) -> ValueType {
    let shape = match name {
        "facility" => ValueType::one_of(FACILITIES),
        "severity" => ValueType::one_of(SEVERITIES),
        "structured" => ValueType::open_map(),
        "message" => return ValueType::text(),
        _ => ValueType::text(),
    };
    shape.or_null()
}

/// The fields of a line.
pub(super) fn read(line: &str, moment: DecodeMoment<'_>) -> Result<Found, String> {
    let mut fields = SyslogFields { map: Map::new(), time: None };
    let rest = match line.strip_prefix('<') {
        Some(behind) => fields.priority(behind)?,
        None => line,
    };
    let version = rest.split(' ').next().unwrap_or_default();
    let is_new = rest.len() < line.len() && is_version(version);
    let message = match is_new {
        true => fields.rfc5424(&rest[version.len()..])?,
        false => fields.rfc3164(rest, moment)?,
    };
    let message = message.strip_prefix('\u{feff}').unwrap_or(message);
    fields.text("message", Some(message));
    for name in FIELDS {
        fields.map.entry(*name).or_insert(Value::Null);
    }
    Ok((fields.map, fields.time))
}

fn is_version(word: &str) -> bool {
    let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    is_number && word.len() <= 2 && !word.starts_with('0')
}

struct SyslogFields {
    map: Map<String, Value>,
    time: Option<Timestamp>,
}

impl SyslogFields {
    fn text(&mut self, name: &str, text: Option<&str>) {
        self.map.insert(name.to_owned(), text.map_or(Value::Null, Value::from));
    }

    fn time(&mut self, time: Timestamp) {
        self.time = Some(time);
        self.map.insert("time".to_owned(), Value::String(time.to_string()));
    }

    /// `34>`, behind its `<`; the rest of the line.
    fn priority<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        let found = text.split_once('>').and_then(|(number, rest)| {
            let is_number = number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit());
            let number: usize = number.parse().ok().filter(|_| is_number)?;
            Some((FACILITIES.get(number / 8)?, SEVERITIES[number % 8], rest))
        });
        let (facility, severity, rest) =
            found.ok_or_else(|| format!("not a syslog priority: `<{}`", shown(text)))?;
        self.text("facility", Some(facility));
        self.text("severity", Some(severity));
        Ok(rest)
    }

    /// Behind the version; what is left is the message.
    fn rfc5424<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        let mut rest = text;
        let mut word = || {
            let behind = rest.strip_prefix(' ')?;
            let end = behind.find(' ').unwrap_or(behind.len());
            rest = &behind[end..];
            Some(&behind[..end]).filter(|it| !it.is_empty())
        };
        let words = [word(), word(), word(), word(), word()];
        let [Some(time), Some(host), Some(app), Some(pid), Some(id)] = words else {
            return Err("a syslog line of RFC 5424 that ends before its message".to_owned());
        };
        let given = |text: &'t str| Some(text).filter(|it| *it != "-");
        if let Some(time) = given(time) {
            let read = Timestamp::parse(time);
            self.time(read.ok_or_else(|| format!("not a time: `{}`", shown(time)))?);
        }
        for (name, value) in [("host", host), ("app", app), ("pid", pid), ("msg_id", id)] {
            self.text(name, given(value));
        }
        let rest = rest.strip_prefix(' ').ok_or("there is no structured data in the line")?;
        let rest = match rest.strip_prefix('-') {
            Some(behind) => behind,
            None => self.structured(rest)?,
        };
        match rest.strip_prefix(' ') {
            Some(message) => Ok(message),
            None if rest.is_empty() => Ok(rest),
            None => Err(format!("text directly after structured data: `{}`", shown(rest))),
        }
    }

    /// `[id name="value"][…]`; what is behind it.
    fn structured<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        let (mut elements, mut rest) = (Map::new(), text);
        while let Some(behind) = rest.strip_prefix('[') {
            let (id, values, behind) =
                element(behind).ok_or_else(|| format!("not structured data: `{}`", shown(rest)))?;
            elements.insert(id.to_owned(), Value::Object(values));
            rest = behind;
        }
        if elements.is_empty() {
            return Err(format!("not structured data: `{}`", shown(rest)));
        }
        self.map.insert("structured".to_owned(), Value::Object(elements));
        Ok(rest)
    }

    /// A time, mostly a host, and `app[pid]: ` before the message.
    fn rfc3164<'t>(&mut self, text: &'t str, moment: DecodeMoment<'_>) -> Result<&'t str, String> {
        let (time, rest) = old_time(text, moment)
            .ok_or_else(|| format!("not a syslog line: `{}`", shown(text)))?;
        self.time(time);
        let (first, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        // Without a host the tag comes first.
        let rest = match tag(rest) {
            Some(_) => rest,
            None => {
                self.text("host", Some(first).filter(|it| !it.is_empty()));
                behind
            }
        };
        let Some((app, pid, message)) = tag(rest) else { return Ok(rest) };
        self.text("app", Some(app));
        self.text("pid", pid);
        Ok(message)
    }
}

/// `id name="value" …]`: the id, the values, and what is behind.
fn element(text: &str) -> Option<(&str, Map<String, Value>, &str)> {
    let end = text.find([' ', ']'])?;
    let (id, mut rest) = text.split_at(end);
    let mut values = Map::new();
    while let Some(behind) = rest.strip_prefix(' ') {
        let (name, behind) = behind.split_once("=\"")?;
        let (value, behind) = quoted(behind)?;
        let is_name = !name.is_empty() && !name.contains([' ', ']', '"', '=']);
        values.insert(name.to_owned(), Value::String(value)).is_none().then_some(())?;
        rest = is_name.then_some(behind)?;
    }
    let behind = rest.strip_prefix(']')?;
    (!id.is_empty() && !id.contains(['"', '='])).then_some((id, values, behind))
}

/// The value up to its closing quote, and what is behind that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                escaped @ ('"' | '\\' | ']') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

/// The time at the beginning of a line, and what is behind the space after it.
fn old_time<'t>(text: &'t str, moment: DecodeMoment<'_>) -> Option<(Timestamp, &'t str)> {
    if let Some((word, rest)) = text.split_once(' ')
        && let Some(time) = Timestamp::parse(word)
    {
        return Some((time, rest));
    }
    // `Jan  5 10:00:00`
    let (stamp, rest) = (text.get(..15)?, text.get(15..)?);
    let rest = rest.strip_prefix(' ')?;
    let words: Vec<&str> = stamp.split_ascii_whitespace().collect();
    let stamp = words.join(" ");
    let year: i32 = moment.received.to_string().get(..4)?.parse().ok()?;
    let latest = moment.received.plus(AHEAD_MAX);
    let years = (year - YEARS_MAX..=year + 1).rev();
    let of_year = |year: i32| moment.read(&format!("{year:04} {stamp}"), &WITHOUT_YEAR);
    let time = years.filter_map(of_year).find(|it| *it <= latest)?;
    Some((time, rest))
}

/// `app[pid]: message`, or without the brackets.
fn tag(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let end = text.find([':', '[', ' '])?;
    let (app, rest) = text.split_at(end);
    let (pid, rest) = match rest.strip_prefix('[') {
        Some(behind) => {
            let (pid, behind) = behind.split_once(']')?;
            (Some(pid).filter(|it| !it.contains(' ')), behind)
        }
        None => (None, rest),
    };
    let message = rest.strip_prefix(':')?;
    // A host may have colons: an address of IPv6 goes on behind them.
    let is_end = message.is_empty() || message.starts_with(' ');
    (is_end && !app.is_empty()).then(|| (app, pid, message.strip_prefix(' ').unwrap_or(message)))
}
