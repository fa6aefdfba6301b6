//! The run targets in QEMU, each judged by its verdict.
//!
//! Under exact counting every run is the same, whatever else the host does, so those run side by side. With one host
//! thread for each virtual CPU the verdict's bounds grow with what the host takes away, so those run alone.

use anyhow::Result;
use qemu_targets::qemu::Accelerator;
use qemu_targets::target::Target;

use super::kernels::Kernels;
use super::matrix::{self, Boot};
use super::runner::{Phase, Step};
use crate::boot::{Architecture, Switches};
use crate::trial::{self, Trial};

/// All phases of this kind.
pub fn phases(kernels: &Kernels) -> Vec<Phase> {
    let (exact, mut parallel): (Vec<_>, Vec<_>) = matrix::boots().into_iter().partition(|boot| boot.switches.icount);
    parallel.extend(sizes());
    let steps = |boots: Vec<Boot>| boots.iter().map(|boot| step(kernels, boot.target, boot.switches.clone())).collect();
    vec![Phase::new(2, steps(exact)), Phase::new(1, steps(parallel))]
}

/// Sizes of machine that no other boot has.
fn sizes() -> [Boot; 3] {
    let large = Switches { cpus: Some(1), memory: Some(32 << 10), ..Switches::default() };
    // The host stops each of so many CPUs for hundreds of milliseconds at a time: a share needs many of those to mean
    // something.
    let wide = Switches { cpus: Some(64), seconds: Some(15), ..Switches::default() };
    [
        Boot { target: "smoke", switches: large },
        Boot { target: "process-exit-large", switches: Switches::default() },
        Boot { target: "default", switches: wide },
    ]
}

fn step(kernels: &Kernels, name: &str, switches: Switches) -> Step {
    let (kernels, name) = (kernels.clone(), name.to_owned());
    let title = title(&format!("target {name}"), &switches);
    Step::with_remark(title, move || {
        let target = trial::read_target(&name, None)?;
        judge(&kernels, &target, &switches)
    })
}

fn judge(kernels: &Kernels, target: &Target, switches: &Switches) -> Result<String> {
    let artifacts = kernels.get(switches.arch.target())?;
    let accelerator = if switches.icount { Accelerator::Counted } else { Accelerator::Tcg };
    let judged = Trial::prepare(target, switches, artifacts, accelerator)?.run(&mut |_, _, _| ())?;
    let findings = judged.verdict.findings.len();
    judged.into_result().map(|()| format!("{findings} findings"))
}

/// What is booted, with all switches that are not the usual ones.
pub fn title(name: &str, switches: &Switches) -> String {
    let mut words = vec![name.to_owned()];
    words.extend((switches.arch == Architecture::Aarch64).then(|| "virt".to_owned()));
    words.extend(switches.apic.map(|apic| apic.to_string()));
    words.extend(switches.gic.map(|gic| gic.to_string()));
    words.extend(switches.virtualization.then(|| "from EL2".to_owned()));
    words.extend(switches.cpus.map(|cpus| format!("{cpus} CPUs")));
    words.extend(switches.memory.map(|memory| format!("{memory} MiB")));
    words.extend(switches.cpu_model.clone());
    words.extend(switches.policy.map(|policy| policy.to_string()));
    words.extend(switches.icount.then(|| "exact counting".to_owned()));
    words.join(", ")
}
