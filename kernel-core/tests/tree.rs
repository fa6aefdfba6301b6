//! The tree against a `BTreeMap`, with a summary like the one that a run queue keeps.
#![cfg(not(any(loom, shuttle)))]

use kernel_core::slab::Slot;
use kernel_core::sync::{Pack, QueueOwned};
use kernel_core::tree::{Block, Filter, Links, Matching, Nodes, Summary, Tree, TreeViolation};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Two facts, so that often nobody contributes both: the least eligible time, rounded down to an even one, and in the
/// lowest bit whether any of them is odd.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Least(u64);

impl Pack for Least {
    type Bits = u64;
    fn pack(self) -> u64 {
        self.0
    }
    fn unpack(bits: u64) -> Self {
        Self(bits)
    }
}

impl Summary for Least {
    fn and(self, other: Self) -> Self {
        Self(self.time().min(other.time()) | (self.0 | other.0) & 1)
    }
}

impl Least {
    fn time(self) -> u64 {
        self.0 & !1
    }
}

/// Ordered by deadline; the least eligible time of each subtree is kept.
#[derive(Default)]
struct Entity {
    links: Links,
    block: Block<u64, Least>,
    deadline: QueueOwned<u64>,
    sequence: QueueOwned<u64>,
    eligible: QueueOwned<u64>,
}

struct Entities(Vec<Entity>);

impl Entity {
    /// Its place in the model: behind those of the same deadline that came before.
    fn place(&self) -> (u64, u64) {
        (self.deadline.get(), self.sequence.get())
    }
}

impl Entities {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| Entity::default()).collect())
    }

    fn at(&self, slot: Slot) -> &Entity {
        &self.0[slot.index() as usize]
    }

    /// The earliest deadline among those eligible at `now`.
    fn pick(&self, tree: &Tree, now: u64) -> Option<Slot> {
        tree.first_where(self, &eligible_at(now))
    }
}

fn eligible_at(now: u64) -> impl Filter<Entities> {
    Matching(move |least: Least| least.time() <= now, move |entity: &Entity| entity.eligible.get() <= now)
}

impl Nodes for Entities {
    type Node = Entity;
    type Key = u64;
    type Summary = Least;

    fn node(&self, slot: Slot) -> &Entity {
        self.at(slot)
    }

    fn links(entity: &Entity) -> &Links {
        &entity.links
    }

    fn block(entity: &Entity) -> &Block<u64, Least> {
        &entity.block
    }

    fn key(entity: &Entity) -> u64 {
        entity.deadline.get()
    }

    fn summary(&self, entity: &Entity) -> Least {
        Least(entity.eligible.get())
    }
}

/// A tree and the map that it must behave as: (deadline, sequence) -> (index, eligible).
struct Pair {
    entities: Entities,
    tree: Tree,
    model: BTreeMap<(u64, u64), (u32, u64)>,
    sequence: u64,
}

impl Pair {
    fn new(count: usize) -> Self {
        Self { entities: Entities::new(count), tree: Tree::new(), model: BTreeMap::new(), sequence: 0 }
    }

    /// Inserts entity `index`, or removes it if it is in the tree.
    fn toggle(&mut self, index: u32, deadline: u64, eligible: u64) {
        let slot = Slot::new(index);
        let entity = self.entities.at(slot);
        if entity.links.is_linked() {
            self.tree.remove(&self.entities, slot);
            assert_eq!(self.model.remove(&entity.place()).map(|(index, _)| index), Some(index));
            return;
        }
        self.sequence += 1;
        entity.deadline.set(deadline);
        entity.sequence.set(self.sequence);
        entity.eligible.set(eligible);
        self.tree.insert(&self.entities, slot);
        self.model.insert((deadline, self.sequence), (index, eligible));
    }

    fn change_eligible(&mut self, index: u32, eligible: u64) {
        let slot = Slot::new(index);
        if self.entities.at(slot).links.is_linked() {
            self.entities.at(slot).eligible.set(eligible);
            self.tree.refresh(&self.entities, slot);
            self.model.insert(self.entities.at(slot).place(), (index, eligible));
        }
    }

    fn change_deadline(&mut self, index: u32, deadline: u64) {
        let slot = Slot::new(index);
        let entity = self.entities.at(slot);
        if entity.links.is_linked() {
            let said = self.model.remove(&entity.place()).expect("the model has whom the tree has");
            self.sequence += 1;
            entity.deadline.set(deadline);
            entity.sequence.set(self.sequence);
            self.tree.rekey(&self.entities, slot, entity);
            self.model.insert(entity.place(), said);
        }
    }

    fn compare(&self, now: u64) {
        assert_eq!(self.tree.check(&self.entities), Ok(()));
        assert_eq!(self.tree.len(), self.model.len());
        let in_order: Vec<u32> = self.tree.iter(&self.entities).map(Slot::index).collect();
        assert_eq!(in_order, self.model.values().map(|&(index, _)| index).collect::<Vec<_>>());
        let eligible = self.model.values().filter(|&&(_, eligible)| eligible <= now).map(|&(index, _)| index);
        let found: Vec<u32> = self.tree.iter_where(&self.entities, eligible_at(now)).map(Slot::index).collect();
        assert_eq!(found, eligible.collect::<Vec<_>>());
        assert_eq!(self.entities.pick(&self.tree, now).map(Slot::index), found.first().copied());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn it_behaves_as_a_map_with_summaries(
        steps in prop::collection::vec((0..160_u32, 0..20_u64, 0..100_u64, 0..10_u32), 1..600),
        now in 0..100_u64,
    ) {
        let mut pair = Pair::new(160);
        for (index, deadline, eligible, step) in steps {
            match step {
                0 => pair.change_eligible(index, eligible),
                1 | 2 => pair.change_deadline(index, deadline),
                _ => pair.toggle(index, deadline, eligible),
            }
            pair.compare(now);
        }
    }
}

#[test]
fn ascending_descending_and_alternating_insertions_behave_as_a_map() {
    for order in 0..3_u64 {
        let mut pair = Pair::new(1000);
        for index in 0..1000_u32 {
            let deadline = match order {
                0 => u64::from(index),
                1 => u64::from(1000 - index),
                _ => u64::from(index % 2 * 5000 + index),
            };
            pair.toggle(index, deadline, u64::from(index % 100));
        }
        pair.compare(50);
        for index in (0..1000).filter(|index| index % 3 != 0) {
            pair.toggle(index, 0, 0);
        }
        pair.compare(50);
        while let Some(first) = pair.tree.first() {
            pair.toggle(first.index(), 0, 0);
        }
        assert!(pair.tree.is_empty());
        pair.compare(50);
    }
}

/// Sums of sums: each that comes is the first to be eligible, and so is each that goes.
#[test]
fn sums_follow_from_those_below_in_a_tree_of_three_levels() {
    const COUNT: u32 = 600;
    let mut pair = Pair::new(COUNT as usize);
    let scattered = |index: u32| u64::from(index * 389 % COUNT);
    for index in 0..COUNT {
        pair.toggle(index, scattered(index), u64::from(2 * COUNT - index));
        assert_eq!(pair.tree.check(&pair.entities), Ok(()), "after {index} has come");
    }
    for index in (0..COUNT).rev() {
        pair.toggle(index, 0, 0);
        assert_eq!(pair.tree.check(&pair.entities), Ok(()), "after {index} has gone");
    }
}

#[test]
fn the_check_finds_a_key_that_changed_in_place_and_a_stale_summary() {
    let mut pair = Pair::new(20);
    for index in 0..20 {
        pair.toggle(index, u64::from(index), 50);
    }
    let last = pair.tree.iter(&pair.entities).last().expect("not empty");
    pair.entities.at(last).eligible.set(1);
    assert_eq!(pair.tree.check(&pair.entities), Err(TreeViolation::Summary(last)));
    pair.tree.refresh(&pair.entities, last);
    assert_eq!(pair.tree.check(&pair.entities), Ok(()));
    let first = pair.tree.first().expect("not empty");
    pair.entities.at(first).deadline.set(1000);
    assert!(matches!(pair.tree.check(&pair.entities), Err(TreeViolation::Order(_))));
}

#[test]
fn a_search_with_exact_summaries_visits_few_nodes_however_many_there_are() {
    let mut pair = Pair::new(4096);
    for index in 0..4096 {
        // One of the last is the only eligible one.
        pair.toggle(index, u64::from(index), if index == 4000 { 10 } else { 90 });
    }
    let visits = std::cell::Cell::new(0);
    let entities = &pair.entities;
    let visit = |matches: bool| {
        visits.set(visits.get() + 1);
        matches
    };
    let filter =
        Matching(|least: Least| visit(least.time() <= 10), |entity: &Entity| visit(entity.eligible.get() <= 10));
    assert_eq!(pair.tree.first_where(entities, &filter), Some(Slot::new(4000)));
    // Up and down four levels, and in each past all entries of a block at most.
    assert!(visits.get() <= 2 * 4 * 15, "{} visits for 4096 nodes", visits.get());
}
