//! The index of texts against what is stored, and searches in it.

use super::retention::ByHand;
use super::*;
use crate::text_index::TextIndex;
use crate::{SearchFields, SearchWords, TextSearch};
use fastrand::Rng;
use std::collections::BTreeMap;

const WORDS: [&str; 8] = ["door", "doors", "front", "Tür", "parcel", "ümlaut", "x1", "night"];

fn fields(paths: &[&str]) -> SearchFields {
    let names = |path: &&str| path.split('.').map(str::to_owned).collect();
    SearchFields::new(paths.iter().map(names).collect())
}

pub(super) fn searching(paths: &[&str]) -> RetentionPolicy {
    RetentionPolicy { search: Some(fields(paths)), ..RetentionPolicy::default() }
}

pub(super) fn search(words: &str, paths: &[&str]) -> TextSearch {
    TextSearch { words: SearchWords::parse(words).expect("it is right"), fields: fields(paths) }
}

/// A text of some words; sometimes of none.
pub(super) fn text(random: &mut Rng) -> String {
    let words: Vec<&str> =
        (0..random.usize(..6)).map(|_| *random.choice(&WORDS).expect("some")).collect();
    words.join([" ", ", ", " - "][random.usize(..3)])
}

/// What the index makes of a text: words in small letters, without accents.
fn words_of(text: &str) -> Vec<String> {
    let plain = text.to_lowercase().replace('ü', "u");
    let words = plain.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A search, and what it means for the texts of one event.
pub(super) struct WantedText {
    pub(super) words: String,
    terms: Vec<(bool, bool, Vec<String>)>,
}

impl WantedText {
    pub(super) fn any(random: &mut Rng) -> WantedText {
        let (mut words, mut terms) = (String::new(), Vec::new());
        for index in 0..random.usize(1..4) {
            let is_without = 0 < index && random.u32(..3) == 0;
            let is_prefix = random.u32(..4) == 0;
            let mut term: Vec<&str> = (0..1 + random.usize(..8) / 6)
                .map(|_| *random.choice(&WORDS).expect("some"))
                .collect();
            let last = term.pop().expect("one");
            let last = if is_prefix { &last[..3.min(last.len())] } else { last };
            term.push(last.trim_end_matches(|letter: char| !letter.is_alphanumeric()));
            let (term, minus) = (term.join(" "), if is_without { "-" } else { "" });
            let star = if is_prefix { "*" } else { "" };
            words += &match term.contains(' ') {
                true => format!("{minus}\"{term}\"{star} "),
                false => format!("{minus}{term}{star} "),
            };
            terms.push((is_without, is_prefix, words_of(&term)));
        }
        WantedText { words, terms }
    }

    /// Whether it is found in these texts.
    pub(super) fn fits(&self, texts: &[String]) -> bool {
        self.terms.iter().all(|(is_without, is_prefix, term)| {
            let occurs = texts.iter().any(|text| {
                words_of(text).windows(term.len()).any(|at| {
                    let (last, begin) = at.split_last().expect("a word");
                    let (wanted, before) = term.split_last().expect("a word");
                    let ends = if *is_prefix { last.starts_with(wanted) } else { last == wanted };
                    begin == before && ends
                })
            });
            occurs != *is_without
        })
    }
}

impl ByHand {
    /// Compares the index with what is stored.
    fn check_index(&self, known: &BTreeMap<String, (String, String)>, at: &str) {
        let connection = &self.writer.connection;
        assert_eq!(TextIndex::load(connection), Ok(self.writer.index.clone()), "{at}");
        let TextIndex::Kept { fields, filled_from } = &self.writer.index else { return };
        let mut select = connection
            .prepare("SELECT pos, id FROM event_rows WHERE pos >= ? ORDER BY pos")
            .expect("a statement");
        let rows = select.query_map([*filled_from as i64], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        });
        let stored = rows.expect("rows").map(|row| row.expect("a row"));
        let has_text = |id: &String| {
            let (data, enrich) = &known[id];
            !id.starts_with("passing") && !fields.text_of(data, enrich).is_empty()
        };
        let expected: Vec<i64> = stored.filter(|it| has_text(&it.1)).map(|it| it.0).collect();
        let mut select =
            connection.prepare("SELECT id FROM event_texts_docsize ORDER BY id").expect("an index");
        let found = select.query_map([], |row| row.get(0)).expect("rows");
        let found: Vec<i64> = found.map(|row| row.expect("a row")).collect();
        assert_eq!(found, expected, "{at}");
        let check = "INSERT INTO event_texts (event_texts) VALUES ('integrity-check')";
        connection.execute(check, []).expect("the index is whole");
    }
}

/// A policy that keeps events for a minute, and some of their texts or none searchable.
fn any_policy(random: &mut Rng) -> RetentionPolicy {
    let search = [None, Some(vec!["data"]), Some(vec!["data.note", "enrich"])];
    let search = random.choice(&search).expect("some").clone();
    RetentionPolicy {
        keep: vec![KeepRule { age: Duration::from_secs(60), priority: None, kind: None }],
        search: search.map(|paths| fields(&paths)),
        reload_grace: Duration::ZERO,
        passing_keep: Duration::from_secs(30),
        ..RetentionPolicy::default()
    }
}

/// A few events with and without texts, some of which only pass through; `known` learns their data
/// and additions.
fn some_events(
    random: &mut Rng,
    known: &mut BTreeMap<String, (String, String)>,
    (step, second): (u32, u64),
) -> Vec<StoreEntry> {
    let entry = |index: usize| {
        let is_passing = random.u32(..6) == 0;
        let id = format!("{}{step}-{index}", if is_passing { "passing" } else { "e" });
        let data = match random.u32(..6) {
            0 => "{}".to_owned(),
            1 => json!({ "title": text(random) }).to_string(),
            _ => json!({ "note": text(random) }).to_string(),
        };
        let mut event = event(&id, &data);
        let arrival = event.envelope.received.plus(Duration::from_secs(second));
        event.envelope.received = arrival;
        if random.bool() {
            event.enrich.put(&["who".to_owned()], json!(text(random)));
        }
        let mut finished = finished(event);
        if is_passing {
            finished.targets = ["live".into()].into();
        }
        known.insert(id, (data, finished.event.enrich.to_string()));
        StoreEntry::Record(finished)
    };
    (0..1 + step as usize % 7).map(entry).collect()
}

/// Events come and go, the file changes, the engine stops and crashes: after each step the index
/// holds exactly the events that it says, and at the end everything.
#[test]
fn the_index_holds_what_is_stored_whatever_happens() {
    for seed in 0..cases(25) as u64 {
        let mut random = Rng::with_seed(seed);
        let folder = tempfile::tempdir().expect("a folder");
        let mut path = folder.path().join("first.db");
        let mut policy = any_policy(&mut random);
        let mut hand = ByHand::new(StoreLocation::File(path.clone()), policy.clone());
        let (mut known, mut second) = (BTreeMap::new(), 0);
        for step in 0..60 {
            let at = format!("seed {seed}, step {step}");
            match random.u32(..12) {
                0..=4 => hand.write(some_events(&mut random, &mut known, (step, second))),
                5..=7 => {
                    let slices = std::cell::Cell::new(random.usize(1..4));
                    hand.writer.upkeep_begin();
                    hand.writer.upkeep_idle(&|| 0 < slices.replace(slices.get().saturating_sub(1)));
                }
                8 => {
                    second += random.u64(1..40);
                    hand.clock.0.store(second * 1_000_000, Ordering::Relaxed);
                }
                9 => {
                    policy = any_policy(&mut random);
                    hand.writer.adopt(policy.clone());
                }
                10 => hand.writer.upkeep_fully(),
                _ => {
                    let next = folder.path().join(format!("{step}.db"));
                    match random.bool() {
                        true => crashed(&path, &next),
                        false => {
                            hand.send_close();
                            assert!(!hand.step());
                            std::fs::copy(&path, &next).expect("it is copied");
                        }
                    }
                    path = next;
                    if random.bool() {
                        policy = any_policy(&mut random);
                    }
                    hand = ByHand::new(StoreLocation::File(path.clone()), policy.clone());
                    hand.clock.0.store(second * 1_000_000, Ordering::Relaxed);
                }
            }
            hand.check_index(&known, &at);
        }
        hand.writer.upkeep_fully();
        hand.check_index(&known, &format!("seed {seed}, the end"));
        let expected = match policy.search {
            None => TextIndex::Missing,
            Some(fields) => TextIndex::Kept { fields, filled_from: 0 },
        };
        assert_eq!(hand.writer.index, expected, "seed {seed}");
    }
}

/// A store whose events have these notes, one each, all of them searchable.
fn noted(notes: &[&str]) -> Bench {
    let bench = bench(StoreLocation::Memory, searching(&["data.note"]));
    smol::block_on(bench.store.sweep());
    let entry = |(index, note): (usize, &&str)| {
        record(&format!("e{index}"), &json!({ "note": note }).to_string())
    };
    bench.submit(notes.iter().enumerate().map(entry).collect());
    bench
}

impl Bench {
    fn searched(&self, words: &str, paths: &[&str]) -> Page {
        let search = Some(search(words, paths));
        let query = EventQuery { search, limit: 100, ..EventQuery::default() };
        self.read(move |reader| reader.events(&query))
    }

    #[track_caller]
    fn finds(&self, words: &str, expected: &[&str]) {
        let page = self.searched(words, &["data.note"]);
        let mut ids: Vec<&str> = page.rows.iter().map(|row| &*row.envelope.id).collect();
        ids.sort_unstable();
        assert_eq!((ids.as_slice(), page.searched_since), (expected, None), "{words}");
    }
}

#[test]
fn words_are_found_whatever_their_case_and_accents() {
    let bench = noted(&[
        "Parcel at the front door",
        "Door front: Über CAFÉ",
        "front_door and a+b, x.y@example.org",
        "",
        "AND OR NOT NEAR",
    ]);
    bench.finds("front door", &["e0", "e1", "e2"]);
    bench.finds("\"front door\"", &["e0", "e2"]);
    bench.finds("front_door", &["e0", "e2"]);
    bench.finds("uber cafe", &["e1"]);
    bench.finds("ÜBER Café", &["e1"]);
    bench.finds("parc*", &["e0"]);
    bench.finds("door -parcel", &["e1", "e2"]);
    bench.finds("door -\"front door\"", &["e1"]);
    bench.finds("x.y@example.org", &["e2"]);
    bench.finds("OR NOT", &["e4"]);
    bench.finds("doo", &[]);
    bench.close();
}

#[test]
fn a_phrase_ends_with_its_text() {
    let bench = bench(StoreLocation::Memory, searching(&["data"]));
    smol::block_on(bench.store.sweep());
    bench.submit(vec![record("a", r#"{"one": "front", "two": ["door", "gate open"]}"#)]);
    let count = |words| bench.searched(words, &["data"]).rows.len();
    assert_eq!(["\"front door\"", "\"door gate\"", "front\u{f8ff}door"].map(count), [0, 0, 1]);
    assert_eq!(["\"gate open\"", "front gate"].map(count), [1, 1]);
    bench.close();
}

#[test]
fn whatever_is_written_is_searched_or_refused() {
    const PARTS: [&str; 24] = [
        "a",
        "door",
        "\"",
        "'",
        "*",
        "-",
        "^",
        ":",
        "(",
        ")",
        "+",
        " ",
        "OR",
        "AND",
        "NOT",
        "NEAR(",
        ",",
        "{",
        "\u{301}",
        "\u{1f6aa}",
        "\u{e000}",
        "\u{a7ff}",
        "\0",
        "\\",
    ];
    let bench = noted(&["a door", "OR door's \"gate\""]);
    let mut random = Rng::with_seed(3);
    let mut searched = 0;
    for _ in 0..cases(3000) {
        let mut words = String::new();
        for _ in 0..random.usize(..9) {
            match random.u32(..8) {
                0 => words.extend(char::from_u32(random.u32(..0x11_0000))),
                _ => words.push_str(random.choice(&PARTS).expect("some")),
            }
        }
        let Ok(words) = SearchWords::parse(&words) else { continue };
        searched += 1;
        let search = Some(TextSearch { words, fields: fields(&["data.note"]) });
        let query = EventQuery { search, ..EventQuery::default() };
        bench.read(move |reader| reader.events(&query));
    }
    assert!(cases(3000) / 6 < searched, "{searched}");
    bench.close();
}

#[test]
fn an_index_that_is_being_filled_says_how_far_it_goes_back() {
    let mut hand = ByHand::new(StoreLocation::Memory, RetentionPolicy::default());
    let at = |index: u64| {
        let mut event = event(&format!("e{index}"), r#"{"note": "door"}"#);
        event.envelope.received = event.envelope.received.plus(Duration::from_secs(index));
        StoreEntry::Record(finished(event))
    };
    hand.write((0..20).map(at).collect());
    let paths = ["data.note"];
    hand.writer.adopt(searching(&paths));
    let search = |hand: &ByHand| {
        let query = EventQuery {
            search: Some(search("door", &paths)),
            limit: 100,
            ..EventQuery::default()
        };
        let connection = &hand.writer.connection;
        let page = crate::query::events(connection, hand.writer.keys, &query, &|_| Some(true));
        let page = page.expect("a page");
        let count = crate::query::count(connection, hand.writer.keys, &query, None);
        let count = count.expect("a count");
        assert_eq!(
            (count.events, count.is_exact),
            (page.rows.len(), page.searched_since.is_none())
        );
        let since = page.searched_since.map(|it| it.to_string()[17..].to_owned());
        (page.rows.len(), since)
    };
    let since = |text: &str| Some(text.to_owned());
    assert_eq!(search(&hand), (0, since("19.001Z")));
    let slice = |hand: &mut ByHand| {
        let slices = std::cell::Cell::new(0);
        hand.writer.upkeep_idle(&|| slices.replace(slices.get() + 1) < 1);
    };
    slice(&mut hand);
    assert_eq!(search(&hand), (0, since("19.001Z")), "there is one, and nothing in it");
    hand.write(vec![at(20)]);
    assert_eq!(search(&hand), (15, since("06.000Z")), "two slices go with it");
    slice(&mut hand);
    assert_eq!(search(&hand), (21, since("00.000Z")));
    slice(&mut hand);
    assert_eq!(search(&hand), (21, None));
    // Another index than the one that is there finds nothing, and says so.
    hand.writer.adopt(searching(&["data"]));
    let query =
        EventQuery { search: Some(super::search::search("door", &["data"])), ..Default::default() };
    let page =
        crate::query::events(&hand.writer.connection, hand.writer.keys, &query, &|_| Some(true));
    assert!(page.is_ok_and(|page| page.rows.is_empty() && page.searched_since.is_some()));
}

#[test]
fn an_index_that_is_damaged_is_made_again_and_nothing_is_lost() {
    for is_noticed_by_query in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let file = StoreLocation::File(path.clone());
        let mut hand = ByHand::new(file.clone(), searching(&["data.note"]));
        hand.writer.upkeep_fully();
        let note = |id: String| record(&id, r#"{"note": "door"}"#);
        for index in 0..40 {
            hand.write(vec![note(format!("e{index}"))]);
        }
        hand.send_close();
        assert!(!hand.step());
        drop(hand);
        let other = Connection::open(&path).expect("it opens");
        other
            .execute("UPDATE event_texts_data SET block = x'0000ffff' WHERE id > 10", [])
            .expect("it is broken");
        drop(other);
        let mut hand = ByHand::new(file, searching(&["data.note"]));
        let query = EventQuery {
            search: Some(search("door", &["data.note"])),
            limit: 100,
            ..EventQuery::default()
        };
        let events = |hand: &ByHand| {
            let wanted = Arc::new(());
            let mut other = Connection::open(&path).expect("it opens");
            let status = hand.writer.status.clone();
            let reader =
                Reader::new(&mut other, hand.writer.keys, &status, Arc::downgrade(&wanted));
            reader.events(&query).inspect_err(|fault| status.note_read(fault))
        };
        if is_noticed_by_query {
            let class = events(&hand).map(|page| page.rows.len()).map_err(|fault| fault.class);
            assert_eq!(class, Err(StoreTrouble::TextIndex));
        }
        // Otherwise the writer notices it, when it joins parts of the index.
        for index in 40..80 {
            hand.write(vec![note(format!("e{index}"))]);
        }
        hand.writer.upkeep_fully();
        let page = events(&hand).expect("it is whole again");
        assert_eq!((page.rows.len(), page.searched_since), (80, None));
        assert!(hand.writer.status.broken().is_none());
    }
}

#[test]
fn a_copy_that_sqlite_makes_is_searchable() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("copy.db"));
    let mut hand = ByHand::new(StoreLocation::File(path), searching(&["data.note"]));
    hand.writer.upkeep_fully();
    hand.write((0..30).map(|it| record(&format!("e{it}"), r#"{"note": "door"}"#)).collect());
    let name = copy.display().to_string();
    hand.writer.connection.execute("VACUUM INTO ?", [name]).expect("a copy");
    let bench = bench(StoreLocation::File(copy), searching(&["data.note"]));
    assert_eq!(bench.searched("doo*", &["data.note"]).rows.len(), 30);
    bench.close();
}
