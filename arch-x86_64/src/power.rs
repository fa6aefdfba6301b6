//! Ending the run: QEMU's debug exit device, else the keyboard controller's reset line, else halt.

use crate::halt;
use tessera_hal::ExitStatus;
use x86_64::instructions::port::Port;

/// `isa-debug-exit`: QEMU ends with status `2 * value + 1`.
const DEBUG_EXIT: u16 = 0xf4;
const SUCCESS: u32 = 0x10;
const FAILURE: u32 = 0x11;
const KEYBOARD_COMMAND: u16 = 0x64;
const PULSE_RESET: u8 = 0xfe;

/// Ends the run with `status`.
pub fn power_off(status: ExitStatus) -> ! {
    let value = match status {
        ExitStatus::Success => SUCCESS,
        ExitStatus::Failure => FAILURE,
    };
    // SAFETY: where the device is absent the write goes nowhere.
    unsafe { Port::<u32>::new(DEBUG_EXIT).write(value) };
    // SAFETY: the machine is to stop; QEMU with -no-reboot ends at a reset.
    unsafe { Port::<u8>::new(KEYBOARD_COMMAND).write(PULSE_RESET) };
    halt::forever()
}
