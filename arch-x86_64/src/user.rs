//! User mode: a thread's context and the call that runs it.

use crate::fpu::{self, FpuState};
use crate::interrupts;
use crate::paging::USER_RANGE;
use crate::percpu;
use crate::segments::{USER_CODE, USER_DATA};
use crate::stubs::enter_user;
use crate::thread_pointer::ThreadPointer;
use crate::trap::{self, DEVICE_NOT_AVAILABLE, Registers, SYSTEM_CALL};
use crate::vectors::FIRST_INTERRUPT;
use core::fmt;
use core::sync::atomic::Ordering;
use tessera_hal::{Fault, FaultKind, SystemCall, Trap, UserContext, VirtualAddress};

const RESERVED_FLAG: u64 = 1 << 1;
const INTERRUPTS_ON: u64 = 1 << 9;
/// What a program may choose in its flags: the arithmetic ones, direction, trap, alignment check, and identification.
const USER_FLAGS: u64 = 0x24_0dd5;

/// A thread's user-mode registers and, once it has used it, its FPU state.
#[derive(Debug)]
#[repr(C)]
pub struct Context {
    pub(crate) registers: Registers,
    pub(crate) fpu: FpuState,
    thread_pointer: ThreadPointer,
}

impl Context {
    /// The flags and segments that user mode runs with, whatever the context holds.
    fn sanitize(&mut self) {
        let registers = &mut self.registers;
        registers.cs = u64::from(USER_CODE);
        registers.ss = u64::from(USER_DATA);
        registers.rflags = registers.rflags & USER_FLAGS | RESERVED_FLAG | INTERRUPTS_ON;
    }
}

impl UserContext for Context {
    fn new(entry: VirtualAddress, stack: VirtualAddress, arguments: [usize; 2]) -> Self {
        let registers = Registers {
            rip: entry.0 as u64,
            rsp: stack.0 as u64,
            rdi: arguments[0] as u64,
            rsi: arguments[1] as u64,
            ..Registers::default()
        };
        Self { registers, fpu: FpuState::new(), thread_pointer: ThreadPointer::new(VirtualAddress(0)) }
    }

    fn set_thread_pointer(&mut self, address: VirtualAddress) {
        self.thread_pointer = ThreadPointer::new(address);
    }

    fn set_system_call_result(&mut self, result: isize) {
        self.registers.rax = result as u64;
    }

    fn program_counter(&self) -> VirtualAddress {
        VirtualAddress(self.registers.rip as usize)
    }

    fn stack_pointer(&self) -> VirtualAddress {
        VirtualAddress(self.registers.rsp as usize)
    }

    fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.registers.dump(out)
    }
}

/// Runs user mode in the loaded space until it traps. Interrupts are masked.
pub(crate) fn run(context: &mut Context) -> Trap {
    loop {
        if !USER_RANGE.contains(&(context.registers.rip as usize)) {
            // Neither `iretq` nor `sysretq` may meet a non-canonical address in kernel mode.
            return fault(context, FaultKind::Protection);
        }
        context.sanitize();
        context.thread_pointer.load();
        fpu::before_user(&mut context.fpu);
        enter(context);
        match context.registers.vector {
            DEVICE_NOT_AVAILABLE => {
                if !fpu::first_use(&mut context.fpu) {
                    return fault(context, FaultKind::Other(DEVICE_NOT_AVAILABLE as u32));
                }
            }
            _ => return decode(context),
        }
    }
}

fn fault(context: &Context, kind: FaultKind) -> Trap {
    Trap::Fault(Fault { kind, address: None, program_counter: context.program_counter() })
}

fn enter(context: &mut Context) {
    let area = percpu::this();
    let registers = &raw mut context.registers;
    let end = registers.wrapping_add(1) as u64;
    area.frame_end.store(end, Ordering::Relaxed);
    area.task_state.set_trap_stack(end);
    // SAFETY: the caller masked interrupts; the trap stack was just set; segments and flags are sanitised and the
    // instruction pointer is in the user's range.
    unsafe { enter_user(registers) };
}

/// What the registers say about why user mode was left.
fn decode(context: &Context) -> Trap {
    let registers = &context.registers;
    match u8::try_from(registers.vector) {
        Err(_) => Trap::SystemCall(system_call(registers)),
        Ok(vector @ FIRST_INTERRUPT..) => Trap::Interrupt(interrupts::acknowledge(vector)),
        Ok(_) => Trap::Fault(trap::user_fault(registers, trap::page_fault_address())),
    }
}

fn system_call(registers: &Registers) -> SystemCall {
    debug_assert_eq!(registers.vector, SYSTEM_CALL);
    let Registers { rax, rdi, rsi, rdx, r10, .. } = *registers;
    SystemCall { number: rax as usize, arguments: [rdi, rsi, rdx, r10].map(|value| value as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_never_runs_with_flags_or_segments_of_the_kernel() {
        let mut context = Context::new(VirtualAddress(0x20_0000), VirtualAddress(0x7000), [1, 2]);
        context.registers.rflags = u64::MAX;
        context.registers.cs = 8;
        context.sanitize();
        let Registers { rflags, cs, ss, .. } = context.registers;
        assert_eq!(rflags & (3 << 12 | 1 << 14 | 1 << 17), 0, "no I/O privilege, nested task or virtual-8086 mode");
        assert_ne!(rflags & INTERRUPTS_ON, 0);
        assert_eq!((cs & 3, ss & 3), (3, 3));
    }

    #[test]
    fn a_fresh_context_has_its_arguments_and_zeroes() {
        let context = Context::new(VirtualAddress(0x20_0000), VirtualAddress(0x7000), [1, 2]);
        let Registers { rip, rsp, rdi, rsi, .. } = context.registers;
        assert_eq!([rip, rsp, rdi, rsi], [0x20_0000, 0x7000, 1, 2]);
        let rest = Registers { rip: 0, rsp: 0, rdi: 0, rsi: 0, ..context.registers };
        assert_eq!(rest, Registers::default());
    }

    #[test]
    fn a_system_call_is_read_in_abi_order() {
        let registers =
            Registers { vector: SYSTEM_CALL, rax: 9, rdi: 1, rsi: 2, rdx: 3, r10: 4, ..Registers::default() };
        assert_eq!(system_call(&registers), SystemCall { number: 9, arguments: [1, 2, 3, 4] });
    }
}
