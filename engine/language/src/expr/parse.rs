//! Tokens to a tree in which every path and literal is resolved.

use super::aggregate::Aggregate;
use super::function::{self, Function};
use super::lex::{ExprToken, lex};
use super::names;
use super::node::{Binary, COMPARISON, ExprNode, Field, Macro, MacroKind, Step};
use super::problem::ExprProblem;
use super::{DEPTH_MAX, LOOPS_MAX, Root, Roots, SIZE_MAX};
use kernel::choice::Choice;
use kernel::hours::DayRange;
use serde_json::{Map, Value};
use std::ops::Range;

/// Most problems that are told of one expression.
const PROBLEMS_MAX: usize = 10;
const TOO_LONG: &str = "split it: compute a part of it in an `enrich set` stage";

pub(super) fn parse(text: &str, roots: Roots) -> Result<ExprNode, Vec<ExprProblem>> {
    if SIZE_MAX < text.len() {
        let message = format!("an expression of {} bytes; at most {SIZE_MAX} are read", text.len());
        return Err(vec![ExprProblem::too_large(0..0, message).help(TOO_LONG)]);
    }
    let tokens = lex(text).map_err(|fault| vec![fault])?;
    let mut parser = ParseParser::of(text, tokens, roots);
    let parsed = parser.whole();
    parser.ended(parsed)
}

/// A filter: `text` is the whole template expression, `piece` the place of the filter in it, and
/// `value` what stands before its `|`.
pub(super) fn parse_filter(
    text: &str,
    piece: Range<usize>,
    value: ExprNode,
    roots: Roots,
) -> Result<(ExprNode, String), Vec<ExprProblem>> {
    let moved = |range: Range<usize>| range.start + piece.start..range.end + piece.start;
    let tokens = lex(&text[piece.clone()])
        .map_err(|fault| vec![ExprProblem { span: moved(fault.span.clone()), ..fault }])?;
    let tokens = tokens.into_iter().map(|(token, span)| (token, moved(span))).collect();
    let mut parser = ParseParser::of(text, tokens, roots);
    let (parsed, name) = match parser.filter(value) {
        Ok((node, name)) => (Ok(node), name),
        Err(problem) => (Err(problem), String::new()),
    };
    parser.ended(parsed).map(|it| (it, name))
}

struct ParseParser<'t> {
    text: &'t str,
    tokens: Vec<(ExprToken, Range<usize>)>,
    at: usize,
    roots: Roots,
    depth: usize,
    /// The variables of the macros that are open here.
    variables: Vec<String>,
    /// Problems that do not stop the parser: names that do not exist.
    problems: Vec<ExprProblem>,
}

/// Boxed, because the parser recurses and its frames must stay small.
type Parsed = Result<ExprNode, Box<ExprProblem>>;

impl<'t> ParseParser<'t> {
    fn of(text: &'t str, tokens: Vec<(ExprToken, Range<usize>)>, roots: Roots) -> ParseParser<'t> {
        let (variables, problems) = (Vec::new(), Vec::new());
        ParseParser { text, tokens, at: 0, roots, depth: 0, variables, problems }
    }

    fn ended(mut self, parsed: Parsed) -> Result<ExprNode, Vec<ExprProblem>> {
        match parsed {
            Ok(node) if self.problems.is_empty() => Ok(node),
            Ok(_) => Err(self.problems),
            Err(problem) => {
                self.problems.push(*problem);
                Err(self.problems)
            }
        }
    }
}

impl ParseParser<'_> {
    fn token(&self) -> &ExprToken {
        &self.tokens[self.at].0
    }

    fn span(&self) -> Range<usize> {
        self.tokens[self.at].1.clone()
    }

    fn previous_end(&self) -> usize {
        self.tokens[self.at.saturating_sub(1)].1.end
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.token(), ExprToken::Sign(it) if *it == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    /// `sign` belongs to what stands at `opened`.
    fn expect(&mut self, sign: &str, opened: &Range<usize>) -> Result<(), Box<ExprProblem>> {
        if self.take(sign) {
            return Ok(());
        }
        Err(self.missing(sign, opened).into())
    }

    fn missing(&self, sign: &str, opened: &Range<usize>) -> ExprProblem {
        let opener = &self.text[opened.clone()];
        let found = &self.text[self.span()];
        let word = names::foreign_operator(found);
        match self.token() {
            ExprToken::End => {
                ExprProblem::syntax(opened.clone(), format!("`{opener}` has no `{sign}`"))
                    .label("opened and never closed")
                    .help(format!("put a `{sign}` where it ends"))
            }
            ExprToken::Name(_) if word.is_some() => {
                ExprProblem::syntax(self.span(), format!("`{found}` is not an operator"))
                    .help(word.unwrap_or_default())
            }
            ExprToken::Sign(",") if names::is_after_in(self.text, opened.start) => {
                let list = names::in_brackets(self.text, opened.start);
                ExprProblem::syntax(self.span(), "a list is written in brackets")
                    .help(format!("write `in {list}`"))
            }
            _ if sign == "]" && opener == "[" => {
                ExprProblem::syntax(self.span(), format!("expected `,` or `]` before `{found}`"))
                    .help("separate the items of a list with commas")
            }
            _ => ExprProblem::syntax(self.span(), format!("expected `{sign}` before `{found}`"))
                .help(format!("`{opener}` needs a `{sign}`")),
        }
    }

    /// The present token, or the last one when the text has ended.
    fn here(&self) -> Range<usize> {
        let span = self.span();
        if span.is_empty() && self.at > 0 { self.tokens[self.at - 1].1.clone() } else { span }
    }

    fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, Box<ExprProblem>>,
    ) -> Result<T, Box<ExprProblem>> {
        self.depth += 1;
        if DEPTH_MAX < self.depth {
            let message = format!("nested deeper than {DEPTH_MAX} levels");
            return Err(ExprProblem::too_large(self.here(), message).help(TOO_LONG).into());
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn whole(&mut self) -> Parsed {
        if matches!(self.token(), ExprToken::End) {
            let example = "write a condition such as `event.type == 'ring'`";
            return Err(ExprProblem::syntax(0..0, "the expression is empty").help(example).into());
        }
        let node = if self.roots.is_aggregate() { self.aggregate()? } else { self.choice()? };
        if !matches!(self.token(), ExprToken::End) {
            if self.roots.is_aggregate() && self.operator()?.is_some() {
                let message = "this computes with an aggregate; each has a name of its own";
                let help = "name each of them, as in `aggregate high=\"max(data.v)\" \
                            low=\"min(data.v)\"`, and compute with the names where they are read";
                return Err(ExprProblem::syntax(self.span(), message).help(help).into());
            }
            return Err(self.trailing().into());
        }
        Ok(node)
    }

    /// `count()`, or `max(data.score)`.
    fn aggregate(&mut self) -> Parsed {
        let at = self.span();
        let usage = || format!("write one of them around a value: {}", Aggregate::list());
        let ExprToken::Name(name) = self.token().clone() else {
            let problem = ExprProblem::syntax(self.here(), "an aggregate is missing");
            return Err(problem.help(usage()).into());
        };
        self.at += 1;
        let opened = self.span();
        if !self.take("(") {
            let whole = 0..self.text.len();
            let message = "this reads a single event; an aggregate over the events is missing";
            return Err(ExprProblem::syntax(whole, message).help(usage()).into());
        }
        let Some(aggregate) = Aggregate::of_word(&name) else {
            let help = match Aggregate::meant(&name) {
                Some(meant) => format!("did you mean `{}`?", meant.word()),
                None => usage(),
            };
            let message = format!("there is no aggregate `{name}`");
            return Err(ExprProblem::unknown(at, message, Some(help)).into());
        };
        let arguments = self.items(")", &opened)?;
        let whole = at.start..self.previous_end();
        let wanted = usize::from(aggregate != Aggregate::Count);
        if arguments.len() != wanted {
            let help = match aggregate {
                Aggregate::Count => {
                    "write `count()`; `when` chooses the events that are counted".to_owned()
                }
                _ => format!("write `{name}(data.score)`"),
            };
            let message = match wanted {
                0 => "`count` counts events and takes no value".to_owned(),
                _ => format!("`{name}` takes one value"),
            };
            return Err(ExprProblem::syntax(whole, message).help(help).into());
        }
        Ok(ExprNode::Call(Function::Aggregate(aggregate), arguments.into(), whole))
    }

    fn note(&mut self, problem: ExprProblem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    /// What stands here where the expression, or a part in brackets, should end.
    fn trailing(&self) -> ExprProblem {
        let problem =
            ExprProblem::syntax(self.span(), "the expression should end here").label("unexpected");
        match self.token() {
            ExprToken::Name(word) if word.eq_ignore_ascii_case("is") && self.asks_null() => {
                let is_not = matches!(self.tokens.get(self.at + 1), Some((ExprToken::Name(it), _)) if it.eq_ignore_ascii_case("not"));
                let sign = if is_not { "!=" } else { "==" };
                problem.help(format!("write `{sign} null` instead"))
            }
            ExprToken::Name(word) if names::foreign_operator(word).is_some() => {
                problem.help(names::foreign_operator(word).unwrap_or_default())
            }
            ExprToken::Name(_) | ExprToken::Text(_) | ExprToken::Int(_) | ExprToken::Float(_) => {
                problem.help("join two values with an operator such as `==`, `&&` or `+`")
            }
            ExprToken::Sign("(") => problem.help("a function is called as `lower(data.name)`"),
            ExprToken::Sign(it @ (")" | "]" | "}")) => {
                problem.help(format!("this `{it}` closes nothing"))
            }
            _ => problem.help("join two values with an operator such as `==`, `&&` or `+`"),
        }
    }

    /// Whether `IS NULL` or `IS NOT NULL` stands here.
    fn asks_null(&self) -> bool {
        let words = self.tokens[self.at + 1..].iter().map_while(|token| match &token.0 {
            ExprToken::Name(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let words: Vec<String> = words.take(2).collect();
        words.first().is_some_and(|word| word == "null")
            || matches!(words.as_slice(), [not, null] if not == "not" && null == "null")
    }

    fn choice(&mut self) -> Parsed {
        self.deeper(|it| {
            let start = it.at;
            let condition = it.binary(0)?;
            let opened = it.span();
            if !it.take("?") {
                return it.not_too_tall(condition, start);
            }
            let yes = it.choice()?;
            it.expect(":", &opened)?;
            let no = it.choice()?;
            it.not_too_tall(ExprNode::Choice(Box::new([condition, yes, no])), start)
        })
    }

    /// Refuses what evaluation would recurse into too deeply. Every pair of brackets asks, so
    /// that also a tree that is refused is never tall.
    fn not_too_tall(&self, node: ExprNode, start: usize) -> Parsed {
        if node.height() <= DEPTH_MAX {
            return Ok(node);
        }
        let span = self.tokens[start].1.start..self.previous_end();
        let message = format!("operators nested deeper than {DEPTH_MAX} levels");
        Err(ExprProblem::too_large(span, message).help(TOO_LONG).into())
    }

    /// Operators that bind at least as tightly as `least`.
    fn binary(&mut self, least: usize) -> Parsed {
        let mut left = self.unary()?;
        while let Some(operator) = self.operator()?
            && least <= operator.level()
        {
            left = match operator.level() {
                COMPARISON => self.comparison(operator, left)?,
                level => self.run(left, level)?,
            };
        }
        Ok(left)
    }

    /// A run of operators that bind alike, from the left.
    fn run(&mut self, first: ExprNode, level: usize) -> Parsed {
        let mut rest = Vec::new();
        while let Some(operator) = self.operator()?
            && operator.level() == level
        {
            self.at += 1;
            rest.push((operator, self.deeper(|it| it.binary(level + 1))?));
        }
        Ok(ExprNode::Run(Box::new(first), rest.into()))
    }

    fn comparison(&mut self, operator: Binary, left: ExprNode) -> Parsed {
        self.at += if operator == Binary::NotIn { 2 } else { 1 };
        let right = self.deeper(|it| it.binary(COMPARISON + 1))?;
        let again = self.span();
        if self.operator()?.is_some_and(|operator| operator.level() == COMPARISON) {
            let problem = ExprProblem::syntax(again, "comparisons cannot be chained");
            return Err(problem.help("write `a < b && b < c`").into());
        }
        if matches!(operator, Binary::In | Binary::NotIn)
            && let ExprNode::Literal(Value::String(range), place) = &right
            && (range.contains(':') || is_moment(&left))
        {
            let range = range.clone();
            return Ok(self.within(operator == Binary::NotIn, left, &range, place.clone()));
        }
        if let Some(problem) = self.negated_side(operator, &left, &right) {
            self.note(problem);
            return Ok(ExprNode::Literal(Value::Null, left.span().start..right.span().end));
        }
        names::check_levels(&left, &right, self.text, &mut self.problems);
        Ok(ExprNode::Compare(operator, Box::new([left, right])))
    }

    /// `!event.type == 'ring'`: the sign belongs to the first value alone.
    fn negated_side(
        &self,
        operator: Binary,
        left: &ExprNode,
        right: &ExprNode,
    ) -> Option<ExprProblem> {
        let ExprNode::Not(inner) = left else { return None };
        let ExprNode::Literal(Value::String(_) | Value::Number(_), place) = right else {
            return None;
        };
        let span = inner.span();
        let (one, other) = (&self.text[span.clone()], &self.text[place.clone()]);
        let meant = match operator {
            Binary::Equal => format!("{one} != {other}"),
            Binary::Unequal => format!("{one} == {other}"),
            _ => format!("!({})", &self.text[span.start..place.end]),
        };
        let message = format!("`!` negates `{one}`, not the comparison");
        Some(ExprProblem::syntax(span, message).help(format!("write `{meant}`")))
    }

    /// `event.time in '22:00-07:00'`.
    fn within(
        &mut self,
        negates: bool,
        time: ExprNode,
        range: &str,
        place: Range<usize>,
    ) -> ExprNode {
        let span = time.span().start..place.end;
        match DayRange::parse(range) {
            Some(range) => ExprNode::Call(Function::Within(range, negates), Box::new([time]), span),
            None => {
                let message = format!("`{range}` is not a range of the time of day");
                let help = "write `event.time in '22:00-07:00'`; the end is not included";
                self.note(ExprProblem::syntax(place, message).help(help));
                ExprNode::Literal(Value::Null, span)
            }
        }
    }

    /// The operator of two values that stands here.
    fn operator(&self) -> Result<Option<Binary>, Box<ExprProblem>> {
        let ExprToken::Sign(sign) = self.token() else { return self.worded_operator() };
        Ok(Some(match *sign {
            "||" => Binary::Or,
            "&&" => Binary::And,
            "==" => Binary::Equal,
            "!=" => Binary::Unequal,
            "<=" => Binary::LessEqual,
            ">=" => Binary::GreaterEqual,
            "<" => Binary::Less,
            ">" => Binary::Greater,
            "??" => Binary::Coalesce,
            "+" => Binary::Add,
            "-" => Binary::Subtract,
            "*" => Binary::Multiply,
            "/" => Binary::Divide,
            "%" => Binary::Remainder,
            _ => return Ok(None),
        }))
    }

    fn worded_operator(&self) -> Result<Option<Binary>, Box<ExprProblem>> {
        match self.token() {
            ExprToken::Name(word) if word == "in" => Ok(Some(Binary::In)),
            ExprToken::Name(word) if word == "not" => match self.tokens.get(self.at + 1) {
                Some((ExprToken::Name(next), _)) if next == "in" => Ok(Some(Binary::NotIn)),
                _ => {
                    let problem =
                        ExprProblem::syntax(self.span(), "`not` is allowed only before `in`");
                    Err(problem.help("`!` negates").into())
                }
            },
            _ => Ok(None),
        }
    }

    fn unary(&mut self) -> Parsed {
        // As in CEL, two signs in a row are none.
        for sign in ["!", "-"] {
            if self.is(sign)
                && matches!(self.tokens.get(self.at + 1), Some((ExprToken::Sign(it), _)) if *it == sign)
            {
                self.at += 2;
                return self.deeper(|it| it.deeper(|it| it.unary()));
            }
        }
        if self.take("!") {
            return self.deeper(|it| Ok(ExprNode::Not(Box::new(it.unary()?))));
        }
        let start = self.span().start;
        if self.take("-") {
            return self.deeper(|it| {
                Ok(match it.unary()? {
                    ExprNode::Literal(Value::Number(number), span) => {
                        ExprNode::Literal(negated(&number), start..span.end)
                    }
                    other => ExprNode::Negate(Box::new(other)),
                })
            });
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Parsed {
        let mut node = self.primary()?;
        let mut steps = 0;
        loop {
            let opened = self.span();
            if self.take("[") {
                let index = self.choice()?;
                self.expect("]", &opened)?;
                node = self.indexed(node, index);
            } else if self.take(".") {
                let span = self.span();
                let name = self.name()?;
                if self.is("(") {
                    node = match MacroKind::of(&name) {
                        Some(kind) => self.macro_call(kind, node)?,
                        None => self.method(&node, &name, span)?,
                    };
                    continue;
                }
                node = self.indexed(node, ExprNode::Literal(Value::String(name), span));
            } else {
                return Ok(node);
            }
            steps += 1;
            if DEPTH_MAX < steps {
                let problem = ExprProblem::too_large(opened, "this path is too long");
                return Err(problem.help("a path has at most 32 steps").into());
            }
        }
    }

    /// `event.type.startsWith('b')`: a function that is called as other languages call it.
    fn method(&mut self, value: &ExprNode, name: &str, span: Range<usize>) -> Parsed {
        let opened = self.span();
        self.at += 1;
        let first = self.span().start;
        // Of a call that is written otherwise, what is in it is not judged.
        let told = self.problems.len();
        self.items(")", &opened)?;
        self.problems.truncate(told);
        let end = self.previous_end();
        let arguments = self.text[first..end - 1].trim();
        // Where the value begins: a path knows, of others only the end does.
        let value = &self.text[value.span()];
        let all = match arguments.is_empty() {
            true => value.to_owned(),
            false => format!("{value}, {arguments}"),
        };
        let problem = match function::meant(name) {
            Some(ours) => ExprProblem::syntax(span.clone(), format!("`{name}` is not a method"))
                .label("functions take the value first")
                .help(format!("write `{ours}({all})`")),
            None => ExprProblem::unknown(
                span.clone(),
                format!("there is no function `{name}`"),
                Some(match name {
                    "reduce" | "fold" => {
                        "`sum`, `avg`, `min`, `max` and `join` make one value of a list".to_owned()
                    }
                    _ => format!("a function takes its value first, as in `lower({value})`"),
                }),
            ),
        };
        self.note(problem);
        Ok(ExprNode::Literal(Value::Null, span.start..end))
    }

    /// `(it, it.score > 0.5)` behind a list and a macro's name.
    fn macro_call(&mut self, kind: MacroKind, list: ExprNode) -> Parsed {
        let opened = self.span();
        self.at += 1;
        self.macro_tail(kind, list, &opened)
    }

    /// The variable, the expression and the closing bracket.
    fn macro_tail(&mut self, kind: MacroKind, list: ExprNode, opened: &Range<usize>) -> Parsed {
        let name = kind.name();
        let usage = match kind {
            MacroKind::Map => "write `data.items.map(it, it.name)`".to_owned(),
            _ => format!("write `data.items.{name}(it, it.score > 5)`"),
        };
        let span = self.span();
        let variable = match self.token().clone() {
            ExprToken::Name(word) => word,
            _ => {
                let message = format!("`{name}` needs a name for an item of the list first");
                return Err(ExprProblem::syntax(self.here(), message).help(usage).into());
            }
        };
        self.at += 1;
        if !self.is(",") {
            let message =
                format!("`{name}` takes a name for an item, and an expression that uses it");
            return Err(ExprProblem::syntax(span, message).help(usage).into());
        }
        self.at += 1;
        // `item` is the usual name for an item, and means one everywhere.
        let is_root = Root::ALL.iter().any(|it| it.1 == variable && it.0 != Root::Item);
        let is_word = matches!(&*variable, "true" | "false" | "null" | "in" | "not");
        if is_root || is_word || self.variables.contains(&variable) {
            let message = format!("`{variable}` already has another meaning here");
            let problem = ExprProblem::syntax(span.clone(), message);
            self.note(problem.help("give the item another name, such as `it`"));
        }
        let slot = self.variables.len();
        if slot == LOOPS_MAX {
            let message = format!("`{name}` inside of {LOOPS_MAX} others");
            let help = "compute the inner result in an `enrich set` stage";
            return Err(ExprProblem::too_large(span, message).help(help).into());
        }
        self.variables.push(variable);
        let body = self.choice();
        self.variables.pop();
        let body = body?;
        self.expect(")", opened)?;
        let cost = body.size();
        let span = list.span().start..self.previous_end();
        Ok(ExprNode::Macro(Box::new(Macro { kind, list, body, slot, cost, span })))
    }

    /// `name`, `name(arguments)`: a function of the value before it.
    fn filter(&mut self, value: ExprNode) -> Result<(ExprNode, String), Box<ExprProblem>> {
        let at = self.span();
        let name = match self.token().clone() {
            ExprToken::Name(name) => name,
            ExprToken::End => String::new(),
            _ => {
                let found = self.text[at.clone()].to_owned();
                let problem = ExprProblem::syntax(at, format!("`{found}` is not a filter"));
                return Err(problem.help("a filter is a word: `{{ data.name | upper }}`").into());
            }
        };
        self.at += usize::from(!name.is_empty());
        let opened = self.span();
        if let Some(kind) = MacroKind::of(&name)
            && self.is("(")
        {
            return Ok((self.macro_call(kind, value)?, name));
        }
        let mut arguments = vec![value];
        if self.take("(") {
            arguments.extend(self.items(")", &opened)?);
        }
        let place = if opened.start < self.previous_end() && 1 < self.at {
            opened.start..self.previous_end()
        } else {
            at.end..at.end
        };
        if !matches!(self.token(), ExprToken::End) {
            return Err(self.behind_filter(&name).into());
        }
        if !self.problems.is_empty() {
            return Ok((ExprNode::Literal(Value::Null, at), name));
        }
        let node = function::resolve_filter(&name, &at, place, arguments, self.roots)?;
        Ok((node, name))
    }

    /// `round 1` and `default: 'x'`, as other templates give a filter its value.
    fn behind_filter(&self, name: &str) -> ExprProblem {
        let value = if self.is(":") { self.at + 1 } else { self.at };
        let is_one = matches!(
            self.tokens.get(value..),
            Some([
                (ExprToken::Text(_) | ExprToken::Int(_) | ExprToken::Float(_), _),
                (ExprToken::End, _)
            ])
        );
        if !is_one || name.is_empty() {
            return self.trailing();
        }
        let given = &self.text[self.tokens[value].1.clone()];
        ExprProblem::syntax(self.span(), "the value of a filter is written in brackets")
            .help(format!("write `{name}({given})`"))
    }

    /// Extends a static path, or makes a computed one.
    fn indexed(&mut self, node: ExprNode, index: ExprNode) -> ExprNode {
        let end = self.previous_end();
        let step = match &index {
            ExprNode::Literal(Value::String(name), _) => Some(Step::Name(name.clone())),
            ExprNode::Literal(Value::Number(number), _) => {
                number.as_u64().and_then(|number| usize::try_from(number).ok()).map(Step::Index)
            }
            _ => None,
        };
        match (node, step) {
            (ExprNode::Path(root, steps, span), Some(step)) => {
                let steps = steps.into_iter().chain([step]).collect();
                ExprNode::Path(root, steps, span.start..end)
            }
            (ExprNode::Item(slot, steps, span), Some(step)) => {
                let steps = steps.into_iter().chain([step]).collect();
                ExprNode::Item(slot, steps, span.start..end)
            }
            (ExprNode::Field(_, span), _) => {
                let field = &self.text[span.clone()];
                let message = format!("`{field}` has no fields");
                let help = Some(format!("write `{field}`"));
                self.problems.push(ExprProblem::unknown(span.start..end, message, help));
                ExprNode::Literal(Value::Null, span)
            }
            (node, _) => ExprNode::Index(Box::new([node, index])),
        }
    }

    fn name(&mut self) -> Result<String, Box<ExprProblem>> {
        match self.token().clone() {
            ExprToken::Name(name) => {
                self.at += 1;
                Ok(name)
            }
            ExprToken::Int(it) => {
                let problem = ExprProblem::syntax(self.span(), "a number is not a name");
                Err(problem.help(format!("an item of a list is read as `[{it}]`")).into())
            }
            _ => {
                let problem = ExprProblem::syntax(self.here(), "a name is missing after the dot");
                Err(problem.help("write other names in brackets: `data['my name']`").into())
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let span = self.span();
        let literal = match self.token().clone() {
            ExprToken::Int(it) => Value::from(it),
            ExprToken::Float(it) => Value::from(it),
            ExprToken::Text(it) => Value::String(it),
            ExprToken::Name(name) => {
                self.at += 1;
                return self.named(&name, span);
            }
            ExprToken::Sign("(") => {
                self.at += 1;
                let inner = self.choice()?;
                self.expect(")", &span)?;
                return Ok(inner);
            }
            ExprToken::Sign("[") => return self.list(),
            ExprToken::Sign("{") => return self.map(),
            ExprToken::End => {
                let problem = ExprProblem::syntax(self.here(), "the expression ends too early");
                return Err(problem
                    .label("a value is missing after this")
                    .help("add a value, such as `data.name`, `'text'` or `5`")
                    .into());
            }
            ExprToken::Sign(sign) => {
                let message = format!("a value is missing before `{sign}`");
                let help = match sign {
                    "*" | "/" | "%" | "<" | ">" | "==" | "!=" => {
                        "operators go between two values, as in `data.a == data.b`"
                    }
                    _ => "add a value, such as `data.name` or `'text'`, or delete the sign",
                };
                return Err(ExprProblem::syntax(span, message).help(help).into());
            }
        };
        self.at += 1;
        Ok(ExprNode::Literal(literal, span))
    }

    fn items(
        &mut self,
        end: &'static str,
        opened: &Range<usize>,
    ) -> Result<Vec<ExprNode>, Box<ExprProblem>> {
        let mut items = Vec::new();
        while !self.is(end) {
            items.push(self.choice()?);
            if !self.take(",") {
                break;
            }
        }
        self.expect(end, opened)?;
        Ok(items)
    }

    fn list(&mut self) -> Parsed {
        let opened = self.span();
        self.at += 1;
        let items = self.items("]", &opened)?;
        let values: Option<Vec<Value>> = items.iter().map(literal).collect();
        let span = opened.start..self.previous_end();
        Ok(values.map_or(ExprNode::List(items.into()), |values| {
            ExprNode::Literal(Value::Array(values), span)
        }))
    }

    fn map(&mut self) -> Parsed {
        let opened = self.span();
        self.at += 1;
        let mut entries = Vec::new();
        while !self.is("}") {
            let key = self.choice()?;
            self.check_key(&key, &entries);
            self.expect(":", &opened)?;
            entries.push((key, self.choice()?));
            if !self.take(",") {
                break;
            }
        }
        self.expect("}", &opened)?;
        let values: Option<Map<String, Value>> = entries
            .iter()
            .map(|(key, value)| Some((literal(key)?.as_str()?.to_owned(), literal(value)?)))
            .collect();
        let span = opened.start..self.previous_end();
        Ok(values.map_or(ExprNode::Map(entries.into()), |values| {
            ExprNode::Literal(Value::Object(values), span)
        }))
    }

    /// Keys are text, as in JSON, and each stands once.
    fn check_key(&mut self, key: &ExprNode, entries: &[(ExprNode, ExprNode)]) {
        let ExprNode::Literal(key, span) = key else { return };
        let is_again = |it: &(ExprNode, ExprNode)| literal(&it.0).as_ref() == Some(key);
        let span = span.clone();
        let problem = match key {
            Value::String(text) if entries.iter().any(is_again) => {
                ExprProblem::syntax(span, format!("`'{text}'` is given twice"))
            }
            Value::String(_) => return,
            other => ExprProblem::syntax(span, format!("a key is text, not `{other}`"))
                .help(format!("write `'{other}'`")),
        };
        self.problems.push(problem);
    }

    fn named(&mut self, name: &str, span: Range<usize>) -> Parsed {
        match name {
            "true" => return Ok(ExprNode::Literal(Value::Bool(true), span)),
            "false" => return Ok(ExprNode::Literal(Value::Bool(false), span)),
            "null" => return Ok(ExprNode::Literal(Value::Null, span)),
            "not" if !self.is("(") => {
                let problem = ExprProblem::syntax(span, "`not` is allowed only before `in`");
                return Err(problem.help("`!` negates").into());
            }
            _ => {}
        }
        if self.is("(") {
            return self.call(name, span);
        }
        if (name == "random" || name == "http") && self.is(".") {
            let dotted = self.dotted_call(name, &span);
            if let Some(call) = dotted {
                return call;
            }
        }
        if let Some(slot) = self.variables.iter().position(|variable| variable == name) {
            return Ok(ExprNode::Item(slot, Box::new([]), span));
        }
        match Root::ALL.iter().find(|it| it.1 == name && self.roots.contains(it.0)) {
            Some((Root::Event, _)) => self.field(span),
            Some((root, _)) => Ok(ExprNode::Path(*root, Box::new([]), span)),
            None if self.roots.contains(Root::Aggregate) => {
                let step = Step::Name(name.to_owned());
                Ok(ExprNode::Path(Root::Aggregate, Box::new([step]), span))
            }
            None => {
                if self.problems.len() < PROBLEMS_MAX {
                    let problem = names::unknown_root(name, span.clone(), self.text, self.roots);
                    self.problems.push(problem);
                }
                Ok(ExprNode::Literal(Value::Null, span))
            }
        }
    }

    /// `random.pick(…)` and `http.header(…)`: a call whose name has a dot.
    fn dotted_call(&mut self, root: &str, span: &Range<usize>) -> Option<Parsed> {
        let (ExprToken::Name(name), _) = self.tokens.get(self.at + 1)? else { return None };
        let is_call = matches!(self.tokens.get(self.at + 2), Some((ExprToken::Sign("("), _)));
        if !is_call {
            return None;
        }
        let full = format!("{root}.{name}");
        let span = span.start..self.tokens[self.at + 1].1.end;
        self.at += 2;
        Some(self.call(&full, span))
    }

    fn field(&mut self, root: Range<usize>) -> Parsed {
        if !self.take(".") {
            let problem = ExprProblem::syntax(root, "`event` is read field by field");
            return Err(problem.help("write `event.type`, `event.subject`, …").into());
        }
        let span = self.span();
        let name = self.name()?;
        let whole = root.start..span.end;
        match names::field(&name, &whole) {
            Ok(field) => Ok(ExprNode::Field(field, whole)),
            Err(problem) => {
                self.note(problem);
                let opened = self.span();
                if self.take("(") {
                    self.items(")", &opened)?;
                }
                Ok(ExprNode::Literal(Value::Null, whole))
            }
        }
    }

    fn call(&mut self, name: &str, span: Range<usize>) -> Parsed {
        let opened = self.span();
        self.at += 1;
        let before = self.problems.len();
        if let Some(kind) = MacroKind::of(name) {
            let list = self.choice()?;
            if !self.take(",") {
                let message =
                    format!("`{name}` takes a list, a name for an item and an expression");
                let list = &self.text[list.span()];
                let help = match kind {
                    MacroKind::Exists => format!(
                        "write `{list}.exists(it, it.score > 5)`; whether there is a value: \
                         `{list} != null`"
                    ),
                    _ => format!("write `{list}.{name}(it, it.score > 5)`"),
                };
                return Err(ExprProblem::syntax(span, message).help(help).into());
            }
            return match self.macro_tail(kind, list, &opened)? {
                ExprNode::Macro(it) => {
                    let whole = span.start..self.previous_end();
                    Ok(ExprNode::Macro(Box::new(Macro { span: whole, ..*it })))
                }
                other => Ok(other),
            };
        }
        let arguments = self.items(")", &opened)?;
        if self.roots.contains(Root::Aggregate)
            && let Some(aggregate) = Aggregate::of_word(name)
            && (aggregate == Aggregate::Count) == arguments.is_empty()
        {
            let call = span.start..self.previous_end();
            self.note(names::aggregate_here(self.text, &call));
            return Ok(ExprNode::Literal(Value::Null, call));
        }
        // What stands in for a bad argument would be blamed for not being what is wanted.
        let is_known = before == self.problems.len();
        let whole = span.start..self.previous_end();
        match function::resolve(name, &span, whole.clone(), arguments, self.roots) {
            Ok(node) => Ok(node),
            Err(problem) => {
                if is_known {
                    self.note(self.as_null_check(name, &whole).unwrap_or(problem));
                }
                Ok(ExprNode::Literal(Value::Null, whole))
            }
        }
    }

    /// `has(data.b)`, as CEL asks whether there is a value.
    fn as_null_check(&self, name: &str, whole: &Range<usize>) -> Option<ExprProblem> {
        const ASKS: &[&str] = &["has", "isset", "is_set", "defined", "is_defined", "present"];
        const DENIES: &[&str] = &["is_null", "isNull", "isnull", "empty", "isEmpty", "is_empty"];
        let call = &self.text[whole.clone()];
        let value = call.strip_prefix(name)?.trim().strip_prefix('(')?.strip_suffix(')')?.trim();
        let sign = match (ASKS.contains(&name), DENIES.contains(&name)) {
            (true, _) => "!=",
            (_, true) => "==",
            _ => return None,
        };
        if value.is_empty() || value.contains(',') {
            return None;
        }
        let span = whole.start..whole.start + name.len();
        let message = format!("there is no function `{name}`");
        Some(ExprProblem::unknown(span, message, Some(format!("write `{value} {sign} null`"))))
    }
}

/// Whether a time stands here, whatever the event is.
fn is_moment(node: &ExprNode) -> bool {
    match node {
        ExprNode::Field(Field::Time | Field::Received, _) => true,
        ExprNode::Call(Function::Plain(row), ..) => matches!(row.name, "now" | "time"),
        _ => false,
    }
}

fn literal(node: &ExprNode) -> Option<Value> {
    match node {
        ExprNode::Literal(value, _) => Some(value.clone()),
        _ => None,
    }
}

fn negated(number: &serde_json::Number) -> Value {
    match number.as_i64() {
        Some(int) => int.checked_neg().map_or(Value::Null, Value::from),
        None => number.as_f64().map_or(Value::Null, |number| Value::from(-number)),
    }
}
