//! What is counted over the whole system, and numbers that are given out once.

use core::sync::atomic::{AtomicU64, Ordering};
use hal::Duration;

/// The account of threads whose ends are not printed.
#[derive(Default)]
pub struct SilentThreads {
    count: AtomicU64,
    runtime_ns: AtomicU64,
}

impl SilentThreads {
    /// Nobody yet.
    pub const fn new() -> Self {
        Self { count: AtomicU64::new(0), runtime_ns: AtomicU64::new(0) }
    }

    /// Counts a thread with its last account.
    pub fn add(&self, runtime: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.runtime_ns.fetch_add(runtime.as_nanos(), Ordering::Relaxed);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How long all of them ran.
    pub fn runtime_ns(&self) -> u64 {
        self.runtime_ns.load(Ordering::Relaxed)
    }
}

/// The counters.
pub struct Counters {
    /// Operations that have not completed.
    pub operations: AtomicU64,
    /// Armed timers of programs; the kernel's own come and go with its reports.
    pub timers: AtomicU64,
    /// Endpoints that exist.
    pub endpoints: AtomicU64,
    /// What threads of silent processes had, which no record of their own tells.
    pub silent: SilentThreads,
    next_id: AtomicU64,
    secret: u64,
}

impl Counters {
    /// All zero. `secret` is what identities are mixed with.
    pub const fn new(secret: u64) -> Self {
        Self {
            operations: AtomicU64::new(0),
            timers: AtomicU64::new(0),
            endpoints: AtomicU64::new(0),
            silent: SilentThreads::new(),
            next_id: AtomicU64::new(1),
            secret,
        }
    }

    /// A number that no process, thread or endpoint had before. Never 0.
    pub fn next_object_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The identity of a process as one endpoint sees it: the same at each call, and another one elsewhere. Two rounds of
    /// a 64-bit mixing function (the finalizer of MurmurHash3) with a secret between them.
    pub const fn scoped_identity(&self, endpoint: u64, process: u64) -> u64 {
        mix(mix(process ^ self.secret).wrapping_add(mix(endpoint ^ self.secret.rotate_left(32))))
    }
}

const fn mix(mut value: u64) -> u64 {
    value ^= value >> 33;
    value = value.wrapping_mul(0xff51_afd7_ed55_8ccd);
    value ^= value >> 33;
    value = value.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ value >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_are_not_printed_are_counted_with_what_they_had() {
        let silent = SilentThreads::new();
        silent.add(Duration::from_nanos(3));
        silent.add(Duration::from_nanos(4));
        assert_eq!((silent.count(), silent.runtime_ns()), (2, 7));
    }

    #[test]
    fn an_identity_is_constant_at_one_endpoint_and_tells_nothing_at_another() {
        let counters = Counters::new(0x1234_5678_9abc_def0);
        let here = counters.scoped_identity(3, 7);
        assert_eq!(counters.scoped_identity(3, 7), here);
        assert_ne!(counters.scoped_identity(4, 7), here);
        assert_ne!(counters.scoped_identity(3, 8), here);
        assert_ne!(counters.scoped_identity(7, 3), here);
        assert_ne!(Counters::new(1).scoped_identity(3, 7), here);
    }
}
