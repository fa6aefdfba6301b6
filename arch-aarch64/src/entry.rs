//! From the boot loader to Rust: the Linux `Image` header, EL2 to EL1, the first translation tables, the stack.
//!
//! The image is linked for the start of RAM plus 2 MiB, in the last 2 GiB of the address space. It is entered at its
//! physical address with translation off and `x0` = the device tree's physical address, or 0 if the loader does not say
//! (QEMU with an ELF file puts the tree at the start of RAM). The tables here map 1 GiB blocks and are used until
//! [`crate::memory`] has built the real ones.
//!
//! The platform provides `tessera_main(device_tree: u64) -> !`, entered with interrupts masked.

use core::arch::global_asm;

/// MAIR: normal write-back memory, device memory without gathering and reordering.
const MEMORY_TYPES: u64 = 0x04ff;
/// TCR: 48 bits and 4 KiB for both halves, walks inner-shareable and cached. The physical size is read from the CPU.
const TRANSLATION: u64 = 16 | 1 << 8 | 1 << 10 | 3 << 12 | 16 << 16 | 1 << 24 | 1 << 26 | 3 << 28 | 2 << 30;
/// SCTLR: translation, data cache, stack alignment at EL1 and EL0, instruction cache; user mode may use `dc zva`, read
/// the cache type and maintain caches; waits of user mode do not trap.
const CONTROL: u64 = 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 26;

global_asm!(
    r#"
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
2:
    mov     x20, x0
    mrs     x1, currentel
    cmp     x1, #(2 << 2)
    b.ne    3f

    mov     x1, #(1 << 31)
    msr     hcr_el2, x1
    mrs     x1, cnthctl_el2
    orr     x1, x1, #3
    msr     cnthctl_el2, x1
    msr     cntvoff_el2, xzr
    mov     x1, #0x33ff
    msr     cptr_el2, x1
    mrs     x1, id_aa64pfr0_el1
    ubfx    x1, x1, #24, #4
    cbz     x1, 4f
    mrs     x1, s3_4_c12_c9_5
    mov     x2, #9
    orr     x1, x1, x2
    msr     s3_4_c12_c9_5, x1
    isb
4:  mov     x1, #0x0800
    movk    x1, #0x30d0, lsl #16
    msr     sctlr_el1, x1
    mov     x1, #0x3c5
    msr     spsr_el2, x1
    adr     x1, 3f
    msr     elr_el2, x1
    eret

3:  msr     daifset, #0xf
    msr     spsel, #1
    adrp    x1, boot_tables
    msr     ttbr0_el1, x1
    add     x1, x1, #0x2000
    msr     ttbr1_el1, x1
    ldr     x1, ={memory_types}
    msr     mair_el1, x1
    ldr     x1, ={translation}
    mrs     x2, id_aa64mmfr0_el1
    and     x2, x2, #7
    cmp     x2, #5
    mov     x3, #5
    csel    x2, x2, x3, lo
    bfi     x1, x2, #32, #3
    msr     tcr_el1, x1
    dsb     ish
    tlbi    vmalle1
    dsb     ish
    isb
    mrs     x1, sctlr_el1
    ldr     x2, ={control}
    orr     x1, x1, x2
    msr     sctlr_el1, x1
    isb

    ldr     x1, =__boot_stack_top
    mov     sp, x1
    ldr     x1, =__bss_start
    ldr     x2, =__bss_end
5:  cmp     x1, x2
    b.hs    6f
    stp     xzr, xzr, [x1], #16
    b       5b
6:  mov     x0, x20
    mov     x29, xzr
    mov     x30, xzr
    ldr     x1, =tessera_main
    br      x1
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
"#,
    memory_types = const MEMORY_TYPES,
    translation = const TRANSLATION,
    control = const CONTROL,
    to_physical = const 0xffff_ffff_4000_0000_u64,
);
