//! The assembly between user mode, the kernel and its traps. The only code that runs with a user's GS base.
//!
//! From user mode the processor (or the system call entry) pushes straight into the running context, so that no register
//! is copied twice; then the CPU goes back to the stack of `enter_user`'s caller, as if the call returned. Traps that
//! can hit between a privilege change and its `swapgs` have their own stacks and look at the GS base itself: the kernel's
//! is in the upper half, and user mode can only have zero there, since CR4.FSGSBASE is off.

use crate::percpu::PerCpu;
use crate::segments::{USER_CODE, USER_DATA};
use crate::trap::{Registers, SYSTEM_CALL, gate_of, kernel_trap};
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

global_asm!(
    r#"
    .macro PUSH_GENERAL
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    .endm
    .macro POP_GENERAL
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    .endm

    .text
    .balign 16
    .global trap_stubs
trap_stubs:
    .set trap_vector, 0
    .rept 256
    .balign 16
    .if (trap_vector == 8) || ((trap_vector >= 10) && (trap_vector <= 14)) || (trap_vector == 17) || (trap_vector == 21) || (trap_vector == 29) || (trap_vector == 30)
    .else
    pushq $0
    .endif
    pushq $trap_vector
    .if (trap_vector == 2) || (trap_vector == 8) || (trap_vector == 18)
    jmp trap_anywhere
    .else
    jmp trap_common
    .endif
    .set trap_vector, trap_vector + 1
    .endr

    .balign 16
trap_common:
    testb $3, 24(%rsp)
    jz trap_from_kernel
    swapgs
    PUSH_GENERAL
leave_user:
    movq %gs:{kernel_stack}, %rsp
    # Clean flags: no direction, alignment check (SMAP override) or nested task from user mode.
    pushq $2
    popfq
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    retq

trap_from_kernel:
    PUSH_GENERAL
    cld
    movq %rsp, %rdi
    call {kernel_trap}
    POP_GENERAL
    addq $16, %rsp
    iretq

trap_anywhere:
    PUSH_GENERAL
    pushq $2
    popfq
    xorl %ebx, %ebx
    movl $0xc0000101, %ecx
    rdmsr
    testl %edx, %edx
    js 1f
    swapgs
    incl %ebx
1:  movq %rsp, %rdi
    call {kernel_trap}
    testl %ebx, %ebx
    jz 2f
    swapgs
2:  POP_GENERAL
    addq $16, %rsp
    iretq

    .balign 16
    .global system_call_entry
system_call_entry:
    swapgs
    movq %rsp, %gs:{scratch}
    movq %gs:{frame_end}, %rsp
    pushq ${user_data}
    pushq %gs:{scratch}
    pushq %r11
    pushq ${user_code}
    pushq %rcx
    pushq $0
    pushq ${system_call}
    PUSH_GENERAL
    jmp leave_user

    .balign 16
    .global enter_user
enter_user:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %gs:{kernel_stack}
    # A program may have loaded selectors; they are no part of a context.
    movl %ds, %eax
    movl %es, %ecx
    orl %ecx, %eax
    movl %fs, %ecx
    orl %ecx, %eax
    movl %gs, %ecx
    orl %ecx, %eax
    jz 3f
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    swapgs
    movl %eax, %gs
    swapgs
3:  movq %rdi, %rsp
    cmpq ${system_call}, {vector}(%rsp)
    je 4f
    POP_GENERAL
    addq $16, %rsp
    swapgs
    iretq
4:  POP_GENERAL
    movq 16(%rsp), %rcx
    movq 32(%rsp), %r11
    movq 40(%rsp), %rsp
    swapgs
    sysretq
"#,
    kernel_stack = const offset_of!(PerCpu, kernel_stack),
    scratch = const offset_of!(PerCpu, scratch),
    frame_end = const offset_of!(PerCpu, frame_end),
    vector = const offset_of!(Registers, vector),
    user_data = const USER_DATA,
    user_code = const USER_CODE,
    system_call = const SYSTEM_CALL,
    kernel_trap = sym kernel_trap,
    options(att_syntax)
);

unsafe extern "C" {
    /// Loads `registers` and runs user mode until it traps; then `registers` holds what the program had.
    ///
    /// # Safety
    /// Interrupts are masked, the CPU's trap stack ends behind `registers`, the segments are the user's and the
    /// instruction pointer is canonical.
    pub(crate) fn enter_user(registers: *mut Registers);
    /// The target of `syscall`.
    pub(crate) fn system_call_entry() -> !;
    static trap_stubs: u8;
}

/// Bytes from one stub to the next.
const STUB_BYTES: u64 = 16;

#[repr(C, align(4096))]
struct DescriptorTable([[AtomicU64; 2]; 256]);

static TABLE: DescriptorTable = DescriptorTable([const { [const { AtomicU64::new(0) }; 2] }; 256]);

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Fills in the table that all CPUs share. Once, on the boot CPU.
pub(crate) fn fill_table() {
    let stubs = &raw const trap_stubs as u64;
    for (vector, entry) in TABLE.0.iter().enumerate() {
        let words = gate_of(vector, stubs + STUB_BYTES * vector as u64);
        for (place, word) in entry.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
    }
}

/// Loads the table on this CPU.
pub(crate) fn load_table() {
    let pointer =
        TablePointer { limit: size_of::<DescriptorTable>() as u16 - 1, base: &TABLE as *const DescriptorTable as u64 };
    // SAFETY: the table is complete and stays for ever.
    unsafe { asm!("lidt [{}]", in(reg) &pointer, options(readonly, nostack, preserves_flags)) };
}
