//! `engine completions` and `engine man`: what a shell and a reader get of the command line.

use crate::support::{Answer, engine, root};
use std::process::Command;

fn run(arguments: &[&str]) -> Answer {
    engine(&root(), arguments, "")
}

/// The commands that `engine --help` lists, without `help` itself.
fn commands() -> Vec<String> {
    let help = run(&["--help"]).output;
    let list = help.split("Commands:\n").nth(1).expect("it lists commands");
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    names.filter(|name| name != "help").collect()
}

#[test]
fn every_shell_completes_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let answer = run(&["completions", shell]);
        assert_eq!((answer.code, answer.error.as_str()), (0, ""), "{shell}");
        for command in commands() {
            assert!(answer.output.contains(&command), "{shell} does not know {command}");
        }
    }
    let answer = run(&["completions", "tcsh"]);
    assert_eq!((answer.code, answer.output.as_str()), (2, ""));
    assert!(answer.error.contains("'tcsh'"), "{}", answer.error);
}

/// What bash offers behind these words.
fn offered(words: &str) -> String {
    let script = format!(
        "source <(\"$ENGINE\" completions bash)\n\
         COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
         last=${{COMP_WORDS[COMP_CWORD]}}; before=${{COMP_WORDS[COMP_CWORD - 1]}}\n\
         _engine engine \"$last\" \"$before\"\n\
         echo \"${{COMPREPLY[*]}}\""
    );
    let output = Command::new("bash")
        .args(["-c", &script])
        .env("ENGINE", env!("CARGO_BIN_EXE_engine"))
        .output()
        .expect("bash is there");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).expect("it writes UTF-8").trim_end().to_owned()
}

#[test]
fn bash_offers_what_may_stand_there() {
    assert_eq!(offered("engine fm"), "fmt");
    assert_eq!(offered("engine fmt --d"), "--diff");
    assert_eq!(offered("engine new --template w"), "webhooks");
}

#[test]
fn the_manual_has_a_page_for_the_program_and_for_each_command() {
    let answer = run(&["man"]);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((answer.code, answer.error.as_str()), (0, ""));
    assert!(answer.output.contains(&format!("\n.TH engine 1  \"engine {version}\" \n")));
    for command in commands() {
        assert!(answer.output.contains(&format!("\nengine\\-{command}(1)\n")), "{command}");
        let page = run(&["man", &command]);
        assert_eq!((page.code, page.error.as_str()), (0, ""), "{command}");
        let title = format!("\n.TH engine-{command} 1  \"engine {version}\" \n");
        assert!(page.output.contains(&title), "{command}:\n{}", page.output);
        assert!(page.output.contains(&format!("\n\\fBengine {command}\\fR ")), "{command}");
    }
    let list = run(&["man", "dlq", "list"]).output;
    assert!(list.contains("engine\\-dlq\\-list"), "{list}");
    for name in ["dlq list", "engine-dlq-list"] {
        assert_eq!(run(&["man", name]).output, list, "{name}");
    }
    assert!(run(&["man", "fmt"]).output.contains("\n\\fB\\-\\-diff\\fR\n"));
}

#[test]
fn a_page_that_is_not_there_is_an_error() {
    let answer = run(&["man", "fly"]);
    let error = "engine: there is no command `fly`\n";
    assert_eq!((answer.code, answer.output.as_str(), answer.error.as_str()), (2, "", error));
}
