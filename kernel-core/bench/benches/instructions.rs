//! Instructions per operation, counted by Callgrind.
#![allow(missing_docs, reason = "the macros make public items")]

use gungraun::prelude::*;
use kernel_core_bench::{Prepared, cases, prepare_count};

#[library_benchmark]
#[benches::case(iter = cases(), setup = prepare_count)]
fn operation(mut prepared: Prepared) -> Prepared {
    prepared.run();
    prepared
}

library_benchmark_group!(name = ready_queues, benchmarks = operation);

main!(library_benchmark_groups = ready_queues);
