//! How the guest's instructions are executed, and the decision whether KVM can be trusted.
//!
//! `/dev/kvm` may exist and not work: under some nested hypervisors a guest hangs without a word as soon as it enters
//! long mode, under another one the kernel came up, and the first system call of a program faulted at the kernel's
//! entry. So KVM is used only after a short boot of the real kernel has brought a program to its end within a time
//! limit. The answer holds until the machine is booted again or a day has passed.

use std::fmt;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::launch::{Launch, Machine};
use super::session::{self, Ending, Limits, Outcome};

/// How long the probe boot may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// The most virtual CPUs that get a host thread each. QEMU's threads spin for each other where they come to new code at
/// once, also for one that the host has stopped: hundreds of them on a few CPUs do so for minutes.
const MOST_HOST_THREADS: u32 = 64;

/// How the guest's instructions are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// Translated: a host thread for each virtual CPU, or one on which very many take turns.
    Tcg,
    /// Translated on one host thread, one instruction per nanosecond of virtual time: every run is the same.
    Counted,
    /// By the host's CPU.
    Kvm,
}

impl Accelerator {
    pub(super) const fn arguments(self, cpus: u32) -> &'static [&'static str] {
        match self {
            Self::Tcg if cpus > MOST_HOST_THREADS => &["-accel", "tcg,thread=single"],
            Self::Tcg => &["-accel", "tcg,thread=multi"],
            Self::Counted => {
                &["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm"]
            }
            Self::Kvm => &["-accel", "kvm"],
        }
    }

    pub(super) const fn cpu_model(self, machine: Machine) -> &'static str {
        match (self, machine) {
            (Self::Kvm, _) => "host",
            // The emulated x2APIC reads the counter at a moment that exact counting forbids, and QEMU aborts.
            (Self::Counted, Machine::Q35) => "max,-x2apic",
            _ => "max",
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcg => "TCG",
            Self::Counted => "TCG with exact instruction counting",
            Self::Kvm => "KVM",
        })
    }
}

/// What the person asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// KVM where it works.
    Auto,
    /// Translation.
    Tcg,
    /// KVM or nothing.
    Kvm,
    /// Exact counting.
    Counted,
}

/// The decision, with its reason for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What to use.
    pub accelerator: Accelerator,
    /// Why.
    pub reason: String,
}

/// KVM was demanded and cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("KVM cannot be used: {0}")]
pub struct ChoiceError(String);

/// Whether KVM works for a machine, or why not.
pub type ProbeAnswer = Result<(), String>;

/// Decides. `probe` boots the machine under KVM and is asked only when the answer depends on it.
pub fn choose(request: Request, machine: Machine, probe: impl FnOnce() -> ProbeAnswer) -> Result<Choice, ChoiceError> {
    let choice = |accelerator, reason: &str| Ok(Choice { accelerator, reason: reason.to_owned() });
    match request {
        Request::Tcg => return choice(Accelerator::Tcg, "asked for"),
        Request::Counted => return choice(Accelerator::Counted, "asked for"),
        Request::Auto | Request::Kvm => {}
    }
    let host = std::env::consts::ARCH;
    let answer = if host == machine.architecture() {
        probe()
    } else {
        Err(format!("the host is {host}, the guest {}", machine.architecture()))
    };
    match answer {
        Ok(()) => choice(Accelerator::Kvm, "a probe boot under KVM brought a program to its end"),
        Err(reason) if request == Request::Auto => choice(Accelerator::Tcg, &reason),
        Err(reason) => Err(ChoiceError(reason)),
    }
}

/// Whether KVM works, as `boot` finds unless `folder` remembers it.
pub fn probe_kvm(folder: &Path, boot: impl FnOnce() -> ProbeAnswer) -> ProbeAnswer {
    if let Err(error) = fs::File::options().read(true).write(true).open("/dev/kvm") {
        return Err(format!("/dev/kvm cannot be opened: {error}"));
    }
    let memory = Memory { file: folder.join("kvm-works"), stamp: stamp() };
    if let Some(answer) = memory.recall() {
        return answer;
    }
    let answer = boot();
    memory.keep(&answer);
    answer
}

/// Whether `launch`, which is under KVM, comes as far as the line `end`.
pub fn comes_to(launch: &Launch, end: &str) -> ProbeAnswer {
    let limits = Limits { silence: PROBE_LIMIT, total: PROBE_LIMIT };
    let mut has_come = false;
    let outcome = session::run(launch, limits, &mut |line| {
        has_come |= line.trim_end() == end;
        if has_come { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match outcome {
        Ok(_) if has_come => Ok(()),
        Ok(outcome) => Err(failure(&outcome)),
        Err(error) => Err(format!("a probe boot under KVM could not start: {error}")),
    }
}

/// Why a probe has failed.
fn failure(outcome: &Outcome) -> String {
    let ending = match &outcome.ending {
        Ending::Crash(status) => format!("crashed: {status}"),
        Ending::Success | Ending::Failure => "brought no program to a good end".to_owned(),
        _ => format!("brought no program to its end within {} s", PROBE_LIMIT.as_secs()),
    };
    // Records are for other programs.
    let last = outcome.tail.iter().rev().find(|line| !line.starts_with('{') && !line.trim().is_empty());
    let said = last.map_or("it printed nothing".to_owned(), |line| format!("its last line: {line}"));
    format!("a probe boot under KVM {ending}; {said}")
}

/// This boot of the host and this day.
fn stamp() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let day = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() / 86_400);
    format!("{} {day}", boot.trim())
}

/// The remembered answer: one file, two lines.
struct Memory {
    file: PathBuf,
    stamp: String,
}

impl Memory {
    fn recall(&self) -> Option<ProbeAnswer> {
        let text = fs::read_to_string(&self.file).ok()?;
        let (stamp, answer) = text.split_once('\n')?;
        if stamp != self.stamp {
            return None;
        }
        Some(match answer.trim_end().strip_prefix("no: ") {
            None => Ok(()),
            Some(reason) => Err(reason.to_owned()),
        })
    }

    fn keep(&self, answer: &ProbeAnswer) {
        let verdict = match answer {
            Ok(()) => "yes".to_owned(),
            Err(reason) => format!("no: {}", reason.replace('\n', " ")),
        };
        if let Some(folder) = self.file.parent() {
            // A probe that cannot be remembered is only slow.
            let _ = fs::create_dir_all(folder);
        }
        let _ = fs::write(&self.file, format!("{}\n{verdict}\n", self.stamp));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native() -> Machine {
        if std::env::consts::ARCH == "x86_64" { Machine::Q35 } else { Machine::Virt }
    }

    fn foreign() -> Machine {
        if std::env::consts::ARCH == "x86_64" { Machine::Virt } else { Machine::Q35 }
    }

    #[test]
    fn kvm_is_used_only_after_its_probe_answered() {
        assert_eq!(choose(Request::Auto, native(), || Ok(())).unwrap().accelerator, Accelerator::Kvm);
        let choice = choose(Request::Auto, native(), || Err("it hung".into())).unwrap();
        assert_eq!(choice, Choice { accelerator: Accelerator::Tcg, reason: "it hung".into() });
    }

    #[test]
    fn demanded_kvm_that_does_not_answer_is_an_error() {
        let error = choose(Request::Kvm, native(), || Err("it hung".into())).unwrap_err();
        assert_eq!(error.to_string(), "KVM cannot be used: it hung");
    }

    #[test]
    fn a_probe_that_fails_says_how_and_what_a_person_could_read_last() {
        let outcome = |ending, tail: &[&str]| Outcome {
            ending,
            elapsed: Duration::ZERO,
            tail: tail.iter().map(|&line| line.to_owned()).collect(),
            messages: String::new(),
            waited: 0.0,
        };
        let ended =
            outcome(Ending::Failure, &["tessera: q35", "init.0 was ended: page fault", "{\"tessera\":\"end\"}", ""]);
        let expected = "brought no program to a good end; its last line: init.0 was ended: page fault";
        assert_eq!(failure(&ended), format!("a probe boot under KVM {expected}"));
        let hung = failure(&outcome(Ending::Silent(PROBE_LIMIT), &[]));
        assert!(hung.ends_with("brought no program to its end within 10 s; it printed nothing"), "{hung}");
    }

    #[test]
    fn a_foreign_architecture_is_never_probed() {
        let choice = choose(Request::Auto, foreign(), || panic!("probed")).unwrap();
        assert_eq!(choice.accelerator, Accelerator::Tcg);
        assert!(choice.reason.contains("the guest"), "{}", choice.reason);
    }

    #[test]
    fn a_request_for_tcg_needs_no_probe() {
        assert_eq!(choose(Request::Tcg, native(), || panic!("probed")).unwrap().accelerator, Accelerator::Tcg);
        assert_eq!(choose(Request::Counted, native(), || panic!("probed")).unwrap().accelerator, Accelerator::Counted);
    }

    #[test]
    fn an_answer_is_remembered_until_the_next_boot_or_day() {
        let folder = std::env::temp_dir().join(format!("tessera-probe-{}", std::process::id()));
        let memory = Memory { file: folder.join("kvm-probe"), stamp: "boot 1".into() };
        assert_eq!(memory.recall(), None);
        memory.keep(&Err("it\nhung".into()));
        assert_eq!(memory.recall(), Some(Err("it hung".into())));
        memory.keep(&Ok(()));
        assert_eq!(memory.recall(), Some(Ok(())));
        let later = Memory { file: memory.file.clone(), stamp: "boot 2".into() };
        assert_eq!(later.recall(), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
