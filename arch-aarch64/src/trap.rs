//! Exceptions: from the syndrome to values (Arm ARM, ESR_EL1), and the report of the kernel's own faults.

use tessera_hal::{Access, Fault, FaultKind, VirtualAddress};

/// A synchronous exception from EL0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// `svc`.
    SystemCall,
    /// An FP or SIMD instruction while these are off: not the program's fault, the state is loaded lazily.
    FpuOff,
    /// Everything else.
    Fault(Fault),
}

/// Reads ESR, FAR and ELR as they were at the exception.
pub fn decode(syndrome: u64, fault_address: u64, program_counter: u64) -> Cause {
    let class = (syndrome >> 26 & 0x3f) as u32;
    let (kind, has_address) = match class {
        0x15 => return Cause::SystemCall,
        0x07 => return Cause::FpuOff,
        // Unknown, trapped wait, illegal state, trapped system register, SVE, pointer authentication.
        0x00 | 0x01 | 0x09 | 0x0e | 0x18 | 0x19 | 0x1b | 0x1c | 0x1d => (FaultKind::Instruction, false),
        0x20 => abort(syndrome, Access::EXECUTE),
        0x24 if syndrome & (1 << 6) != 0 => abort(syndrome, Access::WRITE),
        0x24 => abort(syndrome, Access::READ),
        0x22 => (FaultKind::Protection, true),
        0x26 => (FaultKind::Protection, false),
        0x2c => (FaultKind::Arithmetic, false),
        0x30 | 0x32 | 0x34 | 0x3c => (FaultKind::Debug, false),
        other => (FaultKind::Other(other), false),
    };
    let address = has_address.then_some(VirtualAddress(fault_address as usize));
    Cause::Fault(Fault { kind, address, program_counter: VirtualAddress(program_counter as usize) })
}

/// The fault status code in the low six bits: translation, access flag and permission faults are about the page.
fn abort(syndrome: u64, access: Access) -> (FaultKind, bool) {
    let kind = match syndrome as u32 & 0x3f {
        0x04..=0x07 => FaultKind::Page { access, mapped: false },
        0x08..=0x0f => FaultKind::Page { access, mapped: true },
        0x00..=0x03 | 0x21 => FaultKind::Protection,
        other => FaultKind::Other(0x100 + other),
    };
    (kind, true)
}

/// A synchronous external abort: nothing answered at a physical address.
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
fn is_unanswered(syndrome: u64) -> bool {
    const DATA_ABORT_OF_KERNEL: u64 = 0x25;
    const EXTERNAL: u64 = 0x10;
    syndrome >> 26 & 0x3f == DATA_ABORT_OF_KERNEL && syndrome & 0x3f == EXTERNAL
}

#[cfg(target_os = "none")]
pub(crate) use report::fatal;

#[cfg(target_os = "none")]
mod report {
    use super::is_unanswered;
    use crate::paging::{Window, physical_of};
    use crate::percpu;
    use crate::user::Registers;
    use crate::{panic, power};
    use aarch64_cpu::registers::{ESR_EL1, FAR_EL1, Readable};
    use core::sync::atomic::Ordering;

    /// The kernel's own fault, on the stack for it.
    pub(crate) extern "C" fn fatal(registers: &mut Registers, vector: u64) -> ! {
        const SYSTEM_ERRORS: u64 = 3;
        if power::is_turning_off() {
            // The emulator has no semihosting: the instruction that asks for it was an exception.
            power::without_emulator();
        }
        let (syndrome, address) = (ESR_EL1.get(), FAR_EL1.get());
        percpu::this().fault.store(registers, Ordering::Relaxed);
        let counter = registers.program_counter;
        if vector % 4 == SYSTEM_ERRORS {
            panic!("the machine reports an error at {counter:#x} (syndrome {syndrome:#x})");
        }
        if is_unanswered(syndrome) && !percpu::this().reporting.load(Ordering::Relaxed) {
            match physical_of(address) {
                Some((Window::Memory, address)) => {
                    panic::fail(&format_args!("nothing answers at {address}, which is memory by the device tree"))
                }
                Some((Window::Devices, address)) => {
                    panic::fail(&format_args!("nothing answers at {address}, where a device is by the device tree"))
                }
                None => {}
            }
        }
        match percpu::stack_around(address as usize) {
            Some((cpu, which, true)) => panic!("the {which:?} stack of CPU {cpu} overflowed at {counter:#x}"),
            _ => {
                panic!("exception {vector} in the kernel at {counter:#x}, syndrome {syndrome:#x}, address {address:#x}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(syndrome: u64) -> FaultKind {
        match decode(syndrome, 0x1000, 0x2000) {
            Cause::Fault(fault) => fault.kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_store_to_an_unmapped_page_says_store_and_where() {
        let cause = decode(0x24 << 26 | 1 << 6 | 0x05, 0xdead_b000, 0x20_0010);
        let Cause::Fault(fault) = cause else { panic!("{cause:?}") };
        assert_eq!(fault.kind, FaultKind::Page { access: Access::WRITE, mapped: false });
        assert_eq!(fault.address, Some(VirtualAddress(0xdead_b000)));
        assert_eq!(fault.program_counter, VirtualAddress(0x20_0010));
    }

    #[test]
    fn permission_faults_are_about_mapped_pages() {
        assert_eq!(kind(0x24 << 26 | 0x0f), FaultKind::Page { access: Access::READ, mapped: true });
        assert_eq!(kind(0x20 << 26 | 0x0f), FaultKind::Page { access: Access::EXECUTE, mapped: true });
    }

    #[test]
    fn system_calls_and_lazy_fpu_are_no_faults() {
        assert_eq!(decode(0x15 << 26, 0, 0), Cause::SystemCall);
        assert_eq!(decode(0x07 << 26, 0, 0), Cause::FpuOff);
    }

    #[test]
    fn other_classes_are_told_apart() {
        assert_eq!(kind(0), FaultKind::Instruction);
        assert_eq!(kind(0x18 << 26), FaultKind::Instruction);
        assert_eq!(kind(0x3c << 26), FaultKind::Debug);
        assert_eq!(kind(0x2c << 26), FaultKind::Arithmetic);
        assert_eq!(kind(0x24 << 26 | 0x21), FaultKind::Protection);
        assert_eq!(kind(0x2f << 26), FaultKind::Other(0x2f));
    }

    #[test]
    fn only_an_external_abort_of_the_kernel_means_that_nothing_answered() {
        assert!(is_unanswered(0x25 << 26 | 0x10));
        assert!(!is_unanswered(0x25 << 26 | 0x05), "a translation fault");
        assert!(!is_unanswered(0x24 << 26 | 0x10), "a program's");
    }
}
