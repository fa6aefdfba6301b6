//! Takes all the CPU time that it gets, and counts; up to the number in its argument, if it has one.
#![no_std]
#![no_main]

use core::sync::atomic::Ordering;
use demos::work;
use tessera_rt::start;

tessera_rt::entry!(main);

fn main() -> i32 {
    let progress = start::progress();
    for count in 1..=demos::number(0).unwrap_or(u64::MAX) {
        work();
        progress.store(count, Ordering::Relaxed);
    }
    0
}
