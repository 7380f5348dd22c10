//! Finds secrets in a text that may be no KDL at all, so that no report shows them.
//!
//! A report shows the lines around a mistake, also of a file that could not be read, so the names
//! beside the values decide here and not the table.

use super::lex::{Kind, LexToken, Lexer};
use language::diagnostic::{Diagnostics, may_be_secret_name};
use std::ops::Range;

/// Hides every value of a secret name.
pub(crate) fn hide(text: &str, diagnostics: &mut Diagnostics) {
    let (mut tokens, mut places) = (Vec::new(), Vec::new());
    for token in Lexer::new(text) {
        let is_end = matches!(
            token.kind,
            Kind::Newline | Kind::Semicolon | Kind::Open | Kind::Close | Kind::Line
        );
        if !is_end {
            tokens.push(token);
            continue;
        }
        let place = TopicPlace::of(text, &tokens, places.last().copied());
        of_node(text, &tokens, place, diagnostics);
        match token.kind {
            Kind::Open => places.push(place),
            Kind::Close => drop(places.pop()),
            _ => {}
        }
        tokens.clear();
    }
    let place = TopicPlace::of(text, &tokens, places.last().copied());
    of_node(text, &tokens, place, diagnostics);
}

/// What `topic` is where it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TopicPlace {
    /// As good as a password, for all that is known.
    Secret,
    /// A name that every client of a broker may read.
    Broker,
}

impl TopicPlace {
    /// In the node that these tokens begin, which is within `outer`.
    fn of(text: &str, tokens: &[LexToken], outer: Option<TopicPlace>) -> TopicPlace {
        let word = |index: usize| tokens.get(index).map_or("", |token| &text[token.span.clone()]);
        match (word(0), word(1)) {
            ("source" | "sink" | "notify", "mqtt") | ("given" | "replay", _) => TopicPlace::Broker,
            ("source" | "sink" | "notify", _) => TopicPlace::Secret,
            _ => outer.unwrap_or(TopicPlace::Secret),
        }
    }
}

/// A value of a node.
struct SecretValue {
    span: Range<usize>,
    /// The property's name, when it has one.
    name: Option<Range<usize>>,
    /// It stands elsewhere: what is written is the name of a variable, a file, a parameter.
    is_outside: bool,
}

/// What a value says, without its quotes.
fn inner<'t>(text: &'t str, span: &Range<usize>) -> &'t str {
    text[span.clone()].trim_matches(|letter: char| matches!(letter, '"' | '#' | '\'' | ':' | ','))
}

fn of_node(text: &str, tokens: &[LexToken], place: TopicPlace, diagnostics: &mut Diagnostics) {
    let is_open = |span: &Range<usize>| {
        let name = inner(text, span).trim_end_matches('s');
        place == TopicPlace::Broker && name.ends_with("topic")
    };
    let is_secret = |text: &str, name: &Range<usize>| is_secret(text, name) && !is_open(name);
    let (properties, arguments): (Vec<SecretValue>, Vec<SecretValue>) =
        values(text, tokens).into_iter().partition(|value| value.name.is_some());
    let named =
        |value: &&SecretValue| value.name.as_ref().is_some_and(|name| is_secret(text, name));
    properties.iter().filter(named).for_each(|property| property.hide(text, diagnostics));
    let Some((node, arguments)) = arguments.split_first() else { return };
    let (name, first) = (inner(text, &node.span), arguments.first());
    // `token admin "…"`, `header Authorization "…"`, `param token "…"` have a name before the value.
    let has_title = 1 < arguments.len() && matches!(name, "token" | "header" | "param" | "env");
    let titled = has_title && first.is_some_and(|it| is_secret(text, &it.span));
    if is_secret(text, &node.span) || titled {
        let hidden = arguments.iter().skip(usize::from(has_title));
        hidden.for_each(|it| it.hide(text, diagnostics));
    }
}

fn is_secret(text: &str, name: &Range<usize>) -> bool {
    may_be_secret_name(inner(text, name))
}

impl SecretValue {
    /// The quotes stay, so that the text reads as it stands.
    fn hide(&self, text: &str, diagnostics: &mut Diagnostics) {
        let written = &text[self.span.clone()];
        let inner = written.trim_matches(['"', '\'', '#']);
        if self.is_outside || inner.is_empty() {
            return;
        }
        let start = self.span.start + written.find(inner).unwrap_or(0);
        diagnostics.hide(start..start + inner.len());
    }
}

fn values(text: &str, tokens: &[LexToken]) -> Vec<SecretValue> {
    let mut values: Vec<SecretValue> = Vec::new();
    let (mut is_outside, mut property) = (false, None);
    let mut rest = tokens.iter().peekable();
    while let Some(token) = rest.next() {
        let is_before_paren = rest.peek().is_some_and(|it| it.kind == Kind::Paren);
        match token.kind {
            Kind::Paren => {
                rest.by_ref().find(|it| it.kind == Kind::ParenClose);
                is_outside = true;
            }
            Kind::Equals => property = values.pop().map(|value| value.span),
            // `env("X")`, as other languages write it.
            Kind::Word if is_before_paren && is_annotation(&text[token.span.clone()]) => {
                return values;
            }
            Kind::Word | Kind::Text | Kind::Raw | Kind::Keyword | Kind::Hash => {
                let (span, name) = (token.span.clone(), property.take());
                values.push(SecretValue {
                    span,
                    name,
                    is_outside: std::mem::take(&mut is_outside),
                });
            }
            _ => {}
        }
    }
    values
}

fn is_annotation(word: &str) -> bool {
    matches!(word, "env" | "file" | "param")
}

#[cfg(test)]
mod tests {
    use super::*;
    use language::diagnostic::SourceText;
    use std::sync::Arc;

    fn masked(text: &str) -> String {
        let source = SourceText { name: "a.kdl".to_owned(), text: text.to_owned() };
        let mut diagnostics = Diagnostics::new(Arc::new(source));
        hide(text, &mut diagnostics);
        diagnostics.masked()
    }

    #[test]
    fn values_of_secret_names_are_hidden_however_they_are_written() {
        for (text, shown) in [
            ("topic \"my-door\"", "topic \"*******\""),
            ("topic my-door", "topic *******"),
            ("source mqtt a { topics \"b/c\" \"d\" }", "source mqtt a { topics \"b/c\" \"d\" }"),
            ("topic 'my-door'", "topic '*******'"),
            ("tokn \"my-door\"", "tokn \"*******\""),
            ("topic = \"my-door\"", "topic = \"*******\""),
            ("topic=\"my-door\"; url \"http://h\"", "topic=\"*******\"; url \"http://h\""),
            (
                "source mqtt a { topic \"b/c\"; token \"abc\" }",
                "source mqtt a { topic \"b/c\"; token \"***\" }",
            ),
            (
                "sink mqtt a { topic \"b\"; notify ntfy c { topic \"d\"",
                "sink mqtt a { topic \"b\"; notify ntfy c { topic \"*\"",
            ),
            (
                "given source=a topic=\"b/c\" { body \"1\" }",
                "given source=a topic=\"b/c\" { body \"1\" }",
            ),
            ("token: \"abc\"", "token: \"***\""),
            ("token admin \"abc\" scope=read", "token admin \"***\" scope=read"),
            ("token admin (env)\"ABC\" scope=read", "token admin (env)\"ABC\" scope=read"),
            ("auth bearer=\"abc\" scheme=hex", "auth bearer=\"***\" scheme=hex"),
            ("auth hmac=(env)\"ABC\"", "auth hmac=(env)\"ABC\""),
            ("header Authorization \"abc\"", "header Authorization \"***\""),
            ("header X-Kind \"abc\"", "header X-Kind \"abc\""),
            ("param api-key #\"a\"b\"#", "param api-key #\"***\"#"),
            ("env NTFY_TOKEN=\"abc\"", "env NTFY_TOKEN=\"***\""),
            ("notify ntfy phone { topic \"abc\" }", "notify ntfy phone { topic \"***\" }"),
            ("topic \"abc\" \"def\" // more", "topic \"***\" \"***\" // more"),
            ("key \"event.subject\"", "key \"event.subject\""),
            ("password \"never closed\nkeep \"30d\"", "password \"************\nkeep \"30d\""),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
