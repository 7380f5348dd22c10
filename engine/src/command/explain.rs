//! `engine explain`: what a code, a node or another word of the language means.

use crate::terminal;
use clap::Args;
use compiler::grammar;
use compiler::manual::{self, Language};
use language::diagnostic::Rule;
use stages::catalog::Catalog;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine explain E0203
  engine explain enrich http
  engine explain retry
  engine explain upper
  engine explain 429"#)]
pub(super) struct ExplainArgs {
    /// A code (`E0203`), a node (`enrich http`, `notify.cooldown`), a word in one (`retry`), a
    /// function, filter or root of expressions (`upper`, `event`), or the status of a call (`429`).
    #[arg(required_unless_present = "list", value_name = "CODE|NODE|WORD")]
    words: Vec<String>,
    /// List every code with its meaning.
    #[arg(long, conflicts_with = "words")]
    list: bool,
}

/// Explains; the exit code.
pub(super) fn explain(args: &ExplainArgs) -> u8 {
    if args.list {
        let line = |rule: &Rule| format!("{}  {}\n", rule.code(), manual::first_line(*rule));
        terminal::to_output(&Rule::ALL.iter().map(line).collect::<String>());
        return 0;
    }
    let catalog = Catalog::built_in();
    let language = Language { top: grammar::TOP, kinds: &catalog };
    let words = args.words.join(" ");
    if let Some(text) = manual::explain(language, &words) {
        terminal::to_output(&text);
        return 0;
    }
    let help = manual::similar(language, &words)
        .map_or_else(String::new, |similar| format!("; did you mean `{similar}`?"));
    terminal::to_terminal(&format!("engine: unknown word `{words}`{help}\n"));
    2
}
