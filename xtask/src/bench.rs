//! `cargo xtask bench`: what scheduling decisions cost, beside other ready queues, as one table.
//!
//! Instructions are counted under Callgrind, times are measured by criterion and printed as ratios only. Valgrind and
//! the runner that drives it are installed first if they are not there.

use anyhow::Result;
use clap::Args;

use crate::process;
use crate::setup;
use crate::toolchain::Toolchain;
use crate::workspace;

const PACKAGE: &str = "kernel-core-bench";

/// How often all times are measured. A round takes minutes, and what else a machine does in one does not come in all.
const ROUNDS: usize = 3;

/// Memory in large pages, as a kernel's is: in small ones 10,000 threads would measure how those are found. Only what
/// grows at the end of the heap gets them whole, so all of it does, and none is given back.
const LARGE_PAGES: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:glibc.malloc.top_pad=67108864:\
     glibc.malloc.trim_threshold=1073741824",
);

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Only count instructions: exact, and not disturbed by what else the machine does
    #[arg(long)]
    instructions_only: bool,
}

/// Measures and prints the table.
pub fn run(arguments: &Arguments) -> Result<()> {
    let toolchain = setup::ensure()?;
    setup::ensure_bench_tools(toolchain)?;
    measure(toolchain, "instructions", &["--save-summary=json"], &[])?;
    let rounds = if arguments.instructions_only { 0 } else { ROUNDS };
    for round in 0..rounds {
        measure(toolchain, "time", &["--save-baseline", &format!("round-{round}")], &[LARGE_PAGES])?;
    }
    let mut table = toolchain.cargo();
    table.args(["run", "--quiet", "--release", "--package", PACKAGE, "--bin", "bench-table"]);
    table.arg(workspace::target_folder()).arg(rounds.to_string());
    print!("{}", String::from_utf8_lossy(&process::capture(&mut table)?.stdout));
    Ok(())
}

fn measure(toolchain: Toolchain, bench: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    println!("bench: measuring {bench} (this takes some minutes).");
    let mut command = toolchain.cargo();
    command.args(["bench", "--quiet", "--package", PACKAGE, "--bench", bench, "--"]).args(arguments);
    command.envs(environment.iter().copied());
    process::capture(&mut command).map(drop)
}
