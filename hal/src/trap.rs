//! Why user mode was left, and what interrupts there are.

use crate::{IrqLine, VirtualAddress};
use core::fmt;

/// An interrupt, already acknowledged at the controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupt {
    /// This CPU's clockevent fired.
    Timer,
    /// Another CPU (or this one) sent a kick: look at the request word.
    Kick,
    /// A device.
    Device(IrqLine),
    /// Nothing that anybody asked for.
    Spurious,
}

/// A system call as it arrived, unchecked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SystemCall {
    /// Which call.
    pub number: usize,
    /// Its arguments in ABI order.
    pub arguments: [usize; 4],
}

/// What a program did that it may not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// A load, store or fetch that its page table does not allow.
    Page {
        /// Which access was tried.
        access: crate::Access,
        /// Whether the page is mapped (so the access itself was refused).
        mapped: bool,
    },
    /// An instruction that does not exist or needs more privilege.
    Instruction,
    /// An address that is not canonical or not aligned, a segment or I/O violation.
    Protection,
    /// Division by zero, overflow, or an FPU exception.
    Arithmetic,
    /// A breakpoint or single step that nobody asked for.
    Debug,
    /// Anything else, by the machine's own number.
    Other(u32),
}

/// A fault in user mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What was done.
    pub kind: FaultKind,
    /// The address that was touched, where the machine says it.
    pub address: Option<VirtualAddress>,
    /// The instruction.
    pub program_counter: VirtualAddress,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FaultKind::Page { access, mapped } => {
                let verb = match access {
                    access if access.contains(crate::Access::EXECUTE) => "fetch",
                    access if access.contains(crate::Access::WRITE) => "store",
                    _ => "load",
                };
                write!(f, "page fault ({verb}, {})", if mapped { "not allowed" } else { "not mapped" })?;
            }
            FaultKind::Instruction => write!(f, "illegal or privileged instruction")?,
            FaultKind::Protection => write!(f, "protection fault")?,
            FaultKind::Arithmetic => write!(f, "arithmetic fault")?,
            FaultKind::Debug => write!(f, "unexpected breakpoint or step")?,
            FaultKind::Other(number) => write!(f, "exception {number}")?,
        }
        if let Some(address) = self.address {
            write!(f, " at address {address}")?;
        }
        write!(f, ", instruction {}", self.program_counter)
    }
}

/// Why user mode was left.
#[must_use = "a trap that is not handled is lost"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trap {
    /// The program made a system call. The context already points behind the instruction.
    SystemCall(SystemCall),
    /// An interrupt arrived.
    Interrupt(Interrupt),
    /// The program did something it may not. The context still points at the instruction.
    Fault(Fault),
}
