//! A process's capabilities: look-ups, and the two halves of a transfer.
//!
//! A transfer first takes places in the receiver's table, then takes the capabilities out of the sender's, all or none,
//! then fills the places. Each half locks one table; what can fail comes before anything changes, so that a receiver
//! without room leaves the sender as it was. Lock level: leaf; capabilities are dropped outside.

use crate::{
    memory::user_copy::{check_writable, copy_from_user, copy_to_user},
    object::{Capability, Object},
    process::Process,
};
use core::sync::atomic::{AtomicU64, Ordering};
use hal::Machine;
use heapless::Vec;
use kernel_core::{
    cap::{Handle, Reservation, TableFull, TakeError, TransferMode},
    ring::Transfer,
};
use tessera_abi::{
    ring::TransportError,
    transfer::{MAX_TRANSFER, TransferEntry},
};

/// Capabilities on their way.
pub type Capabilities<M> = Vec<Capability<M>, MAX_TRANSFER>;
/// What a sender names.
pub type Named = Vec<(Handle, TransferMode), MAX_TRANSFER>;

const ENTRY_BYTES: usize = size_of::<TransferEntry>();

/// How many capabilities there are in all tables.
#[derive(Default)]
pub struct CapabilityCount(AtomicU64);

impl CapabilityCount {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Places in a process's table that are taken and empty; given back when dropped.
pub struct Places<'a, M: Machine> {
    process: &'a Process<M>,
    reservation: Option<Reservation>,
}

impl<M: Machine> Places<'_, M> {
    /// Puts the capabilities into their places, writes their handles to `array`, and answers how many they were. The
    /// array was found writable; if it is not any more, the handles can be found with `CapabilityTable.next`.
    pub fn fill<const N: usize>(mut self, machine: &M, capabilities: Vec<Capability<M>, N>, array: u64) -> u32 {
        let Some(reservation) = self.reservation.take() else { return 0 };
        let interfaces: Vec<u64, MAX_TRANSFER> = capabilities.iter().map(|one| one.object.interface()).collect();
        // What a table that is being emptied does not take ends after its lock is free.
        let mut capabilities = capabilities.into_iter();
        let handles = self.process.capabilities.lock().fill(reservation, capabilities.by_ref());
        let mut bytes = [0; MAX_TRANSFER * ENTRY_BYTES];
        for (entry, (handle, interface)) in
            bytes.as_chunks_mut::<ENTRY_BYTES>().0.iter_mut().zip(handles.iter().zip(&interfaces))
        {
            entry[..8].copy_from_slice(&handle.to_raw().to_ne_bytes());
            entry[8..].copy_from_slice(&interface.to_ne_bytes());
        }
        let used = handles.len() * ENTRY_BYTES;
        let _ = copy_to_user(machine, &self.process.space, array, &bytes[..used]);
        handles.len() as u32
    }
}

impl<M: Machine> Drop for Places<'_, M> {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.process.capabilities.lock().cancel(reservation);
        }
    }
}

impl<M: Machine> Process<M> {
    /// What a handle names.
    pub fn capability(&self, handle: u64) -> Result<Capability<M>, TransportError> {
        let table = self.capabilities.lock();
        let capability = table.get(Handle::from_raw(handle)).map_err(|_| TransportError::InvalidHandle)?;
        if capability.is_revoked() { Err(TransportError::Revoked) } else { Ok(capability.clone()) }
    }

    /// Adds a capability.
    pub fn insert(&self, object: Object<M>) -> Result<Handle, TableFull> {
        let reservation = self.capabilities.lock().reserve(1)?;
        // As in `Places::fill`.
        let mut capability = core::iter::once(object.into());
        let handles = self.capabilities.lock().fill(reservation, capability.by_ref());
        handles.first().copied().ok_or(TableFull)
    }

    /// Takes places for what is to come. Checks that the array can take their handles.
    pub fn places(&self, count: usize, transfer: &Transfer) -> Result<Places<'_, M>, TransportError> {
        if count > usize::from(transfer.room) {
            return Err(TransportError::CapabilitiesRefused);
        }
        check_writable(&self.space, transfer.array, count * ENTRY_BYTES)
            .map_err(|_| TransportError::BadCapabilities)?;
        let reservation = self.capabilities.lock().reserve(count);
        let reservation = reservation.map_err(|_| TransportError::CapabilitiesRefused)?;
        Ok(Places { process: self, reservation: Some(reservation) })
    }

    /// Reads what a submission sends.
    pub fn named(&self, machine: &M, transfer: &Transfer) -> Result<Named, TransportError> {
        let bad = TransportError::BadCapabilities;
        let mut bytes = [0; MAX_TRANSFER * ENTRY_BYTES];
        let bytes = bytes.get_mut(..usize::from(transfer.sent) * ENTRY_BYTES).ok_or(bad)?;
        copy_from_user(machine, &self.space, transfer.array, bytes).map_err(|_| bad)?;
        let mut named = Named::new();
        for entry in bytes.as_chunks::<ENTRY_BYTES>().0 {
            let word = |at: usize| u64::from_ne_bytes(core::array::from_fn(|byte| entry[at + byte]));
            let mode = TransferMode::from_detail(word(8)).ok_or(bad)?;
            named.push((Handle::from_raw(word(0)), mode)).map_err(|_| bad)?;
        }
        Ok(named)
    }

    /// Takes what was named out of the table, or copies it; all or none.
    pub fn take(&self, named: &Named) -> Result<Capabilities<M>, TransportError> {
        let mut table = self.capabilities.lock();
        for (handle, mode) in named {
            let capability = table.get(*handle).map_err(|_| TransportError::InvalidHandle)?;
            if capability.is_revoked() {
                return Err(TransportError::Revoked);
            }
            if let (Object::Endpoint(serving), TransferMode::Move) = (&capability.object, mode)
                && !self.remember_left(serving.endpoint())
            {
                return Err(TransportError::Overloaded);
            }
        }
        table.take(named).map_err(|error| match error {
            TakeError::Invalid(_) => TransportError::InvalidHandle,
            TakeError::Duplicate(_) | TakeError::TooMany(_) => TransportError::BadCapabilities,
        })
    }

    /// Copies of what was named, to look at.
    pub fn lend(&self, named: &Named) -> Result<Capabilities<M>, TransportError> {
        named.iter().map(|(handle, _)| self.capability(handle.to_raw())).collect()
    }

    /// Gives a capability up.
    pub fn release(&self, handle: u64) -> Result<Capability<M>, TransportError> {
        let removed = self.capabilities.lock().remove(Handle::from_raw(handle));
        removed.map_err(|_| TransportError::InvalidHandle)
    }
}
