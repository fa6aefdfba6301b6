//! `cargo xtask soak`: every target again and again, at several sizes, to find what fails once in a while; and
//! `cargo xtask soak fuzz`, the byte-driven properties with more cases.

use std::time::SystemTime;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use qemu_targets::qemu::Accelerator;
use qemu_targets::target;

use crate::boot::{Apic, Architecture, Gic, Policy, Switches};
use crate::setup;
use crate::test::{self, Kernels, fuzz, targets};
use crate::trial::{self, Trial};

/// What to repeat.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    instead: Option<Instead>,
    /// The targets; all of them if none is named
    targets: Vec<String>,
    /// How often
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The sizes of the machine
    #[arg(long, value_delimiter = ',', default_value = "1,2,4", value_parser = clap::value_parser!(u16).range(1..=512))]
    cpus: Vec<u16>,
    /// The architectures; both if none is named
    #[arg(long, value_delimiter = ',')]
    arch: Vec<Architecture>,
    /// The versions of the interrupt controller (aarch64)
    #[arg(long, value_delimiter = ',', default_value = "3")]
    gic: Vec<Gic>,
    /// The local interrupt controller's modes (x86_64)
    #[arg(long, value_delimiter = ',', default_value = "x2apic")]
    apic: Vec<Apic>,
    /// The fair policies
    #[arg(long, value_delimiter = ',', default_value = "wfq")]
    policy: Vec<Policy>,
    /// The seed of what a target does by chance, in every run; a new one for each without it
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Begin at EL2, on a board with virtualisation (aarch64)
    #[arg(long)]
    virtualization: bool,
    /// QEMU's CPU model (with one architecture)
    #[arg(long, value_name = "MODEL", requires = "arch")]
    cpu_model: Option<String>,
    /// Everything: both architectures, all controllers, policies, entry levels and CPU models at all sizes; without
    /// targets also the HAL suite, bad boot input and `soak fuzz`
    #[arg(long, conflicts_with_all = ["arch", "gic", "apic", "policy", "virtualization", "cpu_model"])]
    full: bool,
}

/// What is repeated instead of targets.
#[derive(Subcommand, Clone, Debug)]
enum Instead {
    /// Give random and damaged bytes to what reads rings, manifests, ELF files, workloads and to capability tables
    Fuzz {
        /// What to give them to; everything if nothing is named
        inputs: Vec<fuzz::Input>,
        /// How many times the cases of `cargo xtask test`; 200 take more than eight minutes on two CPUs
        #[arg(long, default_value_t = FUZZ_RUNS, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        runs: u32,
    },
}

/// How many times the cases of a test, unless a number is given.
const FUZZ_RUNS: u32 = 200;

/// CPU models that differ in what the kernel uses of them.
const MODELS: [(Architecture, &[Option<&str>]); 2] = [
    (Architecture::X86_64, &[None, Some("qemu64")]),
    (Architecture::Aarch64, &[None, Some("cortex-a53"), Some("cortex-a72")]),
];

/// Runs everything; a failure is printed at once and counted, the rest goes on.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(Instead::Fuzz { inputs, runs }) = &arguments.instead {
        let summary = test::fuzz(setup::ensure()?, inputs, *runs);
        return conclude(summary.passed as u32, summary.failed as u32);
    }
    if arguments.targets.iter().any(|name| name == "fuzz") {
        bail!("fuzz is no target and stands alone: `cargo xtask soak fuzz`");
    }
    let names: Vec<String> = if arguments.targets.is_empty() {
        target::names().map(str::to_owned).collect()
    } else {
        arguments.targets.clone()
    };
    let targets = names.iter().map(|name| trial::read_target(name, None)).collect::<Result<Vec<_>>>()?;
    let mut seeds = Seeds::new(arguments.seed);
    let machines = machines(arguments);
    machines.iter().try_for_each(Switches::check)?;
    let toolchain = setup::ensure()?;
    let kernels = Kernels::new(toolchain);
    let (mut good, mut bad) = (0_u32, 0_u32);
    if arguments.full && arguments.targets.is_empty() {
        for summary in [test::fuzz(toolchain, &[], FUZZ_RUNS), test::once(&kernels)] {
            (good, bad) = (good + summary.passed as u32, bad + summary.failed as u32);
        }
    }
    for (name, target) in names.iter().zip(&targets) {
        for switches in machines.iter().filter(|machine| machine.cpus.is_some_and(|cpus| cpus >= target.least_cpus)) {
            let title = targets::title(name, switches);
            let artifacts = kernels.get(switches.arch.target())?;
            let mut failures = 0;
            for number in 1..=arguments.runs {
                let (seed, with_seed) = seeds.next(name);
                let target = trial::read_seeded(name, None, seed)?;
                let trial = Trial::prepare(&target, switches, artifacts, Accelerator::Tcg)?;
                let outcome = trial.run(&mut |_, _, _| ()).and_then(trial::Judged::into_result);
                if let Err(error) = outcome {
                    failures += 1;
                    println!("FAILED {title}, run {number}{with_seed}: {error:#}");
                } else if !with_seed.is_empty() {
                    println!("good {title}, run {number}{with_seed}");
                }
            }
            println!("{title}: {} of {} runs good", arguments.runs - failures, arguments.runs);
            good += arguments.runs - failures;
            bad += failures;
        }
    }
    conclude(good, bad)
}

fn conclude(good: u32, bad: u32) -> Result<()> {
    println!("{good} passed, {bad} failed");
    if bad > 0 { bail!("{bad} runs failed") } else { Ok(()) }
}

/// Seeds for what targets do by chance.
struct Seeds {
    named: Option<u64>,
    next: u64,
}

impl Seeds {
    fn new(named: Option<u64>) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { named, next: since.as_micros() as u64 }
    }

    /// The seed of a run, and what to say of it: nothing of a target that leaves nothing to chance.
    fn next(&mut self, target: &str) -> (u64, String) {
        self.next = self.next.wrapping_add(1);
        let seed = self.named.unwrap_or(self.next);
        let text = if target::takes_seed(target) { format!(", --seed {seed}") } else { String::new() };
        (seed, text)
    }
}

/// Every machine that was asked for, at every size.
fn machines(arguments: &Arguments) -> Vec<Switches> {
    let kinds: Vec<Switches> = if arguments.full {
        MODELS.iter().flat_map(|(arch, models)| full(*arch, models)).collect()
    } else {
        let all = [Architecture::X86_64, Architecture::Aarch64];
        let architectures = if arguments.arch.is_empty() { &all[..] } else { &arguments.arch };
        architectures.iter().flat_map(|&arch| chosen(arguments, arch)).collect()
    };
    let sized = |kind: &Switches, cpus: u16| Switches { cpus: Some(cpus), ..kind.clone() };
    let fits = |machine: &Switches| machine.check().is_ok();
    arguments.cpus.iter().flat_map(|&cpus| kinds.iter().map(move |kind| sized(kind, cpus))).filter(fits).collect()
}

/// The machines of one architecture that the switches name.
fn chosen(arguments: &Arguments, arch: Architecture) -> Vec<Switches> {
    let base = Switches { arch, cpu_model: arguments.cpu_model.clone(), ..Switches::default() };
    let kinds: Vec<Switches> = match arch {
        Architecture::X86_64 => {
            arguments.apic.iter().map(|&apic| Switches { apic: Some(apic), ..base.clone() }).collect()
        }
        Architecture::Aarch64 => {
            let virtualization = arguments.virtualization;
            arguments.gic.iter().map(|&gic| Switches { gic: Some(gic), virtualization, ..base.clone() }).collect()
        }
    };
    with_policies(&kinds, &arguments.policy)
}

/// Every machine of one architecture.
fn full(arch: Architecture, models: &[Option<&str>]) -> Vec<Switches> {
    let mut kinds = Vec::new();
    for model in models {
        let base = Switches { arch, cpu_model: model.map(str::to_owned), ..Switches::default() };
        match arch {
            Architecture::X86_64 => {
                // A model without the newer mode takes the older one.
                let modes = if model.is_none() { &[Apic::Xapic, Apic::X2apic][..] } else { &[Apic::Xapic] };
                kinds.extend(modes.iter().map(|&apic| Switches { apic: Some(apic), ..base.clone() }));
            }
            Architecture::Aarch64 => {
                for gic in [Gic::Two, Gic::Three] {
                    for virtualization in [false, true] {
                        kinds.push(Switches { gic: Some(gic), virtualization, ..base.clone() });
                    }
                }
            }
        }
    }
    with_policies(&kinds, &[Policy::Wfq, Policy::Eevdf])
}

fn with_policies(kinds: &[Switches], policies: &[Policy]) -> Vec<Switches> {
    let with = |kind: &Switches, policy| Switches { policy: Some(policy), ..kind.clone() };
    kinds.iter().flat_map(|kind| policies.iter().map(move |&policy| with(kind, policy))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(words: &[&str]) -> Vec<Switches> {
        machines(&Command::parse_from([&["soak"], words].concat()).arguments)
    }

    #[test]
    fn fuzzing_stands_alone_and_takes_no_machine() {
        let parse =
            |words: &[&str]| Command::try_parse_from([&["soak"], words].concat()).map(|it| it.arguments.instead);
        assert!(matches!(parse(&["fuzz"]), Ok(Some(Instead::Fuzz { runs: FUZZ_RUNS, .. }))));
        assert!(matches!(parse(&["fuzz", "ring", "--runs", "3"]), Ok(Some(Instead::Fuzz { runs: 3, .. }))));
        for wrong in [&["fuzz", "--cpus", "2"][..], &["fuzz", "smoke"], &["fuzz", "--runs", "0"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        for wrong in [&["--full", "fuzz"], &["smoke", "fuzz"]] {
            let arguments = Command::parse_from([&["soak"][..], wrong].concat()).arguments;
            let error = run(&arguments).unwrap_err().to_string();
            assert!(error.starts_with("fuzz is no target and stands alone"), "{error}");
        }
        assert!(target::names().all(|name| name != "fuzz"), "a target of this name could not be soaked");
    }

    #[test]
    fn both_architectures_at_all_sizes_are_soaked_unless_something_is_named() {
        assert_eq!(parse(&[]).len(), 2 * 3);
        let named = parse(&["--arch", "aarch64", "--gic", "2,3", "--cpus", "4"]);
        assert_eq!(named.len(), 2);
        assert!(named.iter().all(|machine| machine.arch == Architecture::Aarch64 && machine.cpus == Some(4)));
    }

    #[test]
    fn each_run_has_a_seed_of_its_own_unless_one_is_named() {
        let mut fresh = Seeds::new(None);
        assert_ne!(fresh.next("hostile").0, fresh.next("hostile").0);
        let mut named = Seeds::new(Some(9));
        assert_eq!(
            [named.next("hostile"), named.next("hostile")],
            [(9, ", --seed 9".to_owned()), (9, ", --seed 9".to_owned())]
        );
        assert_eq!(named.next("smoke"), (9, String::new()));
    }

    #[test]
    fn the_full_matrix_has_every_machine_and_none_that_cannot_be() {
        let all = parse(&["--full"]);
        assert_eq!(all.len(), (3 + 3 * 2 * 2) * 2 * 3);
        assert!(all.iter().all(|machine| machine.check().is_ok()));
        let large = parse(&["--full", "--cpus", "16"]);
        assert!(large.iter().all(|machine| machine.gic != Some(Gic::Two)), "a GICv2 has eight CPUs at most");
    }
}
