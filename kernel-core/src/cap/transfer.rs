//! Copy and move between two tables, in two phases. See the module above.

use super::handle::{Handle, InvalidHandle};
use super::slots::TableMark;
use super::table::{Table, TableFull};
use core::fmt;
use heapless::Vec;
use tessera_abi::transfer::{COPY, MAX_TRANSFER, MOVE};

/// What becomes of the sender's capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransferMode {
    /// It stays.
    Copy,
    /// It leaves the sender.
    Move,
}

impl TransferMode {
    /// The mode with this number in a `TransferEntry`.
    pub const fn from_detail(detail: u64) -> Option<Self> {
        match detail {
            COPY => Some(Self::Copy),
            MOVE => Some(Self::Move),
            _ => None,
        }
    }
}

/// Why nothing was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TakeError {
    /// A handle names nothing.
    Invalid(Handle),
    /// A handle is named twice, one of them to move.
    Duplicate(Handle),
    /// More are named than a message can carry.
    TooMany(usize),
}

impl From<InvalidHandle> for TakeError {
    fn from(InvalidHandle(handle): InvalidHandle) -> Self {
        Self::Invalid(handle)
    }
}

impl fmt::Display for TakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(handle) => InvalidHandle(*handle).fmt(f),
            Self::Duplicate(handle) => write!(f, "handle {:#x} is named twice, one of them to move", handle.to_raw()),
            Self::TooMany(count) => write!(f, "{count} capabilities, but a message carries at most {MAX_TRANSFER}"),
        }
    }
}

impl core::error::Error for TakeError {}

/// Slots of one table that are taken and empty. They stay so until this is filled or cancelled at that table: one that is
/// forgotten costs its table the slots. At another table it does nothing.
#[must_use = "reserved slots must be filled or cancelled"]
#[derive(PartialEq, Eq, Debug)]
pub struct Reservation {
    table: TableMark,
    handles: Vec<Handle, MAX_TRANSFER>,
}

impl Reservation {
    /// What the slots' handles will be, in the order in which they are filled. They name nothing yet.
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }
}

impl<T> Table<T> {
    /// Takes `count` slots, at most `MAX_TRANSFER`, or none. May allocate.
    pub fn reserve(&mut self, count: usize) -> Result<Reservation, TableFull> {
        if count > MAX_TRANSFER {
            return Err(TableFull);
        }
        let mut handles = Vec::new();
        for _ in 0..count {
            match self.reserve_slot() {
                // There are at most as many as the list has room for.
                Some(handle) => handles.extend([handle]),
                None => {
                    handles.iter().for_each(|&handle| self.cancel_slot(handle));
                    return Err(TableFull);
                }
            }
        }
        Ok(Reservation { table: self.slots.mark(), handles })
    }

    /// Frees the reserved slots. Their handles will never name anything.
    pub fn cancel(&mut self, reservation: Reservation) {
        let _none = self.fill(reservation, []);
    }

    /// Fills the reserved slots in order, and answers the handles of those that were filled. Slots for which there is no
    /// object become free.
    ///
    /// A table that is being emptied takes no object from the iterator. Whoever must not drop the objects while the
    /// table is locked passes `by_ref()`, and has the rest.
    pub fn fill(
        &mut self,
        reservation: Reservation,
        objects: impl IntoIterator<Item = T>,
    ) -> Vec<Handle, MAX_TRANSFER> {
        let mut filled = Vec::new();
        let mut objects = objects.into_iter();
        for handle in reservation.handles {
            if !self.is_reserved_here(reservation.table, handle) {
                continue;
            }
            let object = if self.is_draining() { None } else { objects.next() };
            match object {
                Some(object) => {
                    self.fill_slot(handle, object);
                    filled.extend([handle]);
                }
                None => self.cancel_slot(handle),
            }
        }
        filled
    }

    /// Whether a reservation's slot is one of this table's that waits for an object.
    fn is_reserved_here(&self, table: TableMark, handle: Handle) -> bool {
        table == self.slots.mark() && self.slots.is_reserved(handle)
    }
}

impl<T: Clone> Table<T> {
    /// Takes what the handles name, in their order: copies of what stays and what leaves itself. All or nothing: after
    /// an error the table is as it was.
    pub fn take(&mut self, wanted: &[(Handle, TransferMode)]) -> Result<Vec<T, MAX_TRANSFER>, TakeError> {
        self.check(wanted)?;
        let take = |&(handle, mode): &(Handle, TransferMode)| match mode {
            TransferMode::Copy => self.get(handle).cloned(),
            TransferMode::Move => self.remove(handle),
        };
        // Every handle was checked.
        Ok(wanted.iter().map(take).filter_map(Result::ok).collect())
    }

    /// Copies of what the handles name, in their order, or nothing. The table stays as it is.
    pub fn lend(&self, wanted: &[Handle]) -> Result<Vec<T, MAX_TRANSFER>, TakeError> {
        if wanted.len() > MAX_TRANSFER {
            return Err(TakeError::TooMany(wanted.len()));
        }
        wanted.iter().map(|&handle| Ok(self.get(handle)?.clone())).collect()
    }

    /// Whether all of it can be taken.
    fn check(&self, wanted: &[(Handle, TransferMode)]) -> Result<(), TakeError> {
        if wanted.len() > MAX_TRANSFER {
            return Err(TakeError::TooMany(wanted.len()));
        }
        for (index, &(handle, mode)) in wanted.iter().enumerate() {
            self.get(handle)?;
            let conflicts = |&(other, its_mode): &(Handle, TransferMode)| {
                other == handle && [mode, its_mode].contains(&TransferMode::Move)
            };
            if wanted[..index].iter().any(conflicts) {
                return Err(TakeError::Duplicate(handle));
            }
        }
        Ok(())
    }
}
