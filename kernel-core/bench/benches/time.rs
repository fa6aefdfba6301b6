//! Time per operation, measured by criterion. Only ratios within one run mean anything.

use criterion::{Criterion, Throughput};
use kernel_core_bench::{cases, prepare_time};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300))
        .without_plots()
        .configure_from_args();
    for case in cases() {
        let mut group = criterion.benchmark_group(case.operation.name());
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{}/{}", case.subject.name(), case.threads), |bencher| {
            bencher.iter_custom(|iterations| {
                let (mut done, mut spent) = (0, Duration::ZERO);
                let mut prepared = prepare_time(case);
                while done < iterations {
                    let start = Instant::now();
                    prepared.run();
                    spent += start.elapsed();
                    done += prepared.operations() as u64;
                    prepared.undo();
                }
                black_box(prepared);
                // As if exactly as many had been done as were asked for.
                spent.mul_f64(iterations as f64 / done as f64)
            });
        });
        group.finish();
    }
    criterion.final_summary();
}
