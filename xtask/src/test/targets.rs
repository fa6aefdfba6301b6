//! The run targets in QEMU, each judged by its verdict.
//!
//! Under exact counting every run is the same, whatever else the host does, so those run side by side. With one host
//! thread for each virtual CPU the verdict's bounds grow with what the host takes away, so those run alone.

use anyhow::Result;
use qemu_targets::qemu::Accelerator;
use qemu_targets::target::{self, Target};

use super::kernels::Kernels;
use super::runner::{Phase, Step};
use crate::boot::{Architecture, Policy, Switches};
use crate::trial::{self, Trial};

/// Targets about shares, which exact counting can prove to a fraction of a percent.
const COUNTED: &str = "thread-fairness";

/// All phases of this kind.
pub fn phases(kernels: &Kernels) -> Vec<Phase> {
    let names: Vec<&str> = target::names().collect();
    let counted = |policy: Policy| {
        let names = names.iter().filter(|name| name.starts_with(COUNTED));
        names.map(move |name| {
            step(kernels, name, Switches { icount: true, policy: Some(policy), ..Switches::default() })
        })
    };
    let exact = counted(Policy::Wfq).chain(counted(Policy::Eevdf)).collect();
    let mut parallel: Vec<Step> = names.iter().map(|name| step(kernels, name, Switches::default())).collect();
    parallel.extend(machines().into_iter().map(|(name, switches)| step(kernels, name, switches)));
    vec![Phase::new(2, exact), Phase::new(1, parallel)]
}

/// Machines of unusual sizes and kinds.
fn machines() -> Vec<(&'static str, Switches)> {
    let small = Switches { cpus: Some(1), ..Switches::default() };
    let virt = Switches { arch: Architecture::Aarch64, ..small.clone() };
    let model = |model: &str| Switches { cpu_model: Some(model.to_owned()), ..Switches::default() };
    vec![
        ("smoke", Switches { memory: Some(64), ..small.clone() }),
        ("smoke", Switches { memory: Some(32 << 10), ..small.clone() }),
        ("smoke", model("max,-x2apic,-smep,-smap,-umip")),
        ("smoke", model("qemu64")),
        ("fpu", model("qemu64")),
        ("smoke", virt.clone()),
        ("fpu", virt.clone()),
        ("faults", virt.clone()),
        ("thread-fairness", virt),
        ("default", Switches { cpus: Some(64), seconds: Some(5), ..Switches::default() }),
        ("crowd", Switches { cpus: Some(288), ..Switches::default() }),
    ]
}

fn step(kernels: &Kernels, name: &str, switches: Switches) -> Step {
    let (kernels, name) = (kernels.clone(), name.to_owned());
    let title = title(&name, &switches);
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

/// The target with all switches that are not the usual ones.
pub fn title(name: &str, switches: &Switches) -> String {
    let mut words = vec![format!("target {name}")];
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
