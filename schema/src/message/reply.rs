//! What a method answers.

use super::{
    decode::{DecodeError, Message},
    encode::{EncodeError, Encoder},
    request::MethodId,
};
use crate::generated::{
    layout::{empty, scheduling_policy_cap, snapshot_results, timer, timer_now_results},
    messages_capnp as wire,
};

/// What the kernel knows of the calling thread's scheduling. Times are nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// Weight, 1 to 10000.
    pub weight: u16,
    /// Ordinal of the latency class.
    pub class: u16,
    /// The CPU that the thread runs on.
    pub current_cpu: u16,
    /// Time spent running.
    pub runtime_ns: u64,
    /// The same, times 64 / weight.
    pub virtual_runtime_ns: u64,
    /// Time spent waiting for a CPU.
    pub runnable_ns: u64,
    /// How often the thread gave its CPU up to wait.
    pub voluntary_blocks: u64,
    /// How often it lost its CPU while it could have gone on.
    pub preemptions: u64,
    /// How often it was dispatched on another CPU than before.
    pub migrations: u64,
    /// How often it was dispatched.
    pub dispatches: u64,
    /// Dispatches outside the mask of that moment: must stay zero.
    pub dispatches_outside: u64,
    /// The longest wait for a CPU.
    pub longest_wait_ns: u64,
    /// The longest time charged at once.
    pub longest_charge_ns: u64,
}

/// The results of a method, typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The method has no results.
    Empty,
    /// Timer.now.
    Now {
        /// Nanoseconds since boot.
        now_ns: u64,
    },
    /// SchedulingPolicyCap.snapshot.
    Snapshot(Snapshot),
}

impl Reply {
    /// Writes the results; gives the message's bytes.
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        match self {
            Self::Empty => Ok(Encoder::new(buffer, empty::DATA_WORDS, empty::POINTERS)?.finish()),
            Self::Now { now_ns } => {
                use timer_now_results::{DATA_WORDS, NOW_NS, POINTERS};
                let mut encoder = Encoder::new(buffer, DATA_WORDS, POINTERS)?;
                encoder.set_u64(NOW_NS, *now_ns);
                Ok(encoder.finish())
            }
            Self::Snapshot(snapshot) => snapshot.encode(buffer),
        }
    }

    /// Reads the results of a call of `id`.
    pub fn decode(id: MethodId, results: &[u8]) -> Result<Self, DecodeError> {
        let message = Message::open(results)?;
        match (id.interface, id.method) {
            (timer::ID, timer::NOW) => {
                let root: wire::timer_now_results::Reader<'_> = message.root()?;
                Ok(Self::Now { now_ns: root.get_now_ns() })
            }
            (scheduling_policy_cap::ID, scheduling_policy_cap::SNAPSHOT) => {
                let root: wire::snapshot_results::Reader<'_> = message.root()?;
                Ok(Self::Snapshot(Snapshot::read(&root)))
            }
            _ => {
                message.root::<wire::empty::Reader<'_>>()?;
                Ok(Self::Empty)
            }
        }
    }
}

impl Snapshot {
    fn encode(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        use snapshot_results as at;
        let mut encoder = Encoder::new(buffer, at::DATA_WORDS, at::POINTERS)?;
        encoder.set_u16(at::WEIGHT, self.weight);
        encoder.set_u16(at::CLASS, self.class);
        encoder.set_u16(at::CURRENT_CPU, self.current_cpu);
        encoder.set_u64(at::RUNTIME_NS, self.runtime_ns);
        encoder.set_u64(at::VIRTUAL_RUNTIME_NS, self.virtual_runtime_ns);
        encoder.set_u64(at::RUNNABLE_NS, self.runnable_ns);
        encoder.set_u64(at::VOLUNTARY_BLOCKS, self.voluntary_blocks);
        encoder.set_u64(at::PREEMPTIONS, self.preemptions);
        encoder.set_u64(at::MIGRATIONS, self.migrations);
        encoder.set_u64(at::DISPATCHES, self.dispatches);
        encoder.set_u64(at::DISPATCHES_OUTSIDE, self.dispatches_outside);
        encoder.set_u64(at::LONGEST_WAIT_NS, self.longest_wait_ns);
        encoder.set_u64(at::LONGEST_CHARGE_NS, self.longest_charge_ns);
        Ok(encoder.finish())
    }

    fn read(root: &wire::snapshot_results::Reader<'_>) -> Self {
        Self {
            weight: root.get_weight(),
            class: root.get_class(),
            current_cpu: root.get_current_cpu(),
            runtime_ns: root.get_runtime_ns(),
            virtual_runtime_ns: root.get_virtual_runtime_ns(),
            runnable_ns: root.get_runnable_ns(),
            voluntary_blocks: root.get_voluntary_blocks(),
            preemptions: root.get_preemptions(),
            migrations: root.get_migrations(),
            dispatches: root.get_dispatches(),
            dispatches_outside: root.get_dispatches_outside(),
            longest_wait_ns: root.get_longest_wait_ns(),
            longest_charge_ns: root.get_longest_charge_ns(),
        }
    }
}
