//! User mode: a thread's context and the call that runs it.
//!
//! The layout of [`Registers`] is known to the assembly of `stubs`: words 0 to 30 are `x0` to `x30`, then the stack
//! pointer, the program counter, the saved status and the thread pointer.

use crate::fpu::FpuState;
use core::fmt;
use tessera_hal::{UserContext, VirtualAddress};

/// The general registers at an exception.
#[derive(Clone, Debug, Default)]
#[repr(C, align(16))]
pub struct Registers {
    /// `x0` to `x30`.
    pub general: [u64; 31],
    /// `SP_EL0`; for a frame of the kernel its own stack pointer.
    pub stack_pointer: u64,
    /// `ELR_EL1`.
    pub program_counter: u64,
    /// `SPSR_EL1`. Zero is EL0 with everything unmasked.
    pub status: u64,
    /// `TPIDR_EL0`.
    pub thread_pointer: u64,
}

/// Everything that user mode of one thread has.
#[derive(Debug)]
#[repr(C)]
pub struct Context {
    pub(crate) registers: Registers,
    pub(crate) fpu: FpuState,
}

impl UserContext for Context {
    fn new(entry: VirtualAddress, stack: VirtualAddress, arguments: [usize; 2]) -> Self {
        let mut registers =
            Registers { stack_pointer: stack.0 as u64, program_counter: entry.0 as u64, ..Registers::default() };
        registers.general[0] = arguments[0] as u64;
        registers.general[1] = arguments[1] as u64;
        Self { registers, fpu: FpuState::new() }
    }

    fn set_thread_pointer(&mut self, address: VirtualAddress) {
        self.registers.thread_pointer = address.0 as u64;
    }

    fn set_system_call_result(&mut self, result: isize) {
        self.registers.general[0] = result as u64;
    }

    fn program_counter(&self) -> VirtualAddress {
        VirtualAddress(self.registers.program_counter as usize)
    }

    fn stack_pointer(&self) -> VirtualAddress {
        VirtualAddress(self.registers.stack_pointer as usize)
    }

    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{}", self.registers)
    }
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (first, row) in self.general.chunks(4).enumerate() {
            for (offset, value) in row.iter().enumerate() {
                write!(f, " x{:<2} {value:016x}", first * 4 + offset)?;
            }
            writeln!(f)?;
        }
        let Self { stack_pointer, program_counter, status, thread_pointer, .. } = self;
        writeln!(f, " sp  {stack_pointer:016x} pc  {program_counter:016x} psr {status:016x} tp  {thread_pointer:016x}")
    }
}

#[cfg(target_os = "none")]
pub(crate) use run::run;

#[cfg(target_os = "none")]
mod run {
    use super::Context;
    use crate::trap::{Cause, decode};
    use crate::{fpu, interrupts, stubs};
    use aarch64_cpu::registers::{ESR_EL1, FAR_EL1, Readable};
    use tessera_hal::{SystemCall, Trap};

    /// Runs user mode in the loaded space until it traps. Interrupts are masked.
    pub(crate) fn run(context: &mut Context) -> Trap {
        loop {
            fpu::before_user(&mut context.fpu);
            // SAFETY: the context is a whole one and exclusively ours; interrupts are masked and a user space is loaded,
            // as the trait demands; the vectors bring us back.
            match unsafe { stubs::enter_user(&raw mut context.registers) } {
                stubs::INTERRUPT => return Trap::Interrupt(interrupts::acknowledge()),
                stubs::FAST_INTERRUPT => interrupts::on_fast(),
                reason => {
                    debug_assert_eq!(reason, stubs::SYNCHRONOUS);
                    match decode(ESR_EL1.get(), FAR_EL1.get(), context.registers.program_counter) {
                        Cause::SystemCall => return Trap::SystemCall(system_call(context)),
                        Cause::FpuOff => fpu::first_use(&mut context.fpu),
                        Cause::Fault(fault) => return Trap::Fault(fault),
                    }
                }
            }
        }
    }

    fn system_call(context: &Context) -> SystemCall {
        let [first, second, third, fourth, ..] = context.registers.general;
        SystemCall {
            number: context.registers.general[8] as usize,
            arguments: [first, second, third, fourth].map(|argument| argument as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn the_layout_is_the_one_that_the_assembly_uses() {
        assert_eq!(offset_of!(Context, registers), 0);
        assert_eq!(offset_of!(Registers, stack_pointer), 248);
        assert_eq!(offset_of!(Registers, status), 264);
        assert_eq!(size_of::<Registers>(), 288);
    }

    #[test]
    fn a_new_context_has_its_arguments_and_nothing_else() {
        let context = Context::new(VirtualAddress(0x20_0000), VirtualAddress(0x7000), [1, 2]);
        assert_eq!(context.registers.general[..3], [1, 2, 0]);
        assert_eq!((context.program_counter().0, context.stack_pointer().0), (0x20_0000, 0x7000));
        assert_eq!(context.registers.status, 0, "EL0 with interrupts deliverable");
    }

    #[test]
    fn a_dump_shows_every_register() {
        let mut context = Context::new(VirtualAddress(0xabc0), VirtualAddress(0), [0, 0]);
        context.registers.general[30] = 0x1234_5678;
        let mut text = std::string::String::new();
        context.dump(&mut text).unwrap();
        assert!(text.contains("x30 0000000012345678") && text.contains("pc  000000000000abc0"), "{text}");
    }
}
