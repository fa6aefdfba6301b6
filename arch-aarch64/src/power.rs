//! Ending the run: semihosting tells the emulator a status; PSCI turns a machine off that has no emulator under it.

use crate::psci;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};
use tessera_hal::ExitStatus;

const SEMIHOSTING_EXIT: u64 = 0x18;
const APPLICATION_EXIT: u64 = 0x2_0026;

static TURNING_OFF: AtomicBool = AtomicBool::new(false);

/// Whether the run is ending, so that an exception means that semihosting is absent.
pub(crate) fn is_turning_off() -> bool {
    TURNING_OFF.load(Ordering::Relaxed)
}

/// Ends the run. The status reaches the emulator's caller only with semihosting.
pub fn power_off(status: ExitStatus) -> ! {
    let block = [APPLICATION_EXIT, u64::from(status != ExitStatus::Success)];
    TURNING_OFF.store(true, Ordering::Relaxed);
    // SAFETY: the emulator reads the block and ends; without one this is an exception, which ends in `without_emulator`.
    unsafe { asm!("hlt #0xf000", in("x0") SEMIHOSTING_EXIT, in("x1") &raw const block, lateout("x0") _) };
    without_emulator()
}

/// Turns the machine off by PSCI, or stops for good where that is not to be had.
pub(crate) fn without_emulator() -> ! {
    psci::system_off();
    crate::halt::forever()
}
