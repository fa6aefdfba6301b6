//! Any bytes as operations on two capability tables and on what revokes their capabilities, against maps.
#![cfg(not(any(loom, shuttle)))]

mod cap_model;

use cap_model::{Object, Pair, Totals, transfer};
use kernel_core::cap::{Handle, MAX_REVOCATION_DEPTH, Revocation, TransferMode};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use tessera_fuzz::{Entry, Input, any_bytes, config, corpus};

static CORPUS: LazyLock<Vec<Entry>> =
    LazyLock::new(|| corpus(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/cap")));

/// What an operation is, in the upper seven bits of its first byte; the lowest says at which table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Operation {
    Insert,
    InsertMany,
    Remove,
    Look,
    Walk,
    Reserve,
    Fill,
    Cancel,
    Misplace,
    Transfer,
    Lend,
    NewSwitch,
    Revoke,
    Drain,
}

use Operation::{
    Cancel, Drain, Fill, Insert, InsertMany, Lend, Look, Misplace, NewSwitch, Remove, Reserve, Revoke, Transfer, Walk,
};

/// The first number of each. A table that is drained takes nothing any more, so that is rare.
const OPERATIONS: [(u8, Operation); 14] = [
    (0, Insert),
    (0x1c, InsertMany),
    (0x1e, Remove),
    (0x32, Look),
    (0x38, Walk),
    (0x3a, Reserve),
    (0x42, Fill),
    (0x48, Cancel),
    (0x4d, Misplace),
    (0x4f, Transfer),
    (0x65, Lend),
    (0x6b, NewSwitch),
    (0x77, Revoke),
    (0x7f, Drain),
];

/// The switches that there are, with what the model knows of each.
#[derive(Default)]
struct Switches {
    all: Vec<(Arc<Revocation>, Option<usize>)>,
    revoked: BTreeSet<usize>,
}

impl Switches {
    /// None, or one of the later ones.
    fn pick(&self, byte: u8) -> Option<usize> {
        let count = self.all.len();
        if byte < 0x80 || count == 0 { None } else { Some(count - 1 - usize::from(byte - 0x80) % count) }
    }

    /// A switch and those above it.
    fn chain(&self, switch: Option<usize>) -> impl Iterator<Item = usize> {
        std::iter::successors(switch, |&switch| self.all[switch].1)
    }

    fn is_revoked(&self, switch: Option<usize>) -> bool {
        self.chain(switch).any(|switch| self.revoked.contains(&switch))
    }

    fn revocation(&self, switch: Option<usize>) -> Option<Arc<Revocation>> {
        switch.map(|switch| Arc::clone(&self.all[switch].0))
    }

    fn make(&mut self, parent: Option<usize>) {
        let is_too_deep = self.chain(parent).count() >= MAX_REVOCATION_DEPTH as usize;
        let made = Revocation::new(self.revocation(parent));
        assert_eq!(made.is_err(), is_too_deep);
        self.all.extend(made.ok().map(|made| (made, parent)));
    }

    fn revoke(&mut self, switch: Option<usize>) {
        if let Some(switch) = switch {
            self.all[switch].0.revoke();
            self.revoked.insert(switch);
        }
    }
}

/// Both tables, and what must come of the operations.
struct World {
    pairs: [Pair; 2],
    totals: Totals,
    switches: Switches,
    /// What each object hangs on.
    objects: Vec<Option<usize>>,
    done: BTreeSet<Operation>,
}

impl World {
    fn object(&mut self, switch: Option<usize>) -> Object {
        self.objects.push(switch);
        Object { object: self.objects.len() as u32 - 1, revocation: self.switches.revocation(switch) }
    }

    fn insert(&mut self, here: usize, switch: Option<usize>) {
        let object = self.object(switch);
        let number = object.object;
        if self.pairs[here].insert(object) {
            self.totals.add(number);
        }
    }

    fn fill(&mut self, here: usize, which: u8, count: usize) {
        let new: Vec<Object> = (0..count).map(|_| self.object(None)).collect();
        if let Some(reservation) = take_reservation(&mut self.pairs[here], which) {
            let rest = self.pairs[here].fill(reservation, &new);
            new[..count - rest.len()].iter().for_each(|object| self.totals.add(object.object));
        }
    }

    fn misplace(&mut self, here: usize, which: u8) {
        let object = self.object(None);
        let (pair, other) = both(&mut self.pairs, here);
        if let Some(reservation) = take_reservation(pair, which) {
            pair.misplace(reservation, other, object);
        }
    }

    fn transfer(&mut self, here: usize, wanted: &[(Handle, TransferMode)], receiver_fails: bool) {
        let (from, to) = both(&mut self.pairs, here);
        if let Some((taken, rest)) = transfer(from, to, wanted, receiver_fails) {
            let moved = wanted.iter().zip(&taken).filter(|((_, mode), _)| *mode == TransferMode::Move);
            moved.for_each(|(_, object)| self.totals.remove(object.object));
            taken[..taken.len() - rest.len()].iter().for_each(|object| self.totals.add(object.object));
        }
    }

    /// Carries out the next operation. `None`: the bytes are at their end.
    fn step(&mut self, bytes: &mut Input<'_>) -> Option<()> {
        let first = bytes.byte()?;
        let (here, number) = (usize::from(first & 1), first >> 1);
        let &(_, operation) = OPERATIONS.iter().rev().find(|&&(first, _)| first <= number)?;
        let pair = &mut self.pairs[here];
        match operation {
            Insert => {
                let switch = self.switches.pick(bytes.byte()?);
                self.insert(here, switch);
            }
            InsertMany => (0..bytes.byte()?).for_each(|_| self.insert(here, None)),
            Remove => {
                let handle = pair.pick(bytes)?;
                pair.remove(handle).into_iter().for_each(|number| self.totals.remove(number));
            }
            Look => pair.look(pair.pick(bytes)?),
            Walk => pair.walk_from(bytes.u32()?),
            Reserve => drop(pair.reserve(bytes.index(20)?)),
            Fill => self.fill(here, bytes.byte()?, bytes.index(20)?),
            Cancel => {
                if let Some(reservation) = take_reservation(pair, bytes.byte()?) {
                    pair.table.cancel(reservation);
                }
            }
            Misplace => self.misplace(here, bytes.byte()?),
            Transfer => {
                let (count, receiver_fails) = (bytes.index(20)?, bytes.index(5)? == 0);
                let mode = |byte: u8| if byte.is_multiple_of(2) { TransferMode::Copy } else { TransferMode::Move };
                let mut next = || Some((pair.pick(bytes)?, mode(bytes.byte()?)));
                let wanted = (0..count).map(|_| next()).collect::<Option<Vec<_>>>()?;
                self.transfer(here, &wanted, receiver_fails);
            }
            Lend => {
                let count = bytes.index(20)?;
                pair.lend(&(0..count).map(|_| pair.pick(bytes)).collect::<Option<Vec<_>>>()?);
            }
            NewSwitch => self.switches.make(self.switches.pick(bytes.byte()?)),
            Revoke => self.switches.revoke(self.switches.pick(bytes.byte()?)),
            Drain => {
                let out = pair.drain_step(bytes.index(10)?);
                out.into_iter().for_each(|number| self.totals.remove(number));
            }
        }
        self.done.insert(operation);
        self.compare();
        Some(())
    }

    fn compare(&self) {
        self.pairs.iter().for_each(Pair::compare);
        self.totals.compare(&self.pairs);
        for pair in &self.pairs {
            for (&raw, &number) in &pair.model {
                let entry = pair.table.get(Handle::from_raw(raw)).expect("compared");
                let is_revoked = self.switches.is_revoked(self.objects[number as usize]);
                assert_eq!(entry.live().is_err(), is_revoked);
            }
        }
    }
}

fn take_reservation(pair: &mut Pair, which: u8) -> Option<kernel_core::cap::Reservation> {
    let count = pair.reservations.len();
    (count > 0).then(|| pair.reservations.swap_remove(usize::from(which) % count))
}

/// The table of an operation, and the other one.
fn both(pairs: &mut [Pair; 2], here: usize) -> (&mut Pair, &mut Pair) {
    let [left, right] = pairs;
    if here == 0 { (left, right) } else { (right, left) }
}

/// Carries out all operations at tables of the limits that stand first, and answers which there were.
fn run(bytes: &[u8]) -> BTreeSet<Operation> {
    let mut bytes = Input::new(bytes);
    let mut limit = |most: usize| 1 + bytes.index(most).unwrap_or(0) as u32;
    let pairs = [limit(90), limit(90)].map(Pair::new);
    let (totals, switches) = (Totals::default(), Switches::default());
    let mut world = World { pairs, totals, switches, objects: Vec::new(), done: BTreeSet::new() };
    while world.step(&mut bytes).is_some() {}
    world.done
}

#[test]
fn the_corpus_has_every_operation() {
    let done: BTreeSet<Operation> = CORPUS.iter().flat_map(|entry| run(&entry.bytes)).collect();
    assert_eq!(done, OPERATIONS.iter().map(|&(_, operation)| operation).collect());
}

proptest! {
    #![proptest_config(config(800))]

    #[test]
    fn tables_behave_as_maps_whatever_is_done_and_transfers_keep_the_totals(bytes in any_bytes(&CORPUS, 500)) {
        run(&bytes);
    }
}
