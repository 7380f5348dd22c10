//! What a word means: a code, a node, a kind, a property.

use super::{Language, failures, reference, rows, words};
use language::diagnostic::Rule;
use language::expr;
use language::{KindRow, NodeRow, nearest};

/// The manual's pages of codes, as far as they were written when this was built.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// What is meant by `E0203`, `enrich http`, `notify.cooldown`, `retry`, `upper`, `event.type`;
/// `None` when it is nothing.
pub fn explain(language: Language<'_>, asked: &str) -> Option<String> {
    let asked = asked.trim();
    if let Some(rule) = Rule::ALL.iter().find(|it| it.code().eq_ignore_ascii_case(asked)) {
        return Some(code(*rule));
    }
    if let Some(told) = asked.parse().ok().and_then(failures::told) {
        return Some(told);
    }
    let path: Vec<&str> = asked.split([' ', '.', '/']).filter(|part| !part.is_empty()).collect();
    let places = places(language);
    let named = places.iter().filter(|place| place.is_at(&path));
    let mut told = grouped(named);
    if let ([word], true) = (&path[..], told.is_empty()) {
        told = grouped(places.iter().filter(|place| place.has_value(word.trim_end_matches('='))));
    }
    let parts = [told, words::told(asked)].into_iter().filter(|it| !it.is_empty());
    Some(parts.collect::<Vec<_>>().join("\n")).filter(|it| !it.is_empty())
}

/// What may have been meant by a word that is nothing.
pub fn similar(language: Language<'_>, asked: &str) -> Option<String> {
    let field = words::similar_field(asked);
    if field.is_some() {
        return field;
    }
    let asked = asked.split('(').next().unwrap_or_default();
    let last = asked.split([' ', '.', '/']).rfind(|part| !part.is_empty())?;
    let (places, words) = (places(language), words::names());
    let names = places.iter().filter_map(|place| place.path.last().copied());
    let codes = Rule::ALL.iter().map(|it| it.code());
    let known = || names.clone().chain(codes.clone()).chain(words.iter().map(String::as_str));
    let whole = nearest(asked, words.iter().map(String::as_str).filter(|text| text.contains('.')));
    let elsewhere = || expr::meant_function(last);
    whole.or_else(|| nearest(last, known())).or_else(elsewhere).map(str::to_owned)
}

fn code(rule: Rule) -> String {
    match PAGES.iter().find(|page| page.0 == rule.code()) {
        Some((_, page)) => plain(page),
        None => format!("{}\n\n{}", rule.code(), super::code::explanation(rule)),
    }
}

/// Markdown for a terminal: headings without signs, blocks indented.
fn plain(page: &str) -> String {
    let (mut text, mut is_block) = (String::new(), false);
    for line in page.lines() {
        if line.starts_with("```") {
            is_block = !is_block;
            continue;
        }
        let line = if is_block { line } else { line.trim_start_matches('#').trim_start() };
        let indent = if is_block && !line.is_empty() { "    " } else { "" };
        text.push_str(&format!("{indent}{line}\n"));
    }
    text
}

/// Where something stands, from the top of a file on.
struct TablePath {
    path: Vec<&'static str>,
    what: What,
    /// Found also without the kind in its path; told only where the kind is asked for.
    is_common: bool,
}

enum What {
    Top(&'static NodeRow, String),
    Kind(&'static NodeRow, KindRow),
    Node(&'static NodeRow),
}

fn places(language: Language<'_>) -> Vec<TablePath> {
    let mut places = Vec::new();
    for row in language.top {
        let path = vec![row.name];
        let what = What::Top(row, reference::top(language, row));
        places.push(TablePath { path: path.clone(), what, is_common: false });
        below(&mut places, &path, row.children, false);
        for kind in language.role(row).map(|role| role.1).unwrap_or_default() {
            let path = vec![row.name, kind.word];
            let what = What::Kind(row, kind);
            places.push(TablePath { path: path.clone(), what, is_common: false });
            below(&mut places, &path, kind.nodes, false);
            below(&mut places, &path, row.children, true);
        }
    }
    // What stands nearer to the top is told first.
    places.sort_by_key(|place| place.path.len());
    places
}

fn below(
    places: &mut Vec<TablePath>,
    path: &[&'static str],
    groups: &'static [&'static [NodeRow]],
    is_common: bool,
) {
    for row in rows(groups) {
        let path = [path, &[row.name]].concat();
        places.push(TablePath { path: path.clone(), what: What::Node(row), is_common });
        below(places, &path, row.children, is_common);
    }
}

impl TablePath {
    /// Whether `asked` names this place: its end, or its whole path with steps left out.
    fn is_at(&self, asked: &[&str]) -> bool {
        let is_end = self.path.ends_with(asked) && !self.is_common;
        let mut steps = self.path.iter();
        let is_part = asked.iter().all(|it| steps.any(|step| step == it));
        let begins = self.path.first() == asked.first() && self.path.last() == asked.last();
        is_end || (asked.len() > 1 && begins && is_part && !self.is_hidden(asked))
    }

    /// Whether the place is told as one of the role instead.
    fn is_hidden(&self, asked: &[&str]) -> bool {
        self.is_common && self.path.get(1).is_none_or(|kind| !asked.contains(kind))
    }

    fn has_value(&self, word: &str) -> bool {
        let (What::Top(row, _) | What::Node(row)) = &self.what else { return false };
        let names =
            row.props.iter().map(|prop| prop.name).chain(row.args.iter().map(|arg| arg.name));
        !self.is_common && names.into_iter().any(|name| name == word)
    }

    fn told(&self) -> String {
        match &self.what {
            What::Top(_, text) => text.clone(),
            What::Kind(row, kind) => reference::of_kind(row, kind),
            What::Node(row) => reference::node(row),
        }
    }
}

/// The places with what is said of them; what is said of several is said once.
fn grouped<'p>(places: impl Iterator<Item = &'p TablePath>) -> String {
    let mut groups: Vec<(Vec<String>, String)> = Vec::new();
    for place in places {
        let (name, told) = (place.path.join(" "), place.told());
        match groups.iter_mut().find(|group| group.1 == told) {
            Some(group) => group.0.push(name),
            None => groups.push((vec![name], told)),
        }
    }
    let shown = groups.iter().map(|(names, told)| format!("{}\n\n{told}", names.join("\n")));
    shown.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar;
    use language::{Kinds, NodeRole};
    use stages::catalog::Catalog;

    fn told(words: &str) -> String {
        let catalog = Catalog::built_in();
        let language = Language { top: grammar::TOP, kinds: &catalog };
        explain(language, words).unwrap_or_default()
    }

    #[track_caller]
    fn begins(words: &str, expected: &str) {
        let text = told(words);
        assert!(text.starts_with(expected), "{words}:\n{text}");
    }

    #[test]
    fn a_place_is_found_by_its_path_with_blanks_or_dots() {
        begins("notify.cooldown", "notify cooldown\n\n- `cooldown ");
        begins("notify cooldown", "notify cooldown\n\n- `cooldown ");
        begins("pipeline", "pipeline\n\n`pipeline NAME ");
        begins("validate schema", "validate schema\n\n- `schema ");
        for kinds in ["source", "enrich", "sink", "notify"] {
            begins(kinds, &format!("{kinds}\n\n`{kinds} KIND NAME {{ … }}`"));
        }
    }

    #[test]
    fn a_kind_is_found_by_its_word_and_takes_what_its_role_takes() {
        for row in Catalog::built_in().kinds(NodeRole::Notify) {
            begins(&format!("notify {}", row.word), &format!("notify {}\n", row.word));
            let cooldown = format!("notify {} cooldown", row.word);
            begins(&cooldown, &format!("{cooldown}\n\n- `cooldown "));
        }
    }

    #[test]
    fn a_word_alone_is_told_once_for_all_places_that_agree() {
        let text = told("retry");
        for place in ["policy retry\n", "enrich retry\n", "sink retry\n", "notify retry\n"] {
            assert!(text.contains(place), "{text}");
        }
        assert_eq!(text.matches("- `backoff").count(), 1, "{text}");
    }

    #[test]
    fn every_place_of_the_table_is_found_by_its_path() {
        let catalog = Catalog::built_in();
        let places = places(Language { top: grammar::TOP, kinds: &catalog });
        for place in &places {
            let (path, text) = (place.path.join(" "), told(&place.path.join(".")));
            assert!(text.lines().any(|line| line == path), "{path}:\n{text}");
            assert!(text.contains(&place.told()), "{path}:\n{text}");
        }
    }

    #[test]
    fn a_property_leads_to_its_node() {
        assert!(told("jitter").contains("- `jitter=`: one of `full` `none`"));
    }

    #[test]
    fn functions_filters_and_roots_are_found_by_name() {
        begins("now", "now (function)\n\n`now()`: the current time\nExample: `now()` → ");
        begins("now()", "now (function)\n");
        begins("http.query", "http.query (function)\n\n`http.query(name)`: ");
        // A node of this path comes first.
        let header = "\nhttp.header (function)\n\n`http.header(name)`: ";
        assert!(told("http.header").contains(header), "{}", told("http.header"));
        begins("file.line", "file (root)\n");
        let upper = told("upper");
        assert!(upper.contains("upper (function)\n\n`upper(text)`"), "{upper}");
        assert!(upper.contains("upper (filter)\n\n`upper`"), "{upper}");
        let fields = "Fields: `seq` `id` `type` ";
        assert!(told("event").contains(fields), "{}", told("event"));
        assert!(told("event.type").contains("Example: `event.type` → "), "{}", told("event.type"));
        // A node of this name comes first.
        begins("param", "param\n");
        assert!(told("param").contains("param (root)\n\n`param`: "), "{}", told("param"));
        for name in words::names() {
            let text = told(&name);
            assert!(text.contains(&format!("{name} (")), "{name}:\n{text}");
        }
        assert!(40 < words::names().len(), "{:?}", words::names());
    }

    #[test]
    fn a_status_is_explained_by_its_class() {
        begins("429", "429\n\nA call that gets this status is a transient failure: it is retried");
        begins("403", "403\n\nA call that gets this status is a configuration failure: ");
        begins("200", "200\n\nA call that gets this status has succeeded");
        assert_eq!(told("99"), "");
    }

    #[test]
    fn a_wrong_name_of_an_expression_leads_to_the_right_one() {
        let catalog = Catalog::built_in();
        let language = Language { top: grammar::TOP, kinds: &catalog };
        for (wrong, right) in [
            ("uper", "upper"),
            ("startsWith", "starts_with"),
            ("humanise", "humanize"),
            ("evnt", "event"),
            ("event.typ", "event.type"),
            ("http.heade", "http.header"),
            ("geo_distanc(1)", "geo_distance"),
        ] {
            assert_eq!(told(wrong), "", "{wrong}");
            assert_eq!(similar(language, wrong).as_deref(), Some(right), "{wrong}");
        }
    }

    #[test]
    fn a_code_is_explained_in_any_case_and_nothing_is_nothing() {
        begins("e0203", "E0203");
        assert_eq!(told("nonsense"), "");
        let catalog = Catalog::built_in();
        let language = Language { top: grammar::TOP, kinds: &catalog };
        assert_eq!(similar(language, "notify cooldwn").as_deref(), Some("cooldown"));
        assert_eq!(similar(language, "E9203").as_deref(), Some("E0203"));
    }

    #[test]
    fn a_page_is_readable_in_a_terminal() {
        let page = "# E0001\n\nText.\n\n```kdl\n# no heading\n\na\n```\n";
        assert_eq!(plain(page), "E0001\n\nText.\n\n    # no heading\n\n    a\n");
    }
}
