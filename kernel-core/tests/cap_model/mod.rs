//! Two capability tables with the maps that they must behave as: nothing appears, nothing is lost, and what fails
//! changes nothing.

use kernel_core::cap::{Entry, Handle, InvalidHandle, Reservation, Table, TableFull, TakeError, TransferMode};
use std::collections::BTreeMap;
use tessera_abi::transfer::MAX_TRANSFER;
use tessera_fuzz::Input;

/// What the tables hold: numbered objects. Copies of a capability have the same number.
pub type Object = Entry<u32>;

/// A table and the map that it must behave as.
pub struct Pair {
    pub table: Table<Object>,
    /// Numbers by handle.
    pub model: BTreeMap<u64, u32>,
    /// Every handle that there ever was, also of slots that were only reserved.
    ever: Vec<Handle>,
    pub reservations: Vec<Reservation>,
    /// Slots of reservations that nobody has any more.
    lost: usize,
    is_draining: bool,
}

impl Pair {
    pub fn new(limit: u32) -> Self {
        Self {
            table: Table::new(limit),
            model: BTreeMap::new(),
            ever: Vec::new(),
            reservations: Vec::new(),
            lost: 0,
            is_draining: false,
        }
    }

    fn reserved(&self) -> usize {
        self.lost + self.reservations.iter().map(|reservation| reservation.handles().len()).sum::<usize>()
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

    /// Answers whether there was room.
    pub fn insert(&mut self, object: Object) -> bool {
        let (has_room, number) = (self.has_room(1), object.object);
        let inserted = self.table.insert(object);
        assert_eq!(inserted.is_ok(), has_room);
        if let Ok(handle) = inserted {
            self.note(handle);
            self.model.insert(handle.to_raw(), number);
        }
        has_room
    }

    /// A handle as the bytes say: of the later ones that there ever were, one with a bit that is wrong, or any.
    pub fn pick(&self, bytes: &mut Input<'_>) -> Option<Handle> {
        let back = |byte: u8| {
            let back = usize::from(byte) % self.ever.len().max(1);
            self.ever.iter().rev().nth(back).copied().unwrap_or(Handle::from_raw(0))
        };
        match bytes.byte()? {
            255 => bytes.u64().map(Handle::from_raw),
            254 => Some(Handle::from_raw(back(bytes.byte()?).to_raw() ^ 1 << bytes.index(64)?)),
            byte => Some(back(byte)),
        }
    }

    /// The table names what the map has, and refuses every other handle by its name.
    pub fn look(&self, handle: Handle) {
        let expected = self.model.get(&handle.to_raw()).ok_or(InvalidHandle(handle));
        assert_eq!(self.table.get(handle).map(|object| &object.object), expected);
    }

    /// The first that is held from a slot on.
    pub fn walk_from(&self, slot: u32) {
        let held = self.model.iter().map(|(&raw, &number)| (Handle::from_raw(raw), number));
        let expected = held.filter(|(handle, _)| handle.slot() >= slot).min_by_key(|(handle, _)| handle.slot());
        assert_eq!(self.table.next_after(slot).map(|(handle, object)| (handle, object.object)), expected);
    }

    /// Answers the number of what was removed.
    pub fn remove(&mut self, handle: Handle) -> Option<u32> {
        let expected = self.model.remove(&handle.to_raw());
        assert_eq!(self.table.remove(handle).map(|object| object.object), expected.ok_or(InvalidHandle(handle)));
        expected
    }

    pub fn reserve(&mut self, count: usize) -> Result<(), TableFull> {
        let has_room = count == 0 || (self.has_room(count) && count <= MAX_TRANSFER);
        let reservation = self.table.reserve(count);
        assert_eq!(reservation.is_ok(), has_room);
        let reservation = reservation?;
        assert_eq!(reservation.handles().len(), count);
        reservation.handles().to_vec().into_iter().for_each(|handle| self.note(handle));
        self.reservations.push(reservation);
        Ok(())
    }

    /// Fills a reservation, and answers what the table has not taken.
    pub fn fill(&mut self, reservation: Reservation, objects: &[Object]) -> Vec<Object> {
        let promised = reservation.handles().to_vec();
        let taken = if self.is_draining { 0 } else { promised.len().min(objects.len()) };
        let mut rest = objects.iter().cloned();
        let filled = self.table.fill(reservation, rest.by_ref());
        assert_eq!(filled[..], promised[..taken]);
        self.model.extend(filled.iter().map(|handle| handle.to_raw()).zip(objects.iter().map(|object| object.object)));
        rest.collect()
    }

    /// Loses a reservation: at the other table it does nothing.
    pub fn misplace(&mut self, reservation: Reservation, other: &mut Self, object: Object) {
        self.lost += reservation.handles().len();
        assert!(other.table.fill(reservation, [object]).is_empty());
    }

    /// Takes from the table what the model says can be taken.
    fn take(&mut self, wanted: &[(Handle, TransferMode)]) -> Result<Vec<Object>, TakeError> {
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
        let expected = wanted.iter().map(|(handle, _)| self.model[&handle.to_raw()]);
        assert!(taken.iter().map(|object| object.object).eq(expected));
        for (handle, _) in wanted.iter().filter(|&&(_, mode)| mode == TransferMode::Move) {
            self.model.remove(&handle.to_raw());
        }
        Ok(taken)
    }

    /// Copies are lent as they are taken, and nothing leaves.
    pub fn lend(&self, wanted: &[Handle]) {
        let lent = self.table.lend(wanted).map(|lent| lent.iter().map(|object| object.object).collect::<Vec<_>>());
        let number = |handle: &Handle| self.model.get(&handle.to_raw()).copied().ok_or(TakeError::Invalid(*handle));
        let is_too_many = wanted.len() > MAX_TRANSFER;
        let too_many = Err(TakeError::TooMany(wanted.len()));
        assert_eq!(lent, if is_too_many { too_many } else { wanted.iter().map(number).collect() });
    }

    /// Answers the numbers of what came out.
    pub fn drain_step(&mut self, most: usize) -> Vec<u32> {
        let mut out = Vec::new();
        let is_done = self.table.drain_step(most, &mut |object| out.push(object.object));
        self.is_draining = true;
        // By slot, and no slot holds two.
        let mut handles: Vec<_> = self.model.keys().copied().collect();
        handles.sort_by_key(|&raw| Handle::from_raw(raw).slot());
        let expected = handles.into_iter().take(most).filter_map(|raw| self.model.remove(&raw));
        assert_eq!(out, expected.collect::<Vec<_>>());
        assert_eq!(is_done, self.model.is_empty());
        out
    }

    pub fn compare(&self) {
        let mut next = 0;
        let walk = std::iter::from_fn(|| {
            let (handle, object) = self.table.next_after(next)?;
            assert!(handle.slot() >= next);
            next = handle.slot() + 1;
            Some((handle.to_raw(), object.object))
        });
        assert_eq!(walk.collect::<BTreeMap<_, _>>(), self.model);
        self.ever.iter().for_each(|&handle| self.look(handle));
        assert_eq!(self.table.len() as usize, self.model.len());
        assert_eq!(self.table.reserved() as usize, self.reserved());
    }
}

/// How often each object is in the two tables, as the operations say.
#[derive(Default)]
pub struct Totals(BTreeMap<u32, usize>);

impl Totals {
    pub fn add(&mut self, object: u32) {
        *self.0.entry(object).or_default() += 1;
    }

    pub fn remove(&mut self, object: u32) {
        let count = self.0.get_mut(&object).expect("it was there");
        *count -= 1;
        if *count == 0 {
            self.0.remove(&object);
        }
    }

    pub fn compare(&self, pairs: &[Pair; 2]) {
        let mut actual = Self::default();
        pairs.iter().flat_map(|pair| pair.model.values()).for_each(|&object| actual.add(object));
        assert_eq!(actual.0, self.0);
    }
}

/// Sends from one table to the other, as the kernel does. Answers the objects that the receiver has not taken.
pub fn transfer(
    from: &mut Pair,
    to: &mut Pair,
    wanted: &[(Handle, TransferMode)],
    receiver_fails: bool,
) -> Option<(Vec<Object>, Vec<Object>)> {
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
