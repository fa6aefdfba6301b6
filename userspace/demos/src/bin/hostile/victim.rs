//! Who must not notice.

use core::sync::atomic::{AtomicU32, Ordering};
use tessera_rt::{
    CallError, println,
    ring::{self, MethodId, operations::Callee, pending::Pending},
    start,
};

/// The name of the endpoint that is gone when the attacks are over.
pub const END: &str = "end";
/// How many victims there are.
pub const COUNT: u32 = 2;
static DATA: [AtomicU32; 4096] = [const { AtomicU32::new(0) }; 4096];

/// Counts until the attacks are over, as long as its memory holds what it wrote; 0 if it does to the end.
pub fn run() -> i32 {
    for (value, word) in (0..).zip(&DATA) {
        word.store(scattered(value), Ordering::Relaxed);
    }
    let mut end = match end_of_attacks() {
        Ok(call) => call,
        Err(error) => {
            println!("the end of the attacks cannot be waited for: {error}");
            return 2;
        }
    };
    while end.poll().is_none() {
        let broken = (0..).zip(&DATA).find(|(value, word)| word.load(Ordering::Relaxed) != scattered(*value));
        if let Some((place, word)) = broken {
            println!("somebody has written {:#x} to word {place} of my memory", word.load(Ordering::Relaxed));
            return 1;
        }
        start::progress().fetch_add(1, Ordering::Relaxed);
    }
    0
}

/// What stands at a place: no two have the same, and none has zero.
const fn scattered(place: u32) -> u32 {
    (place + 1).wrapping_mul(0x9e37_79b1)
}

/// A call that nobody answers: it ends when the warden does.
fn end_of_attacks() -> Result<Pending, CallError> {
    let grant = start::granted(END).ok_or(CallError::NotGranted(0))?;
    let callee = Callee { handle: grant.handle, method: MethodId { interface: grant.interface, method: 0 } };
    let ring = ring::current();
    let call = ring.begin_call(callee, &[], &[], 128, 0)?;
    ring.enter(0, 0)?;
    Ok(call)
}
