//! The buttons of a message: links with a label.

use super::link::web_page;
use super::text::{TextLimit, one_line};
use crate::contract::Services;
use crate::request::{Ready, Text};
use kernel::fault::Fault;
use language::diagnostic::Rule;
use language::expr::{Roots, Scope};
use language::{Arg, Context, Fields, Needed, NodeRow, ValueKind};

/// As many as ntfy shows; more is a menu, and not a message.
const BUTTONS_MAX: usize = 3;
/// Longer labels are cut by the phones themselves.
const LABEL_LIMIT: TextLimit = TextLimit::letters(40);

/// The node of every kind that knows of buttons.
pub(super) const BUTTON: &[NodeRow] =
    &[NodeRow::new("button", "a link with a label below the message; at most three")
        .examples(&[r#"button "Live picture" "https://cam.example.org/{{ event.subject }}""#])
        .args(&[
            Arg::one("label", ValueKind::Template(Roots::EVENT)),
            Arg::one("url", ValueKind::Template(Roots::EVENT)),
        ])
        .repeated()];

/// Label and URL, as the file gives them.
pub(super) type ButtonText = (Text, Text);

/// Reads every `button`; reports what is too much.
pub(super) fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Vec<ButtonText> {
    if let Some(extra) = fields.children("button").nth(BUTTONS_MAX) {
        context
            .diagnostics
            .push(Rule::WrongArgument, format!("a message has at most {BUTTONS_MAX} buttons"))
            .at(extra.head(), "one too many")
            .help("remove it, or put its link into `message`");
    }
    let read =
        |fields: Fields<'_>| Some((Text::read(&fields.arg(0)?)?, Text::read(&fields.arg(1)?)?));
    fields.children("button").filter_map(read).collect()
}

/// What they take from outside the file.
pub(super) fn needed(buttons: &[ButtonText]) -> impl Iterator<Item = Needed> {
    buttons.iter().flat_map(|button| [button.0.needed(), button.1.needed()])
}

/// Buttons, ready for events.
pub(super) struct Buttons(Vec<(Ready, Ready)>);

/// A button of one message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Button {
    pub(super) label: String,
    pub(super) url: String,
}

impl Buttons {
    pub(super) fn open(texts: &[ButtonText], services: &Services) -> Result<Buttons, Fault> {
        let open = |text: &ButtonText| Ok((text.0.open(services)?, text.1.open(services)?));
        Ok(Buttons(texts.iter().map(open).collect::<Result<_, Fault>>()?))
    }

    /// Those of one event. One that leads nowhere, or says nothing, is left out: services refuse it
    /// together with the message.
    pub(super) fn of(&self, scope: &Scope<'_>) -> Vec<Button> {
        let button = |(label, url): &(Ready, Ready)| {
            let label = LABEL_LIMIT.cut(&one_line(&label.render(scope)));
            let url = web_page(&url.render(scope))?;
            (!label.is_empty()).then_some(Button { label, url })
        };
        self.0.iter().filter_map(button).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use serde_json::json;

    #[test]
    fn a_button_that_leads_nowhere_is_left_out() {
        let text = |text: &str| Text {
            setting: language::spanned::Spanned::new(language::Setting::of_text(text), 0..1),
            is_optional: false,
        };
        let texts = [
            (text("Open\n{{ data.n }}"), text("https://cam/{{ data.n }}")),
            (text("{{ data.none }}"), text("https://cam/")),
            (text("Open"), text("{{ data.none }}")),
            (text("Open"), text("javascript:alert(1)")),
        ];
        let event = testing::event(json!({ "n": 2 }));
        let buttons = Buttons::open(&texts, &testing::alone()).unwrap();
        let found = buttons.of(&Scope::of(&event, kernel::time::Timestamp(0)));
        let (label, url) = ("Open 2".to_owned(), "https://cam/2".to_owned());
        assert_eq!(found, [Button { label, url }]);
    }
}
