//! Times by patterns of Unicode's letters (LDML), and ranges of the time of day.

use crate::expr::problem::ExprProblem;
use crate::expr::value::Val;
use crate::parse_duration;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use kernel::hours::DayRange;
use kernel::time::Timestamp;
use std::fmt::Write;
use std::ops::Range;

/// Microseconds of a second.
const MICROS: i64 = 1_000_000;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// The letters that mean something; a letter stands as often as a row says.
const LETTERS: &[(char, &[usize])] = &[
    ('y', &[1, 2, 4]),
    ('M', &[1, 2, 3, 4]),
    ('d', &[1, 2]),
    ('E', &[1, 2, 3, 4]),
    ('H', &[1, 2]),
    ('h', &[1, 2]),
    ('a', &[1]),
    ('m', &[1, 2]),
    ('s', &[1, 2]),
    ('S', &[1, 2, 3, 4, 5, 6]),
    ('Z', &[1, 2, 3, 5]),
    ('X', &[1, 2, 3]),
    ('x', &[1, 2, 3]),
];

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq)]
enum MomentPiece {
    Text(String),
    Letters(char, usize),
}

/// The pieces of a pattern; the error is the letters that mean nothing. Text in single quotes
/// stands for itself, and two of them for one.
fn pieces(pattern: &str) -> Result<Vec<MomentPiece>, String> {
    let (mut pieces, mut text) = (Vec::new(), String::new());
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix("''") {
            text.push('\'');
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('\'') {
            let Some((quoted, behind)) = behind.split_once('\'') else {
                return Err("'".to_owned());
            };
            text.push_str(quoted);
            rest = behind;
        } else if first.is_ascii_alphabetic() {
            let count = rest.chars().take_while(|letter| *letter == first).count();
            if !LETTERS.iter().any(|letter| letter.0 == first && letter.1.contains(&count)) {
                return Err(rest[..count].to_owned());
            }
            if !text.is_empty() {
                pieces.push(MomentPiece::Text(std::mem::take(&mut text)));
            }
            pieces.push(MomentPiece::Letters(first, count));
            rest = &rest[count..];
        } else {
            text.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    if !text.is_empty() {
        pieces.push(MomentPiece::Text(text));
    }
    Ok(pieces)
}

/// What is wrong with a pattern: letters that mean nothing, or a quote that is not closed.
pub(super) fn pattern_problem(pattern: &str, span: &Range<usize>) -> Option<ExprProblem> {
    let is_percent = |pair: &[u8]| pair[0] == b'%' && pair[1].is_ascii_alphabetic();
    if pattern.as_bytes().windows(2).any(is_percent) {
        let message = format!("`{pattern}` is not a pattern of a time");
        return Some(ExprProblem::syntax(span.clone(), message).help(
            "a pattern has letters without `%`: `HH:mm` for hours and minutes, `yyyy-MM-dd` for a \
             date",
        ));
    }
    let letters = match pieces(pattern) {
        Err(letters) => letters,
        Ok(pieces) => return minutes_of_date(pattern, &pieces, span),
    };
    if letters == "'" {
        let message = format!("a quote in the pattern `{pattern}` is never closed");
        return Some(ExprProblem::syntax(span.clone(), message).help("write `''` for one quote"));
    }
    let message = format!("`{letters}` is not a valid field in the pattern `{pattern}`");
    let help = "a pattern consists of yyyy MM MMM dd EEE HH hh a mm ss SSS Z XXX, separators, and \
                text in single quotes";
    Some(ExprProblem::syntax(span.clone(), message).help(help))
}

/// `dd.mm.yyyy`: `mm` are minutes.
fn minutes_of_date(
    pattern: &str,
    pieces: &[MomentPiece],
    span: &Range<usize>,
) -> Option<ExprProblem> {
    let has = |letter: char| {
        pieces.iter().any(|piece| matches!(piece, MomentPiece::Letters(it, _) if *it == letter))
    };
    if !has('m') || has('H') || has('h') || has('M') || !has('d') && !has('y') {
        return None;
    }
    let message = format!("`m` are minutes in the pattern `{pattern}`, and it has no hours");
    let meant = pattern.replace('m', "M");
    Some(ExprProblem::syntax(span.clone(), message).help(format!("months are `M`: `{meant}`")))
}

/// Microseconds as seconds, whole where they are.
pub(super) fn seconds(micros: i64) -> Val<'static> {
    match micros % MICROS {
        0 => Val::Int(micros / MICROS),
        _ => Val::float(micros as f64 / MICROS as f64),
    }
}

/// A duration out of a text, or of a number of seconds.
pub(super) fn span<'a>(value: &Val<'a>) -> Val<'a> {
    let micros = match value {
        Val::Span(micros) => Some(*micros),
        Val::Text(text) => parse_span(text),
        Val::Int(seconds) => seconds.checked_mul(MICROS),
        other => other.as_f64().and_then(|seconds| {
            let micros = (seconds * MICROS as f64).round();
            (micros.abs() < i64::MAX as f64).then_some(micros as i64)
        }),
    };
    micros.map_or(Val::Null, Val::Span)
}

/// A duration as text has it, in microseconds: `5m`, `1d2h3m4.5s`, `-30s`.
pub(super) fn parse_span(text: &str) -> Option<i64> {
    let (sign, size) = text.strip_prefix('-').map_or((1, text), |size| (-1, size));
    // It is read as a number of seconds, which is not exact to the last digit.
    let micros = (parse_duration(size)?.as_nanos() + 500) / 1000;
    i64::try_from(micros).ok().map(|micros| sign * micros)
}

/// How a time is written, in Unicode's letters.
#[derive(Debug, Clone, PartialEq)]
pub struct TimePattern {
    pieces: Vec<MomentPiece>,
}

impl TimePattern {
    /// The pattern `text`, by which a whole time can be read.
    pub fn new(text: &str) -> Result<TimePattern, ExprProblem> {
        let whole = 0..text.len();
        if let Some(problem) = pattern_problem(text, &whole) {
            return Err(problem);
        }
        if !has_date(text) {
            let message = format!("`{text}` does not describe a whole time");
            let help = "a pattern needs a year, a month and a day: `yyyy-MM-dd HH:mm:ss`";
            return Err(ExprProblem::syntax(whole, message).help(help));
        }
        Ok(TimePattern { pieces: pieces(text).unwrap_or_default() })
    }

    /// The time that a text says; the zone, or else UTC, is for texts that name none.
    pub fn read(&self, text: &str, zone: Option<&TimeZone>) -> Option<Timestamp> {
        read_by(text, &self.pieces, zone.unwrap_or(&TimeZone::UTC))
    }
}

/// Whether a pattern names a whole date, so that a time can be read by it.
pub(super) fn has_date(pattern: &str) -> bool {
    let pieces = pieces(pattern).unwrap_or_default();
    let has = |letter| {
        pieces
            .iter()
            .any(|piece| matches!(piece, MomentPiece::Letters(piece, _) if *piece == letter))
    };
    has('y') && has('M') && has('d')
}

/// The time in a zone.
pub(super) fn zoned(time: Timestamp, zone: &TimeZone) -> Option<jiff::Zoned> {
    Some(jiff::Timestamp::from_microsecond(time.0).ok()?.to_zoned(zone.clone()))
}

/// The time as the pattern says.
pub(super) fn shown(time: Timestamp, pattern: &str, zone: &TimeZone) -> Option<String> {
    let at = zoned(time, zone)?;
    let mut made = String::new();
    for piece in pieces(pattern).ok()? {
        let (letter, count) = match piece {
            MomentPiece::Text(text) => {
                made.push_str(&text);
                continue;
            }
            MomentPiece::Letters(letter, count) => (letter, count),
        };
        let number = match letter {
            'y' if count == 2 => i64::from(at.year().rem_euclid(100)),
            'y' => i64::from(at.year()),
            'M' => i64::from(at.month()),
            'd' => i64::from(at.day()),
            'H' => i64::from(at.hour()),
            'h' => i64::from((at.hour() + 11) % 12 + 1),
            'm' => i64::from(at.minute()),
            's' => i64::from(at.second()),
            _ => 0,
        };
        let word = match (letter, count) {
            ('M', 3 | 4) => Some(MONTHS[at.month() as usize - 1]),
            ('E', _) => Some(WEEKDAYS[at.weekday().to_monday_zero_offset() as usize]),
            ('a', _) => Some(if at.hour() < 12 { "AM" } else { "PM" }),
            _ => None,
        };
        match (letter, word) {
            ('M' | 'E', Some(word)) if count < 4 => made.push_str(&word[..3]),
            (_, Some(word)) => made.push_str(word),
            ('S', _) => made.push_str(&format!("{:06}", at.subsec_nanosecond() / 1000)[..count]),
            ('Z' | 'X' | 'x', _) => made.push_str(&offset_shown(at.offset(), letter, count)),
            _ => write!(made, "{number:0count$}").expect("writing to a String cannot fail"),
        }
    }
    Some(made)
}

/// `+0100`, `+01:00`, `+01` or `Z`.
fn offset_shown(offset: Offset, letter: char, count: usize) -> String {
    let seconds = offset.seconds();
    let has_zulu = letter == 'X' || (letter, count) == ('Z', 5);
    if seconds == 0 && has_zulu {
        return "Z".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    match (letter, count) {
        ('X' | 'x', 1) if minutes == 0 => format!("{sign}{hours:02}"),
        ('X' | 'x', 3) | ('Z', 5) => format!("{sign}{hours:02}:{minutes:02}"),
        _ => format!("{sign}{hours:02}{minutes:02}"),
    }
}

/// What was read so far.
#[derive(Default)]
struct MomentParts {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    hour: i8,
    is_afternoon: Option<bool>,
    minute: i8,
    second: i8,
    nanos: i32,
    offset: Option<Offset>,
}

/// The time that a text says by the pattern; the zone is for texts that name none.
pub(super) fn read(text: &str, pattern: &str, zone: &TimeZone) -> Option<Timestamp> {
    read_by(text, &pieces(pattern).ok()?, zone)
}

fn read_by(text: &str, pieces: &[MomentPiece], zone: &TimeZone) -> Option<Timestamp> {
    let (mut rest, mut parts) = (text.trim(), MomentParts::default());
    for piece in pieces {
        rest = match piece {
            MomentPiece::Text(expected) => rest.strip_prefix(&**expected)?,
            MomentPiece::Letters(letter, count) => read_piece(rest, *letter, *count, &mut parts)?,
        };
    }
    let hour = match parts.is_afternoon {
        None => parts.hour,
        Some(_) if !(1..=12).contains(&parts.hour) => return None,
        Some(is_afternoon) => parts.hour % 12 + if is_afternoon { 12 } else { 0 },
    };
    let date = Date::new(parts.year?, parts.month?, parts.day?).ok()?;
    let time = jiff::civil::Time::new(hour, parts.minute, parts.second, parts.nanos).ok()?;
    let at = date.to_datetime(time);
    let at = match parts.offset {
        Some(offset) => offset.to_timestamp(at).ok()?,
        None => zone.to_timestamp(at).ok()?,
    };
    rest.is_empty().then_some(Timestamp(at.as_microsecond()).in_millis())
}

fn read_piece<'t>(
    text: &'t str,
    letter: char,
    count: usize,
    parts: &mut MomentParts,
) -> Option<&'t str> {
    let of = |names: &[&str]| {
        let length = |text: &str| if count < 4 { 3 } else { text.len() };
        let is_it = |it: &&str| {
            let begin = text.get(..length(it));
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(&it[..length(it)]))
        };
        let index = names.iter().position(is_it)?;
        Some((index, &text[length(names[index])..]))
    };
    match (letter, count) {
        ('M', 3 | 4) => {
            let (index, rest) = of(&MONTHS)?;
            parts.month = i8::try_from(index + 1).ok();
            return Some(rest);
        }
        ('E', _) => return of(&WEEKDAYS).map(|it| it.1),
        ('a', _) => {
            let word = text.get(..2)?;
            parts.is_afternoon = Some(word.eq_ignore_ascii_case("pm"));
            let is_word = word.eq_ignore_ascii_case("am") || word.eq_ignore_ascii_case("pm");
            return is_word.then_some(&text[2..]);
        }
        ('Z' | 'X' | 'x', _) => return read_offset(text, parts),
        _ => {}
    }
    let most = match (letter, count) {
        ('y', 2) => 2,
        ('y', _) => 4,
        ('S', _) => count,
        _ => 2,
    };
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let least = if letter == 'y' || letter == 'S' { most } else { count };
    if digits < least {
        return None;
    }
    let number: i32 = text[..digits].parse().ok()?;
    let small = i8::try_from(number).ok();
    match letter {
        // As Unix does: 69 is 1969, and 68 is 2068.
        'y' if count == 2 => {
            parts.year = i16::try_from(number + if number < 69 { 2000 } else { 1900 }).ok();
        }
        'y' => parts.year = i16::try_from(number).ok(),
        'M' => parts.month = small,
        'd' => parts.day = small,
        'H' | 'h' => parts.hour = small?,
        'm' => parts.minute = small?,
        's' => parts.second = small?,
        _ => parts.nanos = number * 10_i32.pow(9 - u32::try_from(digits).ok()?),
    }
    Some(&text[digits..])
}

/// `+0100`, `+01:00`, `+01`, `Z`, or a name of UTC, however many letters there are.
fn read_offset<'t>(text: &'t str, parts: &mut MomentParts) -> Option<&'t str> {
    // A longer name before the one that it begins with.
    if let Some(rest) = ["UTC", "GMT", "UT", "Z"].iter().find_map(|name| text.strip_prefix(name)) {
        parts.offset = Some(Offset::UTC);
        return Some(rest);
    }
    let sign = match text.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let two = |text: &str| {
        let digits = text.get(..2).filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<i32>().ok()
    };
    let hours = two(&text[1..])?;
    let rest = &text[3..];
    let behind = rest.strip_prefix(':').unwrap_or(rest);
    let (minutes, rest) = match two(behind) {
        Some(minutes) => (minutes, &behind[2..]),
        None => (0, rest),
    };
    parts.offset = Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok();
    parts.offset.and((minutes < 60).then_some(rest))
}

/// Whether the time is in a range of the day, by the clock of the zone.
pub(in crate::expr) fn is_within(
    range: DayRange,
    time: Timestamp,
    zone: &TimeZone,
) -> Option<bool> {
    let at = zoned(time, zone)?;
    Some(range.has(at.hour() as u16 * 60 + at.minute() as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, pattern: &str, expected: Option<&str>) {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone");
        let found = read(text, pattern, &zone).map(|it| it.to_string());
        assert_eq!(found.as_deref(), expected, "{text} by {pattern}");
    }

    #[test]
    fn a_text_is_read_by_the_letters_of_unicode() {
        reads(
            "10/Oct/2026:13:55:36 +0200",
            "dd/MMM/yyyy:HH:mm:ss Z",
            Some("2026-10-10T11:55:36.000Z"),
        );
        reads("2026-01-05 09:30", "yyyy-MM-dd HH:mm", Some("2026-01-05T08:30:00.000Z"));
        reads("5.1.26 9:30 PM", "d.M.yy h:mm a", Some("2026-01-05T20:30:00.000Z"));
        reads("Mon Jan 05 2026", "EEE MMM dd yyyy", Some("2026-01-04T23:00:00.000Z"));
        reads(
            "2026-01-05T09:30:00.25Z",
            "yyyy-MM-dd'T'HH:mm:ss.SSX",
            Some("2026-01-05T09:30:00.250Z"),
        );
        reads("2026-01-05T09:30-03:30", "yyyy-MM-dd'T'HH:mmXXX", Some("2026-01-05T13:00:00.000Z"));
        for (text, pattern) in [
            ("Sun, 01 Mar 2026 10:00:00 GMT", "EEE, dd MMM yyyy HH:mm:ss Z"),
            ("2026-03-01 10:00:00.000 UTC", "yyyy-MM-dd HH:mm:ss.SSS Z"),
            ("2026-03-01T10:00:00UT", "yyyy-MM-dd'T'HH:mm:ssXXX"),
        ] {
            reads(text, pattern, Some("2026-03-01T10:00:00.000Z"));
        }
        reads("2026-03-01 10:00 CET", "yyyy-MM-dd HH:mm Z", None);
        reads("2026-02-30", "yyyy-MM-dd", None);
        reads("2026-01-05 rest", "yyyy-MM-dd", None);
        reads("0:30 PM 2026-01-05", "h:mm a yyyy-MM-dd", None);
        reads("", "yyyy-MM-dd", None);
        reads("é", "yyyy", None);
        reads("+é", "Z", None);
    }

    #[test]
    fn what_is_shown_is_read_back() {
        let zone = TimeZone::get("America/New_York").expect("a zone");
        let time = Timestamp::parse("2026-07-04T16:05:09.123Z").expect("a time");
        let pattern = "EEEE, d MMMM yyyy 'at' h:mm:ss.SSSSSS a xxx";
        let text = shown(time, pattern, &zone).expect("it is shown");
        assert_eq!(text, "Saturday, 4 July 2026 at 12:05:09.123000 PM -04:00");
        assert_eq!(read(&text, pattern, &TimeZone::UTC), Some(time));
    }

    #[test]
    fn a_range_goes_across_midnight() {
        let night = DayRange::parse("22:00-7:00").expect("a range");
        let at = |text| is_within(night, Timestamp::parse(text).expect("a time"), &TimeZone::UTC);
        assert_eq!(at("2026-01-01T22:00:00Z"), Some(true));
        assert_eq!(at("2026-01-01T06:59:59Z"), Some(true));
        assert_eq!(at("2026-01-01T07:00:00Z"), Some(false));
        for bad in ["", "22:00", "22:00-25:00", "22-7", "7:00-7:00", "24:00-7:00", "a:00-b:00"] {
            assert_eq!(DayRange::parse(bad), None, "{bad}");
        }
        assert!(DayRange::parse("12:00-24:00").is_some());
    }
}
