//! How urgent a message is, in words that every service is given in its own.

use kernel::choice;
use kernel::choice::Choice;
use kernel::event::Priority;
use language::diagnostic::Rule;
use language::expr::{Expr, Roots, Scope};
use language::{Arg, Context, Fields, NodeRow, Prop, Scalar, ValueKind};

choice! {
    /// How urgent a message is.
    pub(super) enum Level {
        /// Not to be noticed.
        Min = "min",
        /// Without a sound.
        Low = "low",
        /// As usual.
        Default = "default",
        /// To be noticed.
        High = "high",
        /// Whatever the phone is told otherwise.
        Max = "max",
    }
}

/// The node of every kind that knows of levels.
pub(super) const LEVEL: &[NodeRow] = &[NodeRow::new("level", "how urgent the message is")
    .examples(&["level high", r#"level from="event.priority == 'critical' ? 'max' : 'low'""#])
    .args(&[Arg::optional("level", ValueKind::Word(Level::WORDS))])
    .props(&[Prop::new("from", ValueKind::Expr(Roots::EVENT))])
    .otherwise("from the event's priority: low, default for normal, high, max for critical")];

/// What a file says about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum LevelSetting {
    Fixed(Level),
    From(Expr),
    Priority,
}

impl Level {
    /// Of its own word, or of a priority's.
    fn of_text(word: &str) -> Option<Level> {
        match word {
            "normal" => Some(Level::Default),
            "critical" => Some(Level::Max),
            _ => Level::of_word(word),
        }
    }
}

/// Reports the literals that an expression may come to and that are no level.
fn check_words(expr: &Expr, from: &Scalar<'_>, context: &mut Context<'_>) {
    for (literal, place) in expr.literals() {
        let word = literal.as_str().unwrap_or_default();
        if literal.is_null() || Level::of_text(word).is_some() {
            continue;
        }
        let near = language::other_level(word, Level::WORDS)
            .or_else(|| language::nearest(word, Level::WORDS.iter().copied()));
        let near = near.map_or_else(String::new, |near| format!("did you mean `'{near}'`? "));
        context
            .diagnostics
            .push(Rule::UnknownWord, format!("`{literal}` is not a level").replace('"', "'"))
            .at(from.part_span(place), "is treated as not set")
            .help(format!("{near}The words are: {}", Level::WORDS.join(", ")));
    }
}

impl LevelSetting {
    pub(super) fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<LevelSetting> {
        let Some(node) = fields.child("level") else { return Some(LevelSetting::Priority) };
        Some(match (node.arg(0), node.prop("from")) {
            (Some(word), _) => LevelSetting::Fixed(Level::of_word(&word.text()?.value)?),
            (None, Some(from)) => {
                let expr = from.expr(Roots::EVENT)?.value;
                check_words(&expr, &from, context);
                LevelSetting::From(expr)
            }
            (None, None) => LevelSetting::Priority,
        })
    }

    /// That of one event. What an expression gives that is not a level is treated as not set.
    pub(super) fn of(&self, priority: Priority, scope: &Scope<'_>) -> Level {
        let by_priority = || Level::of_text(priority.word()).unwrap_or(Level::Default);
        match self {
            LevelSetting::Fixed(level) => *level,
            LevelSetting::From(expr) => {
                Level::of_text(&expr.eval(scope).text()).unwrap_or_else(by_priority)
            }
            LevelSetting::Priority => by_priority(),
        }
    }
}
