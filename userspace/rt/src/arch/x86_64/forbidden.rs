//! What no program may do, one instruction each, for programs that try it.
//!
//! Each of [`FORBIDDEN`] must end the program that comes to it. Each of [`HARMLESS`] changes state that a program may
//! change, and that the kernel must not depend on: it enters the kernel so, and comes back.

use super::system_call;
use core::arch::asm;
use tessera_abi::system_call::CAP_ENTER;

/// A function that does one such thing, and its name.
pub type Attempt = (&'static str, fn());

macro_rules! attempts {
    ($($name:literal: $($instruction:literal),+;)*) => {
        [$(($name, {
            fn attempt() {
                // SAFETY: in user mode one of the instructions faults, and the kernel ends the program there. What stands
                // before it changes registers and flags that are named here or that nobody reads afterwards.
                unsafe {
                    asm!(
                        $($instruction),+,
                        out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r11") _,
                    );
                }
            }
            attempt as fn()
        })),*]
    };
}

/// Ends the program with a protection fault or as an instruction that it must not execute.
pub const FORBIDDEN: [Attempt; 35] = attempts! {
    "halt": "hlt";
    "mask interrupts": "cli";
    "unmask interrupts": "sti";
    "read the keyboard's port": "in al, 0x60";
    "write the port that ends the emulator": "mov edx, 0xf4", "xor eax, eax", "out dx, al";
    "write a serial port's bytes": "mov edx, 0x3f8", "lea rsi, [rsp]", "outsb";
    "give itself the right to ports, and use it":
        "pushfq", "or qword ptr [rsp], 0x3000", "popfq", "mov edx, 0x3f8", "in al, dx";
    "read control register 0": "mov rax, cr0";
    "load another page table": "mov rax, 0x200000", "mov cr3, rax";
    "switch protections off": "xor eax, eax", "mov cr4, rax";
    "write debug register 7": "xor eax, eax", "mov dr7, rax";
    "read a machine register": "mov ecx, 0xc0000080", "rdmsr";
    "set the entry of system calls": "mov ecx, 0xc0000082", "xor eax, eax", "xor edx, edx", "wrmsr";
    "load a descriptor table": "push 0", "push 0", "lgdt [rsp]";
    "load an interrupt table": "push 0", "push 0", "lidt [rsp]";
    "load a local table": "xor eax, eax", "lldt ax";
    "load a task": "mov eax, 0x28", "ltr ax";
    "drop a translation": "invlpg [rsp]";
    "take the FPU's trap away": "clts";
    "load the machine's status": "xor eax, eax", "lmsw ax";
    "swap the GS base": "swapgs";
    "set the GS base": "mov rax, -4096", "wrgsbase rax";
    "set the FS base": "mov rax, -4096", "wrfsbase rax";
    "return as the kernel does": "sysretq";
    "return to the kernel's segments":
        "mov rax, rsp", "push 0x10", "push rax", "pushfq", "push 0x08", "lea rcx, [rip]", "push rcx", "iretq";
    "jump to the kernel's code segment": "push 0x08", "lea rcx, [rip]", "push rcx", "retfq";
    "load the kernel's stack segment": "mov eax, 0x10", "mov ss, ax";
    "load an empty stack segment": "xor eax, eax", "mov ss, ax";
    "load a segment behind the table": "mov eax, 0xfffb", "mov gs, ax";
    "load code into a data segment": "mov eax, 0x08", "mov ds, ax";
    "raise the interrupt of page faults": "int 14";
    "raise a device's interrupt": "int 0x20";
    "enter by the other door": "sysenter";
    "step": "pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop";
    "count what others do": "xor ecx, ecx", "rdpmc";
};

/// Must not trouble anybody.
pub const HARMLESS: [Attempt; 6] = [
    ("nested task", || with_flag(1 << 14)),
    ("backwards strings", || with_flag(1 << 10)),
    ("alignment checks", || with_flag(1 << 18)),
    ("the right to ports", || with_flag(3 << 12)),
    ("empty data segments", empty_segments),
    ("kernel addresses in every register", kernel_addresses),
];

/// Enters the kernel with this flag set, and clears it.
fn with_flag(flag: u64) {
    // SAFETY: the flags are put back before anything else depends on them. An empty entry writes no memory.
    unsafe {
        asm!(
            "pushfq", "pushfq", "or [rsp], {flag}", "popfq",
            // Long enough that interrupts come meanwhile.
            "mov ecx, 300000", "2:", "dec ecx", "jnz 2b",
            "syscall", "popfq",
            flag = in(reg) flag,
            inout("rax") CAP_ENTER => _, in("rdi") 0, in("rsi") 0, lateout("rcx") _, lateout("r11") _,
        );
    }
}

fn empty_segments() {
    // SAFETY: in 64-bit mode no access goes through these segments' bases; GS is not used by programs.
    unsafe {
        asm!(
            "xor eax, eax", "mov ds, ax", "mov es, ax", "mov gs, ax",
            "mov ecx, 300000", "2:", "dec ecx", "jnz 2b",
            out("eax") _, out("ecx") _, options(nomem, nostack),
        );
    }
    system_call(CAP_ENTER, 0, 0);
}

fn kernel_addresses() {
    const ADDRESS: u64 = 0xffff_ffff_8020_0000;
    let kept: u64;
    // SAFETY: the kernel keeps every register but three and must not believe any; an empty entry writes no memory.
    unsafe {
        asm!(
            "mov r8, r12", "mov r9, r12", "mov r10, r12", "mov rdx, r12", "mov r13, r12", "mov r14, r12", "mov r15, r12",
            "syscall",
            inout("r12") ADDRESS => kept, inout("rax") CAP_ENTER => _, in("rdi") 0, in("rsi") 0,
            lateout("rcx") _, lateout("r11") _, out("r8") _, out("r9") _, out("r10") _, out("rdx") _,
            out("r13") _, out("r14") _, out("r15") _, options(nostack),
        );
    }
    if kept != ADDRESS {
        crate::exit(97);
    }
}
