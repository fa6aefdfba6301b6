//! Decoding of the exception syndrome: why EL0 was left.

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
}
