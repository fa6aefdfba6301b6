//! What a proof needs of the machine beyond Rust: instructions that must fault, and the floating-point registers.
//!
//! Programs are compiled without floating point, so the registers hold what this module put there.

use core::arch::asm;

/// An address that belongs to the kernel: upper half.
pub const KERNEL_ADDRESS: usize = 0xffff_ffff_8000_0000;

/// An instruction that only the kernel may execute.
pub fn execute_privileged() {
    // SAFETY: in user mode the instruction faults, and the kernel ends the program.
    unsafe { asm!("msr daifset, #2", "mrs {0}, vbar_el1", out(reg) _, options(nomem, nostack)) };
}

/// This machine has no segments, so the proof takes an undefined instruction.
pub fn load_local_descriptor() {
    // SAFETY: the instruction faults, and the kernel ends the program.
    unsafe { asm!("udf #0", options(nomem, nostack)) };
}

/// This machine divides by zero without a trap, so the proof takes an undefined instruction.
pub fn divide_by_zero() {
    // SAFETY: the instruction faults, and the kernel ends the program.
    unsafe { asm!("udf #0", options(nomem, nostack)) };
}

const IMAGE_BYTES: usize = 32 * 16;

/// What the registers hold.
#[repr(C, align(16))]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    bytes: [u8; IMAGE_BYTES],
}

impl Registers {
    /// A pattern that differs for each `seed` and in each register.
    pub fn pattern(seed: u32) -> Self {
        let mut bytes = [0; IMAGE_BYTES];
        for (place, byte) in (0u32..).zip(&mut bytes) {
            *byte = (place.wrapping_mul(37) ^ seed.wrapping_mul(0x9e37_79b9).rotate_right(place % 32)) as u8;
        }
        Self { bytes }
    }

    /// What a fresh program finds.
    pub const fn clean() -> Self {
        Self { bytes: [0; IMAGE_BYTES] }
    }
}

/// Sets the vector registers.
pub fn fill(registers: &Registers) {
    // SAFETY: reads the image alone; the compiler uses none of these registers.
    unsafe {
        asm!(
            ".arch_extension fp", ".arch_extension simd",
            "ldp q0, q1, [{0}]", "ldp q2, q3, [{0}, 32]", "ldp q4, q5, [{0}, 64]", "ldp q6, q7, [{0}, 96]",
            "ldp q8, q9, [{0}, 128]", "ldp q10, q11, [{0}, 160]", "ldp q12, q13, [{0}, 192]",
            "ldp q14, q15, [{0}, 224]", "ldp q16, q17, [{0}, 256]", "ldp q18, q19, [{0}, 288]",
            "ldp q20, q21, [{0}, 320]", "ldp q22, q23, [{0}, 352]", "ldp q24, q25, [{0}, 384]",
            "ldp q26, q27, [{0}, 416]", "ldp q28, q29, [{0}, 448]", "ldp q30, q31, [{0}, 480]",
            in(reg) &raw const registers.bytes, options(nostack, readonly),
        );
    }
}

/// Reads the registers that [`fill`] sets.
pub fn read() -> Registers {
    let mut registers = Registers::clean();
    // SAFETY: writes the image alone.
    unsafe {
        asm!(
            ".arch_extension fp", ".arch_extension simd",
            "stp q0, q1, [{0}]", "stp q2, q3, [{0}, 32]", "stp q4, q5, [{0}, 64]", "stp q6, q7, [{0}, 96]",
            "stp q8, q9, [{0}, 128]", "stp q10, q11, [{0}, 160]", "stp q12, q13, [{0}, 192]",
            "stp q14, q15, [{0}, 224]", "stp q16, q17, [{0}, 256]", "stp q18, q19, [{0}, 288]",
            "stp q20, q21, [{0}, 320]", "stp q22, q23, [{0}, 352]", "stp q24, q25, [{0}, 384]",
            "stp q26, q27, [{0}, 416]", "stp q28, q29, [{0}, 448]", "stp q30, q31, [{0}, 480]",
            in(reg) &raw mut registers.bytes, options(nostack),
        );
    }
    registers
}

/// Whether the control register has its start value. Asks before anything sets it.
pub fn control_is_clean() -> bool {
    let control: u64;
    // SAFETY: reading the register has no effect.
    unsafe { asm!("mrs {}, s3_3_c4_c4_0", out(reg) control, options(nomem, nostack)) };
    control == 0
}

/// Sets a rounding mode that a fresh program does not have.
pub fn disturb_control() {
    // SAFETY: sets the rounding mode; every trap stays disabled.
    unsafe { asm!("msr s3_3_c4_c4_0, {}", in(reg) 0b11_u64 << 22, options(nomem, nostack)) };
}
