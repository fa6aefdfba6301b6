//! aarch64: `svc #0`, number in x8, arguments in x0 and x1.

pub mod probe;

use core::arch::{asm, global_asm};

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
);

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
