//! What no program may do, one instruction each, for programs that try it.
//!
//! Each of [`FORBIDDEN`] must end the program that comes to it. Each of [`HARMLESS`] changes state that a program may
//! change, and that the kernel must not depend on: it enters the kernel so, and comes back.

use core::arch::asm;
use tessera_abi::system_call::CAP_ENTER;

/// A function that does one such thing, and its name.
pub type Attempt = (&'static str, fn());

macro_rules! attempts {
    ($($name:literal: $($instruction:literal),+;)*) => {
        [$(($name, {
            fn attempt() {
                // SAFETY: at EL0 one of the instructions faults, and the kernel ends the program there. What stands
                // before it changes x0 and x1 alone.
                unsafe { asm!($($instruction),+, out("x0") _, out("x1") _, options(nostack)) };
            }
            attempt as fn()
        })),*]
    };
}

/// Ends the program as an instruction that it must not execute, or as one for debuggers.
pub const FORBIDDEN: [Attempt; 31] = attempts! {
    "mask interrupts": "msr daifset, #2";
    "unmask interrupts": "msr daifclr, #2";
    "read the vectors": "mrs x0, vbar_el1";
    "set the vectors": "msr vbar_el1, xzr";
    "load another page table": "msr ttbr0_el1, xzr";
    "load another kernel": "msr ttbr1_el1, xzr";
    "switch protections off": "msr sctlr_el1, xzr";
    "read where it came from": "mrs x0, elr_el1";
    "set where it goes to": "msr elr_el1, xzr", "eret";
    "return as the kernel does": "eret";
    "use the kernel's stack": "msr spsel, #1";
    "set its own stack from outside": "msr sp_el0, xzr";
    "set the kernel's CPU pointer": "msr tpidr_el1, xzr";
    "set the number of its CPU": "msr tpidrro_el0, xzr";
    "read the kernel's CPU pointer": "mrs x0, tpidr_el1";
    "give itself the FPU": "mov x0, #0x300000", "msr cpacr_el1, x0";
    "drop translations": "tlbi vmalle1";
    "drop the instruction cache": "ic iallu";
    "clean a cache by set and way": "dc cisw, xzr";
    "translate a kernel address": "mov x0, #-4096", "at s1e1r, x0";
    "stop the kernel's timer": "msr cntv_ctl_el0, xzr";
    "move the kernel's timer": "msr cntv_cval_el0, xzr";
    "stop the physical timer": "msr cntp_ctl_el0, xzr";
    "open the timers": "msr cntkctl_el1, xzr";
    "count what others do": "mrs x0, pmccntr_el0";
    "lock the debug registers": "msr oslar_el1, xzr";
    "call the hypervisor": "hvc #0";
    "call the firmware": "smc #0";
    "call the emulator": "mov w0, #0x18", "mov x1, #0", "hlt #0xf000";
    "break": "brk #1";
    "an instruction that there is not": "udf #7";
};

/// Must not trouble anybody.
pub const HARMLESS: [Attempt; 3] = [
    ("a thread pointer of the kernel", || with_thread_pointer(0xffff_ffff_8020_0000)),
    ("a thread pointer of nothing", || with_thread_pointer(0x00ff_0000_0000_0001)),
    ("kernel addresses in every register", kernel_addresses),
];

/// Enters the kernel with another thread pointer, and puts it back.
fn with_thread_pointer(pointer: u64) {
    // SAFETY: the thread pointer is put back before anything else reads it. An empty entry writes no memory.
    unsafe {
        asm!(
            "mrs {kept}, tpidr_el0", "msr tpidr_el0, {pointer}",
            // Long enough that interrupts come meanwhile.
            "2:", "subs {count}, {count}, #1", "b.ne 2b",
            "svc #0", "msr tpidr_el0, {kept}",
            kept = out(reg) _, pointer = in(reg) pointer, count = inout(reg) 300_000_u64 => _,
            in("x8") CAP_ENTER, inout("x0") 0_u64 => _, in("x1") 0, options(nostack),
        );
    }
}

fn kernel_addresses() {
    let kept: u64 = 0xffff_ffff_8020_0000;
    let seen: u64;
    // SAFETY: the kernel keeps every register but x0 and must not believe any; an empty entry writes no memory.
    unsafe {
        asm!(
            "mov x2, {kept}", "mov x3, x2", "mov x4, x2", "mov x5, x2", "mov x6, x2", "mov x7, x2", "mov x9, x2",
            "mov x10, x2", "mov x11, x2", "mov x12, x2", "mov x16, x2", "mov x17, x2", "svc #0",
            kept = in(reg) kept, in("x8") CAP_ENTER, inout("x0") 0_u64 => _, in("x1") 0,
            out("x2") seen, out("x3") _, out("x4") _, out("x5") _, out("x6") _, out("x7") _, out("x9") _,
            out("x10") _, out("x11") _, out("x12") _, out("x16") _, out("x17") _, options(nostack),
        );
    }
    if seen != kept {
        crate::exit(97);
    }
}
