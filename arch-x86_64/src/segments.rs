//! Segments: the flat descriptors, the task state with the interrupt stacks, and the system call registers.
//!
//! Each CPU has its own descriptors and task state. The order of the user descriptors is what `sysret` wants.

use crate::percpu::{PerCpu, Stack, stack};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use tessera_hal::VirtualAddress;
use x86_64::registers::model_specific::Msr;

/// The kernel's code segment.
pub const KERNEL_CODE: u16 = 0x08;
/// The kernel's stack segment.
pub const KERNEL_DATA: u16 = 0x10;
/// User mode's stack segment.
pub const USER_DATA: u16 = 0x18 | 3;
/// User mode's code segment.
pub const USER_CODE: u16 = 0x20 | 3;
const TASK_STATE: u16 = 0x28;

/// The index of the interrupt stack that each vector uses, 1 to 7 as the hardware counts.
pub const DOUBLE_FAULT_STACK: u8 = 1;
/// See [`DOUBLE_FAULT_STACK`].
pub const NON_MASKABLE_STACK: u8 = 2;
/// See [`DOUBLE_FAULT_STACK`].
pub const MACHINE_CHECK_STACK: u8 = 3;

const EFER_STAR: u32 = 0xc000_0081;
const EFER_LSTAR: u32 = 0xc000_0082;
const EFER_SFMASK: u32 = 0xc000_0084;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
/// What `syscall` clears: interrupts, trap, direction, nested task, alignment check, I/O privilege.
const SYSTEM_CALL_FLAG_MASK: u64 = 0x4_7700;

/// A CPU's global descriptor table.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Descriptors([AtomicU64; 7]);

impl Descriptors {
    pub(crate) fn new() -> Self {
        let flat =
            [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00cf_f300_0000_ffff, 0x00af_fb00_0000_ffff, 0, 0];
        Self(flat.map(AtomicU64::new))
    }

    fn set_task_state(&self, task_state: &TaskState) {
        let [low, high] = task_state_descriptor(task_state as *const TaskState as u64);
        self.0[5].store(low, Ordering::Relaxed);
        self.0[6].store(high, Ordering::Relaxed);
    }
}

/// An available 64-bit task state segment at `base`.
const fn task_state_descriptor(base: u64) -> [u64; 2] {
    let limit = size_of::<TaskState>() as u64 - 1;
    [limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56, base >> 32]
}

/// A CPU's task state segment, in 32-bit words since its 64-bit fields are not aligned.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct TaskState([AtomicU32; 26]);

impl TaskState {
    pub(crate) fn new() -> Self {
        let words = Self([const { AtomicU32::new(0) }; 26]);
        // The I/O permission map begins behind the limit: no port is allowed.
        words.0[25].store((size_of::<Self>() as u32) << 16, Ordering::Relaxed);
        words
    }

    fn set_word(&self, index: usize, value: u64) {
        self.0[index].store(value as u32, Ordering::Relaxed);
        self.0[index + 1].store((value >> 32) as u32, Ordering::Relaxed);
    }

    /// Where a trap from user mode starts to push.
    pub(crate) fn set_trap_stack(&self, end: u64) {
        self.set_word(1, end);
    }

    fn set_interrupt_stack(&self, index: u8, end: VirtualAddress) {
        self.set_word(7 + 2 * usize::from(index), end.0 as u64);
    }
}

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Loads the CPU's descriptors and its GS base. The first thing a CPU does in Rust; interrupts are masked.
///
/// There is no local descriptor table, and that must be said: after a reset its register covers the first 64 KiB of
/// addresses, which are user mode's to fill, with call gates into the kernel for example.
pub(crate) fn load(area: &'static PerCpu) {
    let cpu = area.cpu();
    area.task_state.set_interrupt_stack(DOUBLE_FAULT_STACK, stack(cpu, Stack::DoubleFault).1);
    area.task_state.set_interrupt_stack(NON_MASKABLE_STACK, stack(cpu, Stack::NonMaskable).1);
    area.task_state.set_interrupt_stack(MACHINE_CHECK_STACK, stack(cpu, Stack::MachineCheck).1);
    area.task_state.set_trap_stack(stack(cpu, Stack::Kernel).1.0 as u64);
    area.descriptors.set_task_state(&area.task_state);
    let pointer = TablePointer {
        limit: size_of::<Descriptors>() as u16 - 1,
        base: &area.descriptors as *const Descriptors as u64,
    };
    // SAFETY: the table is complete, stays for ever, and has the kernel's segments where the selectors say; the null
    // selector is valid for data in long mode. The GS base that the null load clears is set right below.
    unsafe {
        asm!(
            "lgdt [{pointer}]",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ss, {data:e}",
            "xor {scratch:e}, {scratch:e}",
            "mov ds, {scratch:e}",
            "mov es, {scratch:e}",
            "mov fs, {scratch:e}",
            "mov gs, {scratch:e}",
            "lldt {scratch:x}",
            "ltr {task:x}",
            pointer = in(reg) &pointer,
            code = in(reg) u64::from(KERNEL_CODE),
            data = in(reg) u32::from(KERNEL_DATA),
            task = in(reg) TASK_STATE,
            scratch = out(reg) _,
        );
    }
    write_msr(GS_BASE, area as *const PerCpu as u64);
    write_msr(KERNEL_GS_BASE, 0);
    area.started.store(true, Ordering::Release);
}

/// Sets the system call registers of this CPU.
pub(crate) fn enable_system_calls(entry: unsafe extern "C" fn() -> !) {
    let sysret_base = u64::from(KERNEL_DATA);
    write_msr(EFER_STAR, sysret_base << 48 | u64::from(KERNEL_CODE) << 32);
    write_msr(EFER_LSTAR, entry as usize as u64);
    write_msr(EFER_SFMASK, SYSTEM_CALL_FLAG_MASK);
}

fn write_msr(register: u32, value: u64) {
    // SAFETY: the callers in this module write registers of segments and system calls with addresses that stay valid.
    unsafe { Msr::new(register).write(value) };
}

const _: () = assert!(size_of::<TaskState>() == 112, "104 bytes and the alignment");
const _: () =
    assert!(USER_DATA == (KERNEL_DATA + 8) | 3 && USER_CODE == (KERNEL_DATA + 16) | 3, "what sysret computes");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_state_descriptor_carries_its_whole_base() {
        let [low, high] = task_state_descriptor(0x1234_5678_9abc_def0);
        assert_eq!(low, 0x9a00_89bc_def0_006f);
        assert_eq!(high, 0x1234_5678);
    }

    #[test]
    fn no_port_is_allowed_and_stacks_stand_where_the_hardware_looks() {
        let task_state = TaskState::new();
        task_state.set_trap_stack(0x1111_2222_3333_4444);
        task_state.set_interrupt_stack(1, VirtualAddress(0x5555_6666_7777_8888));
        let word = |index: usize| task_state.0[index].load(Ordering::Relaxed);
        assert_eq!((word(1), word(2)), (0x3333_4444, 0x1111_2222), "RSP0 at offset 4");
        assert_eq!((word(9), word(10)), (0x7777_8888, 0x5555_6666), "IST1 at offset 36");
        assert!(word(25) >> 16 >= size_of::<TaskState>() as u32);
    }
}
