//! What every other crate speaks of: events and moments, faults and health, and the one seam to
//! clock, chance and threads.
//!
//! It knows neither the language nor a store, a stage or a graph.

pub mod additions;
pub mod attempts;
pub mod choice;
pub mod condition;
pub mod decode;
pub mod env;
pub mod event;
pub mod fault;
pub mod health;
pub mod hours;
pub mod pattern;
pub mod regular_file;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
