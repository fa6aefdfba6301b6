//! The records of calls that were received and not answered.

use super::call_id::{CallId, NoSuchCall};
use super::{OutOfMemory, ServerId};
use alloc::vec::Vec;
use tessera_abi::limits::ENDPOINT_IN_FLIGHT;

struct Record<C> {
    id: CallId,
    caller: C,
    server: ServerId,
}

/// A fixed number of places for records, found and freed in O(1).
pub(super) struct InFlight<C> {
    places: Vec<Option<Record<C>>>,
    /// Places without a record.
    free: Vec<u8>,
    /// The number of the last call.
    last: u64,
}

impl<C: Copy> InFlight<C> {
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        let (mut places, mut free) = (Vec::new(), Vec::new());
        places.try_reserve_exact(ENDPOINT_IN_FLIGHT).map_err(|_| OutOfMemory)?;
        free.try_reserve_exact(ENDPOINT_IN_FLIGHT).map_err(|_| OutOfMemory)?;
        places.extend((0..ENDPOINT_IN_FLIGHT).map(|_| None));
        // `CallId` has room for each place.
        free.extend((0..ENDPOINT_IN_FLIGHT).rev().map(|place| place as u8));
        Ok(Self { places, free, last: 0 })
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Records a call. `None`: every place is taken.
    pub(super) fn insert(&mut self, caller: C, server: ServerId) -> Option<CallId> {
        let place = self.free.pop()?;
        self.last += 1;
        let id = CallId::new(self.last, place);
        self.places[usize::from(place)] = Some(Record { id, caller, server });
        Some(id)
    }

    /// Ends the record of `id`, if it is `server`'s. `None`: whoever's it is.
    pub(super) fn remove(&mut self, id: CallId, server: Option<ServerId>) -> Result<C, NoSuchCall> {
        let record = self.places.get(id.place()).and_then(Option::as_ref);
        let record = record.filter(|record| record.id == id && server.is_none_or(|server| record.server == server));
        let caller = record.map(|record| record.caller).ok_or(NoSuchCall(id))?;
        self.clear(id.place());
        Ok(caller)
    }

    /// Ends the record of the first call whose caller matches.
    pub(super) fn remove_caller(&mut self, matches: impl Fn(&C) -> bool) -> Option<(CallId, ServerId)> {
        let found = self.places.iter().flatten().find(|record| matches(&record.caller));
        let (id, server) = found.map(|record| (record.id, record.server))?;
        self.clear(id.place());
        Some((id, server))
    }

    /// Ends every record of `server` (`None`: of all) and gives the callers out.
    pub(super) fn remove_all(&mut self, server: Option<ServerId>, out: &mut impl FnMut(C)) {
        for place in 0..self.places.len() {
            let record = self.places[place].as_ref();
            let record = record.filter(|record| server.is_none_or(|server| record.server == server));
            if let Some(caller) = record.map(|record| record.caller) {
                self.clear(place);
                out(caller);
            }
        }
    }

    fn clear(&mut self, place: usize) {
        self.places[place] = None;
        self.free.push(place as u8);
    }
}
