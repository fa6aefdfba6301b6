//! Takes all the CPU time that it gets, and counts.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering;
use demos::work;
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
