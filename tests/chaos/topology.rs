//! Pipelines that differ from each other in everything that a reload may change, around a core
//! that stays.

use super::hook::Hook;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What all pipelines of a run have in common.
pub(super) struct Core {
    /// Where the outside is.
    pub(super) url: String,
    /// `synchronous` of the store.
    pub(super) synchronous: &'static str,
    /// Whether `app.log` beside the pipeline's folder is followed.
    pub(super) follows: bool,
    /// How long a call of the webhook may take.
    pub(super) timeout: &'static str,
    /// What else is in the block of the store's `retention`.
    pub(super) retention: &'static str,
}

/// The file of a run, with the folders around it.
pub(super) fn place(folder: &Path) -> PathBuf {
    std::fs::create_dir_all(folder.join("pipelines")).expect("the folder can be made");
    std::fs::write(folder.join("pipelines/people.csv"), "id,name\n1,ines\n2,jonas\n")
        .expect("the table can be written");
    folder.join("pipelines/chaos.kdl")
}

/// Takes the place of the file in one step, as editors do.
pub(super) fn save(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, text).expect("it can be written");
    std::fs::rename(&beside, file).expect("it can be renamed");
}

impl Core {
    /// A core that is told to this outside.
    pub(super) fn telling(hook: &Hook) -> Core {
        let (synchronous, timeout) = ("full", "60s");
        Core { url: hook.url.clone(), synchronous, follows: false, timeout, retention: "" }
    }

    /// The core and what else is given: the sources, the store, and a webhook for what has `tell`.
    pub(super) fn with(&self, round: u64, more: &str, targets: &[String]) -> String {
        let Core { url, synchronous, follows, timeout, retention } = self;
        let lines = match follows {
            true => "source file lines { path \"../app.log\"; follow }",
            false => "",
        };
        let rest = targets.join(" ");
        format!(
            r#"
pipeline chaos schema-version=1
param round {round}
source http named {{ path "/named"; map {{ id "data.id" }} }}
source http plain {{ path "/plain" }}
{lines}
route mode=all {{
    case told when="data.tell == true" {{ to hook store {rest} }}
    otherwise {{ to store {rest} }}
}}
sink sqlite store {{
    path "../data/events.db"
    synchronous {synchronous}
    retention {{ keep "1d"; {retention} }}
}}
notify webhook hook {{
    url "{url}/hook"
    concurrency 16
    timeout "{timeout}"
    retry {{ backoff constant base="20ms" jitter=none }}
}}
{more}
"#
        )
    }

    /// Another pipeline around the same core. What comes and goes: enrichments of each kind,
    /// policies, limits, sinks, streams and notifiers, under names that are given again.
    pub(super) fn random(&self, random: &mut fastrand::Rng, round: u64) -> String {
        let url = &self.url;
        let (mut more, mut targets) = (String::new(), Vec::new());
        let mut add = |text: String| writeln!(more, "{text}").expect("a text takes anything");
        if random.bool() {
            add(format!("limits {{ concurrency {}; queue 8192 }}", random.u32(20..200)));
        }
        let retry = random.u32(0..3);
        add(format!("policy outside {{ timeout \"2s\"; retry {retry}; concurrency 8 }}"));
        for name in ["amber", "birch", "cedar", "delta"] {
            let rest = if random.bool() { "when \"data.tell == true\"" } else { "" };
            match random.u8(0..6) {
                0 => add(format!(
                    "enrich set {name} {{ set \"{name}\" \"{{{{ data.n }}}}\"; {rest} }}"
                )),
                1 => add(format!("enrich metadata {name} {{ include-fields timestamps; {rest} }}")),
                2 => add(format!(
                    "enrich lookup {name} {{ table \"people.csv\" key=id; match \"data.n\"; {rest} }}"
                )),
                3 => add(format!(
                    "enrich http {name} {{ get \"{url}/asked\"; policy outside; when \"data.tell == true\" }}"
                )),
                _ => {}
            }
        }
        for name in ["ember", "fjord", "grove", "heron"] {
            match random.u8(0..7) {
                0 => add(format!("sink file {name} {{ path \"../data/{name}.jsonl\" }}")),
                1 => add(format!("sink sse {name} {{ path \"/{name}\" }}")),
                2 => add(format!("sink sse {name} {{ path \"/{name}\"; replay 5 }}")),
                3 => add(format!("notify file {name} {{ path \"../data/{name}.txt\" }}")),
                4 => {
                    add(format!("notify webhook {name} {{ url \"{url}/{name}\"; concurrency 8 }}"))
                }
                _ => continue,
            }
            targets.push(name.to_owned());
        }
        self.with(round, &more, &targets)
    }
}
