//! What the user may have meant.

/// The nearest of `known` to `word`: at most two slips, or a third of the word's length.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let allowed = if word.len() < 5 { 1 } else { (word.len() / 3).clamp(2, 4) };
    known
        .into_iter()
        .map(|it| (strsim::damerau_levenshtein(&lower, &it.to_lowercase()), it))
        .filter(|(slips, it)| *slips <= allowed && *slips < it.len())
        .min_by_key(|it| it.0)
        .map(|it| it.1)
}

/// Words from Vector, Bento, Compose, GitHub Actions and Frigate, and ours.
const FOREIGN: &[(&str, &str)] = &[
    ("inputs", "after"),
    ("depends_on", "needs"),
    ("depends-on", "needs"),
    ("requires", "needs"),
    ("ttl", "keep"),
    ("interval", "every"),
    ("if", "when"),
    ("condition", "when"),
    ("enabled", "disabled"),
    ("address", "listen"),
    ("bind", "listen"),
    ("port", "listen"),
    ("retries", "retry"),
    ("max_retries", "retry"),
    ("output", "sink"),
    ("outputs", "sink"),
    ("sinks", "sink"),
    ("input", "source"),
    ("sources", "source"),
    ("transform", "enrich"),
    ("transforms", "enrich"),
    ("processor", "enrich"),
    ("processors", "enrich"),
    ("notification", "notify"),
    ("notifier", "notify"),
    ("routes", "route"),
    ("env", "param"),
    ("dlq", "dead-letter"),
    ("days", "keep"),
    ("retain", "keep"),
    ("url", "path"),
    ("endpoint", "path"),
    ("text", "message"),
];

/// What a word from elsewhere is called here, if that may stand among `known`.
pub(super) fn foreign(word: &str, known: &[&str]) -> Option<&'static str> {
    FOREIGN.iter().find(|it| it.0 == word && known.contains(&it.1)).map(|it| it.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_forgiven_and_a_stranger_is_not() {
        assert_eq!(nearest("cooldwn", ["title", "cooldown"]), Some("cooldown"));
        assert_eq!(nearest("metadta", ["meta", "metadata"]), Some("metadata"));
        assert_eq!(nearest("xyz", ["title", "cooldown"]), None);
    }
}
