//! The scheduler: pure policy over plain data, and a thin [`Dispatcher`] above it that takes locks and calls the HAL.
//!
//! | module | concept |
//! |---|---|
//! | [`vtime`] | weights and virtual time |
//! | [`policy`] | who is due first: WFQ and EEVDF |
//! | [`placement`] | where an entity joins a queue's clock |
//! | [`pace`] | how queues compare, and who is moved for that |
//! | [`account`] | who ran and who paid |
//! | [`next_event`] | when a CPU must look again, and why |
//! | [`release`] | who waits for a refill |
//! | [`record`] | what happened, for a trace |
//! | [`dispatcher`] | the decisions, with locks |
//! | [`local`] | the queue of one CPU by itself, for kernels with locks of their own |
//! | [`invariants`] | what must always hold, numbered |
//!
//! Lock level: `Queue`, one lock per CPU. Two queue locks are never held together: a thread that moves is claimed
//! (state `Waking`), taken from one queue, and put on the other.

pub mod account;
mod balance;
pub mod dispatcher;
pub mod entity;
mod hotplug;
pub mod invariants;
pub mod local;
mod mean;
pub mod next_event;
pub mod pace;
pub mod placement;
pub mod policy;
mod queue;
pub mod record;
pub mod release;
mod run_tree;
mod search;
mod summary;
pub mod vtime;

pub use account::{Paid, Ran};
pub use dispatcher::{
    AttributeError, Config, ConfigError, CpuError, CpuSnapshot, CreateError, Dispatcher, Glance, MAX_THREADS,
    MOST_AHEAD, Next, Position, Snapshot, StaleThread, Terminated, Wake,
};
pub use entity::{Attributes, ThreadId};
pub use invariants::Violation;
pub use local::LocalQueue;
pub use next_event::{Fires, Reasons};
pub use policy::Policy;
pub use record::Recorder;
pub use tessera_abi::scheduling::LatencyClass;
pub use vtime::{Weight, WeightError};

pub use crate::sync::ThreadState;
pub use crate::timer::{TimerError, TimerId, TimerPayload};
