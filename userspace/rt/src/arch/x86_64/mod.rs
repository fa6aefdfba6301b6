//! x86_64: `syscall`, number in rax, arguments in rdi and rsi.

pub mod probe;

use core::arch::{asm, global_asm, x86_64::__cpuid};

// The kernel enters with the start page's address in rdi and the stack pointer at the stack's upper end. A zero frame
// pointer ends backtraces; the stack is aligned as the calling convention wants it at a call.
global_asm!(
    ".section .text.start, \"ax\"",
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call tessera_start",
    "ud2",
);

/// A system call with two arguments.
pub fn system_call(number: usize, first: usize, second: u64) -> isize {
    let result: isize;
    // SAFETY: the kernel keeps every register but rax, rcx and r11; what it writes to memory is what the ring's
    // submissions asked for, whose buffers are alive (see `ring`).
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") first,
            in("rsi") second,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The CPU that this thread runs on at this moment, where the machine lets a program ask (RDTSCP).
pub fn current_cpu() -> Option<u16> {
    const RDTSCP: u32 = 1 << 27;
    if __cpuid(0x8000_0001).edx & RDTSCP == 0 {
        return None;
    }
    let cpu: u32;
    // SAFETY: the CPU has the instruction; it changes edx, eax and ecx alone.
    unsafe {
        asm!("rdtscp", out("ecx") cpu, out("eax") _, out("edx") _, options(nomem, nostack, preserves_flags));
    }
    Some(cpu as u16)
}
