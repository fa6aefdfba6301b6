//! User mode's FP and SIMD state: the thread's own, loaded at its first use on a CPU, never seen by another.
//!
//! FPU instructions trap whenever the registers hold anything but the running context's state, so that its first one
//! loads its own (a fresh one zeroes), which overwrites all of them. A CPU remembers whose state it holds by a number that
//! is never used twice, and a context on which CPU it was loaded last: only if both agree are the registers current. The
//! kernel itself is built without these registers. Interrupts are masked in all of this.

use core::num::NonZeroU64;
use core::sync::atomic::{AtomicU64, Ordering};
use tessera_hal::CpuId;

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// FP and SIMD registers. All zero is what a new thread has.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
struct FpuRegisters {
    /// `q0` to `q31`.
    vectors: [u128; 32],
    /// `FPSR`.
    status: u64,
    /// `FPCR`.
    control: u64,
}

/// A thread's FPU state.
#[derive(Debug)]
pub struct FpuState {
    registers: FpuRegisters,
    /// Its number; none until it is first loaded.
    number: Option<NonZeroU64>,
    loaded_on: Option<CpuId>,
    /// Whether the CPU's registers may be newer than `registers`.
    unsaved: bool,
}

impl FpuState {
    /// That of a new thread.
    pub const fn new() -> Self {
        let registers = FpuRegisters { vectors: [0; 32], status: 0, control: 0 };
        Self { registers, number: None, loaded_on: None, unsaved: false }
    }

    /// Whether the registers of `cpu`, which hold the state with the number `owner`, are this one's.
    fn is_held_by(&self, cpu: CpuId, owner: u64) -> bool {
        self.loaded_on == Some(cpu) && self.number.is_some_and(|own| own.get() == owner)
    }

    /// The number, taken now if there is none.
    fn numbered(&mut self) -> u64 {
        let take = || NonZeroU64::new(NEXT_NUMBER.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU64::MIN);
        self.number.get_or_insert_with(take).get()
    }
}

impl Default for FpuState {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_os = "none")]
pub(crate) use registers::*;

#[cfg(target_os = "none")]
mod registers {
    use super::{FpuRegisters, FpuState};
    use crate::percpu;
    use aarch64_cpu::asm::barrier;
    use aarch64_cpu::registers::{CPACR_EL1, Writeable};
    use core::arch::global_asm;
    use core::sync::atomic::Ordering;

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
        fn fpu_save(state: *mut FpuRegisters);
        fn fpu_load(state: *const FpuRegisters);
    }

    /// Lets the context use the FPU if the registers hold its state, else makes the first use trap.
    pub(crate) fn before_user(state: &mut FpuState) {
        let current = holds(state);
        state.unsaved |= current;
        set_disabled(!current);
    }

    /// Whether this CPU's registers hold the current state of `state`.
    fn holds(state: &FpuState) -> bool {
        let area = percpu::this();
        state.is_held_by(area.cpu(), area.fpu_owner.load(Ordering::Relaxed))
    }

    /// The running context used the FPU while it was not its own: loads its state.
    pub(crate) fn first_use(state: &mut FpuState) {
        let area = percpu::this();
        set_disabled(false);
        // SAFETY: the FPU is on, the state is valid, and the kernel does not use these registers.
        unsafe { fpu_load(&raw const state.registers) };
        area.fpu_owner.store(state.numbered(), Ordering::Relaxed);
        state.loaded_on = Some(area.cpu());
    }

    /// Brings the context's memory up to date, if this CPU's registers are newer. They stay loaded.
    pub(crate) fn save(state: &mut FpuState) {
        if state.unsaved && holds(state) {
            set_disabled(false);
            // SAFETY: the FPU is on and the state is ours to write.
            unsafe { fpu_save(&raw mut state.registers) };
        }
        state.unsaved = false;
    }

    /// Makes FPU instructions trap or not, if it is not so already.
    fn set_disabled(disabled: bool) {
        let area = percpu::this();
        if area.fpu_disabled.swap(disabled, Ordering::Relaxed) == disabled {
            return;
        }
        CPACR_EL1.write(if disabled { CPACR_EL1::FPEN::TrapEl0El1 } else { CPACR_EL1::FPEN::TrapNothing });
        barrier::isb(barrier::SY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_one_that_the_assembly_uses() {
        assert_eq!(core::mem::offset_of!(FpuRegisters, status), 512);
        assert_eq!(core::mem::offset_of!(FpuRegisters, control), 520);
    }

    #[test]
    fn registers_are_current_only_on_the_cpu_that_loaded_them_last_and_for_the_last_owner() {
        let (mut mine, mut other) = (FpuState::new(), FpuState::new());
        let (mine_number, other_number) = (mine.numbered(), other.numbered());
        assert_ne!(mine_number, other_number);
        assert_eq!(mine.numbered(), mine_number);
        mine.loaded_on = Some(CpuId::BOOT);
        assert!(mine.is_held_by(CpuId::BOOT, mine_number));
        assert!(!mine.is_held_by(CpuId::BOOT, other_number), "another thread came between");
        assert!(!mine.is_held_by(CpuId::new(1), mine_number), "the thread has moved since");
        assert!(!FpuState::new().is_held_by(CpuId::BOOT, 0), "a fresh state is nowhere");
    }
}
