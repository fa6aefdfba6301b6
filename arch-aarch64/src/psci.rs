//! PSCI: how the firmware starts CPUs and turns the machine off (Arm DEN 0022).

/// How the firmware is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Conduit {
    /// `hvc`: the firmware is a hypervisor.
    Hypervisor = 1,
    /// `smc`: the firmware is the secure monitor.
    SecureMonitor = 2,
}

#[cfg(target_os = "none")]
pub use calls::*;

#[cfg(target_os = "none")]
mod calls {
    use super::Conduit;
    use core::sync::atomic::{AtomicU8, Ordering};
    use smccc::psci::{self, Error};
    use smccc::{Hvc, Smc};

    /// Zero until the device tree has said it.
    static CONDUIT: AtomicU8 = AtomicU8::new(0);

    /// Says how the firmware is called. Without it PSCI is not used.
    pub fn set_conduit(conduit: Conduit) {
        CONDUIT.store(conduit as u8, Ordering::Relaxed);
    }

    fn conduit() -> Option<Conduit> {
        let said = CONDUIT.load(Ordering::Relaxed);
        [Conduit::Hypervisor, Conduit::SecureMonitor].into_iter().find(|conduit| *conduit as u8 == said)
    }

    /// Starts the CPU with this affinity at a physical address, with translation off and `context` in x0.
    pub fn cpu_on(affinity: u64, entry: u64, context: u64) -> Result<(), Error> {
        match conduit() {
            Some(Conduit::Hypervisor) => psci::cpu_on::<Hvc>(affinity, entry, context),
            Some(Conduit::SecureMonitor) => psci::cpu_on::<Smc>(affinity, entry, context),
            None => Err(Error::NotSupported),
        }
    }

    /// Turns the machine off. Returns where that is not to be had.
    pub fn system_off() {
        // It returns only if it has failed, and then there is nothing left to try.
        let _ = match conduit() {
            Some(Conduit::Hypervisor) => psci::system_off::<Hvc>(),
            Some(Conduit::SecureMonitor) => psci::system_off::<Smc>(),
            None => Ok(()),
        };
    }
}
