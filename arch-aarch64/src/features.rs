//! What this CPU offers, and the control registers that follow from it.
//!
//! Each CPU sets itself up by its own answers, but for the width of address space identifiers, which must be one for all:
//! the boot CPU's.

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{
    CNTKCTL_EL1, CPACR_EL1, ID_AA64DFR0_EL1, ID_AA64ISAR0_EL1, ID_AA64MMFR1_EL1, MDSCR_EL1, Readable, SCTLR_EL1,
    Writeable,
};
use core::arch::asm;
use core::fmt;
use spin::Once;

bitflags::bitflags! {
    /// The features that the kernel looks for.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Features: u32 {
        /// The kernel cannot touch user pages by accident.
        const PRIVILEGED_ACCESS_NEVER = 1 << 0;
        /// Unprivileged loads and stores can be overridden. The kernel has none; it is kept off.
        const USER_ACCESS_OVERRIDE = 1 << 1;
        /// A source of random numbers.
        const RANDOM = 1 << 2;
        /// Performance counters, which user mode must not have.
        const COUNTERS = 1 << 3;
    }
}

static FEATURES: Once<Features> = Once::new();

/// What the boot CPU offers.
pub fn features() -> Features {
    *FEATURES.call_once(detect)
}

fn detect() -> Features {
    // PAN stands in bits 23:20 of MMFR1; UAO in bits 7:4 of MMFR2, for which the register crate has no field.
    let user_access_override: u64;
    // SAFETY: reading an identification register has no effect.
    unsafe { asm!("mrs {}, id_aa64mmfr2_el1", out(reg) user_access_override, options(nomem, nostack)) };
    let counters = ID_AA64DFR0_EL1.read(ID_AA64DFR0_EL1::PMUVer);
    let offered = [
        (Features::PRIVILEGED_ACCESS_NEVER, ID_AA64MMFR1_EL1.get() >> 20 & 0xf != 0),
        (Features::USER_ACCESS_OVERRIDE, user_access_override >> 4 & 0xf != 0),
        (Features::RANDOM, ID_AA64ISAR0_EL1.read(ID_AA64ISAR0_EL1::RNDR) != 0),
        (Features::COUNTERS, counters != 0 && counters != 0xf),
    ];
    offered.into_iter().filter(|(_, present)| *present).map(|(feature, _)| feature).collect()
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            [(Self::PRIVILEGED_ACCESS_NEVER, "PAN"), (Self::USER_ACCESS_OVERRIDE, "UAO"), (Self::RANDOM, "RNDR")];
        write!(f, "PXN")?;
        for (_, name) in names.into_iter().filter(|(feature, _)| self.contains(*feature)) {
            write!(f, " {name}")?;
        }
        Ok(())
    }
}

/// Sets this CPU's control registers: no access to user pages from the kernel, now and at each exception; user mode may
/// read the virtual counter but program no timer, count no events and be stepped by nobody.
pub fn enable() {
    let features = detect();
    CPACR_EL1.write(CPACR_EL1::FPEN::TrapEl0El1);
    CNTKCTL_EL1.write(CNTKCTL_EL1::EL0VCTEN::SET);
    MDSCR_EL1.set(0);
    if features.contains(Features::PRIVILEGED_ACCESS_NEVER) {
        // SPAN clear: each exception sets PAN.
        SCTLR_EL1.set(SCTLR_EL1.get() & !(1 << 23));
        // SAFETY: the kernel touches no user page by its user address. `msr pan, #1`; the CPU has it.
        unsafe { asm!(".inst 0xd500419f", options(nostack)) };
    }
    if features.contains(Features::COUNTERS) {
        // SAFETY: the register exists where there are counters; user mode loses access.
        unsafe { asm!("msr pmuserenr_el0, xzr", options(nomem, nostack)) };
    }
    barrier::isb(barrier::SY);
}
