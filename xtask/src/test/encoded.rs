//! Initrds that went through the reference tool: shown as text, changed there, and encoded by it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use qemu_targets::qemu::Accelerator;

use super::boots;
use super::kernels::Kernels;
use super::runner::{Phase, Step};
use crate::boot::Switches;
use crate::trial::{self, Trial};
use crate::workspace::{self, Target};

/// All phases of this kind.
pub fn phases(kernels: &Kernels) -> Vec<Phase> {
    let boots = {
        let kernels = kernels.clone();
        Step::new("an initrd that capnp has encoded boots", move || boots_encoded(&kernels))
    };
    let refused = boots::refusal(
        kernels,
        "a client of an endpoint that nobody serves",
        "programs[0].grants[1].clientOf: no program serves 'calx'",
        |launch, artifacts| {
            let good = boots::smoke_initrd(artifacts, None)?;
            launch.initrd = Some(changed("unserved", &good, "kernel = timer", "clientOf = \"calx\"")?);
            Ok(())
        },
    );
    vec![Phase::new(2, vec![boots, refused])]
}

/// The smoke target, with another policy written into the text of its manifest.
fn boots_encoded(kernels: &Kernels) -> Result<()> {
    let artifacts = kernels.get(Target::X86_64)?;
    let (target, switches) = (trial::read_target("smoke", None)?, Switches::default());
    let built = trial::initrd(&target, target.cpus, artifacts)?;
    let initrd = changed("encoded", &built, "policy = wfq", "policy = eevdf")?;
    let trial = Trial::with_initrd(&target, &switches, artifacts, Accelerator::Tcg, &initrd)?;
    let judged = trial.run(&mut |_, _, _| ())?;
    let policy = judged.log.boot.as_ref().map(|boot| boot.policy.clone());
    judged.into_result()?;
    ensure!(policy.as_deref() == Some("eevdf"), "the machine's policy is {policy:?}, not eevdf");
    Ok(())
}

/// Decodes the initrd into text, replaces the first `from` in it, and encodes it again.
fn changed(name: &str, initrd: &[u8], from: &str, to: &str) -> Result<PathBuf> {
    let before = boots::file(name, initrd)?;
    let (shown, after) = (before.with_extension("txt"), before.with_extension("new"));
    capnp("decode", &before, &shown)?;
    let text = fs::read_to_string(&shown).with_context(|| format!("cannot read {}", shown.display()))?;
    ensure!(text.contains(from), "`{from}` is not in {}", shown.display());
    fs::write(&shown, text.replacen(from, to, 1)).with_context(|| format!("cannot write {}", shown.display()))?;
    capnp("encode", &shown, &after)?;
    Ok(after)
}

fn capnp(conversion: &str, from: &Path, to: &Path) -> Result<()> {
    let open = || -> std::io::Result<_> { Ok((File::open(from)?, File::create(to)?)) };
    let (input, output) =
        open().with_context(|| format!("capnp {conversion}, {} to {}", from.display(), to.display()))?;
    let status = Command::new("capnp")
        .args([conversion, "schema/manifest.capnp", "Manifest"])
        .current_dir(workspace::root())
        .env_remove("PWD")
        .stdin(input)
        .stdout(output)
        .status()
        .context("cannot start `capnp`")?;
    ensure!(status.success(), "`capnp {conversion}` of {} ended with {status}", from.display());
    Ok(())
}
