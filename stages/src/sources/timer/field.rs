//! The five fields of a cron pattern, and what is wrong with one.
//!
//! What a field may say is decided by the crate that reads it; this finds the smallest part that
//! it does not take, and says what to write instead.

use super::cron::{CronMistake, times_of};
use std::ops::Range;

/// A field of a pattern.
#[derive(Debug, Clone, Copy)]
pub(super) struct CronField {
    pub(super) name: &'static str,
    /// As in "is not a minute".
    one: &'static str,
    least: u32,
    most: u32,
    /// The names of its values, from the least one on.
    names: &'static [&'static str],
    /// What may be written, for example.
    examples: &'static str,
}

pub(super) const FIELDS: [CronField; 5] = [
    CronField {
        name: "minute",
        one: "a minute",
        least: 0,
        most: 59,
        names: &[],
        examples: "`30`, `*/10`, `0-29` or `0,30`",
    },
    CronField {
        name: "hour",
        one: "an hour",
        least: 0,
        most: 23,
        names: &[],
        examples: "`7`, `*/2`, `9-17` or `8,20`",
    },
    CronField {
        name: "day of the month",
        one: "a day of the month",
        least: 1,
        most: 31,
        names: &[],
        examples: "`1`, `1-7` or `1,15`",
    },
    CronField {
        name: "month",
        one: "a month",
        least: 1,
        most: 12,
        names: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
        examples: "`6`, `jun`, `6-8` or `mar,sep`",
    },
    CronField {
        name: "day of the week",
        one: "a day of the week",
        least: 0,
        most: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
        examples: "`1`, `mon`, `mon-fri` or `sat,sun`",
    },
];

/// Short forms of other programs, and the pattern that each stands for.
const SHORT: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A part of a text and where it begins.
type Part<'a> = (usize, &'a str);

/// Everything that is wrong with the fields of a pattern.
pub(super) fn find_mistakes(text: &str) -> Vec<CronMistake> {
    let fields: Vec<Part<'_>> = words(text).collect();
    if text.trim_start().starts_with('@') {
        return vec![short_form(text)];
    }
    if fields.len() != FIELDS.len() {
        return vec![count(text, &fields)];
    }
    let each = fields.iter().enumerate();
    each.flat_map(|(at, (start, field))| {
        split(field, ',').filter_map(move |(inside, item)| {
            let begin = start + inside;
            let wrong = |help| wrong(&FIELDS[at], item, begin..begin + item.len(), help);
            (!is_right(at, item)).then(|| wrong(hint(&FIELDS[at], item)))
        })
    })
    .collect()
}

fn words(text: &str) -> impl Iterator<Item = Part<'_>> {
    let begin = text.as_ptr() as usize;
    text.split_whitespace().map(move |word| (word.as_ptr() as usize - begin, word))
}

fn split(text: &str, by: char) -> impl Iterator<Item = Part<'_>> {
    let begin = text.as_ptr() as usize;
    text.split(by).map(move |part| (part.as_ptr() as usize - begin, part))
}

/// Whether one item of the list of a field can be read. Extensions of some programs, such as `L`
/// and `#`, are left out: those who know them mean different things.
fn is_right(at: usize, item: &str) -> bool {
    let is_plain = |value: &str| {
        let is_number = value.len() <= 2 && value.bytes().all(|byte| byte.is_ascii_digit());
        value == "*"
            || is_number
            || value.len() == 3 && value.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    let mut fields = ["*"; FIELDS.len()];
    fields[at] = item;
    item.split(['/', '-']).all(|part| !part.is_empty() && is_plain(part))
        && times_of(&fields.join(" ")).is_some()
}

fn wrong(field: &CronField, item: &str, at: Range<usize>, help: String) -> CronMistake {
    let message = format!("`{item}` is not {}", field.one);
    let label = match field.names {
        [] => format!("{} to {}", field.least, field.most),
        [first, .., last] => {
            format!("{} to {}, or `{first}` to `{last}`", field.least, field.most)
        }
        [only] => format!("`{only}`"),
    };
    CronMistake { at, message, label, help }
}

/// What to write instead of an item.
fn hint(field: &CronField, item: &str) -> String {
    let (range, step) = item.split_once('/').map_or((item, None), |it| (it.0, Some(it.1)));
    if item == "?" {
        return "write `*`".to_owned();
    }
    if item == "24" && field.name == "hour" {
        return "midnight is `0`".to_owned();
    }
    if let Some((from, to)) = range.split_once('-')
        && let (Some(first), Some(last)) = (value_of(field, from), value_of(field, to))
        && step.is_none()
        && last < first
    {
        return format!("a range runs forward: write `{}`", around(field, from, first, to, last));
    }
    let long = item.to_ascii_lowercase();
    let is_long = |name: &&&str| 3 < long.len() && long.starts_with(**name);
    if let Some(name) = field.names.iter().find(is_long)
        && long.bytes().all(|byte| byte.is_ascii_alphabetic())
    {
        return format!("write `{name}`");
    }
    match step.and_then(|step| step.parse::<u32>().ok()) {
        Some(step) if field.most < step => {
            format!("a step is at most {}; for other times use `every`", field.most)
        }
        _ => format!("write {}", field.examples),
    }
}

fn value_of(field: &CronField, text: &str) -> Option<u32> {
    let named = field.names.iter().position(|name| text.eq_ignore_ascii_case(name));
    let named = named.map(|at| at as u32 + field.least);
    named.or_else(|| text.parse().ok()).filter(|named| (field.least..=field.most).contains(named))
}

/// A range that runs over the end of its field: the hours `22-6` are `22-23,0-6`.
fn around(field: &CronField, from: &str, first: u32, to: &str, last: u32) -> String {
    if field.name == "day of the week" {
        let days = (first..=last + 7).map(|it| field.names[it as usize % 7]);
        return days.collect::<Vec<_>>().join(",");
    }
    let is_named = from.parse::<u32>().is_err();
    let end = |value: u32, name: Option<&&str>| match name {
        Some(name) if is_named => (*name).to_owned(),
        _ => value.to_string(),
    };
    let part = |a: &str, b: &str| if a == b { a.to_owned() } else { format!("{a}-{b}") };
    let most = end(field.most, field.names.last());
    let least = end(field.least, field.names.first());
    format!("{},{}", part(from, &most), part(&least, to))
}

fn short_form(text: &str) -> CronMistake {
    let word = text.trim();
    let known = SHORT.iter().find(|it| word.eq_ignore_ascii_case(it.0));
    let help = match (known, word.strip_prefix("@every ")) {
        (Some((_, pattern)), _) => format!("write `cron \"{pattern}\"`"),
        (None, Some(duration)) => format!("write `every \"{}\"`", duration.trim()),
        (None, None) => five(),
    };
    CronMistake {
        at: 0..text.len(),
        message: format!("`{word}` is not a cron pattern"),
        label: "no short forms here".to_owned(),
        help,
    }
}

/// There are more or less fields than five.
fn count(text: &str, fields: &[Part<'_>]) -> CronMistake {
    let message = format!("a cron pattern has five fields, not {}", fields.len());
    let pattern = |of: &[Part<'_>]| {
        let text = of.iter().map(|it| it.1.replace('?', "*")).collect::<Vec<_>>().join(" ");
        (of.len() == FIELDS.len() && find_mistakes(&text).is_empty()).then_some(text)
    };
    let span = |part: &Part<'_>| part.0..part.0 + part.1.len();
    if let [first, rest @ ..] = fields
        && let [.., last] = rest
        && fields.len() == FIELDS.len() + 1
    {
        let is_zone = kernel::time::zone(last.1).is_some();
        if let Some(pattern) = pattern(&fields[..FIELDS.len()]).filter(|_| is_zone) {
            return CronMistake {
                at: span(last),
                message,
                label: "the time zone is that of the pipeline".to_owned(),
                help: format!(
                    "write `cron \"{pattern}\"`, and `timezone \"{}\"` in the block of `pipeline`",
                    last.1
                ),
            };
        }
        if let Some(pattern) = pattern(rest) {
            return CronMistake {
                at: span(first),
                message,
                label: "there is no field for seconds".to_owned(),
                help: format!("write `cron \"{pattern}\"`, or `every \"10s\"` for seconds"),
            };
        }
    }
    let filled: Vec<Part<'_>> = fields.iter().copied().chain([(0, "*"); 5]).take(5).collect();
    let help = match pattern(&filled).filter(|_| (1..FIELDS.len()).contains(&fields.len())) {
        Some(pattern) => format!("{}: write `cron \"{pattern}\"`", five()),
        None => five(),
    };
    CronMistake { at: 0..text.len(), message, label: "here".to_owned(), help }
}

fn five() -> String {
    format!("the five fields are {}", FIELDS.map(|field| field.name).join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::cron::CronPattern;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str, &str)]) {
        let found = CronPattern::parse(text).err().unwrap_or_default();
        let found: Vec<_> = found
            .iter()
            .map(|it| (&text[it.at.clone()], it.message.as_str(), it.help.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_field_that_is_wrong_is_named_with_what_to_write() {
        let minutes = "write `30`, `*/10`, `0-29` or `0,30`";
        check("61 7 * * *", &[("61", "`61` is not a minute", minutes)]);
        check("0,61 7 * * *", &[("61", "`61` is not a minute", minutes)]);
        check("*/0 7 * * *", &[("*/0", "`*/0` is not a minute", minutes)]);
        check(
            "x, 7 * * *",
            &[("x", "`x` is not a minute", minutes), ("", "`` is not a minute", minutes)],
        );
        let long = "a step is at most 59; for other times use `every`";
        check("*/90 * * * *", &[("*/90", "`*/90` is not a minute", long)]);
        check("0 24 * * *", &[("24", "`24` is not an hour", "midnight is `0`")]);
        let around = "a range runs forward: write `22-23,0-6`";
        check("0 22-6 * * *", &[("22-6", "`22-6` is not an hour", around)]);
        let around = "a range runs forward: write `nov-dec,jan-feb`";
        check("0 0 * nov-feb *", &[("nov-feb", "`nov-feb` is not a month", around)]);
        let around = "a range runs forward: write `fri,sat,sun,mon`";
        check("0 0 * * fri-mon", &[("fri-mon", "`fri-mon` is not a day of the week", around)]);
        let two = [
            ("?", "`?` is not a day of the month", "write `*`"),
            ("Monday", "`Monday` is not a day of the week", "write `mon`"),
        ];
        check("0 0 ? * Monday", &two);
        let days = "write `1`, `1-7` or `1,15`";
        check("0 0 L * *", &[("L", "`L` is not a day of the month", days)]);
        let weekdays = "write `1`, `mon`, `mon-fri` or `sat,sun`";
        check("0 0 * * 5#3", &[("5#3", "`5#3` is not a day of the week", weekdays)]);
    }

    #[test]
    fn there_are_five_fields() {
        let five = "the five fields are minute, hour, day of the month, month, day of the week";
        let filled = format!("{five}: write `cron \"30 7 * * *\"`");
        check("30 7", &[("30 7", "a cron pattern has five fields, not 2", &filled)]);
        check("", &[("", "a cron pattern has five fields, not 0", five)]);
        let seconds = "write `cron \"30 7 * * 1-5\"`, or `every \"10s\"` for seconds";
        check("0 30 7 ? * 1-5", &[("0", "a cron pattern has five fields, not 6", seconds)]);
        let zone = "write `cron \"30 7 * * *\"`, and `timezone \"Europe/Berlin\"` in the block of \
            `pipeline`";
        let found = ("Europe/Berlin", "a cron pattern has five fields, not 6", zone);
        check("30 7 * * * Europe/Berlin", &[found]);
        let daily = ("@daily", "`@daily` is not a cron pattern", "write `cron \"0 0 * * *\"`");
        check("@daily", &[daily]);
        let every = ("@every 5m", "`@every 5m` is not a cron pattern", "write `every \"5m\"`");
        check("@every 5m", &[every]);
        check("@reboot", &[("@reboot", "`@reboot` is not a cron pattern", five)]);
    }

    #[test]
    fn a_day_that_no_year_has_is_found() {
        let help = "check the day of the month and the month: `0 8 28 2 *` is 28 February";
        check("0 8 31 2 *", &[("0 8 31 2 *", "`0 8 31 2 *` never matches", help)]);
        check("0 8 31 4,6 *", &[("0 8 31 4,6 *", "`0 8 31 4,6 *` never matches", help)]);
        check("0 8 29 2 *", &[]);
        check("0 8 31 2 1", &[]);
    }
}
