//! What a machine must offer to Tessera, and the words both sides speak.
//!
//! A kernel that only wants the scheduler implements [`SchedHal`]; Tessera's own kernel also needs [`Machine`]. The
//! contract is numbered (`docs/src/hal-contract.md`), and [`conformance`] checks it on the machine itself.
//!
//! Principles: time, CPUs, interrupt lines and addresses are types, never raw integers; a HAL method never calls back
//! into the dispatcher; a HAL that lies makes scheduling unfair, never memory-unsafe.
#![cfg_attr(not(any(feature = "fake", test)), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod address;
pub mod conformance;
pub mod cpu;
#[cfg(feature = "fake")]
pub mod fake;
pub mod irq;
pub mod machine;
pub mod port;
pub mod probe;
pub mod request;
pub mod sched;
#[doc(hidden)]
pub mod sync;
pub mod time;
pub mod trap;

pub use address::{Access, Frame, PAGE_SIZE, PhysicalAddress, VirtualAddress};
pub use cpu::{CpuId, CpuSet, CpuTopology};
pub use irq::{IrqLine, Route, RouteError};
pub use machine::{BootInfo, ExitStatus, Machine, MemoryRegion, PageTableEntry, SpaceTag, UserContext};
pub use probe::{LOCK_RANKS, LockLedger, LockOrderViolation, Probe};
pub use request::{RequestWord, Requests, Ticket};
pub use sched::{ArmError, Clockevent, InterruptState, SchedHal};
pub use time::{Duration, Instant};
pub use trap::{Fault, FaultKind, Interrupt, SystemCall, Trap};
