//! Tokens to a tree in which every path and literal is resolved.

use super::function;
use super::lex::{Token, lex};
use super::names;
use super::node::{Binary, COMPARISON, Node, Step};
use super::problem::Problem;
use super::{DEPTH_MAX, Root, Roots, SIZE_MAX};
use serde_json::{Map, Value};
use std::ops::Range;

/// Most problems that are told of one expression.
const PROBLEMS_MAX: usize = 10;
const TOO_LONG: &str = "split it: an `enrich set` stage gives a part of it a name";

pub(super) fn parse(text: &str, roots: Roots) -> Result<Node, Vec<Problem>> {
    if SIZE_MAX < text.len() {
        let message = format!("an expression of {} bytes; at most {SIZE_MAX} are read", text.len());
        return Err(vec![Problem::too_large(0..0, message).help(TOO_LONG)]);
    }
    let tokens = lex(text).map_err(|it| vec![it])?;
    let mut parser = Parser { text, tokens, at: 0, roots, depth: 0, problems: Vec::new() };
    match parser.whole() {
        Ok(node) if parser.problems.is_empty() => Ok(node),
        Ok(_) => Err(parser.problems),
        Err(problem) => {
            parser.problems.push(*problem);
            Err(parser.problems)
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    roots: Roots,
    depth: usize,
    /// Problems that do not stop the parser: names that do not exist.
    problems: Vec<Problem>,
}

/// Boxed, because the parser recurses and its frames must stay small.
type Parsed = Result<Node, Box<Problem>>;

impl Parser<'_> {
    fn token(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn span(&self) -> Range<usize> {
        self.tokens[self.at].1.clone()
    }

    fn previous_end(&self) -> usize {
        self.tokens[self.at.saturating_sub(1)].1.end
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.token(), Token::Sign(it) if *it == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    /// `sign` belongs to what stands at `opened`.
    fn expect(&mut self, sign: &str, opened: &Range<usize>) -> Result<(), Box<Problem>> {
        if self.take(sign) {
            return Ok(());
        }
        Err(self.missing(sign, opened).into())
    }

    fn missing(&self, sign: &str, opened: &Range<usize>) -> Problem {
        let opener = &self.text[opened.clone()];
        let found = &self.text[self.span()];
        let word = names::foreign_operator(found);
        match self.token() {
            Token::End => Problem::syntax(opened.clone(), format!("`{opener}` has no `{sign}`"))
                .label("opened and never closed")
                .help(format!("put a `{sign}` where it ends")),
            Token::Name(_) if word.is_some() => {
                Problem::syntax(self.span(), format!("`{found}` is not an operator"))
                    .help(word.unwrap_or_default())
            }
            _ => Problem::syntax(self.span(), format!("`{found}` stands where `{sign}` should"))
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
        inner: impl FnOnce(&mut Self) -> Result<T, Box<Problem>>,
    ) -> Result<T, Box<Problem>> {
        self.depth += 1;
        if DEPTH_MAX < self.depth {
            let message = format!("nested deeper than {DEPTH_MAX} levels");
            return Err(Problem::too_large(self.here(), message).help(TOO_LONG).into());
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn whole(&mut self) -> Parsed {
        if matches!(self.token(), Token::End) {
            let example = "write a condition such as `event.type == 'ring'`";
            return Err(Problem::syntax(0..0, "the expression is empty").help(example).into());
        }
        let node = self.choice()?;
        if !matches!(self.token(), Token::End) {
            return Err(self.trailing().into());
        }
        Ok(node)
    }

    fn note(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    /// What stands here where the expression, or a part in brackets, should end.
    fn trailing(&self) -> Problem {
        let problem =
            Problem::syntax(self.span(), "the expression should end here").label("what is this?");
        match self.token() {
            Token::Name(word) if names::foreign_operator(word).is_some() => {
                problem.help(names::foreign_operator(word).unwrap_or_default())
            }
            Token::Name(_) | Token::Text(_) | Token::Int(_) | Token::Float(_) => {
                problem.help("join two values by an operator such as `==`, `&&` or `+`")
            }
            Token::Sign("(") => problem.help("a function is called as `lower(data.name)`"),
            Token::Sign(it @ (")" | "]" | "}")) => {
                problem.help(format!("nothing is open that this `{it}` could close"))
            }
            _ => problem.help("join two values by an operator such as `==`, `&&` or `+`"),
        }
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
            it.not_too_tall(Node::Choice(Box::new([condition, yes, no])), start)
        })
    }

    /// Refuses what evaluation would recurse into too deeply. Every pair of brackets asks, so
    /// that also a tree that is refused is never tall.
    fn not_too_tall(&self, node: Node, start: usize) -> Parsed {
        if node.height() <= DEPTH_MAX {
            return Ok(node);
        }
        let span = self.tokens[start].1.start..self.previous_end();
        let message = format!("operators nested deeper than {DEPTH_MAX} levels");
        Err(Problem::too_large(span, message).help(TOO_LONG).into())
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
    fn run(&mut self, first: Node, level: usize) -> Parsed {
        let mut rest = Vec::new();
        while let Some(operator) = self.operator()?
            && operator.level() == level
        {
            self.at += 1;
            rest.push((operator, self.deeper(|it| it.binary(level + 1))?));
        }
        Ok(Node::Run(Box::new(first), rest.into()))
    }

    fn comparison(&mut self, operator: Binary, left: Node) -> Parsed {
        self.at += if operator == Binary::NotIn { 2 } else { 1 };
        let right = self.deeper(|it| it.binary(COMPARISON + 1))?;
        let again = self.span();
        if self.operator()?.is_some_and(|it| it.level() == COMPARISON) {
            let problem = Problem::syntax(again, "comparisons cannot be chained");
            return Err(problem.help("write `a < b && b < c`").into());
        }
        names::check_levels(&left, &right, self.text, &mut self.problems);
        Ok(Node::Compare(operator, Box::new([left, right])))
    }

    /// The operator of two values that stands here.
    fn operator(&self) -> Result<Option<Binary>, Box<Problem>> {
        let Token::Sign(sign) = self.token() else { return self.worded_operator() };
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

    fn worded_operator(&self) -> Result<Option<Binary>, Box<Problem>> {
        match self.token() {
            Token::Name(word) if word == "in" => Ok(Some(Binary::In)),
            Token::Name(word) if word == "not" => match self.tokens.get(self.at + 1) {
                Some((Token::Name(next), _)) if next == "in" => Ok(Some(Binary::NotIn)),
                _ => {
                    let problem = Problem::syntax(self.span(), "`not` stands only before `in`");
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
                && matches!(self.tokens.get(self.at + 1), Some((Token::Sign(it), _)) if *it == sign)
            {
                self.at += 2;
                return self.deeper(|it| it.deeper(|it| it.unary()));
            }
        }
        if self.take("!") {
            return self.deeper(|it| Ok(Node::Not(Box::new(it.unary()?))));
        }
        let start = self.span().start;
        if self.take("-") {
            return self.deeper(|it| {
                Ok(match it.unary()? {
                    Node::Literal(Value::Number(number), span) => {
                        Node::Literal(negated(&number), start..span.end)
                    }
                    other => Node::Negate(Box::new(other)),
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
                    node = self.method(&node, &name, span)?;
                    continue;
                }
                node = self.indexed(node, Node::Literal(Value::String(name), span));
            } else {
                return Ok(node);
            }
            steps += 1;
            if DEPTH_MAX < steps {
                let problem = Problem::too_large(opened, "this path is too long");
                return Err(problem.help("a path has at most 32 steps").into());
            }
        }
    }

    /// `event.type.startsWith('b')`: a function that is called as other languages call it.
    fn method(&mut self, value: &Node, name: &str, span: Range<usize>) -> Parsed {
        let opened = self.span();
        self.at += 1;
        let first = self.span().start;
        self.items(")", &opened)?;
        let end = self.previous_end();
        let arguments = self.text[first..end - 1].trim();
        // Where the value begins: a path knows, of others only the end does.
        let value = &self.text[value.span()];
        let all = match arguments.is_empty() {
            true => value.to_owned(),
            false => format!("{value}, {arguments}"),
        };
        let problem = match function::meant(name) {
            Some(ours) => Problem::syntax(span.clone(), format!("`{name}` is not a method"))
                .label("functions take the value first")
                .help(format!("write `{ours}({all})`")),
            None => Problem::unknown(
                span.clone(),
                format!("there is no function `{name}`"),
                Some(format!("a function takes its value first, as in `lower({value})`")),
            ),
        };
        self.note(problem);
        Ok(Node::Literal(Value::Null, span.start..end))
    }

    /// Extends a static path, or makes a computed one.
    fn indexed(&mut self, node: Node, index: Node) -> Node {
        let end = self.previous_end();
        let step = match &index {
            Node::Literal(Value::String(name), _) => Some(Step::Name(name.clone())),
            Node::Literal(Value::Number(number), _) => {
                number.as_u64().and_then(|it| usize::try_from(it).ok()).map(Step::Index)
            }
            _ => None,
        };
        match (node, step) {
            (Node::Path(root, steps, span), Some(step)) => {
                let steps = steps.into_iter().chain([step]).collect();
                Node::Path(root, steps, span.start..end)
            }
            (Node::Field(_, span), _) => {
                let field = &self.text[span.clone()];
                let message = format!("`{field}` has nothing inside");
                let help = Some(format!("write `{field}`"));
                self.problems.push(Problem::unknown(span.start..end, message, help));
                Node::Literal(Value::Null, span)
            }
            (node, _) => Node::Index(Box::new([node, index])),
        }
    }

    fn name(&mut self) -> Result<String, Box<Problem>> {
        match self.token().clone() {
            Token::Name(name) => {
                self.at += 1;
                Ok(name)
            }
            Token::Int(it) => {
                let problem = Problem::syntax(self.span(), "a number is no name");
                Err(problem.help(format!("an item of a list is read as `[{it}]`")).into())
            }
            _ => {
                let problem = Problem::syntax(self.here(), "a name is missing behind the dot");
                Err(problem.help("other names stand in brackets: `data['my name']`").into())
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let span = self.span();
        let literal = match self.token().clone() {
            Token::Int(it) => Value::from(it),
            Token::Float(it) => Value::from(it),
            Token::Text(it) => Value::String(it),
            Token::Name(name) => {
                self.at += 1;
                return self.named(&name, span);
            }
            Token::Sign("(") => {
                self.at += 1;
                let inner = self.choice()?;
                self.expect(")", &span)?;
                return Ok(inner);
            }
            Token::Sign("[") => return self.list(),
            Token::Sign("{") => return self.map(),
            Token::End => {
                let problem = Problem::syntax(self.here(), "the expression ends too early");
                return Err(problem
                    .label("a value is missing behind this")
                    .help("put a value there, such as `data.name`, `'text'` or `5`")
                    .into());
            }
            Token::Sign(sign) => {
                let message = format!("a value is missing before `{sign}`");
                let help = match sign {
                    "*" | "/" | "%" | "<" | ">" | "==" | "!=" => {
                        "operators stand between two values, as in `data.a == data.b`"
                    }
                    _ => "put a value there, such as `data.name` or `'text'`, or delete the sign",
                };
                return Err(Problem::syntax(span, message).help(help).into());
            }
        };
        self.at += 1;
        Ok(Node::Literal(literal, span))
    }

    fn items(
        &mut self,
        end: &'static str,
        opened: &Range<usize>,
    ) -> Result<Vec<Node>, Box<Problem>> {
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
        Ok(values.map_or(Node::List(items.into()), |it| Node::Literal(Value::Array(it), span)))
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
        Ok(values.map_or(Node::Map(entries.into()), |it| Node::Literal(Value::Object(it), span)))
    }

    /// Keys are text, as in JSON, and each stands once.
    fn check_key(&mut self, key: &Node, entries: &[(Node, Node)]) {
        let Node::Literal(key, span) = key else { return };
        let is_again = |it: &(Node, Node)| literal(&it.0).as_ref() == Some(key);
        let span = span.clone();
        let problem = match key {
            Value::String(text) if entries.iter().any(is_again) => {
                Problem::syntax(span, format!("`'{text}'` is given twice"))
            }
            Value::String(_) => return,
            other => Problem::syntax(span, format!("a key is text, not `{other}`"))
                .help(format!("write `'{other}'`")),
        };
        self.problems.push(problem);
    }

    fn named(&mut self, name: &str, span: Range<usize>) -> Parsed {
        match name {
            "true" => return Ok(Node::Literal(Value::Bool(true), span)),
            "false" => return Ok(Node::Literal(Value::Bool(false), span)),
            "null" => return Ok(Node::Literal(Value::Null, span)),
            "not" if !self.is("(") => {
                let problem = Problem::syntax(span, "`not` stands only before `in`");
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
        match Root::ALL.iter().find(|it| it.1 == name && self.roots.contains(it.0)) {
            Some((Root::Event, _)) => self.field(span),
            Some((root, _)) => Ok(Node::Path(*root, Box::new([]), span)),
            None => {
                if self.problems.len() < PROBLEMS_MAX {
                    let before = &self.text[..span.start];
                    let problem = names::unknown_root(name, span.clone(), before, self.roots);
                    self.problems.push(problem);
                }
                Ok(Node::Literal(Value::Null, span))
            }
        }
    }

    /// `random.pick(…)` and `http.header(…)`: a call whose name has a dot.
    fn dotted_call(&mut self, root: &str, span: &Range<usize>) -> Option<Parsed> {
        let (Token::Name(name), _) = self.tokens.get(self.at + 1)? else { return None };
        let is_call = matches!(self.tokens.get(self.at + 2), Some((Token::Sign("("), _)));
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
            let problem = Problem::syntax(root, "`event` is read field by field");
            return Err(problem.help("write `event.type`, `event.subject`, …").into());
        }
        let span = self.span();
        let name = self.name()?;
        let whole = root.start..span.end;
        match names::field(&name, &whole) {
            Ok(field) => Ok(Node::Field(field, whole)),
            Err(problem) => {
                self.note(problem);
                let opened = self.span();
                if self.take("(") {
                    self.items(")", &opened)?;
                }
                Ok(Node::Literal(Value::Null, whole))
            }
        }
    }

    fn call(&mut self, name: &str, span: Range<usize>) -> Parsed {
        let opened = self.span();
        self.at += 1;
        let before = self.problems.len();
        let arguments = self.items(")", &opened)?;
        // What stands in for a bad argument would be blamed for not being what is wanted.
        let is_known = before == self.problems.len();
        let whole = span.start..self.previous_end();
        match function::resolve(name, &span, whole.clone(), arguments, self.roots) {
            Ok(node) => Ok(node),
            Err(problem) => {
                if is_known {
                    self.note(problem);
                }
                Ok(Node::Literal(Value::Null, whole))
            }
        }
    }
}

fn literal(node: &Node) -> Option<Value> {
    match node {
        Node::Literal(value, _) => Some(value.clone()),
        _ => None,
    }
}

fn negated(number: &serde_json::Number) -> Value {
    match number.as_i64() {
        Some(int) => int.checked_neg().map_or(Value::Null, Value::from),
        None => number.as_f64().map_or(Value::Null, |it| Value::from(-it)),
    }
}
