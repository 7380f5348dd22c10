//! What a wrong word in an expression costs: nothing, because `engine check` finds every one.
//!
//! The shipped pipelines are right. Each test case is one of them with one word changed to one
//! that nothing has: a step of a path, the name of a stage, a sink or a policy, a level, a type
//! of event, a word that is compared with words of a schema. The check must find an error; of a
//! path or a name, at the very place. What it cannot find is listed, with the reason.

use crate::support::{Bare, checked, root};
use compiler::files::PipelinePath;
use language::diagnostic::{Diagnostic, Severity};
use std::ops::Range;

/// Literals that no schema limits, and what they are.
const FREE: &[(&str, &str)] = &[
    ("front_door", "a subject is any text"),
    ("refs/heads/main", "GitHub's schema says text: any branch may be pushed to"),
    ("main", "any name of a branch"),
    ("X-GitHub-Event", "any header may be asked for"),
    (":", "a part of a key"),
    (": ", "a part of a text"),
    ("5m", "a duration, or E0101 when it is none"),
    ("nobody", "what is added when nobody is found"),
    ("#ci", "what is added when nobody is found"),
    ("no link", "a part of a text"),
    ("main is broken in ", "a part of a text"),
    ("Someone", "a part of a text"),
    ("Someone rings the bell", "a title"),
    ("Barred from the house", "a title"),
    ("A stranger at the door", "a title"),
    (" is at the door", "a part of a title"),
    ("team", "a field that is added when nobody is found"),
    ("channel", "a field that is added when nobody is found"),
    ("pushed", "a state that nothing asks for"),
    ("green", "a state that nothing asks for"),
    ("open", "a state that nothing asks for"),
    ("ines", "a made-up name"),
    ("jonas", "a made-up name"),
    ("maria", "a made-up name"),
    ("tomasz", "a made-up name"),
];

/// A word that no schema, table or file has.
const NOTHING: &str = "zzz";

fn is_word(it: char) -> bool {
    it.is_ascii_alphanumeric() || matches!(it, '_' | '-')
}

/// The text with its comments blanked out, so that places stay what they are.
fn without_comments(text: &str) -> String {
    let mut bare = String::new();
    for line in text.split_inclusive('\n') {
        let mut quotes = 0;
        let comment = line.char_indices().find(|(at, it)| {
            quotes += usize::from(*it == '"');
            quotes % 2 == 0 && line[*at..].starts_with("//")
        });
        let end = comment.map_or(line.len(), |comment| comment.0);
        bare.push_str(&line[..end]);
        bare.extend(line[end..].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
    }
    assert_eq!(bare.len(), text.len());
    bare
}

/// Every step of every path that begins with `root`.
fn steps(text: &str, root: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices(root) {
        if text[..start].ends_with(|letter: char| is_word(letter) || matches!(letter, '.' | '/')) {
            continue;
        }
        let mut at = start + root.len();
        while let Some(rest) = text[at..].strip_prefix('.') {
            let length = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
            found.push(at + 1..at + 1 + length);
            at += 1 + length;
            if text[at..].starts_with('[') {
                at += text[at..].find(']').expect("it is closed") + 1;
            }
        }
    }
    found
}

/// The words behind each node of this name.
fn arguments(text: &str, node: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        // At the top of the file, a node has its own name behind it.
        if 0 < indent && line.trim_start().starts_with(&format!("{node} ")) {
            let mut place = at + indent + node.len() + 1;
            for word in line.trim_end()[indent + node.len() + 1..].split(' ') {
                if !word.is_empty() && word.chars().all(is_word) {
                    found.push(place..place + word.len());
                } else if !word.is_empty() {
                    break;
                }
                place += word.len() + 1;
            }
        }
        at += line.len();
    }
    found
}

/// Every value `=WORD` of properties of this name.
fn values(text: &str, property: &str) -> Vec<Range<usize>> {
    let is_value = |start: &usize| text[..*start].ends_with(' ');
    let starts = text.match_indices(property).map(|index| index.0).filter(is_value);
    let value = |start: usize| {
        let start = start + property.len();
        let length = text[start..].find(|it| !is_word(it)).unwrap_or(0);
        start..start + length
    };
    starts.map(value).collect()
}

/// What stands in single quotes inside of strings.
fn literals(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut open = None;
    for (at, it) in text.char_indices() {
        match (it, open) {
            // A literal stays in its line.
            ('\n', _) => open = None,
            ('\'', None) => open = Some(at + 1),
            ('\'', Some(start)) => {
                found.push(start..at);
                open = None;
            }
            _ => {}
        }
    }
    found
}

struct Pipeline {
    text: String,
    bare: String,
    place: PipelinePath,
}

impl Pipeline {
    fn of(name: &str) -> Self {
        Self::at(&format!("pipelines/{name}"))
    }

    fn at(path: &str) -> Self {
        let file = root().join(path);
        let text = std::fs::read_to_string(&file).expect("it reads");
        let place = PipelinePath::of(&file, None, None);
        let bare = without_comments(&text);
        Pipeline { text, bare, place }
    }

    /// What the check finds when a word is replaced; `wanted` is asked with the place of the
    /// replacement.
    fn finds(&self, place: &Range<usize>, wanted: Wanted) -> bool {
        let mut text = self.text.clone();
        text.replace_range(place.clone(), NOTHING);
        let changed = place.start..place.start + NOTHING.len();
        let found = checked(&self.place.file, "changed.kdl", text.as_bytes(), &Bare);
        found.diagnostics.iter().any(|diagnostic| wanted(diagnostic, &changed))
    }

    /// The words whose change nothing finds, with their lines.
    fn survivors(&self, places: &[Range<usize>], wanted: Wanted) -> Vec<String> {
        let survives = |range: &&Range<usize>| !self.finds(range, wanted);
        let told = |range: &Range<usize>| {
            let line = self.text[..range.start].matches('\n').count() + 1;
            format!("line {line}: `{}`", &self.text[range.clone()])
        };
        places.iter().filter(survives).map(told).collect()
    }
}

/// Whether a finding is one that a replacement at a place should lead to.
type Wanted = fn(&Diagnostic, &Range<usize>) -> bool;

fn is_error(found: &Diagnostic, _: &Range<usize>) -> bool {
    found.rule.severity() == Severity::Error
}

fn stands_there(found: &Diagnostic, place: &Range<usize>) -> bool {
    found.labels.iter().any(|label| label.span.start < place.end && place.start < label.span.end)
}

fn is_error_there(found: &Diagnostic, place: &Range<usize>) -> bool {
    is_error(found, place) && stands_there(found, place)
}

const SHIPPED: [&str; 2] = ["doorbell.kdl", "ci-alerts.kdl"];

/// How many words a file has at least, so that a scan that finds none cannot pass.
#[track_caller]
fn every_one_is_found(least: [usize; 2], wanted: Wanted, scan: impl Fn(&str) -> Vec<Range<usize>>) {
    for (name, least) in SHIPPED.into_iter().zip(least) {
        let pipeline = Pipeline::of(name);
        let places = scan(&pipeline.bare);
        assert!(least <= places.len(), "{name} has {} such words only", places.len());
        let survivors = pipeline.survivors(&places, wanted);
        assert!(survivors.is_empty(), "{name}, not found:\n{}", survivors.join("\n"));
    }
}

#[test]
fn a_path_of_data_that_nothing_declares_is_found() {
    every_one_is_found([12, 20], is_error_there, |text| {
        let mut places = steps(text, "data");
        places.retain(|place| !is_redacted(text, place));
        places
    });
}

#[test]
fn a_path_that_the_types_of_its_place_do_not_have_is_found() {
    let pipeline = Pipeline::at("tests/check/right-narrowed.kdl");
    let places = [steps(&pipeline.bare, "data"), steps(&pipeline.bare, "enrich")].concat();
    assert!(20 <= places.len(), "{}", places.len());
    let survivors = pipeline.survivors(&places, is_error);
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

/// A type whose schema lists nothing might have any of them, so this is a warning.
#[test]
fn a_path_to_redact_that_no_schema_declares_is_found() {
    every_one_is_found([5, 0], stands_there, |text| {
        let mut places = steps(text, "data");
        places.retain(|place| is_redacted(text, place));
        places
    });
}

fn is_redacted(text: &str, place: &Range<usize>) -> bool {
    let start = text[..place.start].rfind('\n').map_or(0, |it| it + 1);
    text[start..].trim_start().starts_with("redact ")
}

#[test]
fn a_path_of_enrich_that_nothing_adds_is_found() {
    every_one_is_found([3, 4], is_error_there, |text| steps(text, "enrich"));
}

#[test]
fn a_name_that_nothing_has_is_found() {
    every_one_is_found([11, 7], is_error_there, |text| {
        ["after", "needs", "to", "policy"].iter().flat_map(|it| arguments(text, it)).collect()
    });
}

#[test]
fn a_level_that_is_none_is_found() {
    every_one_is_found([5, 3], is_error_there, |text| {
        let properties = ["priority=", "default="].into_iter().flat_map(|it| values(text, it));
        let levels = |range: &Range<usize>| {
            let word = &text[range.clone()];
            ["low", "normal", "high", "critical"].contains(&word)
        };
        properties.chain(arguments(text, "case").into_iter().filter(levels)).collect()
    });
}

#[test]
fn a_word_that_an_enumeration_does_not_have_is_found() {
    every_one_is_found([10, 10], is_error, |text| {
        let is_free = |range: &Range<usize>| {
            let word = &text[range.clone()];
            FREE.iter().any(|(free, _)| *free == word)
        };
        literals(text).into_iter().filter(|literal| !is_free(literal)).collect()
    });
}

#[test]
fn every_free_literal_is_still_in_use() {
    let texts: Vec<String> = SHIPPED.iter().map(|it| Pipeline::of(it).text).collect();
    for (word, why) in FREE {
        let quoted = format!("'{word}'");
        assert!(texts.iter().any(|text| text.contains(&quoted)), "{quoted} is gone: {why}");
    }
}

/// The pipelines of the page of recipes and of the jobs, without their tests.
fn recipes() -> Vec<(String, Pipeline)> {
    let page = std::fs::read_to_string(root().join("docs/recipes.md")).expect("it reads");
    let blocks = page.split("```kdl").skip(1).filter_map(|part| part.split("```").next());
    let blocks = blocks.filter_map(|block| block.split_once('\n')).map(|it| it.1.to_owned());
    let place = || PipelinePath::of(&root().join("pipelines/recipe.kdl"), None, None);
    let mut all: Vec<(String, String, PipelinePath)> =
        blocks.enumerate().map(|(at, text)| (format!("recipe {at}"), text, place())).collect();
    let jobs = std::fs::read_dir(root().join("tests/jobs")).expect("the jobs are there");
    for job in jobs {
        let file = job.expect("an entry").path().join("pipeline.kdl");
        let text = std::fs::read_to_string(&file).expect("it reads");
        all.push((file.display().to_string(), text, PipelinePath::of(&file, None, None)));
    }
    let pipeline = |(name, text, place): (String, String, PipelinePath)| {
        let bare = without_comments(&text);
        let bare = bare.split("\ntest ").next().expect("there is a first part").to_owned();
        (name, Pipeline { text, bare, place })
    };
    all.into_iter().map(pipeline).collect()
}

#[test]
fn what_is_wrong_in_a_recipe_is_found() {
    let mut counts = [0; 3];
    for (name, pipeline) in recipes() {
        let text = &pipeline.bare;
        let names = ["after", "needs", "to", "policy"];
        let aggregates = || {
            let having = text.match_indices("having \"").map(|(at, it)| at + it.len());
            having.map(|at| {
                let length = text[at..].find(|letter: char| !is_word(letter)).expect("it ends");
                at..at + length
            })
        };
        let places = [
            steps(text, "enrich"),
            names.iter().flat_map(|name| arguments(text, name)).collect(),
            aggregates().collect(),
        ];
        for (count, places) in counts.iter_mut().zip(&places) {
            *count += places.len();
            let survivors = pipeline.survivors(places, is_error_there);
            assert!(survivors.is_empty(), "{name}, not found:\n{}", survivors.join("\n"));
        }
    }
    assert!(counts.iter().zip([20, 5, 2]).all(|(is, least)| least <= *is), "{counts:?}");
}
