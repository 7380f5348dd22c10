//! The variables of a test: those that it sets, and stand-ins for those that the file cannot be
//! without.

use compiler::plan::environment;
use compiler::spec::Spec;
use language::{Environment, MissingSetting};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// An environment in which only these are set.
#[derive(Debug, Default)]
pub struct Variables {
    given: BTreeMap<String, String>,
    stand_ins: Mutex<BTreeMap<String, String>>,
}

impl Variables {
    /// Those that a test sets.
    pub fn new(given: BTreeMap<String, String>) -> Self {
        Variables { given, stand_ins: Mutex::default() }
    }

    /// Sets what `spec` cannot be without, each variable to its own name. What is optional stays
    /// off.
    pub fn complete(&self, spec: &Spec) {
        for setting in environment::required(spec) {
            while let Some(MissingSetting::Variable(name)) = setting.missing(self) {
                let mut stand_ins = self.stand_ins.lock().unwrap_or_else(PoisonError::into_inner);
                stand_ins.insert(name.clone(), name);
            }
        }
    }
}

impl Environment for Variables {
    fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn is_empty(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value.is_empty())
    }

    fn value(&self, name: &str) -> Option<String> {
        let stand_ins = self.stand_ins.lock().unwrap_or_else(PoisonError::into_inner);
        self.given.get(name).or_else(|| stand_ins.get(name)).cloned()
    }
}
