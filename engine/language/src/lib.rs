//! The language of pipeline files: one table of nodes, and how a file is read by it.
//!
//! The table drives the check of every word, argument and property ([`check`]), the reading
//! ([`Fields`]) and whatever explains the language. A node that is not in the table does not
//! exist.

mod check;
mod defaults;
mod describe;
pub mod diagnostic;
pub mod expr;
mod fields;
mod host;
pub mod literal;
mod offsets;
mod scalar;
mod setting;
mod sites;
pub mod spanned;
mod table;
mod value;
mod words;

pub use check::{
    Kinds, MeantWords, NodeRole, as_name, check, check_file, child_groups, correct, is_name,
    is_printed_quote, is_socket, other_level, usage,
};
pub use describe::write_bytes;
pub use fields::{Context, Fields, FileFault, Files, FilledFields, PathEntry, Scalar};
pub use host::ServedHost;
pub use offsets::value_text_span;
pub use setting::{Environment, MissingSetting, Needed, Setting, default_of};
pub use sites::{ExprSite, sites};
pub use table::{Arg, Arity, DefaultValue, KindRow, NodeRow, Prop, ValueKind};
pub use value::{Rate, field_path, parse_bytes, parse_duration, parse_rate, statuses};
pub use words::{ForeignWord, foreign_kinds, foreign_words, nearest, words_in_nodes};
