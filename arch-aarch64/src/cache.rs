//! Instruction caches: new code is cleaned out of the data cache and dropped from the instruction caches of all CPUs.

use crate::paging;
use core::arch::asm;
use tessera_hal::{Frame, PAGE_SIZE};

/// CTR_EL0: instruction fetches see stores without a clean of the data cache.
const NO_CLEAN: u64 = 1 << 28;
/// CTR_EL0: instruction caches need not be invalidated.
const NO_INVALIDATION: u64 = 1 << 29;

/// Makes code that was written to the frame visible to the instruction fetches of all CPUs.
pub(crate) fn sync_code(frame: Frame) {
    let kind: u64;
    // SAFETY: reading an identification register has no effect.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) kind, options(nomem, nostack)) };
    if kind & NO_CLEAN == 0 {
        // Lines of 4 << n bytes.
        let line = 4 << (kind >> 16 & 0xf);
        let start = paging::direct(frame.start()) as usize;
        for place in (start..start + PAGE_SIZE).step_by(line) {
            // SAFETY: the frame stands in the direct map; cleaning changes no memory.
            unsafe { asm!("dc cvau, {}", in(reg) place, options(nostack)) };
        }
    }
    // SAFETY: a barrier changes no memory.
    unsafe { asm!("dsb ish", options(nostack)) };
    if kind & NO_INVALIDATION == 0 {
        // By the direct map's address would not do where the cache is looked up by virtual addresses.
        // SAFETY: dropping cached instructions of all CPUs changes no memory.
        unsafe { asm!("ic ialluis", "dsb ish", options(nostack)) };
    }
    // SAFETY: a barrier changes no memory.
    unsafe { asm!("isb", options(nostack)) };
}
