//! Which machines each target is booted on: few boots that meet every pair of choices.
//!
//! A boot is a target and one of two values for each of a few factors. Most faults show when two choices meet, so the boots
//! are chosen to cover every pair: each value of a factor with each target, and with each value of each other factor. Two
//! boots a target are enough for that where the factors have two values. `soak --full` boots all combinations.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use qemu_targets::target::{self, Target};

use crate::boot::{Apic, Architecture, Gic, Policy, Switches};

/// Targets about shares, which exact counting can prove to a fraction of a percent: those whose names begin so ...
const COUNTED: &str = "thread-fairness";
/// ... and this one.
const COUNTED_PAIRS: &str = "ipc-pairs";
/// The target that is for many CPUs, and how many it gets.
const CROWD: &str = "crowd";

/// What is chosen between two values. The first value of each is what a person gets without switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
enum Factor {
    /// x86_64 or aarch64.
    Architecture,
    /// The newer or the older interrupt controller.
    Controller,
    /// `wfq` or `eevdf`.
    Policy,
    /// The target's usual number of CPUs, or the least.
    Size,
    /// The best CPU that QEMU has, or one without newer features.
    Model,
    /// The usual board, or little memory (x86_64), or a start at EL2 (aarch64).
    Board,
}

const FACTORS: usize = 6;

/// One boot: the target's index, and for each factor whether it has the second value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    target: usize,
    second: [bool; FACTORS],
}

impl Row {
    fn new(target: usize, seconds: &[Factor]) -> Self {
        let mut second = [false; FACTORS];
        seconds.iter().for_each(|factor| second[*factor as usize] = true);
        Self { target, second }
    }

    fn has(&self, factor: Factor) -> bool {
        self.second[factor as usize]
    }

    /// The pairs that it covers: target and value, value and value.
    fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        let value = |factor: usize| (factor, self.second[factor]);
        let with_target = (0..FACTORS).map(move |factor| Pair::Target(self.target, value(factor)));
        let with_factor = move |one: usize| (one + 1..FACTORS).map(move |two| Pair::Factors(value(one), value(two)));
        with_target.chain((0..FACTORS).flat_map(with_factor))
    }
}

type Value = (usize, bool);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pair {
    Target(usize, Value),
    Factors(Value, Value),
}

/// A boot as it is done.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The target.
    pub target: &'static str,
    /// The machine.
    pub switches: Switches,
}

/// The targets that the boots are of: all but those that are too long for a test or need more memory than the smallest
/// machine has.
fn names() -> impl Iterator<Item = &'static str> {
    // One that does not parse is no reason to skip it: its step fails.
    target::names().filter(|name| Target::named(name).map_or(true, |target| !target.long && target.memory.is_none()))
}

/// The boots of all targets.
pub fn boots() -> Vec<Boot> {
    let names: Vec<&'static str> = names().collect();
    let (counted, crowd) = (counted_rows(&names), crowd_rows(&names));
    let rows = cover(names.len(), [counted.clone(), crowd].concat());
    let counted = counted.len();
    rows.iter().enumerate().map(|(place, row)| boot(&names, row, place < counted)).collect()
}

fn is_counted(name: &str) -> bool {
    name.starts_with(COUNTED) || name == COUNTED_PAIRS
}

/// Each target about shares under both policies, each time on the other machine.
fn counted_rows(names: &[&str]) -> Vec<Row> {
    use Factor::{Architecture, Controller, Policy};
    let targets = names.iter().enumerate().filter(|(_, name)| is_counted(name));
    let rows = targets.enumerate().flat_map(|(place, (target, _))| {
        // The older controller: QEMU's x2APIC cannot be counted.
        let [first, second] = [&[Controller][..], &[Controller, Policy, Architecture]];
        let [third, fourth] = [&[Controller, Architecture][..], &[Controller, Policy]];
        let both = if place % 2 == 0 { [first, second] } else { [third, fourth] };
        both.map(|factors| Row::new(target, factors))
    });
    rows.collect()
}

/// Many CPUs need the newer controllers.
fn crowd_rows(names: &[&str]) -> Vec<Row> {
    let target = names.iter().position(|name| *name == CROWD);
    target.map_or(Vec::new(), |target| vec![Row::new(target, &[]), Row::new(target, &[Factor::Architecture])])
}

/// Adds rows until every pair is covered. Of rows that cover as much that is new, the one with the rarest pairs is taken, so
/// that targets meet different machines.
fn cover(targets: usize, mut rows: Vec<Row>) -> Vec<Row> {
    let mut met: BTreeMap<Pair, usize> = BTreeMap::new();
    rows.iter().for_each(|row| note(&mut met, row));
    for target in 0..targets {
        // The first of the best, so that the list is the same in every run.
        let best = |met: &BTreeMap<Pair, usize>| {
            (0..1 << FACTORS).map(|bits| row_of(target, bits)).rev().max_by_key(|row| gain(met, row))
        };
        while let Some(row) = best(&met).filter(|row| gain(&met, row).0 > 0) {
            note(&mut met, &row);
            rows.push(row);
        }
    }
    rows
}

/// What a row adds: pairs with its target that are new, other new pairs, and how rare its pairs are.
fn gain(met: &BTreeMap<Pair, usize>, row: &Row) -> (usize, usize, Reverse<usize>) {
    let is_new = |pair: &Pair| !met.contains_key(pair);
    let (with_target, others): (Vec<Pair>, Vec<Pair>) = row.pairs().partition(|pair| matches!(pair, Pair::Target(..)));
    let often = others.iter().filter_map(|pair| met.get(pair)).sum();
    (
        with_target.iter().filter(|pair| is_new(pair)).count(),
        others.iter().filter(|pair| is_new(pair)).count(),
        Reverse(often),
    )
}

fn row_of(target: usize, bits: u32) -> Row {
    Row { target, second: std::array::from_fn(|factor| bits >> factor & 1 != 0) }
}

fn note(met: &mut BTreeMap<Pair, usize>, row: &Row) {
    row.pairs().for_each(|pair| *met.entry(pair).or_default() += 1);
}

fn boot(names: &[&'static str], row: &Row, icount: bool) -> Boot {
    let target = names[row.target];
    let policy = if row.has(Factor::Policy) { Policy::Eevdf } else { Policy::Wfq };
    let base = Switches { icount, policy: Some(policy), cpus: cpus(target, row), ..Switches::default() };
    let switches = if row.has(Factor::Architecture) { virt(base, row) } else { q35(base, row) };
    Boot { target, switches }
}

fn q35(base: Switches, row: &Row) -> Switches {
    let is_older = row.has(Factor::Controller);
    let model = row.has(Factor::Model).then(|| if is_older { "qemu64" } else { "max,-smep,-smap,-umip" }.to_owned());
    let apic = Some(if is_older { Apic::Xapic } else { Apic::X2apic });
    Switches { apic, cpu_model: model, memory: row.has(Factor::Board).then_some(64), ..base }
}

fn virt(base: Switches, row: &Row) -> Switches {
    let is_older = row.has(Factor::Controller);
    let model = row.has(Factor::Model).then(|| if is_older { "cortex-a72" } else { "cortex-a53" }.to_owned());
    let gic = Some(if is_older { Gic::Two } else { Gic::Three });
    let virtualization = row.has(Factor::Board);
    Switches { arch: Architecture::Aarch64, gic, cpu_model: model, virtualization, ..base }
}

/// How many CPUs, if not the target's own number.
fn cpus(name: &str, row: &Row) -> Option<u16> {
    match (row.has(Factor::Size), name) {
        (true, _) => Some(Target::named(name).map_or(1, |target| target.least_cpus.max(1))),
        (false, CROWD) => Some(match (row.has(Factor::Architecture), row.has(Factor::Controller)) {
            (false, _) => 288,
            (true, false) => 128,
            (true, true) => Gic::most_cpus_of_older(),
        }),
        (false, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_pair(targets: usize) -> Vec<Pair> {
        let values = || (0..FACTORS).flat_map(|factor| [(factor, false), (factor, true)]);
        let with_target = (0..targets).flat_map(|target| values().map(move |value| Pair::Target(target, value)));
        let with_factor =
            values().flat_map(|one| values().filter(move |two| two.0 > one.0).map(move |two| Pair::Factors(one, two)));
        with_target.chain(with_factor).collect()
    }

    #[test]
    fn every_pair_of_choices_meets_in_some_boot_and_two_boots_a_target_are_enough() {
        for targets in [5, 13, 30] {
            let rows = cover(targets, Vec::new());
            let covered: Vec<Pair> = rows.iter().flat_map(|row| row.pairs().collect::<Vec<_>>()).collect();
            for pair in every_pair(targets) {
                assert!(covered.contains(&pair), "{pair:?} of {targets} targets");
            }
            assert_eq!(rows.len(), 2 * targets);
        }
    }

    #[test]
    fn a_list_that_lacks_a_row_lacks_a_pair() {
        let rows = cover(13, Vec::new());
        for left_out in 0..rows.len() {
            let rest = rows.iter().enumerate().filter(|(place, _)| *place != left_out);
            let covered: Vec<Pair> = rest.flat_map(|(_, row)| row.pairs().collect::<Vec<_>>()).collect();
            assert!(every_pair(13).iter().any(|pair| !covered.contains(pair)));
        }
    }

    #[test]
    fn each_target_runs_on_both_machines_and_every_machine_can_be() {
        let boots = boots();
        for name in names() {
            for arch in [Architecture::X86_64, Architecture::Aarch64] {
                assert!(boots.iter().any(|boot| boot.target == name && boot.switches.arch == arch), "{name} {arch:?}");
            }
        }
        for boot in &boots {
            boot.switches.check().unwrap_or_else(|error| panic!("{boot:?}: {error}"));
        }
        let counted = boots.iter().filter(|boot| boot.switches.icount).count();
        assert!(boots.len() <= 2 * names().count() + counted / 2 + 1, "{} boots", boots.len());
    }
}
