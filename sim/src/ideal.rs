//! The ideal: what each thread would get if CPU time were a fluid.
//!
//! At each moment the runnable threads share the CPUs by *weighted max-min fairness*: a thread has at most one CPU at a
//! time, only CPUs of its affinity, and nobody could get more without taking it from one who has no more per weight.
//! [`fill`] finds it by progressive filling; [`Fluid`] integrates it over time, with the shares computed anew at each
//! change of the runnable set (Parekh and Gallager 1993 call it generalized processor sharing).
//!
//! Threads of one weight and one affinity get the same, so all is done in groups of them.

mod fill;
mod flow;
mod fluid;
#[cfg(test)]
mod tests;

pub use fill::{Demand, fill};
pub use fluid::{Fluid, GroupId};
