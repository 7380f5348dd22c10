//! Random terms and events.
//!
//! Terms are mostly of the sorts that their operators want, so that most of them have a result;
//! one operand in a few dozen is of any sort.

use super::term::{Form, Term};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Bool,
    Whole,
    Float,
    Text,
    List,
    Map,
    Any,
}

const SORTS: [Sort; 7] =
    [Sort::Bool, Sort::Whole, Sort::Float, Sort::Text, Sort::List, Sort::Map, Sort::Any];

fn whole() -> impl Strategy<Value = i64> + Clone {
    prop_oneof![8 => -4..10_i64, 1 => any::<i64>(), 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
}

fn float() -> impl Strategy<Value = f64> + Clone {
    prop_oneof![
        8 => (-8..20_i32).prop_map(|scalar| f64::from(scalar) / 4.0),
        1 => prop::num::f64::NORMAL,
        1 => Just(9_007_199_254_740_993.0),
        1 => Just(9.223_372_036_854_776e18),
        1 => Just(1e300),
    ]
}

fn text() -> impl Strategy<Value = String> + Clone {
    prop_oneof![4 => "[abc]{0,3}", 1 => "[ab'\"\\\\\n\r\té😀\u{0}]{0,4}", 1 => Just("rings".to_owned())]
}

/// Any JSON, with names and texts that meet those of the terms.
fn any_json() -> impl Strategy<Value = Value> + Clone {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        whole().prop_map(Value::from),
        float().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|scalar| Value::Object(scalar.into_iter().collect())),
        ]
    })
}

/// The payload of an event: a field of every sort, now and then missing or of another sort.
pub(super) fn any_data() -> impl Strategy<Value = Value> {
    fn field<T: Into<Value> + std::fmt::Debug + Clone + 'static>(
        of: impl Strategy<Value = T> + 'static,
    ) -> impl Strategy<Value = Option<Value>> {
        prop_oneof![
            20 => of.prop_map(|scalar| Some(scalar.into())),
            1 => Just(None),
            1 => any_json().prop_map(Some),
        ]
    }
    let list = prop_oneof![
        prop::collection::vec(whole(), 0..4).prop_map(Value::from),
        prop::collection::vec(text(), 0..4).prop_map(Value::from),
        prop::collection::vec(any_json(), 0..4).prop_map(Value::from),
    ];
    let map = prop::collection::btree_map("[abc]", any_json(), 0..4);
    let map = map.prop_map(|scalar| Value::Object(scalar.into_iter().collect()));
    let lone = (field(any::<bool>()), field(whole()), field(whole()), field(float()));
    (lone, field(text()), field(text()), field(list), field(map), field(Just(Value::Null)))
        .prop_map(|((yes, n, m, ratio), name, word, list, map, none)| {
            let fields = [
                ("yes", yes),
                ("n", n),
                ("m", m),
                ("ratio", ratio),
                ("name", name),
                ("word", word),
                ("list", list),
                ("map", map),
                ("none", none),
            ];
            let there = fields.into_iter().filter_map(|(name, it)| Some((name.to_owned(), it?)));
            Value::Object(there.collect::<Map<_, _>>())
        })
}

type AnyTerm = BoxedStrategy<Term>;

fn form() -> impl Strategy<Value = Form> + Clone {
    prop_oneof![
        4 => Just(Form::Plain), 1 => Just(Form::Double), 1 => Just(Form::Triple),
        1 => Just(Form::Raw), 1 => Just(Form::Codes),
    ]
}

fn lone(value: impl Strategy<Value = Value> + 'static) -> AnyTerm {
    (value, form()).prop_map(|(value, form)| Term::Literal(value, form)).boxed()
}

fn of_data(name: &str) -> Term {
    Term::Member(Box::new(Term::Root("data")), name.to_owned())
}

fn read(names: &'static [&'static str]) -> AnyTerm {
    prop::sample::select(names).prop_map(of_data).boxed()
}

fn leaf(sort: Sort) -> AnyTerm {
    let event = prop::sample::select(&["event.type", "event.source", "event.subject", "event.id"]);
    match sort {
        Sort::Bool => {
            prop_oneof![lone(any::<bool>().prop_map(Value::from)), read(&["yes"])].boxed()
        }
        Sort::Whole => prop_oneof![
            3 => lone(whole().prop_map(Value::from)),
            4 => read(&["n", "m"]),
            1 => Just(Term::Root("event.seq")),
        ]
        .boxed(),
        Sort::Float => prop_oneof![lone(float().prop_map(Value::from)), read(&["ratio"])].boxed(),
        Sort::Text => prop_oneof![
            3 => lone(text().prop_map(Value::from)),
            3 => read(&["name", "word"]),
            1 => event.prop_map(Term::Root),
        ]
        .boxed(),
        Sort::List => read(&["list"]),
        Sort::Map => prop_oneof![4 => read(&["map"]), 1 => Just(Term::Root("data"))].boxed(),
        Sort::Any => prop_oneof![
            2 => lone(Just(Value::Null)),
            1 => read(&["none", "missing"]),
            1 => (read(&["map", "list", "n"]), "[abc]")
                .prop_map(|(base, name)| Term::Member(Box::new(base), name)),
        ]
        .boxed(),
    }
}

/// Something true or false of an item; the inner macro's own goes over what the outer one's holds.
fn condition(item: &'static str) -> AnyTerm {
    let compared = |other: AnyTerm, signs: &'static [&'static str]| {
        (prop::sample::select(signs), other)
            .prop_map(move |(sign, it)| Term::Binary(sign, Box::new([Term::Root(item), it])))
    };
    let plain = prop_oneof![
        2 => compared(leaf(Sort::Whole), ORDER),
        2 => compared(leaf(Sort::Whole), EQUALITY),
        2 => compared(leaf(Sort::Text), EQUALITY),
        1 => compared(leaf(Sort::List), &["in", "not in"]),
        1 => leaf(Sort::Bool),
    ];
    let both = (plain.clone(), prop::sample::select(&["||", "&&"]), plain.clone())
        .prop_map(|(a, sign, b)| Term::Binary(sign, Box::new([a, b])));
    match item {
        "x" => {
            let inner = (prop::sample::select(&["exists", "all"]), condition("y"));
            let inner = inner
                .prop_map(|(name, body)| Term::Macro(name, Box::new([Term::Root("x"), body]), "y"));
            prop_oneof![4 => plain, 1 => both, 1 => inner].boxed()
        }
        _ => prop_oneof![4 => plain, 1 => both].boxed(),
    }
}

/// A value that is made of an item.
fn made_of(item: &'static str) -> AnyTerm {
    let doubled = prop_oneof![Just(Term::Root(item)), leaf(Sort::Whole), leaf(Sort::Text)];
    prop_oneof![
        1 => Just(Term::Root(item)),
        2 => doubled.prop_map(move |scalar| Term::Binary("+", Box::new([Term::Root(item), scalar]))),
        1 => condition(item),
        1 => Just(Term::List(vec![Term::Root(item), Term::Root(item)])),
        1 => "[abc]".prop_map(move |scalar| Term::Member(Box::new(Term::Root(item)), scalar)),
    ]
    .boxed()
}

/// Terms of one more level, for every sort.
struct Below(Vec<AnyTerm>);

impl Below {
    fn exactly(&self, sort: Sort) -> AnyTerm {
        self.0[SORTS.iter().position(|it| *it == sort).expect("a sort")].clone()
    }

    fn anything(&self) -> AnyTerm {
        prop::strategy::Union::new(self.0.clone()).boxed()
    }

    /// Of this sort, but for one in a few dozen.
    fn of(&self, sort: Sort) -> AnyTerm {
        prop_oneof![40 => self.exactly(sort), 1 => self.anything()].boxed()
    }

    fn two(&self, sort: Sort, signs: &'static [&'static str]) -> AnyTerm {
        (self.of(sort), prop::sample::select(signs), self.of(sort))
            .prop_map(|(a, sign, b)| Term::Binary(sign, Box::new([a, b])))
            .boxed()
    }

    fn mixed(&self, left: Sort, signs: &'static [&'static str], right: Sort) -> AnyTerm {
        (self.of(left), prop::sample::select(signs), self.of(right))
            .prop_map(|(a, sign, b)| Term::Binary(sign, Box::new([a, b])))
            .boxed()
    }

    fn unary(&self, sign: &'static str, sort: Sort) -> AnyTerm {
        self.of(sort).prop_map(move |scalar| Term::Unary(sign, Box::new(scalar))).boxed()
    }

    fn call(&self, names: &'static [&'static str], sorts: &[Sort]) -> AnyTerm {
        // Literals of the wrong sort are refused before anything is evaluated.
        let argument = |sort: &Sort| {
            let is_text = *sort == Sort::Text;
            self.of(*sort).prop_map(move |it| match it {
                Term::Literal(Value::String(_), _) => it,
                it if is_text && it.is_constant() => of_data("none"),
                it => it,
            })
        };
        let arguments: Vec<AnyTerm> = sorts.iter().map(|it| argument(it).boxed()).collect();
        (prop::sample::select(names), arguments)
            .prop_map(|(name, arguments)| Term::Call(name, arguments))
            .boxed()
    }

    /// A macro over a list.
    fn over(&self, names: &'static [&'static str]) -> AnyTerm {
        (self.of(Sort::List), prop::sample::select(names), condition("x"), made_of("x"))
            .prop_map(|(list, name, condition, value)| {
                let body = if name == "map" { value } else { condition };
                Term::Macro(name, Box::new([list, body]), "x")
            })
            .boxed()
    }

    fn choice(&self, sort: Sort) -> AnyTerm {
        (self.of(Sort::Bool), self.of(sort), self.of(sort))
            .prop_map(|(a, b, c)| Term::Choice(Box::new([a, b, c])))
            .boxed()
    }

    /// An item of a list or map, of whatever sort.
    fn item(&self) -> AnyTerm {
        // A field of `event` has nothing inside, which is refused before anything is evaluated.
        let base = |sort| {
            self.of(sort).prop_map(|it| match it {
                Term::Root(name) if name != "data" => of_data("missing"),
                it => it,
            })
        };
        let at =
            prop_oneof![4 => lone((0..3_i64).prop_map(Value::from)), 1 => self.of(Sort::Whole)];
        let key = prop_oneof![4 => lone("[abc]".prop_map(Value::from)), 1 => self.of(Sort::Text)];
        prop_oneof![
            (base(Sort::List), at).prop_map(|(a, b)| Term::Index(Box::new([a, b]))),
            (base(Sort::Map), key).prop_map(|(a, b)| Term::Index(Box::new([a, b]))),
            (base(Sort::Map), "[abc]").prop_map(|(a, name)| Term::Member(Box::new(a), name)),
        ]
        .boxed()
    }

    fn list(&self, sort: Sort) -> AnyTerm {
        prop::collection::vec(self.of(sort), 0..4).prop_map(Term::List).boxed()
    }
}

const ORDER: &[&str] = &["<", "<=", ">", ">="];
const EQUALITY: &[&str] = &["==", "!="];
const CALCULATION: &[&str] = &["+", "-", "*", "/", "%"];

/// Terms of `sort` that are made of those below.
fn made(sort: Sort, below: &Below) -> AnyTerm {
    match sort {
        Sort::Bool => prop_oneof![
            3 => below.two(Sort::Bool, &["||", "&&"]),
            1 => below.unary("!", Sort::Bool),
            1 => below.mixed(Sort::Whole, ORDER, Sort::Float),
            1 => below.mixed(Sort::Whole, EQUALITY, Sort::Float),
            2 => below.two(Sort::Whole, ORDER),
            1 => below.two(Sort::Whole, EQUALITY),
            1 => below.two(Sort::Float, ORDER),
            1 => below.two(Sort::Text, ORDER),
            1 => below.two(Sort::Text, EQUALITY),
            1 => below.two(Sort::Bool, &["<", ">=", "==", "!="]),
            1 => below.two(Sort::List, EQUALITY),
            1 => below.two(Sort::Map, EQUALITY),
            1 => below.two(Sort::Any, EQUALITY),
            1 => below.mixed(Sort::Any, &["in", "not in"], Sort::List),
            1 => below.mixed(Sort::Whole, &["in", "not in"], Sort::List),
            1 => below.mixed(Sort::Text, &["in", "not in"], Sort::List),
            2 => below.mixed(Sort::Text, &["in", "not in"], Sort::Map),
            1 => below.choice(Sort::Bool),
            3 => below.over(&["exists", "all"]),
            3 => below.call(&["contains", "starts_with", "ends_with"], &[Sort::Text, Sort::Text]),
            1 => (below.of(Sort::Text), prop::sample::select(&["a", "^[ab]+$", "b.", "\\\\"]))
                .prop_map(|(text, pattern)| {
                    Term::Call("matches", vec![text, Term::Literal(json!(pattern), Form::Plain)])
                }),
        ]
        .boxed(),
        Sort::Whole => prop_oneof![
            5 => below.two(Sort::Whole, CALCULATION),
            1 => below.unary("-", Sort::Whole),
            1 => below.choice(Sort::Whole),
            1 => below.call(&["len"], &[Sort::Text]),
            1 => below.call(&["len"], &[Sort::List]),
            1 => below.call(&["len"], &[Sort::Map]),
        ]
        .boxed(),
        Sort::Float => prop_oneof![
            3 => below.two(Sort::Float, &["+", "-", "*", "/"]),
            1 => below.unary("-", Sort::Float),
            1 => below.choice(Sort::Float),
        ]
        .boxed(),
        Sort::Text => prop_oneof![
            3 => below.two(Sort::Text, &["+"]),
            1 => below.choice(Sort::Text),
        ]
        .boxed(),
        Sort::List => prop_oneof![
            2 => below.list(Sort::Whole),
            2 => below.list(Sort::Text),
            1 => below.list(Sort::Any),
            1 => below.two(Sort::List, &["+"]),
            2 => below.over(&["filter", "map"]),
            1 => below.choice(Sort::List),
        ]
        .boxed(),
        Sort::Map => prop_oneof![
            2 => prop::collection::btree_map("[abc]", below.anything(), 0..3)
                .prop_map(|scalar| Term::Map(scalar.into_iter().collect())),
            1 => below.choice(Sort::Map),
        ]
        .boxed(),
        Sort::Any => below.item(),
    }
}

/// Terms of every sort, up to four levels high.
pub(super) fn any_term() -> AnyTerm {
    let mut below = Below(SORTS.map(leaf).to_vec());
    for _ in 0..3 {
        let next = SORTS
            .map(|sort| prop_oneof![1 => below.exactly(sort), 3 => made(sort, &below)].boxed());
        below = Below(next.to_vec());
    }
    let top = SORTS.map(|sort| {
        let weight = match sort {
            Sort::Bool => 6,
            Sort::Whole | Sort::Text | Sort::Any => 2,
            _ => 1,
        };
        (weight, below.exactly(sort))
    });
    prop::strategy::Union::new_weighted(top.to_vec()).boxed()
}
