//! The steps that boot a machine in QEMU: the HAL suite, and what bad input gets.
//!
//! These boots check structure and run side by side; see [`super::targets`] for those whose verdict is about time.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use qemu_targets::image;
use qemu_targets::qemu::{Accelerator, Ending, Launch, Limits, Outcome};

use super::hostile::{self, Defect};
use super::kernels::Kernels;
use super::runner::{Phase, Step};
use super::{targets, trees};
use crate::boot::{self, Apic, Architecture, Gic, Switches};
use crate::build::Artifacts;
use crate::trial;
use crate::workspace::Target;

/// All phases of this kind.
pub fn phases(kernels: &Kernels) -> Vec<Phase> {
    let few = [(Apic::Xapic, 1), (Apic::X2apic, 2), (Apic::Xapic, 4), (Apic::X2apic, 4)];
    let mut steps: Vec<Step> = few.into_iter().map(|(apic, cpus)| conformance(kernels, q35(apic, cpus))).collect();
    let few = [(Gic::Two, 2), (Gic::Three, 1), (Gic::Two, 4), (Gic::Three, 4)];
    steps.extend(few.into_iter().map(|(gic, cpus)| conformance(kernels, virt(gic, cpus, false))));
    // Some of each kind: the rest of what is refused is decided by code that the tests on the host drive.
    steps.extend(refusals(kernels).into_iter().step_by(5));
    steps.extend(trees::some(kernels));
    steps.extend(Target::ALL.map(|target| panic_step(kernels, target)));
    // Nothing here is judged by time, so two machines may share the host.
    vec![Phase::new(2, steps)]
}

/// The HAL suite at all sizes on every interrupt controller and entry level, and everything that a kernel must refuse.
pub fn full(kernels: &Kernels) -> Vec<Phase> {
    let mut steps = Vec::new();
    for cpus in [1, 2, 4] {
        steps.extend([Apic::Xapic, Apic::X2apic].map(|apic| conformance(kernels, q35(apic, cpus))));
        for virtualization in [false, true] {
            steps.extend([Gic::Two, Gic::Three].map(|gic| conformance(kernels, virt(gic, cpus, virtualization))));
        }
    }
    steps.extend(refusals(kernels));
    steps.extend(trees::all(kernels));
    vec![Phase::new(2, steps)]
}

fn q35(apic: Apic, cpus: u16) -> Switches {
    Switches { cpus: Some(cpus), apic: Some(apic), ..Switches::default() }
}

fn virt(gic: Gic, cpus: u16, virtualization: bool) -> Switches {
    Switches { cpus: Some(cpus), arch: Architecture::Aarch64, gic: Some(gic), virtualization, ..Switches::default() }
}

/// Everything that a kernel must refuse.
fn refusals(kernels: &Kernels) -> Vec<Step> {
    let mut steps = bad_options(kernels);
    steps.extend(impossible_machines(kernels));
    steps.extend(bad_initrds(kernels));
    steps.extend(bad_programs(kernels));
    steps
}

fn conformance(kernels: &Kernels, switches: Switches) -> Step {
    let kernels = kernels.clone();
    let name = targets::title("HAL contract", &switches);
    Step::with_remark(name, move || conforms(&kernels, &switches))
}

fn conforms(kernels: &Kernels, switches: &Switches) -> Result<String> {
    let artifacts = kernels.get(switches.arch.target())?;
    let cpus = switches.cpus.unwrap_or(1);
    let launch = boot::conformance(switches, &artifacts.kernel, cpus, Accelerator::Tcg);
    let (outcome, lines) = boot::collect(&launch, boot::limits(boot::CONFORMANCE_SECONDS, cpus, Accelerator::Tcg))?;
    ensure!(outcome.ending == Ending::Success, "{}", outcome.report());
    let summary = lines.iter().find(|line| line.starts_with(r#"{"tessera":"conformance""#));
    let summary = summary.with_context(|| format!("the suite has not counted its checks: {}", outcome.report()))?;
    let number = |name: &str| number_in(summary, name).with_context(|| format!("no number of {name} in {summary}"));
    let (held, broken, skipped) = (number("held")?, number("broken")?, number("skipped")?);
    ensure!(held > 0 && broken == 0, "{held} checks held, {broken} were broken: {}", outcome.report());
    Ok(format!("{held} checks held, {skipped} skipped"))
}

/// A number of a flat JSON record.
fn number_in(record: &str, name: &str) -> Option<u64> {
    let (_, rest) = record.split_once(&format!("\"{name}\":"))?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// A boot that must be refused, and a part of the line that the kernel must print.
pub(super) fn refusal(
    kernels: &Kernels,
    name: &str,
    expected: &'static str,
    change: impl FnOnce(&mut Launch, &Artifacts) -> Result<()> + Send + 'static,
) -> Step {
    let kernels = kernels.clone();
    Step::new(format!("refused: {name}"), move || {
        let artifacts = kernels.get(Target::X86_64)?;
        let mut launch = Launch::new(boot::machine(Target::X86_64), artifacts.kernel.clone());
        launch.cpus = 1;
        change(&mut launch, artifacts)?;
        let (outcome, lines) = boot::collect(&launch, SHORT)?;
        check_refusal(&outcome, &lines, expected)
    })
}

/// Kernel options that no kernel can obey.
const BAD_OPTIONS: [(&str, &str); 7] = [
    ("colour=red", "unknown key 'colour'"),
    ("quiet", "'quiet' is not key=value"),
    ("cpus=0", "cpus="),
    ("cpus=999999", "cpus=999999"),
    ("seconds=-1", "seconds=-1"),
    ("policy=fifo", "policy=fifo"),
    ("apic=new", "apic="),
];

fn bad_options(kernels: &Kernels) -> Vec<Step> {
    let step = |(options, expected): (&'static str, &'static str)| {
        refusal(kernels, &format!("kernel option {options}"), expected, move |launch, _| {
            launch.options = options.to_owned();
            Ok(())
        })
    };
    BAD_OPTIONS.into_iter().map(step).collect()
}

/// Interrupt controllers that the machine's CPUs do not allow.
fn impossible_machines(kernels: &Kernels) -> Vec<Step> {
    let without = refusal(kernels, "x2APIC where the CPU has none", "apic=x2apic is impossible", |launch, _| {
        launch.options = "apic=x2apic".to_owned();
        launch.cpu_model = Some("max,-x2apic".to_owned());
        Ok(())
    });
    let beyond = refusal(kernels, "xAPIC for 288 CPUs", "xAPIC mode is impossible", |launch, _| {
        launch.options = "apic=xapic".to_owned();
        launch.cpus = 288;
        Ok(())
    });
    let cramped = refusal(kernels, "24 MiB for 288 CPUs", "too little memory for the tables", |launch, _| {
        launch.memory_mib = 24;
        launch.cpus = 288;
        Ok(())
    });
    vec![without, beyond, cramped]
}

fn bad_initrds(kernels: &Kernels) -> Vec<Step> {
    type Change = fn(&[u8]) -> Vec<u8>;
    let changes: [(&str, Change); 5] = [
        ("empty initrd", |_| Vec::new()),
        ("initrd of noise", |_| noise(4096)),
        ("initrd cut in half", hostile::cut),
        ("initrd of four billion segments", hostile::too_many_segments),
        ("initrd with its root outside", hostile::root_outside),
    ];
    let mut steps = vec![refusal(kernels, "no initrd", "there is no manifest", |_, _| Ok(()))];
    steps.extend(changes.into_iter().map(|(name, change)| {
        refusal(kernels, name, "manifest", move |launch, artifacts| {
            let good = smoke_initrd(artifacts, None)?;
            launch.initrd = Some(file(name, &change(&good))?);
            Ok(())
        })
    }));
    steps
}

fn bad_programs(kernels: &Kernels) -> Vec<Step> {
    let step = |(defect, expected): (Defect, &'static str)| {
        let name = format!("program file: {defect:?}");
        refusal(kernels, &name.clone(), expected, move |launch, artifacts| {
            launch.initrd = Some(file(&name, &smoke_initrd(artifacts, Some(defect))?)?);
            Ok(())
        })
    };
    Defect::ALL.into_iter().map(step).collect()
}

/// A panic in the middle of a run, while other CPUs run user programs.
fn panic_step(kernels: &Kernels, target: Target) -> Step {
    let kernels = kernels.clone();
    Step::new(format!("a panic has last words on {}", target.platform()), move || {
        let artifacts = kernels.get(target)?;
        let mut launch = Launch::new(boot::machine(target), artifacts.kernel.clone());
        launch.cpus = 2;
        launch.options = "mode=panic".to_owned();
        launch.initrd = Some(file(&format!("panic {}", target.platform()), &smoke_initrd(artifacts, None)?)?);
        let (outcome, lines) = boot::collect(&launch, SHORT)?;
        check_last_words(&outcome, &lines, root_register(target))
    })
}

/// The register with the root of translations, as the last words name it.
const fn root_register(target: Target) -> &'static str {
    match target {
        Target::X86_64 => "cr3 ",
        Target::Aarch64 => "ttbr1 ",
    }
}

/// Where, which CPU, which thread, and by which functions; then a failing status.
fn check_last_words(outcome: &Outcome, lines: &[String], root: &str) -> Result<()> {
    ensure!(outcome.ending == Ending::Failure, "the status is not a failure: {}", outcome.report());
    let panic = lines.iter().position(|line| line.contains("panic: a program has exited"));
    let words = lines[panic.with_context(|| format!("no panic: {}", outcome.report()))?..].join("\n");
    for expected in ["kernel/src/kernel.rs:", "CPU ", root, "cpu_loop::"] {
        ensure!(words.contains(expected), "the last words do not name `{expected}`: {words}");
    }
    // Which of the two exits first is the host's choice.
    let has_thread = ["thread 1 (smoke.0)", "thread 2 (sleeper.0)"].iter().any(|thread| words.contains(thread));
    ensure!(has_thread, "the last words name no thread: {words}");
    Ok(())
}

/// The initrd of the smoke target, with a defect in the program that the kernel starts, or good.
pub(super) fn smoke_initrd(artifacts: &Artifacts, defect: Option<Defect>) -> Result<Vec<u8>> {
    let target = trial::read_target("smoke", None)?;
    let mut binaries = trial::binaries(&target, artifacts)?;
    if let (Some(defect), Some(file)) = (defect, binaries.get_mut("init")) {
        *file = defect.apply(file)?;
    }
    Ok(image::build(&target, 1, &binaries)?)
}

/// For boots that should end at once.
pub(super) const SHORT: Limits = Limits { silence: Duration::from_secs(30), total: Duration::from_secs(60) };

/// One line that names the trouble, no panic, and a failing status.
pub(super) fn check_refusal(outcome: &Outcome, lines: &[String], expected: &str) -> Result<()> {
    let errors: Vec<&String> = lines.iter().filter(|line| line.starts_with("tessera: error: ")).collect();
    let report = || outcome.report();
    ensure!(outcome.ending == Ending::Failure, "not refused: {}", report());
    ensure!(errors.len() == 1, "{} error lines, expected one: {}", errors.len(), report());
    ensure!(errors[0].contains(expected), "the error does not speak of `{expected}`: {}", report());
    match lines.iter().find(|line| line.contains("panic")) {
        Some(line) => bail!("refused by a panic: {line}"),
        None => Ok(()),
    }
}

/// A file for a boot.
pub(super) fn file(name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let folder = boot::cache_folder().join("test");
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join(name);
    std::fs::write(&path, bytes).map_err(|error| anyhow!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}

/// Bytes without structure, the same in every run.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ending: Ending) -> Outcome {
        Outcome { ending, elapsed: Duration::ZERO, tail: Vec::new(), messages: String::new(), waited: 0.0 }
    }

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_refusal_is_one_line_and_a_failing_status() {
        let good = lines(&["tessera 0.1", "tessera: error: manifest: there is none"]);
        assert!(check_refusal(&outcome(Ending::Failure), &good, "manifest").is_ok());
    }

    #[test]
    fn what_is_no_refusal_is_not_taken_for_one() {
        let good = lines(&["tessera: error: manifest: there is none"]);
        assert!(check_refusal(&outcome(Ending::Success), &good, "manifest").is_err());
        assert!(check_refusal(&outcome(Ending::Silent(Duration::ZERO)), &good, "manifest").is_err());
        assert!(check_refusal(&outcome(Ending::Failure), &good, "policy").is_err());
        assert!(check_refusal(&outcome(Ending::Failure), &[], "manifest").is_err());
        let twice = [good.clone(), good.clone()].concat();
        assert!(check_refusal(&outcome(Ending::Failure), &twice, "manifest").is_err());
        let panic = [good, lines(&["panic at kernel/src/lib.rs:1"])].concat();
        assert!(check_refusal(&outcome(Ending::Failure), &panic, "manifest").is_err());
    }

    #[test]
    fn last_words_without_a_place_a_thread_or_a_name_do_not_pass() {
        let good = [
            "panic: a program has exited, and mode=panic was asked for",
            "  at kernel/src/kernel.rs:91:9",
            "  CPU 1, thread 1 (smoke.0)",
            "  cr3 0000000000201000",
            "  0xffffffff80212345 kernel::cpu_loop::CpuLoop::run",
        ];
        assert!(check_last_words(&outcome(Ending::Failure), &lines(&good), "cr3 ").is_ok());
        assert!(check_last_words(&outcome(Ending::Success), &lines(&good), "cr3 ").is_err());
        for missing in 0..good.len() {
            let mut bad = lines(&good);
            bad.remove(missing);
            assert!(check_last_words(&outcome(Ending::Failure), &bad, "cr3 ").is_err(), "without {}", good[missing]);
        }
    }

    #[test]
    fn numbers_are_read_from_a_record() {
        let record = r#"{"tessera":"conformance","held":31,"broken":0,"skipped":2,"status":"success"}"#;
        assert_eq!((number_in(record, "held"), number_in(record, "skipped")), (Some(31), Some(2)));
        assert_eq!(number_in(record, "lost"), None);
    }

    #[test]
    fn noise_is_the_same_in_every_run() {
        assert_eq!(noise(64), noise(64));
        assert_ne!(noise(64)[..32], noise(64)[32..]);
    }
}
