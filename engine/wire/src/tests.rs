//! The client against services that behave, and services that do not.

mod answers;
mod connections;
mod endings;
mod names;
mod places;
mod secure;
mod streams;
