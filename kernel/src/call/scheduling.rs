//! `SchedulingPolicyCap`: the caller's attributes, or those of the thread whose handle is lent.

use super::{Answer, Refused, Reply, Request, disconnected, invalid};
use crate::{object::Object, submission::Caller, thread::Thread};
use alloc::sync::Arc;
use hal::{CpuSet, Duration, Machine};
use kernel_core::sched::{AttributeError, Snapshot, Weight};
use tessera_abi::scheduling::LatencyClass;
use tessera_schema::{
    generated::{interfaces::scheduling_policy_cap::Call, messages::SnapshotResults},
    message::U64List,
};

impl<M: Machine> Caller<'_, M> {
    pub(super) fn scheduling_policy<'r>(&mut self, call: Call<'_>, request: &Request<'r, M>) -> Answer<'r, M> {
        let thread = match request.lent()?.map(|capability| capability.object) {
            None => self.thread.clone(),
            Some(Object::Thread(thread)) => thread,
            Some(_) => return Err(invalid("the capability that is lent is not a ThreadHandle")),
        };
        let dispatcher = &self.kernel.dispatcher;
        match call {
            Call::SetWeight(params) => {
                let weight = Weight::new(params.weight).map_err(|_| invalid("the weight is not in 1..=10000"))?;
                changed(dispatcher.set_weight(thread.id, weight))
            }
            Call::SetLatencyClass(params) => {
                let class = LatencyClass::from_ordinal(params.class);
                changed(dispatcher.set_class(thread.id, class.ok_or(invalid("no latency class has this ordinal"))?))
            }
            Call::SetAffinity(params) => {
                let cpus = self.permitted(params.words, &thread)?;
                changed(dispatcher.set_affinity(thread.id, cpus))
            }
            Call::SetRequest(params) => {
                let request = (params.request_ns != 0).then(|| Duration::from_nanos(params.request_ns));
                changed(dispatcher.set_request(thread.id, request))
            }
            Call::Snapshot => self.snapshot(&thread),
        }
    }

    fn permitted(&self, words: U64List<'_>, thread: &Arc<Thread<M>>) -> Result<CpuSet, Refused> {
        let cpus = cpu_set(words)?;
        if cpus.is_empty() {
            return Err(invalid("the mask permits no CPU"));
        }
        if !cpus.is_subset_of(&self.kernel.online) {
            return Err(invalid("the mask names a CPU that is not online"));
        }
        if !cpus.is_subset_of(&thread.permitted) {
            return Err(invalid("the mask is wider than the spawner's"));
        }
        Ok(cpus)
    }

    /// What the kernel knows of a thread's scheduling.
    pub(super) fn snapshot<'r>(&self, thread: &Thread<M>) -> Answer<'r, M> {
        let snapshot = self.kernel.dispatcher.snapshot(thread.id).map_err(|_| disconnected("the thread has ended"))?;
        Ok(Reply::of(&wire_snapshot(&snapshot)))
    }
}

/// The CPUs that a message names.
pub(super) fn cpu_set(words: U64List<'_>) -> Result<CpuSet, Refused> {
    let words = words.cpu_words().map_err(|_| invalid("the mask names a CPU above 511"))?;
    Ok(CpuSet::from_words(words))
}

fn changed<'r, M: Machine>(result: Result<(), AttributeError>) -> Answer<'r, M> {
    match result {
        Ok(()) => Ok(Reply::empty()),
        Err(AttributeError::NoCpuOnline) => Err(invalid("the mask permits no CPU that is online")),
        Err(AttributeError::Request(_)) => Err(invalid("the request is not within 100 us to 100 ms")),
        Err(AttributeError::Stale(_)) => Err(disconnected("the thread has ended")),
    }
}

fn wire_snapshot(snapshot: &Snapshot) -> SnapshotResults {
    SnapshotResults {
        weight: snapshot.weight.get(),
        class: snapshot.class as u16,
        current_cpu: snapshot.cpu.get(),
        runtime_ns: snapshot.runtime.as_nanos(),
        virtual_runtime_ns: snapshot.virtual_runtime_ns,
        runnable_ns: snapshot.runnable.as_nanos(),
        voluntary_blocks: snapshot.voluntary_blocks,
        preemptions: snapshot.preemptions,
        migrations: snapshot.migrations,
        dispatches: snapshot.dispatches,
        dispatches_outside: snapshot.dispatches_outside,
        longest_wait_ns: snapshot.longest_wait.as_nanos(),
        longest_charge_ns: snapshot.longest_charge.as_nanos(),
    }
}
