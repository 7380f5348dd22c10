//! What `engine fmt` makes of a text: `tests/fmt/NAME.kdl` beside `NAME.out.kdl`, and how the
//! command treats files.
//!
//! `UPDATE_CASES=1 cargo test` writes the expected texts anew.

use crate::support::{Answer, engine, root};
use compiler::format;
use language::diagnostic::SourceText;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

fn formatted(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("it reads");
    let source = Arc::new(SourceText { name: path.display().to_string(), text });
    format::format(&source).unwrap_or_else(|fault| panic!("{}: {fault:?}", path.display()))
}

#[test]
fn every_case_comes_out_as_its_text_and_stays_so() {
    let entries = fs::read_dir(root().join("tests/fmt")).expect("the cases are there");
    let mut wrong = Vec::new();
    let mut cases = 0;
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.to_string_lossy().ends_with(".out.kdl") {
            assert_eq!(formatted(&path), fs::read_to_string(&path).expect("it reads"));
            continue;
        }
        cases += 1;
        let (text, expected) = (formatted(&path), path.with_extension("out.kdl"));
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&expected, &text).expect("it writes");
        }
        if fs::read_to_string(&expected).ok().as_ref() != Some(&text) {
            wrong.push(format!("{}:\n{text}", path.display()));
        }
    }
    assert!(0 < cases);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_shipped_files_are_in_our_layout() {
    let answer = engine(&root(), &["fmt", "--check", "pipelines"], "");
    assert_eq!((answer.output.as_str(), answer.error.as_str(), answer.code), ("", "", 0));
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("it makes folders");
        fs::write(path, text).expect("it writes");
    }
    folder
}

#[track_caller]
fn expect(answer: &Answer, code: i32, output: &str, error: &str) {
    let found = (answer.code, answer.output.as_str(), answer.error.as_str());
    assert_eq!(found, (code, output, error));
}

fn text(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).expect("it reads")
}

#[test]
fn files_are_rewritten_only_where_something_changes() {
    let folder = folder(&[("ugly.kdl", "a   1 {\nb   2\n}"), ("fine.kdl", "a 1\n")]);
    let fine = folder.path().join("fine.kdl");
    let before = fs::metadata(&fine).and_then(|metadata| metadata.modified()).expect("a time");
    let answer = engine(folder.path(), &["fmt", "fine.kdl", "ugly.kdl"], "");
    expect(&answer, 0, "ugly.kdl\n", "");
    assert_eq!(text(&folder, "ugly.kdl"), "a 1 {\n    b 2\n}\n");
    assert_eq!(
        fs::metadata(&fine).and_then(|metadata| metadata.modified()).expect("a time"),
        before
    );
    expect(&engine(folder.path(), &["fmt", "fine.kdl", "ugly.kdl"], ""), 0, "", "");
}

#[test]
fn a_folder_is_every_kdl_file_below_it_that_is_not_hidden() {
    let names = ["b.kdl", "a.kdl", "common/c.kdl", "a.test.kdl", ".git/d.kdl", ".e.kdl", "f.txt"];
    let folder = folder(&names.map(|name| (name, "a  1\n")));
    symlink(folder.path(), folder.path().join("common/circle")).expect("it links");
    let listed = "./a.kdl\n./a.test.kdl\n./b.kdl\n./common/c.kdl\n";
    expect(&engine(folder.path(), &["fmt", "."], ""), 0, listed, "");
    for (name, changed) in names.iter().zip([true, true, true, true, false, false, false]) {
        assert_eq!(text(&folder, name), if changed { "a 1\n" } else { "a  1\n" }, "{name}");
    }
}

#[test]
fn a_rewritten_file_keeps_its_permissions_and_links() {
    let folder = folder(&[("a.kdl", "a  1\n")]);
    let file = folder.path().join("a.kdl");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).expect("it sets");
    symlink("a.kdl", folder.path().join("link.kdl")).expect("it links");
    expect(&engine(folder.path(), &["fmt", "link.kdl"], ""), 0, "link.kdl\n", "");
    assert_eq!(text(&folder, "a.kdl"), "a 1\n");
    assert!(folder.path().join("link.kdl").is_symlink());
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o604);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
}

#[test]
fn check_names_what_would_change_and_writes_nothing() {
    let folder = folder(&[("a.kdl", "a  1\n"), ("b.kdl", "b\n"), ("c.kdl", "c  1\n")]);
    let answer = engine(folder.path(), &["fmt", "--check", "a.kdl", "b.kdl", "c.kdl"], "");
    expect(&answer, 1, "a.kdl\nc.kdl\n", "");
    assert_eq!(text(&folder, "a.kdl"), "a  1\n");
    expect(&engine(folder.path(), &["fmt", "--check", "b.kdl"], ""), 0, "", "");
}

#[test]
fn diff_shows_what_would_change_and_writes_nothing() {
    let folder = folder(&[("a.kdl", "a\nb {\n  c\n}\n")]);
    let expected = "--- a.kdl\n+++ a.kdl\n@@ -1,4 +1,4 @@\n a\n b {\n-  c\n+    c\n }\n";
    expect(&engine(folder.path(), &["fmt", "--diff", "a.kdl"], ""), 0, expected, "");
    expect(&engine(folder.path(), &["fmt", "--check", "--diff", "a.kdl"], ""), 1, expected, "");
    assert_eq!(text(&folder, "a.kdl"), "a\nb {\n  c\n}\n");
}

#[test]
fn standard_input_goes_to_standard_output() {
    let folder = folder(&[]);
    let run = |arguments: &[&str], input: &str| engine(folder.path(), arguments, input);
    expect(&run(&["fmt", "-"], "a   1"), 0, "a 1\n", "");
    expect(&run(&["fmt", "-"], "a 1\n"), 0, "a 1\n", "");
    expect(&run(&["fmt", "--check", "-"], "a   1"), 1, "<stdin>\n", "");
    expect(&run(&["fmt", "--check", "-"], "a 1\n"), 0, "", "");
    let diff = "--- <stdin>\n+++ <stdin>\n@@ -1 +1 @@\n-a   1\n+a 1\n";
    expect(&run(&["fmt", "--diff", "-"], "a   1\n"), 0, diff, "");
}

const OPEN: &str = "E0004

  × this block is never closed
   ╭─[NAME:1:3]
 1 │ a {
   ·   ┬
   ·   ╰── opened here
   ╰────
  help: add `}` at the end of the file

";

#[test]
fn what_does_not_parse_is_told_and_left_and_the_rest_is_formatted() {
    let folder = folder(&[("bad.kdl", "a {\n"), ("good.kdl", "a  1\n")]);
    let answer = engine(folder.path(), &["fmt", "bad.kdl", "good.kdl"], "");
    expect(&answer, 1, "good.kdl\n", &OPEN.replace("NAME", "bad.kdl"));
    assert_eq!(text(&folder, "bad.kdl"), "a {\n");
    let answer = engine(folder.path(), &["fmt", "-"], "a {\n");
    expect(&answer, 1, "", &OPEN.replace("NAME", "<stdin>"));
}

#[test]
fn what_cannot_be_read_is_told_and_exits_with_two() {
    let folder = folder(&[("a.kdl", "a  1\n"), ("empty/notes.txt", "")]);
    let answer = engine(folder.path(), &["fmt", "none.kdl", "empty", "a.kdl"], "");
    let error = "engine: cannot read none.kdl: there is no such file; the folder has: a.kdl\n\
                 engine: there is no .kdl file in empty\n";
    expect(&answer, 2, "a.kdl\n", error);
    let answer = engine(folder.path(), &["fmt"], "");
    assert_eq!((answer.code, answer.output.as_str()), (2, ""));
}
