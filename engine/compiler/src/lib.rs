//! From the text of a pipeline file to a plan in which nothing is left to check.

pub mod cases;
pub mod document;
pub mod expand;
pub mod files;
mod follow_ups;
pub mod format;
pub mod grammar;
pub mod graph;
pub mod include;
pub mod load;
pub mod manual;
pub mod overrides;
pub mod params;
pub mod plan;
pub mod report;
mod shorthand;
pub mod spec;
mod typing;
mod variables;
