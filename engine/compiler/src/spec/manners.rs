//! Whether and when a notifier speaks.

use super::Name;
use language::expr::{Expr, Template};
use language::spanned::Spanned;
use std::sync::Arc;
use std::time::Duration;
use store::{
    EscalateRule, Excess, GroupRule, MessageRate, NotifyRules, QuietRule, RelayWord, RepeatRule,
    Silencer,
};

/// What a notifier says about whether and when it speaks.
#[derive(Debug, Clone, PartialEq)]
pub struct Manners {
    /// When it is silent, in file order.
    pub quiet: Vec<QuietHoursNode>,
    /// How many messages it sends, where it says what happens to the others.
    pub rate: Option<MessageRate>,
    /// What it tells together.
    pub group: Option<GroupNode>,
    /// The texts of one message for several that waited.
    pub digest: DigestTexts,
    /// Events that silence it, in file order.
    pub silences: Vec<SilenceNode>,
    /// What it waits for before it tells of an event.
    pub wait: Option<WaitNode>,
    /// The notifier that tells what this one could not.
    pub fallback: Option<Name>,
    /// Which message replaces which.
    pub update: Option<UpdateNode>,
    /// What becomes of an alert afterwards.
    pub alerts: AlertNodes,
}

/// Messages that replace one another.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateNode {
    /// What is told apart.
    pub key: Spanned<Expr>,
    /// How long after a message was sent or changed it may be replaced.
    pub within: Duration,
}

/// A fact that is worth a short delay.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitNode {
    /// Which events bring it.
    pub fact: Spanned<Expr>,
    /// What is told apart; without it, everything waits together.
    pub key: Option<Spanned<Expr>>,
    /// How long at most.
    pub up_to: Duration,
}

/// What becomes of an alert after it was sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlertNodes {
    /// What is told apart; without it, everything is one alert.
    pub key: Option<Spanned<Expr>>,
    /// How it is sent again.
    pub repeat: Option<RepeatRule>,
    /// How it is taken back.
    pub recover: Option<RecoverNode>,
    /// Who gets it when nobody reacts.
    pub escalate: Option<EscalateNode>,
    /// Events by which somebody reacts.
    pub until: Vec<Spanned<Expr>>,
}

/// The all-clear of an alert.
#[derive(Debug, Clone, PartialEq)]
pub struct RecoverNode {
    /// Which events are one.
    pub when: Spanned<Expr>,
    /// Its headline; without it, that of the notifier.
    pub title: Option<Template>,
    /// Its text; without it, that of the notifier.
    pub message: Option<Template>,
}

/// Who gets an alert when nobody reacts.
#[derive(Debug, Clone, PartialEq)]
pub struct EscalateNode {
    /// The time to react.
    pub after: Duration,
    /// The other notifier.
    pub to: Name,
}

impl AlertNodes {
    /// Whether there is any.
    pub fn is_any(&self) -> bool {
        self.repeat.is_some() || self.recover.is_some() || self.escalate.is_some()
    }
}

/// Events that silence a notifier for their key.
#[derive(Debug, Clone, PartialEq)]
pub struct SilenceNode {
    /// The word of the file.
    pub by: Silencer,
    /// Which events.
    pub cause: SilenceCause,
    /// What is told apart; without it, everything is silenced.
    pub key: Option<Spanned<Expr>>,
    /// For how long.
    pub window: Duration,
}

/// Which events silence a notifier.
#[derive(Debug, Clone, PartialEq)]
pub enum SilenceCause {
    /// Those for which this holds.
    When(Spanned<Expr>),
    /// Those of this type, which may be a pattern.
    Type(String),
}

impl SilenceCause {
    /// As the file writes it.
    pub fn text(&self) -> &str {
        match self {
            SilenceCause::When(condition) => condition.value.text(),
            SilenceCause::Type(pattern) => pattern,
        }
    }
}

/// Hours in which a notifier is silent.
#[derive(Debug, Clone, PartialEq)]
pub struct QuietHoursNode {
    /// Which, and what becomes of a message meanwhile.
    pub rule: QuietRule,
    /// What is sent all the same.
    pub allow: Option<Spanned<Expr>>,
}

/// Events of a key that one message tells together.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupNode {
    /// How long.
    pub rule: GroupRule,
    /// What is told apart; without it, all are told together.
    pub key: Option<Spanned<Expr>>,
}

/// Title and message of a digest.
#[derive(Debug, Clone, PartialEq)]
pub struct DigestTexts {
    /// The headline.
    pub title: Template,
    /// The text.
    pub message: Template,
}

impl Manners {
    /// What is decided in the transaction of an event; `None` where nothing is.
    pub fn rules(&self, target: &Arc<str>) -> Option<NotifyRules> {
        let rules = NotifyRules {
            target: target.clone(),
            quiet: self.quiet.iter().map(|it| it.rule.clone()).collect(),
            rate: self.rate,
            group: self.group.as_ref().map(|group| group.rule),
            update: self.update.as_ref().map(|update| update.within),
            wait: self.wait.as_ref().map(|it| it.up_to),
            repeat: self.alerts.repeat,
            recovers: self.alerts.recover.is_some(),
            // Who that is, is known where all notifiers are.
            escalate: self
                .alerts
                .escalate
                .as_ref()
                .map(|escalate| EscalateRule { after: escalate.after, to: Vec::new() }),
        };
        let decides = !rules.quiet.is_empty() || rules.rate.is_some() || rules.group.is_some();
        let decides = decides || rules.update.is_some() || rules.wait.is_some();
        let decides = decides || self.alerts.is_any();
        decides.then_some(rules)
    }

    /// The notifiers that this one hands events to, each with the word that names it.
    pub fn relays(&self) -> impl Iterator<Item = (RelayWord, &Name)> {
        let fallback = self.fallback.iter().map(|it| (RelayWord::Fallback, it));
        let escalate = self.alerts.escalate.iter().map(|it| (RelayWord::Escalate, &it.to));
        fallback.chain(escalate)
    }

    /// Whether one message may tell of several that waited.
    pub fn makes_digests(&self) -> bool {
        let of_quiet = self.quiet.iter().any(|it| it.rule.excess == Excess::Digest);
        of_quiet || self.rate.is_some_and(|rate| rate.excess == Excess::Digest)
    }
}
