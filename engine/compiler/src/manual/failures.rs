//! What a failed call means: which statuses are worth another try, and what `retry on=` can name.

use crate::grammar::CAUSES;
use kernel::fault::FaultClass;

/// A section of the reference, by the rules that the calls themselves follow.
pub(super) fn section() -> String {
    let words: Vec<String> = CAUSES.iter().map(|cause| format!("`{cause}`")).collect();
    let rows = [
        (
            FaultClass::Transient,
            "no response in time (`timeout`), no connection (`connect`), status ",
        ),
        (FaultClass::Configuration, "status "),
        (FaultClass::Permanent, "status "),
    ];
    let mut text = String::from(
        "\n## Failed calls\n\n\
         What a failed call means, and what happens next.\n\
         With `retry on=`, exactly the causes that it names are retried, whatever their class.\n\n\
         | failure | class | what happens |\n|---|---|---|\n",
    );
    for (class, beginning) in rows {
        let statuses = ranges(|status| FaultClass::of_status(status) == class);
        let word = class.word();
        text.push_str(&format!("| {beginning}{statuses} | {word} | {} |\n", consequence(class)));
    }
    text.push_str(&format!(
        "\n`retry on=` takes one or more of {}.\n`4xx` and `5xx` are all statuses of that \
         hundred, and `any` is every failure.\n\
         A `Retry-After` header is respected up to an hour.\n",
        words.join(" ")
    ));
    text
}

/// What a status means for the call that gets it.
pub(super) fn told(status: u16) -> Option<String> {
    let is = match status {
        200..=299 => "has succeeded".to_owned(),
        300..=599 => {
            let class = FaultClass::of_status(status);
            let word = class.word();
            format!(
                "is a {word} failure: {}.\n`retry on=` that names it retries it in any case",
                consequence(class)
            )
        }
        _ => return None,
    };
    Some(format!("{status}\n\nA call that gets this status {is}.\n"))
}

fn consequence(class: FaultClass) -> &'static str {
    match class {
        FaultClass::Transient => {
            "it is retried as `retry` says; after the last attempt, `on-error` decides for an \
             enrich stage, and a delivery becomes a dead letter"
        }
        FaultClass::Configuration => {
            "an enrich stage does not retry it; a sink or notifier is paused: its deliveries wait, \
             and one of them is tried again from time to time, until the token or the permission \
             is corrected"
        }
        FaultClass::Permanent => {
            "it is not retried: `on-error` decides for an enrich stage, and a delivery becomes a \
             dead letter"
        }
    }
}

/// Statuses outside 2xx, in ranges: `408, 425, 500–504`.
fn ranges(is_of: impl Fn(u16) -> bool) -> String {
    let mut found: Vec<(u16, u16)> = Vec::new();
    for status in (300..600).filter(|status| is_of(*status)) {
        match found.last_mut() {
            Some(range) if range.1 + 1 == status => range.1 = status,
            _ => found.push((status, status)),
        }
    }
    let shown = found.iter().map(|(first, last)| match last - first {
        0 => format!("{first}"),
        1 => format!("{first}, {last}"),
        _ => format!("{first}–{last}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_shown_in_ranges() {
        assert_eq!(ranges(|it| [300, 302, 303, 599].contains(&it)), "300, 302, 303, 599");
        assert_eq!(ranges(|it| (500..504).contains(&it) || it == 300), "300, 500–503");
    }

    #[test]
    fn every_class_and_cause_is_in_the_section() {
        let text = section();
        for part in ["408, 425, 429, 500, 502–504", "| status 401, 403, 407 | configuration |"] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(CAUSES.iter().all(|cause| text.contains(&format!("`{cause}`"))), "{text}");
    }
}
