//! FP and SIMD state of threads: off until a thread uses it, loaded then, saved when the thread leaves the CPU.
//!
//! The kernel itself is built without these registers. A load overwrites all of them, so nothing of another thread is
//! ever visible.

use crate::user::{Context, FpuState};
use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{CPACR_EL1, Writeable};
use core::arch::global_asm;

global_asm!(
    r#"
.arch_extension fp
.arch_extension simd
.section .text.fpu, "ax"
.macro EACH_PAIR operation
    \operation q0, q1, [x0]
    \operation q2, q3, [x0, #32]
    \operation q4, q5, [x0, #64]
    \operation q6, q7, [x0, #96]
    \operation q8, q9, [x0, #128]
    \operation q10, q11, [x0, #160]
    \operation q12, q13, [x0, #192]
    \operation q14, q15, [x0, #224]
    \operation q16, q17, [x0, #256]
    \operation q18, q19, [x0, #288]
    \operation q20, q21, [x0, #320]
    \operation q22, q23, [x0, #352]
    \operation q24, q25, [x0, #384]
    \operation q26, q27, [x0, #416]
    \operation q28, q29, [x0, #448]
    \operation q30, q31, [x0, #480]
.endm
.global fpu_save
fpu_save:
    EACH_PAIR stp
    mrs     x1, fpsr
    mrs     x2, fpcr
    add     x0, x0, #512
    stp     x1, x2, [x0]
    ret
.global fpu_load
fpu_load:
    EACH_PAIR ldp
    add     x0, x0, #512
    ldp     x1, x2, [x0]
    msr     fpsr, x1
    msr     fpcr, x2
    ret
.arch_extension nosimd
.arch_extension nofp
"#
);

unsafe extern "C" {
    fn fpu_save(state: *mut FpuState);
    fn fpu_load(state: *const FpuState);
}

/// Before user mode: on if the thread's state is in the registers, else off, so that its first use traps.
pub(crate) fn prepare(context: &Context) {
    if context.fpu_is_loaded { enable() } else { disable() }
}

/// The thread's first use since it came to this CPU.
pub(crate) fn load(context: &mut Context) {
    enable();
    // SAFETY: the FPU is on, the state is valid, and the kernel does not use these registers.
    unsafe { fpu_load(&raw const context.fpu) };
    context.fpu_is_loaded = true;
}

/// The thread leaves this CPU.
pub(crate) fn save(context: &mut Context) {
    if core::mem::take(&mut context.fpu_is_loaded) {
        enable();
        // SAFETY: the FPU is on and the state is ours to write.
        unsafe { fpu_save(&raw mut context.fpu) };
    }
    disable();
}

fn enable() {
    CPACR_EL1.write(CPACR_EL1::FPEN::TrapNothing);
    barrier::isb(barrier::SY);
}

fn disable() {
    CPACR_EL1.write(CPACR_EL1::FPEN::TrapEl0El1);
    barrier::isb(barrier::SY);
}
