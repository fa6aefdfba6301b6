//! What a proof needs of the machine beyond Rust: instructions that must fault, and the floating-point registers.
//!
//! Programs are compiled without floating point, so the registers hold what this module put there.

use core::arch::{asm, x86_64::__cpuid};

/// An address that belongs to the kernel: canonical, upper half.
pub const KERNEL_ADDRESS: usize = 0xffff_ffff_8000_0000;

/// An instruction that only the kernel may execute.
pub fn execute_privileged() {
    // SAFETY: in user mode the instruction faults, and the kernel ends the program.
    unsafe { asm!("hlt", options(nomem, nostack)) };
}

/// Loads a segment from a local descriptor table, as if the program's own memory at 4 KiB were one.
pub fn load_local_descriptor() {
    const LOCAL: u16 = 1 << 2;
    const USER: u16 = 3;
    // SAFETY: without such a table the instruction faults, and the kernel ends the program.
    unsafe { asm!("mov gs, {0:x}", in(reg) 0x1000 | LOCAL | USER, options(nostack)) };
}

/// Divides by zero, which the machine traps.
pub fn divide_by_zero() {
    // SAFETY: the instruction faults, and the kernel ends the program.
    unsafe { asm!("div {0:e}", in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _, options(nomem, nostack)) };
}

/// Bytes of the registers that [`fill`] sets: 8 x87/MMX values and 16 vectors of up to 32 bytes.
const IMAGE_BYTES: usize = X87_BYTES + 16 * 32;
const X87_BYTES: usize = 8 * 8;

/// What the registers hold.
#[repr(C, align(32))]
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
        let mut registers = Self { bytes };
        registers.keep_only_what_exists();
        registers
    }

    /// What a fresh program finds.
    pub const fn clean() -> Self {
        Self { bytes: [0; IMAGE_BYTES] }
    }

    /// Without AVX the upper halves of the vectors do not exist.
    fn keep_only_what_exists(&mut self) {
        if !has_avx() {
            for vector in self.bytes[X87_BYTES..].chunks_mut(32) {
                vector[16..].fill(0);
            }
        }
    }
}

/// Whether CPU and kernel let programs use AVX.
fn has_avx() -> bool {
    const OSXSAVE_AND_AVX: u32 = 1 << 27 | 1 << 28;
    if __cpuid(1).ecx & OSXSAVE_AND_AVX != OSXSAVE_AND_AVX {
        return false;
    }
    let enabled: u32;
    // SAFETY: OSXSAVE says that the instruction is there; it reads which states the kernel has enabled.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") enabled, out("edx") _, options(nomem, nostack)) };
    enabled & 0b110 == 0b110
}

/// Sets the x87/MMX and vector registers.
pub fn fill(registers: &Registers) {
    let image = &raw const registers.bytes;
    // SAFETY: reads the image alone; the compiler uses none of these registers.
    unsafe {
        asm!(
            "movq mm0, [{0}]", "movq mm1, [{0} + 8]", "movq mm2, [{0} + 16]", "movq mm3, [{0} + 24]",
            "movq mm4, [{0} + 32]", "movq mm5, [{0} + 40]", "movq mm6, [{0} + 48]", "movq mm7, [{0} + 56]",
            in(reg) image, options(nostack, readonly),
        );
    }
    if has_avx() { fill_avx(image) } else { fill_sse(image) }
}

fn fill_avx(image: *const [u8; IMAGE_BYTES]) {
    // SAFETY: reads the image alone; `has_avx` was asked; the compiler uses none of these registers.
    unsafe {
        asm!(
            "vmovups ymm0, [{0} + 64]", "vmovups ymm1, [{0} + 96]", "vmovups ymm2, [{0} + 128]",
            "vmovups ymm3, [{0} + 160]", "vmovups ymm4, [{0} + 192]", "vmovups ymm5, [{0} + 224]",
            "vmovups ymm6, [{0} + 256]", "vmovups ymm7, [{0} + 288]", "vmovups ymm8, [{0} + 320]",
            "vmovups ymm9, [{0} + 352]", "vmovups ymm10, [{0} + 384]", "vmovups ymm11, [{0} + 416]",
            "vmovups ymm12, [{0} + 448]", "vmovups ymm13, [{0} + 480]", "vmovups ymm14, [{0} + 512]",
            "vmovups ymm15, [{0} + 544]",
            in(reg) image, options(nostack, readonly),
        );
    }
}

fn fill_sse(image: *const [u8; IMAGE_BYTES]) {
    // SAFETY: reads the image alone; x86_64 has SSE; the compiler uses none of these registers.
    unsafe {
        asm!(
            "movups xmm0, [{0} + 64]", "movups xmm1, [{0} + 96]", "movups xmm2, [{0} + 128]",
            "movups xmm3, [{0} + 160]", "movups xmm4, [{0} + 192]", "movups xmm5, [{0} + 224]",
            "movups xmm6, [{0} + 256]", "movups xmm7, [{0} + 288]", "movups xmm8, [{0} + 320]",
            "movups xmm9, [{0} + 352]", "movups xmm10, [{0} + 384]", "movups xmm11, [{0} + 416]",
            "movups xmm12, [{0} + 448]", "movups xmm13, [{0} + 480]", "movups xmm14, [{0} + 512]",
            "movups xmm15, [{0} + 544]",
            in(reg) image, options(nostack, readonly),
        );
    }
}

/// Reads the registers that [`fill`] sets.
pub fn read() -> Registers {
    let mut registers = Registers::clean();
    let image = &raw mut registers.bytes;
    // SAFETY: writes the image alone.
    unsafe {
        asm!(
            "movq [{0}], mm0", "movq [{0} + 8], mm1", "movq [{0} + 16], mm2", "movq [{0} + 24], mm3",
            "movq [{0} + 32], mm4", "movq [{0} + 40], mm5", "movq [{0} + 48], mm6", "movq [{0} + 56], mm7",
            in(reg) image, options(nostack),
        );
    }
    if has_avx() {
        read_avx(image)
    } else {
        read_sse(image)
    }
    registers
}

fn read_avx(image: *mut [u8; IMAGE_BYTES]) {
    // SAFETY: writes the image alone; `has_avx` was asked.
    unsafe {
        asm!(
            "vmovups [{0} + 64], ymm0", "vmovups [{0} + 96], ymm1", "vmovups [{0} + 128], ymm2",
            "vmovups [{0} + 160], ymm3", "vmovups [{0} + 192], ymm4", "vmovups [{0} + 224], ymm5",
            "vmovups [{0} + 256], ymm6", "vmovups [{0} + 288], ymm7", "vmovups [{0} + 320], ymm8",
            "vmovups [{0} + 352], ymm9", "vmovups [{0} + 384], ymm10", "vmovups [{0} + 416], ymm11",
            "vmovups [{0} + 448], ymm12", "vmovups [{0} + 480], ymm13", "vmovups [{0} + 512], ymm14",
            "vmovups [{0} + 544], ymm15",
            in(reg) image, options(nostack),
        );
    }
}

fn read_sse(image: *mut [u8; IMAGE_BYTES]) {
    // SAFETY: writes the image alone.
    unsafe {
        asm!(
            "movups [{0} + 64], xmm0", "movups [{0} + 96], xmm1", "movups [{0} + 128], xmm2",
            "movups [{0} + 160], xmm3", "movups [{0} + 192], xmm4", "movups [{0} + 224], xmm5",
            "movups [{0} + 256], xmm6", "movups [{0} + 288], xmm7", "movups [{0} + 320], xmm8",
            "movups [{0} + 352], xmm9", "movups [{0} + 384], xmm10", "movups [{0} + 416], xmm11",
            "movups [{0} + 448], xmm12", "movups [{0} + 480], xmm13", "movups [{0} + 512], xmm14",
            "movups [{0} + 544], xmm15",
            in(reg) image, options(nostack),
        );
    }
}

/// Whether the control words have their architectural start values. Asks before anything sets them.
pub fn control_is_clean() -> bool {
    let (mut mxcsr, mut x87): (u32, u16) = (0, 0);
    // SAFETY: the two instructions store to the two variables alone.
    unsafe {
        asm!("stmxcsr [{0}]", "fnstcw [{1}]", in(reg) &raw mut mxcsr, in(reg) &raw mut x87, options(nostack));
    }
    mxcsr == 0x1f80 && x87 == 0x037f
}

/// Sets rounding modes that a fresh program does not have.
pub fn disturb_control() {
    let (mxcsr, x87): (u32, u16) = (0x7f80, 0x0f7f);
    // SAFETY: reads the two variables; both values are valid, every exception stays masked.
    unsafe {
        asm!("ldmxcsr [{0}]", "fldcw [{1}]", in(reg) &raw const mxcsr, in(reg) &raw const x87, options(nostack, readonly));
    }
}
