//! What was acknowledged survives kills, reloads, power cuts, silent neighbours and rotations:
//! counted, with a seed.
//!
//! `CHAOS=full` takes the sizes of `docs/figures.md` and `CHAOS=tenth` a tenth of them; without it
//! a hundredth shows that the machinery works. `CHAOS_SEED` repeats a run, and `UPDATE_FIGURES=1`
//! writes what was counted into `docs/figures.md`.

mod broker;
mod disk;
mod figures;
mod flood;
mod hanging;
mod hook;
mod kills;
mod load;
mod power;
mod publish;
mod reloads;
mod rotation;
mod topology;

/// The part of a full run that is wanted.
fn share(full: u64) -> u64 {
    let divisor = match std::env::var("CHAOS").as_deref() {
        Ok("full") => 1,
        Ok("tenth") => 10,
        Ok(other) => panic!("CHAOS is `full` or `tenth`, not `{other}`"),
        Err(_) => 100,
    };
    full.div_ceil(divisor)
}
