//! `engine test`: a pipeline's own tests, run by the real engine on a virtual clock.
//!
//! A test is a list of steps. Messages are given at a door of the pipeline, time passes, and what
//! came out by then is compared with what the file expects. The plan, the intake, the stages, the
//! store and the outbox are those of `engine run`; only the outside is a stand-in: what a stage
//! asks is answered by a `mock`, and what leaves is noted instead of sent.
//!
//! Never: a test reads a variable of the process, waits for real time, or writes a file.

mod coverage;
mod credentials;
mod doors;
mod expect;
mod load;
mod outside;
mod report;
mod run;
mod seen;
mod timeline;
mod variables;

pub use coverage::Coverage;
pub use load::{Suite, load, of};
pub use report::{Report, SuiteResult, TestResult, run_all};
pub use run::{TestFailure, TestVerdict, run};
pub use variables::Variables;
