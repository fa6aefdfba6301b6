//! What this CPU offers, from CPUID, and the control registers that follow from it.
//!
//! The boot CPU's answer is taken for all: a machine whose CPUs differ in these is not supported.

use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::fmt;
use spin::Once;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::{Efer, EferFlags};

bitflags::bitflags! {
    /// The features that the kernel looks for.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Features: u32 {
        /// Pages that cannot be executed.
        const NO_EXECUTE = 1 << 0;
        /// The kernel cannot execute user pages.
        const SMEP = 1 << 1;
        /// The kernel cannot touch user pages by accident.
        const SMAP = 1 << 2;
        /// User mode cannot read descriptor table addresses.
        const UMIP = 1 << 3;
        /// Pages of 1 GiB.
        const GIANT_PAGES = 1 << 4;
        /// Translations that survive a root load.
        const GLOBAL_PAGES = 1 << 5;
        /// FPU state is saved by XSAVE, else by FXSAVE.
        const XSAVE = 1 << 6;
        /// XSAVEOPT skips what did not change.
        const XSAVEOPT = 1 << 7;
        /// RDTSCP, with the CPU number in TSC_AUX.
        const RDTSCP = 1 << 8;
        /// RDRAND.
        const RDRAND = 1 << 9;
        /// Machine checks are an exception; without it they reset the machine.
        const MACHINE_CHECK = 1 << 10;
    }
}

static FEATURES: Once<Features> = Once::new();

/// What the boot CPU offers.
pub fn features() -> Features {
    *FEATURES.call_once(detect)
}

fn detect() -> Features {
    let highest = __cpuid(0).eax;
    let extended = __cpuid(0x8000_0000).eax;
    let basic = __cpuid(1);
    let structured = (highest >= 7).then(|| __cpuid_count(7, 0));
    let more = (extended >= 0x8000_0001).then(|| __cpuid(0x8000_0001));
    let xsave = basic.ecx & 1 << 26 != 0 && highest >= 0xd;
    let bit = |register: u32, index: u32| register & 1 << index != 0;
    let offered = [
        (Features::NO_EXECUTE, more.is_some_and(|leaf| bit(leaf.edx, 20))),
        (Features::SMEP, structured.is_some_and(|leaf| bit(leaf.ebx, 7))),
        (Features::SMAP, structured.is_some_and(|leaf| bit(leaf.ebx, 20))),
        (Features::UMIP, structured.is_some_and(|leaf| bit(leaf.ecx, 2))),
        (Features::GIANT_PAGES, more.is_some_and(|leaf| bit(leaf.edx, 26))),
        (Features::GLOBAL_PAGES, bit(basic.edx, 13)),
        (Features::XSAVE, xsave),
        (Features::XSAVEOPT, xsave && bit(__cpuid_count(0xd, 1).eax, 0)),
        (Features::RDTSCP, more.is_some_and(|leaf| bit(leaf.edx, 27))),
        (Features::RDRAND, bit(basic.ecx, 30)),
        (Features::MACHINE_CHECK, bit(basic.edx, 7)),
    ];
    offered.into_iter().filter(|(_, present)| *present).map(|(feature, _)| feature).collect()
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::NO_EXECUTE, "NX"),
            (Self::SMEP, "SMEP"),
            (Self::SMAP, "SMAP"),
            (Self::UMIP, "UMIP"),
            (Self::GIANT_PAGES, "1G"),
            (Self::XSAVE, "XSAVE"),
            (Self::RDTSCP, "RDTSCP"),
        ];
        let mut separator = "";
        for (_, name) in names.into_iter().filter(|(feature, _)| self.contains(*feature)) {
            write!(f, "{separator}{name}")?;
            separator = " ";
        }
        Ok(())
    }
}

/// Sets this CPU's control registers: write protection, no-execute, the protections against user pages, machine checks
/// as exceptions, and the FPU's save area. CR4.FSGSBASE stays off: user mode must not be able to choose a GS base.
pub fn enable() {
    let features = features();
    let mut cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION | Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE;
    let optional = [
        (Features::GLOBAL_PAGES, Cr4Flags::PAGE_GLOBAL),
        (Features::SMEP, Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION),
        (Features::SMAP, Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION),
        (Features::UMIP, Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION),
        (Features::XSAVE, Cr4Flags::OSXSAVE),
        (Features::MACHINE_CHECK, Cr4Flags::MACHINE_CHECK_EXCEPTION),
    ];
    for (_, flag) in optional.into_iter().filter(|(feature, _)| features.contains(*feature)) {
        cr4 |= flag;
    }
    let efer = Efer::read() | EferFlags::SYSTEM_CALL_EXTENSIONS;
    let efer = if features.contains(Features::NO_EXECUTE) { efer | EferFlags::NO_EXECUTE_ENABLE } else { efer };
    // SAFETY: long mode stays on; no-execute is offered when it is set.
    unsafe { Efer::write(efer) };
    // SAFETY: paging stays as it is; each optional bit is offered by this CPU; the kernel neither runs nor touches
    // user pages through the loaded tables.
    unsafe { Cr4::write(cr4) };
    let cr0 = Cr0Flags::PROTECTED_MODE_ENABLE
        | Cr0Flags::PAGING
        | Cr0Flags::WRITE_PROTECT
        | Cr0Flags::NUMERIC_ERROR
        | Cr0Flags::MONITOR_COPROCESSOR
        | Cr0Flags::EXTENSION_TYPE
        | Cr0Flags::TASK_SWITCHED;
    // SAFETY: protected mode and paging stay on; the kernel is soft-float, so that TS stops user mode only.
    unsafe { Cr0::write(cr0) };
}
