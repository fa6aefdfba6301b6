//! A panic prints where and why, and ends the program.

use crate::PANIC_EXIT_CODE;
use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // If the panic came in the middle of a call the ring is taken, and the line is lost; the exit code is not.
    crate::println!("{info}");
    crate::exit(PANIC_EXIT_CODE)
}
