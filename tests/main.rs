//! The acceptance tests: what users see, asserted as rows, bytes and exact text.

mod check;
mod corpus;
mod eval;
mod failure;
mod flags;
mod fmt;
mod formats;
mod graph;
mod hostile;
mod kill;
mod live;
mod manual;
mod mutation;
mod new;
mod overflow;
mod passing;
mod reload;
mod retry;
mod safety;
mod support;
mod test;
mod tidy;
mod tooling;
mod typing;
