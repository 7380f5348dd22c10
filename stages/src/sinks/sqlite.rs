//! Keeps events in a SQLite file. The engine runs the store; this says how.

use crate::contract::{Claim, DynDeliver, Kind, Services, SinkKind, SinkRole, StoreShape};
use kernel::choice::Choice;
use kernel::event::Priority;
use kernel::fault::Fault;
use kernel::pattern::glob_fits;
use language::diagnostic::{Diagnostics, Rule};
use language::literal::literal;
use language::spanned::{Span, Spanned};
use language::{Arg, Context, Fields, NodeRow, Prop, Scalar, ValueKind, field_path};
use std::path::PathBuf;
use std::time::Duration;
use store::{Evict, KeepRule, RetentionPolicy, SearchFields, Synchronous, Vacuum};

const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(366 * 86_400);
const DECADES: Duration = Duration::from_secs(100 * 366 * 86_400);
/// Without a word of the file a sweep comes no more and no less often than this.
const SWEEP: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

const KEEP: NodeRow =
    NodeRow::new("keep", "how long events are kept; the first matching rule decides")
        .examples(&[r#"keep "365d" type="alarm""#, r#"keep "90d" priority=high"#, r#"keep "30d""#])
        .args(&[Arg::one("age", ValueKind::Duration(Duration::from_secs(1), DECADES))])
        .props(&[
            Prop::new("priority", ValueKind::Word(Priority::WORDS)),
            Prop::new("type", ValueKind::Glob),
        ])
        .repeated();

const MAX_SIZE: NodeRow =
    NodeRow::new("max-size", "the largest size of the database and its log together")
        .examples(&[r#"max-size "2GiB" evict=oldest"#])
        .args(&[Arg::one("size", ValueKind::Bytes(1 << 20, 1 << 50))])
        .props(&[Prop::new("evict", ValueKind::Word(Evict::WORDS)).default("oldest")])
        .otherwise("no limit");

/// The children of the node that says the usual in short.
pub const SHORTHAND: &[NodeRow] = &[KEEP.required(), MAX_SIZE];

const RETENTION: &[NodeRow] = &[
    KEEP,
    MAX_SIZE,
    NodeRow::new("sweep", "how often old events are deleted")
        .examples(&[r#"sweep every="1h" vacuum=none"#])
        .props(&[
            Prop::new("every", ValueKind::Duration(Duration::from_secs(1), YEAR)),
            Prop::new("vacuum", ValueKind::Word(Vacuum::WORDS)).default("incremental"),
        ])
        .otherwise("every = a tenth of the shortest `keep`, from 1s to 1h"),
    NodeRow::new(
        "reload-grace",
        "how long a reload waits before it deletes more than half of the events",
    )
    .examples(&[r#"reload-grace "10m""#])
    .args(&[Arg::one("duration", ValueKind::Duration(Duration::ZERO, DAY))])
    .default("\"1m\""),
];

const NODES: &[NodeRow] = &[
    NodeRow::new("path", "the database file")
        .examples(&[r#"path "data/events.db""#])
        .args(&[Arg::one("path", ValueKind::Path)])
        .required(),
    NodeRow::new("batch", "the most events in one transaction")
        .examples(&[r#"batch 256 linger="5ms""#])
        .args(&[Arg::one("n", ValueKind::Int(1, 100_000))])
        .props(&[Prop::new("linger", ValueKind::Duration(Duration::ZERO, Duration::from_secs(10)))])
        .default("1024 linger=\"0ms\""),
    NodeRow::new("synchronous", "commit durability")
        .examples(&["synchronous full"])
        .args(&[Arg::one("mode", ValueKind::Word(Synchronous::WORDS))])
        .default("full"),
    NodeRow::new("store", "what else to store with the event: `raw` is the message as received")
        .examples(&["store raw"])
        .args(&[Arg::one("what", ValueKind::Word(&["raw"]))])
        .otherwise("only the data that `map` selects"),
    NodeRow::new(
        "search",
        "which texts `q` of `/api/events` finds: all of `data`, or of these paths",
    )
    .examples(&["search", r#"search "data.note" "data.caption""#])
    .args(&[Arg::any("path", ValueKind::Field)])
    .otherwise("none; `q` is refused"),
    NodeRow::new("retention", "how long events are kept")
        .examples(&[r#"retention { keep "365d" type="alarm"; keep "30d" }"#])
        .children(&[RETENTION])
        .otherwise("forever"),
];

/// The kind `sqlite`.
pub(super) struct Sqlite;

/// What the store is to be, and its file for the claim.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SqliteSettings {
    shape: StoreShape,
    path: Spanned<PathBuf>,
}

impl Kind for Sqlite {
    const WORD: &'static str = "sqlite";
    const SUMMARY: &'static str = "keeps events in a SQLite file";
    const EXAMPLE: &'static str =
        r#"sink sqlite journal { path "data/events.db"; retention { keep "30d" } }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = SqliteSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<SqliteSettings> {
        let path =
            fields.child("path").and_then(|child| literal(&child.arg(0)?, context.diagnostics));
        let synchronous = read_synchronous(fields, context.diagnostics);
        let search = read_search(fields, context.diagnostics);
        let policy = read_policy(fields, context.diagnostics);
        let batch = fields.setting("batch");
        let place = path?.map(|path| context.files.place(&path));
        context.expect_no_folder(&place.value, &place.span, "data/events.db");
        let shape = StoreShape {
            path: place.value.clone(),
            batch: batch.arg(0, |scalar| usize::try_from(scalar.int()?.value).ok()),
            linger: batch.prop("linger", |scalar| Some(scalar.duration()?.value)),
            synchronous,
            policy: RetentionPolicy { search: search?, ..policy? },
            keeps_raw: fields.child("store").is_some(),
        };
        Some(SqliteSettings { shape, path: place })
    }

    fn claims(settings: &SqliteSettings) -> Vec<Spanned<Claim>> {
        vec![settings.path.clone().map(Claim::File)]
    }
}

impl SinkKind for Sqlite {
    fn shape(settings: &SqliteSettings) -> SinkRole {
        SinkRole::Store(settings.shape.clone())
    }

    async fn open(_: SqliteSettings, _: Services) -> Result<Box<dyn DynDeliver>, Fault> {
        Err(super::not_opened(Self::WORD))
    }
}

fn read_synchronous(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Synchronous {
    let mode = fields.setting("synchronous").arg(0, Scalar::choice);
    let loss = match mode {
        Synchronous::Full => return mode,
        Synchronous::Normal => "the last moments before a power failure may be lost",
        Synchronous::Off => "a power failure may corrupt the whole store",
    };
    let word = fields.child("synchronous").and_then(|child| child.arg(0));
    diagnostics
        .push(Rule::WeakDurability, "acknowledged events may be lost in a power failure")
        .at(word.expect("it is not what the table says").span(), loss)
        .help("remove this line: `full` is the default");
    mode
}

/// The paths of `search`, if it is there.
fn read_search(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<Option<SearchFields>> {
    let Some(node) = fields.child("search") else { return Some(None) };
    let mut paths = Vec::new();
    let mut is_right = true;
    for scalar in node.args() {
        let text = scalar.text()?;
        let path = field_path(&text.value)?;
        if ["data", "enrich"].contains(&path[0].as_str()) {
            paths.push(path);
            continue;
        }
        is_right = false;
        diagnostics
            .push(Rule::UnknownPath, format!("`{}` is not searched", text.value))
            .at(text.span.clone(), "begins with neither `data` nor `enrich`")
            .help(match path[0].as_str() {
                "event" => "`q` goes with `type`, `source` and `subject` in one query".to_owned(),
                _ => format!("write `data.{}`, or a path below `enrich`", text.value),
            });
    }
    if paths.is_empty() {
        paths.push(vec!["data".to_owned()]);
    }
    is_right.then(|| Some(SearchFields::new(paths)))
}

fn read_policy(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<RetentionPolicy> {
    let mut policy = RetentionPolicy::default();
    let Some(node) = fields.child("retention") else {
        diagnostics
            .push(Rule::NoRetention, "this store grows without limit")
            .at(fields.name().span, "has no `retention`")
            .help("add `retention { keep \"30d\" }`");
        return Some(policy);
    };
    let rules: Option<Vec<(KeepRule, Span)>> =
        node.children("keep").map(|child| keep_of(&child)).collect();
    let rules = rules?;
    report_hidden(&rules, diagnostics);
    policy.keep = rules.into_iter().map(|rule| rule.0).collect();
    if let Some(size) = node.child("max-size") {
        policy.size_max = Some(size.arg(0)?.bytes()?.value);
        policy.evict = size.filled().prop("evict", Scalar::choice);
    }
    if let Some(shortest) = policy.keep.iter().map(|it| it.age).min() {
        policy.sweep_every = (shortest / 10).clamp(SWEEP.0, SWEEP.1);
    }
    policy.reload_grace =
        node.setting("reload-grace").arg(0, |scalar| Some(scalar.duration()?.value));
    if let Some(sweep) = node.child("sweep") {
        if let Some(every) = sweep.prop("every") {
            policy.sweep_every = every.duration()?.value;
        }
        policy.vacuum = sweep.filled().prop("vacuum", Scalar::choice);
    }
    Some(policy)
}

fn keep_of(node: &Fields<'_>) -> Option<(KeepRule, Span)> {
    let age = node.arg(0)?.duration()?;
    let priority = match node.prop("priority") {
        Some(it) => Some(it.text()?),
        None => None,
    };
    let kind = match node.prop("type") {
        Some(it) => Some(it.text()?),
        None => None,
    };
    let ends = [Some(age.span.end), priority.as_ref().map(|priority| priority.span.end)];
    let end = ends.into_iter().flatten().chain(kind.as_ref().map(|kind| kind.span.end)).max()?;
    let keep = KeepRule {
        age: age.value,
        priority: priority.and_then(|priority| Priority::parse(&priority.value)),
        kind: kind.map(|kind| kind.value),
    };
    Some((keep, node.name().span.start..end))
}

/// Every rule that an earlier one hides.
fn report_hidden(rules: &[(KeepRule, Span)], diagnostics: &mut Diagnostics) {
    let source = diagnostics.source().clone();
    let text = &source.text;
    for (index, (rule, span)) in rules.iter().enumerate() {
        let Some((hider, hider_span)) = rules[..index].iter().find(|it| hides(&it.0, rule)) else {
            continue;
        };
        let is_general = hider.priority.is_none() && hider.kind.is_none();
        let (message, label) = match is_general {
            true => (
                "this rule can never apply: an earlier one already matches everything",
                "matches every event",
            ),
            false => (
                "this rule can never apply: an earlier one already matches what it matches",
                "matches them first",
            ),
        };
        let which =
            rule.priority.map_or_else(|| "these".to_owned(), |priority| priority.to_string());
        let (first, second) = (in_words(hider.age), in_words(rule.age));
        diagnostics
            .push(Rule::HiddenRule, message)
            .at(hider_span.clone(), label)
            .at(
                span.clone(),
                format!("never reached: {which} events would be kept {first}, not {second}"),
            )
            .help(match is_general {
                true => format!(
                    "rules are tried in file order; move `{}` to the end",
                    text.get(hider_span.clone()).unwrap_or("the general rule")
                ),
                false => {
                    "rules are tried in file order; put this one first, or delete it".to_owned()
                }
            });
    }
}

fn hides(earlier: &KeepRule, later: &KeepRule) -> bool {
    let by_priority = earlier.priority.is_none() || earlier.priority == later.priority;
    let by_kind = match (&earlier.kind, &later.kind) {
        (None, _) => true,
        (Some(pattern), Some(kind)) => pattern == kind || glob_fits(pattern, kind),
        (Some(pattern), None) => pattern == "*",
    };
    by_priority && by_kind
}

fn in_words(age: Duration) -> String {
    let seconds = age.as_secs();
    for (size, unit) in [(86_400, "days"), (3600, "hours"), (60, "minutes")] {
        if size <= seconds && seconds.is_multiple_of(size) {
            let count = seconds / size;
            let unit = if count == 1 { unit.trim_end_matches('s') } else { unit };
            return format!("{count} {unit}");
        }
    }
    format!("{seconds} seconds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn the_whole_block_is_read() {
        let settings = testing::settings::<Sqlite>(
            r#"path "e.db"
            batch 7 linger="5ms"
            store raw
            retention {
                keep "365d" priority=critical
                keep "1d" type="motion.*"
                keep "30d"
                max-size "2GiB" evict=oldest-lowest-priority
                sweep every="2h" vacuum=none
                reload-grace "5m"
            }"#,
        );
        let SinkRole::Store(shape) = Sqlite::shape(&settings) else { panic!("it is a store") };
        assert_eq!((shape.batch, shape.linger), (7, Duration::from_millis(5)));
        assert!(shape.keeps_raw);
        assert_eq!(shape.policy.keep.len(), 3);
        assert_eq!(shape.policy.keep[0].priority, Some(Priority::Critical));
        assert_eq!(shape.policy.keep[1].kind.as_deref(), Some("motion.*"));
        assert_eq!(shape.policy.size_max, Some(2 << 30));
        assert_eq!(shape.policy.evict, Evict::OldestLowestPriority);
        assert_eq!((shape.policy.sweep_every.as_secs(), shape.policy.vacuum), (7200, Vacuum::None));
        assert_eq!(shape.policy.reload_grace, Duration::from_secs(300));
        assert_eq!(shape.path, PathBuf::from("/nowhere/e.db"));
    }

    #[test]
    fn texts_are_searched_where_the_file_says_so() {
        let searched = |line: &str| {
            let text = format!("path \"e.db\"\nretention {{ keep \"1d\" }}\n{line}");
            let SinkRole::Store(shape) = Sqlite::shape(&testing::settings::<Sqlite>(&text)) else {
                panic!("it is a store")
            };
            shape.policy.search
        };
        let fields = |paths: &[&[&str]]| {
            let names = |path: &&[&str]| path.iter().map(|it| (*it).to_owned()).collect();
            Some(SearchFields::new(paths.iter().map(names).collect()))
        };
        assert_eq!(searched(""), None);
        assert_eq!(searched("search"), fields(&[&["data"]]));
        let two = fields(&[&["data", "note"], &["enrich"]]);
        assert_eq!(searched("search \"enrich\" \"data.note\""), two);
        let wrong = "path \"e.db\"\nretention { keep \"1d\" }\nsearch \"note\" \"data.x\"";
        assert_eq!(testing::findings::<Sqlite>(wrong), ["E0104 `note` is not searched"]);
    }

    #[test]
    fn a_sweep_comes_as_often_as_the_shortest_age_needs() {
        let every = |rules: &str| {
            let text = format!("path \"e.db\"\nretention {{ {rules} }}");
            let settings = testing::settings::<Sqlite>(&text);
            let SinkRole::Store(shape) = Sqlite::shape(&settings) else { panic!("it is a store") };
            shape.policy.sweep_every.as_secs()
        };
        assert_eq!(every("keep \"1d\" priority=low; keep \"30d\""), 3600);
        assert_eq!(every("keep \"10m\" priority=low; keep \"30d\""), 60);
        assert_eq!(every("keep \"3s\""), 1);
        assert_eq!(every("keep \"3s\"; sweep every=\"30m\""), 1800);
        assert_eq!(every("max-size \"1GiB\""), 3600);
    }

    #[test]
    fn what_may_be_regretted_is_warned_about() {
        let found = testing::findings::<Sqlite>("path \"e.db\"\nsynchronous normal");
        let expected = [
            "W0503 this store grows without limit",
            "W0505 acknowledged events may be lost in a power failure",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_rule_behind_one_that_takes_everything_is_found() {
        let rules = |text: &str| {
            testing::findings::<Sqlite>(&format!("path \"e.db\"\nretention {{ {text} }}"))
        };
        let hidden = "W0504 this rule can never apply: an earlier one already matches everything";
        assert_eq!(rules("keep \"30d\"; keep \"365d\" priority=critical"), [hidden]);
        assert_eq!(rules("keep \"1d\" type=\"a*\"; keep \"2d\" type=\"ab\"").len(), 1);
        assert_eq!(rules("keep \"1d\" type=\"ab\"; keep \"2d\" type=\"a*\"").len(), 0);
        assert_eq!(rules("keep \"1d\" priority=low; keep \"2d\"").len(), 0);
    }
}
