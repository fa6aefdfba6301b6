//! A discrete-event simulator around `kernel-core`'s dispatcher: anyone can see, measure and prove what the scheduler
//! decides, without booting.
//!
//! The dispatcher is the very type that the kernel runs, over a machine in virtual time. Nothing is approximated: what
//! cannot be simulated is refused by name. Same workload, policy and seed, same bytes.
//!
//! * [`json`]: a lenient reader that keeps positions.
//! * [`workload`]: what runs, in rt-app's grammar and ours.
//! * [`machine`]: the HAL in virtual time; [`engine`]: events around the dispatcher.
//! * [`ideal`]: what everybody would get if CPU time were a fluid.
//! * [`result`]: the result, version 1; [`compare`] and [`sweep`]: several of them.
//! * [`trace`] and [`plot`]: what happened, for Perfetto and as SVG. They take plain events, so that a booted kernel's
//!   records go the same way.
//! * [`figures`]: the plots of the documentation.
#![forbid(unsafe_code)]

pub mod compare;
pub mod engine;
pub mod figures;
pub mod ideal;
pub mod json;
pub mod machine;
pub mod plot;
pub mod result;
pub mod sweep;
pub mod trace;
pub mod workload;
