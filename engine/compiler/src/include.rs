//! Several files as one document: `include` is replaced by what the included files hold.
//!
//! Every text gets a place in one long text (the pipeline file first), and the spans of an
//! included document are moved there. So everything behind this module sees one document and one
//! text, and [`SourceMap::placed`] leads each finding back into the file that it belongs to.

mod splice;
mod texts;

pub use splice::{Parsed, read};
pub use texts::{BasePath, SourceMap};

#[cfg(test)]
mod tests;
