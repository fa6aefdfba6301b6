//! Traps: from the hardware's vectors to values.
//!
//! The stubs in `stubs.rs` lay every entry's registers down as [`Registers`]. From user mode they lie in the running
//! context and `user::run` goes on; from kernel mode `kernel_trap` is called on the interrupted stack (or an interrupt
//! stack). Interrupts are masked in all of it.

use crate::interrupts;
use crate::percpu;
use crate::segments::{DOUBLE_FAULT_STACK, KERNEL_CODE, MACHINE_CHECK_STACK, NON_MASKABLE_STACK};
use core::fmt;
use core::sync::atomic::Ordering;
use tessera_hal::{Access, Fault, FaultKind, VirtualAddress};

/// The pseudo vector of a system call.
pub const SYSTEM_CALL: u64 = 0x100;

/// Divide error.
const DIVIDE: u64 = 0;
const DEBUG: u64 = 1;
const NON_MASKABLE: u64 = 2;
const BREAKPOINT: u64 = 3;
const OVERFLOW: u64 = 4;
const INVALID_OPCODE: u64 = 6;
/// The FPU was used while CR0.TS is set.
pub const DEVICE_NOT_AVAILABLE: u64 = 7;
const DOUBLE_FAULT: u64 = 8;
const SEGMENT_NOT_PRESENT: u64 = 11;
const STACK_FAULT: u64 = 12;
const GENERAL_PROTECTION: u64 = 13;
const PAGE_FAULT: u64 = 14;
const X87: u64 = 16;
const ALIGNMENT: u64 = 17;
const MACHINE_CHECK: u64 = 18;
const SIMD: u64 = 19;
const FIRST_INTERRUPT: u64 = crate::vectors::FIRST_INTERRUPT as u64;

/// The registers as the stubs lay them down, lowest address first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C, align(16))]
pub struct Registers {
    /// General registers.
    pub r15: u64,
    /// General register.
    pub r14: u64,
    /// General register.
    pub r13: u64,
    /// General register.
    pub r12: u64,
    /// General register.
    pub r11: u64,
    /// General register.
    pub r10: u64,
    /// General register.
    pub r9: u64,
    /// General register.
    pub r8: u64,
    /// General register.
    pub rdi: u64,
    /// General register.
    pub rsi: u64,
    /// General register.
    pub rbp: u64,
    /// General register.
    pub rbx: u64,
    /// General register.
    pub rdx: u64,
    /// General register.
    pub rcx: u64,
    /// General register.
    pub rax: u64,
    /// The vector, or [`SYSTEM_CALL`].
    pub vector: u64,
    /// The error code, or 0.
    pub error: u64,
    /// The interrupted instruction.
    pub rip: u64,
    /// Its code segment.
    pub cs: u64,
    /// Its flags.
    pub rflags: u64,
    /// Its stack pointer.
    pub rsp: u64,
    /// Its stack segment.
    pub ss: u64,
}

// The stubs push 22 words and rely on the processor's alignment of the stack to 16 bytes.
const _: () = assert!(size_of::<Registers>() == 22 * 8);

impl Registers {
    /// Prints them, three a line.
    pub fn dump(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let Self { rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, .. } = self;
        writeln!(out, "  rax {rax:016x}  rbx {rbx:016x}  rcx {rcx:016x}")?;
        writeln!(out, "  rdx {rdx:016x}  rsi {rsi:016x}  rdi {rdi:016x}")?;
        writeln!(out, "  rbp {rbp:016x}  rsp {rsp:016x}  r8  {r8:016x}")?;
        writeln!(out, "  r9  {r9:016x}  r10 {r10:016x}  r11 {r11:016x}")?;
        let Self { r12, r13, r14, r15, rip, rflags, cs, ss, error, .. } = self;
        writeln!(out, "  r12 {r12:016x}  r13 {r13:016x}  r14 {r14:016x}")?;
        writeln!(out, "  r15 {r15:016x}  rip {rip:016x}  flags {rflags:x}")?;
        writeln!(out, "  cs {cs:x}  ss {ss:x}  error {error:x}")
    }
}

/// The fault that a program's trap stands for. `page_fault_address` is CR2.
pub fn user_fault(registers: &Registers, page_fault_address: u64) -> Fault {
    let kind = match registers.vector {
        DIVIDE | OVERFLOW | X87 | SIMD => FaultKind::Arithmetic,
        DEBUG | BREAKPOINT => FaultKind::Debug,
        INVALID_OPCODE => FaultKind::Instruction,
        SEGMENT_NOT_PRESENT | STACK_FAULT | GENERAL_PROTECTION | ALIGNMENT => FaultKind::Protection,
        PAGE_FAULT => page_fault(registers.error),
        other => FaultKind::Other(other as u32),
    };
    Fault {
        kind,
        address: (registers.vector == PAGE_FAULT).then_some(VirtualAddress(page_fault_address as usize)),
        program_counter: VirtualAddress(registers.rip as usize),
    }
}

/// A page fault's error code: bit 0 present, bit 1 store, bit 4 fetch.
fn page_fault(error: u64) -> FaultKind {
    let access = match error {
        code if code & 1 << 4 != 0 => Access::EXECUTE,
        code if code & 1 << 1 != 0 => Access::WRITE,
        _ => Access::READ,
    };
    FaultKind::Page { access, mapped: error & 1 != 0 }
}

/// The last page fault's address on this CPU.
pub(crate) fn page_fault_address() -> u64 {
    let address: u64;
    // SAFETY: reading CR2 has no effect.
    unsafe { core::arch::asm!("mov {}, cr2", out(reg) address, options(nostack, nomem, preserves_flags)) };
    address
}

/// Handles a trap from kernel mode, and non-maskable interrupts and machine checks from any.
pub(crate) extern "C" fn kernel_trap(registers: &mut Registers) {
    match registers.vector {
        NON_MASKABLE => crate::halt::on_non_maskable(),
        FIRST_INTERRUPT.. => interrupts::in_kernel(registers.vector as u8),
        _ => kernel_fault(registers),
    }
}

fn kernel_fault(registers: &mut Registers) -> ! {
    let area = percpu::this();
    area.fault.store(registers, Ordering::Relaxed);
    let rip = registers.rip;
    let address = page_fault_address();
    match registers.vector {
        PAGE_FAULT => panic!("the kernel touched {address:#x} at {rip:#x} (error code {:#x})", registers.error),
        DOUBLE_FAULT => match percpu::stack_around(address as usize) {
            Some((cpu, which, true)) => panic!("the {which:?} stack of CPU {cpu} overflowed at {rip:#x}"),
            _ => panic!("double fault at {rip:#x}"),
        },
        MACHINE_CHECK => panic!("machine check at {rip:#x}"),
        vector => panic!("exception {vector} in the kernel at {rip:#x} (error code {:#x})", registers.error),
    }
}

/// A gate of the interrupt descriptor table: low and high word.
const fn gate(handler: u64, stack: u8, privilege: u8) -> [u64; 2] {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e;
    let kind = PRESENT_INTERRUPT_GATE | (privilege as u64) << 5;
    let low = handler & 0xffff
        | (KERNEL_CODE as u64) << 16
        | (stack as u64) << 32
        | kind << 40
        | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

/// The gate of `vector`: traps that may hit anywhere have their own stacks; only the breakpoint can be called from user mode.
pub(crate) const fn gate_of(vector: usize, handler: u64) -> [u64; 2] {
    let stack = match vector as u64 {
        DOUBLE_FAULT => DOUBLE_FAULT_STACK,
        NON_MASKABLE => NON_MASKABLE_STACK,
        MACHINE_CHECK => MACHINE_CHECK_STACK,
        _ => 0,
    };
    gate(handler, stack, if vector as u64 == BREAKPOINT { 3 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trapped(vector: u64, error: u64) -> Fault {
        user_fault(&Registers { vector, error, rip: 0x20_0000, ..Registers::default() }, 0xdead)
    }

    #[test]
    fn a_page_fault_says_what_was_tried_and_whether_it_was_mapped() {
        let page = |access, mapped| FaultKind::Page { access, mapped };
        assert_eq!(trapped(PAGE_FAULT, 0b0_0100).kind, page(Access::READ, false));
        assert_eq!(trapped(PAGE_FAULT, 0b0_0111).kind, page(Access::WRITE, true));
        assert_eq!(trapped(PAGE_FAULT, 0b1_0101).kind, page(Access::EXECUTE, true));
        assert_eq!(trapped(PAGE_FAULT, 0).address, Some(VirtualAddress(0xdead)));
    }

    #[test]
    fn only_page_faults_carry_an_address() {
        for (vector, kind) in [
            (DIVIDE, FaultKind::Arithmetic),
            (BREAKPOINT, FaultKind::Debug),
            (INVALID_OPCODE, FaultKind::Instruction),
            (GENERAL_PROTECTION, FaultKind::Protection),
            (SIMD, FaultKind::Arithmetic),
            (21, FaultKind::Other(21)),
        ] {
            let fault = trapped(vector, 0);
            assert_eq!((fault.kind, fault.address), (kind, None));
            assert_eq!(fault.program_counter, VirtualAddress(0x20_0000));
        }
    }

    #[test]
    fn gates_hold_the_whole_address_the_stack_and_the_privilege() {
        assert_eq!(gate(0x1122_3344_5566_7788, 3, 0), [0x5566_8e03_0008_7788, 0x1122_3344]);
        assert_eq!(gate_of(BREAKPOINT as usize, 0)[0] >> 40 & 0xff, 0xee);
        assert_eq!(gate_of(DOUBLE_FAULT as usize, 0)[0] >> 32 & 7, u64::from(DOUBLE_FAULT_STACK));
        assert_eq!(gate_of(PAGE_FAULT as usize, 0)[0] >> 32 & 0xff07, 0x8e00);
    }
}
