//! Ending the run: semihosting tells the emulator a status; PSCI turns a machine off that has no emulator under it.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use tessera_hal::ExitStatus;

/// How the firmware is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// `hvc`.
    Hypervisor,
    /// `smc`.
    SecureMonitor,
}

const PSCI_SYSTEM_OFF: u64 = 0x8400_0008;
const SEMIHOSTING_EXIT: u64 = 0x18;
const APPLICATION_EXIT: u64 = 0x2_0026;

static CONDUIT: AtomicU8 = AtomicU8::new(0);
static TURNING_OFF: AtomicBool = AtomicBool::new(false);

/// Says how the firmware is called. Without it PSCI is not used.
pub fn set_conduit(conduit: Conduit) {
    CONDUIT.store(conduit as u8 + 1, Ordering::Relaxed);
}

/// Whether the run is ending, so that an exception means that semihosting is absent.
pub(crate) fn is_turning_off() -> bool {
    TURNING_OFF.load(Ordering::Relaxed)
}

/// Ends the run. The status reaches the emulator's caller only with semihosting.
pub fn off(status: ExitStatus) -> ! {
    let block = [APPLICATION_EXIT, u64::from(status != ExitStatus::Success)];
    TURNING_OFF.store(true, Ordering::Relaxed);
    // SAFETY: the emulator reads the block and ends; without one this is an exception, which ends in `psci_off`.
    unsafe { asm!("hlt #0xf000", in("x0") SEMIHOSTING_EXIT, in("x1") &raw const block, lateout("x0") _) };
    psci_off()
}

/// Turns the machine off by PSCI, or stops for good where that is not to be had.
pub(crate) fn psci_off() -> ! {
    match CONDUIT.load(Ordering::Relaxed) {
        // SAFETY: SYSTEM_OFF takes no pointers and does not return.
        1 => unsafe { asm!("hvc #0", in("x0") PSCI_SYSTEM_OFF, clobber_abi("C")) },
        // SAFETY: as above.
        2 => unsafe { asm!("smc #0", in("x0") PSCI_SYSTEM_OFF, clobber_abi("C")) },
        _ => {}
    }
    loop {
        aarch64_cpu::asm::wfi();
    }
}
