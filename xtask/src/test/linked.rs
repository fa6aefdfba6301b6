//! What a foreign kernel gets that wants the scheduler alone: the decision core's other modules must not be in its program.
//!
//! The example `host_kernel` is such a kernel. It is looked at as it is without optimisation, where nothing hides by being
//! inlined.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use elf::ElfBytes;
use elf::abi::SHN_UNDEF;
use elf::endian::AnyEndian;

use super::runner::Step;
use crate::build;
use crate::toolchain::Toolchain;

/// The scheduler, and what it stands on.
const SCHEDULER: [&str; 6] = ["sched", "scramble", "slab", "sync", "timer", "tree"];
/// How the path of everything in the decision core begins.
const CRATE: &str = "kernel_core::";

/// The step.
pub fn step(toolchain: Toolchain) -> Step {
    Step::with_remark("the scheduler alone is linked", move || {
        let path = build::example(toolchain, "kernel-core", "host_kernel")?;
        let file = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let names = names(&file).with_context(|| format!("cannot read the symbols of {}", path.display()))?;
        let (ours, others) = divide(names.iter().map(String::as_str));
        ensure!(ours > 0, "{} has no name of {CRATE}: was it stripped?", path.display());
        ensure!(
            others.is_empty(),
            "a kernel that uses only the scheduler has been given:\n{}",
            others.into_iter().collect::<Vec<_>>().join("\n")
        );
        Ok(format!("{ours} names"))
    })
}

/// The names of what is in an ELF file.
fn names(file: &[u8]) -> Result<Vec<String>> {
    let elf = ElfBytes::<AnyEndian>::minimal_parse(file)?;
    let (symbols, names) = elf.symbol_table()?.context("there is no symbol table")?;
    let defined = symbols.iter().filter(|symbol| symbol.st_shndx != SHN_UNDEF);
    let name = |index: u32| format!("{:#}", rustc_demangle::demangle(names.get(index as usize).unwrap_or_default()));
    Ok(defined.map(|symbol| name(symbol.st_name)).collect())
}

/// How many names are of the scheduler, and those that are of another module of the decision core, be it in a type only.
fn divide<'a>(names: impl Iterator<Item = &'a str>) -> (usize, BTreeSet<&'a str>) {
    let (mut ours, mut others) = (0, BTreeSet::new());
    for name in names {
        let mut modules = name.split(CRATE).skip(1).map(|rest| rest.split("::").next().unwrap_or(rest)).peekable();
        ours += usize::from(modules.peek().is_some());
        if modules.any(|module| !SCHEDULER.contains(&module)) {
            others.insert(name);
        }
    }
    (ours - others.len(), others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_another_module_is_found_in_paths_and_in_types() {
        let names = [
            "kernel_core::sched::dispatcher::Dispatcher<H,_>::begin",
            "<kernel_core::timer::Timers as core::ops::drop::Drop>::drop",
            "kernel_core::endpoint::queues::Queue::take",
            "core::ptr::drop_in_place<alloc::vec::Vec<kernel_core::cap::handle::Handle>>",
            "kernel_core::sched::f<kernel_core::ring::Ring>",
            "main",
        ];
        let (ours, others) = divide(names.into_iter());
        assert_eq!((ours, others), (2, BTreeSet::from([names[2], names[3], names[4]])));
    }

    #[test]
    fn the_names_in_a_program_are_read_as_a_person_writes_them() {
        let own = std::env::current_exe().unwrap();
        let names = names(&fs::read(own).unwrap()).unwrap();
        assert!(names.iter().any(|name| name.contains("xtask::test::linked::")));
    }
}
