//! `cargo xtask run`: boot a target, show it, judge it.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use indicatif::ProgressBar;
use qemu_targets::log::{Fed, RunLog};
use qemu_targets::qemu::accelerator;
use qemu_targets::qemu::{self, Accelerator, Ending};
use qemu_targets::table::{self, Screen};
use qemu_targets::target::USUAL_SEED;

use crate::boot::{self, Switches};
use crate::build::{self, Artifacts, Noise};
use crate::setup;
use crate::trace::Files;
use crate::trial::{self, Trial};

/// The target that checks the machine against the HAL contract; the kernel brings it along and needs no manifest.
const CONFORMANCE: &str = "conformance";

/// CPUs of [`CONFORMANCE`] when nobody names a number.
const CONFORMANCE_CPUS: u16 = 4;

/// Rows of the table: what fits on a usual terminal.
const ROWS: usize = 24;

/// What to run.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// The target's name; `conformance` checks the machine against the HAL contract
    #[arg(default_value = "default")]
    target: String,
    /// A target file of your own instead of a built-in target
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// An initrd of your own instead of the target's; the target still says what is expected
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// The seed of what the target does by chance
    #[arg(long, value_name = "NUMBER", default_value_t = USUAL_SEED, conflicts_with = "initrd")]
    seed: u64,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    switches: Switches,
}

/// Boots one target and fails if its verdict does.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { target: name, manifest, initrd, seed, files, switches } = arguments;
    let switches = &Switches { trace: files.are_wanted(), ..switches.clone() };
    switches.check()?;
    if name == CONFORMANCE && manifest.is_none() {
        ensure!(!files.are_wanted(), "{CONFORMANCE} runs no threads: there is nothing for --trace or --svg");
        return conformance(switches);
    }
    // Read before anything is built, so that a wrong name costs no minute.
    let target = trial::read_seeded(name, manifest.as_deref(), *seed)?;
    trial::cpus(&target, switches)?;
    let is_operated = target.typed.is_some() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    ensure!(
        !is_operated || !files.are_wanted(),
        "{name} is yours to type at, so no trace comes out: no --trace, --svg"
    );
    files.check()?;
    if let Some(file) = initrd {
        ensure!(file.is_file(), "there is no file {}: --initrd", file.display());
    }
    let artifacts = build(switches)?;
    let accelerator = choose(switches, &artifacts)?;
    let trial = match initrd {
        Some(file) => Trial::with_initrd(&target, switches, &artifacts, accelerator, file)?,
        None => Trial::prepare(&target, switches, &artifacts, accelerator)?,
    };
    let title = manifest.as_ref().map_or(name.clone(), |file| file.display().to_string());
    println!("run: {title} on {} CPUs. {}", trial.cpus(), target.description);
    if is_operated {
        return operate(&trial);
    }
    let mut view = View::new();
    let judged = trial.run(&mut |line, fed, log| view.show(line, fed, log))?;
    view.finish(&judged.log);
    print!("{}", judged.verdict);
    if files.are_wanted() {
        println!("run: {}", files.write(&title, &judged.log)?);
    }
    if judged.outcome.ending != Ending::Success {
        bail!("{}", judged.outcome.report());
    }
    if judged.passed() { Ok(()) } else { bail!("the target did not give what it must") }
}

/// Leaves the machine to the person at the terminal.
fn operate(trial: &Trial<'_>) -> Result<()> {
    println!("run: the terminal is the machine's; ^A X ends it at any time.");
    match trial.operate()? {
        Ending::Success => Ok(()),
        ending => bail!("{ending}"),
    }
}

fn build(switches: &Switches) -> Result<Artifacts> {
    let toolchain = setup::ensure()?;
    let spinner = spinner("building the kernel and the programs");
    let artifacts = build::build(toolchain, switches.arch.target(), Noise::Kept);
    spinner.finish_and_clear();
    artifacts
}

fn choose(switches: &Switches, artifacts: &Artifacts) -> Result<Accelerator> {
    let machine = boot::machine(switches.arch.target());
    let probe = || accelerator::probe_kvm(&boot::cache_folder(), || trial::works_under_kvm(machine, artifacts));
    let choice = accelerator::choose(switches.accelerator(), machine, probe)?;
    println!("run: the accelerator is {} ({}).", choice.accelerator, choice.reason);
    Ok(choice.accelerator)
}

/// Something that turns while a person waits at a terminal.
fn spinner(message: &'static str) -> ProgressBar {
    if !std::io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn conformance(switches: &Switches) -> Result<()> {
    let artifacts = build(switches)?;
    let accelerator = choose(switches, &artifacts)?;
    let cpus = switches.cpus.unwrap_or(CONFORMANCE_CPUS);
    let launch = boot::conformance(switches, &artifacts.kernel, cpus, accelerator);
    let outcome = qemu::run(&launch, boot::limits(boot::CONFORMANCE_SECONDS, cpus, accelerator), &mut |line| {
        println!("{line}");
        ControlFlow::Continue(())
    })?;
    if outcome.ending == Ending::Success { Ok(()) } else { bail!("{}", outcome.report()) }
}

/// The screen of a run: a table redrawn in place on a terminal, plain lines elsewhere.
struct View {
    is_terminal: bool,
    screen: Screen,
    spinner: ProgressBar,
}

impl View {
    fn new() -> Self {
        Self { is_terminal: std::io::stdout().is_terminal(), screen: Screen::default(), spinner: spinner("booting") }
    }

    fn show(&mut self, line: &str, fed: Fed, log: &RunLog) {
        self.spinner.finish_and_clear();
        match fed {
            Fed::Text => {
                self.screen.interrupted();
                println!("{line}");
            }
            Fed::Record => {}
            Fed::ReportComplete => {
                let table = table::render(log, ROWS);
                let text = if self.is_terminal { self.screen.redraw(&table) } else { table };
                print!("{text}");
                // Nothing is lost if the terminal has gone; the verdict goes into the status too.
                let _ = std::io::stdout().flush();
            }
        }
    }

    fn finish(&mut self, log: &RunLog) {
        self.spinner.finish_and_clear();
        if !self.is_terminal {
            for line in table::final_lines(log) {
                println!("{line}");
            }
        }
    }
}
