//! The exception vectors, and the way into user mode and back.
//!
//! From EL0 every exception ends the call of `enter_user` that started user mode: the registers go into the context,
//! the kernel's callee-saved ones come back from its stack. An interrupt at EL1 calls the hook on the interrupted stack.
//! Anything else at EL1 is the kernel's own fault and is reported on a stack of its own.

use crate::gic;
use crate::power;
use crate::user::{Context, Registers};
use aarch64_cpu::registers::{ESR_EL1, FAR_EL1, Readable, VBAR_EL1, Writeable};
use core::arch::global_asm;
use core::sync::atomic::{AtomicUsize, Ordering};
use tessera_hal::Interrupt;

/// What `enter_user` answers for a synchronous exception.
pub(crate) const SYNCHRONOUS: u64 = 0;
/// What it answers for an interrupt, which is not acknowledged yet.
pub(crate) const INTERRUPT: u64 = 1;

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
    SLOT_FATAL 6
    SLOT_FATAL 7
    SLOT_USER 0
    SLOT_USER 1
    SLOT_FATAL 10
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
    ret

interrupt_kernel:
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
    bl      {kernel_interrupt}
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

// x0: the vector; the real x0 is in tpidr_el0, which nobody needs any more.
fatal_exception:
    msr     sp_el0, x0
    mov     x0, sp
    msr     tpidrro_el0, x0
    adrp    x0, __emergency_stack_top
    add     x0, x0, :lo12:__emergency_stack_top
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
    kernel_interrupt = sym kernel_interrupt,
    fatal = sym fatal,
);

unsafe extern "C" {
    static exception_vectors: u8;
    /// See the assembly. The context must be complete, its space loaded, interrupts masked.
    pub(crate) fn enter_user(context: *mut Context) -> u64;
}

/// What is called for an interrupt in kernel mode; zero until it is set.
static HOOK: AtomicUsize = AtomicUsize::new(0);

/// Makes exceptions of this CPU come here.
pub fn install() {
    // Taking the address of the linker's symbol reads nothing.
    VBAR_EL1.set(&raw const exception_vectors as u64);
    aarch64_cpu::asm::barrier::isb(aarch64_cpu::asm::barrier::SY);
}

/// See [`tessera_hal::Machine::set_interrupt_hook`].
pub fn set_hook(hook: fn(Interrupt)) {
    HOOK.store(hook as usize, Ordering::Release);
}

extern "C" fn kernel_interrupt() {
    let interrupt = gic::acknowledge();
    let hook = HOOK.load(Ordering::Acquire);
    if hook != 0 {
        // SAFETY: the only store of another value than zero is in `set_hook`, which stores such a function.
        let hook = unsafe { core::mem::transmute::<usize, fn(Interrupt)>(hook) };
        hook(interrupt);
    }
}

extern "C" fn fatal(registers: &Registers, vector: u64) -> ! {
    if power::is_turning_off() {
        // The emulator has no semihosting: the instruction that asks for it was an exception.
        power::psci_off();
    }
    let (syndrome, address) = (ESR_EL1.get(), FAR_EL1.get());
    panic!("exception {vector} in the kernel, syndrome {syndrome:#x}, address {address:#x}\n{registers}");
}
