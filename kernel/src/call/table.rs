//! `CapabilityTable`, `Revoker`, `EndpointFactory` and `Endpoint`.

use super::{Answer, Reply, Request, invalid, overloaded, refuse_when_heap_is_low};
use crate::{
    ipc::{CreateEndpointError, Endpoint, Serving},
    object::{Capability, Client, Object},
    process::Process,
    submission::Caller,
};
use alloc::sync::Arc;
use hal::Machine;
use kernel_core::cap::Revocation;
use tessera_schema::generated::{
    interfaces::{capability_table, endpoint, endpoint_factory, revoker},
    messages::CapabilityRecord,
};

impl<M: Machine> Caller<'_, M> {
    pub(super) fn capability_table<'r>(
        &mut self,
        call: capability_table::Call,
        request: &Request<'r, M>,
    ) -> Answer<'r, M> {
        match call {
            capability_table::Call::Revocable => revocable(request),
            capability_table::Call::Next(params) => Ok(Reply::of(&record_after(request.process, params.after))),
        }
    }

    pub(super) fn revoker<'r>(&mut self, revocation: &Revocation, call: revoker::Call) -> Answer<'r, M> {
        let revoker::Call::Revoke = call;
        revocation.revoke();
        Ok(Reply::empty())
    }

    pub(super) fn endpoint_factory<'r>(
        &mut self,
        call: endpoint_factory::Call,
        request: &Request<'r, M>,
    ) -> Answer<'r, M> {
        let endpoint_factory::Call::Create = call;
        let places = request.places(1)?;
        refuse_when_heap_is_low()?;
        let serving = Endpoint::create(self.kernel, request.process).map_err(|error| match error {
            CreateEndpointError::Limit => overloaded("the process has as many endpoints as it may"),
            CreateEndpointError::OutOfMemory => overloaded("there is not enough memory"),
        })?;
        Ok(request.give(Object::Endpoint(Arc::new(serving)), places))
    }

    pub(super) fn endpoint<'r>(
        &mut self,
        serving: &Arc<Serving<M>>,
        call: endpoint::Call,
        request: &Request<'r, M>,
    ) -> Answer<'r, M> {
        let endpoint::Call::Mint(params) = call;
        if params.interface == 0 {
            return Err(invalid("the interface id is zero"));
        }
        let places = request.places(1)?;
        let endpoint = serving.endpoint().clone();
        let client = Client { endpoint, interface: params.interface, badge: params.badge };
        Ok(request.give(Object::Client(client), places))
    }
}

fn revocable<'r, M: Machine>(request: &Request<'r, M>) -> Answer<'r, M> {
    let places = request.places(2)?;
    let lent = request.lent()?.ok_or(invalid("the call lends no capability"))?;
    refuse_when_heap_is_low()?;
    let revocation = Revocation::new(lent.revocation).map_err(|_| overloaded("revocations depend too deeply"))?;
    let copy = Capability { object: lent.object, revocation: Some(revocation.clone()) };
    Ok(request.give_with(super::Results::empty(), [copy, Object::Revoker(revocation).into()], places))
}

/// The first capability behind `after`, which counts from 1.
pub(super) fn record_after<M: Machine>(process: &Process<M>, after: u64) -> CapabilityRecord {
    let table = process.capabilities.lock();
    let next = u32::try_from(after).ok().and_then(|after| table.next_after(after));
    let Some((handle, capability)) = next else { return CapabilityRecord::default() };
    CapabilityRecord {
        found: 1,
        revoked: capability.is_revoked().into(),
        slot: handle.slot(),
        handle: handle.to_raw(),
        interface: capability.object.interface(),
        badge: capability.object.badge(),
    }
}
