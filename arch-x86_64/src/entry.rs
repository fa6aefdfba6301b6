//! The PVH entry: 32-bit protected mode without paging, to long mode in the upper half.
//!
//! The loader finds the entry through the ELF note (type 18, eight-byte descriptor) and passes the start_info's
//! physical address in `ebx`. The stub builds temporary tables that map the first 4 GiB at 0 and in the direct map, and
//! the first GiB at -2 GiB, and calls `platform_start` on the boot stack. Only this code is linked low; nothing of it
//! is used again once the kernel has its own tables.

use core::arch::global_asm;

/// Bytes of the stack on which the kernel boots, before its guarded stack is mapped.
pub const BOOT_STACK_BYTES: usize = 64 * 1024;

global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .balign 4
    .long 4
    .long 8
    .long 18
    .asciz "Xen"
    .quad pvh_start

    .section .boot.text, "ax", @progbits
    .code32
    .global pvh_start
pvh_start:
    cli
    cld
    movl $boot_low_stack_top, %esp
    movl %ebx, %ebp
    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb boot_no_long_mode
    movl $0x80000001, %eax
    cpuid
    btl $29, %edx
    jnc boot_no_long_mode

    movl $boot_directory, %edi
    movl $0x83, %eax
    xorl %edx, %edx
    movl $2048, %ecx
2:  movl %eax, (%edi)
    movl %edx, 4(%edi)
    addl $0x200000, %eax
    adcl $0, %edx
    addl $8, %edi
    decl %ecx
    jnz 2b
    movl $boot_directory + 0x0003, %eax
    movl %eax, boot_pointers
    movl %eax, boot_pointers_image + 510 * 8
    addl $0x1000, %eax
    movl %eax, boot_pointers + 8
    addl $0x1000, %eax
    movl %eax, boot_pointers + 16
    addl $0x1000, %eax
    movl %eax, boot_pointers + 24
    movl $boot_pointers + 3, %eax
    movl %eax, boot_root
    movl %eax, boot_root + 256 * 8
    movl $boot_pointers_image + 3, %eax
    movl %eax, boot_root + 511 * 8

    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl $boot_root, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80010001, %eax
    movl %eax, %cr0
    lgdt boot_gdt_pointer
    ljmpl $8, $boot_long_mode

boot_no_long_mode:
    movl $boot_no_long_mode_text, %esi
3:  lodsb
    testb %al, %al
    jz 4f
    movw $0x3f8, %dx
    outb %al, %dx
    jmp 3b
4:  movl $0x11, %eax
    movw $0xf4, %dx
    outl %eax, %dx
5:  hlt
    jmp 5b
boot_no_long_mode_text:
    .asciz "\r\ntessera: error: this CPU has no 64-bit mode\r\n"

    .code64
boot_long_mode:
    movl $0x10, %eax
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movabsq $boot_stack + {stack_bytes}, %rsp
    movl %ebp, %edi
    xorl %ebp, %ebp
    pushq $0
    movabsq $platform_start, %rax
    jmpq *%rax

    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
boot_gdt_pointer:
    .word 23
    .long boot_gdt

    .section .boot.bss, "aw", @nobits
    .balign 4096
boot_root:
    .skip 4096
boot_pointers:
    .skip 4096
boot_pointers_image:
    .skip 4096
boot_directory:
    .skip 4 * 4096
    .skip 64
boot_low_stack_top:

    .section .bss, "aw", @nobits
    .balign 4096
    .global boot_stack
boot_stack:
    .skip {stack_bytes}
    .text
"#,
    stack_bytes = const BOOT_STACK_BYTES,
    options(att_syntax)
);
