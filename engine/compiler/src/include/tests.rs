use super::*;
use crate::files::PipelinePath;
use crate::load::{self, PipelineLoader};
use crate::plan::RunMode;
use crate::report;
use language::Environment;
use language::diagnostic::SourceText;
use stages::catalog::Catalog;
use std::path::Path;
use std::sync::Arc;

struct Nothing;

impl Environment for Nothing {
    fn is_set(&self, _: &str) -> bool {
        false
    }

    fn value(&self, _: &str) -> Option<String> {
        None
    }
}

const HEAD: &str = "pipeline p schema-version=1\n";
const STORE: &str = "sink sqlite db { path \"../data/a.db\"; retention { keep \"1d\" } }\n";

/// A folder with these files; `main.kdl` is the pipeline.
struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join("pipelines").join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("it writes");
        }
        Case { folder }
    }

    fn load(&self) -> load::LoadedPipeline {
        let file = self.folder.path().join("pipelines/main.kdl");
        let place = PipelinePath::of(&file, None, None);
        let (place, catalog) = (&place, &Catalog::built_in());
        let loader = PipelineLoader { place, overrides: &[], catalog, environment: &Nothing };
        loader.load(RunMode::default()).expect("it reads")
    }

    fn told(&self) -> String {
        let text = report::human(&self.load().diagnostics, false, 400);
        text.replace(&format!("{}/", self.folder.path().display()), "")
    }

    #[track_caller]
    fn says(&self, parts: &[&str]) {
        let told = self.told();
        for part in parts {
            assert!(told.contains(part), "no {part:?} in:\n{told}");
        }
    }
}

#[test]
fn what_is_included_stands_where_include_stands() {
    let case = Case::new(&[
        (
            "main.kdl",
            &format!("{HEAD}include \"more/*.kdl\"\ninclude \"none.kdl\" optional=#true\n{STORE}"),
        ),
        ("more/b.kdl", "source stdin second\n"),
        ("more/a.kdl", "source demo first { emit a }\n"),
    ]);
    let loaded = case.load();
    assert_eq!(case.told(), "");
    let names: Vec<&str> =
        loaded.plan.as_ref().expect("a plan").sources.iter().map(|source| &*source.name).collect();
    assert_eq!(names, ["first", "second"]);
    let asked: Vec<String> = loaded
        .files
        .iter()
        .filter_map(|file| Some(file.file_name()?.to_str()?.to_owned()))
        .collect();
    assert_eq!(asked, ["main.kdl", "*.kdl", "a.kdl", "b.kdl", "none.kdl"]);
}

#[test]
fn a_mistake_is_shown_in_its_own_file_with_the_way_to_it() {
    let case = Case::new(&[
        ("main.kdl", &format!("{HEAD}{STORE}\ninclude \"more/a.kdl\"\n")),
        ("more/a.kdl", "\ninclude \"b.kdl\"\n"),
        (
            "more/b.kdl",
            "// ä\nsource demo first { emit a }\nsorce demo x\nsource demo db { emit a }\n",
        ),
    ]);
    case.says(&[
        "[pipelines/more/b.kdl:3:1]",
        "did you mean `source`?",
        "included from pipelines/more/a.kdl:2, included from pipelines/main.kdl:4",
        "two nodes have the name `db`",
        "[pipelines/main.kdl:2:13]",
    ]);
}

#[test]
fn a_text_that_is_no_kdl_is_shown_in_its_own_file() {
    let case = Case::new(&[
        ("main.kdl", &format!("{HEAD}include \"a.kdl\"\n{STORE}")),
        ("a.kdl", "source demo x { emit a }\nlimits { queue=true }\n"),
    ]);
    case.says(&["[pipelines/a.kdl:2:", "included from pipelines/main.kdl:2"]);
    assert!(case.load().plan.is_none());
}

#[test]
fn paths_in_an_included_file_are_relative_to_it() {
    let files = [
        ("main.kdl", format!("{HEAD}include \"more/a.kdl\"\n")),
        (
            "more/a.kdl",
            format!(
                "{STORE}source stdin s {{ schema file=\"s.json\" }}\nenrich lookup l {{ table \"t.csv\" key=id; match \"data.id\" }}\n"
            ),
        ),
        ("more/s.json", "{}".to_owned()),
        ("more/t.csv", "id,name\n1,one\n".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|file| (file.0, file.1.as_str())).collect();
    let case = Case::new(&files);
    assert_eq!(case.told(), "");
    let plan = case.load().plan.expect("a plan");
    let store = plan.store.expect("a store").1.path;
    assert!(store.ends_with("pipelines/data/a.db"), "{}", store.display());
}

#[test]
fn a_circle_a_missing_file_and_a_second_header_are_refused() {
    Case::new(&[("main.kdl", &format!("{HEAD}include \"main.kdl\"\n{STORE}"))])
        .says(&["E0027", "this file includes itself"]);
    Case::new(&[
        ("main.kdl", &format!("{HEAD}include \"a/b.kdl\"\n{STORE}")),
        ("a/b.kdl", "include \"../main.kdl\"\n"),
    ])
    .says(&["this file includes itself", "[pipelines/a/b.kdl:1:9]"]);
    Case::new(&[
        ("main.kdl", &format!("{HEAD}include \"polices.kdl\"\n{STORE}")),
        ("policies.kdl", "pipeline q schema-version=1\n"),
    ])
    .says(&["file not found", "did you mean `policies.kdl`?"]);
    Case::new(&[
        ("main.kdl", &format!("{HEAD}include \"a.kdl\"\n{STORE}")),
        ("a.kdl", "pipeline q schema-version=1\n"),
    ])
    .says(&["an included file must not have its own `pipeline`"]);
    Case::new(&[("main.kdl", &format!("{HEAD}include \"../../a.kdl\"\n{STORE}"))])
        .says(&["cannot read the included file"]);
}

#[test]
fn a_later_node_may_take_an_earlier_ones_place_when_it_says_so() {
    let main =
        format!("{HEAD}include \"a.kdl\"\nsource demo s override=#true {{ emit b }}\n{STORE}");
    let included = ("a.kdl", "source stdin s\n");
    let case = Case::new(&[("main.kdl", &main), included]);
    assert_eq!(case.told(), "");
    assert_eq!(case.load().plan.expect("a plan").sources[0].spec.word(), "demo");
    let main = main.replace("override=#true ", "");
    Case::new(&[("main.kdl", &main), included]).says(&["two nodes have the name `s`"]);
    let main = format!("{HEAD}source demo s override=#true {{ emit b }}\n{STORE}");
    Case::new(&[("main.kdl", &main)]).says(&["nothing before this has the name `source s`"]);
}

#[test]
fn no_finding_shows_a_secret_of_any_file() {
    let secret = "server { auth { token a \"hush ä\" ; tokn b } }\n";
    let case = Case::new(&[("main.kdl", &format!("{HEAD}{STORE}{secret}"))]);
    case.says(&["W0401", "token a \"*******\"", "has no `tokn`"]);
    let case =
        Case::new(&[("main.kdl", &format!("{HEAD}{STORE}include \"a.kdl\"\n")), ("a.kdl", secret)]);
    case.says(&["W0401", "token a \"*******\"", "[pipelines/a.kdl:1:"]);
    assert!(!case.told().contains("hush"));
}

#[test]
fn places_in_one_text_lead_back_into_their_files() {
    let source = |name: &str, text: &str| {
        Arc::new(SourceText { name: name.to_owned(), text: text.to_owned() })
    };
    let mut texts = SourceMap::new(source("a", "one\ntwo"), Path::new("/x"));
    let start = texts.add(source("b/c", "three\nfour"), "b/".into(), "/x/b".into(), vec![]);
    assert_eq!(texts.line(4), "a:2");
    assert_eq!((texts.line(start), texts.line(start + 6)), ("b/c:1".into(), "b/c:2".into()));
    assert_eq!(texts.home(3).prefix, "");
    assert_eq!(texts.home(start).prefix, "b/");
    assert_eq!(texts.whole().text, "one\ntwo\nthree\nfour");
}
