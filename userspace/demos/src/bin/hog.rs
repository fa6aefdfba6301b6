//! Takes all the CPU time that it gets, and counts.
#![no_std]
#![no_main]

use core::{hint, sync::atomic::Ordering};
use tessera_rt::start;

tessera_rt::entry!(main);

fn main() -> i32 {
    let progress = start::progress();
    for count in 1.. {
        work();
        progress.store(count, Ordering::Relaxed);
    }
    0
}

/// A piece of work that costs the same each time and touches no memory.
fn work() {
    for step in 0..256u32 {
        hint::black_box(step);
    }
}
