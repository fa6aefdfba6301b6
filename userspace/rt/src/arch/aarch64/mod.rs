//! aarch64: `svc #0`, number in x8, arguments in x0 and x1.

pub mod forbidden;
pub mod probe;

use core::arch::{asm, global_asm};
use tessera_abi::system_call::CAP_ENTER;

// The kernel enters with the start page's address in x0 and an aligned stack pointer. A zero frame record ends
// backtraces.
global_asm!(
    ".section .text.start, \"ax\"",
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "bl tessera_start",
    "udf #0",
    // A thread that the program made: its argument in x0, its ring in x1.
    ".section .text.tessera_thread_entry, \"ax\"",
    ".globl tessera_thread_entry",
    "tessera_thread_entry:",
    "mov x29, xzr",
    "mov x30, xzr",
    "bl tessera_thread_start",
    "udf #0",
);

unsafe extern "C" {
    fn tessera_thread_entry();
}

/// Where the kernel is to begin a thread of the program.
pub fn thread_entry() -> usize {
    tessera_thread_entry as *const () as usize
}

/// The address of the calling thread's ring.
pub fn ring_address() -> usize {
    let address: usize;
    // SAFETY: reading the register has no effect. It holds the address of the ring's header page; nothing but
    // `ThreadControl.setTlsBase`, which programs of this runtime leave alone, changes it.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) address, options(nomem, nostack, preserves_flags));
    }
    address
}

/// Hands over the submission queue, whose entries end the thread, and touches no memory afterwards: the stack may be
/// gone by then.
pub fn enter_and_end() -> ! {
    // SAFETY: neither the instruction nor what follows it needs a stack.
    unsafe {
        asm!("svc #0", "udf #0", in("x8") CAP_ENTER, in("x0") 0, in("x1") 0, options(noreturn, nostack));
    }
}

/// A system call with two arguments.
pub fn system_call(number: usize, first: usize, second: u64) -> isize {
    let result: isize;
    // SAFETY: the kernel keeps every register but x0; what it writes to memory is what the ring's submissions asked
    // for, whose buffers are alive (see `ring`).
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") first as isize => result,
            in("x1") second,
            options(nostack),
        );
    }
    result
}

/// The CPU that this thread runs on at this moment (TPIDRRO_EL0).
pub fn current_cpu() -> Option<u16> {
    let cpu: u64;
    // SAFETY: reading the register has no effect, and the kernel keeps the CPU's number in it.
    unsafe {
        asm!("mrs {}, tpidrro_el0", out(reg) cpu, options(nomem, nostack, preserves_flags));
    }
    Some(cpu as u16)
}
