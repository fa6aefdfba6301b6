//! What is counted over the whole system, and numbers that are given out once.

use core::sync::atomic::{AtomicU64, Ordering};

/// The counters.
pub struct Counters {
    /// Operations that have not completed.
    pub operations: AtomicU64,
    /// Endpoints that exist.
    pub endpoints: AtomicU64,
    next_id: AtomicU64,
    secret: u64,
}

impl Counters {
    /// All zero. `secret` is what identities are mixed with.
    pub const fn new(secret: u64) -> Self {
        Self { operations: AtomicU64::new(0), endpoints: AtomicU64::new(0), next_id: AtomicU64::new(1), secret }
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
