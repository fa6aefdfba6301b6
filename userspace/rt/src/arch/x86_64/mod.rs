//! x86_64: `syscall`, number in rax, arguments in rdi and rsi.

pub mod forbidden;
pub mod probe;

use core::arch::{asm, global_asm, x86_64::__cpuid};
use tessera_abi::{ring::SELF_ADDRESS, system_call::CAP_ENTER};

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
    // A thread that the program made: its argument in rdi, its ring in rsi.
    ".section .text.tessera_thread_entry, \"ax\"",
    ".globl tessera_thread_entry",
    "tessera_thread_entry:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call tessera_thread_start",
    "ud2",
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
    // SAFETY: the thread pointer is the address of the ring's header page, which holds its own address there; nothing
    // but `ThreadControl.setTlsBase`, which programs of this runtime leave alone, changes it.
    unsafe {
        asm!("mov {}, fs:[{}]", out(reg) address, const SELF_ADDRESS, options(nostack, preserves_flags, readonly));
    }
    address
}

/// Hands over the submission queue, whose entries end the thread, and touches no memory afterwards: the stack may be
/// gone by then.
pub fn enter_and_end() -> ! {
    // SAFETY: neither the instruction nor what follows it needs a stack.
    unsafe {
        asm!("syscall", "ud2", in("rax") CAP_ENTER, in("rdi") 0, in("rsi") 0, options(noreturn, nostack));
    }
}

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
