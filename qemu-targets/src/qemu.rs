//! The QEMU harness: which accelerator, which command line, and a watched run.
//!
//! [`Launch`] says what to boot and turns into a command line; [`Accelerator`] is chosen by [`accelerator::choose`], which
//! trusts KVM only after a probe boot has answered; [`run`] streams the guest's serial lines to its caller and ends QEMU,
//! by its process id, when the guest falls silent or takes too long. Times are host times.

pub mod accelerator;
mod launch;
mod operate;
mod session;
mod waiting;

pub use accelerator::{Accelerator, Choice, ChoiceError, Request};
pub use launch::{Gic, Launch, Machine, Raw};
pub use operate::operate;
pub use session::{Ending, Limits, Outcome, RunError, run};
