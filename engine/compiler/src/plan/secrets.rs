//! Fingerprints of what nodes take from outside the file, so that a secret that was rotated is
//! seen as a change of who uses it.
//!
//! Never: a secret's value. Fingerprints are keyed by this process and never leave it.

use crate::spec::Spec;
use language::{Environment, MissingSetting, Setting};
use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// Fingerprints by node. Nodes that take nothing from outside have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    nodes: BTreeMap<String, u64>,
}

/// What the server's address and its tokens are kept under: no node of a file has these names.
const LISTEN: &str = "server listen";
const TOKENS: &str = "server auth";

impl Secrets {
    /// Looks at everything that the file takes from outside.
    pub fn of(spec: &Spec, environment: &dyn Environment) -> Secrets {
        let mut nodes: BTreeMap<String, SipHasher13> = BTreeMap::new();
        let mut add = |name: &str, setting: &Setting| {
            let hasher = nodes.entry(name.to_owned()).or_insert_with(keyed_hasher);
            let value = setting.resolve(environment).unwrap_or_default();
            hasher.write_u64(value.len() as u64);
            hasher.write(value.as_bytes());
        };
        for (name, needed) in spec.needed() {
            add(&name.value, &needed.setting.value);
        }
        add(LISTEN, &spec.server.listen.value);
        for setting in spec.server.settings().skip(1) {
            add(TOKENS, &setting.value);
        }
        let nodes = nodes.into_iter().map(|(name, hasher)| (name, hasher.finish()));
        Secrets { nodes: nodes.collect() }
    }

    /// Whether a node takes the same from outside as in `other`.
    pub(super) fn agree(&self, other: &Secrets, name: &str) -> bool {
        self.nodes.get(name) == other.nodes.get(name)
    }

    /// Whether the server's address is the same.
    pub(super) fn agree_on_listen(&self, other: &Secrets) -> bool {
        self.agree(other, LISTEN)
    }

    /// Whether the server's tokens and its public address are the same.
    pub(super) fn agree_on_tokens(&self, other: &Secrets) -> bool {
        self.agree(other, TOKENS)
    }

    /// One number for all of them.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        for (name, fingerprint) in &self.nodes {
            hasher.write(name.as_bytes());
            hasher.write_u64(*fingerprint);
        }
        hasher.finish()
    }
}

/// The files that a pipeline takes secrets from.
pub(crate) fn secret_files(spec: &Spec) -> BTreeSet<PathBuf> {
    let needed = spec.needed();
    let settings = needed.iter().map(|(_, needed)| &needed.setting);
    let all = settings.chain(spec.server.settings());
    all.filter_map(|setting| match &setting.value {
        Setting::File { path, .. } => Some(path.clone()),
        _ => None,
    })
    .collect()
}

/// The files with secrets that the pipeline cannot do without, each with why it has none now.
pub(crate) fn secret_inputs(
    spec: &Spec,
    environment: &dyn Environment,
) -> BTreeMap<Arc<str>, Option<String>> {
    let needed = spec.needed();
    let needed = needed.iter().filter(|(_, needed)| !needed.is_optional);
    let settings = needed.map(|(_, needed)| &needed.setting).chain(spec.server.settings());
    let mut inputs = BTreeMap::new();
    for setting in settings {
        if let Setting::File { path, .. } = &setting.value {
            let fault = match setting.value.resolve(environment) {
                Err(MissingSetting::File(_, reason)) => Some(reason),
                _ => None,
            };
            inputs.insert(path.display().to_string().into(), fault);
        }
    }
    inputs
}

fn keyed_hasher() -> SipHasher13 {
    static KEY: OnceLock<(u64, u64)> = OnceLock::new();
    // The standard library seeds this from the operating system.
    let draw = || RandomState::new().build_hasher().finish();
    let key = KEY.get_or_init(|| (draw(), draw()));
    SipHasher13::new_with_keys(key.0, key.1)
}
