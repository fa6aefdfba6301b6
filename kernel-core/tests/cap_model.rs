//! Two capability tables under random operations and transfers, against maps: nothing appears, nothing is lost, and
//! what fails changes nothing.
#![cfg(not(any(loom, shuttle)))]

use kernel_core::cap::{Handle, InvalidHandle, Reservation, Table, TableFull, TakeError, TransferMode};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use tessera_abi::transfer::MAX_TRANSFER;

#[derive(Clone, Debug)]
enum Step {
    Insert,
    Remove(Index),
    Reserve {
        count: usize,
    },
    Fill {
        pick: Index,
        objects: usize,
    },
    Cancel(Index),
    /// From this table to the other, by the kernel's two phases.
    Transfer {
        wanted: Vec<(Index, bool)>,
        receiver_fails: bool,
    },
    Drain {
        most: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let pick = any::<Index>;
    let wanted = prop::collection::vec((pick(), any::<bool>()), 0..6);
    prop_oneof![
        100 => Just(Step::Insert),
        60 => pick().prop_map(Step::Remove),
        30 => (0..6_usize).prop_map(|count| Step::Reserve { count }),
        20 => (pick(), 0..6_usize).prop_map(|(pick, objects)| Step::Fill { pick, objects }),
        20 => pick().prop_map(Step::Cancel),
        80 => (wanted, prop::bool::weighted(0.2))
            .prop_map(|(wanted, receiver_fails)| Step::Transfer { wanted, receiver_fails }),
        1 => (0..10_usize).prop_map(|most| Step::Drain { most }),
    ]
}

/// A table and the map that it must behave as.
struct Pair {
    table: Table<u32>,
    model: BTreeMap<u64, u32>,
    /// Every handle that there ever was, also of slots that were only reserved.
    ever: Vec<Handle>,
    reservations: Vec<Reservation>,
    is_draining: bool,
}

impl Pair {
    fn new(limit: u32) -> Self {
        Self {
            table: Table::new(limit),
            model: BTreeMap::new(),
            ever: Vec::new(),
            reservations: Vec::new(),
            is_draining: false,
        }
    }

    fn reserved(&self) -> usize {
        self.reservations.iter().map(|reservation| reservation.handles().len()).sum()
    }

    fn has_room(&self, count: usize) -> bool {
        let used = self.model.len() + self.reserved();
        !self.is_draining && used + count <= self.table.limit() as usize
    }

    /// A new handle is one that there never was.
    fn note(&mut self, handle: Handle) {
        assert!(handle.generation() > 0 && handle.slot() < self.table.limit());
        assert!(!self.ever.contains(&handle), "{handle:?} names a second thing");
        self.ever.push(handle);
    }

    fn insert(&mut self, object: u32) -> bool {
        let has_room = self.has_room(1);
        let inserted = self.table.insert(object);
        assert_eq!(inserted.is_ok(), has_room);
        if let Ok(handle) = inserted {
            self.note(handle);
            self.model.insert(handle.to_raw(), object);
        }
        has_room
    }

    fn pick(&self, pick: &Index) -> Handle {
        if self.ever.is_empty() { Handle::from_raw(0) } else { *pick.get(&self.ever) }
    }

    fn remove(&mut self, handle: Handle) -> Option<u32> {
        let expected = self.model.remove(&handle.to_raw());
        assert_eq!(self.table.remove(handle), expected.ok_or(InvalidHandle(handle)));
        expected
    }

    fn reserve(&mut self, count: usize) -> Result<(), TableFull> {
        let has_room = self.has_room(count) || (count == 0);
        let reservation = self.table.reserve(count);
        assert_eq!(reservation.is_ok(), has_room);
        let reservation = reservation?;
        assert_eq!(reservation.handles().len(), count);
        reservation.handles().to_vec().into_iter().for_each(|handle| self.note(handle));
        self.reservations.push(reservation);
        Ok(())
    }

    /// Fills a reservation, and answers what the table has not taken.
    fn fill(&mut self, reservation: Reservation, objects: &[u32]) -> Vec<u32> {
        let promised = reservation.handles().to_vec();
        let taken = if self.is_draining { 0 } else { promised.len().min(objects.len()) };
        let mut rest = objects.iter().copied();
        let filled = self.table.fill(reservation, rest.by_ref());
        assert_eq!(filled[..], promised[..taken]);
        self.model.extend(filled.iter().map(|handle| handle.to_raw()).zip(objects.iter().copied()));
        rest.collect()
    }

    /// Takes from the table what the model says can be taken.
    fn take(&mut self, wanted: &[(Handle, TransferMode)]) -> Result<Vec<u32>, TakeError> {
        let moves = |handle: Handle| wanted.iter().filter(move |&&(its, _)| its == handle);
        let is_twice =
            |handle: Handle| moves(handle).count() > 1 && moves(handle).any(|&(_, mode)| mode == TransferMode::Move);
        let is_valid = |handle: Handle| self.model.contains_key(&handle.to_raw());
        let can_be_taken = wanted.iter().all(|&(handle, _)| is_valid(handle) && !is_twice(handle));
        let taken = self.table.take(wanted);
        assert_eq!(taken.is_ok(), can_be_taken, "{taken:?}");
        let taken = match taken {
            Ok(taken) => taken.to_vec(),
            Err(TakeError::Invalid(handle)) if !is_valid(handle) => return Err(TakeError::Invalid(handle)),
            Err(TakeError::Duplicate(handle)) if is_twice(handle) => return Err(TakeError::Duplicate(handle)),
            Err(other) => panic!("{other:?} is not what is wrong"),
        };
        let expected: Vec<_> = wanted.iter().map(|(handle, _)| self.model[&handle.to_raw()]).collect();
        assert_eq!(taken, expected);
        for (handle, _) in wanted.iter().filter(|&&(_, mode)| mode == TransferMode::Move) {
            self.model.remove(&handle.to_raw());
        }
        Ok(taken)
    }

    fn drain_step(&mut self, most: usize) -> Vec<u32> {
        let mut out = Vec::new();
        let is_done = self.table.drain_step(most, &mut |object| out.push(object));
        self.is_draining = true;
        // By slot, and no slot holds two.
        let mut handles: Vec<_> = self.model.keys().copied().collect();
        handles.sort_by_key(|&raw| Handle::from_raw(raw).slot());
        let expected = handles.into_iter().take(most).filter_map(|raw| self.model.remove(&raw));
        assert_eq!(out, expected.collect::<Vec<_>>());
        assert_eq!(is_done, self.model.is_empty());
        out
    }

    fn compare(&self) {
        let mut next = 0;
        let walk = std::iter::from_fn(|| {
            let (handle, &object) = self.table.next_after(next)?;
            assert!(handle.slot() >= next);
            next = handle.slot() + 1;
            Some((handle.to_raw(), object))
        });
        assert_eq!(walk.collect::<BTreeMap<_, _>>(), self.model);
        for &handle in &self.ever {
            assert_eq!(self.table.get(handle).ok(), self.model.get(&handle.to_raw()));
        }
        assert_eq!(self.table.len() as usize, self.model.len());
        assert_eq!(self.table.reserved() as usize, self.reserved());
    }
}

/// How often each object is in the two tables, as the operations say.
#[derive(Default)]
struct Totals(BTreeMap<u32, usize>);

impl Totals {
    fn add(&mut self, object: u32) {
        *self.0.entry(object).or_default() += 1;
    }

    fn remove(&mut self, object: u32) {
        let count = self.0.get_mut(&object).expect("it was there");
        *count -= 1;
        if *count == 0 {
            self.0.remove(&object);
        }
    }

    fn compare(&self, pairs: &[Pair; 2]) {
        let mut actual = Self::default();
        pairs.iter().flat_map(|pair| pair.model.values()).for_each(|&object| actual.add(object));
        assert_eq!(actual.0, self.0);
    }
}

/// Sends from one table to the other, as the kernel does. Answers the objects that the receiver has not taken.
fn transfer(
    from: &mut Pair,
    to: &mut Pair,
    wanted: &[(Handle, TransferMode)],
    receiver_fails: bool,
) -> Option<(Vec<u32>, Vec<u32>)> {
    let before = (from.model.clone(), to.model.clone());
    let unchanged = |from: &Pair, to: &Pair| {
        from.compare();
        to.compare();
        assert_eq!((&from.model, &to.model), (&before.0, &before.1));
    };
    if to.reserve(wanted.len()).is_err() {
        unchanged(from, to);
        return None;
    }
    let reservation = to.reservations.pop().expect("just made");
    let taken = if receiver_fails { None } else { from.take(wanted).ok() };
    let Some(taken) = taken else {
        to.table.cancel(reservation);
        unchanged(from, to);
        return None;
    };
    let rest = to.fill(reservation, &taken);
    Some((taken, rest))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn tables_behave_as_maps_and_transfers_keep_the_totals(
        limits in [1..90_u32, 1..12_u32],
        steps in prop::collection::vec((0..2_usize, step()), 1..250),
    ) {
        let mut pairs = limits.map(Pair::new);
        let (mut totals, mut objects) = (Totals::default(), 0..);
        for (here, step) in steps {
            let pair = &mut pairs[here];
            match step {
                Step::Insert => {
                    let object = objects.next().expect("endless");
                    if pair.insert(object) {
                        totals.add(object);
                    }
                }
                Step::Remove(pick) => {
                    let handle = pair.pick(&pick);
                    pair.remove(handle).into_iter().for_each(|object| totals.remove(object));
                }
                Step::Reserve { count } => drop(pair.reserve(count)),
                Step::Fill { pick, objects: count } if !pair.reservations.is_empty() => {
                    let reservation = pair.reservations.swap_remove(pick.index(pair.reservations.len()));
                    let new: Vec<u32> = objects.by_ref().take(count).collect();
                    let rest = pair.fill(reservation, &new);
                    new[..new.len() - rest.len()].iter().for_each(|&object| totals.add(object));
                }
                Step::Cancel(pick) if !pair.reservations.is_empty() => {
                    let reservation = pair.reservations.swap_remove(pick.index(pair.reservations.len()));
                    pair.table.cancel(reservation);
                }
                Step::Fill { .. } | Step::Cancel(_) => (),
                Step::Transfer { wanted, receiver_fails } => {
                    let mode = |moves| if moves { TransferMode::Move } else { TransferMode::Copy };
                    let wanted: Vec<_> = wanted.iter().map(|(pick, moves)| (pair.pick(pick), mode(*moves))).collect();
                    let [left, right] = &mut pairs;
                    let (from, to) = if here == 0 { (left, right) } else { (right, left) };
                    if let Some((taken, rest)) = transfer(from, to, &wanted, receiver_fails) {
                        let moved = wanted.iter().zip(&taken).filter(|((_, mode), _)| *mode == TransferMode::Move);
                        moved.for_each(|(_, &object)| totals.remove(object));
                        taken[..taken.len() - rest.len()].iter().for_each(|&object| totals.add(object));
                    }
                }
                Step::Drain { most } => pair.drain_step(most).into_iter().for_each(|object| totals.remove(object)),
            }
            pairs.iter().for_each(Pair::compare);
            totals.compare(&pairs);
        }
    }

    #[test]
    fn any_handle_is_named_or_refused(raw in any::<u64>(), count in 0..70_u32) {
        let mut table = Table::new(100);
        let handles: Vec<_> = (0..count).map(|object| table.insert(object).expect("room")).collect();
        let handle = Handle::from_raw(raw);
        prop_assert_eq!(handle.to_raw(), raw);
        prop_assert_eq!(table.get(handle).is_ok(), handles.contains(&handle));
        prop_assert!(table.reserve(MAX_TRANSFER + raw as usize % 100 + 1).is_err());
    }
}
