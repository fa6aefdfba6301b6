//! From the boot loader, or from PSCI, to Rust: the Linux `Image` header, EL2 to EL1, the first translation tables, the
//! stack.
//!
//! The image is linked for the start of RAM plus 2 MiB, in the last 2 GiB of the address space. It is entered at its
//! physical address with translation off and `x0` = the device tree's physical address, or 0 if the loader does not say
//! (QEMU with an ELF file puts the tree at the start of RAM). The tables here map 1 GiB blocks and are used until
//! [`crate::paging`] has built the real ones; the low half of them also serves each secondary CPU for the moment in
//! which it turns translation on.
//!
//! The platform provides `platform_start(device_tree: u64) -> !`, entered with everything masked.

use crate::paging::STACKS;
use crate::percpu::{KERNEL_STACK_END, STACK_SLOT};
use core::arch::global_asm;
use tessera_hal::PhysicalAddress;

/// Bytes of the stack on which the kernel boots, before its guarded stack is mapped.
pub const BOOT_STACK_BYTES: usize = 64 * 1024;
/// MAIR: normal write-back memory, device memory without gathering and reordering.
const MEMORY_TYPES: u64 = 0x04ff;
/// TCR: 48 bits and 4 KiB for both halves, walks inner-shareable and cached. The physical size and the width of address
/// space identifiers are read from the CPU.
const TRANSLATION: u64 = 16 | 1 << 8 | 1 << 10 | 3 << 12 | 16 << 16 | 1 << 24 | 1 << 26 | 3 << 28 | 2 << 30;
/// SCTLR, the bits that are always one: what newer CPUs made switches of is as on older ones.
const CONTROL_FIXED: u64 = 0x30d0_0800;
/// SCTLR: translation, data cache, stack alignment at EL1 and EL0, instruction cache; user mode may use `dc zva`, read
/// the cache type and maintain caches; waits of user mode do not trap.
const CONTROL: u64 =
    CONTROL_FIXED | 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 26;

global_asm!(
    r#"
// At EL2 (a machine with virtualisation): EL1 gets all of the CPU. Uses x1 and x2.
.macro ENTER_EL1
    mrs     x1, currentel
    cmp     x1, #(2 << 2)
    b.ne    8f
    mov     x1, #(1 << 31)
    msr     hcr_el2, x1
    mrs     x1, midr_el1
    msr     vpidr_el2, x1
    mrs     x1, mpidr_el1
    msr     vmpidr_el2, x1
    mov     x1, #3
    msr     cnthctl_el2, x1
    msr     cntvoff_el2, xzr
    mov     x1, #0x33ff
    msr     cptr_el2, x1
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    // All event counters belong to EL1, where there are any.
    mrs     x1, id_aa64dfr0_el1
    sbfx    x1, x1, #8, #4
    cmp     x1, #1
    b.lt    5f
    mrs     x1, pmcr_el0
    ubfx    x1, x1, #11, #5
    msr     mdcr_el2, x1
5:  // No fine-grained traps, where there could be some.
    mrs     x1, id_aa64mmfr0_el1
    ubfx    x1, x1, #56, #4
    cbz     x1, 6f
    msr     s3_4_c1_c1_4, xzr
    msr     s3_4_c1_c1_5, xzr
    msr     s3_4_c1_c1_6, xzr
    msr     s3_4_c3_c1_4, xzr
    msr     s3_4_c3_c1_5, xzr
6:  // The interrupt controller's registers, where they are system registers.
    mrs     x1, id_aa64pfr0_el1
    ubfx    x1, x1, #24, #4
    cbz     x1, 7f
    mrs     x1, s3_4_c12_c9_5
    mov     x2, #9
    orr     x1, x1, x2
    msr     s3_4_c12_c9_5, x1
    isb
    msr     s3_4_c12_c11_0, xzr
7:  ldr     x1, ={control_fixed}
    msr     sctlr_el1, x1
    mov     x1, #0x3c5
    msr     spsr_el2, x1
    adr     x1, 8f
    msr     elr_el2, x1
    eret
8:  msr     daifset, #0xf
    msr     spsel, #1
.endm

// Turns translation on. x1: the upper half's root. Uses x1 to x3.
.macro TRANSLATE
    msr     ttbr1_el1, x1
    adrp    x1, boot_tables
    msr     ttbr0_el1, x1
    ldr     x1, ={memory_types}
    msr     mair_el1, x1
    ldr     x1, ={translation}
    mrs     x2, id_aa64mmfr0_el1
    ubfx    x3, x2, #4, #4
    cmp     x3, #2
    cset    x3, eq
    bfi     x1, x3, #36, #1
    and     x2, x2, #7
    cmp     x2, #5
    mov     x3, #5
    csel    x2, x2, x3, lo
    bfi     x1, x2, #32, #3
    msr     tcr_el1, x1
    dsb     ish
    tlbi    vmalle1
    dsb     nsh
    isb
    ldr     x1, ={control}
    msr     sctlr_el1, x1
    isb
.endm

.section .text.boot, "ax"
.global _start
_start:
    b       2f
    .long   0
    .quad   0x200000
    .quad   __image_end - _start
    .quad   2
    .quad   0
    .quad   0
    .quad   0
    .ascii  "ARM\x64"
    .long   0
2:  mov     x20, x0
    ENTER_EL1
    adrp    x1, boot_tables + 0x2000
    TRANSLATE
    ldr     x1, =boot_stack + {stack_bytes}
    mov     sp, x1
    ldr     x1, =__bss_start
    ldr     x2, =__bss_end
3:  cmp     x1, x2
    b.hs    4f
    stp     xzr, xzr, [x1], #16
    b       3b
4:  mov     x0, x20
    mov     x29, xzr
    mov     x30, xzr
    ldr     x1, =platform_start
    br      x1

// x0: the physical address of the kernel's root table, and in its low bits the CPU's number.
.global secondary_entry
secondary_entry:
    mov     x20, x0
    ENTER_EL1
    bic     x1, x20, #0xfff
    TRANSLATE
    and     x0, x20, #0xfff
    ldr     x1, ={stacks} + {kernel_stack_end}
    mov     x2, #{stack_slot}
    madd    x1, x0, x2, x1
    mov     sp, x1
    mov     x29, xzr
    mov     x30, xzr
    ldr     x1, ={secondary_start}
    br      x1

// x0: the new root of the upper half, x1: an empty one. Entered at its low address, since for a moment there is no upper
// half: two translations of one address, by blocks and by pages, must never be cached together.
.global replace_upper_half
replace_upper_half:
    msr     ttbr1_el1, x1
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    msr     ttbr1_el1, x0
    isb
    ret
    .ltorg

// Low half, identity: devices in the first GiB, RAM in the second. High half: the direct map's and the image's GiB of
// RAM, and the devices. The addresses of the tables are physical: virtual - 0xffffffff80000000 + 0x40000000.
.section .data.boot_tables, "aw"
.balign 4096
boot_tables:
    .quad   boot_tables + 0x1000 - {to_physical} + 3
    .fill   511, 8, 0
    .quad   0x0060000000000405
    .quad   0x0040000040000701
    .fill   510, 8, 0
    .quad   boot_tables + 0x3000 - {to_physical} + 3
    .fill   447, 8, 0
    .quad   boot_tables + 0x4000 - {to_physical} + 3
    .fill   62, 8, 0
    .quad   boot_tables + 0x5000 - {to_physical} + 3
    .quad   0
    .quad   0x0060000040000701
    .fill   510, 8, 0
    .quad   0x0060000000000405
    .fill   511, 8, 0
    .fill   510, 8, 0
    .quad   0x0040000040000701
    .quad   0

.section .bss.boot_stack, "aw", @nobits
.balign 4096
.global boot_stack
boot_stack:
    .skip   {stack_bytes}
"#,
    memory_types = const MEMORY_TYPES,
    translation = const TRANSLATION,
    control_fixed = const CONTROL_FIXED,
    control = const CONTROL,
    to_physical = const TO_PHYSICAL as u64,
    stack_bytes = const BOOT_STACK_BYTES,
    stacks = const STACKS as u64,
    stack_slot = const STACK_SLOT,
    kernel_stack_end = const KERNEL_STACK_END,
    secondary_start = sym crate::secondary::secondary_start,
);

/// The difference between an image address and its physical address.
const TO_PHYSICAL: usize = crate::paging::KERNEL_BASE - crate::paging::RAM_BASE as usize;

unsafe extern "C" {
    static boot_stack: u8;
    fn secondary_entry();
    fn replace_upper_half(root: u64, empty: u64);
}

/// The stack on which the kernel boots.
pub(crate) fn boot_stack_range() -> core::ops::Range<usize> {
    let start = &raw const boot_stack as usize;
    start..start + BOOT_STACK_BYTES
}

/// Where PSCI starts a CPU.
pub(crate) fn secondary_address() -> u64 {
    (secondary_entry as *const () as usize - TO_PHYSICAL) as u64
}

/// Replaces the upper half of this CPU's translations.
///
/// # Safety
/// On the entry code's tables, with everything masked. `root` must map the image and the stack where they are mapped now,
/// and `empty` nothing.
pub(crate) unsafe fn replace_tables(root: PhysicalAddress, empty: PhysicalAddress) {
    let low = replace_upper_half as *const () as usize - TO_PHYSICAL;
    // SAFETY: the entry code's low half maps the code at its physical address; the signature is the function's own.
    let replace = unsafe { core::mem::transmute::<usize, unsafe extern "C" fn(u64, u64)>(low) };
    // SAFETY: the caller's promise; the function touches no memory but its own instructions.
    unsafe { replace(root.0, empty.0) };
}
