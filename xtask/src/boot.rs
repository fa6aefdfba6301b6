//! One boot as a person describes it, turned into a QEMU run.

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use qemu_targets::qemu::{self, Accelerator, Launch, Limits, Machine, Outcome, Request};

use crate::workspace::{self, Target};

/// Switches that every boot understands.
#[derive(Args, Clone, Debug)]
pub struct Switches {
    /// Virtual CPUs
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub cpus: Option<u16>,
    /// End after so many seconds of the machine's time
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,
    /// The fair policy
    #[arg(long)]
    pub policy: Option<Policy>,
    /// The local interrupt controller's mode (x86_64)
    #[arg(long)]
    pub apic: Option<Apic>,
    /// How instructions are executed; auto takes KVM if a program runs in a probe boot
    #[arg(long, default_value = "auto", conflicts_with = "icount")]
    pub accel: Accel,
    /// Count instructions exactly: one per nanosecond, every run the same
    #[arg(long)]
    pub icount: bool,
    /// The machine's architecture
    #[arg(long, default_value = "x86_64")]
    pub arch: Architecture,
    /// The version of the interrupt controller (aarch64)
    #[arg(long)]
    pub gic: Option<Gic>,
    /// Begin at EL2, on a board with virtualisation (aarch64)
    #[arg(long)]
    pub virtualization: bool,
    /// Memory in MiB
    #[arg(long, value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    pub memory: Option<u32>,
    /// QEMU's CPU model with feature switches, `max,-smap` for example
    #[arg(long, value_name = "MODEL")]
    pub cpu_model: Option<String>,
    /// Record what the scheduler does: see [`crate::trace`]
    #[arg(skip)]
    pub trace: bool,
}

/// The fair policies that a manifest can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Weighted fair queueing
    Wfq,
    /// Earliest eligible virtual deadline first
    Eevdf,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Wfq { "wfq" } else { "eevdf" })
    }
}

/// Modes of the local APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Apic {
    /// Memory-mapped registers, ids below 255
    Xapic,
    /// Model-specific registers
    X2apic,
}

impl fmt::Display for Apic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Xapic { "xapic" } else { "x2apic" })
    }
}

/// Versions of the interrupt controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Gic {
    /// GICv2, eight CPUs at most
    #[value(name = "2")]
    Two,
    /// GICv3
    #[value(name = "3")]
    Three,
}

impl Gic {
    /// The most CPUs with the older version.
    pub const fn most_cpus_of_older() -> u16 {
        qemu::Gic::Two.most_cpus()
    }
}

impl fmt::Display for Gic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Two { "GICv2" } else { "GICv3" })
    }
}

impl From<Gic> for qemu::Gic {
    fn from(gic: Gic) -> Self {
        match gic {
            Gic::Two => Self::Two,
            Gic::Three => Self::Three,
        }
    }
}

/// Accelerators a person can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM where a program runs in a probe boot, else TCG
    Auto,
    /// Translation
    Tcg,
    /// The host's CPU, or an error
    Kvm,
}

/// Architectures with a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Architecture {
    /// QEMU's q35
    #[value(name = "x86_64")]
    X86_64,
    /// QEMU's virt
    #[value(name = "aarch64")]
    Aarch64,
}

impl Architecture {
    /// The compiler's target.
    pub const fn target(self) -> Target {
        match self {
            Self::X86_64 => Target::X86_64,
            Self::Aarch64 => Target::Aarch64,
        }
    }
}

/// QEMU's machine for a target.
pub const fn machine(target: Target) -> Machine {
    match target {
        Target::X86_64 => Machine::Q35,
        Target::Aarch64 => Machine::Virt,
    }
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            cpus: None,
            seconds: None,
            policy: None,
            apic: None,
            accel: Accel::Tcg,
            icount: false,
            arch: Architecture::X86_64,
            gic: None,
            virtualization: false,
            memory: None,
            cpu_model: None,
            trace: false,
        }
    }
}

impl Switches {
    /// Refuses what no machine can do, before anything is built.
    pub fn check(&self) -> Result<()> {
        if self.arch == Architecture::Aarch64 && self.apic.is_some() {
            bail!("--apic belongs to x86_64, not to --arch aarch64");
        }
        if self.arch == Architecture::X86_64 && self.gic.is_some() {
            bail!("--gic belongs to --arch aarch64");
        }
        if self.arch == Architecture::X86_64 && self.virtualization {
            bail!("--virtualization belongs to --arch aarch64");
        }
        let most = qemu::Gic::from(self.gic.unwrap_or(Gic::Three)).most_cpus();
        if let Some(cpus) = self.cpus.filter(|&cpus| cpus > most) {
            bail!("--gic 2 has at most {most} CPUs, not {cpus}");
        }
        if self.icount && self.apic == Some(Apic::X2apic) {
            bail!("--icount excludes --apic x2apic: QEMU's x2APIC cannot be counted exactly");
        }
        Ok(())
    }

    /// The kernel's own options.
    pub fn kernel_options(&self, cpus: u16) -> String {
        let mut words = vec![format!("cpus={cpus}")];
        words.extend(self.seconds.map(|seconds| format!("seconds={seconds}")));
        words.extend(self.policy.map(|policy| format!("policy={policy}")));
        words.extend(self.apic.map(|apic| format!("apic={apic}")));
        words.extend(self.trace.then(|| "trace=on".to_owned()));
        words.join(" ")
    }

    /// Which accelerator is asked for.
    pub fn accelerator(&self) -> Request {
        match self.accel {
            _ if self.icount => Request::Counted,
            Accel::Auto => Request::Auto,
            Accel::Tcg => Request::Tcg,
            Accel::Kvm => Request::Kvm,
        }
    }

    /// The launch of this kernel with these switches.
    pub fn launch(&self, kernel: &Path, initrd: Option<PathBuf>, cpus: u16, accelerator: Accelerator) -> Launch {
        let mut launch = Launch::new(machine(self.arch.target()), kernel.to_owned());
        launch.initrd = initrd;
        launch.options = self.kernel_options(cpus);
        launch.cpus = u32::from(cpus);
        launch.memory_mib = self.memory.unwrap_or(launch.memory_mib);
        launch.accelerator = accelerator;
        launch.cpu_model.clone_from(&self.cpu_model);
        launch.gic = self.gic.map(qemu::Gic::from).unwrap_or_default();
        launch.virtualization = self.virtualization;
        launch
    }
}

/// How long the HAL suite may take on one machine, in seconds.
pub const CONFORMANCE_SECONDS: u64 = 30;

/// The launch that checks the machine against the HAL contract.
pub fn conformance(switches: &Switches, kernel: &Path, cpus: u16, accelerator: Accelerator) -> Launch {
    let mut launch = switches.launch(kernel, None, cpus, accelerator);
    launch.options.push_str(" mode=conformance");
    launch
}

/// Where files that a boot needs are kept.
pub fn cache_folder() -> PathBuf {
    workspace::target_folder().join("tessera")
}

/// Limits for a run that should take so many seconds of the machine's time. They only have to tell a hang from a slow
/// host: bringing up hundreds of CPUs takes half a minute, and exact counting runs several times slower than time.
pub fn limits(seconds: u64, cpus: u16, accelerator: Accelerator) -> Limits {
    let slowness = if accelerator == Accelerator::Counted { 30 } else { 4 };
    // A host runs hundreds of virtual CPUs one after the other, and each waits for the others' use of its devices.
    let start = 60 + u64::from(cpus);
    Limits { silence: Duration::from_secs(start), total: Duration::from_secs(start + seconds * slowness) }
}

/// Boots and keeps all serial lines.
pub fn collect(launch: &Launch, limits: Limits) -> Result<(Outcome, Vec<String>)> {
    let mut lines = Vec::new();
    let outcome = qemu::run(launch, limits, &mut |line| {
        lines.push(line.to_owned());
        ControlFlow::Continue(())
    })?;
    Ok((outcome, lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_told_what_was_asked_for_and_nothing_else() {
        let switches =
            Switches { seconds: Some(3), policy: Some(Policy::Eevdf), apic: Some(Apic::Xapic), ..Switches::default() };
        assert_eq!(switches.kernel_options(2), "cpus=2 seconds=3 policy=eevdf apic=xapic");
        assert_eq!(Switches::default().kernel_options(4), "cpus=4");
        assert_eq!(Switches { trace: true, ..Switches::default() }.kernel_options(1), "cpus=1 trace=on");
    }

    #[test]
    fn switches_that_exclude_each_other_are_refused() {
        let arm = Switches { arch: Architecture::Aarch64, apic: Some(Apic::Xapic), ..Switches::default() };
        assert!(arm.check().is_err());
        for foreign in [
            Switches { gic: Some(Gic::Three), ..Switches::default() },
            Switches { virtualization: true, ..Switches::default() },
        ] {
            assert!(foreign.check().is_err());
            assert!(Switches { arch: Architecture::Aarch64, ..foreign }.check().is_ok());
        }
        let two = Switches { arch: Architecture::Aarch64, gic: Some(Gic::Two), cpus: Some(9), ..Switches::default() };
        assert!(two.check().is_err());
        let counted = Switches { icount: true, apic: Some(Apic::X2apic), ..Switches::default() };
        assert!(counted.check().is_err());
        assert!(Switches { icount: true, ..Switches::default() }.check().is_ok());
    }

    #[test]
    fn exact_counting_is_given_more_time() {
        assert!(limits(10, 4, Accelerator::Counted).total > limits(10, 4, Accelerator::Tcg).total);
    }
}
