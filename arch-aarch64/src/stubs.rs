//! The exception vectors, and the way into user mode and back.
//!
//! From EL0 every exception ends the call of `enter_user` that started user mode: the registers go into the context,
//! the kernel's callee-saved ones come back from its stack. An interrupt at EL1 is handled on the interrupted stack, so is
//! a request to halt, which nothing masks for longer than a few instructions. Anything else at EL1 is the kernel's own fault
//! and is reported on a stack of its own.

use crate::interrupts::{fast_in_kernel, in_kernel};
use crate::percpu::PerCpu;
use crate::trap::fatal;
use crate::user::Registers;
use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{VBAR_EL1, Writeable};
use core::arch::global_asm;
use core::mem::offset_of;

/// What `enter_user` answers for a synchronous exception.
pub(crate) const SYNCHRONOUS: u64 = 0;
/// What it answers for an interrupt, which is not acknowledged yet.
pub(crate) const INTERRUPT: u64 = 1;
/// What it answers for a request to halt, which is not acknowledged yet.
pub(crate) const FAST_INTERRUPT: u64 = 2;

global_asm!(
    r#"
.section .text.vectors, "ax"
.macro SLOT_FATAL number
    .balign 128
    msr     tpidr_el0, x0
    mov     x0, #\number
    b       fatal_exception
.endm
.macro SLOT_USER kind
    .balign 128
    stp     x0, x1, [sp, #-16]!
    mov     x0, #\kind
    b       leave_user
.endm

.balign 2048
.global exception_vectors
exception_vectors:
    SLOT_FATAL 0
    SLOT_FATAL 1
    SLOT_FATAL 2
    SLOT_FATAL 3
    SLOT_FATAL 4
    .balign 128
    b       interrupt_kernel
    .balign 128
    b       fast_kernel
    SLOT_FATAL 7
    SLOT_USER 0
    SLOT_USER 1
    SLOT_USER 2
    SLOT_FATAL 11
    SLOT_FATAL 12
    SLOT_FATAL 13
    SLOT_FATAL 14
    SLOT_FATAL 15

// x0: the context. Answers in x0 why user mode was left.
.global enter_user
enter_user:
    stp     x29, x30, [sp, #-16]!
    stp     x27, x28, [sp, #-16]!
    stp     x25, x26, [sp, #-16]!
    stp     x23, x24, [sp, #-16]!
    stp     x21, x22, [sp, #-16]!
    stp     x19, x20, [sp, #-16]!
    stp     x0, xzr, [sp, #-16]!
    ldp     x1, x2, [x0, #248]
    msr     sp_el0, x1
    msr     elr_el1, x2
    ldp     x1, x2, [x0, #264]
    msr     spsr_el1, x1
    msr     tpidr_el0, x2
    ldp     x2, x3, [x0, #16]
    ldp     x4, x5, [x0, #32]
    ldp     x6, x7, [x0, #48]
    ldp     x8, x9, [x0, #64]
    ldp     x10, x11, [x0, #80]
    ldp     x12, x13, [x0, #96]
    ldp     x14, x15, [x0, #112]
    ldp     x16, x17, [x0, #128]
    ldp     x18, x19, [x0, #144]
    ldp     x20, x21, [x0, #160]
    ldp     x22, x23, [x0, #176]
    ldp     x24, x25, [x0, #192]
    ldp     x26, x27, [x0, #208]
    ldp     x28, x29, [x0, #224]
    ldr     x30, [x0, #240]
    ldp     x0, x1, [x0]
    eret

// x0: the kind; the user's x0 and x1 are on the stack, above them the context's address.
leave_user:
    ldr     x1, [sp, #16]
    stp     x2, x3, [x1, #16]
    stp     x4, x5, [x1, #32]
    stp     x6, x7, [x1, #48]
    stp     x8, x9, [x1, #64]
    stp     x10, x11, [x1, #80]
    stp     x12, x13, [x1, #96]
    stp     x14, x15, [x1, #112]
    stp     x16, x17, [x1, #128]
    stp     x18, x19, [x1, #144]
    stp     x20, x21, [x1, #160]
    stp     x22, x23, [x1, #176]
    stp     x24, x25, [x1, #192]
    stp     x26, x27, [x1, #208]
    stp     x28, x29, [x1, #224]
    str     x30, [x1, #240]
    ldp     x2, x3, [sp], #32
    stp     x2, x3, [x1]
    mrs     x2, sp_el0
    mrs     x3, elr_el1
    stp     x2, x3, [x1, #248]
    mrs     x2, spsr_el1
    mrs     x3, tpidr_el0
    stp     x2, x3, [x1, #264]
    ldp     x19, x20, [sp], #16
    ldp     x21, x22, [sp], #16
    ldp     x23, x24, [sp], #16
    ldp     x25, x26, [sp], #16
    ldp     x27, x28, [sp], #16
    ldp     x29, x30, [sp], #16
    msr     daifclr, #5
    ret

.macro SAVE_CALLER
    sub     sp, sp, #192
    stp     x0, x1, [sp]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x30, [sp, #144]
    mrs     x0, elr_el1
    mrs     x1, spsr_el1
    stp     x0, x1, [sp, #160]
    str     x29, [sp, #176]
.endm
.macro RESTORE_CALLER
    msr     daifset, #0xf
    ldp     x0, x1, [sp, #160]
    msr     elr_el1, x0
    msr     spsr_el1, x1
    ldr     x29, [sp, #176]
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x18, x30, [sp, #144]
    ldp     x0, x1, [sp], #192
    eret
.endm

// Errors and requests to halt are let in: what they overwrite is saved.
interrupt_kernel:
    SAVE_CALLER
    msr     daifclr, #5
    bl      {in_kernel}
    RESTORE_CALLER

fast_kernel:
    SAVE_CALLER
    bl      {fast_in_kernel}
    RESTORE_CALLER

// x0: the vector; the real x0 is in tpidr_el0, which nobody needs any more.
fatal_exception:
    msr     sp_el0, x0
    mov     x0, sp
    msr     tpidrro_el0, x0
    mrs     x0, tpidr_el1
    ldr     x0, [x0, #{fault_stack}]
    mov     sp, x0
    sub     sp, sp, #288
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    str     x30, [sp, #240]
    mrs     x2, tpidr_el0
    stp     x2, x1, [sp]
    mrs     x2, tpidrro_el0
    mrs     x3, elr_el1
    stp     x2, x3, [sp, #248]
    mrs     x2, spsr_el1
    stp     x2, xzr, [sp, #264]
    mrs     x1, sp_el0
    mov     x0, sp
    bl      {fatal}
"#,
    in_kernel = sym in_kernel,
    fast_in_kernel = sym fast_in_kernel,
    fault_stack = const offset_of!(PerCpu, fault_stack),
    fatal = sym fatal,
);

unsafe extern "C" {
    static exception_vectors: u8;
    /// See the assembly. The registers must be a whole set, a user space loaded, interrupts masked.
    pub(crate) fn enter_user(registers: *mut Registers) -> u64;
}

/// Makes exceptions of this CPU come here.
pub(crate) fn install() {
    // Taking the address of the symbol reads nothing.
    VBAR_EL1.set(&raw const exception_vectors as u64);
    barrier::isb(barrier::SY);
}
