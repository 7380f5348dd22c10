//! `/api/events/ID` over random histories: wherever an event is, its id finds it there, as a plain
//! model of the store says.

use crate::support::world::{Behaviour, World};
use fastrand::Rng;
use serde_json::{Value, json};
use std::time::Duration;

const FRONT: &str = r#"
pipeline lookup schema-version=1

source http bell {
    path "/bell"
    map {
        id "data.id"
        type "data.type"
    }
}

filter calm {
    keep when="event.type != 'noise'"
}

enrich http weather {
    when "event.type != 'plain'"
    get "http://weather/"
    retry 0
    concurrency 64
    on-error dead-letter
}

sink sqlite db {
    path "db.sqlite"
    retention {
        keep "30d"
    }
}
"#;

const CHAT: &str = r#"
notify webhook chat {
    url "http://chat/"
    retry 0
    concurrency 64
}
"#;

/// Where a message is by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It was dropped by a filter, or its letter was deleted.
    Nowhere,
    /// Refused: a letter has it, and its id is free.
    Refused,
    /// In the inbox.
    Pending,
    /// A letter has the event.
    Dead,
    /// Stored, with the state of its delivery where it has one.
    Stored(Option<&'static str>),
}

/// How a service answers: at once, with a mistake that no retry mends, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Up,
    Wrong,
    Silent,
}

impl Service {
    const ALL: [Service; 3] = [Service::Up, Service::Wrong, Service::Silent];

    fn behaviour(self) -> Behaviour {
        match self {
            Service::Up => Behaviour::Status(200, Duration::ZERO),
            Service::Wrong => Behaviour::Status(400, Duration::ZERO),
            Service::Silent => Behaviour::Hang,
        }
    }
}

#[derive(Debug)]
struct Message {
    body: String,
    is_plain: bool,
    place: Place,
}

#[derive(Debug)]
struct Model {
    messages: Vec<Message>,
    weather: Service,
    chat: Service,
    has_chat: bool,
}

impl Model {
    /// What becomes of an event that begins its stages now.
    fn run(&self, is_plain: bool) -> Place {
        match if is_plain { Service::Up } else { self.weather } {
            Service::Up => Place::Stored(self.has_chat.then(|| self.delivered())),
            Service::Wrong => Place::Dead,
            Service::Silent => Place::Pending,
        }
    }

    /// What becomes of a delivery that is tried now.
    fn delivered(&self) -> &'static str {
        match self.chat {
            Service::Up => "done",
            Service::Wrong => "dead",
            Service::Silent => "pending",
        }
    }

    /// All letters are tried again.
    fn redrive(&mut self) {
        for index in 0..self.messages.len() {
            let message = &self.messages[index];
            let place = match message.place {
                Place::Dead => self.run(message.is_plain),
                Place::Stored(Some("dead")) if self.has_chat => {
                    Place::Stored(Some(self.delivered()))
                }
                other => other,
            };
            self.messages[index].place = place;
        }
    }

    /// Whatever hangs has run out of time.
    fn wait(&mut self) {
        for message in &mut self.messages {
            message.place = match message.place {
                Place::Pending => Place::Dead,
                Place::Stored(Some("pending")) => Place::Stored(Some("dead")),
                other => other,
            };
        }
    }

    /// The notifier is taken out of the file, or put back.
    fn reload(&mut self) {
        self.has_chat = !self.has_chat;
        let delivered = self.delivered();
        for message in &mut self.messages {
            message.place = match message.place {
                Place::Stored(Some("pending")) if !self.has_chat => Place::Stored(Some("parked")),
                Place::Stored(Some("parked")) if self.has_chat => Place::Stored(Some(delivered)),
                other => other,
            };
        }
    }
}

impl World {
    fn letters_by(&self, test: impl Fn(&Value) -> bool) -> Vec<Value> {
        let (status, page) = self.request("GET /api/dead-letters?limit=1000 HTTP/1.1", "");
        assert_eq!(status, 200, "{page}");
        page["dead_letters"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|it| test(it))
            .cloned()
            .collect()
    }

    #[track_caller]
    fn finds(&self, id: usize, message: &Message, told: &str) {
        let (status, found) = self.request(&format!("GET /api/events/m-{id} HTTP/1.1"), "");
        let detail = found["detail"].as_str().unwrap_or_default();
        let place = message.place;
        match place {
            Place::Nowhere | Place::Refused => {
                assert_eq!(status, 404, "m-{id} is {place:?}: {found}\n{told}");
                let names_letter = detail.contains("dead letter");
                assert_eq!(names_letter, place == Place::Refused, "m-{id}: {found}\n{told}");
                return;
            }
            Place::Pending => assert_eq!(found["state"], "pending", "m-{id}: {found}\n{told}"),
            Place::Dead => {
                assert_eq!(found["state"], "dead", "m-{id}: {found}\n{told}");
                let letter = &found["dead_letter"];
                assert_eq!(
                    (&letter["what"], &letter["stage"]),
                    (&json!("event"), &json!("weather"))
                );
                assert_eq!(letter["event_id"], json!(format!("m-{id}")), "{told}");
            }
            Place::Stored(delivery) => {
                assert_eq!(found["state"], "stored", "m-{id}: {found}\n{told}");
                let states: Vec<&str> = found["deliveries"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|it| it["state"].as_str().expect("each has a state"))
                    .collect();
                assert_eq!(states, Vec::from_iter(delivery), "m-{id}: {found}\n{told}");
            }
        }
        assert_eq!(found["pos"].is_u64(), matches!(place, Place::Stored(_)), "{found}");
        let data: Value = serde_json::from_str(&message.body).expect("JSON");
        assert_eq!((status, &found["data"]), (200, &data), "m-{id}\n{told}");
    }
}

fn history(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(folder, &format!("{FRONT}{CHAT}"), seed).expect("it starts");
    let (weather, chat) = (Service::Up, Service::Up);
    let mut model = Model { messages: Vec::new(), weather, chat, has_chat: true };
    let mut told = format!("seed {seed}");
    for _ in 0..24 {
        let done = step(&mut random, &world, &mut model);
        told += &format!("\n{done}");
        world.simulation.settle();
        for (id, message) in model.messages.iter().enumerate() {
            world.finds(id, message, &told);
        }
        let (_, page) = world.request("GET /api/events?limit=1000 HTTP/1.1", "");
        let listed = page["events"].as_array().expect("a list").len();
        let stored = model.messages.iter().filter(|it| matches!(it.place, Place::Stored(_)));
        assert_eq!(listed, stored.count(), "{told}");
    }
    world.close();
}

/// One thing that happens, in words.
fn step(random: &mut Rng, world: &World, model: &mut Model) -> String {
    let service = |random: &mut Rng| Service::ALL[random.usize(..3)];
    match random.u32(..12) {
        0 => {
            model.weather = service(random);
            world.outside.behave("weather", model.weather.behaviour());
            format!("the weather is {:?}", model.weather)
        }
        1 => {
            model.chat = service(random);
            world.outside.behave("chat", model.chat.behaviour());
            format!("the chat is {:?}", model.chat)
        }
        2 => {
            world.simulation.advance(Duration::from_secs(300));
            model.wait();
            "five minutes pass".to_owned()
        }
        3 => {
            let (status, answer) =
                world.request("POST /api/dead-letters/redrive HTTP/1.1", "{\"all\":true}");
            assert_eq!(status, 200, "{answer}");
            model.redrive();
            "all is redriven".to_owned()
        }
        4 if !model.messages.iter().any(|it| it.place == Place::Pending) => {
            model.reload();
            world.reload(&format!("{FRONT}{}", if model.has_chat { CHAT } else { "" }));
            format!("a reload; there is a chat: {}", model.has_chat)
        }
        5 => delete(random, world, model),
        6 => post_again(random, world, model),
        _ => post(random, world, model),
    }
}

fn post(random: &mut Rng, world: &World, model: &mut Model) -> String {
    let id = model.messages.len();
    let kind = ["ring", "ring", "plain", "noise", "none"][random.usize(..5)];
    let body = match kind {
        "none" => format!(r#"{{"id":"m-{id}"}}"#),
        _ => format!(r#"{{"id":"m-{id}","type":"{kind}","n":{}}}"#, random.u8(..)),
    };
    let answer = world.post("bell", &body);
    let is_plain = kind == "plain";
    let place = match kind {
        "noise" => Place::Nowhere,
        "none" => Place::Refused,
        _ => model.run(is_plain),
    };
    model.messages.push(Message { body, is_plain, place });
    format!("m-{id} is posted, {kind}, {answer}")
}

/// The same message once more changes nothing, but for one whose id is free.
fn post_again(random: &mut Rng, world: &World, model: &mut Model) -> String {
    let known: Vec<usize> = (0..model.messages.len())
        .filter(|id| !matches!(model.messages[*id].place, Place::Nowhere | Place::Refused))
        .collect();
    let Some(id) = random.choice(&known).copied() else { return "nothing".to_owned() };
    let answer = world.post("bell", &model.messages[id].body);
    assert_eq!(answer, "duplicate", "m-{id}");
    format!("m-{id} is posted again")
}

fn delete(random: &mut Rng, world: &World, model: &mut Model) -> String {
    let letters = world.letters_by(|letter| letter["what"] != "delivery");
    let Some(letter) = random.choice(&letters) else { return "nothing".to_owned() };
    let (status, answer) =
        world.request(&format!("DELETE /api/dead-letters/{} HTTP/1.1", letter["id"]), "");
    assert!((200..300).contains(&status), "{answer}");
    let id = letter["event_id"].as_str().expect("an id").trim_start_matches("m-");
    model.messages[id.parse::<usize>().expect("a number")].place = Place::Nowhere;
    format!("the letter of m-{id} is deleted")
}

#[test]
fn an_id_finds_its_event_wherever_it_is() {
    for seed in 0..40 {
        history(seed);
    }
}
