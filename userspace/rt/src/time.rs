//! The clock, by the timer that the program was granted.

use crate::{CallError, Client, Timer};

/// Nanoseconds since boot; `None` without a timer.
pub fn now_ns() -> Option<u64> {
    Some(Timer::granted().ok()?.now().ok()?.now_ns)
}

/// Sleeps until the clock reads so many nanoseconds.
pub fn sleep_until(deadline_ns: u64) -> Result<(), CallError> {
    Timer::granted()?.sleep(deadline_ns)
}

/// Sleeps for so many nanoseconds.
pub fn sleep(duration_ns: u64) -> Result<(), CallError> {
    let timer = Timer::granted()?;
    timer.sleep(timer.now()?.now_ns.saturating_add(duration_ns))
}
